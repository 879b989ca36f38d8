"""Why a chain is placed as it is: for each VNF what was chosen, what was filtered out and why, and the runner-up."""

from __future__ import annotations

from vnfm.placement.ahead import Horizon
from vnfm.placement.alternatives import elsewhere, first_there, traffic, without
from vnfm.placement.ask import Ask
from vnfm.placement.book import Book, Draft, Seat
from vnfm.placement.counts import filter_counts, variants_refused
from vnfm.placement.estate import GRAIN
from vnfm.placement.extend import extend

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
    return {
        "real": estate.variants[seat.variant].cost,
        "price": int(estate.price[seat.node]) * ask.chain.vnfs[v].cpu_milli,
        "on": first_there(ask, draft, book, v),
        "bw_hops": estate.instance.bandwidth_hop_cost * traffic(ask, draft, v),
    }


def _runner_up(ask: Ask, draft: Draft, book: Book, horizon: Horizon, v: int) -> Told | None:
    """The next best node for v while the others stay; None where there is none, or v has to share its server."""
    u = ask.unit_of[v]
    if len(ask.units[u].members) > 1:
        return None
    rest, chosen = without(ask, book, draft, (v,)), draft.seats[v].node
    best = elsewhere(ask, book, horizon, rest, u, chosen)
    if best is None:
        return None
    mine = extend(ask, book, horizon.routes, rest, v, chosen, patient=True)
    delta = (best.cost - mine.cost) // GRAIN if isinstance(mine, Draft) else 0
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
