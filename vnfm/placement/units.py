"""Units: the VNFs that have to share a server, scored as one; mostly a unit is one VNF and its kind's scores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vnfm.placement.book import Book
from vnfm.placement.estate import Estate, Ints
from vnfm.placement.kinds import Kind
from vnfm.placement.statement import Chain, RuleKind, Scope
from vnfm.placement.ways import NEVER, NEVER_MASKED

KEPT = 128
MANY = 16  # changed servers from which on all of a sector are looked at


class Unit(NamedTuple):
    """Members are positions of VNFs. `score` is by node (only servers where there are several members).

    Both scores hold for the sectors that `source` was asked to look at. No node costs less than `floor`.
    """

    members: tuple[int, ...]
    score: Ints
    dock_score: Ints
    never: int  # what the score is where the unit does not fit, or more
    floor: int
    source: Kind | Joint


class Joint:
    """The scores of several kinds on one server together. Necessary, not sufficient: the search tests each server."""

    __slots__ = ("dock_score", "floor", "kinds", "least", "score", "seen")

    def __init__(self, kinds: tuple[Kind, ...], estate: Estate) -> None:
        self.kinds = kinds
        self.least = [sum(min((w.amounts[r] for w in k.ways), default=0) for k in kinds) for r in range(6)]
        self.score: Ints = np.empty(estate.size, dtype=np.int64)
        self.dock_score: Ints = np.empty(len(estate.starts), dtype=np.int64)
        self.floor = sum(k.floor for k in kinds)
        self.seen = [-1] * len(estate.sectors)

    def refresh(self, book: Book, among: Iterable[int] | None = None) -> None:
        """Bring the scores of these sectors, by default of all, up to the book."""
        stale = [
            s for s in (range(len(self.seen)) if among is None else among) if self.seen[s] != book.logs[s].position
        ]
        if stale:
            for kind in self.kinds:
                kind.refresh(book, stale)
        stale = [s for s in stale if not self._kept_up(book, s)]
        while stale:
            run = 1
            while run < len(stale) and stale[run] == stale[0] + run:
                run += 1
            self._look_whole(book, stale[0], stale[run - 1])
            del stale[:run]

    def _kept_up(self, book: Book, sector: int) -> bool:
        """Bring a sector up server by server; False where that is no quicker than looking at all of it."""
        log, estate = book.logs[sector], book.estate
        changed = log.since(self.seen[sector])
        self.seen[sector] = log.position
        servers = None if changed is None else sorted({estate.root[n] for n in changed})
        if servers is None or len(servers) > MANY:
            return False
        if servers:
            on_each = [estate.on_server(s) for s in servers]
            starts = np.cumsum([0, *(len(x) for x in on_each[:-1])])
            at = np.array([n for x in on_each for n in x], dtype=np.int64)
            self.score[servers] = self._at_servers(book, at, starts)
        for d in {estate.dock[n] for n in servers}:
            start, end = estate.dock_slice(d)
            self.dock_score[d] = self.score[start:end].min()
        return True

    def _look_whole(self, book: Book, first: int, last: int) -> None:
        estate = book.estate
        start, end = estate.sectors[first].start, estate.sectors[last].end
        roots = np.concatenate([x.roots for x in estate.sectors[first : last + 1]])
        if estate.has_workers:
            self.score[start:end] = NEVER
        self.score[roots] = self._at_servers(book, slice(start, end), roots - start)
        docks = slice(estate.sectors[first].first_dock, estate.sectors[last].end_dock)
        np.minimum.reduceat(self.score[start:end], estate.starts[docks] - start, out=self.dock_score[docks])

    def _at_servers(self, book: Book, at: slice | Ints, starts: Ints) -> Ints:
        """By server, whose nodes begin at `starts`: each member where it is cheapest, on the server or in a worker."""
        layered = book.estate.has_workers
        total = np.zeros(len(starts), dtype=np.int64)
        for kind in self.kinds:
            score = kind.score[at]
            least = np.minimum.reduceat(score, starts) if layered else score
            np.add(total, least, total)
            np.minimum(total, NEVER_MASKED, out=total)
        for r, amount in enumerate(self.least):
            if amount:
                free = book.free[r, at]
                short = (np.add.reduceat(free, starts, dtype=np.int64) if layered else free) < amount
                np.putmask(total, short, NEVER_MASKED)
        return total


class Units:
    """Joint scores by the kinds they join."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._met: OrderedDict[tuple[int, ...], Joint] = OrderedDict()

    def of(self, members: tuple[int, ...], kinds: tuple[Kind, ...]) -> Unit:
        """The unit of these VNFs."""
        if len(members) == 1:
            kind = kinds[members[0]]
            if isinstance(kind.seen, int):
                kind.prepare(self.book)
            return Unit(members, kind.score, kind.dock_score, kind.never, kind.floor, kind)
        its = tuple(sorted((kinds[m] for m in members), key=id))
        key = tuple(id(k) for k in its)
        for kind in its:
            kind.prepare(self.book)
        joint = self._met.get(key)
        if joint is None:
            joint = self._met[key] = Joint(its, self.book.estate)
            if len(self._met) > KEPT:
                self._met.popitem(last=False)
        else:
            self._met.move_to_end(key)
        return Unit(members, joint.score, joint.dock_score, NEVER, joint.floor, joint)


def groups_of(chain: Chain, points: dict[str, int]) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """The VNFs in groups that have to share a server, and each VNF's group."""
    lead = list(range(len(chain.vnfs)))
    if not any(r.kind is RuleKind.AFFINITY and r.scope is Scope.SERVER for r in chain.rules):
        return [(v,) for v in lead], tuple(lead)

    def top(v: int) -> int:
        while lead[v] != v:
            v = lead[v]
        return v

    for rule in chain.rules:
        if rule.kind is RuleKind.AFFINITY and rule.scope is Scope.SERVER and rule.vnfs:
            first = top(points[rule.vnfs[0]])
            for name in rule.vnfs[1:]:
                lead[top(points[name])] = first
    groups: dict[int, list[int]] = {}
    for v in range(len(lead)):
        groups.setdefault(top(v), []).append(v)
    group_of = [0] * len(lead)
    for i, members in enumerate(groups.values()):
        for v in members:
            group_of[v] = i
    return [tuple(m) for m in groups.values()], tuple(group_of)
