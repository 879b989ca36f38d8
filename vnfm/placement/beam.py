"""The search forward: units in order, at each step the most promising drafts, each candidate tested exactly."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

import numpy as np

from vnfm.placement.ahead import Ahead, Horizon, known_now, unlicensed
from vnfm.placement.ask import Apart, Ask
from vnfm.placement.book import Book, Draft
from vnfm.placement.estate import GRAIN, Ints
from vnfm.placement.extend import Miss, extend
from vnfm.placement.reach import beyond_reach
from vnfm.placement.routes import Routes
from vnfm.placement.statement import Scope
from vnfm.placement.ways import NEVER, NEVER_MASKED, UNHEARD

ALIKE = 2  # candidates that miss at one dock before the dock is left


class Candidates:
    """A unit's nodes for one draft, the most promising first: servers of its neighbours, then dock by dock."""

    __slots__ = (
        "ahead",
        "ask",
        "book",
        "estate",
        "given",
        "known",
        "later",
        "missed",
        "nearby",
        "need",
        "opened",
        "told",
        "total",
        "u",
        "unit",
    )

    def __init__(self, ask: Ask, ahead: Ahead, horizon: Horizon, book: Book, draft: Draft, u: int) -> None:
        self.estate, self.ask, self.book, self.u = book.estate, ask, book, u
        self.unit = ask.units[u]
        self.total = ahead.own[u].copy()
        self.ahead, self.known = ahead, ahead.known[u].copy()
        self.opened: dict[int, Ints] = {}
        self.missed: dict[int, int] = {}
        self.need = self.later = 0  # bandwidth that leaves the server; of it, to units that are not placed yet
        self.nearby: list[tuple[int, int]] = []
        self.told: set[int] = set()
        self.given: int | None = None  # the dock of the last node told, where its next one is not looked for yet
        self._from_neighbours(ask, horizon, book, draft)
        for v in self.unit.members:
            if ask.rules[v]:
                self._closed_by_rules(ask.rules[v], draft, horizon.lonely)
        if draft.licences:
            for v in self.unit.members:
                without = unlicensed(ask, book, v, draft.licences)
                if without is not None:
                    np.putmask(self.total, without, NEVER_MASKED)

    def _from_neighbours(self, ask: Ask, horizon: Horizon, book: Book, draft: Draft) -> None:
        estate, routes, seats, total = self.estate, horizon.routes, draft.seats, self.total
        apart = ask.apart[self.u]
        saving: dict[int, int] = {}  # by server of a neighbour, or end: what a wire there does not cost
        for v in self.unit.members:
            for i in ask.wires_of[v]:
                a, b, bandwidth, hop_cost, _ = ask.wires[i]
                other = b if v == a else a
                if other < 0:
                    self.need += bandwidth
                    spot = ask.end_spots[-1 - other]
                    root = estate.server_at.get(spot.place, -1)
                elif (seat := seats.get(other)) is not None:
                    self.need += bandwidth
                    spot, root = estate.spots[seat.node], estate.root[seat.node]
                    np.add(total, routes.cost_row(spot, hop_cost, bandwidth), total)
                else:
                    if ask.unit_of[other] in apart:
                        self.need += bandwidth
                        self.later += bandwidth
                    continue
                if root >= 0:
                    saving[root] = saving.get(root, 0) + (2 * hop_cost if spot.uplink >= 0 else 0)
        if self.need and routes.crowded:
            closed = routes.closed(self.need)
            if closed is not None:
                np.putmask(total, closed, NEVER_MASKED)
        timed = [v for v in self.unit.members if ask.timed[v]]
        if timed and seats:
            placed = {point: estate.spots[seat.node] for point, seat in seats.items()}
            for v in timed:
                far = beyond_reach(ask, routes, v, placed, draft.latency)
                if far is not None:
                    np.putmask(total, far, NEVER_MASKED)
        for root, saved in saving.items():
            self._beside(draft, root, saved)
        if len(self.nearby) > 1:
            heapify(self.nearby)

    def _beside(self, draft: Draft, root: int, saved: int) -> None:
        """A server where a neighbour is: there a wire costs nothing, and a switched-on server is paid for."""
        estate, unit, used = self.estate, self.unit, draft.used
        if estate.sector_of[root] not in self.known:
            self._look(estate.sector_of[root])
        dock = estate.dock[root]
        ahead = self.total.item(dock) - unit.dock_score.item(dock) - saved
        for node in estate.on_server(root):
            cost = unit.score.item(node)
            if cost < unit.never:
                if root in used or node in used:
                    cost -= self.book.on_left[node] * GRAIN
                if ahead + cost < UNHEARD:
                    self.nearby.append((ahead + cost, node))

    def _closed_by_rules(self, rules: Iterable[Apart], draft: Draft, lonely: bool) -> None:
        seats = draft.seats
        for same, scope, others in rules:
            if scope is Scope.SERVER:
                if not same and lonely:
                    for other in others:
                        if other in seats:
                            self.total[self.estate.dock[seats[other].node]] = NEVER
                continue
            domains = self.estate.dock_domains[scope]
            codes = self.estate.domains[scope]
            for other in others:
                if other in seats:
                    at = codes[seats[other].node]
                    closed = (domains != at) & (domains >= 0) if same else domains == at
                    np.putmask(self.total, closed, NEVER_MASKED)

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
        if self.given is not None:
            self._without_given(self.given)
        total = self.total
        while len(total):
            dock = int(total.argmin())
            best = total.item(dock)
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
            if self.given is not None:
                self._without_given(self.given)
        return None

    def _from_dock(self, dock: int) -> int:
        """The dock's best node, -1 where it turns out dearer than was thought."""
        start, end = self.estate.dock_slice(dock)
        scores = self.opened.get(dock)
        if scores is None:
            node = start + int(self.unit.score[start:end].argmin())
            if self.need and self.book.up_left[node] < self.need:
                scores = self._open(dock)
                thought = int(self.unit.dock_score[dock])
                if self._least_now(dock, scores, thought) != thought:
                    return -1
                node = start + int(scores.argmin())
        else:
            node = start + int(scores.argmin())
        self.given = dock
        return node

    def _open(self, dock: int) -> Ints:
        """The scores of a dock's nodes whose uplinks have room, to strike out those told."""
        start, end = self.estate.dock_slice(dock)
        scores = self.opened[dock] = self.unit.score[start:end].copy()
        if self.need:
            np.putmask(scores, self.book.up_left[start:end] < self.need, self.unit.never)
        return scores

    def _without_given(self, dock: int) -> None:
        """The dock without its best node, which was told."""
        self.given = None
        scores = self.opened.get(dock)
        if scores is None:
            scores = self._open(dock)
        at = scores.argmin()
        best = int(scores[at])
        scores[at] = self.unit.never
        self._least_now(dock, scores, best)

    def _least_now(self, dock: int, scores: Ints, before: int) -> int:
        """The least of a dock's scores, which the dock's cost rests on from now on."""
        least = int(scores[scores.argmin()])
        if least >= self.unit.never:
            self.total[dock] = NEVER
        else:
            self.total[dock] += least - before
        return least

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
        if keep == 1 and len(drafts) == 1:
            only = _first_that_holds(ask, ahead, horizon, book, routes, drafts[0], u, tries, patient)
            drafts = [] if only is None else [only]
        else:
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
            found = _tried(ask, book, routes, drafts[i], sources[i], node, patient)
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


