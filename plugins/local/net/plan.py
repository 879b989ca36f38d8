"""What a link needs on the host, worked out from its specification alone: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from plugins.local.net import naming
from plugins.local.net.errors import InvalidSpecError
from plugins.local.net.specs import Encap, LinkSpec, Member, MemberKind, Remote, Segment, Wiring

MTU_MIN, MTU_MAX = 576, 65535
EDGE_CP = "edge"  # the connection point by which a link goes on in another VIM


@dataclass(frozen=True, slots=True)
class Port:
    """A member's port: `interface` in `namespace` (empty for a VM and an edge), `far` in the carrier (empty in a
    pair)."""

    member: Member
    namespace: str
    interface: str
    far: str
    alias: str


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """`carrier` is the fabric's or bridge's namespace, empty for a pair; `fabric` that of the link's chain.

    `native`: its two members were made for each other, so that their frames need no translation; of a `steered` link
    that holds only where their addresses say so, too.
    """

    id: str
    wiring: Wiring
    carrier: str
    mtu_bytes: int
    ports: tuple[Port, ...]
    fabric: str = ""
    native: bool = False
    steered: bool = False

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The members' namespaces."""
        return tuple(dict.fromkeys(port.namespace for port in self.ports if port.namespace))

    @property
    def native_id(self) -> str:
        """What an operator looks for."""
        return self.carrier or " ".join(f"{port.namespace}/{port.interface}" for port in self.ports)


def wiring_of(spec: LinkSpec) -> Wiring:
    """Fabric ports where steering is asked for, the link goes on outside, or one of two is a guest; a pair for other
    two; else a bridge."""
    if spec.steered or spec.segment:
        return Wiring.FABRIC
    if spec.open_ended or len(spec.members) != 2:
        return Wiring.BRIDGE
    return Wiring.FABRIC if any(member.kind.is_guest for member in spec.members) else Wiring.PAIR


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
    """The link's parts by name. A pair keeps both ends until it is terminated: one end goes with the other."""
    check_link(spec)
    wiring = wiring_of(spec)
    fabric = fabric_of(spec.chain_id, spec.id)
    carrier = {
        Wiring.PAIR: "",
        Wiring.FABRIC: fabric,
        Wiring.BRIDGE: naming.bridge_namespace_name(spec.id),
    }[wiring]
    members = [one for one in spec.members if wiring is Wiring.PAIR or one.resource_id not in spec.gone]
    if wiring is Wiring.BRIDGE:
        members += spec.late
    ports = tuple(_port(spec, member, bool(carrier)) for member in members)
    whole = len(spec.members)
    if spec.segment:
        ports, whole = (*ports, _port(spec, Member(spec.id, EDGE_CP, MemberKind.EDGE), carried=True)), whole + 1
    native = wiring is not Wiring.BRIDGE and whole == len(ports) == 2
    return LinkPlan(spec.id, wiring, carrier, spec.mtu_bytes, ports, fabric, native, spec.steered)


def plan_late(spec: LinkSpec) -> LinkPlan | None:
    """The fabric ports of those who joined a link of two, or a steered one, after it was made."""
    if not spec.late or wiring_of(spec) is Wiring.BRIDGE:
        return None
    fabric = fabric_of(spec.chain_id, spec.id)
    ports = tuple(_port(spec, member, carried=True) for member in spec.late)
    return LinkPlan(spec.id, Wiring.FABRIC, fabric, spec.mtu_bytes, ports, fabric)


def plans_of(spec: LinkSpec) -> tuple[LinkPlan, ...]:
    """The link as it was made, and what joined it."""
    late = plan_late(spec)
    return (plan_link(spec), late) if late else (plan_link(spec),)


def _port(spec: LinkSpec, member: Member, carried: bool) -> Port:
    return Port(
        member,
        naming.namespace_name(member.resource_id) if member.kind.has_namespace else "",
        naming.interface_name(member.cp_id),
        naming.port_name(member.resource_id, member.cp_id) if carried else "",
        naming.alias(spec.id, member.resource_id, member.cp_id),
    )


def _members_to_stamp(members: Iterable[Member]) -> list[list[str]]:
    return [[member.resource_id, member.cp_id, member.kind.value] for member in members]


def _members_from_stamp(listed: Iterable[tuple[str, str, str]]) -> tuple[Member, ...]:
    return tuple(Member(resource, cp, MemberKind(kind)) for resource, cp, kind in listed)


def link_to_stamp(spec: LinkSpec) -> dict[str, Any]:
    """The stamp of a link."""
    return {
        "id": spec.id,
        "chain_id": spec.chain_id,
        "mtu_bytes": spec.mtu_bytes,
        "steered": spec.steered,
        "members": _members_to_stamp(spec.members),
        "late": _members_to_stamp(spec.late),
        "gone": list(spec.gone),
        "owner": dict(spec.owner),
        "open_ended": spec.open_ended,
        "segment": asdict(spec.segment) if spec.segment else None,
        "remotes": None if spec.remotes is None else [[one.address, one.udp_port] for one in spec.remotes],
    }


def _segment_from_stamp(found: Mapping[str, Any] | None) -> Segment | None:
    return Segment(**{**found, "encap": Encap(found["encap"])}) if found else None


def _remotes_from_stamp(found: Iterable[tuple[str, int]] | None) -> tuple[Remote, ...] | None:
    return None if found is None else tuple(Remote(str(address), int(port)) for address, port in found)


def link_from_stamp(stamp: Mapping[str, Any]) -> LinkSpec | None:
    """The link out of its stamp; None where the stamp is unreadable."""
    try:
        return LinkSpec(
            str(stamp["id"]),
            _members_from_stamp(stamp["members"]),
            str(stamp["chain_id"]),
            int(stamp["mtu_bytes"]),
            bool(stamp["steered"]),
            dict(stamp["owner"]),
            bool(stamp.get("open_ended", False)),
            _members_from_stamp(stamp.get("late", ())),
            tuple(str(resource_id) for resource_id in stamp.get("gone", ())),
            _segment_from_stamp(stamp.get("segment")),
            _remotes_from_stamp(stamp.get("remotes")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def same_wiring(one: LinkSpec, other: LinkSpec) -> bool:
    """Whether two specifications ask for the same thing; who asked, who came or went since, and which segment of its
    network it was joined by, does not matter."""
    open_ended = one.open_ended and other.open_ended
    return (open_ended or one.members == other.members) and (
        one.chain_id,
        one.mtu_bytes,
        one.steered,
        one.open_ended,
        _outside(one),
    ) == (other.chain_id, other.mtu_bytes, other.steered, other.open_ended, _outside(other))


def _outside(spec: LinkSpec) -> tuple[str, str]:
    return (spec.segment.encap, spec.segment.network) if spec.segment else ("", "")
