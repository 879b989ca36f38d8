"""The machines and networks of all VIMs as one estate for the search: made once for what the VIMs tell, then kept.

A machine that several VIMs know is one node; a worker VM is a worker on its server. Where a fabric is told, its edges
are the links; servers without one hang on their zone, and zones are joined as far apart as the VIMs tell. The search
counts half microseconds, so that the way within a zone falls into two equal parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from vnfm.placement.amounts import MIB, cells_of, disk_mib_of, worker_held
from vnfm.placement.estate import GRAIN, Estate, build_estate
from vnfm.placement.inventory import Host, HostKey
from vnfm.placement.network import Network
from vnfm.placement.score import open_worker_score, switch_on_score
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.statement import Instance, Licence, Link, Node, NodeKind, Realization, WorkerSize

SCALE = 64  # the search's parts of one unit of the weights
HALVES = 2
UNTOLD_US = 1 << 34  # a latency that nobody tells: no bound is that wide
UNTOLD_MBPS = 1 << 40
MEGA = 1_000_000
FEW = 7  # servers without a fabric up to which each pair has a link of its own


@dataclass(frozen=True, slots=True)
class Atlas:
    """The estate, and how to get from machines and edges to its nodes and links."""

    estate: Estate
    node_of: Mapping[HostKey, int]  # machine -> node
    link_of: Mapping[str, int]  # edge of a fabric -> link


def atlas_of(snapshot: Snapshot, network: Network) -> Atlas:
    """The atlas of what the VIMs tell, with nothing held."""
    closed = {snapshot.machine[h.key] for h in snapshot.hosts if h.worker}
    names = {m: f"host {m[0]}/{m[1]}" for m in set(snapshot.machine.values()) - closed}
    workers = tuple(_workers(snapshot, names))
    nodes = tuple(_nodes(snapshot, network, names))
    links, switches = _links(snapshot, network, names)
    edges = {e.id for e in snapshot.fabric}
    opens: dict[str, list[str]] = {}
    for w in workers:
        opens.setdefault(w.server, []).append(w.size.id)
    estate = build_estate(
        Instance(
            "inventory",
            {w.size.realization: w.overhead for w in workers},
            tuple(n._replace(opens=tuple(opens.get(n.id, ()))) for n in nodes) if workers else nodes,
            worker_sizes=tuple({w.size.id: w.size for w in workers}.values()),
            switches=switches,
            links=tuple(links.values()),
            licences=tuple(Licence(name, site, count) for (name, site), count in sorted(network.pools.items())),
            bandwidth_hop_cost=SCALE // 8,
        )
    )
    return Atlas(
        estate=estate,
        node_of={machine: estate.index[name] for machine, name in names.items()}
        | {w.machine: estate.index[f"{w.server}+{w.size.id}"] for w in workers},
        link_of={name: i for i, name in enumerate(estate.fabric.link_ids) if name in edges},
    )


# ---- machines ----


def _nodes(snapshot: Snapshot, network: Network, names: Mapping[HostKey, str]) -> Iterator[Node]:
    told: dict[HostKey, list[Host]] = {}
    for host in snapshot.hosts:
        if snapshot.machine[host.key] not in names:
            continue
        told.setdefault(snapshot.machine[host.key], []).append(host)
    for machine, hosts in told.items():
        root = snapshot.root(machine)
        line = snapshot.lineage[machine]
        parent = names[snapshot.machine[line[-2]]] if len(line) > 1 else None
        site = network.sites[root]
        yield Node(
            id=names[machine],
            kind=NodeKind.SERVER if parent is None else NodeKind.WORKER,
            cells=cells_of(hosts),
            runtimes=(),
            site=site,
            zone=f"{site} {network.zones[root][1]}",
            rack=f"{site} {network.zones[root][1]} {network.racks[root]}",
            on_cost=switch_on_score(snapshot.by_key[root]) * SCALE // GRAIN,
            active=snapshot.by_key[root].active,
            parent=parent,
            disk_mib=disk_mib_of(hosts),
        )


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker VM that may be opened on a node; `overhead` is what the VM itself takes there."""

    machine: HostKey
    server: str
    size: WorkerSize
    overhead: Realization


