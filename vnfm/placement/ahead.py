"""Looking ahead: in which order a chain's units are placed, and what each dock would mean for those still to come.

Along the tree in which the units are met, costs flow backwards: to a unit's own cost at a dock is added the least
that each unit behind it can cost from there, hops included (min-plus). Exact on what the docks cost now, without the
units' effect on each other; that is what the search tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from vnfm.placement.ask import Ask
from vnfm.placement.book import Book
from vnfm.placement.estate import GRAIN, Bools, Estate, Ints
from vnfm.placement.fabric import FAR
from vnfm.placement.kinds import refresh
from vnfm.placement.reach import NOTHING_PLACED, beyond_reach
from vnfm.placement.routes import FAR_HOPS, Routes
from vnfm.placement.statement import RuleKind, Scope
from vnfm.placement.units import Unit
from vnfm.placement.ways import NEVER, NEVER_MASKED, UNHEARD

KEPT = 256  # bandwidths whose costs are kept


class Ahead(NamedTuple):
    """`own[u]`: by dock, the cost of unit u there and of all behind it.

    `known[u]`: the sectors where that rests on the unit's scores; elsewhere it is what it costs at least.
    """

    order: tuple[int, ...]
    own: tuple[Ints, ...]
    known: tuple[set[int], ...]


def known_now(ask: Ask, book: Book, u: int, sector: int, *costs: Ints) -> None:
    """Look at a unit's scores in one more sector, and put them into costs that went by the least there."""
    unit, part = ask.units[u], book.estate.sectors[sector]
    unit.source.refresh(book, (sector,))
    docks = slice(part.first_dock, part.end_dock)
    more = unit.dock_score[docks] - least_unseen(unit)
    for cost in costs:
        cost[docks] += more


def least_unseen(unit: Unit) -> int:
    """What a unit is taken to cost where nobody looked; what only breaks ties is not worth looking."""
    return min(unit.floor + GRAIN, NEVER)


class Horizon:
    """What looking ahead needs of the estate, computed once. `starts_kept`: how many times wider a search begins."""

    starts_kept = 1
    lonely = False  # whether each dock has one server

    def __init__(self, estate: Estate, routes: Routes) -> None:
        fabric = estate.fabric
        self.estate, self.routes = estate, routes
        self.dock_group = fabric.dock_group
        self.starts = fabric.group_starts
        self.same_hops = 2 * routes.up_hops
        leads = [fabric.docks[int(i)] for i in self.starts]
        groups = [fabric.group[v] for v in leads]
        up = np.maximum.reduceat(routes.up_hops, self.starts) if len(self.starts) else routes.up_hops
        hops = np.minimum(fabric.hops[groups], FAR_HOPS) + up[:, None] + up[None, :]
        for c, g in enumerate(groups):
            hops[c, c] = min(fabric.between_hops[g], FAR_HOPS) + 2 * up[c]
        self.hops: Ints = hops
        latency = np.minimum(fabric.latency[groups], FAR)
        for c, g in enumerate(groups):
            latency[c, c] = min(fabric.between_us[g], FAR)
        self.latency: Ints = latency
        self.alone = len(self.starts) == len(self.dock_group)
        self._costs: dict[int, tuple[Ints, Ints]] = {}

    def renew(self) -> None:
        """Told before each chain: what rests on the load may be old."""

    def message(self, own: Ints, hop_cost: int, apart: bool) -> Ints:
        """The least cost of what lies behind a link, seen from each dock; `apart`: not on the same server."""
        least = own if self.alone else np.minimum.reduceat(own, self.starts)
        costs, same = self._costs.get(hop_cost) or self._costs_of(hop_cost)
        over = np.minimum.reduce(costs + least, axis=1)
        there: Ints = over if self.alone else over.take(self.dock_group)
        return np.minimum(own + same if apart else own, there)

    def _costs_of(self, hop_cost: int) -> tuple[Ints, Ints]:
        """The hops by what a hop costs: between groups, and within one dock."""
        if len(self._costs) > KEPT:
            self._costs.clear()
        found = self._costs[hop_cost] = self.hops * hop_cost, self.same_hops * hop_cost
        return found

    def nearest(self, so_far: Ints) -> Ints:
        """The least latency at each dock, coming from any other with what it took there; within a server it is free."""
        out = so_far + self.routes.up_us
        least = out if self.alone else np.minimum.reduceat(out, self.starts)
        over: Ints = (self.latency + least).min(axis=1)
        near: Ints = np.minimum(so_far, over[self.dock_group] + self.routes.up_us)
        return near

    def nearest_other(self, so_far: Ints) -> Ints:
        """The same to another server than the one come from: over the dock's own switch, or another dock."""
        out = so_far + self.routes.up_us
        least = out if self.alone else np.minimum.reduceat(out, self.starts)
        over: Ints = (self.latency + least).min(axis=1)
        here = np.where(self.routes.up_hops > 0, out + self.routes.up_us, FAR)
        near: Ints = np.minimum(here, over[self.dock_group] + self.routes.up_us)
        return near


