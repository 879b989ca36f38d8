"""What placement takes and gives: Snapshot and Request in, Plan or Refusal out. Frozen throughout.

Units: CPU in milli-CPU, memory, huge pages and disk in bytes, bandwidth in bit/s, link and hop latency in microseconds
one way, start-up in milliseconds. A host is named by the pair (vim, id); such a pair is called a HostKey here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime

HostKey = tuple[str, str]


class Hardware(StrEnum):
    """What a host can hand on to a VNFC besides CPU and memory."""

    SRIOV = "SRIOV"
    GPU = "GPU"
    CPU_PINNING = "CPU_PINNING"
    HUGEPAGES = "HUGEPAGES"


class RuleKind(StrEnum):
    """SOL003 6.5.3.9 affinityOrAntiAffinity."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"


class Scope(StrEnum):
    """SOL003 6.5.3.9, and RACK, which ETSI has no word for. Always read on the physical server: a worker VM counts as
    the server below it.

    ZONE_GROUP and NFVI_POP are both the server's site (or its VIM where no site is told), ZONE the zone within it, RACK
    the rack within that. Servers of one zone that tell no rack count as one rack.
    """

    NFVI_NODE = "NFVI_NODE"
    RACK = "RACK"
    ZONE = "ZONE"
    ZONE_GROUP = "ZONE_GROUP"
    NFVI_POP = "NFVI_POP"


# ---- what there is ----


@dataclass(frozen=True, slots=True)
class RuntimeCost:
    """What a runtime costs on one host. `measured`: by the plugin; `observed`: fields that we saw ourselves."""

    start_ms: int
    memory_bytes: int  # what the realization itself takes, beside what the VNF asked for
    hop_us: int  # what it adds at each end of a link
    measured: bool = False
    observed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ObservedCost:
    """A cost that we saw ourselves; None where nothing was seen."""

    vim: str
    host: str
    runtime: Runtime
    start_ms: int | None = None
    memory_bytes: int | None = None
    hop_us: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A NUMA cell: totals, and what others than this manager use. `memory_bytes` does not count the huge pages."""

    cpu_milli: int
    memory_bytes: int
    cpu_used_by_others_milli: int = 0
    memory_used_by_others_bytes: int = 0
    hugepage_bytes: int = 0
    vfs: int = 0
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class WorkerSize:
    """A worker VM for containers that may be opened on a server, `most` of them at a time.

    CPU and memory are what its containers find; the server gives that and `overhead_memory_bytes`. `cost` is a
    container's in it, `start_ms` passes before the first one starts, `price` is paid when it is opened.
    """

    id: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int = 0  # 0: not told
    overhead_memory_bytes: int = 0
    start_ms: int = 0
    cost: RuntimeCost | None = None
    price: float = 0.0
    most: int = 1


@dataclass(frozen=True, slots=True)
class Host:
    """A place for VNFCs: a server, or with `parent` a worker VM on one.

    `identities` ("smbios:UUID", ...) tell that hosts of two VIMs are one machine. `hardware` says what each runtime
    hands on here; where a runtime is missing, CONTAINER and VM hand on all and KATA nothing. `opens`: worker VMs that
    may be opened here; `worker` is set on such a worker, which is there as long as something is in it.
    """

    id: str
    vim: str
    cells: tuple[Cell, ...]
    runtimes: frozenset[Runtime]
    parent: str = ""  # id in the same VIM
    identities: frozenset[str] = frozenset()
    site: str = ""
    zone: str = ""
    rack: str = ""
    arch: str = ""  # empty: any
    refusals: Mapping[Runtime, str] = field(default_factory=dict)  # runtimes not offered, and why
    costs: Mapping[Runtime, RuntimeCost] = field(default_factory=dict)
    hardware: Mapping[Runtime, frozenset[Hardware]] = field(default_factory=dict)
    disk_bytes: int | None = None  # None: not told, not limited
    disk_used_by_others_bytes: int = 0
    trust: int = 0
    only_tenant: str = ""
    price_per_vcpu: float = 0.0
    active: bool = True
    on_cost: float = 0.0  # paid once by the first VNFC where it is not active, in the unit of the prices
    opens: tuple[WorkerSize, ...] = ()
    worker: WorkerSize | None = None

    @property
    def key(self) -> HostKey:
        """What the host is named by."""
        return (self.vim, self.id)


@dataclass(frozen=True, slots=True)
class ZoneLatency:
    """One-way latency between servers of two zones (or of one, zone_a == zone_b). `vim` empty: in whichever VIM."""

    zone_a: str
    zone_b: str
    one_way_us: int
    vim: str = ""


@dataclass(frozen=True, slots=True)
class FabricEdge:
    """An edge between hosts or switches of one VIM's network. `bandwidth_bps`: what others leave; 0: not told."""

    vim: str
    a: str
    b: str
    bandwidth_bps: int
    one_way_us: int

    @property
    def id(self) -> str:
        """Named by its ends."""
        return f"{self.vim}:{self.a}--{self.b}"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What we hold on a host for one VNFC, the realization's own memory included."""

    resource_id: str
    vim: str
    host: str
    tenant: str
    runtime: Runtime
    isolation: Isolation
    cpu_milli: int
    memory_bytes: int
    hugepage_bytes: int = 0
    vfs: int = 0
    gpus: int = 0
    disk_bytes: int = 0
    cell: int | None = None  # the cell that a NUMA-strict VNFC is bound to
    licence: str = ""  # what it takes of the pool of its host's site
    licence_count: int = 0


@dataclass(frozen=True, slots=True)
class LinkReservation:
    """Bandwidth that we hold on the fabric's edges for one link."""

    resource_id: str
    edges: tuple[str, ...]
    bandwidth_bps: int


