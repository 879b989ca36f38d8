"""What realizations were seen to cost, by host and runtime.

Start-up and memory: a running mean of the last few. Per-hop latency: the least that was seen, since load of the moment
only adds to it, and only after a few probes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, case, select

from vnfm.model.placement import Runtime
from vnfm.placement.inventory import ObservedCost
from vnfm.store import tables as t
from vnfm.store.group import tell
from vnfm.store.prepared import write
from vnfm.store.statements import upsert

WINDOW = 8  # observations that the mean remembers
MANY = 64  # costs from which on all are read at once
HOP_SAMPLES = 3  # before these, a latency is no better than the plugin's prior
ENDS_A_ROUND_TRIP = 4  # a probe enters and leaves a VNF on its way there and on its way back


_COST = t.observed_cost.c
_ALL = select(t.observed_cost)
_ONE = _ALL.where(
    _COST.vim == bindparam("of_vim"), _COST.host == bindparam("of_host"), _COST.runtime == bindparam("of_runtime")
)


CostKey = tuple[str, str, Runtime]  # VIM, host, runtime


@dataclass(frozen=True, slots=True)
class CostsChanged:
    """Told when something was taken in (see group.tell)."""

    keys: frozenset[CostKey]


@dataclass(frozen=True, slots=True)
class Start:
    """One realization: how long until it was usable, and what it takes itself."""

    vim: str
    host: str
    runtime: Runtime
    start_ms: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """How long probes took within a VNF, there and back."""

    vim: str
    host: str
    runtime: Runtime
    round_trip_us: int


def observe(c: Connection, starts: Sequence[Start]) -> None:
    """Take realizations in."""
    rows = [
        {**_here(s.vim, s.host, s.runtime), "start_ms": s.start_ms, "memory_bytes": s.memory_bytes, "samples": 1}
        for s in starts
    ]
    _merge(c, _started(c.dialect.name), rows)


def observe_hops(c: Connection, crossings: Sequence[Crossing]) -> None:
    """Take in what probes saw."""
    first = {"start_ms": 0, "memory_bytes": 0, "samples": 0, "hop_samples": 1}
    rows = [
        {**_here(x.vim, x.host, x.runtime), **first, "hop_us": max(1, x.round_trip_us // ENDS_A_ROUND_TRIP)}
        for x in crossings
    ]
    _merge(c, _crossed(c.dialect.name), rows)


@cache
def _started(dialect: str) -> Any:
    insert = upsert(t.observed_cost, dialect)
    weight = case((_COST.samples < WINDOW - 1, _COST.samples), else_=WINDOW - 1)
    return insert.on_conflict_do_update(
        index_elements=list(t.observed_cost.primary_key.columns),
        set_={
            "start_ms": (_COST.start_ms * weight + insert.excluded.start_ms) // (weight + 1),
            "memory_bytes": (_COST.memory_bytes * weight + insert.excluded.memory_bytes) // (weight + 1),
            "samples": _COST.samples + 1,
        },
    )


@cache
def _crossed(dialect: str) -> Any:
    insert = upsert(t.observed_cost, dialect)
    known_is_less = (_COST.hop_samples > 0) & (_COST.hop_us < insert.excluded.hop_us)
    return insert.on_conflict_do_update(
        index_elements=list(t.observed_cost.primary_key.columns),
        set_={
            "hop_us": case((known_is_less, _COST.hop_us), else_=insert.excluded.hop_us),
            "hop_samples": _COST.hop_samples + 1,
        },
    )


def _merge(c: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        write(c, statement, rows)
        tell(c, CostsChanged(frozenset((r["vim"], r["host"], Runtime(r["runtime"])) for r in rows)))


def _here(vim: str, host: str, runtime: Runtime) -> dict[str, Any]:
    return {"vim": vim, "host": host, "runtime": runtime.value}


def observed(c: Connection, keys: Collection[CostKey] | None = None) -> dict[CostKey, ObservedCost]:
    """What was seen often enough: of these, by itself of all."""
    if keys is None or len(keys) > MANY:
        rows = c.execute(_ALL).mappings().all()
    else:
        asked = [{"of_vim": vim, "of_host": host, "of_runtime": runtime.value} for vim, host, runtime in sorted(keys)]
        rows = [row for one in asked for row in c.execute(_ONE, one).mappings()]
    return {(cost.vim, cost.host, cost.runtime): cost for cost in map(_cost, rows)}


def _cost(row: Any) -> ObservedCost:
    return ObservedCost(
        row["vim"],
        row["host"],
        Runtime(row["runtime"]),
        start_ms=row["start_ms"] if row["samples"] else None,
        memory_bytes=row["memory_bytes"] or None,
        hop_us=row["hop_us"] if row["hop_samples"] >= HOP_SAMPLES else None,
    )
