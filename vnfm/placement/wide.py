"""Wide-area networks: few servers at each vertex, so that the links are what is short, and differ by their load.

A link costs `1 + LOAD * load⁴` hops. Distances follow the load: the look-ahead's matrix is renewed with the book, and
paths are searched for on what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Any

import numpy as np

from vnfm.placement.ahead import Horizon
from vnfm.placement.ask import Ask
from vnfm.placement.book import Book, Draft
from vnfm.placement.estate import Bools, Estate, Ints
from vnfm.placement.fabric import FAR, Spot
from vnfm.placement.routes import FAR_HOPS, Route, Routes
from vnfm.placement.ways import NEVER

LOAD = 1.0
GRADE = 10  # Mbit/s: tables of distances are kept for wires of so much each
PART = 256  # parts of a hop that costs are counted in
FAR_PARTS = FAR_HOPS * PART
Table = np.ndarray[tuple[Any, ...], np.dtype[np.int32]]


class WideRoutes(Routes):
    """Routes that follow the load. `around`: by dock, the bandwidth left on the links of its vertex."""

    crowded = True

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._total = [max(1, x) for x in self.fabric.bandwidth]
        self._rows_ahead: dict[tuple[int, int], list[int]] = {}
        self._version = -1
        self.costs: list[int] = []
        self._tables: dict[int, Table] = {}
        self._rows_at: dict[tuple[int, int], Ints] = {}
        near = self.fabric.near
        self._core = tuple([tuple([x for x in around if len(near[x[0]]) > 1]) for around in near])
        self._dock_vertices = np.array(self.fabric.docks, dtype=np.int64)

    def renew(self) -> None:
        """Costs of all links anew, once a version of the book."""
        if self._version != self.book.version or not self.costs:
            self._version = self.book.version
            self._rows_ahead.clear()
            self._tables.clear()
            self._rows_at.clear()
            left = self.book.bandwidth
            self.costs = [int(PART * (1 + LOAD * (1 - x / t) ** 4)) for x, t in zip(left, self._total, strict=True)]

            sums = [sum([left[link] for _, link, _ in around]) for around in self.fabric.near]
            self.around: Ints = np.array(sums, dtype=np.int64)[self._dock_vertices]

            self.table = self._table(1)

    def closed(self, need: int) -> Bools | None:
        """The docks around which less bandwidth is left than a VNF there would need."""
        return self.around < need

    def holds(self, ask: Ask, draft: Draft) -> bool:
        """Whether around each seat the links left take the wires still to come from there, the widest first."""
        left, used, near = self.book.bandwidth, draft.link_used, self.fabric.near
        seats = draft.seats
        for v, seat in seats.items():
            apart = ask.apart[ask.unit_of[v]]
            later = [
                ask.wires[i].bandwidth
                for i in ask.wires_of[v]
                if (other := ask.wires[i].other(v)) >= 0 and other not in seats and ask.unit_of[other] in apart
            ]
            if later:
                vertex = self.book.estate.spots[seat.node].vertex
                room = sorted([left[i] - used.get(i, 0) for _, i, _ in near[vertex]], reverse=True)
                for bandwidth in later:
                    if room[0] < bandwidth:
                        return False
                    room[0] -= bandwidth
                    if len(room) > 1 and room[0] < room[1]:
                        room.sort(reverse=True)
        return True

    def _distances(self, least: int) -> Table:
        """Between all vertices, along links with at least so much left."""
        size = len(self.fabric.vertices)
        table: Table = np.full((size, size), FAR_PARTS, dtype=np.int32)
        left, costs = self.book.bandwidth, self.costs
        for v, around in enumerate(self.fabric.near):
            for w, link, _ in around:
                if left[link] >= least and costs[link] < table[v, w]:
                    table[v, w] = costs[link]
        np.fill_diagonal(table, 0)
        for v in range(size):
            if self.fabric.through[v] and len(self.fabric.near[v]) > 1:
                np.minimum(table, table[:, v, None] + table[None, v], out=table)
        return table

    def cost_row(self, spot: Spot, hop_cost: int, bandwidth: int) -> Ints:
        """As in Routes, along the shortest paths as loaded now."""
        key = spot.vertex, bandwidth // GRADE
        parts = self._rows_at.get(key)
        if parts is None:
            parts = self._rows_at[key] = self._table(bandwidth)[spot.vertex][self._dock_vertices].astype(np.int64)
        ends = self.up_hops + (1 if spot.uplink >= 0 else 0)
        row: Ints = (parts * hop_cost) // PART + ends * hop_cost
        row[parts >= FAR_PARTS] = NEVER
        return row

    def toll(self, links: tuple[int, ...], hop_cost: int) -> int:
        """As in Routes, dearer on loaded links."""
        costs = self.costs
        return hop_cost * sum([costs[i] for i in links]) // PART

    def _between(self, a: int, b: int, bandwidth: int, used: Mapping[int, int], most_us: int) -> Route | None:
        """Shortest feasible path, led by the distances that more links than the feasible ones would give (A*).

        Vertices with one link lead nowhere: only where the path ends there is that link looked at.
        """
        ahead = self._row(b, bandwidth)
        if ahead[a] >= FAR_PARTS:
            return None
        core, costs, left = self._core, self.costs, self.book.bandwidth
        last = self.fabric.near[b][0] if len(self.fabric.near[b]) == 1 else None
        gate = last[0] if last is not None else -1
        distance = {a: 0}
        before: dict[int, tuple[int, int, int]] = {}
        heap = [(ahead[a], a)]
        done: set[int] = set()
        while heap:
            at = heappop(heap)[1]
            if at == b:
                break
            if at in done:
                continue
            done.add(at)
            so_far = distance[at]
            ways = core[at] if at != gate or last is None else (*core[at], (b, last[1], last[2]))
            for w, link, us in ways:
                if w in done or left[link] - used.get(link, 0) < bandwidth or not (self.fabric.through[w] or w == b):
                    continue
                cost = so_far + costs[link]
                if cost < distance.get(w, FAR_PARTS):
                    distance[w] = cost
                    before[w] = (at, link, us)
                    heappush(heap, (cost + ahead[w], w))
        if b not in before:
            return None
        links, latency = [], 0
        while b != a:
            b, link, us = before[b]
            links.append(link)
            latency += us
        return (tuple(reversed(links)), latency) if latency <= most_us else None

    def _search(self, a: int, b: int, bandwidth: int, used: Mapping[int, int], most_us: int) -> Route | None:
        """What `_between` did not find can only be found where latency was what failed."""
        return super()._search(a, b, bandwidth, used, most_us) if most_us < FAR // 2 else None

    def _row(self, vertex: int, bandwidth: int) -> list[int]:
        key = vertex, bandwidth // GRADE
        row = self._rows_ahead.get(key)
        if row is None:
            row = self._rows_ahead[key] = self._table(bandwidth)[vertex].tolist()
        return row

    def _table(self, bandwidth: int) -> Table:
        """Distances along links with about that much left: no less than what is asked is shut out."""
        least = max(1, bandwidth // GRADE * GRADE)
        table = self._tables.get(least)
        if table is None:
            table = self._tables[least] = self._distances(least)
        return table


class WideHorizon(Horizon):
    """Looks ahead along the distances as loaded now."""

    starts_kept = 3

    def __init__(self, estate: Estate, routes: Routes) -> None:
        super().__init__(estate, routes)
        self._version = -1
        self.lonely = len(estate.roots) == len(estate.fabric.docks)

    def renew(self) -> None:
        """The matrix of distances anew where the book has changed."""
        book = self.routes.book
        routes = self.routes
        if self._version == book.version or not isinstance(routes, WideRoutes):
            return
        self._version = book.version
        docks = np.array(self.estate.fabric.docks, dtype=np.int64)
        ends = routes.up_hops
        self.parts: Ints = routes.table[np.ix_(docks, docks)].astype(np.int64) + (ends[:, None] + ends[None, :]) * PART

    def message(self, own: Ints, hop_cost: int, apart: bool) -> Ints:
        """As in Horizon."""
        over: Ints = ((self.parts * hop_cost) // PART + own).min(axis=1)
        if apart:
            table = (self.parts * hop_cost) // PART + own
            np.fill_diagonal(table, (own + self.same_hops * hop_cost) + (1 << 56) * (self.same_hops == 0))
            least: Ints = table.min(axis=1)
            return least
        return np.minimum(own, over)
