"""Where things stand in a chain's picture: a column for each VNF in the order of the path, boxes for hosts around them.

Boxes whose columns do not overlap share a row, so that a chain on one host is one straight line; a nested host is a box
in its parent's box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CARD_W, CARD_H = 206.0, 138.0
PAD, HEADER, ROW_GAP = 18.0, 34.0, 26.0
ROOM = 224.0  # between two columns, for a link's labels


@dataclass(frozen=True, slots=True)
class Leaf:
    """A card: what stands in one column."""

    key: str
    column: int
    width: float = CARD_W
    height: float = CARD_H


@dataclass(frozen=True, slots=True)
class Box:
    """A host with what is on it."""

    key: str
    content: tuple[Leaf | Box, ...]

    @property
    def columns(self) -> tuple[int, int]:
        """First and last column."""
        spans = [_columns(item) for item in self.content]
        return min(low for low, _ in spans), max(high for _, high in spans)


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle."""

    x: float
    y: float
    w: float
    h: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its middle."""
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything placed; boxes come outermost first."""

    cards: Mapping[str, Place]
    boxes: Mapping[str, Place]
    rooms: tuple[tuple[float, float], ...]  # by column: the free x range between it and the next
    width: float
    height: float


def _columns(item: Leaf | Box) -> tuple[int, int]:
    return item.columns if isinstance(item, Box) else (item.column, item.column)


def arrange(items: Sequence[Leaf | Box], column_count: int) -> Layout:
    """Place everything from (0, 0) on."""
    opening, closing = [0.0] * column_count, [0.0] * column_count
    for item in items:
        _margins(item, opening, closing)
    widths = [0.0] * column_count
    for leaf in _leaves(items):
        widths[leaf.column] = max(widths[leaf.column], leaf.width)
    lefts: list[float] = []
    x = 0.0
    for column in range(column_count):
        x += opening[column]
        lefts.append(x)
        x += widths[column] + closing[column] + (ROOM if column + 1 < column_count else 0)
    placer = _Placer(lefts, widths)
    height = placer.rows(items, 0.0)
    rooms = tuple(
        (lefts[c] + widths[c] + closing[c], lefts[c] + widths[c] + closing[c] + ROOM) for c in range(column_count)
    )
    return Layout(placer.cards, placer.boxes, rooms, x, height)


def _leaves(items: Sequence[Leaf | Box]) -> list[Leaf]:
    found: list[Leaf] = []
    for item in items:
        found += _leaves(item.content) if isinstance(item, Box) else [item]
    return found


def _margins(item: Leaf | Box, opening: list[float], closing: list[float]) -> tuple[float, float]:
    """Room for the borders of nested boxes at both sides of each column; gives that of this item."""
    if isinstance(item, Leaf):
        return 0.0, 0.0
    low, high = item.columns
    inner = [(_columns(child), _margins(child, opening, closing)) for child in item.content]
    left = PAD + max(margin[0] for span, margin in inner if span[0] == low)
    right = PAD + max(margin[1] for span, margin in inner if span[1] == high)
    opening[low], closing[high] = max(opening[low], left), max(closing[high], right)
    return left, right


def _pack(items: Sequence[Leaf | Box]) -> list[list[Leaf | Box]]:
    """Rows of items whose columns do not overlap."""
    rows: list[list[Leaf | Box]] = []
    for item in sorted(items, key=lambda i: (_columns(i)[0], _columns(i)[1], i.key)):
        low, high = _columns(item)
        for row in rows:
            if all(high < _columns(other)[0] or low > _columns(other)[1] for other in row):
                row.append(item)
                break
        else:
            rows.append([item])
    return rows


def _axis(item: Leaf | Box) -> float:
    """How far below its top the line runs on which the cards of its first row are centred."""
    if isinstance(item, Leaf):
        return item.height / 2
    return HEADER + max(_axis(child) for child in _pack(item.content)[0])


def _border(item: Leaf | Box, side: int) -> float:
    """How far the box reaches beyond its outermost column."""
    if isinstance(item, Leaf):
        return 0.0
    edge = item.columns[side]
    return PAD + max(_border(child, side) for child in item.content if _columns(child)[side] == edge)


@dataclass(slots=True)
class _Placer:
    lefts: list[float]
    widths: list[float]
    cards: dict[str, Place] = field(default_factory=dict)
    boxes: dict[str, Place] = field(default_factory=dict)

    def rows(self, items: Sequence[Leaf | Box], top: float) -> float:
        """Place items in rows from `top` on; gives where the last one ends."""
        bottom = top
        for row in _pack(items):
            axis = top + max(_axis(item) for item in row)
            for item in row:
                bottom = max(bottom, self._place(item, axis - _axis(item)))
            top = bottom + ROW_GAP
        return bottom

    def _place(self, item: Leaf | Box, top: float) -> float:
        if isinstance(item, Leaf):
            x = self.lefts[item.column] + (self.widths[item.column] - item.width) / 2
            self.cards[item.key] = Place(x, top, item.width, item.height)
            return top + item.height
        low, high = item.columns
        x = self.lefts[low] - _border(item, 0)
        right = self.lefts[high] + self.widths[high] + _border(item, 1)
        self.boxes[item.key] = Place(x, top, right - x, 0)  # before its content: outermost first
        bottom = self.rows(item.content, top + HEADER) + PAD
        self.boxes[item.key] = Place(x, top, right - x, bottom - top)
        return bottom
