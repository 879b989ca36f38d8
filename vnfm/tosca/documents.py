"""The entry file and what it imports, each file once, and every type that they define."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vnfm.tosca.camel import with_standard_names
from vnfm.tosca.imports import Import, Missing, Resolver, imports_of
from vnfm.tosca.library import Library
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.sol001 import EXTRA, STEMS, Definitions, OurFile, version_in_text
from vnfm.tosca.yamldoc import Map

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
_VERSIONS = re.compile(r"^tosca_simple_(yaml_1_[0-3]|profile_for_nfv_1_0_0)$")
_OTHERS = re.compile(rb"^(?:ETSI-)?Other-Definitions\s*:(.*(?:\n[ \t].*)*)", re.M | re.I)
_MOST_CIRCLES = 8  # that are told: files that all import each other have thousands
_WRITTEN_PER_FILE = 100  # import statements in all, for each file that may be imported
_TEXTS = ("description", "metadata")


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
    sol001: str = ""  # the version that the package names, if any
    missing: list[Missing] = field(default_factory=list)

    def add(self, document: Document, prefixes: Collection[str] = ()) -> None:
        """Take a document's types; the first definition of a name counts, a package's before ours.

        Where it was imported with a namespace_prefix its types go by `prefix:name` too.
        """
        self.order.append(document)
        for section in SECTIONS:
            definitions = document.body.sub(section)
            for name in definitions:
                definition = definitions.sub(name)
                self.types.setdefault((section, str(name)), definition)
                for prefix in prefixes:
                    self.types.setdefault((section, f"{prefix}:{name}"), definition)


@dataclass
class _Walk:
    """Breadth first through the package's files; what is wanted of ours is gathered for later."""

    texts: Mapping[str, bytes]
    library: Library
    resolver: Resolver
    documents: Documents = field(default_factory=Documents)
    ours: dict[OurFile, set[str]] = field(default_factory=dict)
    prefixes: dict[str, set[str]] = field(default_factory=dict)
    links: dict[str, list[tuple[str, Place]]] = field(default_factory=dict)
    written: int = 0

    def _reach(self, entries: Sequence[str], bodies: dict[str, Map]) -> dict[str, Map]:
        notes, limits = self.library.notes, self.library.limits
        pending, seen = deque([(e, Place(e)) for e in entries]), {*entries, *bodies}
        while pending:
            file, at = pending.popleft()
            body = self.library.take(self.texts.get(file), file, at)
            if body is None:
                continue
            body = bodies[file] = with_standard_names(body, notes)
            _check_version(file, body, notes)
            for wanted, found in self._found(file, body):
                self.links.setdefault(file, []).append((found, wanted.at))
                if found not in seen:
                    seen.add(found)
                    pending.append((found, wanted.at))
            if len(seen) > limits.imports or self.written > _WRITTEN_PER_FILE * limits.imports:
                notes.error("import-too-many", f"more than {limits.imports} imports", at)
                break
        return bodies

    def _unimported(self, entry: str, bodies: dict[str, Map]) -> Iterator[str]:
        """Templates that the entry's VNF is substituted by and that nobody imports, as SOL001 A.2 has them."""
        top = _nodes(bodies.get(entry, Map()))
        kinds = [n.get("type") for n in top.values() if isinstance(n, Map) and isinstance(n.get("type"), str)]
        if len(top) != 1 or any(_nodes(b) for f, b in bodies.items() if f != entry):
            return
        found: dict[int, list[tuple[str, Place]]] = {}
        for name in sorted(self.resolver.names):
            data = self.texts.get(name, b"")
            if name in bodies or not name.lower().endswith((".yaml", ".yml")):
                continue
            if b"substitution_mappings" not in data or b"topology_template" not in data:
                continue
            body = self.library.take(data, name, Place(name))
            mappings = body.sub("topology_template").sub("substitution_mappings") if body is not None else Map()
            if mappings.get("node_type") in kinds:
                found.setdefault(_distance(name, entry), []).append((name, mappings.place("node_type")))
        listed = b" ".join(_OTHERS.findall(self.texts.get("TOSCA-Metadata/TOSCA.meta", b"")))
        for name, at in found[min(found)] if found else ():  # what lies further off may be a copy
            if name.encode() in listed:
                yield name
                continue
            self.library.notes.warn(
                "flavour-not-imported",
                f"{name} substitutes the VNF of {entry}, which does not import it: it was read as a flavour",
                at,
                "name it under Other-Definitions in TOSCA.meta, or import it",
            )
            yield name

    def run(self, entry: str) -> None:
        """Read the entry and all that it leads to."""
        bodies = self._reach([entry], {})
        bodies = self._reach([*self._unimported(entry, bodies)], bodies)
        for file, body in bodies.items():
            self.documents.add(Document(file, body), self.prefixes.get(file, ()))
        self._name_cycles(entry)

    def _found(self, file: str, body: Map) -> Iterator[tuple[Import, str]]:
        for wanted in imports_of(body, self.library.notes):
            self.written += 1
            if self.written > _WRITTEN_PER_FILE * self.library.limits.imports:
                return
            found = self.resolver.resolve(wanted, file)
            if isinstance(found, OurFile):
                self.ours.setdefault(found, set()).update({wanted.prefix} - {""})
            elif found is not None:
                if wanted.prefix:
                    self.prefixes.setdefault(found, set()).add(wanted.prefix)
                yield wanted, found

    def _name_cycles(self, entry: str) -> None:
        """Files that import each other: each was read once, but nobody else could read them."""
        done, told = set[str](), 0
        path: list[str] = [entry]
        stack = [iter(self.links.get(entry, ()))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                done.add(path.pop())
                continue
            file, at = step
            if file in path and told < _MOST_CIRCLES:
                told += 1
                loop = [*path[path.index(file) :], file]
                text = " → ".join(loop if len(loop) < 7 else [*loop[:3], "…", *loop[-2:]])
                self.library.notes.error(
                    "import-cycle", f"imports lead in a circle: {text}", at, "drop one of these imports"
                )
            elif file not in done and file not in path:
                path.append(file)
                stack.append(iter(self.links.get(file, ())))


def _distance(name: str, entry: str) -> int:
    """0 beside the entry, 1 below it, 2 elsewhere."""
    home, folder = posixpath.dirname(entry), posixpath.dirname(name)
    return 0 if folder == home else 1 if not home or folder.startswith(f"{home}/") else 2


def _nodes(body: Map) -> Map:
    return body.sub("topology_template").sub("node_templates")


def read_documents(
    entry: str, texts: Mapping[str, bytes], names: Collection[str], ours: Definitions, library: Library
) -> Documents:
    """`entry` and its imports: from `texts`, which are of the package's files `names`, and from our own definitions."""
    walk = _Walk(texts, library, Resolver(names, library.notes))
    walk.run(entry)
    documents = walk.documents
    documents.missing = walk.resolver.missing
    named = next((f.version for f in walk.ours if f.version), "")
    documents.sol001 = named or next((v for d in documents.order if (v := _told_version(d.body))), "")
    _add_ours(documents, walk.ours, ours)
    return documents


def add_our_types(documents: Documents, ours: Definitions) -> None:
    """Our VNFD types, for packages that import none: names that are defined already stay as they are."""
    _add_ours(documents, {OurFile(EXTRA): set(), OurFile(STEMS[1]): set()}, ours)


def _add_ours(documents: Documents, wanted: dict[OurFile, set[str]], ours: Definitions) -> None:
    have = {d.file for d in documents.order}
    named: dict[OurFile, set[str]] = {}
    for file, prefixes in wanted.items():
        version = file.version or ("" if file.stem == EXTRA else documents.sol001)
        named.setdefault(OurFile(file.stem, version), set()).update(prefixes)
    pending = deque(named.items())
    while pending:
        file, prefixes = pending.popleft()
        body = ours.file(file) if file.file not in have else None
        if body is None:
            continue
        have.add(file.file)
        documents.add(Document(file.file, body, ours=True), prefixes)
        below = {"vnfm_types": STEMS[1], STEMS[1]: STEMS[0], STEMS[2]: STEMS[0]}.get(file.stem)
        if below is not None:
            pending.append((OurFile(below, file.version), prefixes))


def _told_version(body: Map) -> str:
    """The version that a descriptor says in words that it is written in."""
    for key in _TEXTS:
        value = body.get(key)
        for text in value.values() if isinstance(value, Map) else [value]:
            if isinstance(text, str) and (found := version_in_text(text)):
                return found
    return ""


def _check_version(file: str, body: Map, notes: Notes) -> None:
    version = body.get("tosca_definitions_version")
    if version is None:
        notes.warn("tosca-version", "tosca_definitions_version is missing", body.place())
    elif not _VERSIONS.match(str(version)):
        notes.warn(
            "tosca-version",
            f"{version!r} is no version that is known here",
            body.place("tosca_definitions_version"),
            "tosca_simple_yaml_1_2 and _1_3 are SOL001's",
        )
