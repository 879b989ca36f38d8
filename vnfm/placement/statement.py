"""The placement problem as it is stated: what there is (Instance), what is asked (Chain), what is answered (Solution).

Frozen data without behaviour; `statement_io.py` reads and writes it. Units: CPU in milli-CPU, memory, huge pages and
disk in MiB, bandwidth in Mbit/s, latency in microseconds one way, start-up in milliseconds, costs in abstract units.
All quantities are whole numbers. Everything a node, link or licence holds is what is still free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

INSTANCE_FORMAT = "vnf-placement-bench/1"
SOLUTION_FORMAT = "vnf-placement-solution/1"


class NodeKind(StrEnum):
    """A server is a vertex of the graph; a worker is a guest VM on one that runs containers."""

    SERVER = "server"
    WORKER = "worker"


class RuleKind(StrEnum):
    """SOL003 6.5.3.9 affinityOrAntiAffinity."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"


class Scope(StrEnum):
    """In what VNFs meet. The server of a worker is the server that it runs on."""

    SERVER = "server"
    RACK = "rack"
    ZONE = "zone"
    SITE = "site"


# ---- what there is ----


class Realization(NamedTuple):
    """A way to run a VNF: what an instance takes beside the VNF's own demand, and what it hands on.

    `latency_us` is added once per end of a virtual link that sits in such an instance.
    """

    name: str
    cpu_milli: int = 0
    memory_mib: int = 0
    start_ms: int = 0
    latency_us: int = 0
    cost: int = 0
    isolation: int = 0
    own_kernel: bool = False
    own_os: bool = False
    sriov: bool = False
    gpu: bool = False
    pin: bool = False
    shared_kernel: bool = False


NOTHING_OWN: Mapping[str, Realization] = {}


class Cell(NamedTuple):
    """What is free in one NUMA cell. `memory_mib` does not count the huge pages."""

    cpu_milli: int
    memory_mib: int
    hugepages_mib: int = 0
    vfs: int = 0
    gpus: int = 0


class WorkerSize(NamedTuple):
    """A worker VM that may be opened on a server: `cpu_milli`… is what its containers find in it; without a disk of its
    own (0) they find the server's.

    The server gives that and the overhead of `realization`, the one it runs in itself; `start_ms` is added to the
    start-up of the first VNF in it, `cost` is paid once.
    """

    id: str
    cpu_milli: int
    memory_mib: int
    hugepages_mib: int = 0
    realization: str = "vm"
    runtimes: tuple[str, ...] = ("nested",)
    start_ms: int = 0
    cost: int = 0
    disk_mib: int = 0


class Node(NamedTuple):
    """A server, or a worker VM on `parent`. `on_cost` is paid by the first VNF where `active` is false.

    `arch` empty: any. `disk_mib` None: not limited. `catalogue`: this node's own values where they differ from the
    common ones. `opens`: the worker sizes that may be opened here.
    """

    id: str
    kind: NodeKind
    cells: tuple[Cell, ...]
    runtimes: tuple[str, ...]
    site: str = ""
    zone: str = ""
    rack: str = ""
    trust: int = 0
    tenant: str | None = None
    price: int = 0
    on_cost: int = 0
    active: bool = True
    parent: str | None = None
    arch: str = ""
    disk_mib: int | None = None
    catalogue: Mapping[str, Realization] = NOTHING_OWN
    opens: tuple[str, ...] = ()


class Link(NamedTuple):
    """An undirected link between servers or switches; the bandwidth is shared by both directions."""

    id: str
    a: str
    b: str
    bandwidth_mbps: int
    latency_us: int


@dataclass(frozen=True, slots=True)
class Licence:
    """Tokens still free at one site."""

    id: str
    site: str
    count: int


# ---- what is asked ----


class End(NamedTuple):
    """A fixed end of a chain at a vertex; it demands nothing and has no latency of its own."""

    id: str
    at: str


@dataclass(frozen=True, slots=True)
class Vnf:
    """One VNF to place. `artefacts`: the realizations that an image exists for; None for lists and bounds: any.

    `arch`: the architecture of an artefact, by realization; one not named runs on any. `max_hop_us` bounds the
    realization's own latency at an end of a link. `licence_count`: tokens of the licence that it takes.
    """

    id: str
    cpu_milli: int
    memory_mib: int
    artefacts: tuple[str, ...]
    hugepages_mib: int = 0
    vfs: int = 0
    gpus: int = 0
    numa_strict: bool = False
    pin: bool = False
    isolation: int = 0
    own_kernel: bool = False
    own_os: bool = False
    trust: int = 0
    max_start_ms: int | None = None
    sites: tuple[str, ...] | None = None
    zones: tuple[str, ...] | None = None
    licence: str | None = None
    arch: Mapping[str, str] = field(default_factory=dict)
    disk_mib: int = 0
    max_hop_us: int | None = None
    licence_count: int = 1


class VirtualLink(NamedTuple):
    """Traffic between two VNFs or ends, both directions together."""

    id: str
    a: str
    b: str
    bandwidth_mbps: int = 0
    max_latency_us: int | None = None


class PathBound(NamedTuple):
    """The latencies of these virtual links together are bounded."""

    vlinks: tuple[str, ...]
    max_latency_us: int


class Rule(NamedTuple):
    """Affinity: all in one. Anti-affinity: pairwise in different ones."""

    kind: RuleKind
    scope: Scope
    vnfs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """What is placed whole or not at all; `value` is the cost of not placing it. No times in the batch mode."""

    id: str
    tenant: str
    vnfs: tuple[Vnf, ...]
    value: int = 0
    ends: tuple[End, ...] = ()
    vlinks: tuple[VirtualLink, ...] = ()
    paths: tuple[PathBound, ...] = ()
    rules: tuple[Rule, ...] = ()
    arrive: int | None = None
    leave: int | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """All of it. `bandwidth_hop_cost`: of 1 Mbit/s on one link. `bound`: a proven lower bound of the objective."""

    name: str
    catalogue: Mapping[str, Realization]
    nodes: tuple[Node, ...]
    switches: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    licences: tuple[Licence, ...] = ()
    bandwidth_hop_cost: int = 0
    chains: tuple[Chain, ...] = ()
    worker_sizes: tuple[WorkerSize, ...] = ()
    family: str = ""
    seed: int = 0
    bound: int | None = None


# ---- what is answered ----


class Placed(NamedTuple):
    """Where and how one VNF runs; `cell` only where it is NUMA-strict.

    `opened`: the size of the worker VM that is opened on the node for it, `worker` names that worker within the
    answer.
    """

    node: str
    realization: str
    cell: int | None = None
    opened: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a chain. `vlinks`: link ids in order from a to b. `reason` is filled where it is refused."""

    id: str
    accepted: bool
    vnfs: Mapping[str, Placed] = field(default_factory=dict)
    vlinks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: Mapping[str, object] | None = None


class Solution(NamedTuple):
    """The answers to an instance's chains, in its order; the figures where they are known."""

    instance: str
    chains: tuple[Answer, ...]
    objective: int | None = None
    bound: int | None = None
    gap: float | None = None
