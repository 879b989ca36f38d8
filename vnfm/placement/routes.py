"""Routes of virtual links over what bandwidth is left: from the cached shortest ones, else searched for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from vnfm.placement.book import Book, Draft
from vnfm.placement.estate import Bools
from vnfm.placement.fabric import FAR, Ints, Spot, Walk, rows_from, shortest_walks

WALKS = 8  # equally short ones kept for a pair
FAR_HOPS = 1 << 20
MANY_WALKS = 1 << 16  # pairs whose walks are kept
KEPT = 2048  # rows of costs and of latencies
MANY_BOUNDS = 64  # masks kept of each of the latter

if TYPE_CHECKING:
    from vnfm.placement.ask import Ask

Route = Walk  # links from a to b, latency


class Routes:
    """Finds routes on a book; distances and walks are kept, since the graph does not change.

    `crowded`: whether what is left around a dock is looked at before it is gone to, see `closed` and `holds`.
    """

    crowded = False

    def __init__(self, book: Book) -> None:
        self.book = book
        self.fabric = book.estate.fabric
        kept = self.fabric.kept
        self._options, self._walks, self._rows = kept.options, kept.walks, kept.rows
        self._costs, self._spans = kept.costs, kept.spans
        self._near: dict[int, tuple[int, ...]] = {}
        self._hop_rows: dict[tuple[int, bool], Ints] = {}
        self.up_hops: Ints = np.zeros(len(self.fabric.docks), dtype=np.int64)  # 1: its servers have an uplink
        self.up_us: Ints = np.full(len(self.fabric.docks), FAR, dtype=np.int64)  # the fastest uplink
        for spot in self.fabric.server_spots.values():
            dock = self.fabric.dock_of[spot.vertex]
            self.up_hops[dock] = int(spot.uplink >= 0)
            self.up_us[dock] = min(int(self.up_us[dock]), spot.uplink_us)

    def rows(self, spot: Spot) -> tuple[Ints, Ints]:
        """Hops and least latency from a spot to a server at each dock (another than the spot's own server)."""
        found = self._rows.get(spot.vertex)
        if found is None:
            hops, latency = rows_from(self.fabric, spot.vertex)
            hops = np.minimum(hops, FAR_HOPS) + self.up_hops
            found = self._rows[spot.vertex] = (hops, latency + self.up_us)
        return (found[0] + 1, found[1] + spot.uplink_us) if spot.uplink >= 0 else found

    def near_sectors(self, spot: Spot) -> tuple[int, ...]:
        """The sectors with docks that are the fewest hops away from a spot."""
        found = self._near.get(spot.vertex)
        if found is None:
            hops = self.rows(spot)[0]
            docks = np.flatnonzero(hops == hops.min()).tolist() if len(hops) else []
            of = self.book.estate.sector_of_dock
            found = self._near[spot.vertex] = tuple(dict.fromkeys(of[d] for d in docks))
        return found

    def cost_row(self, spot: Spot, hop_cost: int, bandwidth: int) -> Ints:
        """What a wire from a spot would cost to a server at each dock. Not to be written to."""
        key = (spot.vertex, spot.uplink >= 0, hop_cost)
        row = self._costs.get(key)
        if row is None:
            if len(self._costs) >= KEPT:
                self._costs.clear()
            row = self._costs[key] = self._hops(spot) * hop_cost
        return row

    def _hops(self, spot: Spot) -> Ints:
        """The first of `rows`."""
        key = spot.vertex, spot.uplink >= 0
        found = self._hop_rows.get(key)
        if found is None:
            found = self._hop_rows[key] = self.rows(spot)[0]
        return found

    def beyond(self, a: Spot, b: Spot | None, most_us: int) -> Bools | None:
        """The docks with no server to which it is no further than that from a, or from a and on to b; None: there are
        none. Not to be written to."""
        key = (a.vertex, a.uplink_us, -1 if b is None else b.vertex, 0 if b is None else b.uplink_us)
        found = self._spans.get(key)
        if found is None:
            if len(self._spans) >= KEPT:
                self._spans.clear()
            span = self._span(a) if b is None else self._span(a) + self._span(b)
            found = self._spans[key] = span, int(span.max(initial=0)), {}
        span, longest, masks = found
        if longest <= most_us:
            return None
        mask = masks.get(most_us)
        if mask is None:
            if len(masks) >= MANY_BOUNDS:
                masks.clear()
            mask = masks[most_us] = span > most_us
        return mask

    def _span(self, spot: Spot) -> Ints:
        """The least latency to each dock; the spot's own server is nearer than its rack."""
        us = self.rows(spot)[1]
        dock = self.fabric.dock_of[spot.vertex]
        if dock >= 0 and us[dock]:
            us = us.copy()
            us[dock] = 0
        return us

    def toll(self, links: tuple[int, ...], hop_cost: int) -> int:
        """What a wire costs on these links."""
        return hop_cost * len(links)

    def ends_open(self, ask: Ask) -> bool:
        """Whether each wire to an end at a switch finds a link there that it fits on; without, no search is needed."""
        left, fabric = self.book.bandwidth, self.fabric
        for w in ask.wires:
            end = min(w.a, w.b)
            if end >= 0 or max(w.a, w.b) < 0 or not w.bandwidth:
                continue
            vertex = ask.end_spots[-1 - end].vertex
            if fabric.dock_of[vertex] < 0 and not any(left[i] >= w.bandwidth for _, i, _ in fabric.near[vertex]):
                return False
        return True

    def closed(self, need: int) -> Bools | None:
        """Docks around which too little bandwidth is left for a VNF whose wires need that; None: not looked at."""
        return None

    def holds(self, ask: Ask, draft: Draft) -> bool:
        """Whether what is seated leaves its own wires still to come a chance, as far as is looked at."""
        return True

    def renew(self) -> None:
        """Told before each chain: what is kept of the last one may be old."""

    def route(
        self, a: Spot, b: Spot, bandwidth: int, used: Mapping[int, int], most_us: int, patient: bool = False
    ) -> Route | None:
        """A route from a to b with that bandwidth left and no more latency than that; None where there is none.

        `patient`: where no shortest one will do, longer ones are searched for.
        """
        if a.place == b.place:
            return (), 0
        left = self.book.bandwidth
        ends_us = a.uplink_us + b.uplink_us
        for up in (a.uplink, b.uplink):
            if up >= 0 and left[up] - used.get(up, 0) < bandwidth:
                return None
        if a.vertex == b.vertex:
            middle: Route | None = ((), 0)
        else:
            middle = self._between(a.vertex, b.vertex, bandwidth, used, most_us - ends_us)
            if middle is None and patient:
                middle = self._search(a.vertex, b.vertex, bandwidth, used, most_us - ends_us)
        if middle is None or middle[1] + ends_us > most_us:
            return None
        links = middle[0]
        if a.uplink >= 0:
            links = (a.uplink, *links)
        if b.uplink >= 0:
            links = (*links, b.uplink)
        return links, middle[1] + ends_us

    def _between(self, a: int, b: int, bandwidth: int, used: Mapping[int, int], most_us: int) -> Route | None:
        walks = self._walks.get((a, b))
        if walks is None:
            if len(self._walks) >= MANY_WALKS:
                self._walks.clear()
            walks = self._walks[a, b] = self._walks_between(a, b)
        left = self.book.bandwidth
        best, widest = None, bandwidth - 1
        for walk in walks:
            if walk[1] > most_us:
                continue
            room = min([left[i] for i in walk[0]])
            if room > widest:
                if used:
                    room = min([left[i] - used.get(i, 0) for i in walk[0]])
                    if room <= widest:
                        continue
                best, widest = walk, room
        return best

    def _walks_between(self, a: int, b: int) -> list[Route]:
        if self.fabric.dock_of[b] >= 0:
            return list(shortest_walks(self.fabric, a, b, WALKS, self._options))
        if self.fabric.dock_of[a] >= 0:
            return [(links[::-1], us) for links, us in shortest_walks(self.fabric, b, a, WALKS, self._options)]
        found = self._search(a, b, 0, {}, FAR)
        return [found] if found else []

    def _search(self, a: int, b: int, bandwidth: int, used: Mapping[int, int], most_us: int) -> Route | None:
        found = self._dijkstra(a, b, self._by_hops(bandwidth, used))
        if found is not None and found[1] > most_us:
            found = self._dijkstra(a, b, self._by_latency(bandwidth, used))
        return found if found is not None and found[1] <= most_us else None

    def _by_hops(self, bandwidth: int, used: Mapping[int, int]) -> Callable[[int, int], int]:
        left = self.book.bandwidth

        def cost(link: int, us: int) -> int:
            return -1 if left[link] - used.get(link, 0) < bandwidth else _HOP + us

        return cost

    def _by_latency(self, bandwidth: int, used: Mapping[int, int]) -> Callable[[int, int], int]:
        left = self.book.bandwidth

        def cost(link: int, us: int) -> int:
            return -1 if left[link] - used.get(link, 0) < bandwidth else us

        return cost

    def _dijkstra(self, a: int, b: int, cost: Callable[[int, int], int]) -> Route | None:
        near, through = self.fabric.near, self.fabric.through
        best = {a: 0}
        came: dict[int, tuple[int, int, int]] = {}
        heap = [(0, a)]
        done: set[int] = set()
        while heap:
            so_far, at = heappop(heap)
            if at == b:
                break
            if at in done:
                continue
            done.add(at)
            for w, link, us in near[at]:
                if w in done or not (through[w] or w == b):
                    continue
                step = cost(link, us)
                if step >= 0 and so_far + step < best.get(w, FAR * FAR):
                    best[w] = so_far + step
                    came[w] = (at, link, us)
                    heappush(heap, (so_far + step, w))
        if b not in came:
            return None
        links, latency = [], 0
        while b != a:
            b, link, us = came[b]
            links.append(link)
            latency += us
        return tuple(reversed(links)), latency


_HOP = 1 << 30
