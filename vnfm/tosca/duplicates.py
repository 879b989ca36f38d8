"""Keys that come again in one mapping: told, and where sections were meant to be one, put together."""

from __future__ import annotations

from typing import Any

from vnfm.tosca.guess import squeezed
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.yamldoc import Map, Mark, Seq

_SECTIONS = frozenset(
    squeezed(name)
    for name in (
        *("topology_template", "node_templates", "policies", "groups", "inputs", "outputs", "imports"),
        *("substitution_mappings", "relationship_templates", "metadata"),
        *("node_types", "data_types", "capability_types", "relationship_types"),
        *("interface_types", "policy_types", "group_types", "artifact_types"),
        *("properties", "attributes", "capabilities", "requirements", "artifacts", "interfaces"),
    )
)
_NAMED = frozenset(squeezed(name) for name in ("node_templates", "groups", "policies"))  # told as template-duplicate
_HINT = "keep one of them"
_Path = tuple[str, ...]


def joined(body: Map, notes: Notes) -> Map:
    """A document, each key that comes again noted; the blocks of a section that comes again are in it as one."""
    seen: set[int] = set()
    pending: list[tuple[Map | Seq, _Path]] = [(body, ())]
    while pending:
        value, path = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Map):
            if value.duplicates:
                _tell(value, path, notes)
            below = [(v, (*path, str(k))) for k, v in value.items() if isinstance(v, Map | Seq)]
        else:
            below = [(v, path) for v in value if isinstance(v, Map | Seq)]
        pending.extend(reversed(below))
    return body


def _tell(holder: Map, path: _Path, notes: Notes) -> None:
    names = [squeezed(p) for p in path]
    above = names[-1] if names else ""
    if above in _NAMED and len(path) <= 2:
        return
    if above == "requirements" and "substitutionmappings" in names:
        return  # told as mapping-duplicate
    counted = above == "requirements" and "nodetemplates" in names
    blocks: dict[Any, list[Any]] = {}
    if above not in _NAMED:
        for key, _, value in holder.duplicates:
            if squeezed(key) in _SECTIONS:
                blocks.setdefault(key, []).append(value)
    whole = {key: _together([*values, holder[key]]) for key, values in blocks.items()}
    where = f"{'.'.join(path[-2:])}: " if path else ""
    for key, mark, _ in holder.duplicates:
        each = counted or whole.get(key) is not None
        counts = "each one counts" if each else "the last one counts"
        place = Place(holder.file, *mark)
        notes.warn("key-duplicate", f"{where}{key} comes again; {counts}", place, "write it once" if each else _HINT)
    for key, value in whole.items():
        if value is not None:
            holder[key] = value


def _together(blocks: list[Any]) -> Map | Seq | None:
    """Several blocks as one; None where they are of different kinds."""
    said = [b for b in blocks if b is not None]
    if said and all(isinstance(b, Map) for b in said):
        return _one_map(said)
    if said and all(isinstance(b, Seq) for b in said):
        result = Seq(said[0].file, said[0].mark)
        for block in said:
            result.extend(block)
            result.marks.extend(block.marks)
        return result
    return None


def _one_map(blocks: list[Map]) -> Map:
    result = Map(blocks[0].file, blocks[0].mark)
    for block in blocks:
        result.duplicates.extend(block.duplicates)
        for key, value in block.items():
            mark: Mark = block.marks.get(key, block.mark)
            if key in result:
                result.duplicates.append((key, mark, result[key]))
            result[key], result.marks[key] = value, mark
            result.raw.pop(key, None)
            if key in block.raw:
                result.raw[key] = block.raw[key]
    return result
