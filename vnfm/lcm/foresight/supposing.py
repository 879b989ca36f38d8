"""What becomes of all that runs if hosts are drained, lost or added: chain by chain, on what the others leave. Pure.

A drained host's VNFs are moved while they run, a lost one's are healed; both by the code that would really do it. Ends
cannot be moved: a chain that has one there would have to be created anew, and that is planned, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from vnfm.lcm.changing import Renewal
from vnfm.lcm.foresight.moving import (
    Gauge,
    Measure,
    Moved,
    No,
    Shift,
    Sight,
    Spot,
    held_by,
    let_go,
    measured_plan,
    moved,
    no_of,
)
from vnfm.lcm.foresight.running import Running
from vnfm.lcm.foresight.saying import NOTHING_RUNS, Say, no_word
from vnfm.lcm.placing import Ground, Spread, place_over
from vnfm.lcm.planning import kept_together, lane_demands, plan_chain
from vnfm.model.chain import ChainVnf
from vnfm.model.problem import ProblemError
from vnfm.placement.demand import rule_of_vnfd
from vnfm.placement.plan import Assignment, Plan, Refusal
from vnfm.placement.request import Request
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import Supposed


class Outcome(StrEnum):
    """What becomes of a chain or VNF."""

    MOVED = "MOVED"  # while it runs, make before break
    HEALED = "HEALED"  # what died is made anew
    RECREATED = "RECREATED"  # it would have to be terminated and created anew
    LOST = "LOST"  # nothing that is left takes it
    BETTER = "BETTER"  # nothing has to be done; there is a better place for it now


@dataclass(frozen=True, slots=True)
class Fate:
    """Of one chain or VNF. `why`: what speaks against doing it while it runs; `no`: of what is lost. `ends`: those that
    are on hosts that go."""

    running: Running
    outcome: Outcome
    shifts: tuple[Shift, ...] = ()
    ends: tuple[str, ...] = ()
    why: str = ""
    no: No | None = None
    before: Measure | None = None
    after: Measure | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """`snapshot` as it would be once all of it is done; `untold`: what could not be looked at, and why."""

    fates: tuple[Fate, ...]
    snapshot: Snapshot
    running: tuple[Running, ...]
    untold: tuple[tuple[Running, str], ...] = ()


def outlook(everyone: Sequence[Running], now: Snapshot, then: Supposed, sight: Sight, say: Say = no_word) -> Outlook:
    """The largest choose first."""
    hit: list[Running] = []
    untold: list[tuple[Running, str]] = []
    for one in everyone:
        if not (one.on(then.away) or one.ends_on(then.away)):
            continue
        try:
            _ = one.wanted
        except ProblemError as error:
            untold.append((one, error.problem.detail))
            continue
        hit.append(one)
    hit.sort(key=lambda r: (-sum(v.spec.cpu_milli for v in r.stands.vnfcs), r.tenant, r.name))
    dead = [v.resource_id for one in hit for v in one.on(then.failed)]
    snapshot = let_go(then.snapshot, dead)
    gauge, gauge_then = Gauge.of(now), Gauge.of(snapshot)
    fates: list[Fate] = []
    after = {one.id: one for one in everyone}
    for at, one in enumerate(hit):
        say(at, len(hit), f"{'chain' if one.chain else 'VNF'} {one.name}")
        fate, snapshot = _fate(one, snapshot, then, sight)
        after_it = gauge_then.measured(fate.running) if fate.after is None and fate.no is None else fate.after
        fates.append(replace(fate, before=gauge.measured(one), after=after_it))
        after[one.id] = fate.running
    say(len(hit), len(hit), "" if hit else "nothing that runs is touched" if everyone else NOTHING_RUNS)
    return Outlook(tuple(fates), snapshot, tuple(after.values()), tuple(untold))


def _fate(one: Running, snapshot: Snapshot, then: Supposed, sight: Sight) -> tuple[Fate, Snapshot]:
    ends = one.ends_on(then.away)
    dead = bool(one.on(then.failed))
    why = _against(one, ends, dead)
    if not why:
        renewal = Renewal(frozenset(v.resource_id for v in one.on(then.away)), dead=dead)
        if not dead:
            renewal = Renewal(one.of({v.alias for v in one.on(then.away)}))
        found = moved(one, renewal, snapshot, sight)
        if isinstance(found, Moved):
            outcome = Outcome.HEALED if dead else Outcome.MOVED
            return Fate(found.running, outcome, found.shifts), found.snapshot
        why = f"{'healing' if dead else 'moving'} it while it runs is refused: {found.detail}"
    free = let_go(snapshot, held_by(one))
    plan = anew(one, free, sight)
    if isinstance(plan, No):
        return Fate(one, Outcome.LOST, ends=ends, why=why, no=plan), free
    then_it = measured_plan(plan, free, paths=len(one.wanted.paths))
    fate = Fate(_replaced(one), Outcome.RECREATED, _shifts(one, plan, snapshot), ends, why, after=then_it)
    return fate, free.holding(plan.reservations, plan.link_reservations)


def _against(one: Running, ends: Sequence[str], dead: bool) -> str:
    if ends:
        names = ", ".join(ends)
        return f"its end{'s' if len(ends) > 1 else ''} {names} would have to go elsewhere, and ends cannot be moved"
    if one.chain is None and not dead:
        return "no operation moves a VNF that stands alone while it runs"
    return ""


def _replaced(one: Running) -> Running:
    """What is created anew has other ids; nothing of what stands is counted to it."""
    return replace(one, stands=replace(one.stands, vnfcs=(), links=(), saps=(), paths=()), turn=one.turn + 1)


def anew(one: Running, snapshot: Snapshot, sight: Sight) -> Plan | No:
    """The plan of creating it anew, without reasons."""
    try:
        if one.chain is not None:
            made = plan_chain(
                one.chain.descriptor,
                one.packages,
                snapshot,
                operation_id=one.operation_id,
                tenant=one.tenant,
                instance_ids={i.alias: i.id for i in one.instances},
                absent=sight.absent,
                capabilities=sight.capabilities,
                reaches=sight.reaches,
                told=False,
            ).outcome
        else:
            (lane,) = one.wanted.lanes.values()
            demands = lane_demands(lane, ChainVnf(lane.alias, one.instances[0].vnfd_id), one.operation_id, one.tenant)
            rules = tuple(rule_of_vnfd(r, lane.alias, demands) for r in lane.flavour.affinity)
            ground = Ground(sight.reaches, together=kept_together({lane.alias: lane}, one.operation_id))
            over = place_over(Request(one.tenant, tuple(demands), rules=rules), snapshot, ground, told=False)
            made = over.plan if isinstance(over, Spread) else over
    except ProblemError as error:
        return no_of(error)
    if isinstance(made, Refusal):
        return No(str(made.proof), made.detail, made.minimal_change, "no-placement")
    return made


def _shifts(one: Running, plan: Plan, snapshot: Snapshot) -> tuple[Shift, ...]:
    """By alias and VDU, in order: who is created anew takes the place of whom."""
    fresh: dict[tuple[str, str], list[Assignment]] = {}
    for made in plan.assignments:
        fresh.setdefault((made.alias, made.vdu), []).append(made)
    shifts = []
    for old in one.stands.vnfcs:
        left = fresh.get((old.alias, old.vdu_id))
        if left:
            new = left.pop(0)
            key = (old.vim, old.spec.host)
            nested = key in snapshot.lineage and snapshot.nested(key)
            before = Spot(old.vim, old.spec.host, old.spec.runtime, nested)
            after = Spot(new.vim, new.host, new.runtime, new.nested)
            shifts.append(Shift(old.alias, old.vdu_id, old.index, old.resource_id, before, after))
    return tuple(shifts)
