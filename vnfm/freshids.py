"""Ids that nobody has had yet: random UUIDs, as uuid4 makes them.

The randomness is taken from the system in blocks: every look there is a system call, by which the thread gives the
interpreter away to others, and a chain has seven ids.
"""

from __future__ import annotations

import os
from uuid import UUID

BLOCK = 256  # ids
_ID_BYTES = 16


class FreshIds:
    """To be called for each id, by whichever thread."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        """The next one."""
        while True:
            try:
                return self._ready.pop()
            except IndexError:
                self._ready += _block()


def _block() -> list[str]:
    data = os.urandom(BLOCK * _ID_BYTES)
    parts = (data[at : at + _ID_BYTES] for at in range(0, len(data), _ID_BYTES))
    return [str(UUID(bytes=part, version=4)) for part in parts]
