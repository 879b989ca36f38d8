"""The one error form, from a plugin to the user's terminal (RFC 9457, ETSI GS NFV-SOL 013 clause 6.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

URN = "urn:vnfm:problem:"


class Retry(StrEnum):
    """What the caller may do about a problem."""

    NEVER = "NEVER"
    SAME_CALL = "SAME_CALL"
    NEW_PLACEMENT = "NEW_PLACEMENT"


@dataclass(frozen=True, slots=True)
class Problem:
    """`type` is a URN ending in one word of the catalogue (docs/operations.md); `instance` names what it is about."""

    type: str
    title: str
    detail: str
    instance: str = ""
    retry: Retry = Retry.NEVER
    retry_after_ms: int = 0

    @property
    def word(self) -> str:
        """The last part of the type: `not-found`."""
        return self.type.removeprefix(URN)

    def about(self, instance: str) -> Problem:
        """The same problem, said of `instance` unless it already names one."""
        return self if self.instance else replace(self, instance=instance)


class ProblemError(Exception):
    """Raised wherever something is refused or fails; carries exactly one Problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title}: {problem.detail}")
        self.problem = problem


def problem(word: str, detail: str, *, instance: str = "", retry: Retry = Retry.NEVER, title: str = "") -> ProblemError:
    """A ProblemError of the catalogue's `word`; the title defaults to the word spelled out."""
    return ProblemError(
        Problem(URN + word, title or word.replace("-", " ").capitalize(), detail, instance=instance, retry=retry)
    )
