"""Chains one at a time: a narrow search first, wider ones where it fails, at last why there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from vnfm.placement.ahead import Ahead, Horizon, look_ahead
from vnfm.placement.ask import Ask, ask_of
from vnfm.placement.beam import search
from vnfm.placement.book import Book, Draft, Seat
from vnfm.placement.fabric import is_wide_area
from vnfm.placement.kinds import Kinds
from vnfm.placement.routes import Routes
from vnfm.placement.statement import Answer, Chain, Placed
from vnfm.placement.units import Units

if TYPE_CHECKING:
    from vnfm.placement.domains import Impossible
    from vnfm.placement.refusals import Reason

SMALL = 64  # up to so many nodes a wide search costs less than it gains


class Effort(NamedTuple):
    """Widths of the searches, one after the other until one finds something; `tries` per place in the beam."""

    widths: tuple[int, ...] = (1, 4, 12)
    tries: int = 12
    prove: bool = True


THRIFTY = Effort()
THOROUGH = Effort((16, 40))
WIDE = Effort((16, 16))


class Found(NamedTuple):
    """What a search came to. `draft` is None where nothing was found; it was made on `version`."""

    ask: Ask
    ahead: Ahead
    draft: Draft | None
    version: int
    why: Impossible | None = None


def _usual(book: Book) -> tuple[Routes, Horizon]:
    routes = Routes(book)
    return routes, Horizon(book.estate, routes)


def _wide(book: Book) -> tuple[Routes, Horizon]:
    from vnfm.placement.wide import WideHorizon, WideRoutes  # few estates are such

    routes = WideRoutes(book)
    return routes, WideHorizon(book.estate, routes)


class Placer:
    """Places chains on a book. The same chains on the same book in the same order give the same answers."""

    def __init__(self, book: Book, effort: Effort | None = None) -> None:
        self.book = book
        self.kinds = Kinds(book)
        self.units = Units(book)
        wide = is_wide_area(len(book.estate.roots), len(book.estate.starts))
        self.routes, self.horizon = _wide(book) if wide else _usual(book)
        usual = WIDE if wide else THOROUGH if book.estate.size <= SMALL else THRIFTY
        self.effort = effort or usual

    def find(self, chain: Chain, effort: Effort | None = None) -> Found:
        """Search for a chain; nothing is entered. Where a first search fails, what cannot be is proved before more."""
        book, effort = self.book, effort or self.effort
        self.routes.renew()
        self.horizon.renew()
        ask = ask_of(chain, book, self.kinds, self.units)
        ahead = look_ahead(ask, self.horizon)
        draft, why = None, None
        hopeful = all(k.ways for k in ask.kinds) and self.routes.ends_open(ask)
        for turn, width in enumerate(effort.widths):
            if turn:
                ahead = look_ahead(ask, self.horizon, turn)
            if hopeful:
                draft, _ = search(ask, ahead, self.horizon, book, self.routes, width, effort.tries)
            if draft is not None:
                draft = self._between_ends(ask, draft)
            if draft is None and turn == 0 and effort.prove:
                why = self._proof(ask)
            if draft is not None or why is not None:
                break
        return Found(ask, ahead, draft, book.version, why)

    def refusal(self, found: Found) -> Reason:
        """What is told about a chain for which nothing was found."""
        from vnfm.placement.refusals import Reason, smallest_change

        why = found.why

        def admits(chain: Chain) -> Mapping[str, int] | None:
            draft = self.find(chain, Effort((1,), prove=False)).draft
            if draft is None:
                return None
            return {x.id: draft.latency.get(i, 0) for i, x in enumerate(chain.vlinks)}

        change = smallest_change(found.ask.chain, self.book, found.ask.tenant, why, admits)
        if why is None:
            text = "nothing was found within the search's effort; that it is impossible is not proved"
            return Reason("", text, {}, change)
        return Reason(why.proof, why.detail, why.facts, change)

    def _proof(self, ask: Ask) -> Impossible | None:
        from vnfm.placement.refusals import proof_of  # not needed before something is refused

        return proof_of(ask, self.book, self.horizon)

    def place(self, chain: Chain) -> Answer:
        """Search for a chain and enter what was found. Raises ProblemError `already-exists` for one that is held."""
        found = self.find(chain)
        if found.draft is None:
            return Answer(chain.id, accepted=False, reason=self.refusal(found).as_dict())
        self.book.commit(chain.id, found.draft, found.version)
        return answer_of(found.ask, self.book, found.draft)

    def explain(self, chain: Chain) -> dict[str, object]:
        """Why the chain would be placed as it would be now, or refused; nothing is entered."""
        from vnfm.placement.telling import told

        found = self.find(chain)
        if found.draft is None:
            vnfs = [{"vnf": v.id, "chosen": None} for v in chain.vnfs]
            return {"id": chain.id, "accepted": False, "vnfs": vnfs, "refused": self.refusal(found).as_dict()}
        vnf_told = told(found.ask, found.draft, self.book, self.horizon)
        return {"id": chain.id, "accepted": True, "cost": cost_of(found.ask, found.draft, self.book), "vnfs": vnf_told}

    def release(self, chain: str) -> None:
        """Give back what a chain holds. Raises ProblemError `not-found`."""
        self.book.release(chain)

    def _between_ends(self, ask: Ask, draft: Draft) -> Draft | None:
        """Route the wires that join two ends."""
        for i, wire in enumerate(ask.wires):
            if wire.a >= 0 or wire.b >= 0:
                continue
            a, b = ask.end_spots[-1 - wire.a], ask.end_spots[-1 - wire.b]
            most = wire.max_us if wire.max_us is not None else 1 << 50
            route = self.routes.route(a, b, wire.bandwidth, draft.link_used, most, patient=True)
            if route is None:
                return None
            draft.routes[i] = route[0]
            draft.latency[i] = route[1]
            draft.cost += self.routes.toll(route[0], wire.hop_cost)
            for link in route[0]:
                draft.link_used[link] = draft.link_used.get(link, 0) + wire.bandwidth
            for b_at in ask.bounds_of[i]:
                if sum(draft.latency.get(w, 0) for w in ask.bounds[b_at].wires) > ask.bounds[b_at].max_us:
                    return None
        return draft


def answer_of(ask: Ask, book: Book, draft: Draft) -> Answer:
    """A draft in the statement's words."""
    estate, chain = book.estate, ask.chain
    vnfs = {v.id: _placed(book, draft.seats[i]) for i, v in enumerate(chain.vnfs)}
    names = estate.fabric.link_ids
    vlinks = {x.id: tuple([names[link] for link in draft.routes[i]]) for i, x in enumerate(chain.vlinks)}
    return Answer(chain.id, True, vnfs, vlinks)


def _placed(book: Book, seat: Seat) -> Placed:
    estate = book.estate
    name, cell = estate.variants[seat.variant].name, seat.cell if seat.cell >= 0 else None
    opening = estate.openings.get(seat.node)
    if opening is None:
        return Placed(estate.ids[seat.node], name, cell)
    return Placed(estate.ids[opening.server], name, cell, opened=opening.size, worker=estate.ids[seat.node])


def cost_of(ask: Ask, draft: Draft, book: Book) -> int:
    """A draft's cost in the statement's units, told before it is entered."""
    estate = book.estate
    servers = {estate.root[seat.node] for seat in draft.seats.values()}
    opened = sum(estate.openings[n].cost for n in draft.opened)
    cost = sum(book.on_left[s] for s in servers) + opened
    for v, seat in draft.seats.items():
        cost += estate.variants[seat.variant].cost + int(estate.price[seat.node]) * ask.chain.vnfs[v].cpu_milli
    hops = sum(ask.wires[i].bandwidth * len(links) for i, links in draft.routes.items())
    return cost + estate.instance.bandwidth_hop_cost * hops
