"""Looking ahead: in which order a chain's units are placed, and what each dock would mean for those still to come.

Along the tree in which the units are met, costs flow backwards: to a unit's own cost at a dock is added the least
that each unit behind it can cost from there, hops included (min-plus). Exact on what the docks cost now, without the
units' effect on each other; that is what the search tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vnfm.placement.ask import Ask, Bound
from vnfm.placement.book import Book
from vnfm.placement.estate import Bools, Estate, Ints
from vnfm.placement.fabric import FAR, Spot
from vnfm.placement.kinds import NEVER, UNHEARD
from vnfm.placement.routes import FAR_HOPS, Routes
from vnfm.placement.statement import RuleKind, Scope

SpotOf = Callable[[int], Spot | None]  # of a point, None where it is not placed


@dataclass(frozen=True, slots=True)
class Ahead:
    """`own[u]`: by dock, the cost of unit u there and of all behind it."""

    order: tuple[int, ...]
    own: tuple[Ints, ...]


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

    def renew(self) -> None:
        """Told before each chain: what rests on the load may be old."""

    def message(self, own: Ints, hop_cost: int, apart: bool) -> Ints:
        """The least cost of what lies behind a link, seen from each dock; `apart`: not on the same server."""
        least = own if self.alone else np.minimum.reduceat(own, self.starts)
        over: Ints = (self.hops * hop_cost + least).min(axis=1)
        return np.minimum(own + self.same_hops * hop_cost if apart else own, over[self.dock_group])

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
        return Ahead((0,), (ask.units[0].dock_score,))
    between, at_ends = _adjacency(ask)
    order, parent = _order(ask, between, at_ends, turn)
    routes = horizon.routes
    own: list[Ints] = [u.dock_score.copy() for u in ask.units]
    for u, ends in enumerate(at_ends):
        for w, end in ends:
            wire = ask.wires[w]
            own[u] += routes.cost_row(ask.end_spots[-1 - end], wire.hop_cost, wire.bandwidth)
    _close(ask, horizon, own)
    for u, unit in enumerate(ask.units):
        for v in unit.members:
            without = unlicensed(ask, routes.book, v, {})
            if without is not None:
                own[u][without] = NEVER
        closed = routes.closed(_leaving(ask, u, unit.members))
        if closed is not None:
            own[u][closed] = NEVER
    for u in reversed(order):
        p = parent[u]
        if p < 0:
            continue
        cost = sum(ask.wires[w].hop_cost for w in between[u][p])
        own[p] += horizon.message(own[u], cost, p in ask.apart[u])
    return Ahead(order, tuple(own))


def _adjacency(ask: Ask) -> tuple[list[dict[int, list[int]]], list[list[tuple[int, int]]]]:
    between: list[dict[int, list[int]]] = [{} for _ in ask.units]
    at_ends: list[list[tuple[int, int]]] = [[] for _ in ask.units]
    unit_of = ask.unit_of
    for i, w in enumerate(ask.wires):
        if w.a >= 0 and w.b >= 0:
            a, b = unit_of[w.a], unit_of[w.b]
            if a != b:
                between[a].setdefault(b, []).append(i)
                between[b].setdefault(a, []).append(i)
        elif w.a >= 0:
            at_ends[unit_of[w.a]].append((i, w.b))
        elif w.b >= 0:
            at_ends[unit_of[w.b]].append((i, w.a))
    return between, at_ends


def unlicensed(ask: Ask, book: Book, v: int, taken: Mapping[tuple[str, str], int]) -> Bools | None:
    """The docks at sites without the tokens left that a VNF takes; None where it needs none."""
    licence, count = ask.chain.vnfs[v].licence, ask.chain.vnfs[v].licence_count
    if licence is None:
        return None
    estate = book.estate
    left = [book.licences.get((licence, s), 0) - taken.get((licence, s), 0) >= count for s in estate.sites_by_code]
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
    ask: Ask, between: list[dict[int, list[int]]], at_ends: list[list[tuple[int, int]]], turn: int
) -> tuple[tuple[int, ...], list[int]]:
    """Next comes who has most bandwidth to what is placed or fixed, then who has most at all; -1: a tree's root."""
    count = len(ask.units)
    parent = [-1] * count
    order: list[int] = []
    pull = [sum(ask.wires[w].hop_cost for w, _ in ends) for ends in at_ends]
    weight = [sum(ask.wires[w].hop_cost for at in of.values() for w in at) for of in between]
    best = [0] * count  # the strongest tie so far, which makes the parent
    rest = list(range(count))
    while rest:
        if turn and not order:
            u = sorted(rest, key=lambda x: (-pull[x], -weight[x], x))[turn % count]
        else:
            u = max(rest, key=lambda x: (pull[x], weight[x], -x)) if len(rest) > 1 else rest[0]
        rest.remove(u)
        order.append(u)
        for other, at in between[u].items():
            if other in rest:
                tie = sum(ask.wires[w].hop_cost for w in at)
                pull[other] += tie
                if tie > best[other]:
                    best[other], parent[other] = tie, u
    return tuple(order), parent


