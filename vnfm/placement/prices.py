"""What a plan costs in the VIMs' prices, VNFC by VNFC."""

from __future__ import annotations

from collections.abc import Mapping

from vnfm.placement.choice import Choice
from vnfm.placement.inventory import Host, HostKey
from vnfm.placement.plan import Price
from vnfm.placement.task import Task


def prices_of(task: Task, choices: Mapping[str, Choice]) -> dict[str, Price]:
    """By demand, in the request's order."""
    found: dict[str, Price] = {}
    switched: set[HostKey] = set()
    opened: set[HostKey] = set()
    for demand in task.request.demands:
        host = choices[demand.id].host
        root = task.snapshot.root(host.key)
        server = task.snapshot.by_key[root]
        first = not server.active and root not in switched and not task.desk.book.seated(task.desk.node(server))
        switched.add(root)
        opens = is_closed(task, host) and host.key not in opened
        opened.add(host.key)
        found[demand.id] = Price(
            per_vcpu=host.price_per_vcpu,
            cpus=round(host.price_per_vcpu * demand.cpu_milli / 1000, 6),
            switch_on=server.on_cost if first else 0.0,
            open_worker=host.worker.price if host.worker and opens else 0.0,
        )
    return found


def is_closed(task: Task, host: Host) -> bool:
    """Whether the host is a worker VM on demand in which nothing is yet."""
    return host.worker is not None and task.desk.book.opening(task.desk.node(host)) is not None
