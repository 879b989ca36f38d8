"""Wide-area networks: few servers at each vertex, so that the links are what is short, and differ by their load.

A link costs `1 + LOAD * load²` hops. Distances follow the load: the look-ahead's matrix is renewed with the book, and
the nodes for a wire are told by a tree of shortest feasible paths from its placed end.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

import numpy as np

from vnfm.placement.ahead import Horizon
from vnfm.placement.ask import Ask
from vnfm.placement.book import Book, Draft
from vnfm.placement.estate import Bools, Estate, Ints
from vnfm.placement.fabric import Spot, is_wide_area
from vnfm.placement.kinds import NEVER
from vnfm.placement.routes import FAR_HOPS, Route, Routes

LOAD = 3.0
PART = 256  # parts of a hop that costs are counted in
Tree = tuple[list[int], list[tuple[int, int]]]  # by vertex: distance in parts; vertex before and link


def is_wide(estate: Estate) -> bool:
    """Whether an estate is one of many small places."""
    return is_wide_area(len(estate.roots), len(estate.starts))


class WideRoutes(Routes):
    """Routes that follow the load. `around`: by dock, the bandwidth left on the links of its vertex."""

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._total = [max(1, x) for x in self.fabric.bandwidth]
        self._trees: dict[tuple[int, int], Tree] = {}
        self._version = -1
        self.costs: list[int] = []
        self._dock_vertices = np.array(self.fabric.docks, dtype=np.int64)

    def renew(self) -> None:
        """Costs of all links anew, once a version of the book."""
        if self._version != self.book.version or not self.costs:
            self._version = self.book.version
            self._trees.clear()
            left = self.book.bandwidth
            self.costs = [int(PART * (1 + LOAD * (1 - x / t) ** 2)) for x, t in zip(left, self._total, strict=True)]

            sums = [sum([left[link] for _, link, _ in around]) for around in self.fabric.near]
            self.around: Ints = np.array(sums, dtype=np.int64)[self._dock_vertices]

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

    def cost_row(self, spot: Spot, hop_cost: int, bandwidth: int) -> Ints:
        """As in Routes, along the shortest feasible paths as loaded now."""
        parts: Ints = np.array(self._tree(spot.vertex, bandwidth)[0], dtype=np.int64)[self._dock_vertices]
        ends = self.up_hops + (1 if spot.uplink >= 0 else 0)
        row: Ints = (parts * hop_cost) // PART + ends * hop_cost
        row[parts >= FAR_HOPS * PART] = NEVER
        return row

    def toll(self, links: tuple[int, ...], hop_cost: int) -> int:
        """As in Routes, dearer on loaded links."""
        costs = self.costs
        return hop_cost * sum([costs[i] for i in links]) // PART

    def _between(self, a: int, b: int, bandwidth: int, used: Mapping[int, int], most_us: int) -> Route | None:
        before = self._tree(b, bandwidth)[1]
        left, us = self.book.bandwidth, self.fabric.link_us
        links: list[int] = []
        latency = 0
        while a != b:
            a, link = before[a]
            if link < 0 or left[link] - used.get(link, 0) < bandwidth:
                return None
            links.append(link)
            latency += us[link]
        return (tuple(links), latency) if latency <= most_us else None

    def _tree(self, root: int, bandwidth: int) -> Tree:
        tree = self._trees.get((root, bandwidth))
        if tree is None:
            tree = self._trees[root, bandwidth] = self._grown(root, bandwidth)
        return tree

    def _grown(self, root: int, bandwidth: int) -> Tree:
        near, through, costs, left = self.fabric.near, self.fabric.through, self.costs, self.book.bandwidth
        far = FAR_HOPS * PART
        distance = [far] * len(near)
        before = [(-1, -1)] * len(near)
        distance[root] = 0
        heap = [(0, root)]
        while heap:
            so_far, at = heappop(heap)
            if so_far > distance[at] or not (through[at] or at == root):
                continue
            for w, link, _ in near[at]:
                cost = so_far + costs[link]
                if cost < distance[w] and left[link] >= bandwidth:
                    distance[w] = cost
                    before[w] = (at, link)
                    heappush(heap, (cost, w))
        return distance, before


class WideHorizon(Horizon):
    """Looks ahead along the distances as loaded now."""

    starts_kept = 3

    def __init__(self, estate: Estate, routes: Routes) -> None:
        super().__init__(estate, routes)
        self._version = -1

    def renew(self) -> None:
        """The matrix of distances anew where the book has changed."""
        book = self.routes.book
        routes = self.routes
        if self._version == book.version or not isinstance(routes, WideRoutes):
            return
        self._version = book.version
        fabric = self.estate.fabric
        size = len(fabric.vertices)
        table = np.full((size, size), FAR_HOPS * PART, dtype=np.int32)
        for v, around in enumerate(fabric.near):
            for w, link, _ in around:
                if book.bandwidth[link] > 0:
                    table[v, w] = min(int(table[v, w]), routes.costs[link])
        np.fill_diagonal(table, 0)
        for v in range(size):
            if fabric.through[v] and len(fabric.near[v]) > 1:
                np.minimum(table, table[:, v, None] + table[None, v], out=table)
        docks = np.array(fabric.docks, dtype=np.int64)
        parts = table[np.ix_(docks, docks)].astype(np.int64)
        ends = self.routes.up_hops
        self.parts: Ints = parts + (ends[:, None] + ends[None, :]) * PART

    def message(self, own: Ints, hop_cost: int, apart: bool) -> Ints:
        """As in Horizon."""
        over: Ints = ((self.parts * hop_cost) // PART + own).min(axis=1)
        if apart:
            table = (self.parts * hop_cost) // PART + own
            np.fill_diagonal(table, (own + self.same_hops * hop_cost) + (1 << 56) * (self.same_hops == 0))
            least: Ints = table.min(axis=1)
            return least
        return np.minimum(own, over)
