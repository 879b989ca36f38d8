"""Kinds: what VNFs ask, told apart only by what matters; each with the cost of every node, kept up to date.

A kind's `score[n]` is what a VNF of it would cost on node n now (`NEVER` where it does not fit), `dock_score` its
minimum per dock. After a commit only the nodes that changed are looked at again. Scores count in `GRAIN` parts of a
cost unit: what is below one unit only breaks ties, away from hardware that is there and not asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vnfm.placement.book import NARROW, Amounts, Book
from vnfm.placement.estate import CPU, DISK, GPUS, GRAIN, HUGEPAGES, MEMORY, VFS, Bools, Estate, Ints
from vnfm.placement.statement import Realization, Vnf

NEVER = 1 << 58
NEVER_NARROW = 1 << 30
UNHEARD = 1 << 55  # above all costs, below NEVER and what is added to it
KEPT = 2048
FEW = 8  # nodes looked at one by one rather than as arrays
MANY = 64  # changes that make looking at all nodes cheaper, beside a share of their number

Key = tuple[object, ...]
Scores = npt.NDArray[np.int32] | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Way:
    """One realization of a kind: what it takes in all, what it costs beside the node, where it is allowed."""

    variant: int
    amounts: Amounts
    cost: int
    latency_us: int
    shares: int
    allowed: Bools


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


class Ground:
    """What kinds have in common: which variants serve which needs, and where they are allowed. Computed once each."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self._serving: dict[Key, tuple[int, ...]] = {}
        self._hosts: dict[Key, Bools] = {}
        self._allowed: dict[Key, Bools] = {}
        self._fixed: dict[Key, Scores] = {}
        self.highest = GRAIN * (
            max((v.cost for v in estate.variants), default=0) + int(estate.switch_on.max(initial=0)) + 1
        )
        self.highest_price = GRAIN * int(estate.price.max(initial=0))

    def serving(self, vnf: Vnf) -> tuple[int, ...]:
        """The variants that serve a VNF on some node."""
        needs = (vnf.isolation, vnf.own_kernel, vnf.own_os, vnf.vfs > 0, vnf.gpus > 0, vnf.pin)
        key = (vnf.artefacts, vnf.max_start_ms, vnf.max_hop_us, needs)
        found = self._serving.get(key)
        if found is None:
            reals = self.estate.variants
            found = self._serving[key] = tuple(i for i, real in enumerate(reals) if not unmet(real, vnf))
        return found

    def hosts(self, vnf: Vnf, tenant: int) -> tuple[Key, Bools]:
        """The nodes that a VNF may be on by trust, tenant, site and zone."""
        estate = self.estate
        key = (vnf.trust, tenant if tenant < len(estate.tenants) else -2, vnf.sites, vnf.zones)
        found = self._hosts.get(key)
        if found is None:
            found = estate.trust >= vnf.trust
            found &= (estate.owner == -1) | (estate.owner == tenant)
            for names, codes, known in (
                (vnf.sites, estate.site_at, estate.sites),
                (vnf.zones, estate.zone_at, estate.zones),
            ):
                if names is not None:
                    found &= np.isin(codes, [known[x] for x in names if x in known])
            self._hosts[key] = found
        return key, found

    def allowed(self, vnf: Vnf, tenant: int, variant: int) -> Bools:
        """The nodes that a VNF may be on in that variant."""
        estate = self.estate
        where, hosts = self.hosts(vnf, tenant)
        arch = vnf.arch.get(estate.variants[variant].name)
        key = (where, variant, arch)
        found = self._allowed.get(key)
        if found is None:
            found = hosts & estate.offers[variant]
            if arch is not None:
                found &= (estate.arch == -1) | (estate.arch == estate.arches.get(arch, -2))
            self._allowed[key] = found
        return found

    def fixed(self, vnf: Vnf) -> Scores:
        """What of the scores does not depend on what is free: price, and sparing hardware that is not asked for."""
        key = (vnf.cpu_milli, vnf.gpus > 0, vnf.vfs > 0, vnf.hugepages_mib > 0)
        found = self._fixed.get(key)
        if found is None:
            estate = self.estate
            fixed = estate.price * (vnf.cpu_milli * GRAIN)
            spared = ((vnf.gpus, GPUS, 4), (vnf.vfs, VFS, 2), (vnf.hugepages_mib, HUGEPAGES, 1))
            for asked, resource, weight in spared:
                if not asked:
                    fixed += (estate.free[resource] > 0) * weight
            found = fixed.astype(np.int32) if self.narrow(vnf) else fixed
            self._fixed[key] = found
        return found

    def narrow(self, vnf: Vnf) -> bool:
        """Whether all scores fit into 32 bit, which are twice as fast."""
        return self.highest + self.highest_price * vnf.cpu_milli < NEVER_NARROW // 4


