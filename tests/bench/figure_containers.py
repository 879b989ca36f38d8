"""Fifty VNFs of one container each, created and instantiated side by side through the manager's gRPC API."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import time
from contextlib import closing
from datetime import datetime

from bench_host import Workspace, cpu_seconds
from bench_manager import VNFD_ID, Client, Manager
from bench_rows import Bound, Row, Say, compared
from bench_samples import sampled
from hand_containers import BareContainers

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

NAME = "containers_50"
BOUND = Bound(2.5, 1.5)
ROWS = ((NAME, "s", BOUND),)
COUNT = 50
ROUNDS = 3


def figure(space: Workspace, manager: Manager, quick: bool, profile: bool, say: Say) -> list[Row]:
    """Seconds from the first CreateVnf to the last COMPLETED, against bare crun in namespaces."""
    count, rounds = (10, 1) if quick else (COUNT, ROUNDS)
    parallel = 2 * (os.cpu_count() or 1)  # what the local VIM builds at once
    bare = BareContainers(space, parallel)
    ours: list[float] = []
    theirs: list[float] = []
    told = ""
    try:
        asyncio.run(_round(manager, 1))  # the first one brings the image to the VIM
        bare.start(1, rounds)
        bare.remove()
        for number in range(rounds):
            theirs.append(bare.start(count, number))
            bare.remove()
            took, told = asyncio.run(_round(manager, count))
            ours.append(took)
            say(f"{NAME}: {took:.2f} s, bare crun {theirs[-1]:.2f} s; {told}")
            if profile:
                for line in profile_of(manager):
                    say(f"  {line}")
    finally:
        bare.close()
    if profile:
        for line in sampled(space, lambda m: _twice(m, count)):
            say(f"  {line}")
    note = f"{count} VNFs, {parallel} at once; {told}"
    return [compared(NAME, "s", BOUND, ours, theirs, note)]


def _twice(manager: Manager, count: int) -> None:
    for number in (1, count):
        asyncio.run(_round(manager, number))


async def _round(manager: Manager, count: int) -> tuple[float, str]:
    """Up (timed) and away again."""
    client = Client(manager.endpoint)
    before = [cpu_seconds(pid) for pid in (manager.pid, manager.plugin_pid())]
    try:
        begun = time.perf_counter()
        ids = await asyncio.gather(*(_one(client) for _ in range(count)))
        took = time.perf_counter() - begun
        after = [cpu_seconds(pid) for pid in (manager.pid, manager.plugin_pid())]
        await asyncio.gather(*(_away(client, i) for i in ids))
    finally:
        await client.close()
    (m0, _), (p0, c0) = before
    (m1, _), (p1, c1) = after
    return took, f"CPU: manager {m1 - m0:.2f} s, plugin {p1 - p0:.2f} s, its commands {c1 - c0:.2f} s"


async def _one(client: Client) -> str:
    made = await client.lifecycle.CreateVnf(pb.CreateVnfRequest(vnfd_id=VNFD_ID))
    op = await client.lifecycle.InstantiateVnf(pb.InstantiateVnfRequest(ref=made.id))
    await client.ended(op)
    return str(made.id)


async def _away(client: Client, instance_id: str) -> None:
    op = await client.lifecycle.TerminateVnf(pb.TerminateVnfRequest(ref=instance_id, termination_type="FORCEFUL"))
    await client.ended(op)
    await client.lifecycle.DeleteVnf(pb.GetRequest(ref=instance_id))


def profile_of(manager: Manager) -> list[str]:
    """Where the time of the newest INSTANTIATE operations went, by the journal's own times."""
    with closing(sqlite3.connect(f"file:{manager.state / 'vnfm.sqlite'}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "select id, started_at, state_entered_at from operation where operation = 'INSTANTIATE' "
            "order by started_at desc limit ?",
            (COUNT,),
        ).fetchall()
        spans: dict[str, list[float]] = {}
        first = min(_at(r[1]) for r in rows)
        for op_id, started, ended in rows:
            begun, last = _at(started), _at(ended)
            spans.setdefault("ordered, after the first order", []).append(begun - first)
            spans.setdefault("order -> COMPLETED", []).append(last - begun)
            events = db.execute(
                "select step, state, at from step_event where operation_id = ? order by rowid", (op_id,)
            )
            at: dict[tuple[str, str], float] = {}
            for step, state, when in events:
                at[(step.split(" ")[0], state)] = _at(when)
            steps = sorted(at.values())
            spans.setdefault("order -> first step (grant)", []).append(steps[0] - begun)
            for kind in ("image", "vnfc"):
                if (kind, "STARTED") in at and (kind, "DONE") in at:
                    spans.setdefault(f"step {kind}", []).append(at[(kind, "DONE")] - at[(kind, "STARTED")])
            spans.setdefault("last step -> COMPLETED", []).append(last - steps[-1])
    return [
        f"{what}: median {statistics.median(v) * 1e3:.0f} ms, least {min(v) * 1e3:.0f}, most {max(v) * 1e3:.0f}"
        for what, v in spans.items()
    ]


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
