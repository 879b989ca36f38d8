"""What may go wrong while networking one host: one word for programs, one text for people."""

from __future__ import annotations


class NetError(Exception):
    """Something was refused or failed.

    `word` is stable and meant for mapping (`not-there`), `detail` says what was found, expected and what to do.
    """

    word = "host-refused"

    def __init__(self, detail: str, *, word: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        if word:
            self.word = word


class InvalidSpecError(NetError):
    """A field of a specification has no sense; the same call cannot succeed."""

    word = "invalid-request"


class AlreadyExistsError(NetError):
    """The id, or the interface's name, is taken by something specified otherwise."""

    word = "already-exists"


class NotThereError(NetError):
    """What the call builds upon (a namespace, a port, a hop, a path) is not there yet, or no more."""

    word = "not-there"


class StaleGenerationError(NetError):
    """A path of a higher generation is in force."""

    word = "generation-older"


class SegmentTakenError(NetError):
    """The segment by which a link should go on outside is in use by another, or cannot be had here."""

    word = "segment-taken"


class HostRefusedError(NetError):
    """The kernel or a tool refused; `detail` carries its words."""

    word = "host-refused"
