"""YAML as plain values that remember where they stood, within bounds.

Aliases stay shared objects, so a file that expands a billion times costs nothing until something walks it; the size
with aliases written out is counted and refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from vnfm.tosca.limits import Limits
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.yamlbounds import beyond

Mark = tuple[int, int]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PREFIX = "tag:yaml.org,2002:"


class Map(dict[Any, Any]):
    """A mapping with its place; `marks` and `raw` hold each value's place and the text of a scalar, `duplicates` each
    key that came again with its place and the value that it had before: the last one counts.
    """

    __slots__ = ("duplicates", "file", "mark", "marks", "raw")

    def __init__(self, file: str = "", mark: Mark = (0, 0)) -> None:
        super().__init__()
        self.file = file
        self.mark = mark
        self.marks: dict[Any, Mark] = {}
        self.raw: dict[Any, str] = {}
        self.duplicates: list[tuple[Any, Mark, Any]] = []

    def place(self, key: object = None) -> Place:
        """Where the value of `key` stands, or the mapping itself."""
        return Place(self.file, *self.marks.get(key, self.mark))

    def sub(self, key: object) -> Map:
        """The mapping under `key`; an empty one at this place where there is none."""
        value = self.get(key)
        return value if isinstance(value, Map) else Map(self.file, self.marks.get(key, self.mark))

    def text(self, key: object) -> str:
        """The scalar as it was written (a version 1.10 stays 1.10); empty where there is none."""
        return self.raw.get(key, "") if self.get(key) is not None else ""


class Seq(list[Any]):
    """A sequence with its place."""

    __slots__ = ("file", "mark", "marks")

    def __init__(self, file: str = "", mark: Mark = (0, 0)) -> None:
        super().__init__()
        self.file = file
        self.mark = mark
        self.marks: list[Mark] = []

    def place(self, index: int | None = None) -> Place:
        """Where an item stands, or the sequence itself."""
        return Place(self.file, *(self.mark if index is None else self.marks[index]))


def load(data: bytes, file: str, limits: Limits, notes: Notes) -> Map | None:
    """The one document in `data` as a Map; None where it cannot be used, with a finding that says why."""
    if len(data) > limits.yaml_bytes:
        notes.error("yaml-too-large", f"{len(data)} bytes, at most {limits.yaml_bytes}", Place(file))
        return None
    if found := beyond(data, limits):
        code, message, mark = found
        notes.error(code, message, Place(file, *mark))
        return None
    try:
        node = _composed(data, file, notes)
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        at = Place(file, where.line + 1, where.column + 1) if where else Place(file)
        notes.error("yaml-syntax", f"{error.problem or error.context}", at)
        return None
    except (yaml.YAMLError, UnicodeError) as error:
        notes.error("yaml-syntax", str(error), Place(file), "YAML is written in UTF-8")
        return None
    except RecursionError:
        notes.error("yaml-too-deep", f"nested deeper than {limits.yaml_depth}", Place(file))
        return None
    if node is None or not isinstance(node, yaml.MappingNode):
        notes.error("yaml-no-mapping", "expected a mapping at the top", Place(file, 1, 1))
        return None
    builder = _Builder(file, limits)
    try:
        value = builder.build(node, 0)[0]
    except _Refused as refused:
        notes.error(refused.code, refused.message, Place(file, *refused.mark))
        return None
    assert isinstance(value, Map)
    return value


def _composed(data: bytes, file: str, notes: Notes) -> yaml.Node | None:
    """The document's nodes; of several documents in one file the one that says something."""
    text: bytes | str = data
    if not data.startswith(_UTF16):
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            if _BINARY.search(data):
                raise
            text = data.decode("cp1252", errors="replace")
            line = data.count(b"\n", 0, error.start) + 1
            notes.warn("yaml-encoding", "not UTF-8: read as Windows-1252", Place(file, line, 1), "save it as UTF-8")
    try:
        return yaml.compose(text, Loader=_LOADER)
    except yaml.composer.ComposerError as error:
        if "single document" not in str(error.context):
            raise
        documents = [n for n in yaml.compose_all(text, Loader=_LOADER) if isinstance(n, yaml.MappingNode)]
        mark = error.problem_mark
        at = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        notes.warn("yaml-documents", "several YAML documents in one file", at, "leave out what is not the template")
        told = [n for n in documents if any(k.value == "topology_template" for k, _ in n.value)]
        return next(iter([*told, *documents]), None)


