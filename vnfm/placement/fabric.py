"""The network as placement sees it: servers folded into the switch that they hang on, distances known beforehand.

A server with one link, to a switch, has that switch as its dock and the link as its uplink. Any other server is its
own dock; traffic never passes through it. Switches with the same neighbours at the same latencies (the racks of a pod)
are twins: they are equally far from everything but each other, so distances are kept per group of twins only. That
holds for any graph; one without twins (a wide-area network) just has groups of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from vnfm.placement.statement import Instance, Link, NodeKind

Ints = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]
Bools = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
FAR = 1 << 50  # a distance that no bound and no cost reaches
NONE, SEVERAL = -1, -2  # links of a server
_HOP = 1 << 40  # one hop outweighs any latency where hops come first


class Spot(NamedTuple):
    """Where an end of a virtual link is: `place` is equal for equal places, `uplink` -1 where there is none."""

    place: int
    vertex: int
    uplink: int
    uplink_us: int


Options = dict[tuple[int, int], list[tuple[int, int, int]]]
Walk = tuple[tuple[int, ...], int]  # links, latency


@dataclass(frozen=True, slots=True)
class Kept:
    """What is worked out of the graph when it is first asked for, and holds as long as the graph: see `Routes`."""

    options: Options = field(default_factory=dict)
    walks: dict[tuple[int, int], list[Walk]] = field(default_factory=dict)
    rows: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)
    costs: dict[tuple[int, bool, int], Ints] = field(default_factory=dict)
    spans: dict[tuple[int, int, int, int], tuple[Ints, int, dict[int, Bools]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fabric:
    """The graph behind the docks. Vertices are switches and servers that are docks of their own.

    `near[v]`: (neighbour, link index, latency). `group[v]`: its twins. `docks`: vertices with servers, sorted by group;
    `hops`, `latency`: [groups, groups of docks], switch to switch; `between`: the same for two different twins.
    """

    link_ids: tuple[str, ...]
    bandwidth: tuple[int, ...]
    link_us: tuple[int, ...]
    vertices: tuple[str, ...]
    near: tuple[tuple[tuple[int, int, int], ...], ...]
    through: tuple[bool, ...]
    group: tuple[int, ...]
    docks: tuple[int, ...]
    dock_of: tuple[int, ...]  # vertex -> position in docks, -1 where it is none
    dock_group: Ints  # position in docks -> column of the matrices
    group_starts: Ints
    column: tuple[int, ...]  # group -> column, -1 where it has no dock
    hops: Ints
    latency: Ints
    between_hops: tuple[int, ...]
    between_us: tuple[int, ...]
    server_spots: dict[str, Spot]
    vertex_index: dict[str, int]
    kept: Kept = field(default_factory=Kept, compare=False)

    def spot(self, name: str) -> Spot:
        """Where a server or a switch is."""
        spot = self.server_spots.get(name)
        if spot is None:
            v = self.vertex_index[name]
            spot = Spot(-1 - v, v, -1, 0)
        return spot

    def hop_distance(self, a: int, b: int) -> int:
        """Hops between two vertices of which b is a dock."""
        ga, gb = self.group[a], self.group[b]
        if ga != gb:
            return int(self.hops[ga, self.column[gb]])
        return 0 if a == b else self.between_hops[ga]


def rows_from(fabric: Fabric, vertex: int) -> tuple[Ints, Ints]:
    """Hops and least latency from a vertex to each dock, switch to switch."""
    g = fabric.group[vertex]
    hops, latency = fabric.hops[g][fabric.dock_group], fabric.latency[g][fabric.dock_group]
    own = fabric.column[g]
    if own >= 0:
        twins = fabric.dock_group == own
        hops[twins], latency[twins] = fabric.between_hops[g], fabric.between_us[g]
    dock = fabric.dock_of[vertex]
    if dock >= 0:
        hops[dock] = latency[dock] = 0
    return hops, latency


def build_fabric(instance: Instance) -> Fabric:
    """The fabric of an instance whose ids are known to be right. Independent of the order in which links are told."""
    links = sorted(instance.links, key=lambda x: x.id)
    servers = sorted(n.id for n in instance.nodes if n.kind is NodeKind.SERVER)
    docked = _docked(servers, links, set(instance.switches))
    own = [s for s in servers if s not in docked]
    vertices = tuple(sorted(instance.switches)) + tuple(own)
    index = {name: i for i, name in enumerate(vertices)}
    through = tuple(i < len(instance.switches) for i in range(len(vertices)))
    near = _near(links, index)
    spots = _spots(servers, links, docked, index)
    wide = is_wide_area(len(servers), len({s.vertex for s in spots.values()}))
    group, count = (list(range(len(vertices))), len(vertices)) if wide else _twins(near, through)
    docks = sorted({spot.vertex for spot in spots.values()}, key=lambda v: (group[v], v))
    columns: dict[int, int] = {}
    for v in docks:
        columns.setdefault(group[v], len(columns))
    column = tuple(columns.get(g, -1) for g in range(count))
    hops, latency = _distances(near, through, group, count, columns)
    between = [(FAR, FAR)] * count
    for v in docks:
        between[group[v]] = _between(near[v])
    dock_of = [-1] * len(vertices)
    for position, v in enumerate(docks):
        dock_of[v] = position
    dock_group = np.array([columns[group[v]] for v in docks], dtype=np.int64)
    return Fabric(
        link_ids=tuple(x.id for x in links),
        bandwidth=tuple(x.bandwidth_mbps for x in links),
        link_us=tuple(x.latency_us for x in links),
        vertices=vertices,
        near=tuple(tuple(x) for x in near),
        through=through,
        group=tuple(group),
        docks=tuple(docks),
        dock_of=tuple(dock_of),
        dock_group=dock_group,
        group_starts=np.flatnonzero(np.diff(dock_group, prepend=-1)),
        column=column,
        hops=hops,
        latency=latency,
        between_hops=tuple(b[0] for b in between),
        between_us=tuple(b[1] for b in between),
        server_spots=spots,
        vertex_index=index,
    )


def _near(links: Sequence[Link], index: dict[str, int]) -> list[list[tuple[int, int, int]]]:
    near: list[list[tuple[int, int, int]]] = [[] for _ in index]
    for i, link in enumerate(links):
        a, b = index.get(link.a, -1), index.get(link.b, -1)
        if a >= 0 and b >= 0:
            near[a].append((b, i, link.latency_us))
            near[b].append((a, i, link.latency_us))
    return near


def _spots(
    servers: Sequence[str], links: Sequence[Link], docked: dict[str, int], index: dict[str, int]
) -> dict[str, Spot]:
    spots = {}
    for i, s in enumerate(servers):
        if s in docked:
            link = links[docked[s]]
            spots[s] = Spot(i, index[link.b if link.a == s else link.a], docked[s], link.latency_us)
        else:
            spots[s] = Spot(i, index[s], -1, 0)
    return spots


def is_wide_area(servers: int, docks: int) -> bool:
    """Whether servers mostly have a dock each, as in a wide-area network: there links differ by their load."""
    return 8 <= docks <= 512 and servers <= docks * 3 // 2


def _docked(servers: Sequence[str], links: Sequence[Link], switches: set[str]) -> dict[str, int]:
    """The servers that hang on one switch by one link, with that link's index."""
    only: dict[str, int] = dict.fromkeys(servers, NONE)
    for i, link in enumerate(links):
        for end in (link.a, link.b):
            met = only.get(end)
            if met is not None:
                only[end] = i if met == NONE else SEVERAL
    return {
        server: i
        for server, i in only.items()
        if i >= 0 and (links[i].b if links[i].a == server else links[i].a) in switches
    }


