"""What is free now: the estate's arrays, less what was committed. The one thing here that changes.

A chain is searched for on a `Draft`, a small overlay over the book; `commit` enters it as a whole after a check,
`release` takes exactly that out again. Readers with caches follow `logs`, by sector the nodes that changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vnfm.model.problem import problem
from vnfm.placement.estate import GRAIN, Bools, Estate, Ints, Opening, Shorts, Smalls
from vnfm.placement.fabric import FAR

Amounts = tuple[int, int, int, int, int, int]  # as in estate.RESOURCES
NOTHING: Amounts = (0, 0, 0, 0, 0, 0)
NARROW = (1 << 16) - 1
LOG = 1 << 20  # changes remembered
NOBODY = -1
SEVERAL = -2


class Seat(NamedTuple):
    """One VNF on its node, with all that it takes there. `shares`: 0 no shared kernel, 1 shared, 2 only within the
    tenant."""

    node: int
    variant: int
    cell: int  # -1: floats
    amounts: Amounts
    shares: int
    licence: tuple[str, str] | None  # id and site


@dataclass(slots=True)
class Draft:
    """What a chain would take: seats by VNF (position in the chain), routes by virtual link. Copied where it forks."""

    tenant: int
    cost: int = 0
    seats: dict[int, Seat] = field(default_factory=dict)
    routes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)
    used: dict[int, Amounts] = field(default_factory=dict)
    cell_used: dict[tuple[int, int], Amounts] = field(default_factory=dict)
    link_used: dict[int, int] = field(default_factory=dict)
    shares: dict[int, int] = field(default_factory=dict)
    licences: dict[tuple[str, str], int] = field(default_factory=dict)
    opened: dict[int, Amounts] = field(default_factory=dict)  # workers, with what they take of `used` of their servers

    def fork(self) -> Draft:
        """A copy to go on with."""
        return Draft(
            self.tenant,
            self.cost,
            self.seats.copy(),
            self.routes.copy(),
            self.latency.copy() if self.latency else {},
            self.used.copy(),
            self.cell_used.copy() if self.cell_used else {},
            self.link_used.copy(),
            self.shares.copy(),
            self.licences.copy() if self.licences else {},
            self.opened.copy() if self.opened else {},
        )


class Log:
    """Nodes of one sector that changed, in order, some repeatedly; `forgotten` were dropped before those kept."""

    __slots__ = ("forgotten", "nodes", "position")

    def __init__(self) -> None:
        self.forgotten = 0
        self.nodes: list[int] = []
        self.position = 0  # the end of the log

    def add(self, node: int) -> None:
        """One more change."""
        self.nodes.append(node)
        self.position += 1

    def forget(self) -> None:
        """Drop what is kept."""
        self.forgotten = self.position
        self.nodes.clear()

    def since(self, position: int) -> list[int] | None:
        """What changed since; None where that is forgotten."""
        return self.nodes[position - self.forgotten :] if position >= self.forgotten else None


class Book:
    """What is free, by node, cell, link and licence, at `version`. One writer."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.version = 0
        self.free: Smalls = estate.free.copy()
        self.cell_free: Smalls = estate.cell_free.copy()
        self.free_narrow: Shorts = self.free.clip(0, NARROW).astype(np.uint16)  # up to what it holds; faster to compare
        self.cell_narrow: Shorts = self.cell_free.clip(0, NARROW).astype(np.uint16)
        self.left: list[list[int]] = self.free.tolist()
        self.cell_left: list[list[list[int]]] = self.cell_free.tolist()
        self.bandwidth: list[int] = list(estate.fabric.bandwidth)
        self.up_left: Ints = np.array([self.bandwidth[s.uplink] if s.uplink >= 0 else FAR for s in estate.spots])
        self.licences = {(x.id, x.site): 0 for x in estate.instance.licences}
        for x in estate.instance.licences:
            self.licences[x.id, x.site] += x.count
        self.sharer: Smalls = np.full(estate.size, NOBODY, dtype=np.int32)
        self.guarded: Bools = np.zeros(estate.size, dtype=np.bool_)
        on: Ints = estate.switch_on.copy()
        for n, opening in estate.openings.items():
            on[n] += opening.cost
        self.any_off = bool(on.any())
        self.on_left: list[int] = on.tolist()
        self.on_wide: Ints = on * GRAIN
        self._open: dict[tuple[int, int, int], tuple[int, Bools]] = {}
        self.touched: list[int] = []  # nodes that changed, lately
        self.logs = [Log() for _ in estate.sectors]
        self._doors: dict[int, list[int]] = {}  # server -> workers that may be opened on it
        for n, opening in estate.openings.items():
            self._doors.setdefault(opening.server, []).append(n)
        self.held: dict[str, Draft] = {}
        self.tenants = dict(estate.tenants)
        self._sharing: dict[int, dict[int, list[int]]] = {}  # node -> tenant -> VNFs, isolated ones among them
        self._inside: dict[int, int] = {}  # workers that may be opened -> VNFs
        self._seated: dict[int, int] = {}  # server -> VNFs

        for server in self._doors:
            self._set_doors(server)

    def seated(self, server: int) -> int:
        """VNFs on a server, its workers included."""
        return self._seated.get(server, 0)

    def inside(self, worker: int) -> int:
        """VNFs in a worker that was opened."""
        return self._inside.get(worker, 0)

    def opening(self, node: int) -> Opening | None:
        """What it takes to open a worker that is closed."""
        return None if self._inside.get(node) else self.estate.openings.get(node)

    def _set_doors(self, server: int) -> None:
        """Closed workers are as large as they would be, or nothing where their server has no room for them."""
        for n in self._doors.get(server, ()):
            if self._inside.get(n):
                continue
            fits = all(self.left[r][server] >= a for r, a in enumerate(self.estate.openings[n].amounts) if a)
            for r in range(len(self.left)):
                self._set(r, n, int(self.estate.free[r, n]) if fits else 0)
            self._touch(n)

    def _touch(self, node: int) -> None:
        self.touched.append(node)
        self.logs[self.estate.sector_of[node]].add(node)

    def _set(self, r: int, node: int, left: int) -> None:
        self.left[r][node] = left
        self.free[r, node] = left
        self.free_narrow[r, node] = min(max(left, 0), NARROW)

    def _take(self, node: int, amounts: Amounts, sign: int) -> None:
        left, free, narrow = self.left, self.free, self.free_narrow
        for r, amount in enumerate(amounts):
            if amount:
                left[r][node] = rest = left[r][node] - sign * amount
                free[r, node] = rest
                narrow[r, node] = rest if 0 <= rest <= NARROW else min(max(rest, 0), NARROW)
        self._touch(node)

    def tenant(self, name: str) -> int:
        """A tenant's code, a new one for one not met yet."""
        return self.tenants.setdefault(name, len(self.tenants))

    def may_share(self, node: int, tenant: int, shares: int) -> bool:
        """Whether the kernel of that node is open to a VNF that shares it so."""
        of = self._sharing.get(node)
        if not of or (len(of) == 1 and tenant in of):
            return True
        return shares == 1 and not self.guarded[node]

    def open_to(self, tenant: int, shares: int, first: int, last: int) -> Bools:
        """The same for all nodes of these sectors."""
        sectors = self.estate.sectors
        part = slice(sectors[first].start, sectors[last].end)
        if first != last:
            return self._opened(part, tenant, shares)
        position = self.logs[first].position
        known = self._open.get((tenant, shares, first))
        if known is None or known[0] != position:
            if shares == 1:
                opened = np.greater_equal(self.open_to(tenant, 2, first, last), self.guarded[part])
            else:
                opened = self._opened(part, tenant, shares)
            known = self._open[tenant, shares, first] = position, opened
        return known[1]

    def _opened(self, part: slice, tenant: int, shares: int) -> Bools:
        sharer = self.sharer[part]
        mine: Bools = sharer == NOBODY
        np.bitwise_or(mine, sharer == tenant, mine)
        return np.greater_equal(mine, self.guarded[part]) if shares == 1 else mine  # mine or not guarded

    def fits(self, draft: Draft) -> bool:
        """Whether all that the draft takes is still there. Looks at what it touches only."""
        left, cells = self.left, self.cell_left
        return (
            all(left[r][n] >= a for n, amounts in draft.used.items() for r, a in enumerate(amounts) if a)
            and all(
                cells[c][r][n] >= a for (n, c), amounts in draft.cell_used.items() for r, a in enumerate(amounts) if a
            )
            and all(self.bandwidth[i] >= a for i, a in draft.link_used.items())
            and all(self.licences.get(i, 0) >= a for i, a in draft.licences.items())
            and all(n in draft.opened or not self.opening(n) for n in draft.used)
            and all(self.may_share(n, draft.tenant, s) for n, s in draft.shares.items())
        )

    def commit(self, chain: str, draft: Draft, version: int | None = None) -> None:
        """Enter a draft made on `version` (checked again where that is an older one).

        Raises ProblemError `conflict` where it does not fit any more, `already-exists` where the chain is held.
        """
        if chain in self.held:
            raise problem("already-exists", f"the chain {chain} is placed already; release it first", instance=chain)
        if version is not None and version != self.version and not self.fits(draft):
            raise problem("conflict", f"what the chain {chain} was to get is gone since; place it anew", instance=chain)
        self._enter(draft, 1)
        self.held[chain] = draft

    def release(self, chain: str) -> None:
        """Give back what the chain holds. Raises ProblemError `not-found` for one that is not held."""
        draft = self.held.pop(chain, None)
        if draft is None:
            raise problem("not-found", f"no chain {chain} is placed", instance=chain)
        self._enter(draft, -1)

    def _enter(self, draft: Draft, sign: int) -> None:
        self.version += 1
        if len(self.touched) > LOG:
            self.touched.clear()
            for log in self.logs:
                log.forget()
        estate = self.estate
        used = draft.used
        if draft.opened:  # what the workers take of their servers goes with the first and last VNF in them
            used = used.copy()
            for n, amounts in draft.opened.items():
                server = estate.openings[n].server
                used[server] = less(used[server], amounts)
        for node, amounts in used.items():
            self._take(node, amounts, sign)
        for (node, cell), amounts in draft.cell_used.items():
            for r, amount in enumerate(amounts):
                if amount:
                    left = self.cell_left[cell][r][node] - sign * amount
                    self.cell_left[cell][r][node] = self.cell_free[cell, r, node] = left
                    self.cell_narrow[cell, r, node] = min(max(left, 0), NARROW)
        for link, amount in draft.link_used.items():
            self.bandwidth[link] -= sign * amount
            above = estate.server_of_uplink.get(link)
            if above is not None:
                self.up_left[above : estate.server_end[above]] = self.bandwidth[link]
        for licence, amount in draft.licences.items():
            self.licences[licence] -= sign * amount
        for seat in draft.seats.values():
            self._seat(seat, draft.tenant, sign)
        if self._doors:
            for server in {estate.root[n] for n in draft.used}:
                self._set_doors(server)

    def _enter_worker(self, node: int, sign: int) -> None:
        before = self._inside.get(node, 0)
        self._inside[node] = before + sign
        opening = self.estate.openings[node]
        if before == 0 or before + sign == 0:
            self._take(opening.server, opening.amounts, sign)
            self._set_on(node, self.on_left[opening.server])

    def _set_on(self, node: int, cost: int) -> None:
        opening = self.opening(node)
        cost += opening.cost if opening else 0
        self.on_left[node] = cost
        self.on_wide[node] = cost * GRAIN
        self._touch(node)

    def _seat(self, seat: Seat, tenant: int, sign: int) -> None:
        node = seat.node
        root = self.estate.root[node]
        before = self._seated.get(root, 0)
        self._seated[root] = before + sign
        if (before == 0 or before + sign == 0) and self.estate.switch_on[root]:
            cost = 0 if sign > 0 else int(self.estate.switch_on[root])
            for n in self.estate.on_server(root):
                self._set_on(n, cost)
        if node in self.estate.openings:
            self._enter_worker(node, sign)
        if not seat.shares:
            return
        of = self._sharing.setdefault(node, {})
        count = of.setdefault(tenant, [0, 0])
        had = count[0]
        count[0] += sign
        if seat.shares == 2:
            count[1] += sign
        if not count[0]:
            del of[tenant]
        if not had or not count[0]:
            self.sharer[node] = NOBODY if not of else SEVERAL if len(of) > 1 else next(iter(of))
        if seat.shares == 2:
            self.guarded[node] = any(c[1] for c in of.values())


def add(a: Amounts, b: Amounts) -> Amounts:
    """Both together."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5])


def less(a: Amounts, b: Amounts) -> Amounts:
    """What b leaves of a."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4], a[5] - b[5])
