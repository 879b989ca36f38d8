"""Units: the VNFs that have to share a server, scored as one; mostly a unit is one VNF and its kind's scores."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from vnfm.placement.book import Book
from vnfm.placement.estate import Estate, Ints
from vnfm.placement.kinds import NEVER, Kind, Scores
from vnfm.placement.statement import Chain, RuleKind, Scope

KEPT = 128


@dataclass(frozen=True, slots=True)
class Unit:
    """Members are positions of VNFs. `score` is by node (only servers where there are several members)."""

    members: tuple[int, ...]
    score: Scores
    dock_score: Ints
    never: int  # what the score is where the unit does not fit, or more


class Joint:
    """The scores of several kinds on one server together. Necessary, not sufficient: the search tests each server."""

    __slots__ = ("dock_score", "kinds", "least", "score", "seen")

    def __init__(self, kinds: tuple[Kind, ...], estate: Estate) -> None:
        self.kinds = kinds
        self.least = [sum(min((w.amounts[r] for w in k.ways), default=0) for k in kinds) for r in range(6)]
        self.score: Ints = np.empty(estate.size, dtype=np.int64)
        self.dock_score: Ints = np.empty(len(estate.starts), dtype=np.int64)
        self.seen = -1

    def refresh(self, book: Book) -> None:
        """Bring the scores up to the book; the kinds are up to date already."""
        position, estate = book.position, book.estate
        if position == self.seen:
            return
        changed = book.touched_since(self.seen)
        self.seen = position
        if changed is None or len(changed) > estate.size // 8:
            self.score = self._with_workers(book) if estate.has_workers else self._scores(book, slice(None))
            if len(estate.starts):
                np.minimum.reduceat(self.score, estate.starts, out=self.dock_score)
        else:
            nodes = {estate.root[n] for n in changed}
            at = np.array(sorted(nodes), dtype=np.int64)
            self.score[at] = self._at_servers(book, at) if estate.has_workers else self._scores(book, at)
            for d in {estate.dock[n] for n in nodes}:
                start, end = estate.dock_slice(d)
                self.dock_score[d] = self.score[start:end].min()

    def _scores(self, book: Book, at: slice | Ints) -> Ints:
        total = np.zeros(book.free[0, at].shape, dtype=np.int64)
        for kind in self.kinds:
            score = kind.score[at]
            total += score
            if kind.never != NEVER:
                total[score >= kind.never] = NEVER
        for r, amount in enumerate(self.least):
            if amount:
                total[book.free[r, at] < amount] = NEVER
        np.minimum(total, NEVER, out=total)
        return total

    def _with_workers(self, book: Book) -> Ints:
        score = np.full(book.estate.size, NEVER, dtype=np.int64)
        score[book.estate.roots] = self._at_servers(book, None)
        return score

    def _at_servers(self, book: Book, servers: Ints | None) -> Ints:
        """By server: each member where it is cheapest on it, on the server itself or in one of its workers."""
        estate = book.estate
        if servers is None:
            at, starts = slice(None), estate.roots
        else:
            parts = [np.arange(s, estate.server_end[s]) for s in servers.tolist()]
            at = np.concatenate(parts)  # type: ignore[assignment]
            starts = np.cumsum([0] + [len(p) for p in parts[:-1]])
        total = np.zeros(len(starts), dtype=np.int64)
        for kind in self.kinds:
            least = np.minimum.reduceat(kind.score[at], starts)
            total += least
            total[least >= kind.never] = NEVER
        for r, amount in enumerate(self.least):
            if amount:
                total[np.add.reduceat(book.free[r, at].astype(np.int64), starts) < amount] = NEVER
        return np.minimum(total, NEVER)


class Units:
    """Joint scores by the kinds they join."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._met: OrderedDict[tuple[int, ...], Joint] = OrderedDict()

    def of(self, members: tuple[int, ...], kinds: tuple[Kind, ...]) -> Unit:
        """The unit of these VNFs, up to date."""
        if len(members) == 1:
            kind = kinds[members[0]]
            return Unit(members, kind.score, kind.dock_score, kind.never)
        its = tuple(sorted((kinds[m] for m in members), key=id))
        key = tuple(id(k) for k in its)
        joint = self._met.get(key)
        if joint is None:
            joint = self._met[key] = Joint(its, self.book.estate)
            if len(self._met) > KEPT:
                self._met.popitem(last=False)
        else:
            self._met.move_to_end(key)
        joint.refresh(self.book)
        return Unit(members, joint.score, joint.dock_score, NEVER)


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
