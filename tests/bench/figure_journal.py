"""Journalling a step: the intent before a call and its result after it, each a transaction on disk."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from bench_host import Workspace
from bench_rows import Bound, Row, Say, measured

NAME = "journal_step"
BOUND = Bound(5.0, 2.0, on="value")
ROWS = ((NAME, "ms", BOUND),)
STEPS = 300


def figure(space: Workspace, quick: bool, say: Say) -> list[Row]:
    """Milliseconds a transaction, through the event loop and the writer thread as in the manager."""
    folder = space.folder / "journal"
    folder.mkdir()
    started, done = asyncio.run(_append(folder, 40 if quick else STEPS))
    both = sorted(started + done)
    p95 = both[int(len(both) * 0.95)]
    raw = _bare_commits(folder, 40 if quick else STEPS)
    note = (
        f"p95 {p95:.2f}; STARTED {statistics.median(started):.2f}, DONE {statistics.median(done):.2f}; "
        f"sqlite3 alone, one row a durable commit: {statistics.median(raw):.2f} ms"
    )
    say(f"{NAME}: {statistics.median(both):.2f} ms, {note}")
    return [measured(NAME, "ms", BOUND, both, note)]


async def _append(folder: Path, count: int) -> tuple[list[float], list[float]]:
    from vnfm.lcm.machine import St
    from vnfm.lcm.operation import Design, LogEntry, StepOutput
    from vnfm.lcm.steps import Step, StepKind, mint
    from vnfm.model.lcm import LcmOperationType
    from vnfm.model.placement import Runtime
    from vnfm.model.resources import ComputeSpec, Handle, Resource, ResourceKind, ResourceState
    from vnfm.store.database import Database, sqlite_url
    from vnfm.store.journal import SqlJournal
    from vnfm.store.orders import NewInstance, Order, OrderStore

    def now() -> datetime:
        return datetime.now(UTC)

    database = Database(sqlite_url(folder))
    await asyncio.to_thread(database.migrate)
    times: dict[St, list[float]] = {St.STARTED: [], St.DONE: []}
    try:
        orders, journal = OrderStore(database), SqlJournal(database)
        instance = await orders.create_vnf("t", NewInstance(str(uuid.uuid4()), "v", "", "d", "p", ""), "", now())
        order = Order(str(uuid.uuid4()), "t", LcmOperationType.INSTANTIATE, "v", instance.id, {instance.id: "v"}, "")
        operation = await orders.order(order, now())
        steps = []
        for number in range(count):
            resource_id = mint(operation.id, "compute", str(number))
            spec = ComputeSpec(resource_id, f"c{number}", "host", Runtime.CONTAINER, 10, 0, 1 << 24)
            steps.append(Step(f"vnfc {number}", StepKind.COMPUTE, f"c {number}", "local", compute=spec))
        operation = await journal.grant(operation, Design(tuple(steps)), now())
        for step in steps:
            handle = Handle(step.allocates, "native-id-of-some-length", 1, "c29tZSBieXRlcw==")
            made = Resource(handle, ResourceKind.COMPUTE, ResourceState.RUNNING, addresses=("10.0.0.1/29",))
            for state, output in ((St.STARTED, None), (St.DONE, StepOutput(made))):
                begun = time.perf_counter()
                operation = await journal.append(operation, (LogEntry(step.key, state, now(), output),))
                times[state].append((time.perf_counter() - begun) * 1e3)
    finally:
        database.close()
    return times[St.STARTED], times[St.DONE]


def _bare_commits(folder: Path, count: int) -> list[float]:
    """What the disk and SQLite take by themselves, with the same durability."""
    import sqlite3

    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    db.execute("pragma journal_mode=WAL")
    db.execute("pragma synchronous=FULL")
    db.execute("create table line (id integer primary key, text text)")
    times = []
    for number in range(count):
        begun = time.perf_counter()
        db.execute("begin")
        db.execute("insert into line (text) values (?)", (f"{number} " + "x" * 300,))
        db.execute("commit")
        times.append((time.perf_counter() - begun) * 1e3)
    db.close()
    return times
