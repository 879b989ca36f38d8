"""Whose an object is and what was asked: names and tags of stacks. Pure.

Everything that the plugin makes is a Heat stack whose name follows from manager and resource_id and whose tags, given
with its creation, hold the whole stamp. A value that a tag cannot hold is percent-encoded and cut into pieces.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from vnfm.pb.common.v1.common_pb2 import Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

PREFIX = "vnfm"
_TAG_CHARS = 80  # Heat's limit
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_NAME_CHARS = 180


@dataclass(frozen=True, slots=True)
class Stamp:
    """What stands on a stack."""

    resource_id: str
    kind: pb.Kind.ValueType
    digest: str
    owner: Owner
    host_id: str = ""
    generation: int = 0
    members: tuple[str, ...] = ()
    network: str = ""  # of a link that is to be joined: the network outside, as operators call it


def manager_tag(manager_id: str) -> str:
    """By which one manager's stacks are listed."""
    return f"{PREFIX}.by={_short(manager_id, 16)}"


def stack_name(manager_id: str, resource_id: str) -> str:
    """The same for the same ids, another one for all others; the id as it is wherever a name can hold it."""
    plain = _NAME.fullmatch(resource_id) and len(resource_id) <= _NAME_CHARS
    return f"{PREFIX}-{_short(manager_id, 8)}-{resource_id if plain else _short(resource_id, 32)}"


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def tags(stamp: Stamp) -> list[str]:
    """The stamp as tags."""
    owner = stamp.owner
    fields: list[tuple[str, str]] = [
        ("id", stamp.resource_id),
        ("kind", pb.Kind.Name(stamp.kind)),
        ("digest", stamp.digest),
        ("manager", owner.manager_id),
        ("tenant", owner.tenant),
        ("chain", owner.chain_id),
        ("vnf", owner.vnf_instance_id),
        ("op", owner.op_occ_id),
        ("fence", str(owner.fence)),
        ("host", stamp.host_id),
        ("generation", str(stamp.generation or "")),
        ("network", stamp.network),
        *((f"member{number}", member) for number, member in enumerate(stamp.members)),
    ]
    found = [PREFIX, manager_tag(owner.manager_id)]
    for key, value in fields:
        found.extend(_pieces(key, value))
    return found


def _pieces(key: str, value: str) -> Iterable[str]:
    encoded = quote(value, safe=":")
    room = _TAG_CHARS - len(f"{PREFIX}.{key}+99=")
    for number, start in enumerate(range(0, len(encoded), room)):
        yield f"{PREFIX}.{key}{f'+{number}' if number else ''}={encoded[start : start + room]}"


def read(tags: Sequence[str] | None) -> Stamp | None:
    """The stamp that stands in these tags; None where there is none of ours."""
    pieces: dict[str, dict[int, str]] = {}
    for tag in tags or ():
        name, equals, value = tag.partition("=")
        key, _, number = name.removeprefix(f"{PREFIX}.").partition("+")
        if equals and name.startswith(f"{PREFIX}.") and (not number or number.isdecimal()):
            pieces.setdefault(key, {})[int(number or 0)] = value
    values = {key: unquote("".join(part for _, part in sorted(parts.items()))) for key, parts in pieces.items()}
    kind = pb.Kind.DESCRIPTOR.values_by_name.get(values.get("kind", ""))
    if kind is None or not values.get("id") or not values.get("manager"):
        return None
    members = sorted((key for key in values if re.fullmatch(r"member\d+", key)), key=lambda key: int(key[6:]))
    return Stamp(
        resource_id=values["id"],
        kind=pb.Kind.ValueType(kind.number),
        digest=values.get("digest", ""),
        owner=Owner(
            tenant=values.get("tenant", ""),
            vnf_instance_id=values.get("vnf", ""),
            chain_id=values.get("chain", ""),
            op_occ_id=values.get("op", ""),
            fence=_whole(values.get("fence", "")),
            manager_id=values["manager"],
        ),
        host_id=values.get("host", ""),
        generation=_whole(values.get("generation", "")),
        members=tuple(values[key] for key in members),
        network=values.get("network", ""),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
