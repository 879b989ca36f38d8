"""The network of an exact model: switches that are alike made one, and the links that every path must cross.

A data centre's switches come in groups of equals: all cores, all aggregation switches of a zone. Any walk over such
groups can be walked over real switches, link by link, if groups are an equitable partition: each member has a
neighbour in every group that its group has one in. The ends of traffic stay by themselves. What remains is mostly a
tree: whether traffic crosses a link of the tree follows from where its ends are, and needs no decision. Only the
links that lie in cycles of groups need one. Bandwidth of a group's links is summed up, which is a relaxation; `lay`
finds real links with the bandwidth, or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vnfm.placement.optimal.cloud import Cloud

Key = tuple[int, int, int]  # group, group, latency


@dataclass(frozen=True, slots=True)
class Edge:
    """All links between two groups that have one latency. `side`: the ends of traffic behind it, where it is the only
    way to them; None in a cycle."""

    a: int
    b: int
    latency_us: int
    wires: tuple[int, ...]
    side: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Fabric:
    """Groups of vertices and edges between them. `group` of each vertex that is in; `hangs`: for a group that has
    edges in a cycle, the ends of traffic that enter the cycles there."""

    edges: tuple[Edge, ...]
    members: tuple[tuple[int, ...], ...]
    group: Mapping[int, int]
    hangs: Mapping[int, frozenset[int]]
    servers: frozenset[int]  # groups that are servers: nothing passes through
    islands: tuple[frozenset[int], ...]  # ends that reach each other, where not all do

    def walk(self, crossed: Collection[int], begin: int, end: int) -> list[int] | None:
        """The groups from one vertex to another over the edges (by index) that are crossed, by fewest edges."""
        around: dict[int, list[int]] = defaultdict(list)
        for i in crossed:
            edge = self.edges[i]
            around[edge.a].append(edge.b)
            around[edge.b].append(edge.a)
        first, last = self.group[begin], self.group[end]
        before: dict[int, int] = {first: first}
        queue = [first]
        for at in queue:
            if at == last:
                break
            for then in around[at]:
                if then not in before and (then == last or then not in self.servers):
                    before[then] = at
                    queue.append(then)
        if last not in before:
            return None
        path = [last]
        while path[-1] != first:
            path.append(before[path[-1]])
        return path[::-1]


def fabric_of(cloud: Cloud, servers: Iterable[int], ends: Iterable[int], *, grouped: bool = True) -> Fabric:
    """Of the switches and these servers; `ends` are further vertices where traffic ends. Without `grouped` every
    switch is a group of its own."""
    servers = frozenset(servers)
    ends = frozenset(ends) | servers
    inside = _relevant(cloud, ends)
    wires = [i for i, w in enumerate(cloud.wires) if w.a in inside and w.b in inside]
    colour = _colours(cloud, inside, ends, wires) if grouped else None
    if colour is None:
        colour = {v: i for i, v in enumerate(sorted(inside))}
    return _fabric(cloud, colour, ends, wires)


def _relevant(cloud: Cloud, ends: Collection[int]) -> set[int]:
    """Vertices on some way between ends: switches that lead nowhere else, and other servers, are left out."""
    inside = set(range(cloud.first_switch, cloud.first_switch + len(cloud.instance.switches))) | set(ends)
    degree = dict.fromkeys(inside, 0)
    for wire in cloud.wires:
        if wire.a in inside and wire.b in inside:
            degree[wire.a] += 1
            degree[wire.b] += 1
    dead = [v for v in inside if degree[v] <= 1 and v not in ends]
    while dead:
        vertex = dead.pop()
        inside.discard(vertex)
        for i in cloud.around[vertex]:
            wire = cloud.wires[i]
            other = wire.b if wire.a == vertex else wire.a
            if other in inside:
                degree[other] -= 1
                if degree[other] == 1 and other not in ends:
                    dead.append(other)
    return inside


def _colours(
    cloud: Cloud, inside: Collection[int], ends: Collection[int], wires: Sequence[int]
) -> dict[int, int] | None:
    """The coarsest equitable partition in which each end is alone; None where neighbours are alike."""
    around: dict[int, list[tuple[int, int]]] = {v: [] for v in inside}
    for i in wires:
        wire = cloud.wires[i]
        around[wire.a].append((wire.b, wire.latency_us))
        around[wire.b].append((wire.a, wire.latency_us))
    colour = dict.fromkeys(inside, 0) | {v: i + 1 for i, v in enumerate(sorted(ends))}
    count = len(set(colour.values()))
    loose = [v for v in sorted(inside) if v not in ends]
    while True:
        seen: dict[tuple[int, frozenset[tuple[int, int]]], int] = {}
        fresh = dict(colour)
        for v in loose:
            look = (colour[v], frozenset((colour[w], latency) for w, latency in around[v]))
            fresh[v] = seen.setdefault(look, len(ends) + 1 + len(seen))
        colour = fresh
        if len(ends) + len(seen) == count:
            break
        count = len(ends) + len(seen)
    if any(colour[cloud.wires[i].a] == colour[cloud.wires[i].b] for i in wires):
        return None
    return colour


def _fabric(cloud: Cloud, colour: Mapping[int, int], ends: Collection[int], wires: Sequence[int]) -> Fabric:
    names = {c: i for i, c in enumerate(sorted(set(colour.values())))}
    group = {v: names[c] for v, c in colour.items()}
    members: list[list[int]] = [[] for _ in names]
    for v in sorted(group):
        members[group[v]].append(v)
    joined: dict[Key, list[int]] = defaultdict(list)
    for i in wires:
        wire = cloud.wires[i]
        a, b = sorted((group[wire.a], group[wire.b]))
        joined[a, b, wire.latency_us].append(i)
    servers = frozenset(group[v] for v in ends if cloud.is_server(v))
    sides = _sides(len(names), list(joined), servers)
    at = {group[v]: v for v in ends}
    edges = tuple(
        Edge(*key, tuple(found), None if side is None else frozenset(at[g] for g in side if g in at))
        for (key, found), side in zip(joined.items(), sides, strict=True)
    )
    return Fabric(
        edges,
        tuple(map(tuple, members)),
        group,
        _hangs(len(names), edges, at),
        servers,
        _islands(len(names), edges, at),
    )


def _sides(count: int, keys: Sequence[Key], servers: Collection[int]) -> list[frozenset[int] | None]:
    """For each edge the groups on its smaller side where it is a bridge, else None."""
    around: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, (a, b, _) in enumerate(keys):
        around[a].append((b, i))
        around[b].append((a, i))
    if any(len(around[s]) > 1 for s in servers):
        return [None] * len(keys)  # a tree's path would lead through a server
    bridges = _bridges(count, around)
    out: list[frozenset[int] | None] = []
    for i, (a, _, _) in enumerate(keys):
        if i not in bridges:
            out.append(None)
            continue
        side = _reached(around, a, {i})
        whole = _reached(around, a, set())
        out.append(frozenset(side if 2 * len(side) <= len(whole) else whole - side))
    return out


def _reached(around: Mapping[int, Sequence[tuple[int, int]]], begin: int, without: Collection[int]) -> set[int]:
    seen, queue = {begin}, [begin]
    for at in queue:
        for then, i in around.get(at, ()):
            if i not in without and then not in seen:
                seen.add(then)
                queue.append(then)
    return seen


def _bridges(count: int, around: Mapping[int, Sequence[tuple[int, int]]]) -> set[int]:
    """Edges that lie in no cycle, by Tarjan's low points, without recursion."""
    order = [-1] * count
    low = [0] * count
    found: set[int] = set()
    clock = 0
    for start in range(count):
        if order[start] >= 0:
            continue
        order[start] = low[start] = clock
        clock += 1
        stack = [(start, -1, iter(around.get(start, ())))]
        while stack:
            at, by, rest = stack[-1]
            for then, i in rest:
                if i == by:
                    continue
                if order[then] >= 0:
                    low[at] = min(low[at], order[then])
                else:
                    order[then] = low[then] = clock
                    clock += 1
                    stack.append((then, i, iter(around.get(then, ()))))
                    break
            else:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    low[above] = min(low[above], low[at])
                    if low[at] > order[above]:
                        found.add(by)
    return found


