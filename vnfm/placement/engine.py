"""place(): a request on a snapshot becomes a plan, or a refusal that says what was proved and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vnfm.model.placement import Runtime
from vnfm.placement.book import Draft
from vnfm.placement.openings import Opening
from vnfm.placement.prices import is_closed, prices_of
from vnfm.placement.refuse import refusal_of
from vnfm.placement.seek import Sought, link_us, solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import Task, task_of
from vnfm.placement.types import (
    Assignment,
    Demand,
    End,
    HostKey,
    LinkReservation,
    OpenedWorker,
    Plan,
    PlannedEnd,
    PlannedLink,
    Price,
    Refusal,
    Request,
    Reservation,
)
from vnfm.placement.why import Why, chosen, why

Preferred = Mapping[str, tuple[HostKey, Runtime]]
ANYWHERE: Preferred = {}
UNTOLD = Why((), (), None, {}, {}, {})


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
    by_id = {d.id: d for d in task.demands}
    links = [
        PlannedLink(x.id, us, x.bandwidth_bps, edges) for x in task.request.links for us, edges in [link_us(sought, x)]
    ]
    laid = {x.id for x in sought.chain.vlinks}
    prices = prices_of(sought)
    return Plan(
        version=task.snapshot.version,
        assignments=tuple(_assignment(sought, draft, by_id[d.id], prices[d.id], told) for d in task.request.demands),
        links=tuple(links),
        ends=tuple(_end(sought, draft, e) for e in task.request.ends),
        reservations=tuple(_held(sought, draft, by_id[d.id]) for d in task.request.demands),
        link_reservations=tuple(
            LinkReservation(x.id, x.edges, x.bandwidth_bps)
            for x in links
            if x.bandwidth_bps and x.edges and task.link_names[x.id] in laid
        ),
    )


def _assignment(sought: Sought, draft: Draft, demand: Demand, price: Price, told: bool) -> Assignment:
    seat = draft.seats[sought.at[demand.id]]
    choice, said = chosen(sought, demand, seat), why(sought, demand) if told else UNTOLD
    return Assignment(
        id=demand.id,
        alias=demand.alias,
        vdu=demand.vdu,
        vnfd_id=demand.vnfd_id,
        vim=choice.host.vim,
        host=choice.host.id,
        host_path=tuple(key[1] for key in sought.task.snapshot.lineage[choice.host.key]),
        runtime=choice.word[0],
        nested=choice.word[1],
        cell=seat.cell if seat.cell >= 0 else None,
        reasons=said.reasons,
        rejected=said.rejected,
        runner_up=said.runner_up,
        realizations=said.realizations,
        filters=said.filters,
        score=said.score,
        price=price,
        worker=None
        if choice.host.worker is None
        else OpenedWorker(choice.host.parent, choice.host.worker, is_closed(sought.task, choice.host)),
    )


def _held(sought: Sought, draft: Draft, demand: Demand) -> Reservation:
    seat = draft.seats[sought.at[demand.id]]
    choice = chosen(sought, demand, seat)
    return choice.candidate.reserve(demand, choice.host, seat.cell if seat.cell >= 0 else None)


def _end(sought: Sought, draft: Draft, end: End) -> PlannedEnd:
    """Where an end is; one without a host is at the outermost machine that its neighbour's own VIM names."""
    if end.host or end.id not in sought.beside:
        return PlannedEnd(end.id, end.vim, end.host)
    task = sought.task
    demand = next(d for d in task.demands if d.id == sought.beside[end.id])
    host = chosen(sought, demand, draft.seats[sought.at[demand.id]]).host
    vim, name = next(k for k in task.snapshot.lineage[host.key] if k[0] == host.vim)
    return PlannedEnd(end.id, vim, name)
