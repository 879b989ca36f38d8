"""Latency and room between physical servers: by the fabric's edges where they are told, else by the zones."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import FabricEdge, HostKey, Scope

Vertex = tuple[str, str, str]  # ("server", vim, id) | ("switch", vim, name)
Domain = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A way between two servers. `latency_us` None: nobody told."""

    latency_us: int | None
    edges: tuple[str, ...] = ()


HERE = Route(0)
UNKNOWN = Route(None)


@dataclass(frozen=True, slots=True)
class Network:
    """Made once for a snapshot by `Network.of`. `_routes` remembers what was looked up; it changes no answer."""

    neighbours: Mapping[Vertex, tuple[tuple[Vertex, FabricEdge], ...]]
    room: Mapping[str, int | None]  # edge -> bandwidth that is free of others and of ourselves; None: not told
    zones: Mapping[HostKey, tuple[str, str]]  # server -> (vim, zone)
    zone_us: Mapping[tuple[str, str, str], int]
    sites: Mapping[HostKey, str]
    _routes: dict[tuple[HostKey, HostKey], Route] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, snapshot: Snapshot) -> Network:
        """The network between the snapshot's servers."""
        neighbours: dict[Vertex, list[tuple[Vertex, FabricEdge]]] = {}
        room: dict[str, int | None] = {}
        for edge in snapshot.fabric:
            a, b = _vertex(snapshot, edge.vim, edge.a), _vertex(snapshot, edge.vim, edge.b)
            neighbours.setdefault(a, []).append((b, edge))
            neighbours.setdefault(b, []).append((a, edge))
            room[edge.id] = edge.bandwidth_bps or None
        for held in snapshot.link_reservations:
            for edge_id in held.edges:
                left = room.get(edge_id)
                if left is not None:
                    room[edge_id] = left - held.bandwidth_bps
        zones, sites = _places(snapshot)
        zone_us = {}
        for told in snapshot.latencies:
            zone_us[(told.vim, told.zone_a, told.zone_b)] = told.one_way_us
            zone_us.setdefault((told.vim, told.zone_b, told.zone_a), told.one_way_us)
        ordered = {v: tuple(sorted(n, key=lambda x: (x[1].one_way_us, x[0], x[1].id))) for v, n in neighbours.items()}
        return cls(ordered, room, zones, zone_us, sites)

    def domain(self, root: HostKey, scope: Scope) -> Domain:
        """What counts as the same place at that scope."""
        if scope is Scope.NFVI_NODE:
            return root
        if scope is Scope.ZONE:
            return (self.sites[root], self.zones[root][1])
        return (self.sites[root],)

    def route(
        self, a: HostKey, b: HostKey, bandwidth_bps: int = 0, taken: Mapping[str, int] | None = None
    ) -> Route | None:
        """The quickest way from server a to server b with that much room left; None where no way has the room."""
        if a == b:
            return HERE
        best = self._routes.get((a, b))
        if best is None:
            best = self._dijkstra(a, b, 0, {}) or self._by_zone(a, b)
            self._routes[(a, b)] = best
        if not best.edges or not bandwidth_bps or all(self._fits(e, bandwidth_bps, taken or {}) for e in best.edges):
            return best
        return self._dijkstra(a, b, bandwidth_bps, taken or {})

    def signature(self, root: HostKey) -> tuple[object, ...]:
        """What servers must have in common to be interchangeable to the network."""
        edges = self.neighbours.get(("server", *root), ())
        attached = tuple(sorted((v, self.room[e.id] or -1, e.one_way_us) for v, e in edges))
        return (self.zones[root], self.sites[root], attached)

    def _fits(self, edge_id: str, bandwidth_bps: int, taken: Mapping[str, int]) -> bool:
        left = self.room[edge_id]
        return left is None or left - taken.get(edge_id, 0) >= bandwidth_bps

    def _dijkstra(self, a: HostKey, b: HostKey, bandwidth_bps: int, taken: Mapping[str, int]) -> Route | None:
        start, goal = ("server", *a), ("server", *b)
        if start not in self.neighbours or goal not in self.neighbours:
            return None
        queue: list[tuple[int, int, tuple[str, ...], Vertex]] = [(0, 0, (), start)]
        done: set[Vertex] = set()
        while queue:
            latency, hops, edges, at = heapq.heappop(queue)
            if at == goal:
                return Route(latency, edges)
            if at in done or (at[0] == "server" and at != start):  # traffic passes no third server
                continue
            done.add(at)
            for to, edge in self.neighbours[at]:
                if to not in done and (not bandwidth_bps or self._fits(edge.id, bandwidth_bps, taken)):
                    heapq.heappush(queue, (latency + edge.one_way_us, hops + 1, (*edges, edge.id), to))
        return None

    def between_zones(self, a: tuple[str, str], b: tuple[str, str]) -> int | None:
        """The latency that is told between two zones (VIM and name); None: nobody tells."""
        (vim_a, zone_a), (vim_b, zone_b) = a, b
        for vim in (vim_a, vim_b, ""):
            told = self.zone_us.get((vim, zone_a, zone_b))
            if told is not None:
                return told
        return None

    def _by_zone(self, a: HostKey, b: HostKey) -> Route:
        told = self.between_zones(self.zones[a], self.zones[b])
        return UNKNOWN if told is None else Route(told)


def _vertex(snapshot: Snapshot, vim: str, name: str) -> Vertex:
    key = (vim, name)
    return ("server", *snapshot.root(key)) if key in snapshot.by_key else ("switch", vim, name)


def _places(snapshot: Snapshot) -> tuple[dict[HostKey, tuple[str, str]], dict[HostKey, str]]:
    """Zone and site of each server, as the first VIM (by name) tells them that tells any."""
    zones: dict[HostKey, tuple[str, str]] = {}
    sites: dict[HostKey, str] = {}
    for host in snapshot.hosts:
        root = snapshot.root(host.key)
        if snapshot.machine[host.key] != root:
            continue
        if not zones.get(root, ("", ""))[1]:
            zones[root] = (host.vim, host.zone)
        if not sites.get(root, "").startswith("site:"):
            sites[root] = f"site:{host.site}" if host.site else sites.get(root, f"vim:{host.vim}")
    return zones, sites
