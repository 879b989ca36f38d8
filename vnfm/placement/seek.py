"""A task given to the search in its own words: the seam between hosts and nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vnfm.placement.ask import Ask
from vnfm.placement.atlas import HALVES, MEGA, UNTOLD_US
from vnfm.placement.book import Draft
from vnfm.placement.desk import Desk
from vnfm.placement.domains import Impossible
from vnfm.placement.estate import Bools
from vnfm.placement.fabric import FAR
from vnfm.placement.inventory import HostKey
from vnfm.placement.kinds import Kind
from vnfm.placement.openings import OpenKind
from vnfm.placement.placer import SMALL, THOROUGH, Effort
from vnfm.placement.request import Demand, Link
from vnfm.placement.request import RuleKind as AskedKind
from vnfm.placement.request import Scope as AskedScope
from vnfm.placement.statement import Chain, PathBound, Rule, RuleKind, Scope, VirtualLink, Vnf
from vnfm.placement.statement import End as FixedEnd
from vnfm.placement.task import Task

TINY = 8  # nodes up to which nearly everything is looked at
EVERYTHING = Effort((64, 400))
QUICK = Effort((4,), prove=False)  # for a change that is tried out
SCOPES = {AskedScope.NFVI_NODE: Scope.SERVER, AskedScope.RACK: Scope.RACK, AskedScope.ZONE: Scope.ZONE}


@dataclass(frozen=True, slots=True)
class Sought:
    """What a search came to. `at`: position of each demand, and of each end without a host, in the chain.

    `beside`: by such an end the demand that it is with. `draft` None: nothing was found, and `why` says whether that
    is proved.
    """

    task: Task
    chain: Chain
    at: Mapping[str, int]
    beside: Mapping[str, str]
    ask: Ask
    draft: Draft | None
    why: Impossible | None

    def movers(self, demand_id: str) -> tuple[int, ...]:
        """The demand's position, and those of the ends that go with it."""
        return (self.at[demand_id], *(self.at[e] for e, d in self.beside.items() if d == demand_id))

    def member(self, position: int) -> str:
        """The id of the demand or end at a position."""
        return next(i for i, at in self.at.items() if at == position)


def solve(task: Task, effort: Effort | None = None) -> Sought:
    """Search for the whole task, with the lock held. Equal tasks give equal answers."""
    desk = task.desk
    beside = _beside(task)
    chain = _Told(task, beside).chain()
    tenant = desk.book.tenant(task.request.tenant)
    docks = len(desk.book.estate.starts)
    kinds: dict[str, Kind] = {}
    for demand in task.demands:
        opening, of = task.openings[demand.id], desk.book.tenant(demand.tenant)
        allowed = allowed_by_rules(task, demand.id)
        kept = task.offers.kind(opening, of, docks) if allowed is None else opening.kind(of, docks, allowed)
        kinds[task.names[demand.id]] = kept
    if beside:
        point = task.offers.point(tenant, docks)
        kinds.update((task.names[e], point) for e in beside)
    placer = desk.placer
    placer.kinds = _Given(kinds)  # type: ignore[assignment]
    placer.units = desk.units
    size = desk.book.estate.size
    usual = EVERYTHING if size <= TINY else THOROUGH if size <= SMALL else None
    found = placer.find(chain, effort or usual)
    ids = {v.id: i for i, v in enumerate(chain.vnfs)}
    at = {i: ids[task.names[i]] for i in (*(d.id for d in task.demands), *sorted(beside))}
    return Sought(task, chain, at, beside, found.ask, found.draft, found.why)


def alone(task: Task, demand_id: str) -> OpenKind:
    """The kind of a demand by itself, up to date."""
    desk = task.desk
    demand = next(d for d in task.demands if d.id == demand_id)
    tenant = desk.book.tenant(demand.tenant)
    kind = task.offers.kind(task.openings[demand_id], tenant, len(desk.book.estate.starts))
    kind.refresh(desk.book)
    return kind


