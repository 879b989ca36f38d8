"""All that there is, as arrays: nodes sorted by dock and server, every layer resolved to its server. Immutable.

What is free changes and lies in `book.py`; the estate holds what it was at the start and what never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vnfm.placement.fabric import Fabric, Spot, build_fabric, is_wide_area
from vnfm.placement.statement import Cell, Instance, Node, NodeKind, Realization, Scope

if TYPE_CHECKING:
    from vnfm.placement.ways import Stance

Ints = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]
Smalls = np.ndarray[tuple[Any, ...], np.dtype[np.int32]]
Shorts = np.ndarray[tuple[Any, ...], np.dtype[np.uint16]]
Key = tuple[object, ...]
Bools = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
CPU, MEMORY, HUGEPAGES, VFS, GPUS, DISK = range(6)
RESOURCES = ("cpu", "mem", "hugepages", "vfs", "gpus", "disk")
UNLIMITED = 1 << 30
KEPT = 512  # masks of one sort that are kept
KEPT_STANCES = 8_192
SECTOR = 4_096  # nodes that scores are worked out for at once at most, or somewhat more
LEAST = 256  # nodes of a site that are worth a sector of their own
GRAIN = 8  # the engine counts costs in such parts of a unit; what is below one unit only breaks ties


class Opening(NamedTuple):
    """What opening a worker VM takes of its server, and costs; the worker is a node from the start, but closed."""

    server: int
    amounts: tuple[int, int, int, int, int, int]
    cost: int
    size: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What is worked out of the estate when it is first asked for, and holds as long as the estate: see `Ground`.

    `stances`: by what VNFs ask for; `alike`: the same by what that means here.
    """

    stances: dict[Key, Stance] = field(default_factory=dict)
    alike: dict[Key, Stance] = field(default_factory=dict)
    hosts: dict[Key, Bools] = field(default_factory=dict)
    allowed: dict[Key, Bools] = field(default_factory=dict)
    fixed: dict[Key, Ints] = field(default_factory=dict)

    def spare(self) -> None:
        """Forget all where it has become much."""
        if max(len(self.fixed), len(self.allowed)) > KEPT or len(self.stances) > KEPT_STANCES:
            for of in (self.stances, self.alike, self.hosts, self.allowed, self.fixed):
                of.clear()


class Sector(NamedTuple):
    """Some docks that lie side by side, and their nodes: what scores are worked out for at once. Ends are exclusive."""

    start: int
    end: int
    first_dock: int
    end_dock: int
    starts: Ints  # of its docks, from the sector's start
    roots: Ints  # its servers


@dataclass(frozen=True, slots=True)
class Estate:
    """N nodes in order; where a list stands beside an array of the same content, it is the faster one for one node.

    `free`: [6, N] over all cells; `cell_free`: [cells, 6, N]. `offers`: [variants, N], which variants a node runs; a
    variant is a realization with its values, so a node with values of its own offers variants of its own.
    `switch_on` and `domains` (scope -> code of each node) are the server's. `starts`: first node of each dock, in the
    fabric's order of docks. `sector_of`: of each node.
    """

    instance: Instance
    fabric: Fabric
    ids: tuple[str, ...]
    index: dict[str, int]
    variants: tuple[Realization, ...]
    offers: Bools
    free: Smalls
    cell_free: Smalls
    cells: tuple[int, ...]
    trust: Smalls
    owner: Smalls  # the only tenant's code, -1: any
    price: Ints
    switch_on: Ints
    root: tuple[int, ...]
    roots: Ints  # nodes that are servers
    dock: tuple[int, ...]
    starts: Ints
    dock_bounds: tuple[int, ...]  # the same and the end
    sectors: tuple[Sector, ...]
    sector_of: tuple[int, ...]
    sector_of_dock: tuple[int, ...]
    spots: tuple[Spot, ...]
    site_at: Ints
    zone_at: Ints
    domains: dict[Scope, list[int]]
    domain_codes: dict[Scope, Ints]
    root_codes: Ints
    dock_codes: Ints
    vertex_codes: Ints
    dock_domains: dict[Scope, Ints]
    server_at: dict[int, int]  # a spot's place -> the server there
    server_of_uplink: dict[int, int]
    server_end: dict[int, int]  # server -> the node after its last
    sites_by_code: tuple[str, ...]
    sites: dict[str, int]
    zones: dict[str, int]
    tenants: dict[str, int]
    arch: Smalls
    arches: dict[str, int]
    openings: dict[int, Opening]
    has_workers: bool
    kept: Kept = field(default_factory=Kept, compare=False)

    @property
    def size(self) -> int:
        """How many nodes."""
        return len(self.ids)

    def site_of(self, node: int) -> str:
        """The site that a node is at."""
        return self.sites_by_code[int(self.site_at[node])]

    def on_server(self, root: int) -> range:
        """A server's nodes: itself and the workers on it."""
        return range(root, self.server_end[root])

    def dock_slice(self, dock: int) -> tuple[int, int]:
        """The first node of a dock and the one after its last."""
        return self.dock_bounds[dock], self.dock_bounds[dock + 1]


