"""What is asked of a VIM and what it answers, in plain values (ETSI GS NFV-IFA 006).

Ids are minted by the manager before the call. Units: CPU in milli-CPU, memory in bytes, times in the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vnfm.model.chain import Match
from vnfm.model.placement import Runtime


class ResourceKind(StrEnum):
    """What a resource is."""

    COMPUTE = "COMPUTE"
    LINK = "LINK"
    PATH = "PATH"
    SAP = "SAP"
    VOLUME = "VOLUME"


class ResourceState(StrEnum):
    """A resource as its VIM sees it."""

    BUILDING = "BUILDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    ABSENT = "ABSENT"


@dataclass(frozen=True, slots=True)
class Handle:
    """What a plugin gave us to find its object again; `state_b64` is opaque to us."""

    resource_id: str
    native_id: str = ""
    state_version: int = 0
    state_b64: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """Stamped on every native object."""

    tenant: str
    chain_id: str = ""
    vnf_instance_id: str = ""
    op_occ_id: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route out of a port."""

    destination: str
    via: str


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """What a port lets pass, one way (SOL001 SecurityGroupRule)."""

    egress: bool
    ipv6: bool
    protocol: str
    port_min: int
    port_max: int


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A connection point as realized: `cp_id` also names the interface inside."""

    cp_id: str
    link_id: str
    ips: tuple[str, ...] = ()
    mac: str = ""
    mtu_bytes: int = 0
    vnic_type: str = "normal"
    bandwidth_bps: int = 0
    routes: tuple[Route, ...] = ()
    l2_transparent: bool = False
    vlan: int = 0  # in the trunk of its VM, by this id
    shared_ips: tuple[str, ...] = ()  # that it may answer for beside its own
    admits: tuple[TrafficRule, ...] = ()  # a VIM that filters lets pass this and no more


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a compute resource."""

    name: str
    image_sha256: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cpu_milli: int = 0
    cpu_limit_milli: int = 0  # may burst up to here; 0: cpu_milli is the limit too
    memory_bytes: int = 0
    linux_capabilities: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """The disk a VM boots from."""

    image_sha256: str
    format: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A worker VM on demand: the server that it is opened on, and one of the sizes that may be opened there."""

    host: str
    size: str


@dataclass(frozen=True, slots=True)
class ComputeSpec:
    """One VNFC: `containers` for CONTAINER and KATA, `boot` for VM. With `worker` its host is a worker VM that is
    opened where it is not open yet."""

    resource_id: str
    name: str
    host: str
    runtime: Runtime
    cpu_milli: int
    memory_bytes: int
    cpu_limit_milli: int = 0
    hugepage_bytes: int = 0
    cpu_pinned: bool = False
    numa_cell: int | None = None
    containers: tuple[ContainerSpec, ...] = ()
    init_containers: tuple[ContainerSpec, ...] = ()
    boot: DiskSpec | None = None
    user_data_b64: str = ""
    ports: tuple[PortSpec, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0
    worker: WorkerSpec | None = None


@dataclass(frozen=True, slots=True)
class LinkMember:
    """Who will be on a link; `runtime` is None for a SAP."""

    resource_id: str
    cp_id: str
    runtime: Runtime | None
    host: str


class Encap(StrEnum):
    """By what links of several VIMs are joined."""

    VXLAN = "VXLAN"
    VLAN = "VLAN"
    GENEVE = "GENEVE"
    FLAT = "FLAT"


@dataclass(frozen=True, slots=True)
class Segment:
    """What links of several VIMs are joined by, on a network that they all reach. `id` 0: not known yet, or FLAT.
    `udp_port` is where an end listens (0: 4789), `group` the multicast group that floods VXLAN."""

    encap: Encap
    network: str
    id: int = 0
    udp_port: int = 0
    group: str = ""


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """How others join a VIM's link; `mtu_bytes` 0: not told."""

    segment: Segment
    endpoints: tuple[str, ...] = ()
    mtu_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """A network outside of a VIM by which its links can be joined with those of others; `network` is its name in all of
    them. `chooses`: the VIM's segments are its own choice, others have to take them up. What is 0 is not told.
    `refused` says of an encapsulation why it is not offered."""

    vim: str
    network: str
    encaps: tuple[Encap, ...]
    chooses: bool = False
    mtu_bytes: int = 0
    one_way_us: int = 0
    bandwidth_bps: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A virtual link, or one VIM's piece of one: then it goes on in others by the `segment`."""

    resource_id: str
    mtu_bytes: int
    cidrs: tuple[str, ...]
    members: tuple[LinkMember, ...]
    steered: bool = False  # members reach each other along paths only
    segment: Segment | None = None
    leads: bool = False  # of its pieces, the one whose VIM says which segment it is


