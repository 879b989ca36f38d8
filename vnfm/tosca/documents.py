"""The entry file and what it imports, each file once. Nothing is fetched: an import is in the package, or it is one of
our own type files, or it is missing."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vnfm.tosca.digests import is_url
from vnfm.tosca.limits import Limits
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.yamldoc import Map, load

SECTIONS = (
    "node_types",
    "data_types",
    "capability_types",
    "relationship_types",
    "interface_types",
    "policy_types",
    "group_types",
    "artifact_types",
)
OUR_FILES = re.compile(r"^(etsi_nfv_sol001_(common|vnfd|nsd)_types|vnfm_types)\.ya?ml$")
_VERSIONS = re.compile(r"^tosca_simple_(yaml_1_[0-3]|profile_for_nfv_1_0_0)$")


@dataclass(frozen=True)
class Document:
    """A file that was read. `ours` for our own type files, whose names begin with `types:`."""

    file: str
    body: Map
    ours: bool = False


@dataclass
class Documents:
    """Every document in the order of reading, the entry first, and every type that they define."""

    order: list[Document] = field(default_factory=list)
    types: dict[tuple[str, str], Map] = field(default_factory=dict)

    def add(self, document: Document) -> None:
        """Take a document's types; the first definition of a name counts, a package's before ours."""
        self.order.append(document)
        for section in SECTIONS:
            for name in document.body.sub(section):
                definition = document.body.sub(section).sub(name)
                self.types.setdefault((section, str(name)), definition)


def read_documents(entry: str, root: Path, types: Path, limits: Limits, notes: Notes) -> Documents:
    """`entry` and its imports, breadth first, from `root` (the package) and `types` (our own definitions)."""
    documents, ours, budget = Documents(), dict[str, Document](), [limits.yaml_total_bytes]
    seen, pending = {entry}, deque([(entry, Place(entry), False)])
    while pending:
        file, at, own = pending.popleft()
        path = types / file.removeprefix("types:") if own else root / file
        body = _read(path, file, at, limits, notes, budget)
        if body is None:
            continue
        document = Document(file, body, own)
        if own:
            ours[file] = document
        else:
            documents.add(document)
            _check_version(document, notes)
        for wanted, place in _imports(body, notes):
            found = _resolve(wanted, file, own, root, types, notes, place)
            if found is not None and found[0] not in seen:
                seen.add(found[0])
                pending.append((found[0], place, found[1]))
        if len(seen) > limits.imports:
            notes.error("import-too-many", f"more than {limits.imports} imports", at)
            break
    for document in ours.values():
        documents.add(document)
    return documents


def add_our_types(documents: Documents, types: Path, limits: Limits, notes: Notes) -> None:
    """Our VNFD types, for packages that import none: names that are defined already stay as they are."""
    have = {d.file for d in documents.order}
    for name in ("vnfm_types", "etsi_nfv_sol001_vnfd_types", "etsi_nfv_sol001_common_types"):
        file = f"types:{name}.yaml"
        if file in have:
            continue
        body = _read(types / f"{name}.yaml", file, Place(file), limits, notes, [limits.yaml_total_bytes])
        if body is not None:
            documents.add(Document(file, body, ours=True))


def _read(path: Path, file: str, at: Place, limits: Limits, notes: Notes, budget: list[int]) -> Map | None:
    try:
        size = path.stat().st_size
        if size > limits.yaml_bytes or size > budget[0]:
            notes.error("yaml-too-large", f"{size} bytes of YAML are too many", Place(file))
            return None
        budget[0] -= size
        data = path.read_bytes()
    except OSError:
        notes.error("import-not-found", f"{file} cannot be read", at)
        return None
    return load(data, file, limits, notes)


def _check_version(document: Document, notes: Notes) -> None:
    version = document.body.get("tosca_definitions_version")
    if version is None:
        notes.warn("tosca-version", "tosca_definitions_version is missing", document.body.place())
    elif not _VERSIONS.match(str(version)):
        notes.warn(
            "tosca-version",
            f"{version!r} is no version that is known here",
            document.body.place("tosca_definitions_version"),
            "tosca_simple_yaml_1_2 and _1_3 are SOL001's",
        )


def _imports(body: Map, notes: Notes) -> list[tuple[str, Place]]:
    """What a file imports, in any of the notations that TOSCA has had."""
    raw = body.get("imports")
    if raw is None:
        return []
    if not isinstance(raw, list):
        notes.error("import-form", "imports is a list", body.place("imports"))
        return []
    repositories = body.sub("repositories")
    found: list[tuple[str, Place]] = []
    for index, item in enumerate(raw):
        at = raw.place(index) if hasattr(raw, "place") else body.place("imports")
        found += _import_names(item, at, repositories, notes)
    return found


def _import_names(item: Any, at: Place, repositories: Map, notes: Notes) -> list[tuple[str, Place]]:
    if isinstance(item, str):
        return [(item, at)]
    if isinstance(item, Map) and ("file" in item or "url" in item):
        name = item.get("file") or item.get("url")
        repository = item.get("repository")
        if repository is not None and isinstance(name, str):
            home = repositories.get(repository)
            base = home.get("url") if isinstance(home, Map) else home
            if isinstance(base, str):
                return [(f"{base.rstrip('/')}/{name}", item.place("file"))]
        return [(name, item.place("file"))] if isinstance(name, str) else []
    if isinstance(item, Map):
        return [found for key in item for found in _import_names(item[key], item.place(key), repositories, notes)]
    notes.error("import-form", f"expected a file name, found {item!r}", at)
    return []


def _resolve(
    wanted: str, importer: str, own: bool, root: Path, types: Path, notes: Notes, at: Place
) -> tuple[str, bool] | None:
    """The file that an import means and whether it is ours; None where there is none, with a finding."""
    base = posixpath.basename(wanted)
    ours = (f"types:{base}", True) if OUR_FILES.match(base) and (types / base).is_file() else None
    if own:
        return ours
    if is_url(wanted):
        if ours is None:
            notes.warn(
                "import-not-fetched",
                f"{wanted} was not fetched: nothing is loaded from the network",
                at,
                "put the file into the package and import it by its path",
            )
        return ours
    folder = posixpath.dirname(importer)
    candidates = [posixpath.normpath(posixpath.join(folder, wanted)), posixpath.normpath(wanted)]
    candidates.append(posixpath.normpath(posixpath.join(folder, base)))
    inside = [c for c in candidates if not c.startswith(("../", "/")) and c != ".."]
    if candidates[0] not in inside:
        notes.error("import-outside", f"{wanted} leads out of the package", at, "import by a path in the package")
        return ours
    for candidate in inside:
        if (root / candidate).is_file():
            return candidate, False
    if ours is None:
        notes.error("import-not-found", f"{wanted} is not in the package", at, "add the file or mend its path")
    return ours


TypeLookup = Callable[[str, str], Map | None]
