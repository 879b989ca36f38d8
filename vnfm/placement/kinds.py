"""Kinds: what VNFs ask, told apart only by what matters; each with the cost of every node, kept up to date.

A kind's `score[n]` is what a VNF of it would cost on node n now (`NEVER` where it does not fit), `dock_score` its
minimum per dock. Scores are worked out sector by sector where they are needed, for all kinds of a chain at once; after
a commit only the nodes that changed are looked at again. They count in `GRAIN` parts of a cost unit: what is below one
unit only breaks ties, away from hardware that is there and not asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from vnfm.placement.book import NARROW, Amounts, Book
from vnfm.placement.estate import CPU, DISK, GRAIN, MEMORY, Bools, Ints, Key, Shorts, Smalls
from vnfm.placement.statement import Vnf
from vnfm.placement.ways import NEVER, Ground, Stance, Way

KEPT = 256  # more are hardly met again before so much has changed that they are looked at anew
KEPT_LEAST, KEPT_BYTES = 32, 5 << 19  # fewer of many nodes, so that their scores stay in the processor's caches
FEW = 6  # changed nodes up to which they are looked at one by one, beside a share of the sector's
TOGETHER = 64  # ways that are looked at at once, or one kind's
_SMALL = 254


class Kind:
    """The nodes' costs for one kind of VNF. `score` and `dock_score` hold for the sectors that were looked at.

    `seen`: how far each sector's log was followed, -1 before the first look. No node costs less than `floor`.
    `costs`: NEVER and the ways', the dearest first. `fixed_costs`: what of the nodes' scores does not depend on what is
    free.
    """

    __slots__ = (
        "costs",
        "dock_score",
        "fixed_costs",
        "floor",
        "least_us",
        "never",
        "score",
        "seen",
        "stance",
        "strict",
        "tenant",
        "ways",
    )

    def __init__(self, vnf: Vnf, stance: Stance, book: Book, ground: Ground) -> None:
        self.stance = stance  # as long as the kind is kept, so that it stays the one that the kind is known by
        self.tenant = stance.tenant
        self.strict = vnf.numa_strict
        cpu, memory = vnf.cpu_milli, vnf.memory_mib
        huge, vfs, gpus, disk = vnf.hugepages_mib, vnf.vfs, vnf.gpus, vnf.disk_mib
        self.ways = tuple(
            [
                tuple.__new__(  # as Way(...) in half the time
                    Way,
                    (variant, (cpu + own_cpu, memory + own_memory, huge, vfs, gpus, disk), cost, us, shares, allowed),
                )
                for variant, own_cpu, own_memory, cost, us, shares, allowed in stance.paths
            ]
        )
        self.costs = stance.costs
        self.least_us = stance.least_us
        self.fixed_costs = ground.fixed(vnf)
        self.never = NEVER
        self.score: Ints = np.empty(book.estate.size, dtype=np.int64)
        self.dock_score: Ints = np.empty(len(book.estate.starts), dtype=np.int64)
        self.floor = self.ways[0].cost + ground.least_fixed(vnf) if self.ways else NEVER
        self.seen: int | list[int] = [-1] * len(book.logs)

    def fixed(self, n: int) -> int:
        """What of a node's score does not depend on what is free."""
        return self.fixed_costs.item(n)

    def cost(self, n: int) -> int:
        """A node's score, NEVER where it does not fit."""
        score = int(self.score[n])
        return score if score < self.never else NEVER

    def prepare(self, book: Book) -> list[int]:
        """Make room for scores where there is none yet; `seen` by sector."""
        seen = self.seen
        if isinstance(seen, int):
            seen = self.seen = [-1] * len(book.logs)
            self.score = np.empty(len(self.fixed_costs), dtype=np.int64)
            self.floor = (
                self.ways[0].cost + int(self.fixed_costs.min()) if self.ways and len(self.fixed_costs) else NEVER
            )
        return seen

    def refresh(self, book: Book, among: Iterable[int] | None = None) -> None:
        """Bring the scores of these sectors, by default of all, up to the book."""
        refresh((self,), book, range(len(book.logs)) if among is None else among)

    def kept_up(self, book: Book, sector: int, seen: list[int]) -> bool:
        """Bring a sector up node by node; False where that is no quicker than looking at all of it."""
        log = book.logs[sector]
        changed = log.since(seen[sector])
        seen[sector] = log.position
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
            return way.cost + int(self.fixed_costs[n]) + book.on_left[n] * GRAIN
        return self.never


def refresh(kinds: Iterable[Kind], book: Book, among: Iterable[int]) -> None:
    """Bring the scores of these kinds in these sectors up to the book; those to be looked at as a whole at once."""
    stale: dict[tuple[int, int], list[Kind]] = {}
    now = [(sector, book.logs[sector].position) for sector in among]
    for kind in kinds:
        runs: list[tuple[int, int]] = []
        seen = kind.prepare(book)
        for sector, position in now:
            at = seen[sector]
            if at < 0:
                seen[sector] = position
            elif at == position or kind.kept_up(book, sector, seen):
                continue
            if runs and runs[-1][1] == sector - 1:
                runs[-1] = runs[-1][0], sector
            else:
                runs.append((sector, sector))
        for run in runs:
            stale.setdefault(run, []).append(kind)
    for (first, last), of in stale.items():
        several: list[Kind] = []
        count = 0
        for kind in of:
            if count and count + len(kind.ways) > TOGETHER:
                _look(several, book, first, last)
                several, count = [], 0
            several.append(kind)
            count += len(kind.ways)
        _look(several, book, first, last)


