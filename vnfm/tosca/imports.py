"""What a file imports, and which file that is. Nothing is fetched: an import is in the package, or it is one of our own
type files, or it is missing by name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.sol001 import OurFile, our_file
from vnfm.tosca.yamldoc import Map

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
_WEB = ("http", "https")
_MAX_NESTING = 4


@dataclass(frozen=True)
class Import:
    """One import as it is written: a path or URL, and the prefix that the imported names get in the importer."""

    wanted: str
    at: Place
    prefix: str = ""


def imports_of(body: Map, notes: Notes) -> Iterator[Import]:
    """What a file imports, in any of the notations that TOSCA has had."""
    raw = body.get("imports")
    if raw is None:
        return
    if isinstance(raw, str | Map):  # one import, or named ones, without the list
        notes.warn("import-form", "imports is a list", body.place("imports"), "write `imports:` with `- ` before each")
        raw = [raw] if isinstance(raw, str) or "file" in raw or "url" in raw else list(raw.values())
    if not isinstance(raw, list):
        notes.warn("import-form", "imports is a list", body.place("imports"), "write `imports:` with `- ` before each")
        return
    repositories = body.sub("repositories")
    for index, item in enumerate(raw):
        at = raw.place(index) if hasattr(raw, "place") else body.place("imports")
        yield from _names(item, at, repositories, notes, 0)


def _names(item: Any, at: Place, repositories: Map, notes: Notes, depth: int) -> Iterator[Import]:
    if isinstance(item, str):
        yield Import(item.strip(), at)
    elif isinstance(item, Map) and ("file" in item or "url" in item):
        key = "file" if "file" in item else "url"
        name, repository = item[key], item.get("repository")
        if not isinstance(name, str):
            notes.warn("import-form", f"{key} is a text, found {str(name)[:60]!r}", item.place(key))
            return
        home = repositories.get(repository) if isinstance(repository, str) else None
        base = home.get("url") if isinstance(home, Map) else home
        if isinstance(base, str):
            name = f"{base.rstrip('/')}/{name}"
        prefix = item.get("namespace_prefix")
        yield Import(name.strip(), item.place(key), prefix if isinstance(prefix, str) else "")
    elif isinstance(item, Map) and depth < _MAX_NESTING:
        for key in item:
            yield from _names(item[key], item.place(key), repositories, notes, depth + 1)
    else:
        notes.warn("import-form", f"expected a file name, found {str(item)[:60]!r}", at, "name a file or drop it")


@dataclass(frozen=True, slots=True)
class Missing:
    """An import that could not be had. How grave that is depends on whether there is a model without it."""

    code: str
    message: str
    at: Place
    hint: str


@dataclass(frozen=True)
class Resolver:
    """Finds imports. `names` are the files of the package, `missing` gathers what is neither there nor one of ours."""

    names: Collection[str]
    notes: Notes
    missing: list[Missing] = field(default_factory=list)

    def resolve(self, wanted: Import, importer: str) -> str | OurFile | None:
        """A name in the package or one of our files; None where there is neither, with a finding."""
        ours = our_file(wanted.wanted)
        scheme = _SCHEME.match(wanted.wanted)
        if not wanted.wanted or "\0" in wanted.wanted:
            self.notes.error("import-form", "an import names a file", wanted.at)
            return None
        if scheme is not None:
            return self._remote(wanted, scheme.group(1).lower(), ours)
        return self._local(wanted, importer, ours)

    def _remote(self, wanted: Import, scheme: str, ours: OurFile | None) -> str | OurFile | None:
        if scheme not in _WEB:
            note = self.notes.error if ours is None else self.notes.warn  # ours is read instead
            note(
                "import-outside",
                f"{wanted.wanted} leads out of the package",
                wanted.at,
                "put the file into the package and import it by its path",
            )
            return ours
        own = self._bundled(posixpath.basename(wanted.wanted))
        if own is not None:
            return own
        if ours is None:
            message = f"{wanted.wanted} was not fetched: nothing is loaded from the network"
            hint = "put the file into the package and import it by its path"
            self.missing.append(Missing("import-not-fetched", message, wanted.at, hint))
        return ours

    def _local(self, wanted: Import, importer: str, ours: OurFile | None) -> str | OurFile | None:
        folder, base = posixpath.dirname(importer), posixpath.basename(wanted.wanted)
        candidates = [posixpath.normpath(posixpath.join(folder, wanted.wanted)), posixpath.normpath(wanted.wanted)]
        candidates.append(posixpath.normpath(posixpath.join(folder, base)))
        inside = [c for c in candidates if not c.startswith(("../", "/")) and c != ".."]
        if candidates[0] not in inside:
            rooted = posixpath.normpath(wanted.wanted.lstrip("/"))
            instead = rooted if wanted.wanted.startswith("/") and rooted in self.names else ours
            note = self.notes.error if instead is None else self.notes.warn  # what the package or we have is read
            note(
                "import-outside",
                f"{wanted.wanted} leads out of the package",
                wanted.at,
                "import by a path in the package",
            )
            return instead
        found = next((c for c in inside if c in self.names), None)
        if found is None and (found := self._bundled(base)) is not None and ours is None:
            self.notes.warn("import-moved", f"{wanted.wanted} was found as {found}", wanted.at, "mend its path")
        if found is None and ours is None:
            message = f"{wanted.wanted} is not in the package"
            self.missing.append(Missing("import-not-found", message, wanted.at, "add the file or mend its path"))
        return found if found is not None else ours

    def _bundled(self, base: str) -> str | None:
        """The one file of the package with that name, wherever it lies and however its letters are written."""
        found = self._by_base.get(base.lower(), ())
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_base(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(posixpath.basename(name).lower(), []).append(name)
        return found
