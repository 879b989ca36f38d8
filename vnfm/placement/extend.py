"""One VNF on one node: every constraint tested exactly, on the book and what the draft takes already."""

from __future__ import annotations

from enum import IntEnum

from vnfm.placement.ask import Ask
from vnfm.placement.book import NOTHING, Amounts, Book, Draft, Seat, add
from vnfm.placement.estate import GRAIN, Opening
from vnfm.placement.fabric import FAR, Spot
from vnfm.placement.kinds import Kind, best_cell
from vnfm.placement.routes import Route, Routes
from vnfm.placement.ways import Way

TURNS = 3  # orders in which a VNF's wires are routed before it is given up


class Miss(IntEnum):
    """Why a VNF cannot be there in this draft."""

    ROOM = 0  # capacity, kernel or licence
    RULE = 1
    REACH = 2  # no route with bandwidth and latency


def spot_of(ask: Ask, book: Book, draft: Draft, point: int) -> Spot | None:
    """Where a point of the chain is, None where it is not placed yet."""
    if point < 0:
        return ask.end_spots[-1 - point]
    seat = draft.seats.get(point)
    return book.estate.spots[seat.node] if seat is not None else None


def extend(
    ask: Ask, book: Book, routes: Routes, draft: Draft, v: int, node: int, patient: bool, *, fork: bool = True
) -> Draft | Miss:
    """The draft with VNF v on that node in the cheapest way that holds, or why there is none.

    `fork`: a draft of its own; else the given one is grown, which stays as it is where there is no such way.
    """
    if ask.rules[v] and not _rules_hold(ask, book, draft, v, node):
        return Miss.RULE
    kind = ask.kinds[v]
    ways = _open_ways(ask, book, kind, draft, v, node)
    opening = book.opening(node) if book.estate.openings and node not in draft.used else None
    if opening is not None and not _room_for(book, draft, opening):
        return Miss.ROOM
    if not ways or not _licensed(ask, book, draft, v, node):
        return Miss.ROOM
    found = _wired(ask, book, routes, draft, v, node, patient)
    if found is None:
        return Miss.REACH
    way, latency = _way_in_time(ask, draft, v, ways, found)
    if way is None:
        return Miss.REACH
    return _grown(ask, book, routes, draft.fork() if fork else draft, v, node, way, found, latency)


def _rules_hold(ask: Ask, book: Book, draft: Draft, v: int, node: int) -> bool:
    for rule in ask.rules[v]:
        domain = book.estate.domains[rule.scope]
        mine = domain[node]
        for other in rule.others:
            seat = draft.seats.get(other)
            if seat is not None and (domain[seat.node] == mine) is not rule.same:
                return False
    return True


def _open_ways(ask: Ask, book: Book, kind: Kind, draft: Draft, v: int, node: int) -> list[Way]:
    """The ways that fit, the cheapest first; no more than that one where latency does not matter."""
    ways = []
    used, left = draft.used.get(node), book.left
    for way in kind.ways:
        amounts = way.amounts
        if not way.allowed[node] or not _has_room(left, node, amounts, used):
            continue
        if way.shares and not book.may_share(node, kind.tenant, way.shares):
            continue
        if kind.strict and best_cell(book, node, amounts, draft.cell_used) < 0:
            continue
        ways.append(way)
        if not ask.timed[v]:
            break
    return ways


def _has_room(left: list[list[int]], node: int, amounts: Amounts, used: Amounts | None) -> bool:
    for r, amount in enumerate(amounts):
        if amount:
            rest = left[r][node] if used is None else left[r][node] - used[r]
            if rest < amount:
                return False
    return True


def _room_for(book: Book, draft: Draft, opening: Opening) -> bool:
    """Whether a server takes a further worker beside what the draft has on it."""
    used = draft.used.get(opening.server, NOTHING)
    left = book.left
    return all(left[r][opening.server] - used[r] >= a for r, a in enumerate(opening.amounts) if a)


def _licensed(ask: Ask, book: Book, draft: Draft, v: int, node: int) -> bool:
    name = ask.chain.vnfs[v].licence
    if name is None:
        return True
    token = (name, book.estate.site_of(node))
    return book.licences.get(token, 0) - draft.licences.get(token, 0) >= ask.chain.vnfs[v].licence_count


def _wired(
    ask: Ask, book: Book, routes: Routes, draft: Draft, v: int, node: int, patient: bool
) -> list[tuple[int, Route]] | None:
    """Routes of the wires from v to what is placed. Patient: a wire that found none comes first in another turn."""
    spots, seats = book.estate.spots, draft.seats
    here = spots[node]
    wires: list[tuple[int, Spot, int]] = []
    for i in ask.wires_of[v]:
        a, b, _, _, max_us = ask.wires[i]
        other = b if v == a else a
        if other < 0:
            there = ask.end_spots[-1 - other]
        elif other == v:
            there = here
        elif (seat := seats.get(other)) is not None:
            there = spots[seat.node]
        else:
            continue
        most = FAR
        if max_us is not None:
            most = max_us - ask.least_us(v) - (ask.least_us(v) if other == v else _end_us(ask, draft, other))
        wires.append((i, there, most))
    for _ in range(TURNS if patient else 1):
        found, missed = _routed(ask, routes, draft, v, here, wires, patient)
        if missed is None:
            return found
        if wires[0] is missed:
            return None
        wires.remove(missed)
        wires.insert(0, missed)
    return None