def _first_that_holds(
    ask: Ask,
    ahead: Ahead,
    horizon: Horizon,
    book: Book,
    routes: Routes,
    draft: Draft,
    u: int,
    tries: int,
    patient: bool,
) -> Draft | None:
    """A step where one draft is kept of one, which may be the same, grown."""
    source = Candidates(ask, ahead, horizon, book, draft, u)
    for _ in range(tries):
        following = source.next()
        if following is None:
            return None
        if source.later or routes.crowded or len(source.unit.members) > 1:
            found = _tried(ask, book, routes, draft, source, following[1], patient)
        else:  # nothing is looked at afterwards: the draft itself may grow
            v = source.unit.members[0]
            found = extend(ask, book, routes, draft, v, following[1], patient, fork=False)
        if isinstance(found, Draft):
            return found
        source.miss(following[1], found)
    return None


def _tried(
    ask: Ask, book: Book, routes: Routes, draft: Draft, source: Candidates, node: int, patient: bool
) -> Draft | Miss:
    """The draft with the source's unit there, if what is seated leaves room for the wires still to come."""
    found = place_unit(ask, book, routes, draft, source.u, node, patient)
    if isinstance(found, Draft) and (
        (source.later and not _room_later(book, found, node, source.later))
        or (routes.crowded and not routes.holds(ask, found))
    ):
        return Miss.REACH
    return found


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