def plain(value: Any) -> Any:
    """A copy as ordinary dicts and lists, aliases written out."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


class _Refused(Exception):
    def __init__(self, code: str, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.code, self.message, self.mark = code, message, mark


class _Builder:
    def __init__(self, file: str, limits: Limits) -> None:
        self._file = file
        self._limits = limits
        self._done: dict[int, tuple[Any, int, int]] = {}
        self._open: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, depth: int) -> tuple[Any, int, int]:
        """The value, how many nodes it has with aliases written out, and how deep it is."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node), 1, 1
        if id(node) in self._done:
            return self._done[id(node)]
        mark = _mark(node)
        if id(node) in self._open:
            raise _Refused("yaml-recursive", "an alias leads into itself", mark)
        if depth > self._limits.yaml_depth:
            raise _Refused("yaml-too-deep", f"nested deeper than {self._limits.yaml_depth}", mark)
        self._open.add(id(node))
        value: Map | Seq
        if isinstance(node, yaml.MappingNode):
            value, size, height = self._mapping(node, depth)
        else:
            value, size, height = self._sequence(node, depth)
        self._open.discard(id(node))
        if size > self._limits.yaml_nodes:
            raise _Refused("yaml-too-large", f"more than {self._limits.yaml_nodes} nodes with aliases", mark)
        if depth + height > self._limits.yaml_depth + 1:
            raise _Refused("yaml-too-deep", f"nested deeper than {self._limits.yaml_depth}", mark)
        self._done[id(node)] = (value, size, height)
        return self._done[id(node)]

    def _mapping(self, node: yaml.MappingNode, depth: int) -> tuple[Map, int, int]:
        result, size, height = Map(self._file, _mark(node)), 1, 1
        merged: list[Map] = []
        for key_node, value_node in node.value:
            value, n, h = self.build(value_node, depth + 1)
            size, height = size + n + 1, max(height, h + 1)
            if key_node.tag == _PREFIX + "merge":
                merged += [m for m in (value if isinstance(value, list) else [value]) if isinstance(m, Map)]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Refused("yaml-key", "a key is no scalar", _mark(key_node))
            key = key_node.value  # as it is written: a node may be called `on` or 1
            if key in result:
                result.duplicates.append((key, _mark(key_node), result[key]))
            self._put(result, key, value, _mark(value_node), value_node.value)
        for other in merged:
            for key, value in other.items():
                if key not in result:
                    self._put(result, key, value, other.marks[key], other.raw.get(key))
        return result, size, height

    def _sequence(self, node: yaml.Node, depth: int) -> tuple[Seq, int, int]:
        result, size, height = Seq(self._file, _mark(node)), 1, 1
        for item in node.value:
            value, n, h = self.build(item, depth + 1)
            size, height = size + n, max(height, h + 1)
            result.append(value)
            result.marks.append(_mark(item))
        return result, size, height

    @staticmethod
    def _put(result: Map, key: Any, value: Any, mark: Mark, raw: object) -> None:
        result[key] = value
        result.marks[key] = mark
        if isinstance(raw, str):
            result.raw[key] = raw

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag = node.tag.removeprefix(_PREFIX)
        try:
            if tag == "null":
                return None
            if tag == "bool":
                return self._scalars.construct_yaml_bool(node)
            if tag == "int":
                return self._scalars.construct_yaml_int(node)
            if tag == "float":
                return self._scalars.construct_yaml_float(node)
        except (ValueError, KeyError, IndexError):
            pass  # not what its tag says: it stays text
        return node.value


def _mark(node: yaml.Node) -> Mark:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