def allowed_by_rules(task: Task, demand_id: str) -> Bools | None:
    """The nodes that rules leave to a demand beside what is fixed; None: all."""
    allowed: Bools | None = None
    estate = task.desk.book.estate
    for rule in task.request.rules:
        own = next((g for g in rule.groups if demand_id in g), None)
        if own is None:
            continue
        codes = estate.domain_codes[SCOPES.get(rule.scope, Scope.SITE)]
        for group in rule.groups:
            if rule.kind is AskedKind.ANTI_AFFINITY and group is own:
                continue
            for member in group:
                at = fixed(task, member)
                if at is not None:
                    same = codes == codes[task.desk.atlas.node_of[task.snapshot.machine[at]]]
                    mask = same if rule.kind is AskedKind.AFFINITY else ~same
                    allowed = mask if allowed is None else allowed & mask
    return None if allowed is None else np.asarray(allowed)


def allowed_by_licence(task: Task, demand: Demand, taken: Mapping[tuple[str, str], int]) -> Bools | None:
    """The nodes at sites with as much of its licence left as a demand takes, beside what is taken; None: all."""
    name, count = demand.needs.licence, demand.needs.licence_count
    if not name:
        return None
    book, estate = task.desk.book, task.desk.book.estate
    left = [book.licences.get((name, s), 0) - taken.get((name, s), 0) >= count for s in estate.sites_by_code]
    return np.array(left, dtype=np.bool_)[estate.site_at]


def fixed(task: Task, member: str) -> HostKey | None:
    """The server that an end is at; None for a demand, or an end without a host."""
    end = task.ends.get(member)
    return task.snapshot.root((end.vim, end.host)) if end is not None and end.host else None


def way_between(desk: Desk, a: HostKey, b: HostKey) -> tuple[int | None, tuple[str, ...]]:
    """Latency and edges between two servers as the search would route now; None: nobody tells."""
    if a == b:
        return 0, ()
    spots, node_of = desk.atlas.estate.spots, desk.atlas.node_of
    found = desk.placer.routes.route(spots[node_of[a]], spots[node_of[b]], 0, {}, FAR, patient=True)
    return (None, ()) if found is None else told_way(desk, found[0])


def told_way(desk: Desk, links: tuple[int, ...]) -> tuple[int | None, tuple[str, ...]]:
    """Latency and edges of a route; None: nobody tells."""
    fabric = desk.atlas.estate.fabric
    half_us = sum(fabric.link_us[i] for i in links)
    names = tuple(name for i in links if (name := fabric.link_ids[i]) in desk.atlas.link_of)
    return None if half_us >= UNTOLD_US // 2 else half_us // HALVES, names


def link_us(found: Sought, link: Link) -> tuple[int | None, tuple[str, ...]]:
    """Latency (None: nobody tells) and edges of a link as found, realizations at its ends included.

    One between two fixed ends is not ours to place, and told all the same.
    """
    task, draft = found.task, found.draft
    assert draft is not None
    at = next((i for i, x in enumerate(found.chain.vlinks) if x.id == task.link_names[link.id]), -1)
    a, b = fixed(task, link.a), fixed(task, link.b)
    us: int | None = None
    edges: tuple[str, ...] = ()
    if at >= 0:
        us, edges = told_way(task.desk, draft.routes.get(at, ()))
    elif a is not None and b is not None:
        us, edges = way_between(task.desk, a, b)
    return None if us is None else us + sum(_hop_us(found, draft, end) for end in (link.a, link.b)), edges


def _hop_us(found: Sought, draft: Draft, member: str) -> int:
    """What a demand's realization, or an end, adds to a link."""
    opening = found.task.openings.get(member)
    if opening is None:
        return found.task.end_us.get(member, 0)
    return opening.ways[draft.seats[found.at[member]].variant].latency_us // HALVES


def _beside(task: Task) -> dict[str, str]:
    """By end without a host: the demand that it is with, the first in the order of placing."""
    order = {d.id: i for i, d in enumerate(task.demands)}
    found: dict[str, str] = {}
    for link in task.request.links:
        for end, other in ((link.a, link.b), (link.b, link.a)):
            known = task.ends.get(end)
            open_end = known is not None and not known.host and other in order
            if open_end and (end not in found or order[other] < order[found[end]]):
                found[end] = other
    return found


