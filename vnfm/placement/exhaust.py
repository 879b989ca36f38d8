"""The last proof: all ways to seat a chain tried, on fewer constraints than there are. What fails here is impossible.

Left aside: that routes share links beyond the servers' uplinks, and that realizations differ in latency. The VNF with
the fewest nodes comes first, so what cannot be is met after few steps; the number of steps is bounded.
"""

from __future__ import annotations

import numpy as np

from vnfm.placement.ask import Ask
from vnfm.placement.domains import Domains
from vnfm.placement.estate import Bools
from vnfm.placement.fabric import Spot
from vnfm.placement.reach import beyond_reach
from vnfm.placement.statement import Scope


class Exhaust:
    """Searches for a way to seat all; `fails` is True where there is none, None where the steps ran out."""

    def __init__(self, domains: Domains, steps: int) -> None:
        self.domains = domains
        self.ask: Ask = domains.ask
        self.book, self.estate, self.routes = domains.book, domains.estate, domains.horizon.routes
        self.steps = steps
        self.seats: dict[int, int] = {}
        self.least = [self._least_amounts(v) for v in range(len(self.ask.kinds))]

    def fails(self) -> bool | None:
        """Whether no way to seat all is left."""
        found = self._deeper(list(self.domains.of))
        return None if found is None else not found

    def _least_amounts(self, v: int) -> tuple[int, ...]:
        ways = self.ask.kinds[v].ways
        return tuple(min((w.amounts[r] for w in ways), default=0) for r in range(6))

    def _deeper(self, of: list[Bools]) -> bool | None:
        """True: a way is found. False: there is none. None: the steps ran out."""
        open_vnfs = [v for v in range(len(of)) if v not in self.seats]
        if not open_vnfs:
            return True
        counts = {v: int(np.count_nonzero(of[v])) for v in open_vnfs}
        v = min(open_vnfs, key=lambda x: (counts[x], x))
        unsure = False
        for node in np.flatnonzero(of[v]).tolist():
            if self.steps <= 0:
                return None
            self.steps -= 1
            if not self._room(v, node):
                continue
            self.seats[v] = node
            after = self._checked_forward(of, v, node)
            found = self._deeper(after) if after is not None else False
            del self.seats[v]
            if found:
                return True
            unsure = unsure or found is None
            if unsure:
                return None
        return False

    def _room(self, v: int, node: int) -> bool:
        """Whether node, licences and uplink hold v beside what is seated."""
        book, ask = self.book, self.ask
        here = [o for o, at in self.seats.items() if at == node]
        for r in range(6):
            if self.least[v][r] and book.left[r][node] < self.least[v][r] + sum(self.least[o][r] for o in here):
                return False
        licence = ask.chain.vnfs[v].licence
        if licence is not None:
            site = self.estate.site_of(node)
            alike = [(o, at) for o, at in self.seats.items() if ask.chain.vnfs[o].licence == licence]
            taken = sum(ask.chain.vnfs[o].licence_count for o, at in alike if self.estate.site_of(at) == site)
            if book.licences.get((licence, site), 0) < taken + ask.chain.vnfs[v].licence_count:
                return False
        self.seats[v] = node
        fits = self._uplink_fits(node)
        del self.seats[v]
        return fits

    def _uplink_fits(self, node: int) -> bool:
        spot = self.estate.spots[node]
        if spot.uplink < 0:
            return True
        crossing = 0
        for w in self.ask.wires:
            a, b = self._spot(w.a), self._spot(w.b)
            if a is not None and b is not None and a.place != b.place and spot.place in (a.place, b.place):
                crossing += w.bandwidth
        return crossing <= self.book.bandwidth[spot.uplink]

    def _spot(self, point: int) -> Spot | None:
        if point < 0:
            return self.ask.end_spots[-1 - point]
        node = self.seats.get(point)
        return None if node is None else self.estate.spots[node]

    def _checked_forward(self, of: list[Bools], v: int, node: int) -> list[Bools] | None:
        """What the seat of v leaves to the others, None where it leaves one of them nothing."""
        out = list(of)
        placed = {p: self.estate.spots[n] for p, n in self.seats.items()}
        related = {o for i in self.ask.wires_of[v] if (o := self.ask.wires[i].other(v)) >= 0}
        for b in {b for i in self.ask.wires_of[v] for b in self.ask.bounds_of[i]}:
            related.update(p for p in self.ask.bounds[b].walk if p >= 0)
        for rule in self.ask.rules[v]:
            codes = self.estate.domain_codes[rule.scope]
            same = codes == codes[node]
            for o in rule.others:
                if o not in self.seats:
                    out[o] = out[o] & (same if rule.same else ~same)
        for o in range(len(out)):
            if o in self.seats:
                continue
            if o in related:
                far = beyond_reach(self.ask, self.routes, o, placed)
                if far is not None:
                    out[o] = out[o] & ~far[self.estate.dock_codes]
            if out[o][node] and not self._room(o, node):
                out[o] = out[o].copy()
                out[o][node] = False
            if not out[o].any():
                return None
        return out


def unmatched(domains: Domains) -> tuple[Scope, list[str]] | None:
    """VNFs that have to be apart and have fewer places than they are: no matching of them to servers, racks, ..."""
    ask = domains.ask
    for v, rules in enumerate(ask.rules):
        for rule in rules:
            members = [v, *rule.others]
            if rule.same or v != min(members):
                continue
            codes = domains.estate.domain_codes[rule.scope]
            most = int(codes.max(initial=0)) + 1
            met = [np.flatnonzero(np.bincount(codes[domains.of[m]], minlength=most)) for m in members]
            options = [at[: len(members)].tolist() for at in met]
            if not _matched(options):
                return rule.scope, [domains.name(m) for m in members]
    return None


def _matched(options: list[list[int]]) -> bool:
    taken: dict[int, int] = {}

    def seat(m: int, tried: set[int]) -> bool:
        for place in options[m]:
            if place not in tried:
                tried.add(place)
                if place not in taken or seat(taken[place], tried):
                    taken[place] = m
                    return True
        return False

    return all(seat(m, set()) for m in range(len(options)))
