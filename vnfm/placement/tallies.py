"""What is kept to tell of a demand, whichever chain it comes with: what the table refuses it, in counts, and by node
what keeps it away beside nobody. Of a changed book only the nodes that changed are looked at again."""

from __future__ import annotations

import numpy as np

from vnfm.model.placement import Runtime
from vnfm.placement.book import Book
from vnfm.placement.estate import DISK, Bools, Ints
from vnfm.placement.marks import CELL, CLOSED, FITS, KERNEL, ROOM, Codes, Marked, Word, weights_of
from vnfm.placement.openings import Opening, OpenKind, Refused
from vnfm.placement.rules import TABLE
from vnfm.placement.ways import Way

FEW = 16  # changed nodes up to which, and one in so many, they are looked at one by one
PART = 32
_ROWS = [row.name for row in TABLE]


class Tally:
    """Of one opening and tenant on one book. Used under the lock of the book's desk."""

    def __init__(self, opening: Opening, tenant: int, book: Book, nodes: Ints) -> None:
        """`nodes`: by host the node that it is."""
        self.opening, self.book = opening, book
        self._tenant = tenant
        self._word_of = [opening.word(w) for w in range(len(opening.ways))]
        self._weights = weights_of(nodes[opening.some], book.estate.size)
        self.words = self._words()
        self._refused: dict[tuple[Word, int], Refused] = {}
        self._of_word: dict[Word, list[Refused]] = {}
        self.by_first: dict[Word, dict[str, int]] = {}  # hosts that refuse the realization, by the first row to do so
        self.asked: dict[Word, int] = {}  # all of them
        by_row: dict[Word, dict[str, int]] = {}
        for r in opening.refused:
            self._count(r, by_row)
        self.most = {word: max(rows.items(), key=lambda x: x[1]) for word, rows in by_row.items()}  # row with the most
        self._seen: list[int] = []
        self._marked: Marked | None = None
        self._only: dict[int, OpenKind] = {}

    def _count(self, r: Refused, by_row: dict[Word, dict[str, int]]) -> None:
        word = (r.option.runtime, r.option.nested)
        count = len(r.group.at)
        self._refused[word, r.group.sort] = r
        self._of_word.setdefault(word, []).append(r)
        rows = by_row.setdefault(word, dict.fromkeys(_ROWS, 0))
        for row in r.rows:
            rows[row.name] += count
        first = self.by_first.setdefault(word, {})
        first[r.rows[0].name] = first.get(r.rows[0].name, 0) + count
        self.asked[word] = self.asked.get(word, 0) + count

    def _words(self) -> list[Word]:
        """Realizations that hosts know; guests in guests only where some host offers that."""
        open_to = set(self._word_of)
        known = {(r.option.runtime, r.option.nested) for r in self.opening.refused}
        known = {k for k in known if not k[1] or k[0] is Runtime.CONTAINER or (k[0], False) not in known | open_to}
        return sorted(known | open_to, key=lambda k: (list(Runtime)[::-1].index(k[0]), k[1]))

    def refused(self, word: Word, sort: int) -> Refused | None:
        """The table's refusal of a realization on hosts of a sort."""
        return self._refused.get((word, sort))

    def refused_by(self, word: Word, row: str, sort: int) -> Refused:
        """One that names the row: of hosts of that sort where there is one."""
        mine = self._refused.get((word, sort))
        if mine is not None and any(of.name == row for of in mine.rows):
            return mine
        return next(r for r in self._of_word[word] if any(of.name == row for of in r.rows))

    def only(self, way: int) -> OpenKind:
        """The kind with that way only, to be tried on single nodes."""
        found = self._only.get(way)
        if found is None:
            found = self._only[way] = self.opening.kind(self._tenant, 0).only(way)
        return found

    def marked(self) -> Marked:
        """What keeps the demand away beside nobody, up to date; for views of it."""
        if self._marked is None or not self._kept_up(self._marked):
            self._seen = [log.position for log in self.book.logs]
            codes = [codes_of(self.book, way, self._tenant, self.opening.strict) for way in self.opening.ways]
            self._marked = Marked.of(codes, self._word_of, self.book.estate.size, self._weights)
        return self._marked

    def beside(self, special: list[Codes] | None) -> Marked:
        """For one story: a view, or with what else keeps the demand away, by way."""
        marked = self.marked()
        if special is None:
            return marked.beside()
        codes = [np.maximum(kept.array, more) for kept, more in zip(marked.ways, special, strict=True)]
        return Marked.of(codes, self._word_of, self.book.estate.size, self._weights)

    def _kept_up(self, marked: Marked) -> bool:
        """Follow the book; False where that is no quicker than looking at all nodes."""
        changed: set[int] = set()
        for sector, log in enumerate(self.book.logs):
            position = log.position
            if position != self._seen[sector]:
                since = log.since(self._seen[sector])
                if since is None:
                    return False
                changed.update(since)
                self._seen[sector] = position
        if len(changed) > FEW + self.book.estate.size // PART:
            return False
        for node in changed:
            for w, way in enumerate(self.opening.ways):
                code = code_of(self.book, way, self._tenant, self.opening.strict, node)
                if code != marked.ways[w][node]:
                    marked.put(node, w, code)
        return True


def codes_of(book: Book, way: Way, tenant: int, strict: bool) -> Codes:
    """By node, why the way is not open there beside nobody, FITS where it is."""
    code: Codes = np.full(book.estate.size, FITS, dtype=np.uint8)
    if way.shares:
        np.copyto(code, KERNEL, where=~book.open_to(tenant, way.shares, 0, len(book.estate.sectors) - 1))
    if strict:
        np.copyto(code, CELL, where=~_cells(book, way))
    for r, amount in enumerate(way.amounts):
        if amount:
            np.copyto(code, ROOM + r, where=book.free[r] < amount)
    np.copyto(code, CLOSED, where=~way.allowed)
    return code


def code_of(book: Book, way: Way, tenant: int, strict: bool, node: int) -> int:
    """The same of one node."""
    if not way.allowed[node]:
        return CLOSED
    left = book.left
    for r in range(len(way.amounts) - 1, -1, -1):
        if way.amounts[r] and left[r][node] < way.amounts[r]:
            return ROOM + r
    if strict and not any(
        all(cell[r][node] >= way.amounts[r] for r in range(DISK) if way.amounts[r]) for cell in book.cell_left
    ):
        return CELL
    return KERNEL if way.shares and not book.may_share(node, tenant, way.shares) else FITS


def _cells(book: Book, way: Way) -> Bools:
    fits: Bools = np.zeros(book.estate.size, dtype=np.bool_)
    for cell in book.cell_free:
        ok: Bools = np.ones(book.estate.size, dtype=np.bool_)
        for r in range(DISK):
            if way.amounts[r]:
                ok &= cell[r] >= way.amounts[r]
        fits |= ok
    return fits
