"""What a snapshot's hosts have, hold and leave; and reservations that stand for what is closed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.amounts import MIB, amounts_of, cells_of, disk_mib_of, total, worker_held
from vnfm.placement.book import Amounts
from vnfm.placement.inventory import Host, HostKey, Reservation
from vnfm.placement.snapshot import Snapshot

UNITS = (1, MIB, MIB, 1, 1, MIB)  # of the search's amounts
FILLER = "nobody/"
"""Begins the ids of reservations that stand for what is closed."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a snapshot's hosts have and leave. Totals count servers that take VNFs, `free` what is free in workers, too.
    `ours`: servers that we hold something on; `largest`: the most that is free on one host, each by itself."""

    servers: int
    ours: int
    total: Amounts  # CPU in milli-CPU, memory, huge pages and disk in bytes, VFs, GPUs
    free: Amounts
    largest: Amounts


def headroom(snapshot: Snapshot, away: Collection[HostKey] = ()) -> Headroom:
    """Without the hosts that are away. Workers that could be opened are counted with their servers."""
    held = _held(snapshot)
    used = {snapshot.root((r.vim, r.host)) for r in snapshot.reservations if _ours(r, snapshot, away)}
    seen: set[HostKey] = set()
    whole, free, largest = [0] * 6, [0] * 6, [0] * 6
    servers = 0
    for host in snapshot.hosts:
        machine = snapshot.machine[host.key]
        if host.key in away or machine in seen or not host.cells or host.worker is not None:
            continue
        seen.add(machine)
        for at, amount in enumerate(_left(host, held.get(machine, ()))):
            free[at] += amount * UNITS[at]
            largest[at] = max(largest[at], amount * UNITS[at])
        if snapshot.root(host.key) == machine:
            servers += 1
            for at, amount in enumerate(_whole(host)):
                whole[at] += amount
    return Headroom(servers, len(used), _amounts(whole), _amounts(free), _amounts(largest))


def _ours(held: Reservation, snapshot: Snapshot, away: Collection[HostKey]) -> bool:
    key = (held.vim, held.host)
    return key in snapshot.lineage and key not in away and not held.resource_id.startswith(FILLER)


def used_by_others(host: Host) -> bool:
    """Whether someone else than this manager runs something there."""
    return host.disk_used_by_others_bytes > 0 or any(
        c.cpu_used_by_others_milli or c.memory_used_by_others_bytes for c in host.cells
    )


def _whole(host: Host) -> Amounts:
    cells = host.cells
    return (
        sum(c.cpu_milli for c in cells),
        sum(c.memory_bytes for c in cells),
        sum(c.hugepage_bytes for c in cells),
        sum(c.vfs for c in cells),
        sum(c.gpus for c in cells),
        host.disk_bytes or 0,
    )


def _amounts(values: Sequence[int]) -> Amounts:
    cpu, memory, huge, vfs, gpus, disk = values
    return (cpu, memory, huge, vfs, gpus, disk)


def filling(snapshot: Snapshot, keys: Collection[HostKey]) -> tuple[Reservation, ...]:
    """Reservations that take all that is left on these hosts beside what is held: a reservation a machine, in place of
    one that did so before. Workers that are not open stay so: nothing is left to open them."""
    held = _held(snapshot)
    names = {snapshot.machine[k]: snapshot.by_key[k] for k in sorted(keys)}
    return tuple(
        _filler(host, held.get(machine, ()))
        for machine, host in sorted(names.items())
        if host.worker is None or machine in held
    )


def _held(snapshot: Snapshot) -> dict[HostKey, list[Reservation]]:
    """By machine, what is ours there, with what open workers hold of their servers."""
    held: dict[HostKey, list[Reservation]] = {}
    for r in snapshot.reservations:
        machine = snapshot.machine.get((r.vim, r.host))
        if machine is not None and not r.resource_id.startswith(FILLER):
            held.setdefault(machine, []).append(r)
    for machine in tuple(held):
        worker = snapshot.by_key[machine]
        if worker.worker is not None:
            held.setdefault(snapshot.machine[worker.vim, worker.parent], []).append(worker_held(worker))
    return held


def _filler(host: Host, held: Sequence[Reservation]) -> Reservation:
    cpu, memory, huge, vfs, gpus, disk = _left(host, held)
    return Reservation(
        resource_id=f"{FILLER}{host.vim}/{host.id}",
        vim=host.vim,
        host=host.id,
        tenant="",
        runtime=Runtime.VM,
        isolation=Isolation.NONE,
        cpu_milli=cpu,
        memory_bytes=memory * MIB,
        hugepage_bytes=huge * MIB,
        vfs=vfs,
        gpus=gpus,
        disk_bytes=disk * MIB,
    )


def _left(host: Host, held: Sequence[Reservation]) -> Amounts:
    """In the search's units."""
    cells = cells_of([host])
    capacity = (
        sum(c.cpu_milli for c in cells),
        sum(c.memory_mib for c in cells),
        sum(c.hugepages_mib for c in cells),
        sum(c.vfs for c in cells),
        sum(c.gpus for c in cells),
        disk_mib_of([host]) or 0,
    )
    return _amounts([max(0, a - b) for a, b in zip(capacity, total(amounts_of(r) for r in held), strict=True)])
