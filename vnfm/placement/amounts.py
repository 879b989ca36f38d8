"""What hosts have and VNFCs take, in the search's units: milli-CPU, MiB and numbers, in the order of its resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.book import NOTHING, Amounts, add
from vnfm.placement.estate import DISK, GPUS, HUGEPAGES, MEMORY, VFS
from vnfm.placement.inventory import Host, Reservation
from vnfm.placement.request import Demand
from vnfm.placement.statement import Cell

MIB = 1 << 20
NAMES = ("CPU", "memory", "huge pages", "virtual functions", "GPUs", "disk")


def reserve(
    demand: Demand, host: Host, runtime: Runtime, isolation: Isolation, overhead: int, cell: int | None
) -> Reservation:
    """What has to be held for the demand there. The part backed by huge pages is no ordinary memory."""
    n = demand.needs
    return Reservation(
        resource_id=demand.id,
        vim=host.vim,
        host=host.id,
        tenant=demand.tenant,
        runtime=runtime,
        isolation=isolation,
        cpu_milli=demand.cpu_milli,
        memory_bytes=max(0, demand.memory_bytes - n.hugepage_bytes) + overhead,
        hugepage_bytes=n.hugepage_bytes,
        vfs=n.sriov_ports,
        gpus=n.gpus,
        disk_bytes=demand.disk_bytes,
        cell=cell,
        licence=n.licence,
        licence_count=n.licence_count,
    )


def worker_held(worker: Host) -> Reservation:
    """What an open worker VM holds of its server."""
    size = worker.worker
    assert size
    return Reservation(
        resource_id=worker.id,
        vim=worker.vim,
        host=worker.parent,
        tenant="",
        runtime=Runtime.VM,
        isolation=Isolation.NONE,
        cpu_milli=size.cpu_milli,
        memory_bytes=size.memory_bytes + size.overhead_memory_bytes,
        disk_bytes=size.disk_bytes,
    )


def amounts_of(held: Reservation) -> Amounts:
    """A reservation, rounded up."""
    memory, huge, disk = held.memory_bytes, held.hugepage_bytes, held.disk_bytes
    return (held.cpu_milli, -(-memory // MIB), -(-huge // MIB), held.vfs, held.gpus, -(-disk // MIB))


def shares_of(held: Reservation) -> int:
    """How what is held shares its node's kernel: 0 not, 1 with anyone, 2 within its tenant."""
    if held.runtime is not Runtime.CONTAINER:
        return 0
    return 2 if held.isolation >= Isolation.TENANT else 1


def cells_of(hosts: Sequence[Host]) -> tuple[Cell, ...]:
    """What others leave of a machine, rounded down; where several VIMs tell of it, the least that any tells which
    offers it."""
    offering = [h for h in hosts if h.cells and h.runtimes] or hosts[:1]
    count = len(offering[0].cells)
    alike = [h for h in offering if len(h.cells) == count]
    cells = []
    for i in range(count):
        told = [h.cells[i] for h in alike]
        cells.append(
            Cell(
                cpu_milli=max(0, min(c.cpu_milli - c.cpu_used_by_others_milli for c in told)),
                memory_mib=max(0, min(c.memory_bytes - c.memory_used_by_others_bytes for c in told)) // MIB,
                hugepages_mib=max(0, min(c.hugepage_bytes for c in told)) // MIB,
                vfs=max(0, min(c.vfs for c in told)),
                gpus=max(0, min(c.gpus for c in told)),
            )
        )
    return tuple(cells)


def disk_mib_of(hosts: Iterable[Host]) -> int | None:
    """The same for its disk; None: not told, not limited."""
    told = [h.disk_bytes - h.disk_used_by_others_bytes for h in hosts if h.disk_bytes is not None]
    return max(0, min(told) // MIB) if told else None


def total(amounts: Iterable[Amounts]) -> Amounts:
    """All together."""
    out = NOTHING
    for a in amounts:
        out = add(out, a)
    return out


def quantity(resource: int, value: int) -> str:
    """For people: `1024 MiB memory`."""
    if resource in (MEMORY, HUGEPAGES, DISK):
        return f"{value} MiB {NAMES[resource]}"
    return f"{value} {NAMES[resource]}" if resource in (VFS, GPUS) else f"{value / 1000:g} CPU"


def more(resource: int, value: int) -> str:
    """The same, as something to add: `1024 MiB more memory`."""
    text = quantity(resource, value)
    number, _, what = text.partition(" ")
    return f"{number} MiB more {what[4:]}" if what.startswith("MiB ") else f"{number} more {what}"
