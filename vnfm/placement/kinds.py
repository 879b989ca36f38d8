"""Kinds: what VNFs ask, told apart only by what matters; each with the cost of every node, kept up to date.

A kind's `score[n]` is what a VNF of it would cost on node n now (`NEVER` where it does not fit), `dock_score` its
minimum per dock. After a commit only the nodes that changed are looked at again. Scores count in `GRAIN` parts of a
cost unit: what is below one unit only breaks ties, away from hardware that is there and not asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from vnfm.placement.book import NOBODY, Amounts, Book, amounts_of
from vnfm.placement.estate import CPU, DISK, GPUS, HUGEPAGES, MEMORY, VFS, Bools, Estate, Ints
from vnfm.placement.statement import Realization, Vnf

GRAIN = 8
NEVER = 1 << 58
UNHEARD = 1 << 55  # above all costs, below NEVER and what is added to it
KEPT = 512
FEW = 8  # nodes looked at one by one rather than as arrays

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """One realization of a kind: what it takes in all, what it costs beside the node, where it is allowed."""

    variant: int
    amounts: Amounts
    cost: int
    latency_us: int
    shares: int
    allowed: Bools


def key_of(vnf: Vnf, tenant: int) -> Key:
    """What makes two VNFs of one kind."""
    return (
        tenant,
        vnf.cpu_milli,
        vnf.memory_mib,
        vnf.artefacts,
        vnf.isolation,
        vnf.hugepages_mib,
        vnf.vfs,
        vnf.gpus,
        vnf.trust,
        vnf.max_start_ms,
        vnf.sites,
        vnf.zones,
        vnf.licence,
        (vnf.numa_strict, vnf.pin, vnf.own_kernel, vnf.own_os, vnf.disk_mib, vnf.max_hop_us, tuple(vnf.arch.items())),
    )


def unmet(real: Realization, vnf: Vnf) -> str:
    """Why a realization cannot serve a VNF on whichever node; empty where it can."""
    if real.name not in vnf.artefacts:
        return "no artefact"
    if real.isolation < vnf.isolation:
        return f"isolation {real.isolation} < {vnf.isolation}"
    if vnf.own_kernel and not real.own_kernel:
        return "no kernel of its own"
    if vnf.own_os and not real.own_os:
        return "no operating system of its own"
    if vnf.vfs and not real.sriov:
        return "no SR-IOV"
    if vnf.gpus and not real.gpu:
        return "no GPU"
    if vnf.pin and not real.pin:
        return "no CPU pinning"
    if vnf.max_start_ms is not None and real.start_ms > vnf.max_start_ms:
        return f"start {real.start_ms} > {vnf.max_start_ms} ms"
    if vnf.max_hop_us is not None and real.latency_us > vnf.max_hop_us:
        return f"latency {real.latency_us} > {vnf.max_hop_us} us"
    return ""


def shares_of(real: Realization, vnf: Vnf) -> int:
    """How a VNF so realized shares the node's kernel: 0 not, 1 with anyone, 2 within its tenant."""
    return 0 if not real.shared_kernel else 2 if vnf.isolation >= 1 else 1


def may_host(estate: Estate, vnf: Vnf, tenant: int) -> Bools:
    """The nodes that a VNF may be on by trust, tenant, site and zone."""
    allowed = estate.trust >= vnf.trust
    allowed &= (estate.owner == -1) | (estate.owner == tenant)
    for names, codes, known in (
        (vnf.sites, estate.site_at, estate.sites),
        (vnf.zones, estate.zone_at, estate.zones),
    ):
        if names is not None:
            allowed &= np.isin(codes, [known[x] for x in names if x in known])
    return allowed


