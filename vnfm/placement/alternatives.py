"""What else a placed chain could have been: one VNF taken out of a draft, and tried elsewhere beside the others."""

from __future__ import annotations

from collections.abc import Collection

from vnfm.placement.ahead import Ahead, Horizon
from vnfm.placement.ask import Ask
from vnfm.placement.beam import Candidates, place_unit
from vnfm.placement.book import NOTHING, Book, Draft, less
from vnfm.placement.estate import Ints

LOOKED_AT = 24  # nodes tried before it is said that there is no other


def without(ask: Ask, book: Book, draft: Draft, gone: Collection[int]) -> Draft:
    """The draft with all but these VNFs seated where they are, at no cost."""
    out = draft.fork()
    out.cost = 0
    for v in gone:
        seat = out.seats.pop(v)
        out.used[seat.node] = less(out.used[seat.node], seat.amounts)
        if seat.cell >= 0:
            at = seat.node, seat.cell
            out.cell_used[at] = less(out.cell_used[at], seat.amounts)
        if seat.licence is not None:
            out.licences[seat.licence] -= 1
        here = [s for s in out.seats.values() if s.node == seat.node]
        if seat.shares and not (left := max((s.shares for s in here), default=0)):
            del out.shares[seat.node]
        elif seat.shares:
            out.shares[seat.node] = left
        if not here:
            out.used.pop(seat.node, None)
            if (worker := out.opened.pop(seat.node, None)) is not None:
                server = book.estate.openings[seat.node].server
                out.used[server] = less(out.used[server], worker)
                if out.used[server] == NOTHING and not any(s.node == server for s in out.seats.values()):
                    del out.used[server]
        for i in ask.wires_of[v]:
            for link in out.routes.pop(i, ()):
                if ask.wires[i].bandwidth:
                    out.link_used[link] -= ask.wires[i].bandwidth
            out.latency.pop(i, None)
    return out


def elsewhere(ask: Ask, book: Book, horizon: Horizon, rest: Draft, u: int, chosen: int) -> Draft | None:
    """The draft with unit u on the next best node but the chosen one; None where none was found that holds it."""
    ask.units[u].source.refresh(book)
    own: Ints = ask.units[u].dock_score.copy()
    for v in ask.units[u].members:
        for i in ask.wires_of[v]:
            other = ask.wires[i].other(v)
            if other < 0:
                own += horizon.routes.rows(ask.end_spots[-1 - other])[0] * ask.wires[i].hop_cost
    several = len(ask.units)  # of which only u is looked at
    ahead = Ahead((u,), (own,) * several, (set(range(len(book.estate.sectors))),) * several)
    candidates = Candidates(ask, ahead, horizon, book, rest, u)
    for _ in range(LOOKED_AT):
        following = candidates.next()
        if following is None:
            return None
        if following[1] == chosen:
            continue
        grown = place_unit(ask, book, horizon.routes, rest, u, following[1], patient=False)
        if isinstance(grown, Draft):
            return grown
        candidates.miss(following[1], grown)
    return None


def first_there(ask: Ask, draft: Draft, book: Book, v: int) -> int:
    """What v adds to switching on and opening: it pays for all who come to its server and worker later."""
    seat, estate = draft.seats[v], book.estate
    order = list(draft.seats)
    first = next(o for o in order if estate.root[draft.seats[o].node] == estate.root[seat.node])
    on = book.on_left[estate.root[seat.node]] if first == v else 0
    if seat.node in draft.opened and next(o for o in order if draft.seats[o].node == seat.node) == v:
        on += estate.openings[seat.node].cost
    return on


def traffic(ask: Ask, draft: Draft, v: int) -> int:
    """Bandwidth times links of v's wires; one between two VNFs counts at the one placed later."""
    order = list(draft.seats)
    hops = 0
    for i in ask.wires_of[v]:
        other = ask.wires[i].other(v)
        if other < 0 or order.index(other) <= order.index(v):
            hops += ask.wires[i].bandwidth * len(draft.routes[i])
    return hops
