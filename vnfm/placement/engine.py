"""place(): a request on a snapshot becomes a plan, or a refusal that says what was proved and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vnfm.model.placement import Runtime
from vnfm.placement.candidates import Candidate
from vnfm.placement.network import Route
from vnfm.placement.reasons import Reasons, reasons_of
from vnfm.placement.refuse import refusal_of
from vnfm.placement.score import DEFAULT_WEIGHTS, Weights
from vnfm.placement.seek import solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import Task, task_of
from vnfm.placement.tryout import State, Wired, hop_us, server_of
from vnfm.placement.types import (
    Assignment,
    End,
    HostKey,
    Link,
    LinkReservation,
    Plan,
    PlannedEnd,
    PlannedLink,
    Refusal,
    Request,
)

Preferred = Mapping[str, tuple[HostKey, Runtime]]
ANYWHERE: Preferred = {}
UNTOLD = Reasons((), (), None)


def place(
    request: Request,
    snapshot: Snapshot,
    *,
    weights: Weights = DEFAULT_WEIGHTS,
    preferred: Preferred = ANYWHERE,
    told: bool = True,
) -> Plan | Refusal:
    """Place the whole request, or refuse it whole. Raises ProblemError `invalid-request` where it contradicts itself.

    The answer depends on nothing but the arguments. What the plan needs held stands in its reservations; nothing is
    held here. `preferred`: where and how demands had best run, by their ids, whatever that costs; where not all of
    that is open to them it is forgotten. `told`: with the reasons; without them a plan over many hosts takes a tenth.
    """
    with snapshot.kept.lock:
        return _placed(task_of(request, snapshot, weights), preferred, told)


def _placed(task: Task, preferred: Preferred, told: bool) -> Plan | Refusal:
    if preferred and (state := _as_preferred(task, preferred)):
        return _plan(task, state, told)
    found = solve(task) if all(task.candidates[d.id] for d in task.demands) else None
    if found is None or found.state is None:
        return refusal_of(task, proved=found is None or found.proved)
    return _plan(task, found.state, told)


def _as_preferred(task: Task, preferred: Preferred) -> State | None:
    """The state with every demand where it had best run; None where that is not open to all of them."""
    narrowed: dict[str, tuple[Candidate, ...]] = {}
    for demand in task.demands:
        if demand.id not in preferred:
            return None
        key, runtime = preferred[demand.id]
        narrowed[demand.id] = tuple(
            replace(c, group=tuple(h for h in c.group if h.key == key))
            for c in task.candidates[demand.id]
            if c.runtime is runtime and any(h.key == key for h in c.group)
        )
    return solve(replace(task, candidates=narrowed)).state if all(narrowed.values()) else None


def _plan(task: Task, state: State, told: bool) -> Plan:
    wired = {x.id: state.wired.get(x.id) or _standing(task, state, x) for x in task.request.links}
    return Plan(
        version=task.snapshot.version,
        assignments=tuple(
            _assignment(task, state, d.id, reasons_of(task, state, d) if told else UNTOLD) for d in task.request.demands
        ),
        links=tuple(
            PlannedLink(x.id, wired[x.id].latency_us, x.bandwidth_bps, wired[x.id].route.edges)
            for x in task.request.links
        ),
        ends=tuple(_end(task, state, e) for e in task.request.ends),
        reservations=tuple(state.placed[d.id].reservation for d in task.request.demands),
        link_reservations=tuple(
            LinkReservation(x.id, wired[x.id].route.edges, x.bandwidth_bps)
            for x in task.request.links
            if x.bandwidth_bps and wired[x.id].route.edges and x.id in state.wired
        ),
    )


def _assignment(task: Task, state: State, demand_id: str, why: Reasons) -> Assignment:
    placed = state.placed[demand_id]
    demand = next(d for d in task.demands if d.id == demand_id)
    return Assignment(
        id=demand_id,
        alias=demand.alias,
        vdu=demand.vdu,
        vnfd_id=demand.vnfd_id,
        vim=placed.host.vim,
        host=placed.host.id,
        host_path=tuple(key[1] for key in task.snapshot.lineage[placed.host.key]),
        runtime=placed.candidate.runtime,
        nested=placed.candidate.nested,
        cell=placed.reservation.cell,
        reasons=why.reasons,
        rejected=why.rejected,
        runner_up=why.runner_up,
    )


def _standing(task: Task, state: State, link: Link) -> Wired:
    """A link between two ends: not ours to place, told all the same."""
    a, b = state.located.get(link.a), state.located.get(link.b)
    route = task.network.route(a, b) if a is not None and b is not None else None
    if route is None or route.latency_us is None:
        return Wired(None, Route(None))
    return Wired(route.latency_us + hop_us(task, state, link.a) + hop_us(task, state, link.b), route)


def _end(task: Task, state: State, end: End) -> PlannedEnd:
    if end.host:
        return PlannedEnd(end.id, end.vim, end.host)
    for link in task.request.links:
        other = link.b if link.a == end.id else link.a
        if end.id in (link.a, link.b) and other in state.placed:
            placed = state.placed[other]
            if placed.root == state.located.get(end.id):
                vim, host = server_of(task.snapshot, placed.host.key)
                return PlannedEnd(end.id, vim, host)
    return PlannedEnd(end.id, "", "")
