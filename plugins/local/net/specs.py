"""What goes in and comes out: plain frozen values. Lengths in bytes, times as their names say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class MemberKind(StrEnum):
    """What stands at an end of a link. KATA and VM are guests; a VM alone has no namespace of its own. An EDGE is where
    the link goes on in another VIM; its resource id is the link's."""

    SAP = "SAP"
    CONTAINER = "CONTAINER"
    KATA = "KATA"
    VM = "VM"
    EDGE = "EDGE"

    @property
    def is_guest(self) -> bool:
        """Whether the far end is a guest kernel, whose routes are not ours to edit."""
        return self in (MemberKind.KATA, MemberKind.VM)

    @property
    def has_namespace(self) -> bool:
        """Whether its ports are interfaces in a namespace of its own."""
        return self not in (MemberKind.VM, MemberKind.EDGE)

    @property
    def is_edge(self) -> bool:
        """Whether what stands there is in another VIM."""
        return self is MemberKind.EDGE


class Encap(StrEnum):
    """By what links of several VIMs are joined."""

    VXLAN = "VXLAN"
    VLAN = "VLAN"
    FLAT = "FLAT"


class ResourceKind(StrEnum):
    """What an id stands for in `terminate` and `query`. NAMESPACE: of a compute or a SAP."""

    NAMESPACE = "NAMESPACE"
    LINK = "LINK"
    PATH = "PATH"


class Wiring(StrEnum):
    """How a link was made."""

    PAIR = "PAIR"  # one veth, an end in each member's namespace
    FABRIC = "FABRIC"  # ports in the chain's fabric, dark until a path is allocated
    BRIDGE = "BRIDGE"  # a bridge in a namespace of the link


class State(StrEnum):
    """An object as observed on the host."""

    RUNNING = "RUNNING"
    CHANGING = "CHANGING"  # a path that is switched or drained, or whose switch was broken off: the same call ends it
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Member:
    """Who will be on a link, through which connection point."""

    resource_id: str
    cp_id: str
    kind: MemberKind


@dataclass(frozen=True, slots=True)
class Outside:
    """A network outside, as the operator says it is reached: by an interface or bridge, of this host or of the
    namespace that is named. `address`, `udp_port` (0: 4789) and `group` are for VXLAN; `vlan_ids` are those to choose
    from."""

    network: str
    interface: str
    encaps: tuple[Encap, ...]
    address: str = ""
    udp_port: int = 0
    group: str = ""
    vlan_ids: tuple[int, int] | None = None
    namespace: str = ""
    one_way_us: int = 0
    bandwidth_bps: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """By what a link goes on outside. VXLAN with a `group` is flooded there, at `udp_port`."""

    encap: Encap
    network: str
    id: int = 0
    udp_port: int = 0
    group: str = ""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where another VIM listens for a VXLAN segment."""

    address: str
    udp_port: int = 0


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A virtual link. `owner` is kept in the stamp as it is; `steered` asks for fabric ports for any members.

    `open_ended`: who will be on it is not known beforehand; a bridge, whose members may be others at the next call.
    `late` came after the link was made, `gone` are resource ids of members that left: kept by `join_link` and
    `leave_link`, not asked for by `allocate_link`.
    `segment`: by what it goes on in other VIMs, once `extend_link` has told the `remotes` (None: not yet).
    """

    id: str
    members: tuple[Member, ...]
    chain_id: str = ""
    mtu_bytes: int = 1500
    steered: bool = False
    owner: Mapping[str, str] = field(default_factory=dict)
    open_ended: bool = False
    late: tuple[Member, ...] = ()
    gone: tuple[str, ...] = ()
    segment: Segment | None = None
    remotes: tuple[Remote, ...] | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A link as made. `native_id` names the namespace that carries it, or the pair."""

    id: str
    wiring: Wiring
    native_id: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route out of a port: `destination` with prefix length, `via` empty for what is on the link itself."""

    destination: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A port inside a namespace. `ips` with prefix length; `mac` empty: derived; `mtu_bytes` 0: the link's."""

    cp_id: str
    ips: tuple[str, ...] = ()
    mac: str = ""
    mtu_bytes: int = 0
    routes: tuple[Route, ...] = ()
    l2_transparent: bool = False


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several that stand at the same position of a path, with the same connection points."""

    resource_id: str
    kind: MemberKind


@dataclass(frozen=True, slots=True)
class Hop:
    """A position of a path; the first has no ingress, the last no egress connection point. An edge, where the path
    comes from another VIM or goes on in one, is first or last.

    `replicas` is empty where one alone stands there; else it holds all of them, `resource_id` among them.
    """

    resource_id: str
    kind: MemberKind
    ingress_cp: str
    egress_cp: str
    name: str
    replicas: tuple[Replica, ...] = ()

    @property
    def instances(self) -> tuple[Replica, ...]:
        """All that stand at this position, one at least."""
        return self.replicas or (Replica(self.resource_id, self.kind),)


@dataclass(frozen=True, slots=True)
class Match:
    """Which packets a path takes, as they leave its first hop; on the way back source and destination are swapped.

    Empty and 0 stand for any. Ports need `ip_protocol` 6 (TCP), 17 (UDP) or 132 (SCTP). `dscp` 1-63.
    """

    source_cidr: str = ""
    destination_cidr: str = ""
    ip_protocol: int = 0
    source_port: int = 0
    destination_port: int = 0
    dscp: int = 0


@dataclass(frozen=True, slots=True)
class PathSpec:
    """Steering along hops, both ways. A higher generation replaces a lower one in one switch.

    `match`: which packets; where several paths of a chain share a port, the most specific one that fits decides.
    """

    id: str
    hops: tuple[Hop, ...]
    chain_id: str = ""
    generation: int = 1
    owner: Mapping[str, str] = field(default_factory=dict)
    match: Match = Match()


@dataclass(frozen=True, slots=True)
class HopCount:
    """Probe packets between two neighbours of a path; `rtt_us` of all pairs add up to the end-to-end one."""

    from_: str
    to: str
    sent: int
    received: int
    rtt_us: int


@dataclass(frozen=True, slots=True)
class Passing:
    """Where and when a packet was seen: a hop's port, at which replica; `at_ns` since it left the first hop."""

    hop: str
    cp_id: str
    resource_id: str
    reply: bool
    leaving: bool
    at_ns: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe saw. `complete`: every packet crossed every hop in order and came back.

    `passings` are those of one packet in order of time: a whole one, or the one that came furthest.
    """

    hops: tuple[HopCount, ...]
    complete: bool
    rtt_us: int = 0
    unsupported: str = ""
    passings: tuple[Passing, ...] = ()
    first_sequence: int = 0  # of the packets that were counted


@dataclass(frozen=True, slots=True)
class Observed:
    """A stamped object and its state on the host; `reason` is empty where it is RUNNING."""

    id: str
    kind: ResourceKind
    state: State
    native_id: str
    owner: Mapping[str, str]
    reason: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the doctor's report; `required` is False for what is good to know only."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True
