"""place(): a request on a snapshot becomes a plan, or a refusal that says what was proved and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vnfm.model.placement import Runtime
from vnfm.placement.choice import Choice, choices
from vnfm.placement.inventory import HostKey, LinkReservation
from vnfm.placement.openings import Opening
from vnfm.placement.plan import Assignment, OpenedWorker, Plan, PlannedEnd, PlannedLink, Price, Refusal
from vnfm.placement.prices import is_closed, prices_of
from vnfm.placement.refuse import refusal_of
from vnfm.placement.request import Demand, End, Request
from vnfm.placement.seek import Sought, link_us, solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import Task, task_of
from vnfm.placement.why import UNTOLD, Why, whys

Preferred = Mapping[str, tuple[HostKey, Runtime]]
ANYWHERE: Preferred = {}


def place(
    request: Request, snapshot: Snapshot, *, preferred: Preferred = ANYWHERE, told: bool = True
) -> Plan | Refusal:
    """Place the whole request, or refuse it whole. Raises ProblemError `invalid-request` where it contradicts itself.

    The answer depends on nothing but the arguments. What the plan needs held stands in its reservations; nothing is
    held here. `preferred`: where and how demands had best run, by their ids, whatever that costs; where not all of
    that is open to them it is forgotten. `told`: with the reasons; without them plans over many hosts are quicker.
    """
    with snapshot.kept.lock:
        task = task_of(request, snapshot)
        if preferred and (found := _as_preferred(task, preferred)):
            return _plan(found, told)
        sought = solve(task) if all(task.openings[d.id].ways for d in task.demands) else None
        return refusal_of(task, sought) if sought is None or sought.draft is None else _plan(sought, told)


def _as_preferred(task: Task, preferred: Preferred) -> Sought | None:
    """Every demand where it had best run; None where that is not open to all of them."""
    narrowed: dict[str, Opening] = {}
    for demand in task.demands:
        if demand.id not in preferred:
            return None
        key, runtime = preferred[demand.id]
        at = task.desk.position.get(key)
        if at is None:
            return None
        narrowed[demand.id] = task.openings[demand.id].only(at, int(task.desk.nodes[at]), runtime)
    if not all(o.ways for o in narrowed.values()):
        return None
    found = solve(replace(task, openings=narrowed))
    return None if found.draft is None else found


def _plan(sought: Sought, told: bool) -> Plan:
    task, draft = sought.task, sought.draft
    assert draft is not None
    links = [
        PlannedLink(x.id, us, x.bandwidth_bps, edges) for x in task.request.links for us, edges in [link_us(sought, x)]
    ]
    laid = {x.id for x in sought.chain.vlinks}
    found = choices(sought)
    prices, said = prices_of(task, found), whys(sought, found) if told else dict.fromkeys(found, UNTOLD)
    demands = task.request.demands
    cells = {d.id: cell if (cell := draft.seats[sought.at[d.id]].cell) >= 0 else None for d in demands}
    return Plan(
        version=task.snapshot.version,
        assignments=tuple([_assignment(task, d, found[d.id], cells[d.id], prices[d.id], said[d.id]) for d in demands]),
        links=tuple(links),
        ends=tuple([_end(sought, found, e) for e in task.request.ends]),
        reservations=tuple([found[d.id].candidate.reserve(d, found[d.id].host, cells[d.id]) for d in demands]),
        link_reservations=tuple(
            LinkReservation(x.id, x.edges, x.bandwidth_bps)
            for x in links
            if x.bandwidth_bps and x.edges and task.link_names[x.id] in laid
        ),
    )


def _assignment(task: Task, demand: Demand, choice: Choice, cell: int | None, price: Price, said: Why) -> Assignment:
    return Assignment(
        id=demand.id,
        alias=demand.alias,
        vdu=demand.vdu,
        vnfd_id=demand.vnfd_id,
        vim=choice.host.vim,
        host=choice.host.id,
        host_path=tuple(key[1] for key in task.snapshot.lineage[choice.host.key]),
        runtime=choice.word[0],
        nested=choice.word[1],
        cell=cell,
        reasons=said.reasons,
        rejected=said.rejected,
        runner_up=said.runner_up,
        realizations=said.realizations,
        filters=said.filters,
        score=said.score,
        price=price,
        worker=None
        if choice.host.worker is None
        else OpenedWorker(choice.host.parent, choice.host.worker, is_closed(task, choice.host)),
    )


def _end(sought: Sought, found: Mapping[str, Choice], end: End) -> PlannedEnd:
    """Where an end is; one without a host is at the outermost machine that its neighbour's own VIM names."""
    if end.host or end.id not in sought.beside:
        return PlannedEnd(end.id, end.vim, end.host)
    host = found[sought.beside[end.id]].host
    vim, name = next(k for k in sought.task.snapshot.lineage[host.key] if k[0] == host.vim)
    return PlannedEnd(end.id, vim, name)
