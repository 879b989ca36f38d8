"""Findings while they are gathered: all of them, each with its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from vnfm.model.package import Finding, Severity
from vnfm.tosca.hints import HINTS


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file of the package; line and column count from 1, 0 where there is none."""

    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(slots=True)
class Notes:
    """What was noticed so far. The number of findings is bounded, a hostile file could make millions.

    `package` is the name of what is read: what is about no file in it is about that.
    """

    package: str = ""
    findings: list[Finding] = field(default_factory=list)
    most: int = 500
    _known: set[Finding] = field(default_factory=set)

    def error(self, code: str, message: str, at: Place | None = None, hint: str = "") -> None:
        """Note what refuses the package."""
        self._add(Severity.ERROR, code, message, at or Place(), hint)

    def warn(self, code: str, message: str, at: Place | None = None, hint: str = "") -> None:
        """Note what the author should know."""
        self._add(Severity.WARNING, code, message, at or Place(), hint)

    @property
    def failed(self) -> bool:
        """Whether anything refuses the package."""
        return any(f.severity is Severity.ERROR for f in self.findings)

    def _add(self, severity: Severity, code: str, message: str, at: Place, hint: str) -> None:
        if len(self.findings) >= (2 * self.most if severity is Severity.ERROR else self.most):
            return
        if not at.line and at.file.lower().endswith((".yaml", ".yml", ".meta", ".mf")):
            at = Place(at.file, 1, 1)  # of the file as a whole
        hint = hint or HINTS.get(code, "")
        finding = Finding(_clean(at.file or self.package), at.line, at.column, severity, code, _clean(message), hint)
        if finding not in self._known:
            self._known.add(finding)
            self.findings.append(finding)


def _clean(text: str) -> str:
    """Text from a package as one bounded line, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return line if len(line) <= 500 else line[:499] + "…"
