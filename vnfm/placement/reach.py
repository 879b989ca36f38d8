"""Where a VNF would be too far away for its latency bounds, as far as what is placed tells."""

from __future__ import annotations

from collections.abc import Mapping

from vnfm.placement.ask import Ask, Bound
from vnfm.placement.estate import Bools
from vnfm.placement.fabric import Spot
from vnfm.placement.routes import Routes

NOTHING_PLACED: Mapping[int, Spot] = {}
NONE_KNOWN: Mapping[int, int] = {}


def beyond_reach(
    ask: Ask, routes: Routes, v: int, placed: Mapping[int, Spot], known: Mapping[int, int] = NONE_KNOWN
) -> Bools | None:
    """The docks where VNF v cannot meet its latency bounds; None: there are none. Not to be written to.

    `placed`: where VNFs are. `known`: latencies of wires that are routed, realizations included.
    """
    mask: Bools | None = None
    for i in ask.wires_of[v]:
        wire = ask.wires[i]
        if wire.max_us is not None:
            other = wire.other(v)
            spot = ask.end_spots[-1 - other] if other < 0 else placed.get(other)
            if spot is not None:
                far = routes.beyond(spot, None, wire.max_us - ask.least_us(v) - ask.least_us(other))
                mask = _either(mask, far)
    for b in ask.bounds_at[v]:
        mask = _either(mask, _beyond_walk(ask, routes, v, ask.bounds[b], placed, known))
    return mask


def _either(a: Bools | None, b: Bools | None) -> Bools | None:
    return b if a is None else a if b is None else a | b


def _beyond_walk(
    ask: Ask, routes: Routes, v: int, bound: Bound, placed: Mapping[int, Spot], known: Mapping[int, int]
) -> Bools | None:
    walk = bound.walk
    if v not in walk:
        return None
    at = walk.index(v)
    rest = bound.max_us - bound.least_us
    if known:
        for i, least in zip(bound.wires, bound.ends_us, strict=True):
            if i in known:
                rest -= known[i] - least
    before = _first(ask, walk[at - 1 :: -1], placed) if at else None
    after = _first(ask, walk[at + 1 :], placed)
    if before is None:
        return None if after is None else routes.beyond(after, None, rest)
    return routes.beyond(before, after, rest)


def _first(ask: Ask, points: tuple[int, ...], placed: Mapping[int, Spot]) -> Spot | None:
    """Where the first of these points is that is anywhere."""
    for p in points:
        if p < 0:
            return ask.end_spots[-1 - p]
        if p in placed:
            return placed[p]
    return None
