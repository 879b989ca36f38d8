"""Kinds: what VNFs ask, told apart only by what matters; each with the cost of every node, kept up to date.

A kind's `score[n]` is what a VNF of it would cost on node n now (`NEVER` where it does not fit), `dock_score` its
minimum per dock. Scores are worked out sector by sector where they are needed; after a commit only the nodes that
changed are looked at again. They count in `GRAIN` parts of a cost unit: what is below one unit only breaks ties, away
from hardware that is there and not asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vnfm.placement.book import NARROW, Amounts, Book
from vnfm.placement.estate import CPU, DISK, GPUS, GRAIN, HUGEPAGES, MEMORY, VFS, Bools, Estate, Ints, Key
from vnfm.placement.statement import Realization, Vnf

NEVER = 1 << 58
UNHEARD = 1 << 55  # above all costs, below NEVER and what is added to it
KEPT = 1024
FEW = 6  # changed nodes up to which they are looked at one by one, beside a share of the sector's


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
    """What kinds have in common: which variants serve which needs, and where they are allowed. Computed once each, and
    kept with the estate."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        kept = estate.kept
        kept.spare()
        self._serving, self._hosts, self._allowed = kept.serving, kept.hosts, kept.allowed
        self._fixed, self._paths = kept.fixed, kept.paths
        self.least_price = int(estate.price.min()) if estate.size else 0

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

    def ways(self, vnf: Vnf, tenant: int, variants: tuple[int, ...]) -> tuple[Way, ...]:
        """The ways to realize a VNF in these variants, the cheapest first; none that is allowed nowhere."""
        key = (self.hosts(vnf, tenant)[0], variants, tuple(vnf.arch.items()) if vnf.arch else ())
        paths = self._paths.get(key)
        if paths is None:
            reals = self.estate.variants
            order = sorted(variants, key=lambda i: (reals[i].cost, reals[i].latency_us, i))
            masks = [(i, reals[i], self.allowed(vnf, tenant, i)) for i in order]
            paths = self._paths[key] = tuple([x for x in masks if x[2].any()])
        cpu, memory = vnf.cpu_milli, vnf.memory_mib
        rest = (vnf.hugepages_mib, vnf.vfs, vnf.gpus, vnf.disk_mib)
        return tuple(
            [
                Way(
                    i,
                    (cpu + real.cpu_milli, memory + real.memory_mib, *rest),
                    real.cost * GRAIN,
                    real.latency_us,
                    shares_of(real, vnf),
                    allowed,
                )
                for i, real, allowed in paths
            ]
        )

    def fixed(self, vnf: Vnf) -> Ints:
        """What of the scores does not depend on what is free: price, and sparing hardware that is not asked for."""
        key = (vnf.cpu_milli, vnf.gpus > 0, vnf.vfs > 0, vnf.hugepages_mib > 0)
        found = self._fixed.get(key)
        if found is None:
            estate = self.estate
            found = estate.price * (vnf.cpu_milli * GRAIN)
            spared = ((vnf.gpus, GPUS, 4), (vnf.vfs, VFS, 2), (vnf.hugepages_mib, HUGEPAGES, 1))
            for asked, resource, weight in spared:
                if not asked:
                    found += (estate.free[resource] > 0) * weight
            self._fixed[key] = found
        return found

    def least_fixed(self, vnf: Vnf) -> int:
        """No node's is less."""
        return self.least_price * vnf.cpu_milli * GRAIN