# ---- what is asked ----


@dataclass(frozen=True, slots=True)
class Demand:
    """One VNFC to place. `id` becomes the reservation's resource id; empty sets of vims, sites, zones mean any.
    `arches`: the architecture of the image for a runtime, where it is told."""

    id: str
    alias: str
    vdu: str
    tenant: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    needs: Needs
    artefacts: frozenset[Runtime]
    vnfd_id: str = ""
    vims: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    arches: tuple[tuple[Runtime, str], ...] = ()

    def image_arch(self, runtime: Runtime) -> str:
        """The architecture of the image for that runtime; empty: any."""
        return next((arch for r, arch in self.arches if r is runtime), "")


@dataclass(frozen=True, slots=True)
class End:
    """What is already placed: a chain's end, or a VNFC that stays. An empty host is wherever its neighbour is.

    With `runtime` the hop cost of that runtime counts at its end of a link. `name`: how texts call it, else by its id.
    """

    id: str
    vim: str = ""
    host: str = ""
    runtime: Runtime | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A virtual link between two demands or ends (by id). `name`: how texts call it, else by its id."""

    id: str
    a: str
    b: str
    bandwidth_bps: int = 0
    max_latency_us: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class PathBound:
    """A bound on the summed latency of links (by id)."""

    id: str
    links: tuple[str, ...]
    max_latency_us: int


@dataclass(frozen=True, slots=True)
class Rule:
    """(Anti-)affinity among groups of demands or ends (by id).

    Affinity: all of all groups in one domain. Anti-affinity: no two of different groups in one domain; VNFCs of one
    group may share.
    """

    id: str
    kind: RuleKind
    scope: Scope
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A chain, or a part of one, to be placed whole or not at all."""

    tenant: str
    demands: tuple[Demand, ...]
    links: tuple[Link, ...] = ()
    paths: tuple[PathBound, ...] = ()
    rules: tuple[Rule, ...] = ()
    ends: tuple[End, ...] = ()


# ---- what comes out ----


@dataclass(frozen=True, slots=True)
class Rejection:
    """A realization that was not taken on a host and why. Host `*`: on the hosts not named one by one."""

    runtime: Runtime
    host: str
    reason: str
    nested: bool = False


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The next best choice for one VNFC while the others stay; `because` says why it came second.

    `delta`: what it would cost more, in the units of `Assignment.score`.
    """

    vim: str
    host: str
    runtime: Runtime
    nested: bool
    because: str
    delta: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What a VNFC costs, in the unit of the VIM's prices: its CPUs as long as it runs, and once the server that has to
    be switched on and the worker VM that has to be opened for it; what several VNFCs of a plan need is counted with the
    first."""

    per_vcpu: float = 0.0
    cpus: float = 0.0
    switch_on: float = 0.0
    open_worker: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenedWorker:
    """The worker VM on demand that a VNFC is in: its id is the VNFC's host. `opens`: it is not open yet."""

    host: str
    size: WorkerSize
    opens: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where and how one VNFC runs. `host_path` goes from the physical server to the host.

    Why: `realizations` says of each other realization (as `explain.word_of` names it) why it was not taken; `filters`
    counts `nodes`, by cause those that fall away (each once), then those `left`; `score`: the terms of the cost.
    """

    id: str
    alias: str
    vdu: str
    vnfd_id: str
    vim: str
    host: str
    host_path: tuple[str, ...]
    runtime: Runtime
    nested: bool
    cell: int | None
    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...] = ()
    runner_up: RunnerUp | None = None
    realizations: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, int] = field(default_factory=dict)
    score: Mapping[str, int] = field(default_factory=dict)
    price: Price = Price()
    worker: OpenedWorker | None = None


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """A link as planned; latency None where the inventory does not tell it. `edges`: of the fabric, from a to b."""

    id: str
    latency_us: int | None
    bandwidth_bps: int
    edges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """Where an end is, or for an end without a host where it should be: its neighbour's physical server."""

    id: str
    vim: str
    host: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every demand with its assignment, in the request's order. `reservations` is what has to be held for it."""

    version: int  # of the snapshot it was made on
    assignments: tuple[Assignment, ...]
    links: tuple[PlannedLink, ...] = ()
    ends: tuple[PlannedEnd, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    link_reservations: tuple[LinkReservation, ...] = ()

    def assignment(self, demand_id: str) -> Assignment | None:
        """The assignment of that demand."""
        return next((a for a in self.assignments if a.id == demand_id), None)


class Proof(StrEnum):
    """What a refusal rests on."""

    REALIZATION = "realization"  # no realization meets the needs of one VNF, whichever the host
    HOST = "host"  # no host fits one VNF, even with all else left aside
    CAPACITY = "capacity"  # each VNF would fit alone, but what is free does not hold them together
    LATENCY = "latency"  # without the latency bounds it would fit
    LICENCE = "licence"  # without the licences that it takes it would fit
    RULES = "rules"  # without the (anti-)affinity rules it would fit
    BANDWIDTH = "bandwidth"  # without the links' bandwidths it would fit
    COMBINATION = "combination"  # only several of these together make it impossible
    NOT_PROVED = "not-proved"  # nothing was found within the search's budget: not the same as impossible


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan. `minimal_change` was tried and admits the request; `not found` where none was found."""

    proof: Proof
    detail: str
    minimal_change: str
    version: int = 0
    demand_id: str = ""  # the VNFC it is about, where it is about one
    facts: Mapping[str, object] = field(default_factory=dict)  # what was proved, in JSON-ready words
