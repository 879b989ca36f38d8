"""YAML from strangers as a tree that remembers where each value stands.

Bounded before anything is built: size, number of events, depth; anchors and aliases are refused, so nothing expands.
Duplicate keys are kept as findings, since YAML itself would silently drop all but the last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from vnfm.model.problem import ProblemError, problem

MAX_BYTES = 256 * 1024
MAX_EVENTS = 40_000
MAX_DEPTH = 40

Scalar = str | int | float | bool | None

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: `path` is dotted from the root, `line` counts from 1."""

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    path: str
    line: int

    @property
    def mapping(self) -> Mapping[str, Node] | None:
        """The value where it is a mapping."""
        return self.value if isinstance(self.value, Mapping) else None

    @property
    def items(self) -> tuple[Node, ...] | None:
        """The value where it is a list."""
        return self.value if isinstance(self.value, tuple) else None

    @property
    def shown(self) -> str:
        """The value in a few words, for messages."""
        if isinstance(self.value, Mapping):
            return "a mapping"
        if isinstance(self.value, tuple):
            return "a list"
        text = "nothing" if self.value is None else repr(self.value)
        return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True, slots=True)
class Twice:
    """A key that stands twice in one mapping."""

    key: str
    path: str
    line: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Document:
    """The whole file."""

    root: Node
    duplicates: tuple[Twice, ...] = ()


@dataclass(slots=True)
class _Reader:
    """Turns composed YAML nodes into Nodes."""

    filename: str
    duplicates: list[Twice] = field(default_factory=list)
    construct: yaml.constructor.SafeConstructor = field(default_factory=yaml.constructor.SafeConstructor)

    def node(self, raw: yaml.Node, path: str) -> Node:
        line = raw.start_mark.line + 1
        if isinstance(raw, yaml.MappingNode):
            return Node(dict(self._pairs(raw, path)), path, line)
        if isinstance(raw, yaml.SequenceNode):
            return Node(tuple(self.node(v, f"{path}[{i}]") for i, v in enumerate(raw.value)), path, line)
        return Node(self._scalar(raw), path, line)

    def _pairs(self, raw: yaml.MappingNode, path: str) -> Iterator[tuple[str, Node]]:
        seen: dict[str, int] = {}
        for key_node, value_node in raw.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _bad(self.filename, line, f"a key of {path or 'the file'} is no plain word", "Write a name.")
            key = key_node.value
            where = f"{path}.{key}" if path else key
            if key in seen:
                self.duplicates.append(Twice(key, where, line, seen[key]))
                continue
            seen[key] = line
            value = self.node(value_node, where)
            # An empty value is marked where the next token begins; the key's line is what a reader looks for.
            yield key, Node(value.value, where, line)

    def _scalar(self, raw: yaml.Node) -> Scalar:
        if raw.tag not in _PLAIN_TAGS:
            return str(raw.value)
        with contextlib.suppress(ValueError, OverflowError):
            value: Any = self.construct.construct_object(raw)
            if isinstance(value, str | int | float | bool) or value is None:
                return value
        return str(raw.value)


def read_yaml(text: bytes, filename: str) -> Document:
    """The tree of a YAML file.

    Raises ProblemError `too-large` for what passes the limits, `bad-yaml` for what is no YAML, holds more than one
    document, or uses anchors and aliases.
    """
    if len(text) > MAX_BYTES:
        raise problem(
            "too-large",
            f"{filename}: {len(text)} bytes; expected at most {MAX_BYTES}. Drop what is no part of it.",
            instance=filename,
        )
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        decoded = text.decode("utf-8-sig")
        _bound(decoded, filename, loader)
        raw = yaml.compose(decoded, Loader=loader)
    except UnicodeDecodeError as error:
        raise _bad(filename, 0, f"byte {error.start} is no UTF-8", "Save the file as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _bad(filename, line, f"no YAML: {error.problem or error.context}", "Mend the line.") from error
    except yaml.YAMLError as error:
        raise _bad(filename, 0, f"no YAML: {error}", "Save it as plain text.") from error
    if raw is None:
        raise _bad(filename, 0, "the file is empty", "Begin with `chain: NAME` or an NSD's tosca_definitions_version.")
    reader = _Reader(filename)
    return Document(reader.node(raw, ""), tuple(reader.duplicates))


def _bound(text: str, filename: str, loader: Any) -> None:
    """Walk the events, which nothing can blow up, before a tree is built from them."""
    depth = 0
    for events, event in enumerate(yaml.parse(text, Loader=loader)):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _bad(filename, line, "anchors and aliases are not taken", "Write the value out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if events > MAX_EVENTS or depth > MAX_DEPTH:
            what = f"more than {MAX_EVENTS} values" if events > MAX_EVENTS else f"nested deeper than {MAX_DEPTH}"
            raise problem("too-large", f"{filename}:{line}: {what}. Make it smaller.", instance=filename)


def _bad(filename: str, line: int, what: str, mend: str) -> ProblemError:
    place = f"{filename}:{line}" if line else filename
    return problem("bad-yaml", f"{place}: {what}. {mend}", instance=filename)
