"""The search forward: units in order, at each step the most promising drafts, each candidate tested exactly."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from vnfm.placement.ahead import Ahead, Horizon, known_now, unlicensed, within_reach
from vnfm.placement.ask import Ask
from vnfm.placement.book import Book, Draft
from vnfm.placement.estate import GRAIN, Ints
from vnfm.placement.extend import Miss, extend, spot_of
from vnfm.placement.fabric import Spot
from vnfm.placement.kinds import NEVER, UNHEARD
from vnfm.placement.routes import Routes
from vnfm.placement.statement import Scope

ALIKE = 2  # candidates that miss at one dock before the dock is left


class Candidates:
    """A unit's nodes for one draft, the most promising first: servers of its neighbours, then dock by dock."""

    def __init__(self, ask: Ask, ahead: Ahead, horizon: Horizon, book: Book, draft: Draft, u: int) -> None:
        self.estate, self.ask, self.book, self.u = book.estate, ask, book, u
        self.unit = ask.units[u]
        self.total = ahead.own[u].copy()
        self.ahead, self.known = ahead, ahead.known[u].copy()
        self.opened: dict[int, Ints] = {}
        self.missed: dict[int, int] = {}
        self.need = self.later = 0  # bandwidth that leaves the server; of it, to units that are not placed yet
        self.room = book.up_left
        self.nearby: list[tuple[int, int]] = []
        self.told: set[int] = set()
        self.lonely = horizon.lonely
        self._from_neighbours(ask, horizon, book, draft)
        self._closed_by_rules(ask, draft)
        if draft.licences:
            for v in self.unit.members:
                without = unlicensed(ask, book, v, draft.licences)
                if without is not None:
                    self.total[without] = NEVER

    def _from_neighbours(self, ask: Ask, horizon: Horizon, book: Book, draft: Draft) -> None:
        routes = horizon.routes
        placed: list[tuple[Spot, int, int]] = []
        rows: list[Ints] = []
        bounded = bool(ask.bounds)
        ends: list[tuple[Spot, int, int]] = []
        for v in self.unit.members:
            for i in ask.wires_of[v]:
                wire = ask.wires[i]
                other = wire.other(v)
                if other < 0 or other in draft.seats:
                    self.need += wire.bandwidth
                elif ask.unit_of[other] in ask.apart[ask.unit_of[v]]:
                    self.need += wire.bandwidth
                    self.later += wire.bandwidth
                bounded = bounded or wire.max_us is not None
                if other < 0:
                    ends.append((ask.end_spots[-1 - other], -1, wire.hop_cost))
                elif other in draft.seats:
                    node = draft.seats[other].node
                    spot = self.estate.spots[node]
                    placed.append((spot, node, wire.hop_cost))
                    rows.append(routes.cost_row(spot, wire.hop_cost, wire.bandwidth))
        for row in rows:
            self.total += row
        closed = routes.closed(self.need) if self.need else None
        if closed is not None:
            self.total[closed] = NEVER
        if bounded and draft.seats:
            for v in self.unit.members:
                mask = within_reach(ask, routes, v, lambda p: spot_of(ask, book, draft, p), draft.latency)
                if mask is not None:
                    self.total[~mask] = NEVER
        self._beside(book, draft, placed, ends)

    def _beside(
        self, book: Book, draft: Draft, placed: Iterable[tuple[Spot, int, int]], ends: Iterable[tuple[Spot, int, int]]
    ) -> None:
        """The servers where neighbours are: there a wire costs nothing, and a switched-on server is paid for."""
        estate = self.estate
        saving: dict[int, int] = {}
        for spot, node, cost in (*placed, *ends):
            root = estate.root[node] if node >= 0 else estate.server_at.get(spot.place, -1)
            if root < 0:
                continue
            dock = estate.dock[root]
            saving[root] = saving.get(root, 0) + cost * (2 if spot.uplink >= 0 else 0)
        score = self.unit.score
        for root, saved in saving.items():
            dock = estate.dock[root]
            if estate.sector_of[root] not in self.known:
                self._look(estate.sector_of[root])
            ahead = int(self.total[dock]) - int(self.unit.dock_score[dock])
            for node in estate.on_server(root):
                cost = int(score[node])
                if cost < self.unit.never:
                    if root in draft.used or node in draft.used:
                        cost -= book.on_left[node] * GRAIN
                    estimate = ahead + cost - saved
                    if estimate < UNHEARD:
                        self.nearby.append((estimate, node))
        heapify(self.nearby)

    def _closed_by_rules(self, ask: Ask, draft: Draft) -> None:
        for v in self.unit.members:
            for rule in ask.rules[v]:
                if rule.scope is Scope.SERVER:
                    if not rule.same and self.lonely:
                        for other in rule.others:
                            if other in draft.seats:
                                self.total[self.estate.dock[draft.seats[other].node]] = NEVER
                    continue
                domains = self.estate.dock_domains[rule.scope]
                codes = self.estate.domains[rule.scope]
                for other in rule.others:
                    if other in draft.seats:
                        at = codes[draft.seats[other].node]
                        closed = (domains != at) & (domains >= 0) if rule.same else domains == at
                        self.total[closed] = NEVER

    def _look(self, sector: int) -> None:
        """From now on the costs in this sector rest on the unit's scores."""
        self.known.add(sector)
        if sector in self.ahead.known[self.u]:
            known_now(self.ask, self.book, self.u, sector, self.total)
        else:
            self.ahead.known[self.u].add(sector)
            known_now(self.ask, self.book, self.u, sector, self.total, self.ahead.own[self.u])

    def next(self) -> tuple[int, int] | None:
        """The next estimate (cost ahead included, the draft's own not) and node."""
        while True:
            dock = int(self.total.argmin()) if len(self.total) else -1
            best = int(self.total[dock]) if dock >= 0 else NEVER
            if self.nearby and self.nearby[0][0] <= best:
                found = heappop(self.nearby)
            elif best >= UNHEARD:
                return None
            elif self.estate.sector_of_dock[dock] not in self.known:
                self._look(self.estate.sector_of_dock[dock])
                continue
            else:
                found = best, self._from_dock(dock)
            if found[1] >= 0 and found[1] not in self.told:
                self.told.add(found[1])
                return found

    def _from_dock(self, dock: int) -> int:
        start, end = self.estate.dock_slice(dock)
        scores = self.opened.get(dock)
        if scores is None:
            scores = self.opened[dock] = self.unit.score[start:end].copy()
            if self.need:
                scores[self.room[start:end] < self.need] = self.unit.never
                least = int(scores.min())
                if least >= self.unit.never:
                    self.total[dock] = NEVER
                    return -1
                behind = least - int(self.unit.dock_score[dock])
                if behind:
                    self.total[dock] += behind
                    return -1
        at = int(scores.argmin())
        now = int(scores[at])
        scores[at] = self.unit.never
        least = int(scores.min())
        if least >= self.unit.never:
            self.total[dock] = NEVER
        else:
            self.total[dock] += least - now
        return start + at

    def miss(self, node: int, why: Miss) -> None:
        """Tell that a node failed, so that its like at the same dock is not tried for ever."""
        if why is Miss.REACH:
            dock = self.estate.dock[node]
            self.missed[dock] = self.missed.get(dock, 0) + 1
            if self.missed[dock] >= ALIKE:
                self.total[dock] = NEVER