def _close(ask: Ask, horizon: Horizon, own: list[Ints]) -> None:
    """Close docks that a latency bound to the ends or an affinity wider than a server rules out."""
    if ask.bounds or any(w.max_us is not None for w in ask.wires):

        def spot_of(point: int) -> Spot | None:
            return ask.end_spots[-1 - point] if point < 0 else None

        for u, unit in enumerate(ask.units):
            for v in unit.members:
                open_docks = within_reach(ask, horizon.routes, v, spot_of, None)
                if open_docks is not None:
                    own[u][~open_docks] = NEVER
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


def within_reach(ask: Ask, routes: Routes, v: int, spot_of: SpotOf, known: dict[int, int] | None) -> Bools | None:
    """The docks where VNF v can meet its latency bounds as far as what is placed tells; None: all.

    `known`: latencies of wires that are routed, realizations included.
    """
    mask: Bools | None = None
    for i in ask.wires_of[v]:
        wire = ask.wires[i]
        if wire.max_us is not None:
            other = wire.other(v)
            spot = spot_of(other)
            if spot is not None:
                ok = routes.rows(spot)[1] <= wire.max_us - ask.least_us(v) - ask.least_us(other)
                _open_own(ok, routes, spot)
                mask = ok if mask is None else mask & ok
        for b in ask.bounds_of[i]:
            ok2 = _on_walk(ask, routes, v, ask.bounds[b], spot_of, known)
            if ok2 is not None:
                mask = ok2 if mask is None else mask & ok2
    return mask


def _open_own(ok: Bools, routes: Routes, spot: Spot) -> None:
    """The spot's own dock stays open: its own server is nearer than its rack."""
    dock = routes.fabric.dock_of[spot.vertex]
    if dock >= 0:
        ok[dock] = True


def _on_walk(
    ask: Ask, routes: Routes, v: int, bound: Bound, spot_of: SpotOf, known: dict[int, int] | None
) -> Bools | None:
    walk = bound.walk
    if v not in walk:
        return None
    at = walk.index(v)
    rest = bound.max_us - sum(bound.ends_us)
    if known:
        rest -= sum([known[i] - least for i, least in zip(bound.wires, bound.ends_us, strict=True) if i in known])
    before = next((s for p in reversed(walk[:at]) if (s := spot_of(p)) is not None), None)
    after = next((s for p in walk[at + 1 :] if (s := spot_of(p)) is not None), None)
    if before is None and after is None:
        return None
    spent: Ints | None = None
    for spot in (before, after):
        if spot is not None:
            us = routes.rows(spot)[1]
            dock = routes.fabric.dock_of[spot.vertex]
            if dock >= 0 and us[dock]:
                us = us.copy()
                us[dock] = 0
            spent = us if spent is None else spent + us
    return None if spent is None else spent <= rest
