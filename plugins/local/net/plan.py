"""What a link needs on the host, worked out from its specification alone: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plugins.local.net import naming
from plugins.local.net.errors import InvalidSpecError
from plugins.local.net.specs import LinkSpec, Member, MemberKind, Wiring

MTU_MIN, MTU_MAX = 576, 65535


@dataclass(frozen=True, slots=True)
class Port:
    """A member's port: `interface` in `namespace` (empty for a VM), `far` in the carrier (empty in a pair)."""

    member: Member
    namespace: str
    interface: str
    far: str
    alias: str


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """`carrier` is the fabric's or bridge's namespace, empty for a pair."""

    id: str
    wiring: Wiring
    carrier: str
    mtu_bytes: int
    ports: tuple[Port, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The members' namespaces."""
        return tuple(dict.fromkeys(port.namespace for port in self.ports if port.namespace))

    @property
    def native_id(self) -> str:
        """What an operator looks for."""
        return self.carrier or " ".join(f"{port.namespace}/{port.interface}" for port in self.ports)


def wiring_of(spec: LinkSpec) -> Wiring:
    """Two ends: a pair, or fabric ports where one is a guest or steering is asked for; any other number: a bridge."""
    if spec.open_ended or len(spec.members) != 2:
        return Wiring.BRIDGE
    guest = any(member.kind.is_guest for member in spec.members)
    return Wiring.FABRIC if guest or spec.steered else Wiring.PAIR


def check_link(spec: LinkSpec) -> None:
    """InvalidSpecError naming the first field that has no sense."""
    naming.check_id("link id", spec.id)
    if spec.chain_id:
        naming.check_id("chain id", spec.chain_id)
    if not MTU_MIN <= spec.mtu_bytes <= MTU_MAX:
        raise InvalidSpecError(f"mtu_bytes: expected {MTU_MIN}-{MTU_MAX}, got {spec.mtu_bytes}")
    seen: set[tuple[str, str]] = set()
    for member in spec.members:
        naming.check_id("member resource id", member.resource_id)
        key = (member.resource_id, member.cp_id)
        if key in seen:
            raise InvalidSpecError(f"members: {member.resource_id}/{member.cp_id} stands there twice")
        seen.add(key)


def fabric_of(chain_id: str, link_id: str) -> str:
    """The fabric that a link's ports belong in: its chain's, or one of its own."""
    return naming.fabric_name(chain_id or link_id)


def plan_link(spec: LinkSpec) -> LinkPlan:
    """The link's parts by name."""
    check_link(spec)
    wiring = wiring_of(spec)
    carrier = {
        Wiring.PAIR: "",
        Wiring.FABRIC: fabric_of(spec.chain_id, spec.id),
        Wiring.BRIDGE: naming.bridge_namespace_name(spec.id),
    }[wiring]
    ports = tuple(
        Port(
            member,
            naming.namespace_name(member.resource_id) if member.kind.has_namespace else "",
            naming.interface_name(member.cp_id),
            naming.port_name(member.resource_id, member.cp_id) if carrier else "",
            naming.alias(spec.id, member.resource_id, member.cp_id),
        )
        for member in spec.members
    )
    return LinkPlan(spec.id, wiring, carrier, spec.mtu_bytes, ports)


def link_to_stamp(spec: LinkSpec) -> dict[str, Any]:
    """The stamp of a link."""
    return {
        "id": spec.id,
        "chain_id": spec.chain_id,
        "mtu_bytes": spec.mtu_bytes,
        "steered": spec.steered,
        "members": [[member.resource_id, member.cp_id, member.kind.value] for member in spec.members],
        "owner": dict(spec.owner),
        "open_ended": spec.open_ended,
    }


def link_from_stamp(stamp: Mapping[str, Any]) -> LinkSpec | None:
    """The link out of its stamp; None where the stamp is unreadable."""
    try:
        return LinkSpec(
            str(stamp["id"]),
            tuple(Member(resource, cp, MemberKind(kind)) for resource, cp, kind in stamp["members"]),
            str(stamp["chain_id"]),
            int(stamp["mtu_bytes"]),
            bool(stamp["steered"]),
            dict(stamp["owner"]),
            bool(stamp.get("open_ended", False)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def same_wiring(one: LinkSpec, other: LinkSpec) -> bool:
    """Whether two specifications ask for the same thing; who asked does not matter."""
    open_ended = one.open_ended and other.open_ended
    return (open_ended or one.members == other.members) and (
        one.chain_id,
        one.mtu_bytes,
        one.steered,
        one.open_ended,
    ) == (other.chain_id, other.mtu_bytes, other.steered, other.open_ended)