def search(
    ask: Ask, ahead: Ahead, horizon: Horizon, book: Book, routes: Routes, width: int, tries: int
) -> tuple[Draft | None, int]:
    """The best draft found with all VNFs seated, and how far the search came: units placed.

    `width`: drafts kept at each step. `tries`: candidates tested at a step for each.
    """
    if len(ask.units) == 1 and not ask.wires:
        found = _alone(ask, book, routes)
        if found is not None:
            return found, 1
    drafts = [Draft(ask.tenant)]
    patient = width > 1
    for done, u in enumerate(ahead.order):
        keep = width if done else width * horizon.starts_kept
        drafts = _step(ask, ahead, horizon, book, routes, drafts, u, keep, tries * keep, patient)
        if not drafts:
            return None, done
    return min(drafts, key=lambda d: d.cost), len(ahead.order)


def _alone(ask: Ask, book: Book, routes: Routes) -> Draft | None:
    """A single unit without links goes where it is cheapest: no need to look around."""
    unit = ask.units[0]
    dock = int(unit.dock_score.argmin()) if len(unit.dock_score) else -1
    if dock < 0 or unit.dock_score[dock] >= UNHEARD:
        return None
    start, end = book.estate.dock_slice(dock)
    node = start + int(unit.score[start:end].argmin())
    found = place_unit(ask, book, routes, Draft(ask.tenant), 0, node, patient=False)
    return found if isinstance(found, Draft) else None


def _step(
    ask: Ask,
    ahead: Ahead,
    horizon: Horizon,
    book: Book,
    routes: Routes,
    drafts: list[Draft],
    u: int,
    width: int,
    tries: int,
    patient: bool,
) -> list[Draft]:
    sources = [Candidates(ask, ahead, horizon, book, d, u) for d in drafts]
    heap: list[tuple[int, int, int]] = []
    for i, source in enumerate(sources):
        first = source.next()
        if first is not None:
            heappush(heap, (first[0] + drafts[i].cost, i, first[1]))
    grown: list[Draft] = []
    taken: set[tuple[int, int, int]] = set()
    while heap and tries > 0:
        estimate, i, node = heappop(heap)
        alike = (estimate, i, book.estate.dock[node])
        if alike not in taken:
            tries -= 1
            found = place_unit(ask, book, routes, drafts[i], u, node, patient)
            if sources[i].later and isinstance(found, Draft) and not _room_later(book, found, node, sources[i].later):
                found = Miss.REACH
            if isinstance(found, Draft) and not routes.holds(ask, found):
                found = Miss.REACH
            if isinstance(found, Draft):
                grown.append(found)
                taken.add(alike)
                if len(grown) == width:
                    break
            else:
                sources[i].miss(node, found)
        following = sources[i].next()
        if following is not None:
            heappush(heap, (following[0] + drafts[i].cost, i, following[1]))
    return grown


def _room_later(book: Book, draft: Draft, node: int, bandwidth: int) -> bool:
    uplink = book.estate.spots[node].uplink
    return uplink < 0 or book.bandwidth[uplink] - draft.link_used.get(uplink, 0) >= bandwidth


def place_unit(ask: Ask, book: Book, routes: Routes, draft: Draft, u: int, node: int, patient: bool) -> Draft | Miss:
    """The draft with a whole unit: on that node, or its members anywhere on that server."""
    members = ask.units[u].members
    if len(members) == 1:
        return extend(ask, book, routes, draft, members[0], node, patient)
    on_server = book.estate.on_server(node)
    for v in members:
        scores, never = ask.kinds[v].score, ask.kinds[v].never
        miss: Draft | Miss = Miss.ROOM
        for n in sorted(on_server, key=lambda n: int(scores[n])):
            if scores[n] >= never:
                break
            miss = extend(ask, book, routes, draft, v, n, patient)
            if isinstance(miss, Draft):
                break
        if not isinstance(miss, Draft):
            return miss
        draft = miss
    return draft