@dataclass(frozen=True, slots=True)
class SapSpec:
    """A service access point: an end of a chain."""

    resource_id: str
    name: str
    host: str
    port: PortSpec


@dataclass(frozen=True, slots=True)
class HopSpec:
    """A position of a path; `runtime` is None for a SAP. `replicas`: where there are several, all of them, the first
    being `resource_id`; a flow keeps its instance. An `edge` is where the path comes from another VIM, or goes on in
    one: its `resource_id` is that of the link's piece here."""

    name: str
    resource_id: str
    runtime: Runtime | None
    ingress_cp: str
    egress_cp: str
    replicas: tuple[str, ...] = ()
    edge: bool = False


@dataclass(frozen=True, slots=True)
class PathSpec:
    """Steering along hops, or along those of one VIM; a higher generation replaces a lower one in one switch."""

    resource_id: str
    hops: tuple[HopSpec, ...]
    match: Match = field(default_factory=Match)
    symmetric: bool = True
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as its VIM reports it."""

    handle: Handle
    kind: ResourceKind
    state: ResourceState
    host: str = ""
    reason: str = ""
    addresses: tuple[str, ...] = ()
    owner: Owner | None = None
    start_ms: int = 0
    overhead_memory_bytes: int = 0
    link_end: LinkEnd | None = None  # of a link that others may join
    changed_at: datetime | None = None  # when the plugin saw it enter this state; known of watched ones only


@dataclass(frozen=True, slots=True)
class HopCount:
    """Probe packets between two neighbours of a path."""

    from_: str
    to: str
    sent: int
    received: int
    rtt_us: int


@dataclass(frozen=True, slots=True)
class Passing:
    """Where and when a traced packet was seen; `at_ns` counts from when it left the first hop."""

    hop: str
    cp_id: str
    resource_id: str
    reply: bool
    leaving: bool
    at_ns: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe saw; `unsupported` says why no proof was possible."""

    hops: tuple[HopCount, ...]
    complete: bool
    rtt_us: int = 0
    unsupported: str = ""
    passings: tuple[Passing, ...] = ()  # of one whole packet, where a trace was asked for
    first_sequence: int = 0  # the number of the first packet that was counted


@dataclass(frozen=True, slots=True)
class ComputeStats:
    """What a VNFC uses, the realization's own share included. `memory_limit_bytes` 0: none; `processes` 0: unseen."""

    resource_id: str
    cpu_ns: int
    memory_bytes: int
    memory_limit_bytes: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True)
class PortStats:
    """A port's counters; `in_` is into the VNF."""

    resource_id: str
    cp_id: str
    in_packets: int
    in_bytes: int
    in_dropped: int
    out_packets: int
    out_bytes: int
    out_dropped: int


@dataclass(frozen=True, slots=True)
class PathStats:
    """What a path's classifier sent into a port."""

    path_id: str
    resource_id: str
    cp_id: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StatsSample:
    """All counters at one time; they only rise while their object lives."""

    at: datetime
    computes: tuple[ComputeStats, ...] = ()
    ports: tuple[PortStats, ...] = ()
    paths: tuple[PathStats, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """Which packets of a compute or SAP are wanted; 0 leaves a bound to the VIM, `seconds` 0 goes on until nobody
    reads any more. `cp_id` may be empty where there is one port only."""

    cp_id: str = ""
    snap_bytes: int = 0  # of each packet
    max_packets: int = 0
    max_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Licence:
    """Software that is paid for by instances: `count` more of them may run in a site, our own included."""

    vim: str
    id: str
    site: str
    count: int