def _hangs(count: int, edges: Sequence[Edge], at: Mapping[int, int]) -> dict[int, frozenset[int]]:
    """For each group in a cycle what enters that cycle there; what lies behind further cycles counts, too."""
    everywhere: dict[int, list[tuple[int, int]]] = defaultdict(list)
    cyclic: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, edge in enumerate(edges):
        for one, other in ((edge.a, edge.b), (edge.b, edge.a)):
            everywhere[one].append((other, i))
            if edge.side is None:
                cyclic[one].append((other, i))
    out: dict[int, frozenset[int]] = {}
    for start in sorted(cyclic):
        if start in out:
            continue
        knot = _reached(cyclic, start, ())
        within = {i for g in knot for _, i in cyclic[g]}
        for g in knot:
            out[g] = frozenset(at[x] for x in _reached(everywhere, g, within) if x in at)
    return out


def _islands(count: int, edges: Sequence[Edge], at: Mapping[int, int]) -> tuple[frozenset[int], ...]:
    """Ends of traffic that reach each other; told only where there is more than one such set."""
    around: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, edge in enumerate(edges):
        around[edge.a].append((edge.b, i))
        around[edge.b].append((edge.a, i))
    seen: set[int] = set()
    found: list[frozenset[int]] = []
    for start in sorted(at):
        if start not in seen:
            island = _reached(around, start, ())
            seen |= island
            found.append(frozenset(at[g] for g in island if g in at))
    return tuple(found) if len(found) > 1 else ()


def lay(
    cloud: Cloud, fabric: Fabric, groups: Sequence[int], bandwidth_mbps: int, free: Sequence[int]
) -> list[int] | None:
    """Real wires along these groups, each with the bandwidth free; the widest such way, None where there is none."""
    widest: dict[int, tuple[int, list[int]]] = {v: (1 << 60, []) for v in fabric.members[groups[0]]}
    for then in groups[1:]:
        ahead: dict[int, tuple[int, list[int]]] = {}
        allowed = set(fabric.members[then])
        for vertex, (width, path) in widest.items():
            for i in cloud.around[vertex]:
                wire = cloud.wires[i]
                other = wire.b if wire.a == vertex else wire.a
                if other not in allowed or free[i] < bandwidth_mbps:
                    continue
                now = min(width, free[i])
                if other not in ahead or now > ahead[other][0]:
                    ahead[other] = (now, [*path, i])
        widest = ahead
    best = max(widest.values(), key=lambda found: found[0], default=None)
    return best[1] if best else None
