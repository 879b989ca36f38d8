"""What the search left open, settled by an exact model of the whole cloud: for small clouds, in a process of its own.

The solver is never loaded here. What it finds is placed again by the search, so that one kind of plan comes out.
"""

from __future__ import annotations

import time
from dataclasses import replace

from vnfm.model.placement import Runtime
from vnfm.placement.book import Book
from vnfm.placement.engine import place
from vnfm.placement.estate import UNLIMITED
from vnfm.placement.hindrances import kernels_open
from vnfm.placement.inventory import HostKey
from vnfm.placement.plan import Plan, Proof, Refusal
from vnfm.placement.request import Request
from vnfm.placement.seek import Sought, solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.statement import Cell, Chain, Instance, Licence, Link, Node, NodeKind, Realization, Scope, Vnf
from vnfm.placement.task import task_of

NODES = 30  # up to which an exact model is solved in seconds
VALUE = 1_000_000  # of the chain: more than all else that the model counts


def settled(request: Request, snapshot: Snapshot, refusal: Refusal, seconds: float) -> Plan | Refusal:
    """The plan, or the proof that there is none, where that is found within `seconds`; else the refusal as it is.

    Looks only at refusals for which nothing was proved, and at clouds of few hosts without workers to be opened.
    """
    if refusal.proof is not Proof.NOT_PROVED or len(snapshot.hosts) > NODES:
        return refusal
    from vnfm.placement.optimal.process import WorkerDiedError
    from vnfm.placement.optimal.process import solve as solve_exactly

    until = time.monotonic() + seconds
    with snapshot.kept.lock:
        sought = solve(task_of(request, snapshot))
        book = sought.task.desk.book
        if book.estate.openings or sought.draft is not None:
            return refusal
        instance = _instance(sought, book)
    try:
        solution = solve_exactly(instance, max(0.0, until - time.monotonic()))
    except WorkerDiedError:
        return refusal
    answer = solution.chains[0]
    if answer.accepted:
        preferred: dict[str, tuple[HostKey, Runtime]] = {}
        for demand in sought.task.demands:
            placed = answer.vnfs[sought.task.names[demand.id]]
            opening, way = sought.task.openings[demand.id], int(placed.realization.rpartition(" ")[2])
            at = int(opening.hosts[way][book.estate.index[placed.node]])
            preferred[demand.id] = snapshot.hosts[at].key, opening.word(way)[0]
        found = place(request, snapshot, preferred=preferred)
        return found if isinstance(found, Plan) else refusal
    if solution.bound != solution.objective:
        return refusal
    names = ", ".join(sought.task.names[d.id] for d in request.demands)
    text = f"an exact model of all {len(snapshot.hosts)} hosts has no way to place {names} together"
    return replace(refusal, proof=Proof.COMBINATION, detail=text)


def _instance(sought: Sought, book: Book) -> Instance:
    """The cloud as it is free now, and the chain: nothing is left out that could help it."""
    estate, ask = book.estate, sought.ask
    strict = any(d.needs.numa_strict for d in sought.task.demands)
    tenant = book.tenant(sought.task.request.tenant)
    catalogue: dict[str, Realization] = {}
    offered: list[list[str]] = [[] for _ in range(estate.size)]
    vnfs: list[Vnf] = []
    for v, (vnf, kind) in enumerate(zip(ask.chain.vnfs, ask.kinds, strict=True)):
        names = []
        rest = kind.ways[0].amounts[2:] if kind.ways else (0, 0, 0, 0)
        for order, way in enumerate(kind.ways):
            name = f"{v} {way.variant}"
            names.append(name)
            catalogue[name] = Realization(
                name, way.amounts[0], way.amounts[1], 0, way.latency_us, order, 4, True, True, True, True, True,
                shared_kernel=way.shares == 2,
            )  # fmt: skip
            allowed = way.allowed & kernels_open(book, tenant, way.shares) if way.shares else way.allowed
            for n in allowed.nonzero()[0].tolist():
                offered[n].append(name)
        huge, vfs, gpus, disk = rest
        isolation = int(any(w.shares == 2 for w in kind.ways))
        bare = replace(vnf, cpu_milli=0, memory_mib=0, artefacts=tuple(names), isolation=isolation)
        vnfs.append(replace(bare, hugepages_mib=huge, vfs=vfs, gpus=gpus, disk_mib=disk))
    chain = replace(ask.chain, id="chain", vnfs=tuple(vnfs), value=VALUE)
    fabric, widest, farthest = estate.fabric, _widest(chain), _farthest(chain)
    return Instance(
        name="what is free",
        catalogue=catalogue,
        nodes=tuple(_node(book, n, tuple(offered[n]), strict) for n in range(estate.size)),
        switches=estate.instance.switches,
        links=tuple(
            Link(x.id, x.a, x.b, min(left, widest), min(x.latency_us, farthest))
            for x, left in zip(sorted(estate.instance.links, key=lambda x: x.id), book.bandwidth, strict=True)
        )
        if fabric.link_ids
        else (),
        licences=tuple(Licence(name, site, max(0, left)) for (name, site), left in book.licences.items()),
        chains=(chain,),
    )


def _node(book: Book, n: int, runtimes: tuple[str, ...], strict: bool) -> Node:
    estate = book.estate
    cells = [[book.cell_left[c][r][n] for r in range(5)] for c in range(estate.cells[n])]
    whole = [book.left[r][n] for r in range(5)]
    told = cells if strict and cells else [whole]  # cells by themselves may promise more than is left in all
    root = estate.root[n]
    place = {scope: str(estate.domains[scope][n]) for scope in (Scope.RACK, Scope.ZONE)}
    disk = book.left[5][n]
    return Node(
        id=estate.ids[n],
        kind=NodeKind.SERVER if root == n else NodeKind.WORKER,
        cells=tuple(Cell(*(max(0, x) for x in cell)) for cell in told),
        runtimes=runtimes,
        site=estate.site_of(n),
        zone=place[Scope.ZONE],
        rack=place[Scope.RACK],
        parent=None if root == n else estate.ids[root],
        disk_mib=None if disk >= UNLIMITED // 2 else max(0, disk),
    )


def _widest(chain: Chain) -> int:
    """All that the chain could put on one link."""
    return sum(x.bandwidth_mbps for x in chain.vlinks) + 1


def _farthest(chain: Chain) -> int:
    """Longer than any bound."""
    links = [x.max_latency_us for x in chain.vlinks if x.max_latency_us is not None]
    return max([*links, *(p.max_latency_us for p in chain.paths)], default=0) + 1