def _routed(
    ask: Ask,
    routes: Routes,
    draft: Draft,
    v: int,
    here: Spot,
    wires: list[tuple[int, Spot, int]],
    patient: bool,
) -> tuple[list[tuple[int, Route]], tuple[int, Spot, int] | None]:
    """Routes one after the other, and the wire that found none."""
    found: list[tuple[int, Route]] = []
    taken = draft.link_used
    for entry in wires:
        i, there, most = entry
        wire = ask.wires[i]
        route = routes.route(here, there, wire.bandwidth, taken, most, patient)
        if route is None:
            return found, entry
        if wire.b == v and wire.a != v:
            route = (route[0][::-1], route[1])
        found.append((i, route))
        if len(found) < len(wires) and route[0] and wire.bandwidth:
            if taken is draft.link_used:
                taken = taken.copy()
            for link in route[0]:
                taken[link] = taken.get(link, 0) + wire.bandwidth
    return found, None


def _end_us(ask: Ask, draft: Draft, point: int) -> int:
    """The latency that a placed point adds to a wire."""
    if point < 0:
        return 0
    variant = draft.seats[point].variant
    for way in ask.kinds[point].ways:
        if way.variant == variant:
            return way.latency_us
    raise AssertionError("a seat is in one of its kind's ways")


def _way_in_time(
    ask: Ask, draft: Draft, v: int, ways: list[Way], found: list[tuple[int, Route]]
) -> tuple[Way | None, dict[int, int]]:
    """The cheapest way that keeps each wire's bound and each path's, and the wires' latencies with it."""
    if not ask.timed[v]:
        return ways[0], {}
    bounds = {b for i, _ in found for b in ask.bounds_of[i]} if ask.bounds_at[v] else ()
    wires = ask.wires
    far_ends = {i: _end_us(ask, draft, other) if (other := wires[i].other(v)) != v else -1 for i, _ in found}
    for way in ways:
        latency = {
            i: route[1] + way.latency_us + (far_ends[i] if far_ends[i] >= 0 else way.latency_us) for i, route in found
        }
        if any((most := wires[i].max_us) is not None and us > most for i, us in latency.items()):
            continue
        if all(_bound_holds(ask, draft, b, v, way, latency) for b in bounds):
            return way, latency
    return None, {}


def _bound_holds(ask: Ask, draft: Draft, b: int, v: int, way: Way, latency: dict[int, int]) -> bool:
    bound = ask.bounds[b]
    more = way.latency_us - ask.least_us(v)
    total = 0
    routed = draft.latency
    for i, least in zip(bound.wires, bound.ends_us, strict=True):
        if i in latency:
            total += latency[i]
        elif i in routed:
            total += routed[i]
        else:
            total += least
            if more:
                wire = ask.wires[i]
                total += more * ((wire.a == v) + (wire.b == v))
    return total <= bound.max_us


def _grown(
    ask: Ask,
    book: Book,
    routes: Routes,
    out: Draft,
    v: int,
    node: int,
    way: Way,
    found: list[tuple[int, Route]],
    latency: dict[int, int],
) -> Draft:
    kind = ask.kinds[v]
    cell = -1
    if kind.strict:
        cell = best_cell(book, node, way.amounts, out.cell_used)
        taken = out.cell_used.get((node, cell), NOTHING)
        out.cell_used[node, cell] = add(taken, way.amounts)
    licence = None
    if (name := ask.chain.vnfs[v].licence) is not None:
        licence = (name, book.estate.site_of(node))
        out.licences[licence] = out.licences.get(licence, 0) + ask.chain.vnfs[v].licence_count
    cost = way.cost + kind.fixed(node)
    before = out.used.get(node)
    if before is None:
        cost += _entered(book, out, node)
        out.used[node] = way.amounts
    else:
        out.used[node] = add(before, way.amounts)
    if way.shares:
        out.shares[node] = max(way.shares, out.shares.get(node, 0))
    link_used = out.link_used
    for i, (links, _) in found:
        wire = ask.wires[i]
        out.routes[i] = links
        cost += routes.toll(links, wire.hop_cost)
        if wire.bandwidth:
            for link in links:
                link_used[link] = link_used.get(link, 0) + wire.bandwidth
    if latency:
        out.latency.update(latency)
    out.seats[v] = Seat(node, way.variant, cell, way.amounts, way.shares, licence)
    out.cost += cost
    return out


def _entered(book: Book, out: Draft, node: int) -> int:
    """What a draft's first VNF on a node costs: its server switched on, a worker opened, which then takes its room."""
    estate = book.estate
    cost = 0
    if book.on_left[node]:
        root = estate.root[node]
        if not any(n in out.used for n in estate.on_server(root)):
            cost = book.on_left[root] * GRAIN
    opening = book.opening(node) if estate.openings else None
    if opening is not None:
        cost += opening.cost * GRAIN
        out.opened[node] = opening.amounts
        out.used[opening.server] = add(out.used.get(opening.server, NOTHING), opening.amounts)
    return cost