def look_ahead(ask: Ask, horizon: Horizon, turn: int = 0) -> Ahead:
    """Order and costs ahead for a chain. A dock that a bound or rule closes costs NEVER.

    `turn`: another order where one has failed; it begins with another unit.
    """
    if len(ask.units) == 1 and not ask.wires and all(v.licence is None for v in ask.chain.vnfs):
        ask.units[0].source.refresh(horizon.routes.book)
        return Ahead((0,), (ask.units[0].dock_score,), (set(range(len(horizon.estate.sectors))),))
    ties, at_ends = _ties(ask)
    order, parent = _order(ask, ties, at_ends, turn)
    routes = horizon.routes
    own, known = _looked(ask, horizon, wholly=turn > 0)
    for u, ends in enumerate(at_ends):
        for w, end in ends:
            wire = ask.wires[w]
            own[u] += routes.cost_row(ask.end_spots[-1 - end], wire.hop_cost, wire.bandwidth)
    _close(ask, horizon, own)
    vnfs = ask.chain.vnfs
    for u, unit in enumerate(ask.units):
        for v in unit.members:
            if vnfs[v].licence is not None:
                without = unlicensed(ask, routes.book, v, {})
                if without is not None:
                    np.putmask(own[u], without, NEVER_MASKED)
        if routes.crowded:
            closed = routes.closed(_leaving(ask, u, unit.members))
            if closed is not None:
                np.putmask(own[u], closed, NEVER_MASKED)
    for u in reversed(order):
        p = parent[u]
        if p >= 0:
            own[p] += horizon.message(own[u], ties[u][p], p in ask.apart[u])
    return Ahead(order, tuple(own), tuple([known.copy() for _ in ask.units]))


def _looked(ask: Ask, horizon: Horizon, wholly: bool) -> tuple[list[Ints], set[int]]:
    """What each unit costs at each dock, and the sectors looked at: those nearest to the ends, else all."""
    book, sectors = horizon.routes.book, horizon.estate.sectors
    known = set(range(len(sectors)))
    if not wholly and ask.end_spots and len(sectors) > 1:
        known = {s for spot in ask.end_spots for s in horizon.routes.near_sectors(spot)}
    at = sorted(known)
    refresh(ask.kinds, book, at)
    for unit in ask.units:
        if len(unit.members) > 1:
            unit.source.refresh(book, at)
    if len(known) == len(sectors):
        return [unit.dock_score.copy() for unit in ask.units], known
    unseen = [slice(x.first_dock, x.end_dock) for s, x in enumerate(sectors) if s not in known]
    own = []
    for unit in ask.units:
        costs = unit.dock_score.copy()
        least = least_unseen(unit)
        for part in unseen:
            costs[part] = least
        own.append(costs)
    return own, known


