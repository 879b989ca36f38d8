"""What keeps a demand from each node while the others stay where they are: causes as arrays, and texts for one node.

Exact but for nodes of the servers on which the others are: what holds there is tried out (`why.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vnfm.model.needs import Isolation
from vnfm.placement.amounts import quantity
from vnfm.placement.atlas import HALVES, UNTOLD_US
from vnfm.placement.book import NOTHING, Book, Draft
from vnfm.placement.estate import DISK, Bools, Ints
from vnfm.placement.extend import spot_of
from vnfm.placement.fabric import FAR
from vnfm.placement.inventory import Host
from vnfm.placement.kinds import best_cell
from vnfm.placement.marks import BANDWIDTH, CELL, FITS, LATENCY, LICENCE, ROOM, RULE, Codes, Marked
from vnfm.placement.openings import Candidate
from vnfm.placement.request import Demand, Rule, RuleKind
from vnfm.placement.seek import SCOPES, Sought, allowed_by_licence, allowed_by_rules, fixed
from vnfm.placement.statement import Scope
from vnfm.placement.tallies import Tally
from vnfm.placement.ways import Way


@dataclass(frozen=True, slots=True)
class Limit:
    """A latency bound as one VNF sees it: by dock, what it would come to without the VNF's own realization, which
    counts `times`. In half microseconds."""

    text: str
    by_dock: Ints
    times: int
    most: int
    allowed_us: int


class Hindrances:
    """Of one demand beside `rest`, which holds all others (or none). `movers`: its position and those of its ends."""

    def __init__(self, sought: Sought, demand: Demand, rest: Draft, movers: tuple[int, ...]) -> None:
        self.sought, self.demand, self.rest, self.movers = sought, demand, rest, movers
        self.task, self.ask = sought.task, sought.ask
        self.book = self.task.desk.book
        self.estate = self.book.estate
        self.opening = self.task.openings[demand.id]
        self.limits = tuple(self._limits()) if rest.seats else ()
        self._rules = self._by_rules()
        self._licensed = allowed_by_licence(self.task, demand, rest.licences)
        self._thin = self._by_bandwidth()

    def marked(self, tally: Tally) -> Marked:
        """By node, why each way is not open there. `tally`: of the demand's opening."""
        return tally.beside(self._special())

    def _special(self) -> list[Codes] | None:
        """What of it is this chain's own, by way; None: nothing."""
        masks = ((BANDWIDTH, self._thin), (RULE, self._rules), (LICENCE, self._licensed))
        if not self.limits and all(mask is None for _, mask in masks):
            return None
        found = []
        for way in self.opening.ways:
            code: Codes = np.full(self.estate.size, FITS, dtype=np.uint8)
            for limit in self.limits:
                late: Bools = limit.by_dock + limit.times * way.latency_us > limit.most
                if late.any():
                    np.copyto(code, LATENCY, where=late[self.estate.dock_codes])
            for cause, allowed in masks:
                if allowed is not None:
                    np.copyto(code, cause, where=~allowed)
            found.append(code)
        return found

    def _by_rules(self) -> Bools | None:
        allowed = allowed_by_rules(self.task, self.demand.id)
        for rule in self.ask.rules[self.movers[0]]:
            codes = self.estate.domain_codes[rule.scope]
            for other in rule.others:
                if (seat := self.rest.seats.get(other)) is not None:
                    same = codes == codes[seat.node]
                    mask = same if rule.same else ~same
                    allowed = mask if allowed is None else allowed & mask
        return allowed

    def _crossing(self) -> Iterator[tuple[int, int, int]]:
        """Wires from the movers to what is placed: wire, mover, other point."""
        for v in self.movers:
            for i in self.ask.wires_of[v]:
                other = self.ask.wires[i].other(v)
                if other < 0 or other in self.rest.seats:
                    yield i, v, other

    def _by_bandwidth(self) -> Bools | None:
        """Where the way there has what the links ask for."""
        need = sum(self.ask.wires[i].bandwidth for i, _, _ in self._crossing())
        return self.book.up_left >= need if need else None

    # ---- latency ----

    def _limits(self) -> Iterator[Limit]:
        ask = self.ask
        if not any(ask.timed[v] for v in self.movers):
            return
        touched: dict[int, tuple[Ints | int, int]] = {}  # by wire: what it takes by dock, and how often we count
        for i, v, other in self._crossing():
            spot = spot_of(ask, self.book, self.rest, other)
            if spot is not None:
                row = self.task.desk.placer.routes.rows(spot)[1]
                touched[i] = row + self._end_us(other), int(v == self.movers[0])
        for v in self.movers:
            for i in ask.wires_of[v]:
                if ask.wires[i].other(v) in self.movers:
                    touched[i] = 0, int(self.movers[0] in (ask.wires[i].a, ask.wires[i].b))
        for link in self.task.request.links:
            i = self._wire(self.task.link_names[link.id])
            if i in touched and (most := ask.wires[i].max_us) is not None and link.max_latency_us is not None:
                text = f"link {self.task.link_names[link.id]}"
                yield Limit(text, self._docks(touched[i][0]), touched[i][1], most, link.max_latency_us)
        for bound, path in zip(ask.bounds, sorted(self.task.request.paths, key=lambda p: p.id), strict=True):
            if touched.keys() & set(bound.wires):
                parts = [touched.get(i) or (self.rest.latency.get(i, 0), 0) for i in bound.wires]
                whole = self._docks(0)
                for far, _ in parts:
                    whole = whole + far
                yield Limit(f"path {path.id}", whole, sum(n for _, n in parts), bound.max_us, path.max_latency_us)

    def _docks(self, us: Ints | int) -> Ints:
        return np.full(len(self.estate.starts), us, dtype=np.int64) if isinstance(us, int) else us

    def _wire(self, name: str) -> int:
        return next((i for i, x in enumerate(self.ask.chain.vlinks) if x.id == name), -1)

    def _end_us(self, point: int) -> int:
        if point < 0:
            return 0
        variant = self.rest.seats[point].variant
        return next(w.latency_us for w in self.ask.kinds[point].ways if w.variant == variant)

    # ---- one node in words ----

    def text(self, host: Host, candidate: Candidate, node: int, way: Way) -> str:
        """Why the demand cannot be there, as far as is known."""
        return (
            self.kernel_text(host, candidate, node, way)
            or self.room_text(host, node, way)
            or self.licence_text(host, node)
            or self.rule_text(host, node)
            or self.latency_text(node, way)
            or f"no way from host {host.id} has the bandwidth left that its links ask for"
        )

    def kernel_text(self, host: Host, candidate: Candidate, node: int, way: Way) -> str:
        """Whether it may share the kernel there."""
        if not way.shares or self.book.may_share(node, self.book.tenant(self.demand.tenant), way.shares):
            return ""
        if candidate.isolation >= Isolation.TENANT:
            level = candidate.isolation.name.lower()
            return (
                f"may share a kernel within tenant {self.demand.tenant} only (isolation level {level}): "
                f"another tenant's containers run on host {host.id}"
            )
        return f"host {host.id} runs containers of a tenant that shares its kernel with nobody"

    def cause(self, node: int, way: Way) -> int:
        """Why the demand cannot be there, beside what the others take of that very node."""
        if (short := self._short(node, way)) is not None:
            return ROOM + short
        if self.licence_text(self.task.snapshot.hosts[0], node):
            return LICENCE
        if self.opening.strict and best_cell(self.book, node, way.amounts, self.rest.cell_used) < 0:
            return CELL
        return LATENCY if self.latency_text(node, way) else BANDWIDTH

    def _short(self, node: int, way: Way) -> int | None:
        used = self.rest.used.get(node, NOTHING)
        return next((r for r, a in enumerate(way.amounts) if a and self.book.left[r][node] - used[r] < a), None)

    def room_text(self, host: Host, node: int, way: Way) -> str:
        """What it needs and the host, or each of its cells, has too little of."""
        if text := self._opening_text(host, node):
            return text
        if (r := self._short(node, way)) is not None:
            left = max(0, self.book.left[r][node] - self.rest.used.get(node, NOTHING)[r])
            return f"needs {quantity(r, way.amounts[r])}: host {host.id} has {quantity(r, left)} free"
        if not self.opening.strict or best_cell(self.book, node, way.amounts, self.rest.cell_used) >= 0:
            return ""
        for r, amount in enumerate(way.amounts[:DISK]):
            left = max((c[r][node] for c in self.book.cell_left[: self.estate.cells[node]]), default=0)
            if amount > left:
                largest = f"the largest of host {host.id} has {quantity(r, max(0, left))} free"
                return f"needs {quantity(r, amount)} in one NUMA cell: {largest}"
        return f"needs its CPUs and memory in one NUMA cell: none of host {host.id} has both free"

    def _opening_text(self, host: Host, node: int) -> str:
        """What a server has too little of to open a worker VM on it."""
        opening = self.book.opening(node)
        if opening is None or node in self.rest.used:
            return ""
        used = self.rest.used.get(opening.server, NOTHING)
        for r, amount in enumerate(opening.amounts):
            left = max(0, self.book.left[r][opening.server] - used[r])
            if amount > left:
                there = f"host {host.parent} has {quantity(r, left)} free"
                return f"worker VM {host.id} cannot be opened: needs {quantity(r, amount)}: {there}"
        return ""

    def licence_text(self, host: Host, node: int) -> str:
        """Whether the site has enough of its licence left."""
        name, count = self.demand.needs.licence, self.demand.needs.licence_count
        token = (name, self.estate.site_of(node))
        left = self.book.licences.get(token, 0) - self.rest.licences.get(token, 0)
        if not name or left >= count:
            return ""
        return f"needs {count} of licence {name}: {max(0, left)} are left {licences_at(host)}"

    def rule_text(self, host: Host, node: int) -> str:
        """Which rule forbids the host."""
        for rule in self.task.request.rules:
            for group in rule.groups if any(self.demand.id in g for g in rule.groups) else ():
                for member in group:
                    at = self._node_of(member)
                    if at is not None and (text := self._against(rule, group, member, at, host, node)):
                        return text
        return ""

    def _against(self, rule: Rule, group: tuple[str, ...], member: str, at: int, host: Host, node: int) -> str:
        codes = self.estate.domains[SCOPES.get(rule.scope, Scope.SITE)]
        same = codes[at] == codes[node]
        name = self.task.names[member]
        if rule.kind is RuleKind.AFFINITY and not same:
            return f"rule {rule.id}: must share its {rule.scope} with {name}, host {host.id} does not"
        if rule.kind is RuleKind.ANTI_AFFINITY and same and self.demand.id not in group:
            return f"rule {rule.id}: {name} is on the same {rule.scope} as host {host.id}"
        return ""

    def _node_of(self, member: str) -> int | None:
        if (at := fixed(self.task, member)) is not None:
            return self.task.desk.atlas.node_of[self.task.snapshot.machine[at]]
        seat = self.rest.seats.get(self.sought.at.get(self.sought.beside.get(member, member), -1))
        return None if seat is None else seat.node

    def latency_text(self, node: int, way: Way) -> str:
        """Which bound the links would not keep from there, and what they would take."""
        dock = self.estate.dock[node]
        for limit in self.limits:
            whole = int(limit.by_dock[dock]) + limit.times * way.latency_us
            if whole > limit.most:
                us = limit.allowed_us + -(-(whole - limit.most) // HALVES)
                took = "a latency that nobody tells" if whole >= min(UNTOLD_US // 2, FAR) else f"{us} us"
                return f"{limit.text} would take {took}, {limit.allowed_us} us are allowed"
        return ""


def kernels_open(book: Book, tenant: int, shares: int) -> Bools:
    """The nodes whose kernel is open to a VNF that shares it so."""
    return book.open_to(tenant, shares, 0, len(book.estate.sectors) - 1)


def licences_at(host: Host) -> str:
    """Where the licences for a host are counted, for people."""
    return f"at site {host.site}" if host.site else f"in VIM {host.vim}"