class _Given:
    """Kinds that were made for this chain, by the names of its VNFs."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds

    def of(self, vnf: Vnf, tenant: int) -> Kind:
        """Its scores are worked out where they are needed."""
        return self.kinds[vnf.id]


class _Told:
    """A task in the statement's words. Ends without a host are points that share a server with a neighbour."""

    def __init__(self, task: Task, beside: Mapping[str, str]) -> None:
        self.task, self.beside = task, beside
        self.located = {e: at for e in task.ends if (at := fixed(task, e)) is not None}

    def chain(self) -> Chain:
        """The chain. What of it does not depend on the search is left out of it."""
        task, names, link_names = self.task, self.task.names, self.task.link_names
        vnfs = [
            Vnf(
                names[d.id],
                d.cpu_milli,
                0,
                (),
                numa_strict=d.needs.numa_strict,
                licence=d.needs.licence or None,
                licence_count=d.needs.licence_count,
            )
            for d in task.demands
        ]
        vnfs += [Vnf(names[e], 0, 0, ()) for e in sorted(self.beside)]
        known = {d.id for d in task.demands} | set(self.beside) | set(self.located)
        links = [x for x in task.request.links if {x.a, x.b} <= known and not {x.a, x.b} <= set(self.located)]
        laid = {x.id for x in links}
        ids, node = task.desk.atlas.estate.ids, task.desk.atlas.node_of
        return Chain(
            id="",
            tenant=task.request.tenant,
            vnfs=tuple(vnfs),
            ends=tuple(
                FixedEnd(names[e], ids[node[task.snapshot.machine[at]]]) for e, at in sorted(self.located.items())
            ),
            vlinks=tuple(self._vlink(x) for x in sorted(links, key=lambda x: x.id)),
            paths=tuple(
                PathBound(
                    tuple(link_names[i] for i in p.links if i in laid),
                    HALVES * p.max_latency_us - sum(self._aside_us(task.links[i], i in laid) for i in p.links),
                )
                for p in sorted(task.request.paths, key=lambda p: p.id)
            ),
            rules=tuple(self._rules()),
        )

    def _vlink(self, link: Link) -> VirtualLink:
        names, most = self.task.names, link.max_latency_us
        bound = None if most is None else HALVES * most - self._aside_us(link, laid=True)
        a, b = names[link.a], names[link.b]
        return VirtualLink(self.task.link_names[link.id], a, b, -(-link.bandwidth_bps // MEGA), bound)

    def _aside_us(self, link: Link, laid: bool) -> int:
        """What of a link's latency does not depend on the search: fixed ends, or all of it, in half microseconds."""
        us = sum(self.task.end_us.get(e, 0) for e in (link.a, link.b))
        if not laid and link.a in self.located and link.b in self.located:
            us += way_between(self.task.desk, self.located[link.a], self.located[link.b])[0] or 0
        return us * HALVES

    def _rules(self) -> list[Rule]:
        """Among demands, pair by pair where those of one group may share; what is fixed closes nodes instead."""
        names = self.task.names
        placed = {d.id for d in self.task.demands}
        rules = [Rule(RuleKind.AFFINITY, Scope.SERVER, (names[e], names[d])) for e, d in sorted(self.beside.items())]
        for rule in self.task.request.rules:
            scope = SCOPES.get(rule.scope, Scope.SITE)
            groups = [[m for x in g if (m := self.beside.get(x, x)) in placed] for g in rule.groups]
            members = sorted({m for g in groups for m in g})
            if rule.kind is AskedKind.AFFINITY:
                if len(members) > 1:
                    rules.append(Rule(RuleKind.AFFINITY, scope, tuple(names[m] for m in members)))
                continue
            if sorted(m for g in groups for m in g) == members and all(len(g) < 2 for g in groups):
                rules.append(Rule(RuleKind.ANTI_AFFINITY, scope, tuple(names[m] for m in members)))
                continue
            own = {m: i for i in reversed(range(len(groups))) for m in groups[i]}
            rules += [
                Rule(RuleKind.ANTI_AFFINITY, scope, (names[a], names[b]))
                for i, a in enumerate(members)
                for b in members[i + 1 :]
                if own[a] != own[b]
            ]
        return rules
