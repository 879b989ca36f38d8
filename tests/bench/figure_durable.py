"""Chains created end to end: over gRPC, placed, journalled, every call made, on a simulated VIM of many hosts.

Judged is the rate at the speed of the reference of `make bench-placement`, which is measured in the same run; the
clock's own word stands beside it. What is counted is what stands at the end: every operation COMPLETED in the database,
every link, end, VNFC and path in the VIM's own file, and packets of a probe at each VNFC's ports.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import placement_rows
from bench_host import Workspace, cpu_seconds, load, workspace
from bench_manager import VNFD_ID, BenchError, Client, Manager, build_package
from bench_rows import Bound, Row, Say, measured
from bench_samples import sampled
from placement_rows import REFERENCE_US, Reference

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

NAME, HERE = "durable_create", "durable_create_here"
MANAGER_CPU, PLUGIN_CPU = "durable_create_cpu", "durable_create_plugin_cpu"
BOUND = Bound(300, 1000, on="value", better="higher")
CPU_BOUND = Bound(None, 1.0, on="value")
ROWS = (
    (NAME, "VNF/s", BOUND),
    (HERE, "VNF/s", None),
    (MANAGER_CPU, "ms a VNF", CPU_BOUND),
    (PLUGIN_CPU, "ms a VNF", CPU_BOUND),
)
BASE_HOSTS = 5_000  # of which the reference's time is known where the bounds come from
HOSTS = int(os.environ.get("DURABLE_HOSTS", "5000"))
CHAINS = int(os.environ.get("DURABLE_CHAINS", "1000"))
ROUNDS = int(os.environ.get("DURABLE_ROUNDS", "3"))
LENGTH = 5
CALLS_AT_ONCE = 32
WARM = 4  # chains before the clock runs: the image is brought there, code is loaded
PATIENCE_S = 900.0
STATES = "select state, count(*) from operation where operation = 'CHAIN_CREATE' group by state"
PROBED = "select count(distinct resource_id) from crossed where path_id <> '' and in_packets > 0"


@dataclass(frozen=True, slots=True)
class Round:
    """What one run over all chains took."""

    wall_s: float
    calls_s: float
    manager_cpu_s: float
    plugin_cpu_s: float
    vnfs: int
    reference_us: float  # of the fused numpy pass over as many hosts, before and after

    @property
    def slowness(self) -> float:
        """Above 1: a machine slower than that where the bounds come from."""
        return self.reference_us / REFERENCE_US[BASE_HOSTS]


def measure(space: Workspace, chains: int, hosts: int, count: int, say: Say) -> list[Round]:
    """So many rounds, each with a manager and a VIM of its own."""
    rounds, reference = [], Reference(BASE_HOSTS)
    for number in range(count):
        manager = Manager(space.folder / f"durable{number}", vim=simulated(space.folder, hosts))
        try:
            manager.start()
            manager.connected()
            manager.ask("package", "onboard", str(build_package(space)))
            before_us = reference.us()
            done = asyncio.run(_round(manager, chains))
            rounds.append(replace(done, reference_us=(before_us + reference.us()) / 2))
        finally:
            manager.stop()
        say(f"{NAME}: {_words(rounds[-1])}; load {load()}")
    return rounds


def figure(space: Workspace, quick: bool, profile: bool, say: Say) -> list[Row]:
    """VNFs a second from the first CreateChain to the last COMPLETED; CPU of the manager and of the VIM's plugin."""
    chains, hosts = (50, 500) if quick else (CHAINS, HOSTS)
    rounds = measure(space, chains, hosts, 1 if quick else ROUNDS, say)
    if profile:
        work = partial(_alone, chains=min(chains, 200))
        for line in sampled(space, work, vim=simulated(space.folder, hosts)):
            say(f"  {line}")
    note = f"{chains} chains of {LENGTH} VNFs on {hosts} hosts; {_words(rounds[-1])}; load {load()}"
    manager_ms = [1e3 * r.manager_cpu_s / r.vnfs / r.slowness for r in rounds]
    plugin_ms = [1e3 * r.plugin_cpu_s / r.vnfs / r.slowness for r in rounds]
    return [
        measured(NAME, "VNF/s", BOUND, [r.slowness * r.vnfs / r.wall_s for r in rounds], note, decimals=1),
        measured(HERE, "VNF/s", None, [r.vnfs / r.wall_s for r in rounds], decimals=1),
        measured(MANAGER_CPU, "ms a VNF", CPU_BOUND, manager_ms, decimals=2),
        measured(PLUGIN_CPU, "ms a VNF", CPU_BOUND, plugin_ms, decimals=2),
    ]


def placement_row(say: Say) -> placement_rows.Row:
    """The rate as a row of the placement bench."""
    with workspace() as space:
        rounds = measure(space, CHAINS, HOSTS, ROUNDS, say)
    bound = placement_rows.Bound(BOUND.must or 0, BOUND.goal, "higher", BASE_HOSTS)
    rates, references = [r.vnfs / r.wall_s for r in rounds], [r.reference_us for r in rounds]
    return placement_rows.row(NAME, "VNF/s", bound, rates, references, f"{CHAINS} chains; {_words(rounds[-1])}")


