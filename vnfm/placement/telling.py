"""Why a chain is placed as it is: for each VNF what was chosen, what was filtered out and why, and the runner-up."""

from __future__ import annotations

from vnfm.placement.ahead import Ahead, Horizon
from vnfm.placement.ask import Ask
from vnfm.placement.beam import Candidates
from vnfm.placement.book import Book, Draft, Seat
from vnfm.placement.counts import filter_counts, variants_refused
from vnfm.placement.estate import GRAIN, Ints
from vnfm.placement.extend import extend

LOOKED_AT = 24  # candidates tested for the runner-up

Told = dict[str, object]


def told(ask: Ask, draft: Draft, book: Book, horizon: Horizon) -> list[Told]:
    """Of each VNF of a draft that is not entered yet, in the chain's order."""
    return [_of_vnf(ask, draft, book, horizon, v) for v in range(len(ask.chain.vnfs))]


def _of_vnf(ask: Ask, draft: Draft, book: Book, horizon: Horizon, v: int) -> Told:
    vnf, seat, estate = ask.chain.vnfs[v], draft.seats[v], book.estate
    real = estate.variants[seat.variant]
    refused = variants_refused(book, vnf)
    for way in ask.kinds[v].ways:
        name = estate.variants[way.variant].name
        if name != real.name:
            refused[name] = _why_not(ask, v, seat, book, way.variant)
    for other in estate.variants:
        if other.name != real.name and other.name not in refused:
            refused[other.name] = "no host that may take it offers it"
    return {
        "vnf": vnf.id,
        "chosen": {
            "node": estate.ids[seat.node],
            "realization": real.name,
            "cell": seat.cell if seat.cell >= 0 else None,
        },
        "realizations": dict(sorted(refused.items())),
        "filters": filter_counts(book, vnf, ask.tenant),
        "score": _score(ask, draft, book, v),
        "runner_up": _runner_up(ask, draft, book, horizon, v),
        "refused": None,
    }


def _why_not(ask: Ask, v: int, seat: Seat, book: Book, variant: int) -> str:
    way = next(w for w in ask.kinds[v].ways if w.variant == variant)
    if not way.allowed[seat.node]:
        return "not offered by this host"
    mine = next(w for w in ask.kinds[v].ways if w.variant == seat.variant)
    if (way.cost, way.latency_us) >= (mine.cost, mine.latency_us):
        return f"costs {(way.cost - mine.cost) // GRAIN} more" if way.cost > mine.cost else "slower"
    if way.shares and not book.may_share(seat.node, ask.tenant, way.shares):
        return "the kernel is shared with another tenant"
    if way.latency_us > mine.latency_us:
        return f"its latency {way.latency_us} us does not keep the bounds"
    return "does not fit beside what is there"


def _score(ask: Ask, draft: Draft, book: Book, v: int) -> dict[str, int]:
    """In the statement's units; a link between two VNFs counts at the one placed later."""
    seat, estate = draft.seats[v], book.estate
    order = list(draft.seats)
    hops = 0
    for i in ask.wires_of[v]:
        other = ask.wires[i].other(v)
        if other < 0 or order.index(other) <= order.index(v):
            hops += ask.wires[i].bandwidth * len(draft.routes[i])
    first = next(o for o in order if estate.root[draft.seats[o].node] == estate.root[seat.node])
    on = book.on_left[estate.root[seat.node]] if first == v else 0
    if seat.node in draft.opened and next(o for o in order if draft.seats[o].node == seat.node) == v:
        on += estate.openings[seat.node].cost
    return {
        "real": estate.variants[seat.variant].cost,
        "price": int(estate.price[seat.node]) * ask.chain.vnfs[v].cpu_milli,
        "on": on,
        "bw_hops": estate.instance.bandwidth_hop_cost * hops,
    }


def _without(ask: Ask, draft: Draft, book: Book, horizon: Horizon, v: int) -> Draft | None:
    """The draft with all but v seated where they are."""
    out = Draft(ask.tenant)
    for o, seat in draft.seats.items():
        if o != v:
            grown = extend(ask, book, horizon.routes, out, o, seat.node, patient=True)
            if not isinstance(grown, Draft):
                return None
            out = grown
    return out


def _runner_up(ask: Ask, draft: Draft, book: Book, horizon: Horizon, v: int) -> Told | None:
    """The next best node for v while the others stay; None where there is none, or v has to share its server."""
    u = ask.unit_of[v]
    if len(ask.units[u].members) > 1:
        return None
    rest = _without(ask, draft, book, horizon, v)
    if rest is None:
        return None
    ask.units[u].source.refresh(book)
    own: list[Ints] = [unit.dock_score.copy() for unit in ask.units]
    for i in ask.wires_of[v]:
        other = ask.wires[i].other(v)
        if other < 0:
            own[u] += horizon.routes.rows(ask.end_spots[-1 - other])[0] * ask.wires[i].hop_cost
    everywhere = tuple([set(range(len(book.estate.sectors)))] * len(ask.units))
    candidates = Candidates(ask, Ahead((u,), tuple(own), everywhere), horizon, book, rest, u)
    chosen = draft.seats[v]
    best: Draft | None = None
    mine: Draft | None = None
    for _ in range(LOOKED_AT):
        following = candidates.next()
        if following is None or (best is not None and mine is not None):
            break
        node = following[1]
        grown = extend(ask, book, horizon.routes, rest, v, node, patient=False)
        if not isinstance(grown, Draft):
            candidates.miss(node, grown)
        elif node == chosen.node:
            mine = grown
        elif best is None or grown.cost < best.cost:
            best = grown
    if best is None:
        return None
    at = extend(ask, book, horizon.routes, rest, v, chosen.node, patient=True) if mine is None else mine
    delta = (best.cost - at.cost) // GRAIN if isinstance(at, Draft) else 0
    seat = best.seats[v]
    return {
        "node": book.estate.ids[seat.node],
        "realization": book.estate.variants[seat.variant].name,
        "delta": delta,
        "because": _because(_score_alone(ask, draft, book, v), _score_alone(ask, best, book, v), delta),
    }


def _score_alone(ask: Ask, draft: Draft, book: Book, v: int) -> dict[str, int]:
    """What v costs where it is, all its links counted."""
    seat, estate = draft.seats[v], book.estate
    hops = {i: len(draft.routes[i]) for i in ask.wires_of[v] if i in draft.routes}
    on = book.on_left[seat.node]
    if any(estate.root[s.node] == estate.root[seat.node] for o, s in draft.seats.items() if o != v):
        on = 0
    return {
        "realization": estate.variants[seat.variant].cost,
        "price": int(estate.price[seat.node]) * ask.chain.vnfs[v].cpu_milli,
        "switching the server on": on,
        "bandwidth": estate.instance.bandwidth_hop_cost * sum(ask.wires[i].bandwidth * n for i, n in hops.items()),
    }


def _because(chosen: dict[str, int], other: dict[str, int], delta: int) -> str:
    worse = [f"{name} +{other[name] - had}" for name, had in chosen.items() if other[name] > had]
    if worse:
        return ", ".join(worse)
    return "costs the same" if delta == 0 else "breaks the plan's look-ahead"