def _workers(snapshot: Snapshot, names: Mapping[HostKey, str]) -> Iterator[_Worker]:
    for host in snapshot.hosts:
        if host.worker is None:
            continue
        held = worker_held(host)
        cpu, memory, disk = held.cpu_milli, -(-held.memory_bytes // MIB), -(-held.disk_bytes // MIB)
        inside = host.worker.memory_bytes // MIB
        overhead = Realization(f"worker +{memory - inside}", memory_mib=memory - inside)
        cost = open_worker_score(host.worker) * SCALE // GRAIN
        number = host.id.rpartition("-")[2]
        yield _Worker(
            machine=snapshot.machine[host.key],
            server=names[snapshot.machine[host.vim, host.parent]],
            size=WorkerSize(
                id=f"{host.worker.id}-{number} {cpu} {inside} {memory} {disk} {cost}",
                cpu_milli=cpu,
                memory_mib=inside,
                realization=overhead.name,
                runtimes=(),
                cost=cost,
                disk_mib=disk,
            ),
            overhead=overhead,
        )


# ---- networks ----


def _links(
    snapshot: Snapshot, network: Network, names: Mapping[HostKey, str]
) -> tuple[dict[str, Link], tuple[str, ...]]:
    """Links by id, and the switches that they join."""
    links: dict[str, Link] = {}
    servers = sorted({snapshot.root(h.key) for h in snapshot.hosts})
    switches: set[str] = set()

    def vertex(vim: str, name: str) -> str:
        key = (vim, name)
        if key in snapshot.by_key:
            return names[snapshot.root(key)]
        switches.add(f"switch {vim}/{name}")
        return f"switch {vim}/{name}"

    for edge in snapshot.fabric:
        a, b = vertex(edge.vim, edge.a), vertex(edge.vim, edge.b)
        if a != b:
            room = edge.bandwidth_bps // MEGA if edge.bandwidth_bps else UNTOLD_MBPS
            links.setdefault(edge.id, Link(edge.id, a, b, room, edge.one_way_us * HALVES))
    joined = {end for x in links.values() for end in (x.a, x.b)}
    loose = [s for s in servers if names[s] not in joined]

    def join(a: str, b: str, half_us: int) -> None:
        name = f"between {a} and {b}"
        links[name] = Link(name, a, b, UNTOLD_MBPS, half_us)

    if not links and len(loose) <= FEW:
        for s, t in combinations(loose, 2):
            join(names[s], names[t], _apart(network, network.zones[s], network.zones[t]))
        return links, ()
    anchors = _anchors(list(links.values()), switches)
    places: dict[str, tuple[tuple[str, str], int]] = {  # a zone's or a fabric's point of contact: where, way to it
        at: (_zone_near(at, links.values(), snapshot, network, names), 0) for at in anchors
    }
    for s in loose:
        zone = network.zones[s]
        within = min(_apart(network, zone, zone), UNTOLD_US) // HALVES
        point = f"zone {zone[0]}/{zone[1]}"
        switches.add(point)
        places[point] = (zone, within)
        join(names[s], point, within)
    beside = {frozenset((x.a, x.b)) for x in links.values()}
    for (a, (zone_a, way_a)), (b, (zone_b, way_b)) in combinations(sorted(places.items()), 2):
        if frozenset((a, b)) not in beside:
            join(a, b, max(0, _apart(network, zone_a, zone_b) - way_a - way_b))
    return links, tuple(sorted(switches))


def _apart(network: Network, a: tuple[str, str], b: tuple[str, str]) -> int:
    """Half microseconds between servers of two zones."""
    told = network.between_zones(a, b)
    return UNTOLD_US if told is None else told * HALVES


def _anchors(links: list[Link], switches: set[str]) -> list[str]:
    """Of each part of the fabric that hangs together one switch; where it has none, all its servers."""
    lead: dict[str, str] = {}

    def top(v: str) -> str:
        while lead.setdefault(v, v) != v:
            lead[v] = lead[lead[v]]
            v = lead[v]
        return v

    for x in links:
        a, b = top(x.a), top(x.b)
        if a != b:
            first, second = sorted((a, b), key=lambda v: (v not in switches, v))
            lead[second] = first
    return sorted(v for v in lead if top(v) == v or top(v) not in switches)


def _zone_near(
    at: str, links: Iterable[Link], snapshot: Snapshot, network: Network, names: Mapping[HostKey, str]
) -> tuple[str, str]:
    zone_of = {names[root]: zone for root, zone in network.zones.items()}
    if at in zone_of:
        return zone_of[at]
    beside = sorted(x.a if x.b == at else x.b for x in links if at in (x.a, x.b))
    return next((zone_of[v] for v in beside if v in zone_of), ("", ""))