def simulated(folder: Path, hosts: int) -> str:
    """The configuration of a VIM whose hosts stand in racks of twenty."""
    path = folder / f"simulated-{hosts}.json"  # JSON is YAML
    racks = [{"id": f"host-{n}", "rack": f"rack-{n // 20}"} for n in range(hosts)]
    path.write_text(json.dumps({"hosts": racks, "host": {"cpu_milli": 64_000, "memory_bytes": 256 << 30}}))
    return f"mock:{path}"


def _words(r: Round) -> str:
    return (
        f"{r.vnfs / r.wall_s:.0f} VNF/s ({r.wall_s:.2f} s, the calls {r.calls_s:.2f} s); CPU a VNF: "
        f"manager {1e3 * r.manager_cpu_s / r.vnfs:.2f} ms, plugin {1e3 * r.plugin_cpu_s / r.vnfs:.2f} ms; "
        f"numpy reference {r.reference_us:.1f} µs: {r.slowness:.2f} of where the bounds come from"
    )


def _alone(manager: Manager, chains: int) -> None:
    asyncio.run(_round(manager, chains))


async def _round(manager: Manager, chains: int) -> Round:
    client = Client(manager.endpoint)
    try:
        await _create(client, [f"warm-{n}" for n in range(WARM)])
        await _completed(manager, WARM)
        before = [cpu_seconds(pid)[0] for pid in (manager.pid, manager.plugin_pid())]
        begun = time.perf_counter()
        await _create(client, [f"chain-{n}" for n in range(chains)])
        called = time.perf_counter()
        await _completed(manager, WARM + chains)
        ended = time.perf_counter()
        after = [cpu_seconds(pid)[0] for pid in (manager.pid, manager.plugin_pid())]
    finally:
        await client.close()
    _check_calls(manager, WARM + chains)
    used = [b - a for a, b in zip(before, after, strict=True)]
    return Round(ended - begun, called - begun, used[0], used[1], chains * LENGTH, REFERENCE_US[BASE_HOSTS])


async def _create(client: Client, names: Sequence[str]) -> None:
    """CreateChain for each, some at once; it answers when the operation is on disk."""
    waiting = [(name, _descriptor(name)) for name in reversed(names)]

    async def one_by_one() -> None:
        while waiting:
            name, file = waiting.pop()
            await client.chains.CreateChain(pb.ChainRequest(descriptor=file, filename=f"{name}.json"))

    await asyncio.gather(*(one_by_one() for _ in range(CALLS_AT_ONCE)))


def _descriptor(name: str) -> bytes:
    """Each chain has a file of its own, as when they come from many customers: nothing read before serves it."""
    aliases = [f"hop{n}" for n in range(LENGTH)]
    document = {
        "chain": name,
        "ends": {"client": {"cidr": "10.1.0.0/24"}, "server": {"cidr": "10.9.0.0/24"}},
        "vnfs": {alias: {"vnfd": VNFD_ID} for alias in aliases},
        "path": ["client", *aliases, "server"],
    }
    return json.dumps(document).encode()


async def _completed(manager: Manager, count: int) -> None:
    """Look into the database until every chain's operation has ended well: watching would cost what is measured."""
    end = time.monotonic() + PATIENCE_S
    with closing(sqlite3.connect(f"file:{manager.state / 'vnfm.sqlite'}?mode=ro", uri=True)) as db:
        while (states := dict(db.execute(STATES).fetchall())) != {"COMPLETED": count}:
            if ended := {k: v for k, v in states.items() if k not in ("STARTING", "PROCESSING", "COMPLETED")}:
                raise BenchError(f"operations ended otherwise: {ended}: {_why(db)}")
            if time.monotonic() > end:
                raise BenchError(f"not over within {PATIENCE_S:.0f} s: {states}")
            await asyncio.sleep(0.05)


def _why(db: sqlite3.Connection) -> str:
    row = db.execute(
        "select error from operation where state not in ('STARTING', 'PROCESSING', 'COMPLETED') limit 1"
    ).fetchone()
    return str(row[0])[:400] if row else ""


def _check_calls(manager: Manager, chains: int) -> None:
    """That every call was made, by the VIM's own file and not by what the manager believes."""
    from vnfm.pb.vim.v1 import vim_pb2 as vim

    with closing(sqlite3.connect(f"file:{manager.state / 'vim/local/mock-state.json'}?mode=ro", uri=True)) as db:
        seen: dict[int, int] = {}
        for (data,) in db.execute("select resource from object"):
            resource = vim.Resource.FromString(data)
            if resource.state == vim.STATE_RUNNING:
                seen[resource.kind] = seen.get(resource.kind, 0) + 1
        probed = int(db.execute(PROBED).fetchone()[0])
    expected = {
        vim.KIND_LINK: chains * (LENGTH + 1),
        vim.KIND_SAP: chains * 2,
        vim.KIND_COMPUTE: chains * LENGTH,
        vim.KIND_PATH: chains,
    }
    if seen != expected:
        raise BenchError(f"the VIM has {seen} by kind, expected {expected}")
    if probed < chains * LENGTH:
        raise BenchError(f"probes crossed {probed} objects, expected at least the {chains * LENGTH} VNFCs")
