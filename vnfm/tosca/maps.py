"""Mappings put together: each value keeps its place. Only `take_missing` changes what it is given."""

from __future__ import annotations

from typing import Any

from vnfm.tosca.yamldoc import Map


def take_missing(into: Map, other: Map) -> None:
    """Add what `into` has not, with its place."""
    for key, value in other.items():
        if into.get(key) is None:
            into[key], into.marks[key] = value, other.marks.get(key, other.mark)
            if key in other.raw:
                into.raw[key] = other.raw[key]
            into.file = into.file or other.file


def with_defaults(said: Map, defaults: Map) -> Map:
    """`said`, and of `defaults` what it has not. The place of a default is its own where it is in the same file."""
    if all(said.get(key) is not None for key in defaults):
        return said
    result = together(Map(said.file, said.mark), said, list(said))
    take_missing(result, defaults)
    if defaults.file != result.file:
        result.marks |= {key: result.mark for key in defaults if said.get(key) is None}
    return result


def together(properties: Map, body: Map, more: list[Any]) -> Map:
    """`properties`, and what stands beside them in `body` under the keys `more`."""
    result = Map(body.file, properties.mark)
    for holder, keys in ((body, more), (properties, list(properties))):
        for key in keys:
            result[key], result.marks[key] = holder[key], holder.marks.get(key, holder.mark)
            if key in holder.raw:
                result.raw[key] = holder.raw[key]
    return result


def deeply(body: Map, basis: Map) -> Map:
    """`body`, and what it lacks of `basis` at any depth."""
    result = together(Map(body.file, body.mark), body, list(body))
    for key, value in basis.items():
        if isinstance(value, Map) and isinstance(result.get(key), Map):
            result[key] = deeply(result[key], value)
    take_missing(result, basis)
    return result


def is_wrapped(value: Any) -> bool:
    """Whether a value stands under one more `properties`; an additional capability may be called so."""
    inner = value.get("properties") if isinstance(value, Map) and len(value) == 1 else None
    return isinstance(inner, Map) and "requested_additional_capability_name" not in inner


def unwrapped(properties: Map) -> Map:
    """Properties, those that are wrapped without it."""
    result = together(Map(properties.file, properties.mark), properties, list(properties))
    for key, value in properties.items():
        if is_wrapped(value):
            result[key] = value["properties"]
    return result
