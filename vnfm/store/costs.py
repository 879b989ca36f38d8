"""What realizations were seen to cost: a running mean of the last few, by host and runtime."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from vnfm.model.placement import Runtime
from vnfm.placement.types import ObservedCost
from vnfm.store import tables as t

WINDOW = 8  # observations that the mean remembers


def observe(c: Connection, vim: str, host: str, runtime: Runtime, start_ms: int, memory_bytes: int) -> None:
    """Take one observation in."""
    at = (t.observed_cost.c.vim == vim) & (t.observed_cost.c.host == host)
    at &= t.observed_cost.c.runtime == runtime.value
    row = c.execute(select(t.observed_cost).where(at)).mappings().first()
    if row is None:
        c.execute(
            insert(t.observed_cost).values(
                vim=vim, host=host, runtime=runtime.value, start_ms=start_ms, memory_bytes=memory_bytes, samples=1
            )
        )
        return
    weight = min(row["samples"], WINDOW - 1)
    c.execute(
        update(t.observed_cost)
        .where(at)
        .values(
            start_ms=(row["start_ms"] * weight + start_ms) // (weight + 1),
            memory_bytes=(row["memory_bytes"] * weight + memory_bytes) // (weight + 1),
            samples=row["samples"] + 1,
        )
    )


def observed(c: Connection) -> tuple[ObservedCost, ...]:
    """Everything that was seen."""
    return tuple(
        ObservedCost(
            r["vim"], r["host"], Runtime(r["runtime"]), start_ms=r["start_ms"], memory_bytes=r["memory_bytes"] or None
        )
        for r in c.execute(select(t.observed_cost)).mappings()
    )
