"""Descriptors whose keynames are written togetherLikeThis, as some programs' data classes put them out."""

from __future__ import annotations

import re
from typing import Any

from vnfm.tosca.notes import Notes
from vnfm.tosca.yamldoc import Map, Seq

_SIGNS = ("toscaDefinitionsVersion", "topologyTemplate")
_TOGETHER = re.compile(r"^[a-z][a-z0-9]*([A-Z][a-z0-9]*)+$")
_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAMING = frozenset(  # what has names beneath, which stay as they are
    [
        *("node_templates", "inputs", "outputs", "groups", "policies", "artifacts"),
        *("aspects", "levels", "deltas", "scale_info"),
        *("node_types", "data_types", "capability_types", "relationship_types"),
        *("policy_types", "group_types", "artifact_types", "interface_types"),
    ]
)


def with_standard_names(body: Map, notes: Notes) -> Map:
    """A document with its keynames as TOSCA has them; the document itself where they are."""
    sign = next((s for s in _SIGNS if s in body), None)
    if sign is None:
        return body
    notes.warn(
        "keyname-form",
        f"keynames such as {sign} were read as {_apart(sign)}",
        body.place(sign),
        "TOSCA writes keynames in small letters with _ between the words",
    )
    return _renamed(body)


def _apart(key: Any) -> Any:
    return _BORDER.sub("_", key).lower() if isinstance(key, str) and _TOGETHER.match(key) else key


def _renamed(body: Map, names: bool = False) -> Map:
    result = Map(body.file, body.mark)
    result.duplicates = body.duplicates
    for key, value in body.items():
        new = key if names else _apart(key)
        result[new] = _value(value, new in _NAMING and not names)
        result.marks[new] = body.marks[key]
        if key in body.raw:
            result.raw[new] = body.raw[key]
    return result


def _value(value: Any, names: bool) -> Any:
    if isinstance(value, Map):
        return _renamed(value, names)
    if isinstance(value, Seq):
        result = Seq(value.file, value.mark)
        result.marks = value.marks
        result.extend(_value(item, names) for item in value)
        return result
    return value
