"""What a plan costs in the VIMs' prices, VNFC by VNFC."""

from __future__ import annotations

from vnfm.placement.task import Task
from vnfm.placement.tryout import State
from vnfm.placement.types import Host, HostKey, Price


def prices_of(task: Task, state: State) -> dict[str, Price]:
    """By demand, in the request's order."""
    found: dict[str, Price] = {}
    switched: set[HostKey] = set(task.occupied)
    opened: set[HostKey] = set()
    for demand in task.request.demands:
        placed = state.placed[demand.id]
        server = task.snapshot.by_key[placed.root]
        first = not server.active and placed.root not in switched
        switched.add(placed.root)
        per_vcpu = placed.host.price_per_vcpu
        opens = is_closed(task, placed.host) and placed.host.key not in opened
        opened.add(placed.host.key)
        found[demand.id] = Price(
            per_vcpu=per_vcpu,
            cpus=round(per_vcpu * demand.cpu_milli / 1000, 6),
            switch_on=server.on_cost if first else 0.0,
            open_worker=placed.host.worker.price if placed.host.worker and opens else 0.0,
        )
    return found


def is_closed(task: Task, host: Host) -> bool:
    """Whether the host is a worker VM on demand in which nothing is yet."""
    return host.worker is not None and task.snapshot.machine[host.key] not in task.loads
