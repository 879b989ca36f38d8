"""By node, what keeps a demand away: codes as arrays with their counts, which single nodes may be told otherwise of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vnfm.model.placement import Runtime
from vnfm.placement.amounts import NAMES
from vnfm.placement.estate import Ints

Codes = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.uint16]
Word = tuple[Runtime, bool]  # a realization: runtime, and whether nested in a VM

# The smaller, the closer to fitting; a node counts at its largest.
FITS, LATENCY, BANDWIDTH, RULE, LICENCE, KERNEL, CELL, ROOM = range(8)
CLOSED = ROOM + len(NAMES)
CAUSES = {
    LATENCY: "latency",
    BANDWIDTH: "bandwidth",
    RULE: "rules",
    LICENCE: "too few licences",
    KERNEL: "kernel shared with another tenant",
    CELL: "no NUMA cell large enough",
    **{ROOM + r: f"insufficient {name}" for r, name in enumerate(NAMES)},
}


class Marks:
    """A code a node, and how many nodes have which; `weights`: how often a node counts, by itself once.

    `beside()` gives a view in which single nodes may be marked otherwise. It holds until what it was made of changes.
    """

    __slots__ = ("_of", "_other", "_weights", "counts")

    def __init__(self, of: Codes, weights: Weights | None = None) -> None:
        self._of = of
        self._weights = weights
        self._other: dict[int, int] | None = None
        if weights is None:
            self.counts: list[int] = np.bincount(of, minlength=CLOSED + 1).tolist()
        else:
            self.counts = np.bincount(of, weights, minlength=CLOSED + 1).astype(np.int64).tolist()

    def beside(self) -> Marks:
        """A view of it."""
        view = object.__new__(Marks)
        view._of, view._weights, view._other, view.counts = self._of, self._weights, {}, self.counts.copy()
        return view

    @property
    def array(self) -> Codes:
        """The codes without what was marked otherwise in a view; not to be changed."""
        return self._of

    def __getitem__(self, node: int) -> int:
        if self._other is not None and node in self._other:
            return self._other[node]
        return int(self._of[node])

    def put(self, node: int, code: int) -> None:
        """Mark a node otherwise."""
        times = 1 if self._weights is None else int(self._weights[node])
        self.counts[self[node]] -= times
        self.counts[code] += times
        if self._other is None:
            self._of[node] = code
        else:
            self._other[node] = code

    def first(self, code: int) -> int | None:
        """The first node of that code."""
        mask = self._of == code
        for node, other in (self._other or {}).items():
            mask[node] = other == code
        at = int(mask.argmax()) if len(mask) else 0
        return at if len(mask) and mask[at] else None


class Marked:
    """The marks of a demand: by way, by realization (that of its best way there), and of the best of all ways, where a
    node counts once for each of its hosts that some way is open on."""

    __slots__ = ("_of_word", "_word_of", "best", "by_word", "ways")

    def __init__(
        self, ways: Sequence[Marks], word_of: Sequence[Word], by_word: Mapping[Word, Marks], best: Marks
    ) -> None:
        self.ways = ways
        self.by_word = by_word
        self.best = best
        self._word_of = word_of
        self._of_word = {word: [w for w, of in enumerate(word_of) if of == word] for word in by_word}

    @classmethod
    def of(cls, codes: Sequence[Codes], word_of: Sequence[Word], size: int, weights: Weights) -> Marked:
        """Made of the codes by way, which it keeps."""
        by_word: dict[Word, Codes] = {}
        for code, word in zip(codes, word_of, strict=True):
            by_word[word] = np.minimum(by_word[word], code) if word in by_word else code
        none: Codes = np.full(size, CLOSED, dtype=np.uint8)
        best: Codes = np.minimum.reduce([*codes, none])
        single = {word: marks.copy() for word, marks in by_word.items()}
        return cls([Marks(c) for c in codes], word_of, {w: Marks(c) for w, c in single.items()}, Marks(best, weights))

    def beside(self) -> Marked:
        """A view, in which single nodes may be marked otherwise."""
        return Marked(
            [m.beside() for m in self.ways],
            self._word_of,
            {word: m.beside() for word, m in self.by_word.items()},
            self.best.beside(),
        )

    def put(self, node: int, way: int, code: int) -> None:
        """Mark one way at a node otherwise."""
        self.ways[way].put(node, code)
        word = self._word_of[way]
        of_word = self._of_word[word]
        self.by_word[word].put(node, code if len(of_word) == 1 else min(self.ways[w][node] for w in of_word))
        self.best.put(node, min(m[node] for m in self.ways))

    def fits(self, word: Word) -> bool:
        """Whether some node would do for the realization."""
        return word in self.by_word and self.by_word[word].counts[FITS] > 0


def weights_of(nodes: Ints, size: int) -> Weights:
    """How often each node is among these."""
    return np.bincount(nodes, minlength=size).astype(np.uint16)
