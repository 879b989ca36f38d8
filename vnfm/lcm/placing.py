"""Placement over VIMs: a chain lies in one where one holds it whole; else it spreads over those that can join links.

Within what the engine finds (`place`), this decides where borders may be. A link may cross one if it has two ports, is
not steered, and both VIMs can join it (borders.py); VNFCs on a link of their VNF stay together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vnfm.lcm.borders import Tie, assign, cliques, ties
from vnfm.lcm.offers import Capabilities
from vnfm.model.resources import Reach
from vnfm.placement.engine import place
from vnfm.placement.inventory import LinkReservation
from vnfm.placement.plan import Plan, PlannedEnd, Proof, Refusal
from vnfm.placement.request import Demand, Request
from vnfm.placement.settle import settled
from vnfm.placement.snapshot import Snapshot

SAP = "SAP"
SETTLE_S = 3.0  # for what the search leaves open in a small cloud
MOST_CUTS = 32  # plans that are tried with the chain cut in two


@dataclass(frozen=True, slots=True)
class Ground:
    """What borders are decided by. `whole`: links of the request that cannot cross one, and why; `together`: groups of
    demands that stay in one VIM, and why."""

    reaches: Sequence[Reach] = ()
    whole: Mapping[str, str] = field(default_factory=dict)
    together: Sequence[tuple[str, frozenset[str]]] = ()
    capabilities: Capabilities = field(default_factory=dict)


NOWHERE = Ground()


@dataclass(frozen=True, slots=True)
class Spread:
    """A plan with the ties of those of its links that go from one VIM into another, by link."""

    plan: Plan
    ties: Mapping[str, Tie] = field(default_factory=dict)


def place_over(
    request: Request, snapshot: Snapshot, ground: Ground = NOWHERE, *, told: bool = True
) -> Spread | Refusal:
    """The best plan where that stays in one VIM; else the first VIM by name that holds the whole request; else the
    first plan found whose borders can be crossed; else a refusal that says what was in the way of each. `told`: with
    the plan's reasons."""
    free = place(request, snapshot, told=told)
    if isinstance(free, Refusal):
        free = settled(request, snapshot, free, SETTLE_S)
    if isinstance(free, Refusal):
        return free
    if len({a.vim for a in free.assignments}) <= 1:
        stays = _spread(request, free, snapshot, ground)
        if isinstance(stays, Spread):
            return stays
    made: Spread | Refusal | str
    said: dict[str, str] = {}
    vims = sorted({h.vim for h in snapshot.hosts})
    alone: dict[str, Refusal] = {}
    for vim in vims:
        made = _within(request, snapshot, ground, dict.fromkeys((d.id for d in request.demands), (vim,)), told)
        if isinstance(made, Spread):
            return made
        if isinstance(made, Refusal):
            alone[vim] = made
        said[f"in VIM {vim}"] = made.detail if isinstance(made, Refusal) else made
    made = _spread(request, free, snapshot, ground)
    if isinstance(made, Spread):
        return made
    said["over several VIMs"] = made
    for choice in _choices(request, ground, vims):
        made = _within(request, snapshot, ground, choice, told)
        if isinstance(made, Spread):
            return made
    detail = f"it would fit only over several VIMs; {'; '.join(f'{where}: {why}' for where, why in said.items())}"
    first = next(iter(alone.items()), None)
    if first is None:
        return Refusal(Proof.NOT_PROVED, detail, "not found", snapshot.version)
    return replace(first[1], detail=detail, minimal_change=f"in VIM {first[0]}: {first[1].minimal_change}")


def _choices(request: Request, ground: Ground, vims: Sequence[str]) -> Iterator[dict[str, tuple[str, ...]]]:
    """By demand, the VIMs that it may be in: sets in which all can join with all, then the chain cut in two."""
    ids = [d.id for d in request.demands]
    for group in cliques(ground.reaches, vims):
        yield dict.fromkeys(ids, group)
    pairs = [(a, b) for a in vims for b in vims if a != b and ties(ground.reaches, a, b)]
    cuts = ((at, pair) for at in range(1, len(ids)) for pair in pairs)
    for _, (at, (a, b)) in zip(range(MOST_CUTS), cuts, strict=False):
        yield {i: ((a,) if n < at else (b,)) for n, i in enumerate(ids)}


