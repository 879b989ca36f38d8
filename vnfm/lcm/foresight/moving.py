"""One move in thought: what a change of a running chain would do, what it costs, and what stands afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vnfm.lcm.changing import Changed, Renewal, change, standing_request
from vnfm.lcm.foresight.running import Running
from vnfm.lcm.offers import UNTOLD, Capabilities
from vnfm.lcm.planning import NoPlacement
from vnfm.lcm.realizing import expected
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.resources import Reach
from vnfm.placement.inventory import HostKey
from vnfm.placement.plan import Assignment, Plan, Proof
from vnfm.placement.request import End
from vnfm.placement.score import WEIGHTS
from vnfm.placement.snapshot import Snapshot, cost_of
from vnfm.placement.whatif import Ways

UNBOUNDED_US = 1_000_000_000
UNTOLD_LINK_US = 10_000  # a link whose latency nobody tells counts as this long


@dataclass(frozen=True, slots=True)
class Spot:
    """Where and how a VNFC runs."""

    vim: str
    host: str
    runtime: Runtime
    nested: bool = False

    @property
    def key(self) -> HostKey:
        """The host's."""
        return (self.vim, self.host)


@dataclass(frozen=True, slots=True)
class Shift:
    """A VNFC that goes from one spot to another; `why` is told where it was asked for."""

    alias: str
    vdu_id: str
    index: int
    vnfc_id: str  # as it is now
    before: Spot
    after: Spot
    why: Assignment | None = None

    @property
    def stays(self) -> bool:
        """Same host, same realization."""
        return (self.before.key, self.before.runtime) == (self.after.key, self.after.runtime)


@dataclass(frozen=True, slots=True)
class Measure:
    """What it costs to have a chain as it stands. `price`: that of its CPUs, in the inventory's unit; `hops`: edges of
    the fabric that its links cross; `latency_us`: of its slowest path, None where nobody tells; `score`: all of it in
    the unit of the placement's weights."""

    price: float
    hops: int
    latency_us: int | None
    score: int


@dataclass(frozen=True, slots=True)
class No:
    """Why something cannot be done: a refusal by the placement, or `proof` empty where it is not about room."""

    proof: str
    detail: str
    minimal_change: str = ""
    word: str = ""  # of the problem

    def as_dict(self) -> dict[str, Any]:
        """As `chain plan` tells it."""
        return {"proof": self.proof, "detail": self.detail, "minimal_change": self.minimal_change}


@dataclass(frozen=True, slots=True)
class Moved:
    """`running` and `snapshot` as they would be."""

    running: Running
    snapshot: Snapshot
    shifts: tuple[Shift, ...]
    changed: Changed


@dataclass(frozen=True, slots=True)
class Sight:
    """What every look ahead goes by, besides the snapshot."""

    absent: Mapping[str, str] = field(default_factory=dict)
    capabilities: Capabilities = field(default_factory=lambda: UNTOLD)
    reaches: Sequence[Reach] = ()


def moved(running: Running, renewal: Renewal, snapshot: Snapshot, sight: Sight, *, told: bool = False) -> Moved | No:
    """What the operation would decide: the same code decides it. What it made and what it left is held then."""
    try:
        done = change(
            running.wanted,
            renewal,
            snapshot,
            operation_id=running.operation_id,
            absent=sight.absent,
            capabilities=sight.capabilities,
            told=told,
        )
    except ProblemError as error:
        return no_of(error)
    made = {a.id: a for a in done.plan.assignments}
    shifts = []
    for fresh in done.slots.fresh:
        old, new = fresh.old, made[fresh.resource_id]
        if old is not None:
            before = Spot(old.vim, old.spec.host, old.spec.runtime, _nested(snapshot, (old.vim, old.spec.host)))
            after = Spot(new.vim, new.host, new.runtime, new.nested)
            why = new if told else None
            shifts.append(Shift(old.alias, old.vdu_id, old.index, old.resource_id, before, after, why))
    gone = [s.removal.resource_id for s in done.steps if s.removal]
    gone += [v.resource_id for v in done.slots.gone]
    then = let_go(snapshot.holding(done.plan.reservations, done.plan.link_reservations), gone)
    return Moved(running.moved(expected(running.stands, done.steps)), then, tuple(shifts), done)


