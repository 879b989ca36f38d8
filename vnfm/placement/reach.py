"""Where a VNF would be too far away for its latency bounds, as far as what is placed tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vnfm.placement.ask import Ask, Bound
from vnfm.placement.estate import Bools
from vnfm.placement.fabric import Spot
from vnfm.placement.routes import Routes

SpotOf = Callable[[int], Spot | None]  # of a point, None where it is not placed


def beyond_reach(ask: Ask, routes: Routes, v: int, spot_of: SpotOf, known: Mapping[int, int] | None) -> Bools | None:
    """The docks where VNF v cannot meet its latency bounds; None: there are none. Not to be written to.

    `known`: latencies of wires that are routed, realizations included.
    """
    mask: Bools | None = None
    for i in ask.wires_of[v]:
        wire = ask.wires[i]
        if wire.max_us is not None:
            other = wire.other(v)
            spot = spot_of(other)
            if spot is not None:
                far = routes.beyond(spot, None, wire.max_us - ask.least_us(v) - ask.least_us(other))
                mask = _either(mask, far)
    for b in ask.bounds_at[v]:
        mask = _either(mask, _beyond_walk(routes, v, ask.bounds[b], spot_of, known))
    return mask


def _either(a: Bools | None, b: Bools | None) -> Bools | None:
    return b if a is None else a if b is None else a | b


def _beyond_walk(
    routes: Routes, v: int, bound: Bound, spot_of: SpotOf, known: Mapping[int, int] | None
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
    before = after = None
    for i in range(at - 1, -1, -1):
        before = spot_of(walk[i])
        if before is not None:
            break
    for i in range(at + 1, len(walk)):
        after = spot_of(walk[i])
        if after is not None:
            break
    if before is None:
        return None if after is None else routes.beyond(after, None, rest)
    return routes.beyond(before, after, rest)