class Kind:
    """The nodes' costs for one kind of VNF, as of `seen` entries of the book's log."""

    __slots__ = ("_fixed", "dock_score", "least_us", "licence", "score", "seen", "strict", "tenant", "vnf", "ways")

    def __init__(self, vnf: Vnf, tenant: int, book: Book) -> None:
        estate = book.estate
        self.vnf, self.tenant = vnf, tenant
        self.strict = vnf.numa_strict
        self.licence = vnf.licence
        hosts = may_host(estate, vnf, tenant)
        self.ways = self._ways(estate, hosts)
        self.least_us = min((w.latency_us for w in self.ways), default=0)
        self._fixed = (estate.price * (vnf.cpu_milli * GRAIN)) + self._not_needed(estate)
        self.score: Ints = np.empty(estate.size, dtype=np.int64)
        self.dock_score: Ints = np.empty(len(estate.starts), dtype=np.int64)
        self.seen = -1

    def _ways(self, estate: Estate, hosts: Bools) -> tuple[Way, ...]:
        vnf, out = self.vnf, []
        for i, real in enumerate(estate.variants):
            if unmet(real, vnf):
                continue
            allowed = hosts & estate.offers[i]
            arch = vnf.arch.get(real.name)
            if arch is not None:
                allowed &= (estate.arch == -1) | (estate.arch == estate.arches.get(arch, -2))
            if allowed.any():
                amounts = amounts_of(
                    vnf.cpu_milli + real.cpu_milli,
                    vnf.memory_mib + real.memory_mib,
                    vnf.hugepages_mib,
                    vnf.vfs,
                    vnf.gpus,
                    vnf.disk_mib,
                )
                out.append(Way(i, amounts, real.cost * GRAIN, real.latency_us, shares_of(real, vnf), allowed))
        return tuple(sorted(out, key=lambda w: (w.cost, w.latency_us, w.variant)))

    def _not_needed(self, estate: Estate) -> Ints:
        away = np.zeros(estate.size, dtype=np.int64)
        for asked, resource, weight in (
            (self.vnf.gpus, GPUS, 4),
            (self.vnf.vfs, VFS, 2),
            (self.vnf.hugepages_mib, HUGEPAGES, 1),
        ):
            if not asked:
                away += (estate.free[resource] > 0) * weight
        return away

    def fixed(self, n: int) -> int:
        """What of a node's score does not depend on what is free: its price, and the hardware spared."""
        return int(self._fixed[n])

    def refresh(self, book: Book) -> None:
        """Bring the scores up to the book."""
        log, seen = book.touched, self.seen
        if seen == len(log):
            return
        self.seen = len(log)
        estate = book.estate
        fresh = len(log) - seen
        if seen < 0 or fresh > estate.size // 4:
            self.score = self._scores(book, slice(None))
            if len(estate.starts):
                np.minimum.reduceat(self.score, estate.starts, out=self.dock_score)
            return
        nodes = set(log[seen:])
        if len(nodes) <= FEW:
            score = self.score
            for n in nodes:
                score[n] = self._score(book, n)
        else:
            at = np.fromiter(nodes, dtype=np.int64, count=len(nodes))
            self.score[at] = self._scores(book, at)
        docks = {estate.dock[n] for n in nodes}
        if len(docks) > 12:
            np.minimum.reduceat(self.score, estate.starts, out=self.dock_score)
        else:
            for d in docks:
                start, end = estate.dock_slice(d)
                self.dock_score[d] = self.score[start:end].min()

    def _scores(self, book: Book, at: slice | Ints) -> Ints:
        free = book.free[:, at]
        best = np.full(free.shape[1], NEVER, dtype=np.int64)
        for way in reversed(self.ways):
            ok = way.allowed[at].copy()
            for r, amount in enumerate(way.amounts):
                if amount:
                    ok &= free[r] >= amount
            if way.shares:
                mine = book.sharer[at]
                open_to = (mine == NOBODY) | (mine == self.tenant)
                if way.shares == 1:
                    open_to |= ~book.guarded[at]
                ok &= open_to
            if self.strict:
                ok &= self._cell_fits(book, way, at)
            best[ok] = way.cost
        return best + self._fixed[at] + book.switch_on[at] * GRAIN

    def _cell_fits(self, book: Book, way: Way, at: slice | Ints) -> Bools:
        fits = None
        for cell in book.cell_free:
            ok = cell[CPU, at] >= way.amounts[CPU]
            for r in range(MEMORY, DISK):
                if way.amounts[r]:
                    ok &= cell[r, at] >= way.amounts[r]
            fits = ok if fits is None else fits | ok
        return np.zeros(0, dtype=np.bool_) if fits is None else fits

    def _score(self, book: Book, n: int) -> int:
        left = book.left
        for way in self.ways:
            if not way.allowed[n]:
                continue
            amounts = way.amounts
            if left[0][n] < amounts[0] or left[1][n] < amounts[1]:
                continue
            if any(a and left[r][n] < a for r, a in enumerate(amounts)):
                continue
            if way.shares and not book.may_share(n, self.tenant, way.shares):
                continue
            if self.strict and best_cell(book, n, amounts, {}) < 0:
                continue
            return way.cost + int(self._fixed[n]) + book.on_left[n] * GRAIN
        return NEVER


def best_cell(book: Book, n: int, amounts: Amounts, used: dict[tuple[int, int], Amounts]) -> int:
    """The cell that a strict VNF fits into most tightly, -1 for none."""
    best, tightest = -1, 1 << 60
    for c in range(book.estate.cells[n]):
        cell = book.cell_left[c]
        taken = used.get((n, c))
        room = -1
        for r in range(DISK):
            a = amounts[r]
            if a or r == CPU:
                rest = cell[r][n] - a - (taken[r] if taken else 0)
                if rest < 0:
                    break
                if r == CPU:
                    room = rest
        else:
            if room < tightest:
                best, tightest = c, room
    return best


class Kinds:
    """The kinds met, the longest unused forgotten first."""

    def __init__(self, book: Book, kept: int = KEPT) -> None:
        self.book = book
        self.kept = kept
        self._met: OrderedDict[Key, Kind] = OrderedDict()

    def of(self, vnf: Vnf, tenant: int) -> Kind:
        """The kind of a VNF, up to date."""
        key = key_of(vnf, tenant)
        kind = self._met.get(key)
        if kind is None:
            kind = self._met[key] = Kind(vnf, tenant, self.book)
            if len(self._met) > self.kept:
                self._met.popitem(last=False)
        else:
            self._met.move_to_end(key)
        kind.refresh(self.book)
        return kind
