"""What there is: hosts, their costs, what is held on them, and the networks between.

Units throughout placement: CPU in milli-CPU, memory, huge pages and disk in bytes, bandwidth in bit/s, link and hop
latency in microseconds one way, start-up in milliseconds. A host is named by the pair (vim, id), its HostKey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime

HostKey = tuple[str, str]


class Hardware(StrEnum):
    """What a host can hand on to a VNFC besides CPU and memory."""

    SRIOV = "SRIOV"
    GPU = "GPU"
    CPU_PINNING = "CPU_PINNING"
    HUGEPAGES = "HUGEPAGES"


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
