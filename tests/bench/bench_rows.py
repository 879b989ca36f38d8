"""Rows of the table: a figure, what it is compared with, and what it has to hold."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Bound:
    """`must` has to hold (None: nothing has to), `goal` is aimed at; both bound the row's ratio or its value."""

    must: float | None
    goal: float
    on: str = "ratio"  # or "value"
    better: str = "lower"  # or "higher"

    def holds(self, limit: float | None, row_value: float | None, row_ratio: float | None) -> bool | None:
        """None where there is nothing to judge."""
        seen = row_ratio if self.on == "ratio" else row_value
        if limit is None or seen is None or math.isnan(seen):
            return None
        return seen <= limit if self.better == "lower" else seen >= limit

    def words(self, limit: float | None, unit: str) -> str:
        """For people: "≤ 2.5×"."""
        if limit is None:
            return ""
        sign = "≤" if self.better == "lower" else "≥"
        return f"{sign} {limit:g}×" if self.on == "ratio" else f"{sign} {limit:g} {unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `value` and `baseline` are medians in `unit`; `spread` is the median's middle half (quartiles) in the
    same unit; `note` says what else was seen, or why the row was skipped."""

    name: str
    unit: str
    bound: Bound | None
    value: float | None = None
    baseline: float | None = None
    ratio: float | None = None
    n: int = 0
    spread: tuple[float, float] | None = None
    note: str = ""
    failed: bool = False

    @property
    def met_must(self) -> bool | None:
        """None where the row was skipped or has no bound."""
        return self.bound.holds(self.bound.must, self.value, self.ratio) if self.bound else None

    @property
    def met_goal(self) -> bool | None:
        """Likewise."""
        return self.bound.holds(self.bound.goal, self.value, self.ratio) if self.bound else None

    def as_json(self) -> dict[str, Any]:
        """Its entry in bench.json."""
        told = asdict(self)
        bound = told.pop("bound") or {}
        return told | {
            "must": bound.get("must"),
            "goal": bound.get("goal"),
            "bound_on": bound.get("on"),
            "better": bound.get("better"),
            "met_must": self.met_must,
            "met_goal": self.met_goal,
        }


def quartiles(values: Sequence[float]) -> tuple[float, float] | None:
    """The middle half."""
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def measured(
    name: str, unit: str, bound: Bound | None, values: Sequence[float], note: str = "", decimals: int = 3
) -> Row:
    """A row of an absolute figure: the median."""
    spread = quartiles(values)
    return Row(
        name,
        unit,
        bound,
        round(statistics.median(values), decimals),
        n=len(values),
        spread=(round(spread[0], decimals), round(spread[1], decimals)) if spread else None,
        note=note,
    )


def compared(
    name: str,
    unit: str,
    bound: Bound,
    ours: Sequence[float],
    theirs: Sequence[float],
    note: str = "",
    *,
    inverse: bool = False,
) -> Row:
    """A row of a ratio, ours to theirs; `ours` and `theirs` were taken in turns. `inverse=True` turns the ratio round:
    for times whose bound wants a higher ratio."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = other / mine if inverse else mine / other
    spread = quartiles(ours)
    return Row(
        name,
        unit,
        bound,
        round(mine, 3),
        round(other, 3),
        round(ratio, 3),
        len(ours),
        (round(spread[0], 3), round(spread[1], 3)) if spread else None,
        note,
    )


def skipped(name: str, unit: str, bound: Bound | None, why: str) -> Row:
    """A row that could not be measured."""
    return Row(name, unit, bound, note=f"skipped: {why}")


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """bench.json: what was measured now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1, ensure_ascii=False) + "\n")


Say = Callable[[str], None]