def _within(
    request: Request, snapshot: Snapshot, ground: Ground, choice: Mapping[str, tuple[str, ...]], told: bool
) -> Spread | Refusal | str:
    here = tuple(_narrowed(d, choice[d.id]) for d in request.demands)
    if any(d is None for d in here):
        return "a VNF is held to another VIM"
    plan = place(replace(request, demands=tuple(d for d in here if d)), snapshot, told=told)
    return plan if isinstance(plan, Refusal) else _spread(request, plan, snapshot, ground)


def _narrowed(demand: Demand, vims: tuple[str, ...]) -> Demand | None:
    allowed = frozenset(vims) & demand.vims if demand.vims else frozenset(vims)
    return replace(demand, vims=allowed) if allowed else None


def _spread(request: Request, plan: Plan, snapshot: Snapshot, ground: Ground) -> Spread | str:
    """The plan with its ends where ends can be and its borders tied; or why that cannot be."""
    ended = _with_ends(plan, snapshot, ground)
    if isinstance(ended, str):
        return ended
    vim_of = {a.id: a.vim for a in ended.assignments} | {e.id: e.vim for e in ended.ends}
    for why, group in ground.together:
        if len({vim_of[i] for i in group if i in vim_of}) > 1:
            return why
    borders = []
    for link in request.links:
        a, b = vim_of.get(link.a, ""), vim_of.get(link.b, "")
        if a and b and a != b:
            if link.id in ground.whole:
                return ground.whole[link.id]
            borders.append((link.id, a, b, link.bandwidth_bps))
    tied = assign(ground.reaches, borders, snapshot.link_reservations)
    if isinstance(tied, str):
        return tied
    made = _with_ties(request, ended, tied, snapshot)
    if not _in_time(request, made, tied):
        return "the way between the VIMs takes longer than the chain's latency bound allows"
    return Spread(made, tied)


def _with_ends(plan: Plan, snapshot: Snapshot, ground: Ground) -> Plan | str:
    """An end whose VIM cannot make one goes to a VIM that can, and that its neighbour's VIM can join with; there beside
    a VNF of the chain where one is, else to the first host."""
    ends = []
    for end in plan.ends:
        if not end.vim or _makes_saps(end.vim, ground):
            ends.append(end)
            continue
        fit = [v for v in sorted(ground.capabilities) if _makes_saps(v, ground) and ties(ground.reaches, end.vim, v)]
        beside = [PlannedEnd(end.id, a.vim, a.host_path[0]) for v in fit for a in plan.assignments if a.vim == v]
        hosts = [h for v in fit for h in snapshot.hosts if h.vim == v and h.active and not snapshot.nested(h.key)]
        at = next(iter([*beside, *(PlannedEnd(end.id, h.vim, h.id) for h in hosts)]), None)
        if at is None:
            return f"VIM {end.vim} makes no ends of chains (CAPABILITY_SAP), and none that does can join links with it"
        ends.append(at)
    return replace(plan, ends=tuple(ends))


def _makes_saps(vim: str, ground: Ground) -> bool:
    return vim not in ground.capabilities or SAP in ground.capabilities[vim]


def _with_ties(request: Request, plan: Plan, tied: Mapping[str, Tie], snapshot: Snapshot) -> Plan:
    """What borders add and hold: their latency, where the way between the hosts does not have it in it already, and
    their bandwidth; a flat network is held whole."""
    at = {a.id: (a.vim, a.host) for a in plan.assignments} | {e.id: (e.vim, e.host) for e in plan.ends}
    ends = {x.id: (x.a, x.b) for x in request.links}
    links = []
    for link in plan.links:
        tie = tied.get(link.id)
        if tie and tie.one_way_us:
            a, b = (snapshot.root(at[i]) if at[i] in snapshot.by_key else None for i in ends[link.id])
            if link.latency_us is None or a == b:
                link = replace(link, latency_us=(link.latency_us or 0) + tie.one_way_us)
        links.append(link)
    held = {r.resource_id: r for r in plan.link_reservations}
    for link in links:
        if tie := tied.get(link.id):
            known = held.get(link.id)
            edges = (*(known.edges if known else ()), tie.edge)
            held[link.id] = LinkReservation(link.id, edges, link.bandwidth_bps)
    return replace(plan, links=tuple(links), link_reservations=tuple(held.values()))


def _in_time(request: Request, plan: Plan, tied: Mapping[str, Tie]) -> bool:
    told = {x.id: x.latency_us for x in plan.links}
    bounds = [(p.links, p.max_latency_us) for p in request.paths]
    bounds += [((x.id,), x.max_latency_us) for x in request.links if x.max_latency_us is not None]
    return all(sum(told.get(i) or 0 for i in links) <= most for links, most in bounds if any(i in tied for i in links))