def _twins(near: Sequence[Sequence[tuple[int, int, int]]], through: Sequence[bool]) -> tuple[list[int], int]:
    groups: dict[object, int] = {}
    group = []
    for v, around in enumerate(near):
        alike = frozenset((w, us) for w, _, us in around) if through[v] and around else v
        group.append(groups.setdefault(alike, len(groups)))
    return group, len(groups)


def _between(around: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """Hops and latency from one twin to another: over a neighbour that both have."""
    return (2, 2 * min(us for _, _, us in around)) if around else (FAR, FAR)


def _distances(
    near: Sequence[Sequence[tuple[int, int, int]]],
    through: Sequence[bool],
    group: Sequence[int],
    count: int,
    columns: dict[int, int],
) -> tuple[Ints, Ints]:
    """Hops and least latency of each group to each group with docks, by relaxation of whole rows."""
    lead: dict[int, int] = {}
    for v, g in enumerate(group):
        lead.setdefault(g, v)
    edges: list[dict[int, int]] = [{} for _ in range(count)]
    for g, v in lead.items():
        for w, _, us in near[v]:
            other = group[w]
            edges[g][other] = min(us, edges[g].get(other, us))
    transit = [through[lead[g]] for g in range(count)]
    hops = _relaxed(edges, transit, columns, _HOP)
    latency = _relaxed(edges, transit, columns, 0)
    return np.where(hops < FAR, hops // _HOP, FAR), latency


def _relaxed(edges: Sequence[dict[int, int]], transit: Sequence[bool], columns: dict[int, int], hop: int) -> Ints:
    far = FAR << 10 if hop else FAR
    table = np.full((len(edges), len(columns)), far, dtype=np.int64)
    for g, column in columns.items():
        table[g, column] = 0
        for other, us in edges[g].items():
            table[other, column] = min(int(table[other, column]), us + hop)
    steps = [
        (g, np.array(over, dtype=np.int64), np.array([[edges[g][o] + hop] for o in over], dtype=np.int64))
        for g in range(len(edges))
        if (over := sorted(o for o in edges[g] if transit[o]))
    ]
    for sweep in range(2 * len(edges)):
        changed = False
        for g, around, cost in steps if sweep % 2 == 0 else reversed(steps):
            better: Ints = (table[around] + cost).min(axis=0)
            if (better < table[g]).any():
                np.minimum(table[g], better, out=table[g])
                changed = True
        if not changed:
            break
    return np.where(table >= far, FAR if not hop else far, table)


def shortest_walks(
    fabric: Fabric, a: int, b: int, most: int, options: Options
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Up to `most` different paths of fewest hops from a to the dock b.

    `options` keeps the ways on from a vertex to a group, which are the same for all of its twins.
    """
    if fabric.hop_distance(a, b) >= FAR:
        return
    seen = set()
    goal = fabric.group[b]
    for k in range(most):
        turn, at = k + a + b, a
        walk: list[int] = []
        latency = 0
        while at != b:
            left = fabric.hop_distance(at, b) - 1
            key = (at, -1 - b if left <= 0 or fabric.group[at] == goal else goal)
            ways = options.get(key)
            if ways is None:
                ways = options[key] = _ways_on(fabric, at, b, left)
            turn, pick = divmod(turn, len(ways))
            at, link, us = ways[pick]
            walk.append(link)
            latency += us
            turn += k
        found = tuple(walk)
        if found not in seen:
            seen.add(found)
            yield found, latency


def _ways_on(fabric: Fabric, at: int, b: int, left: int) -> list[tuple[int, int, int]]:
    if left == 0:
        return [x for x in fabric.near[at] if x[0] == b]
    return [x for x in fabric.near[at] if fabric.through[x[0]] and fabric.hop_distance(x[0], b) == left]