class Kind:
    """The nodes' costs for one kind of VNF. `score` and `dock_score` hold for the sectors that were looked at.

    `seen`: how far each sector's log was followed, -1 before the first look. No node costs less than `floor`.
    """

    __slots__ = ("_fixed", "dock_score", "floor", "least_us", "never", "score", "seen", "strict", "tenant", "ways")

    def __init__(self, vnf: Vnf, tenant: int, variants: tuple[int, ...], book: Book, ground: Ground) -> None:
        self.tenant = tenant
        self.strict = vnf.numa_strict
        self.ways = ground.ways(vnf, tenant, variants)
        self.least_us = min([w.latency_us for w in self.ways]) if self.ways else 0
        self._fixed = ground.fixed(vnf)
        self.never = NEVER
        self.score: Ints = np.empty(book.estate.size, dtype=np.int64)
        self.dock_score: Ints = np.empty(len(book.estate.starts), dtype=np.int64)
        self.floor = self.ways[0].cost + ground.least_fixed(vnf) if self.ways else NEVER
        self.seen: int | list[int] = [-1] * len(book.logs)

    def fixed(self, n: int) -> int:
        """What of a node's score does not depend on what is free."""
        return int(self._fixed[n])

    def cost(self, n: int) -> int:
        """A node's score, NEVER where it does not fit."""
        score = int(self.score[n])
        return score if score < self.never else NEVER

    def prepare(self, book: Book) -> list[int]:
        """Make room for scores where there is none yet; `seen` by sector."""
        seen = self.seen
        if isinstance(seen, int):
            seen = self.seen = [-1] * len(book.logs)
            self.score = np.empty(len(self._fixed), dtype=np.int64)
            self.floor = self.ways[0].cost + int(self._fixed.min()) if self.ways and len(self._fixed) else NEVER
        return seen

    def refresh(self, book: Book, among: Iterable[int] | None = None) -> None:
        """Bring the scores of these sectors, by default of all, up to the book."""
        seen = self.prepare(book)
        at = range(len(book.logs)) if among is None else among
        stale = [sector for sector in at if not self._kept_up(book, sector, seen)]
        while stale:
            run = 1
            while run < len(stale) and stale[run] == stale[0] + run:
                run += 1
            self._look_whole(book, stale[0], stale[run - 1])
            del stale[:run]

    def _kept_up(self, book: Book, sector: int, seen: list[int]) -> bool:
        """Bring a sector up node by node; False where that is no quicker than looking at all of it."""
        log = book.logs[sector]
        position = log.position
        if position == seen[sector]:
            return True
        changed = log.since(seen[sector])
        seen[sector] = position
        if changed is None:
            return False
        at = book.estate.sectors[sector]
        nodes = set(changed)
        if len(nodes) > FEW + (at.end - at.start) // 128:
            return False
        score, dock = self.score, book.estate.dock
        for n in nodes:
            score[n] = self._score(book, n)
        for d in {dock[n] for n in nodes}:
            start, end = book.estate.dock_slice(d)
            self.dock_score[d] = np.minimum.reduce(score[start:end])
        return True

    def _look_whole(self, book: Book, first: int, last: int) -> None:
        """Look at these sectors, each node's cheapest way that fits: from the dearest down, each sets its cost."""
        sectors, starts = book.estate.sectors, book.estate.starts
        start, end = sectors[first].start, sectors[last].end
        docks = slice(sectors[first].first_dock, sectors[last].end_dock)
        best = self.score[start:end]
        best.fill(NEVER)
        for way in reversed(self.ways):
            opened = book.open_to(self.tenant, way.shares, first, last) if way.shares else None
            np.putmask(best, self._fitting(book, way, start, end, opened), way.cost)  # twice as fast as np.copyto
        best += self._fixed[start:end]
        if book.any_off:
            best += book.on_wide[start:end]
        within = sectors[first].starts if first == last else starts[docks] - start
        np.minimum.reduceat(best, within, out=self.dock_score[docks])

    def _fitting(self, book: Book, way: Way, start: int, end: int, opened: Bools | None) -> Bools:
        """Where among these nodes a way fits. `opened`: where its kernel is open to it."""
        ok: Bools = way.allowed[start:end].copy()
        if opened is not None:
            ok &= opened
        for r, amount in enumerate(way.amounts):
            if amount:
                free = book.free_narrow if amount < NARROW else book.free
                ok &= free[r, start:end] >= amount
        if self.strict:
            ok &= self._cell_fits(book, way, slice(start, end))
        return ok

    def _cell_fits(self, book: Book, way: Way, at: slice) -> Bools:
        fits = book.cell_free[:, CPU, at] >= way.amounts[CPU]
        for r in range(MEMORY, DISK):
            if way.amounts[r]:
                fits &= book.cell_free[:, r, at] >= way.amounts[r]
        some: Bools = np.logical_or.reduce(fits, axis=0)
        return some

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
        """The kind of a VNF; its scores are worked out where they are needed.

        Two VNFs are of one kind where all that the scores rest on is equal.
        """
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
            self.ground.estate.kept.spare()
            kind = self._met[key] = Kind(vnf, tenant, variants, self.book, self.ground)
            if len(self._met) > self.kept:
                self._met.popitem(last=False)
        else:
            self._met.move_to_end(key)
        return kind