def build_estate(instance: Instance) -> Estate:
    """The estate of an instance whose ids are known to be right. The order in which things are told does not matter."""
    fabric = build_fabric(instance)
    closed = closed_workers(instance)
    all_nodes = (*instance.nodes, *closed.values()) if closed else instance.nodes
    by_id = {n.id: n for n in all_nodes}
    root_id = {n.id: _root(n, by_id) for n in all_nodes}
    dock_at = {s: fabric.dock_of[spot.vertex] for s, spot in fabric.server_spots.items()}
    nodes = _in_order(all_nodes, root_id, dock_at, fabric)
    index = {n.id: i for i, n in enumerate(nodes)}
    root = tuple(index[root_id[n.id]] for n in nodes)
    dock = np.array([dock_at[root_id[n.id]] for n in nodes], dtype=np.int64)
    variants, offers = _offers(instance, nodes)
    tenants = _codes(n.tenant for n in nodes if n.tenant is not None)
    sites, zones = _codes(n.site for n in nodes), _codes(n.zone for n in nodes)
    arches = _codes(n.arch for n in nodes if n.arch)
    domains = _domains(nodes, root, sites, zones)
    codes = {scope: np.array(at, dtype=np.int64) for scope, at in domains.items()}
    starts = np.flatnonzero(np.diff(dock, prepend=-1)) if len(nodes) else np.zeros(0, dtype=np.int64)
    cell_free = _cells(nodes)
    dock_domains = {scope: _alike(code, starts) for scope, code in codes.items()}
    roots: Ints = np.array(sorted(set(root)), dtype=np.int64)
    sectors = _sectors(starts, roots, len(nodes), dock_domains[Scope.SITE], fabric)
    return Estate(
        instance=instance,
        fabric=fabric,
        ids=tuple(n.id for n in nodes),
        index=index,
        variants=variants,
        offers=offers,
        free=_totals(nodes, cell_free),
        cell_free=cell_free,
        cells=tuple(len(n.cells) for n in nodes),
        trust=np.array([n.trust for n in nodes], dtype=np.int32),
        owner=np.array([-1 if n.tenant is None else tenants[n.tenant] for n in nodes], dtype=np.int32),
        price=np.array([n.price for n in nodes], dtype=np.int64),
        switch_on=np.array([0 if nodes[r].active else nodes[r].on_cost for r in root], dtype=np.int64),
        site_at=np.array([sites[n.site] for n in nodes], dtype=np.int64),
        zone_at=np.array([zones[n.zone] for n in nodes], dtype=np.int64),
        root=root,
        roots=roots,
        dock=tuple(dock.tolist()),
        starts=starts,
        dock_bounds=(*starts.tolist(), len(nodes)),
        sectors=sectors,
        sector_of=tuple(i for i, x in enumerate(sectors) for _ in range(x.start, x.end)),
        sector_of_dock=tuple(i for i, x in enumerate(sectors) for _ in range(x.first_dock, x.end_dock)),
        spots=tuple(fabric.server_spots[root_id[n.id]] for n in nodes),
        domains=domains,
        domain_codes=codes,
        root_codes=codes[Scope.SERVER],
        dock_codes=dock,
        vertex_codes=np.array([fabric.server_spots[root_id[n.id]].vertex for n in nodes], dtype=np.int64),
        dock_domains=dock_domains,
        server_at={fabric.server_spots[n.id].place: i for i, n in enumerate(nodes) if n.kind is NodeKind.SERVER},
        server_of_uplink={spot.uplink: index[name] for name, spot in fabric.server_spots.items() if spot.uplink >= 0},
        server_end={at: i + 1 for i, at in enumerate(root)},
        sites_by_code=tuple(sites),
        sites=sites,
        zones=zones,
        tenants=tenants,
        arch=np.array([arches.get(n.arch, -1) for n in nodes], dtype=np.int32),
        arches=arches,
        openings={
            index[worker.id]: _opening(instance, index, by_id[server], size)
            for (server, size), worker in closed.items()
        },
        has_workers=len(set(root)) < len(nodes),
    )


