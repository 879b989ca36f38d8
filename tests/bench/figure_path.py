"""Round trips and TCP through eight containers, wired by the library and by hand in the same way; measured in turns.

Both chains stand at the same time, and every program is pinned to a processor, so that the two differ in nothing but
who wired them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench_host import Workspace
from bench_manager import BenchError
from bench_rows import Bound, Row, Say, compared, skipped
from hand_wired import SERVER, fabric_chain, reachable, unwire, veth_chain
from net_chains import LibraryChains

BOUND = Bound(0.95, 0.97, better="higher")
HOPS = 8
WIRINGS = ("veth", "fabric")
UNITS = {"rtt": "us", "tcp": "Gbit/s"}
ROWS = tuple((f"{what}_{wiring}_8", unit, BOUND) for wiring in WIRINGS for what, unit in UNITS.items())
# Short turns, many of them: what else the host does falls upon both alike.
PING_ROUNDS, PINGS, PING_EVERY_S = 80, 50, "0.002"
TCP_ROUNDS, TCP_S = 11, 1  # iperf3 knows whole seconds only, and takes none for ever


@dataclass
class Side:
    """What was seen of one of the two chains."""

    client: str
    server: str
    rtt_us: list[float] = field(default_factory=list)
    gbit: list[float] = field(default_factory=list)


def figure(space: Workspace, quick: bool, say: Say) -> list[Row]:
    """Two rows a wiring: the ratio is ours to theirs, higher is better."""
    if missing := [name for name in ("ping", "iperf3") if not shutil.which(name)]:
        why = f"this host lacks {', '.join(missing)}: apt-get install -y iputils-ping iperf3"
        return [skipped(name, unit, bound, why) for name, unit, bound in ROWS]
    rows: list[Row] = []
    for wiring in WIRINGS:
        rows += _wiring(space, wiring, quick, say)
    return rows


def _wiring(space: Workspace, wiring: str, quick: bool, say: Say) -> list[Row]:
    library = LibraryChains(space, wiring)
    built = library.build(HOPS, steered=wiring == "fabric")
    make = fabric_chain if wiring == "fabric" else veth_chain
    wired = make(space, HOPS, f"p{wiring[0]}")
    ours, theirs = Side(built.client, built.server), Side(wired.client, wired.server)
    try:
        for side in (ours, theirs):
            if not reachable(f"/run/netns/{side.client}"):
                raise BenchError(f"the chain wired as {wiring} does not answer pings")
        _pings(ours, theirs, 10 if quick else PING_ROUNDS)
        with _server(ours), _server(theirs):
            _streams(ours, theirs, 3 if quick else TCP_ROUNDS)
    finally:
        unwire(wired)
        library.remove()
    least = f"least {min(ours.rtt_us):.0f} against {min(theirs.rtt_us):.0f} us"
    best = f"best {max(ours.gbit):.2f} against {max(theirs.gbit):.2f} Gbit/s"
    rows = [
        compared(f"rtt_{wiring}_8", "us", BOUND, ours.rtt_us, theirs.rtt_us, least, inverse=True),
        compared(f"tcp_{wiring}_8", "Gbit/s", BOUND, ours.gbit, theirs.gbit, best),
    ]
    for row in rows:
        say(f"{row.name}: {row.value} against {row.baseline} {row.unit}, {row.note}")
    return rows


def _turns(ours: Side, theirs: Side, rounds: int) -> Iterator[Side]:
    """Who goes first changes with every round."""
    for number in range(rounds):
        yield from (ours, theirs) if number % 2 else (theirs, ours)


def _pings(ours: Side, theirs: Side, rounds: int) -> None:
    for side in _turns(ours, theirs, rounds):
        words = ["ping", "-n", "-c", str(PINGS), "-i", PING_EVERY_S, "-W", "2", SERVER]
        done = subprocess.run(_pinned(0, side.client, *words), capture_output=True, text=True, check=False)
        times = [float(t) * 1e3 for t in re.findall(r"time=([\d.]+)", done.stdout)]
        if len(times) < PINGS:
            raise BenchError(f"{PINGS - len(times)} of {PINGS} pings were lost: {done.stderr[-200:]}")
        side.rtt_us += times


def _streams(ours: Side, theirs: Side, rounds: int) -> None:
    for side in _turns(ours, theirs, rounds):
        words = ["iperf3", "-c", SERVER, "-t", str(TCP_S), "-J"]
        done = subprocess.run(_pinned(0, side.client, *words), capture_output=True, text=True, timeout=60, check=False)
        with suppress(ValueError, KeyError):
            side.gbit.append(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9)
            continue
        raise BenchError(f"iperf3: {(done.stderr or done.stdout)[-300:]}")


@contextmanager
def _server(side: Side) -> Iterator[None]:
    words = _pinned(1, side.server, "iperf3", "-s")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        yield
    finally:
        process.terminate()
        process.wait()


def _pinned(processor: int, namespace: str, *words: str) -> list[str]:
    """In the namespace, on one processor."""
    within = ["nsenter", f"--net=/run/netns/{namespace}"]
    at = sorted(os.sched_getaffinity(0))
    pin = ["taskset", "-c", str(at[processor % len(at)])] if shutil.which("taskset") else []
    return [*within, *pin, *words]
