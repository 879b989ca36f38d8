"""What is free on each host once others' use and our own reservations are taken away, and who shares which kernel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.types import Demand, Host, Reservation

# CPU (milli), memory, huge pages, virtual functions, GPUs, disk; a cell has no disk of its own
Vector = tuple[int, int, int, int, int, int]
ZERO: Vector = (0, 0, 0, 0, 0, 0)
UNLIMITED = 1 << 62
MIB = 1 << 20
_NAMES = ("CPU", "memory", "huge pages", "virtual functions", "GPUs", "disk")


@dataclass(frozen=True, slots=True)
class Load:
    """What is taken of one machine: in all, by cell (only what is bound to it), and whose containers share its kernel.

    `tenants` maps a tenant to the highest isolation level among its containers here.
    """

    total: Vector = ZERO
    cells: tuple[tuple[int, Vector], ...] = ()
    tenants: tuple[tuple[str, Isolation], ...] = ()

    def plus(self, r: Reservation) -> Load:
        """With one more reservation."""
        amount = amount_of(r)
        cells = dict(self.cells)
        if r.cell is not None:
            cells[r.cell] = add(cells.get(r.cell, ZERO), amount)
        tenants = dict(self.tenants)
        if r.runtime is Runtime.CONTAINER:
            tenants[r.tenant] = max(r.isolation, tenants.get(r.tenant, Isolation.NONE))
        return Load(add(self.total, amount), tuple(sorted(cells.items())), tuple(sorted(tenants.items())))

    def cell(self, index: int) -> Vector:
        """What is bound to that cell."""
        return next((v for i, v in self.cells if i == index), ZERO)


NOTHING = Load()


def load_of(reservations: Iterable[Reservation]) -> Load:
    """The load of a machine that holds these."""
    load = NOTHING
    for r in reservations:
        load = load.plus(r)
    return load


def amount_of(r: Reservation) -> Vector:
    """A reservation as a vector."""
    return (r.cpu_milli, r.memory_bytes, r.hugepage_bytes, r.vfs, r.gpus, r.disk_bytes)


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


def capacity_of(host: Host) -> Vector:
    """What others leave of the host."""
    disk = UNLIMITED if host.disk_bytes is None else host.disk_bytes - host.disk_used_by_others_bytes
    vectors = [cell_capacity(host, i) for i in range(len(host.cells))]
    return (*(sum(v[i] for v in vectors) for i in range(5)), disk)  # type: ignore[return-value]


def cell_capacity(host: Host, index: int) -> Vector:
    """What others leave of one cell."""
    c = host.cells[index]
    return (
        c.cpu_milli - c.cpu_used_by_others_milli,
        c.memory_bytes - c.memory_used_by_others_bytes,
        c.hugepage_bytes,
        c.vfs,
        c.gpus,
        UNLIMITED,
    )


def shortage(host: Host, load: Load, r: Reservation) -> str:
    """Why the reservation does not fit beside the load; empty where it fits."""
    amount = amount_of(r)
    text = _missing(sub(capacity_of(host), load.total), amount, f"host {host.id}")
    if text or r.cell is None:
        return text
    return _missing(
        sub(cell_capacity(host, r.cell), load.cell(r.cell)), amount, f"NUMA cell {r.cell} of host {host.id}"
    )


def kernel_conflict(host: Host, load: Load, r: Reservation) -> str:
    """Why a container may not share this kernel: its tenant, or one beside it, keeps its kernel to itself."""
    if r.runtime is not Runtime.CONTAINER:
        return ""
    for tenant, isolation in load.tenants:
        if tenant != r.tenant and r.isolation >= Isolation.TENANT:
            return (
                f"may share a kernel within tenant {r.tenant} only (isolation level {r.isolation.name.lower()}): "
                f"another tenant's containers run on host {host.id}"
            )
        if tenant != r.tenant and isolation >= Isolation.TENANT:
            return f"host {host.id} runs containers of a tenant that shares its kernel with nobody"
    return ""


def add(a: Vector, b: Vector) -> Vector:
    """The sum."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5])


def sub(a: Vector, b: Vector) -> Vector:
    """The difference."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4], a[5] - b[5])


def positive(a: Vector) -> Vector:
    """With zero for what is below it: a host that others overcommit lends nothing from elsewhere."""
    return (max(0, a[0]), max(0, a[1]), max(0, a[2]), max(0, a[3]), max(0, a[4]), max(0, a[5]))


def quantity(index: int, value: int) -> str:
    """A component of a vector for people: `1024 MiB memory`."""
    if index == 0:
        return f"{value / 1000:g} CPU"
    if index in (1, 2, 5):
        return f"{-(-value // MIB)} MiB {_NAMES[index]}"
    return f"{value} {_NAMES[index]}"


def _missing(free: Vector, amount: Vector, where: str) -> str:
    for i in range(6):
        if amount[i] > 0 and amount[i] > free[i]:
            left = max(0, free[i]) // _FLOOR[i] * _FLOOR[i]
            return f"needs {quantity(i, amount[i])}: {where} has {quantity(i, left)} free"
    return ""


_FLOOR = (1, MIB, MIB, 1, 1, MIB)  # what is free is rounded down, what is needed up