def _sectors(starts: Ints, roots: Ints, nodes: int, sites: Ints, fabric: Fabric) -> tuple[Sector, ...]:
    """Docks in order, cut where a sector is large enough and a group of twins ends, or where a site ends."""
    if not len(starts):
        return ()
    groups = fabric.dock_group.tolist()
    bounds = [*starts.tolist(), nodes]
    cuts = [0]
    if not is_wide_area(len(fabric.server_spots), len(starts)):
        for d in range(1, len(starts)):
            size = bounds[d] - bounds[cuts[-1]]
            other_site = sites[d] != sites[d - 1] and size >= LEAST
            if other_site or (size >= SECTOR and groups[d] != groups[d - 1]) or size >= 2 * SECTOR:
                cuts.append(d)
    if not len(starts):
        return ()
    return tuple(
        Sector(
            bounds[a],
            bounds[b],
            a,
            b,
            starts[a:b] - bounds[a],
            roots[(roots >= bounds[a]) & (roots < bounds[b])],
        )
        for a, b in zip(cuts, [*cuts[1:], len(starts)], strict=True)
    )


def _domains(
    nodes: Sequence[Node], root: Sequence[int], sites: dict[str, int], zones: dict[str, int]
) -> dict[Scope, list[int]]:
    racks = _codes(n.rack for n in nodes)
    return {
        Scope.SERVER: list(root),
        Scope.RACK: [racks[nodes[r].rack] for r in root],
        Scope.ZONE: [zones[nodes[r].zone] for r in root],
        Scope.SITE: [sites[nodes[r].site] for r in root],
    }


def closed_workers(instance: Instance) -> dict[tuple[str, str], Node]:
    """By server and size: the worker that could be opened there. The size's start-up comes before its containers'."""
    if not instance.worker_sizes:
        return {}
    sizes = {s.id: s for s in instance.worker_sizes}
    out = {}
    for node in instance.nodes:
        for name in node.opens if node.kind is NodeKind.SERVER else ():
            size = sizes[name]
            reals = {r: node.catalogue.get(r, instance.catalogue[r]) for r in size.runtimes}
            out[node.id, name] = node._replace(
                id=f"{node.id}+{name}",
                kind=NodeKind.WORKER,
                parent=node.id,
                cells=(Cell(size.cpu_milli, size.memory_mib, size.hugepages_mib),),
                runtimes=size.runtimes,
                catalogue={r: x._replace(start_ms=x.start_ms + size.start_ms) for r, x in reals.items()},
                opens=(),
                disk_mib=size.disk_mib or node.disk_mib,
            )
    return out


def _opening(instance: Instance, index: dict[str, int], server: Node, name: str) -> Opening:
    size = next(s for s in instance.worker_sizes if s.id == name)
    real = server.catalogue.get(size.realization, instance.catalogue[size.realization])
    cpu_milli, memory_mib = size.cpu_milli + real.cpu_milli, size.memory_mib + real.memory_mib
    amounts = (cpu_milli, memory_mib, size.hugepages_mib, 0, 0, size.disk_mib)
    return Opening(index[server.id], amounts, size.cost + real.cost, name)