def _look(kinds: Sequence[Kind], book: Book, first: int, last: int) -> None:
    """Look at all nodes of these sectors, for all ways of these kinds together."""
    sectors = book.estate.sectors
    counts = [len(kind.ways) for kind in kinds]
    fits = _fits([(kind, way) for kind in kinds for way in kind.ways], book, first, last)
    # By way and node: 0 where it does not fit, else the higher the cheaper among its kind's; so `costs` are told.
    rank = fits.view(np.uint8) if max(counts) <= _SMALL else fits.astype(np.uint16)
    ranks = [i for count in counts for i in range(count, 0, -1)]
    np.multiply(rank, np.array(ranks, rank.dtype).reshape(-1, 1), rank)
    part = slice(sectors[first].start, sectors[last].end)
    docks = slice(sectors[first].first_dock, sectors[last].end_dock)
    within = sectors[first].starts if first == last else book.estate.starts[docks] - part.start
    on = book.on_wide[part] if book.any_off else None
    row = 0
    for kind, count in zip(kinds, counts, strict=True):
        score = kind.score[part]
        if not count:
            score.fill(NEVER)
        else:
            cheapest = rank[row]
            for other in range(row + 1, row + count):
                cheapest = np.maximum(cheapest, rank[other])
            kind.costs.take(cheapest, None, score, "wrap")  # all are within; the quickest mode
            np.add(score, kind.fixed_costs[part], score)
            if on is not None:
                np.add(score, on, score)
            row += count
        np.minimum.reduceat(score, within, 0, None, kind.dock_score[docks])


def _fits(ways: Sequence[tuple[Kind, Way]], book: Book, first: int, last: int) -> Bools:
    """By way and node."""
    sectors = book.estate.sectors
    start, end = sectors[first].start, sectors[last].end
    fits: Bools = np.empty((len(ways), end - start), dtype=np.bool_)
    opened: dict[tuple[int, int], Bools] = {}
    strict: list[int] = []
    for i, (kind, way) in enumerate(ways):
        if way.shares:
            of = kind.tenant, way.shares
            mask = opened.get(of)
            if mask is None:
                mask = opened[of] = book.open_to(*of, first, last)
            np.bitwise_and(way.allowed[start:end], mask, fits[i])
        else:
            fits[i] = way.allowed[start:end]
        if kind.strict:
            strict.append(i)
    for r, asked in enumerate(zip(*[way.amounts for _, way in ways], strict=True)):
        if any(asked):
            np.bitwise_and(fits, _enough(asked, book.free_narrow[r, start:end], book.free[r, start:end]), fits)
    if strict:
        rows = slice(strict[0], strict[-1] + 1) if strict[-1] - strict[0] < len(strict) else strict
        fits[rows] &= _cell_fits(book, [ways[i][1].amounts for i in strict], start, end)
    return fits


def _cell_fits(book: Book, amounts: list[Amounts], start: int, end: int) -> Bools:
    """By amounts and node: whether some cell holds them."""
    narrow, wide = book.cell_narrow[:, :, start:end], book.cell_free[:, :, start:end]
    columns = list(zip(*amounts, strict=True))
    fits = _enough(columns[CPU], narrow[:, CPU], wide[:, CPU])
    for r in range(MEMORY, DISK):
        asked = columns[r]
        if any(asked):
            same = asked[:1] if asked.count(asked[0]) == len(asked) else asked
            np.bitwise_and(fits, _enough(same, narrow[:, r], wide[:, r]), fits)
    some: Bools = np.logical_or.reduce(fits, axis=1)
    return some


def _enough(asked: Sequence[int], narrow: Shorts, wide: Smalls) -> Bools:
    """By amount asked and node (or cell and node): whether so much is left."""
    shape = (-1, 1) if narrow.ndim == 1 else (-1, 1, 1)
    if max(asked) < NARROW:
        small: Bools = narrow >= np.array(asked, np.uint16).reshape(shape)
        return small
    large: Bools = wide >= np.array(asked, np.int64).reshape(shape)
    return large


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

    def __init__(self, book: Book) -> None:
        self.book = book
        self.kept = min(KEPT, max(KEPT_LEAST, KEPT_BYTES // (8 * max(1, book.estate.size))))
        self.ground = Ground(book.estate)
        self._met: OrderedDict[Key, Kind] = OrderedDict()

    def of(self, vnf: Vnf, tenant: int) -> Kind:
        """The kind of a VNF; its scores are worked out where they are needed.

        Two VNFs are of one kind where all that the scores rest on is equal.
        """
        stance = self.ground.stance(vnf, tenant)
        sizes = (vnf.cpu_milli, vnf.memory_mib, vnf.hugepages_mib, vnf.vfs, vnf.gpus, vnf.disk_mib, vnf.numa_strict)
        key = (stance, sizes)
        kind = self._met.get(key)
        if kind is None:
            kind = self._met[key] = Kind(vnf, stance, self.book, self.ground)
            if len(self._met) > self.kept:
                self._met.popitem(last=False)
        else:
            self._met.move_to_end(key)
        return kind
