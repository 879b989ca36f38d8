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


def asks_of(body: Map) -> tuple[Ask, ...]:
    """Every requirement of a node that names another node."""
    raw = body.get("requirements")
    holders = [m for m in raw if isinstance(m, Map)] if isinstance(raw, Seq) else [raw] if isinstance(raw, Map) else []
    return tuple(Ask(str(k), squeezed(k), t, at) for m in holders for k, t, at in _entries(m))


def every_pair(holder: Map) -> Iterator[tuple[Any, Any, Place]]:
    """All that a mapping says, also of keys that come again: a list was meant."""
    for key, mark, value in holder.duplicates:
        yield key, value, Place(holder.file, *mark)
    for key, value in holder.items():
        yield key, value, holder.place(key)


def _entries(holder: Map) -> Iterator[tuple[Any, str, Place]]:
    first = next(iter(holder), None)
    beside = holder.get("node")
    if first is not None and first not in _KEYNAMES and holder[first] is None and isinstance(beside, str):
        yield first, beside, holder.place("node")  # what belongs under the name stands beside it
        return
    if isinstance(named := holder.get("name"), str) and isinstance(beside, str):
        yield named, beside, holder.place("node")
        return
    for key, value, at in every_pair(holder):
        if isinstance(value, Seq) and len(value) == 1 and isinstance(value[0], Map):
            value = value[0]
        target = value.get("node") if isinstance(value, Map) else value
        if isinstance(target, Seq) and target:  # [node, capability], as in substitution_mappings
            target = target[0]
        if isinstance(target, int) and not isinstance(target, bool):
            target = str(target)
        if isinstance(target, str):
            yield key, target, at
