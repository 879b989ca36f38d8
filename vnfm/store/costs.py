"""What realizations were seen to cost, by host and runtime.

Start-up and memory: a running mean of the last few. Per-hop latency: the least that was seen, since load of the moment
only adds to it, and only after a few probes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from vnfm.model.placement import Runtime
from vnfm.placement.types import ObservedCost
from vnfm.store import tables as t

WINDOW = 8  # observations that the mean remembers
HOP_SAMPLES = 3  # before these, a latency is no better than the plugin's prior
ENDS_A_ROUND_TRIP = 4  # a probe enters and leaves a VNF on its way there and on its way back


_COST = t.observed_cost.c
_HERE = (
    (_COST.vim == bindparam("wanted_vim"))
    & (_COST.host == bindparam("wanted_host"))
    & (_COST.runtime == bindparam("wanted_runtime"))
)
_ALL, _FOUND, _CHANGED = (
    select(t.observed_cost),
    select(t.observed_cost).where(_HERE),
    update(t.observed_cost).where(_HERE),
)


def observe(c: Connection, vim: str, host: str, runtime: Runtime, start_ms: int, memory_bytes: int) -> None:
    """Take one realization in: how long until it was usable, and what it takes itself."""
    row = _row(c, vim, host, runtime)
    weight = min(row["samples"], WINDOW - 1)
    _update(
        c,
        row,
        start_ms=(row["start_ms"] * weight + start_ms) // (weight + 1),
        memory_bytes=(row["memory_bytes"] * weight + memory_bytes) // (weight + 1),
        samples=row["samples"] + 1,
    )


def observe_hop(c: Connection, vim: str, host: str, runtime: Runtime, round_trip_us: int) -> None:
    """Take in how long probes took within a VNF, there and back."""
    row = _row(c, vim, host, runtime)
    hop_us = max(1, round_trip_us // ENDS_A_ROUND_TRIP)
    least = min(row["hop_us"], hop_us) if row["hop_samples"] else hop_us
    _update(c, row, hop_us=least, hop_samples=row["hop_samples"] + 1)


def observed(c: Connection) -> tuple[ObservedCost, ...]:
    """Everything that was seen often enough."""
    return tuple(
        ObservedCost(
            r["vim"],
            r["host"],
            Runtime(r["runtime"]),
            start_ms=r["start_ms"] if r["samples"] else None,
            memory_bytes=r["memory_bytes"] or None,
            hop_us=r["hop_us"] if r["hop_samples"] >= HOP_SAMPLES else None,
        )
        for r in c.execute(_ALL).mappings()
    )


def _here(vim: str, host: str, runtime: str) -> dict[str, Any]:
    return {"wanted_vim": vim, "wanted_host": host, "wanted_runtime": runtime}


def _row(c: Connection, vim: str, host: str, runtime: Runtime) -> Any:
    here = _here(vim, host, runtime.value)
    row = c.execute(_FOUND, here).mappings().first()
    if row is None:
        fresh = {"vim": vim, "host": host, "runtime": runtime.value, "start_ms": 0, "memory_bytes": 0, "samples": 0}
        c.execute(insert(t.observed_cost).values(**fresh))
        row = c.execute(_FOUND, here).mappings().one()
    return row


def _update(c: Connection, row: Any, **values: int) -> None:
    c.execute(_CHANGED, {**_here(row["vim"], row["host"], row["runtime"]), **values})