class Kind:
    """The nodes' costs for one kind of VNF, as of `seen` entries of the book's log."""

    __slots__ = ("_fixed", "dock_score", "least_us", "never", "score", "seen", "strict", "tenant", "ways")

    def __init__(self, vnf: Vnf, tenant: int, variants: tuple[int, ...], book: Book, ground: Ground) -> None:
        estate = book.estate
        self.tenant = tenant
        self.strict = vnf.numa_strict
        self.ways = tuple(self._ways(vnf, variants, ground))
        self.least_us = min((w.latency_us for w in self.ways), default=0)
        self._fixed = ground.fixed(vnf)
        self.never = NEVER_NARROW if self._fixed.dtype == np.int32 else NEVER
        self.score: Scores = self._fixed
        self.dock_score: Ints = np.empty(len(estate.starts), dtype=np.int64)
        self.seen = -1

    def _ways(self, vnf: Vnf, variants: tuple[int, ...], ground: Ground) -> Iterator[Way]:
        reals = ground.estate.variants
        for i in sorted(variants, key=lambda i: (reals[i].cost, reals[i].latency_us, i)):
            allowed = ground.allowed(vnf, self.tenant, i)
            if allowed.any():
                real = reals[i]
                amounts = (
                    vnf.cpu_milli + real.cpu_milli,
                    vnf.memory_mib + real.memory_mib,
                    vnf.hugepages_mib,
                    vnf.vfs,
                    vnf.gpus,
                    vnf.disk_mib,
                )
                yield Way(i, amounts, real.cost * GRAIN, real.latency_us, shares_of(real, vnf), allowed)

    def fixed(self, n: int) -> int:
        """What of a node's score does not depend on what is free."""
        return int(self._fixed[n])

    def cost(self, n: int) -> int:
        """A node's score, NEVER where it does not fit."""
        score = int(self.score[n])
        return score if score < self.never else NEVER

    def refresh(self, book: Book) -> None:
        """Bring the scores up to the book."""
        position, estate = book.position, book.estate
        if position == self.seen:
            return
        changed = book.touched_since(self.seen)
        self.seen = position
        if changed is None or len(changed) > MANY + estate.size // 64:
            self.score = self._scores(book, slice(None))
            self._all_docks(estate)
            return
        nodes = set(changed)
        if len(nodes) <= FEW:
            score = self.score
            for n in nodes:
                score[n] = self._score(book, n)
        else:
            at = np.fromiter(nodes, dtype=np.int64, count=len(nodes))
            self.score[at] = self._scores(book, at)
            if len(nodes) > 4 * FEW:
                self._all_docks(estate)
                return
        docks = {estate.dock[n] for n in nodes}
        for d in docks:
            start, end = estate.dock_slice(d)
            least = int(self.score[start:end].min())
            self.dock_score[d] = least if least < self.never else NEVER

    def _all_docks(self, estate: Estate) -> None:
        if len(estate.starts):
            least = np.minimum.reduceat(self.score, estate.starts)
            self.dock_score[:] = least
            self.dock_score[least >= self.never] = NEVER

    def _scores(self, book: Book, at: slice | Ints) -> Scores:
        """Of the cheapest way that fits: from the dearest down, each that fits takes its advantage off."""
        whole = isinstance(at, slice)
        fixed = self._fixed if whole else self._fixed[at]
        best: Scores = fixed + fixed.dtype.type(self.never)
        above = self.never
        masks = self._fitting(book, at)
        for way, ok in zip(reversed(self.ways), reversed(masks), strict=True):
            best -= np.multiply(ok, fixed.dtype.type(above - way.cost), dtype=fixed.dtype)
            above = way.cost
        if book.any_off:
            on = book.on_narrow if self.never == NEVER_NARROW else book.on_wide
            best += on if whole else on[at]
        return best

    def _fitting(self, book: Book, at: slice | Ints) -> list[Bools]:
        """By way: where it or a cheaper one fits."""
        whole = isinstance(at, slice)
        masks: list[Bools] = []
        for way in self.ways:
            ok: Bools | None = None
            for r, amount in enumerate(way.amounts):
                if amount:
                    free = book.free_narrow[r] if amount < NARROW else book.free[r]
                    fits = (free if whole else free[at]) >= amount
                    ok = fits if ok is None else np.logical_and(ok, fits, out=ok)
            allowed = way.allowed if whole else way.allowed[at]
            ok = allowed.copy() if ok is None else np.logical_and(ok, allowed, out=ok)
            if way.shares:
                ok &= book.open_to(self.tenant, way.shares, at)
            if self.strict:
                ok &= self._cell_fits(book, way, at)
            if masks:
                ok |= masks[-1]
            masks.append(ok)
        return masks

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
        return self.never


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
        self.ground = Ground(book.estate)
        self._met: OrderedDict[Key, Kind] = OrderedDict()

    def of(self, vnf: Vnf, tenant: int) -> Kind:
        """The kind of a VNF, up to date. Two VNFs are of one kind where all that the scores rest on is equal."""
        variants = self.ground.serving(vnf)
        key = (
            tenant,
            vnf.cpu_milli,
            vnf.memory_mib,
            variants,
            vnf.isolation >= 1,
            vnf.trust,
            vnf.sites,
            vnf.zones,
            vnf.vfs,
            vnf.gpus,
            vnf.hugepages_mib,
            vnf.numa_strict,
            vnf.disk_mib,
            tuple(vnf.arch.items()) if vnf.arch else (),
        )
        kind = self._met.get(key)
        if kind is None:
            kind = self._met[key] = Kind(vnf, tenant, variants, self.book, self.ground)
            if len(self._met) > self.kept:
                self._met.popitem(last=False)
        else:
            self._met.move_to_end(key)
        kind.refresh(self.book)
        return kind
