"""A chain made ready for the search: VNFs by position, virtual links by their ends, rules and bounds by VNF.

VNFs that have to share a server are one unit and are placed together. A point is a VNF (its position, from 0) or an
end (-1, -2, ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vnfm.placement.book import Book
from vnfm.placement.estate import GRAIN
from vnfm.placement.fabric import Spot
from vnfm.placement.kinds import Kind, Kinds
from vnfm.placement.statement import Chain, RuleKind, Scope
from vnfm.placement.units import Unit, Units, groups_of

MOST = 1 << 32  # a hop's cost, so that sums stay exact


class Wire(NamedTuple):
    """A virtual link. `hop_cost`: of all its bandwidth on one link."""

    a: int
    b: int
    bandwidth: int
    hop_cost: int
    max_us: int | None

    def other(self, point: int) -> int:
        """Its other end."""
        return self.b if point == self.a else self.a


class Bound(NamedTuple):
    """A bound on some wires' latencies together. `walk`: their points in order where they join to one, else empty."""

    wires: tuple[int, ...]
    max_us: int
    walk: tuple[int, ...]
    ends_us: tuple[int, ...]  # by wire: what the realizations at its ends add at least
    least_us: int  # that of all wires


class Apart(NamedTuple):
    """A rule as one VNF sees it: `others` have to be in the same domain, or none of them may be."""

    same: bool
    scope: Scope
    others: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A chain ready to be searched for."""

    chain: Chain
    tenant: int
    kinds: tuple[Kind, ...]
    wires: tuple[Wire, ...]
    wires_of: tuple[tuple[int, ...], ...]
    end_spots: tuple[Spot, ...]
    bounds: tuple[Bound, ...]
    bounds_of: tuple[tuple[int, ...], ...]  # by wire
    bounds_at: tuple[tuple[int, ...], ...]  # by VNF: those of its wires
    timed: tuple[bool, ...]  # by VNF: whether a latency bound is on one of its wires, or on any path
    rules: tuple[tuple[Apart, ...], ...]  # by VNF
    units: tuple[Unit, ...]
    unit_of: tuple[int, ...]
    apart: tuple[frozenset[int], ...]  # by unit: those that must not share a server with it

    def least_us(self, point: int) -> int:
        """What a point adds to the latency of each of its wires at least."""
        return self.kinds[point].least_us if point >= 0 else 0


def ask_of(chain: Chain, book: Book, kinds: Kinds, units: Units) -> Ask:
    """Compile a chain whose ids are known to be right."""
    tenant = book.tenant(chain.tenant)
    points = {v.id: i for i, v in enumerate(chain.vnfs)}
    points.update((e.id, -1 - i) for i, e in enumerate(chain.ends))
    weight = book.estate.instance.bandwidth_hop_cost * GRAIN
    cost = {bandwidth: min(MOST, max(1, weight * bandwidth)) for bandwidth in {x.bandwidth_mbps for x in chain.vlinks}}
    wires = tuple(
        [
            Wire(points[x.a], points[x.b], x.bandwidth_mbps, cost[x.bandwidth_mbps], x.max_latency_us)
            for x in chain.vlinks
        ]
    )
    wires_of = _wires_of(wires, len(chain.vnfs))
    of_kind = tuple([kinds.of(v, tenant) for v in chain.vnfs])
    groups, unit_of = groups_of(chain, points)
    bounds = _bounds(chain, wires, of_kind) if chain.paths else ()
    bounds_of, bounds_at = _bounds_of(bounds, len(wires), wires_of)
    rules = _rules(chain, points)
    return Ask(
        chain=chain,
        tenant=tenant,
        kinds=of_kind,
        wires=wires,
        wires_of=wires_of,
        end_spots=tuple([_end_spot(book, e.at) for e in chain.ends]),
        bounds=bounds,
        bounds_of=bounds_of,
        bounds_at=bounds_at,
        timed=tuple([bool(bounds) or any(wires[i].max_us is not None for i in x) for x in wires_of]),
        rules=rules,
        units=tuple([units.of(group, of_kind) for group in groups]),
        unit_of=unit_of,
        apart=_apart(rules, unit_of, len(groups)),
    )


def _wires_of(wires: tuple[Wire, ...], count: int) -> tuple[tuple[int, ...], ...]:
    """By VNF its wires, the widest first."""
    out: list[list[int]] = [[] for _ in range(count)]
    widths = [w.bandwidth for w in wires]
    order = range(len(wires)) if len(set(widths)) < 2 else sorted(range(len(wires)), key=lambda i: -widths[i])
    for i in order:
        a, b = wires[i].a, wires[i].b
        if a >= 0:
            out[a].append(i)
        if b >= 0 and b != a:
            out[b].append(i)
    return tuple([tuple(x) for x in out])


def _bounds_of(
    bounds: tuple[Bound, ...], count: int, wires_of: tuple[tuple[int, ...], ...]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """The bounds on each wire, and on any wire of each VNF."""
    if not bounds:
        return ((),) * count, ((),) * len(wires_of)
    of: list[list[int]] = [[] for _ in range(count)]
    for i, bound in enumerate(bounds):
        for w in bound.wires:
            of[w].append(i)
    at = [tuple(sorted({b for w in x for b in of[w]})) for x in wires_of]
    return tuple([tuple(x) for x in of]), tuple(at)


def _end_spot(book: Book, at: str) -> Spot:
    node = book.estate.index.get(at)
    return book.estate.spots[node] if node is not None else book.estate.fabric.spot(at)


def _bounds(chain: Chain, wires: tuple[Wire, ...], kinds: tuple[Kind, ...]) -> tuple[Bound, ...]:
    names = {x.id: i for i, x in enumerate(chain.vlinks)}
    least = [k.least_us for k in kinds]
    out: list[Bound] = []
    for path in chain.paths:
        at = tuple([names[x] for x in path.vlinks])
        ends = [sum([least[p] for p in (wires[i].a, wires[i].b) if p >= 0]) for i in at]
        out.append(Bound(at, path.max_latency_us, _walk([wires[i] for i in at]), tuple(ends), sum(ends)))
    return tuple(out)


def _walk(wires: list[Wire]) -> tuple[int, ...]:
    """The points along wires that join end to end, whichever way each is told."""
    if not wires:
        return ()
    for first in (wires[0].a, wires[0].b):
        walk = [first]
        for wire in wires:
            if walk[-1] not in (wire.a, wire.b):
                break
            walk.append(wire.other(walk[-1]))
        else:
            return tuple(walk)
    return ()


def _rules(chain: Chain, points: dict[str, int]) -> tuple[tuple[Apart, ...], ...]:
    if not chain.rules:
        return ((),) * len(chain.vnfs)
    rules: list[list[Apart]] = [[] for _ in chain.vnfs]
    for rule in chain.rules:
        members = [points[x] for x in rule.vnfs]
        for v in members:
            others = tuple(x for x in members if x != v)
            rules[v].append(Apart(rule.kind is RuleKind.AFFINITY, rule.scope, others))
    return tuple(tuple(x) for x in rules)


def _apart(rules: tuple[tuple[Apart, ...], ...], unit_of: tuple[int, ...], units: int) -> tuple[frozenset[int], ...]:
    if not any(rules):
        return (frozenset(),) * units
    out: list[set[int]] = [set() for _ in range(units)]
    for v, of in enumerate(rules):
        for rule in of:
            if not rule.same:
                out[unit_of[v]].update(unit_of[o] for o in rule.others)
    return tuple(frozenset(x) for x in out)