def _ties(ask: Ask) -> tuple[list[dict[int, int]], list[list[tuple[int, int]]]]:
    """By unit: what a hop costs between it and each unit that it is linked with, and its wires to ends."""
    ties: list[dict[int, int]] = [{} for _ in ask.units]
    at_ends: list[list[tuple[int, int]]] = [[] for _ in ask.units]
    unit_of = ask.unit_of
    for i, w in enumerate(ask.wires):
        if w.a >= 0 and w.b >= 0:
            a, b = unit_of[w.a], unit_of[w.b]
            if a != b:
                ties[a][b] = ties[b][a] = ties[a].get(b, 0) + w.hop_cost
        elif w.a >= 0:
            at_ends[unit_of[w.a]].append((i, w.b))
        elif w.b >= 0:
            at_ends[unit_of[w.b]].append((i, w.a))
    return ties, at_ends


def unlicensed(ask: Ask, book: Book, v: int, taken: Mapping[tuple[str, str], int]) -> Bools | None:
    """The docks at sites without the tokens left that a VNF takes; None where there are none."""
    licence, count = ask.chain.vnfs[v].licence, ask.chain.vnfs[v].licence_count
    if licence is None:
        return None
    estate = book.estate
    left = [book.licences.get((licence, s), 0) - taken.get((licence, s), 0) >= count for s in estate.sites_by_code]
    if all(left):
        return None
    sites = estate.dock_domains[Scope.SITE]
    closed: Bools = ~np.array([*left, True], dtype=np.bool_)[sites]  # -1, a dock of several sites, stays open
    return closed


def _leaving(ask: Ask, u: int, members: tuple[int, ...]) -> int:
    """The bandwidth of a unit's wires that certainly leave its server."""
    return sum(
        ask.wires[i].bandwidth
        for v in members
        for i in ask.wires_of[v]
        if (other := ask.wires[i].other(v)) >= 0 and ask.unit_of[other] in ask.apart[u]
    )


def _order(
    ask: Ask, ties: list[dict[int, int]], at_ends: list[list[tuple[int, int]]], turn: int
) -> tuple[tuple[int, ...], list[int]]:
    """Next comes who has most bandwidth to what is placed or fixed, then who has most at all; -1: a tree's root."""
    count = len(ask.units)
    parent = [-1] * count
    order: list[int] = []
    pull = [sum([ask.wires[w].hop_cost for w, _ in ends]) for ends in at_ends]
    weight = [sum(of.values()) for of in ties]
    best = [0] * count  # the strongest tie so far, which makes the parent
    rest = list(range(count))
    while rest:
        u = rest[0]
        if turn and not order:
            u = sorted(rest, key=lambda x: (-pull[x], -weight[x], x))[turn % count]
        else:
            for x in rest:
                if pull[x] > pull[u] or (pull[x] == pull[u] and weight[x] > weight[u]):
                    u = x
        rest.remove(u)
        order.append(u)
        for other, tie in ties[u].items():
            if other in rest:
                pull[other] += tie
                if tie > best[other]:
                    best[other], parent[other] = tie, u
    return tuple(order), parent


def _close(ask: Ask, horizon: Horizon, own: list[Ints]) -> None:
    """Close docks that a latency bound to the ends or an affinity wider than a server rules out."""
    if any(ask.timed):
        for u, unit in enumerate(ask.units):
            for v in unit.members:
                far = beyond_reach(ask, horizon.routes, v, NOTHING_PLACED)
                if far is not None:
                    np.putmask(own[u], far, NEVER_MASKED)
    for rule in ask.chain.rules:
        if rule.kind is RuleKind.AFFINITY and rule.scope is not Scope.SERVER:
            _close_domains(ask, horizon, own, rule.scope, rule.vnfs)


def _close_domains(ask: Ask, horizon: Horizon, own: list[Ints], scope: Scope, names: tuple[str, ...]) -> None:
    domains = horizon.estate.dock_domains[scope]
    if not len(domains) or domains.min() < 0:
        return
    members = {ask.unit_of[i] for i, v in enumerate(ask.chain.vnfs) if v.id in names}
    open_to_all = np.ones(int(domains.max()) + 1, dtype=np.bool_)
    for u in members:
        open_to_all &= np.bincount(domains[own[u] < UNHEARD], minlength=len(open_to_all)) > 0
    for u in members:
        own[u][~open_to_all[domains]] = NEVER