def _root(node: Node, by_id: dict[str, Node]) -> str:
    while node.kind is NodeKind.WORKER and node.parent is not None:
        node = by_id[node.parent]
    return node.id


Looks = tuple[object, ...]


def _in_order(
    nodes: Sequence[Node], root_id: Mapping[str, str], dock_at: Mapping[str, int], fabric: Fabric
) -> list[Node]:
    """By dock and server, a server before its workers. What a node is like comes before its name, so that names decide
    only between nodes that are the same."""
    looks = {n.id: _looks(n) for n in nodes}
    guests: dict[str, list[Looks]] = {}
    for n in nodes:
        if n.kind is NodeKind.WORKER:
            guests.setdefault(root_id[n.id], []).append(looks[n.id])
    servers: dict[str, Looks] = {}
    for name, spot in fabric.server_spots.items():
        width = fabric.bandwidth[spot.uplink] if spot.uplink >= 0 else -1
        servers[name] = (dock_at[name], looks[name], width, spot.uplink_us, sorted(guests.get(name, ())), name)

    def place(node: Node) -> Looks:
        server = servers[root_id[node.id]]
        return (*server, 1, looks[node.id], node.id) if node.kind is NodeKind.WORKER else (*server, 0)

    return sorted(nodes, key=place)


def _looks(node: Node) -> Looks:
    """What a node is like, its name aside, in values that can be compared."""
    disk = -1 if node.disk_mib is None else node.disk_mib
    terms = (node.price, node.on_cost, node.active, node.trust, node.tenant or "", node.tenant is None)
    own = repr(sorted(node.catalogue.items())) if node.catalogue else ""
    return (*terms, node.cells, node.runtimes, disk, node.site, node.zone, node.rack, node.arch, node.opens, own)


def _codes(names: Iterable[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(sorted(set(names)))}


def _alike(codes: Ints, starts: Ints) -> Ints:
    """The domain of each dock, -1 where its nodes are in different ones."""
    if not len(codes):
        return codes
    low, high = np.minimum.reduceat(codes, starts), np.maximum.reduceat(codes, starts)
    return np.where(low == high, low, -1)


def _offers(instance: Instance, nodes: Sequence[Node]) -> tuple[tuple[Realization, ...], Bools]:
    names = sorted(instance.catalogue)
    number: dict[Realization, int] = {instance.catalogue[name]: i for i, name in enumerate(names)}
    common = {name: number[instance.catalogue[name]] for name in names}
    where: dict[tuple[str, ...], list[int]] = {}
    own: list[tuple[int, int]] = []
    for i, node in enumerate(nodes):
        if node.catalogue:
            for name in node.runtimes:
                real = node.catalogue.get(name, instance.catalogue[name])
                own.append((number.setdefault(real, len(number)), i))
        else:
            where.setdefault(node.runtimes, []).append(i)
    offers = np.zeros((len(number), len(nodes)), dtype=np.bool_)
    for runtimes, at in where.items():
        for name in runtimes:
            offers[common[name], at] = True
    for variant, i in own:
        offers[variant, i] = True
    return tuple(number), offers


def _cells(nodes: Sequence[Node]) -> Smalls:
    most = max((len(n.cells) for n in nodes), default=1)
    table: Smalls = np.zeros((most, len(RESOURCES), len(nodes)), dtype=np.int32)
    nothing = Cell(0, 0)
    for c in range(most):
        flat = [n.cells[c] if c < len(n.cells) else nothing for n in nodes]
        if flat:
            table[c, :DISK] = np.array(flat, dtype=np.int64).clip(0, UNLIMITED).T
    return table


def _totals(nodes: Sequence[Node], cell_free: Smalls) -> Smalls:
    total: Smalls = cell_free.sum(axis=0, dtype=np.int64).clip(0, UNLIMITED).astype(np.int32)
    total[DISK] = [UNLIMITED if n.disk_mib is None else min(n.disk_mib, UNLIMITED) for n in nodes]
    return total
