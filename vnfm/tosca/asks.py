"""What a node asks for: its requirements, in the notations that TOSCA has had and in some that people make of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vnfm.tosca.guess import squeezed
from vnfm.tosca.notes import Place
from vnfm.tosca.yamldoc import Map, Seq

_KEYNAMES = ("node", "capability", "relationship", "node_filter", "occurrences", "name", "type", "interface")


@dataclass(frozen=True, slots=True)
class Ask:
    """A requirement: its name as it is written and as it is compared, and the node that it leads to."""

    written: str
    name: str
    target: str
    at: Place
    further: bool = False  # behind the first in a list: a name, or what [node, capability] says after the node


def asks_of(body: Map) -> tuple[Ask, ...]:
    """Every requirement of a node that names another node."""
    raw = body.get("requirements")
    holders = [m for m in raw if isinstance(m, Map)] if isinstance(raw, Seq) else [raw] if isinstance(raw, Map) else []
    return tuple(
        Ask(str(k), squeezed(k), target, at, n > 0)
        for m in holders
        for k, value, at in _entries(m)
        for n, target in enumerate(_targets(value))
    )


def every_pair(holder: Map) -> Iterator[tuple[Any, Any, Place]]:
    """All that a mapping says, also of keys that come again: a list was meant."""
    for key, mark, value in holder.duplicates:
        yield key, value, Place(holder.file, *mark)
    for key, value in holder.items():
        is_number = isinstance(value, int) and not isinstance(value, bool)
        yield key, holder.text(key) if is_number else value, holder.place(key)  # 010 is a name too


def _entries(holder: Map) -> Iterator[tuple[Any, Any, Place]]:
    first = next(iter(holder), None)
    beside = holder.get("node")
    if first is not None and first not in _KEYNAMES and holder[first] is None and isinstance(beside, str):
        yield first, beside, holder.place("node")  # what belongs under the name stands beside it
        return
    if isinstance(named := holder.get("name"), str) and isinstance(beside, str):
        yield named, beside, holder.place("node")
        return
    yield from every_pair(holder)


def _targets(value: Any) -> Iterator[str]:
    """A name, {node: name}, or a list of these."""
    if isinstance(value, Seq):
        for item in value:
            yield from _targets(item)
    elif isinstance(value, Map):
        node = value.get("node")
        if not isinstance(node, Map):
            yield from _targets(node)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)
