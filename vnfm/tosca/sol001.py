"""SOL001's definitions in each of its versions: one base, and what each version before it has otherwise.

The base is the latest version widened by what earlier ones allowed: it is what a descriptor gets that names no version.
`versions.yaml` goes back from it, each version as a change of the next later one, so that a change is written once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vnfm.tosca.library import Library
from vnfm.tosca.yamldoc import Map

VERSIONS = ("2.5.1", "2.6.1", "2.6.3", "2.7.1", "2.8.1", "3.3.1", "3.5.1", "3.6.1", "3.7.1", "4.2.1", "4.3.1", "4.4.1")
STEMS = ("etsi_nfv_sol001_common_types", "etsi_nfv_sol001_vnfd_types", "etsi_nfv_sol001_nsd_types")
EXTRA = "vnfm_types"
PREFIX = "types:"
CHANGES = "versions.yaml"

_NUMBER = r"v?(\d)[._](\d{1,2})[._](\d)"
_NAME = re.compile(
    rf"^etsi_?nfv_?sol_?001_(common|vnfd|nsd)(?:_?{_NUMBER})?_types?(?:[._-]?{_NUMBER})?(?:\.ya?ml)?$", re.I
)
_IN_PATH = re.compile(rf"(?:^|[/_\-@=]){_NUMBER}(?=$|[/_\-.?&])", re.I)
_IN_TEXT = re.compile(rf"sol[ _-]?0*01\b[^\n]{{0,40}}?{_NUMBER}", re.I)


def default_types_folder() -> Path:
    """Where our own type definitions lie: descriptors/types in a checkout, inside the package where it is installed."""
    here = Path(__file__).resolve().parent
    checkout = here.parent.parent / "descriptors" / "types"
    return checkout if checkout.is_dir() else here / "definitions"


@dataclass(frozen=True)
class OurFile:
    """One of our type files; `version` is empty where the importer names none."""

    stem: str
    version: str = ""

    @property
    def file(self) -> str:
        """By what findings call it."""
        return f"{PREFIX}{self.version}/{self.stem}.yaml" if self.version else f"{PREFIX}{self.stem}.yaml"


def our_file(wanted: str) -> OurFile | None:
    """Which of our files an import means by its path or URL, however it is spelt; None if none."""
    path, _, _ = wanted.replace("\\", "/").partition("#")
    folder, _, base = path.partition("?")[0].rstrip("/").rpartition("/")
    if re.fullmatch(rf"{EXTRA}(\.ya?ml)?", base):
        return OurFile(EXTRA)
    found = _NAME.match(base)
    if found is None:
        return None
    in_name = found.groups()[1:4] if found.group(2) else found.groups()[4:7]
    if not in_name[0]:
        in_path = [m.groups() for m in _IN_PATH.finditer(folder)]
        in_name = in_path[-1] if in_path else in_name
    return OurFile(f"etsi_nfv_sol001_{found.group(1).lower()}_types", known_version(in_name) if in_name[0] else "")


def version_in_text(text: str) -> str:
    """The version that a description or metadata names, such as `SOL001 v2.6.1`; empty where it names none."""
    found = _IN_TEXT.search(text)
    return known_version(found.groups()) if found else ""


def known_version(number: tuple[str | Any, ...]) -> str:
    """The version itself, or the next earlier one that has definitions."""
    wanted = tuple(int(n) for n in number)
    earlier = [v for v in VERSIONS if tuple(int(n) for n in v.split(".")) <= wanted]
    return earlier[-1] if earlier else VERSIONS[0]


@dataclass
class Definitions:
    """Makes the files. `folder` holds the base and its changes."""

    folder: Path
    library: Library
    _made: dict[OurFile, Map | None] = field(default_factory=dict)

    def file(self, wanted: OurFile) -> Map | None:
        """A type file as it is in that version; None with a finding where it cannot be read."""
        if wanted not in self._made:
            name = f"{wanted.stem}.yaml"
            base = self.library.read(self.folder / name, PREFIX + name)
            if base is not None and wanted.version:
                changes = self.library.read(self.folder / CHANGES, PREFIX + CHANGES)
                # What a chain needs of an NSD is the same in all of them; its VNF is only named like a VNFD's.
                changes = Map() if changes is not None and wanted.stem == STEMS[2] else changes
                base = None if changes is None else in_version(base, changes, wanted.version)
            self._made[wanted] = base
        return self._made[wanted]


def in_version(base: Map, changes: Map, version: str) -> Map:
    """`base` with the changes of every version from the latest back to `version`."""
    result = base
    for number in reversed(VERSIONS):
        change = changes.sub("versions").sub(number)
        for path in change.get("without") or ():
            result = _without(result, str(path).split("/"))
        result = _changed(result, change.sub("instead"), adding=False)
        if number == version:
            break
    result = _copy(result)
    metadata = _copy(result.sub("metadata"))
    metadata["template_version"] = metadata.raw["template_version"] = version
    result["metadata"] = metadata
    return result


def _without(body: Map, path: list[str]) -> Map:
    if path[0] not in body:
        return body  # it stands in another of the files
    result = _copy(body)
    if len(path) == 1:
        del result[path[0]]
    else:
        result[path[0]] = _without(body.sub(path[0]), path[1:])
    return result


def _changed(body: Map, change: Mapping[str, Any], *, adding: bool) -> Map:
    """Merged key by key. Of sections and types only those change that the file has: the others stand elsewhere."""
    result = _copy(body)
    for key, value in change.items():
        old = body.get(key)
        if isinstance(value, Map) and isinstance(old, Map) and "type" not in value:
            result[key] = _changed(old, value, adding=adding or str(key).startswith("tosca."))
        elif adding or key in body:
            result[key] = value
    return result


def _copy(body: Map) -> Map:
    result = Map(body.file, body.mark)
    result.update(body)
    result.marks, result.raw = dict(body.marks), dict(body.raw)
    return result
