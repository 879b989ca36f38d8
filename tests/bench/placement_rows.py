"""Rows of the placement bench: each rate and time beside a reference that is measured in the same run.

The reference is one fused numpy filter, score and argmin over as many hosts: what placing one request cannot go
below in Python. Machines differ, so a row is judged by its value as it would be on a machine where the reference takes
what it took where the bounds come from. Machines are also shared: what is judged is the processor time of the one
thread that places, and the time on the clock is told beside it; of single calls, the least of three times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# Microseconds of the reference where the bounds come from, by number of hosts.
REFERENCE_US = {1_000: 12.0, 5_000: 20.0, 10_000: 29.0}


@dataclass(frozen=True, slots=True)
class Bound:
    """`must` has to hold, `goal` is aimed at; in the row's unit. `hosts`: whose reference the row is judged by."""

    must: float
    goal: float
    better: str  # "higher" or "lower"
    hosts: int | None = None

    def holds(self, limit: float, value: float) -> bool:
        """Whether the value keeps that limit."""
        return value >= limit if self.better == "higher" else value <= limit


@dataclass(frozen=True, slots=True)
class Row:
    """A figure. `value`: the median of what was measured here; `judged`: the same at the reference's speed."""

    name: str
    unit: str
    bound: Bound | None
    value: float | None = None
    judged: float | None = None
    reference_us: float | None = None
    n: int = 0
    spread: tuple[float, float] | None = None
    note: str = ""
    failed: bool = False

    def met(self, which: str) -> bool | None:
        """Whether `must` or `goal` is met; None where nothing was measured."""
        if self.bound is None or self.judged is None:
            return None
        return self.bound.holds(self.bound.must if which == "must" else self.bound.goal, self.judged)

    def as_json(self) -> dict[str, Any]:
        """Its entry in the file."""
        told = asdict(self)
        told |= told.pop("bound") or {}
        return told | {"met_must": self.met("must"), "met_goal": self.met("goal")}


def row(
    name: str,
    unit: str,
    bound: Bound,
    values: Sequence[float],
    references: Sequence[float] = (),
    note: str = "",
    processor: Sequence[float] = (),
) -> Row:
    """A row of the values' median; `references` (µs) were measured beside each of them. `processor`: the same by
    processor time, which is judged where it is given."""
    median = statistics.median(values)
    here = statistics.median(references) if references else None
    judged = statistics.median(processor or values)
    if here is not None and bound.hosts is not None:
        speed = here / REFERENCE_US[bound.hosts]  # above 1: a slower machine
        judged = judged * speed if bound.better == "higher" else judged / speed
    spread = (round(min(values), 3), round(max(values), 3))
    return Row(name, unit, bound, _short(median), _short(judged), here and round(here, 1), len(values), spread, note)


def _short(value: float) -> float:
    return round(value) if abs(value) >= 1_000 else round(value, 3)


class Reference:
    """The fused filter, score and argmin over so many hosts."""

    def __init__(self, hosts: int) -> None:
        dice = np.random.default_rng(1)
        self._cpu = dice.integers(0, 16_000, hosts, dtype=np.int32)
        self._memory = dice.integers(0, 65_536, hosts, dtype=np.int32)
        self._offers = dice.integers(0, 16, hosts, dtype=np.int32)
        self._price = dice.integers(1, 4, hosts, dtype=np.int32)
        self._on = dice.integers(0, 2, hosts, dtype=np.int32) * 4_000

    def once(self) -> int:
        """The best host of one request."""
        fits = (self._cpu >= 2_000) & (self._memory >= 2_048) & ((self._offers & 4) != 0)
        return int(np.where(fits, self._price * 2_000 + self._on, 1 << 30).argmin())

    def us(self, rounds: int = 200) -> float:
        """Microseconds, the median of a few hundred."""
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            self.once()
            times.append(time.perf_counter() - begun)
        return statistics.median(times) * 1e6


Say = Callable[[str], None]