def no_of(error: ProblemError) -> No:
    """A problem of planning as a reason. A bound that what stays would break is about latency."""
    told = error.problem
    if isinstance(error, NoPlacement):
        refusal = error.refusal
        return No(str(refusal.proof), refusal.detail, refusal.minimal_change, told.word)
    return No(str(Proof.LATENCY) if told.word == "no-placement" else "", told.detail, "", told.word)


def let_go(snapshot: Snapshot, resource_ids: Iterable[str]) -> Snapshot:
    """Without what was held for these, on hosts and links: what a link's parts hold begins with its id."""
    gone = frozenset(resource_ids)
    links = [r.resource_id for r in snapshot.link_reservations if r.resource_id.partition("/")[0] in gone]
    return snapshot.releasing((*gone, *links))


def held_by(running: Running) -> list[str]:
    """All resource ids that something may be held for."""
    stands = running.stands
    return [*(v.resource_id for v in stands.vnfcs), *(x.spec.resource_id for x in stands.links)]


@dataclass(frozen=True, slots=True)
class Gauge:
    """Measures what stands, on the hosts of one snapshot, whatever they hold."""

    snapshot: Snapshot
    ways: Ways

    @classmethod
    def of(cls, snapshot: Snapshot) -> Gauge:
        """Of a snapshot's hosts."""
        return cls(snapshot, Ways.of(snapshot))

    def measured(self, running: Running) -> Measure | None:
        """None where it cannot be told: an end or a VNFC is on a host that nobody tells any more."""
        wanted, snapshot = running.wanted, self.snapshot
        if wanted.chain is not None:  # every path is summed up, bounded or not
            wanted = replace(wanted, chain=replace(wanted.chain, max_latency_us=UNBOUNDED_US))
        price = 0.0
        for vnfc in running.stands.vnfcs:
            host = snapshot.by_key.get((vnfc.vim, vnfc.spec.host))
            if host is None:
                return None
            price += host.price_per_vcpu * vnfc.spec.cpu_milli / 1000
        request = standing_request(wanted, snapshot)
        ends = {e.id: e for e in request.ends}
        if any(not e.host for e in request.ends):
            return None
        lasting = {x.id: self._way(ends[x.a], ends[x.b]) for x in request.links}
        sums = [_sum([lasting[i][0] for i in p.links]) for p in request.paths]
        told = [s for s in sums if s is not None]
        latency_us = max(told) if told and len(told) == len(sums) else None
        return _measure(price, lasting.values(), latency_us)

    def _way(self, a: End, b: End) -> tuple[int | None, int]:
        """Latency and hops."""
        snapshot = self.snapshot
        us, edges = self.ways.between(snapshot.root((a.vim, a.host)), snapshot.root((b.vim, b.host)))
        if us is None:
            return None, edges
        hop_us = sum(cost_of(snapshot.by_key[e.vim, e.host], e.runtime).hop_us for e in (a, b) if e.runtime)
        return us + hop_us, edges


def measured_plan(plan: Plan, snapshot: Snapshot, *, paths: int) -> Measure:
    """Of a plan that nothing stands of yet. The latency is told where there is one path, which has all links then."""
    price = sum(snapshot.by_key[r.vim, r.host].price_per_vcpu * r.cpu_milli / 1000 for r in plan.reservations)
    lasting = [(x.latency_us, len(x.edges)) for x in plan.links]
    return _measure(price, lasting, _sum([us for us, _ in lasting]) if paths == 1 else None)


def _measure(price: float, ways: Iterable[tuple[int | None, int]], latency_us: int | None) -> Measure:
    known = list(ways)
    us = sum(UNTOLD_LINK_US if lasting is None else lasting for lasting, _ in known)
    hops = sum(edges for _, edges in known)
    return Measure(round(price, 4), hops, latency_us, round(WEIGHTS.price_per_vcpu * price) + us + hops)


def _nested(snapshot: Snapshot, key: HostKey) -> bool:
    return key in snapshot.lineage and snapshot.nested(key)


def _sum(parts: list[int | None]) -> int | None:
    known = [p for p in parts if p is not None]
    return sum(known) if len(known) == len(parts) else None
