"""From the death of a container VNF in a chain until packets flow again."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from bench_host import Workspace
from bench_manager import BenchError, Manager, NotOfferedError, chain_file
from bench_rows import Bound, Row, Say, measured, skipped
from figure_live import ends_of
from pinger import Pinger

from plugins.local.net import namespace_name, netns

NAME = "heal"
BOUND = Bound(1.0, 0.3, on="value")
ROWS = ((NAME, "s", BOUND),)
CHAIN = "bench-heal"
ALIASES = ("a", "b", "c")
ROUNDS = 6
PATIENCE_S = 20.0
PAUSE_S = 3.0


def figure(space: Workspace, manager: Manager, quick: bool, say: Say) -> list[Row]:
    """Seconds; the VNFs die in turns."""
    if not manager.offers("vnf", "heal"):
        why = "this vnfm has no `vnf heal`"
        say(f"{NAME}: skipped: {why}")
        return [skipped(NAME, "s", BOUND, why)]
    manager.ask("chain", "create", str(chain_file(space.folder, CHAIN, ALIASES)))
    times: list[float] = []
    try:
        for number in range(2 if quick else ROUNDS):
            times.append(_one(manager, ALIASES[number % len(ALIASES)]))
            time.sleep(PAUSE_S)  # what is left of the healing: the old one's removal
    finally:
        manager.cli("chain", "terminate", CHAIN, "-o", "json")
        manager.cli("chain", "delete", CHAIN, "-o", "json")
    say(f"{NAME}: {', '.join(f'{t:.2f}' for t in times)} s")
    return [measured(NAME, "s", BOUND, times, f"longest {max(times):.2f} s; kill -9 of the container's first process")]


def _one(manager: Manager, alias: str) -> float:
    chain = manager.ask("chain", "show", CHAIN)
    client, address = ends_of(chain)
    vnfc = next(v for v in chain["vnfs"] if v["alias"] == alias)["vnfcs"][0]
    pid = int(str(vnfc["native_id"]).rpartition(":")[2])
    pinger = Pinger(client, address)
    try:
        time.sleep(0.5)
        if not pinger.answered_after(0):
            raise BenchError("the chain does not answer pings before anything died")
        died = _kill(pid, vnfc)
        deadline = died + PATIENCE_S
        while not (back := pinger.answered_after(died)):
            if time.monotonic() > deadline:
                raise _no_heal(manager, f"no packets flow {PATIENCE_S:.0f} s after {alias} died")
            time.sleep(0.005)
    finally:
        pinger.stop()
    return back - died


def _kill(pid: int, vnfc: Any) -> float:
    """End the VNF, and its forwarding with it: that of this VNF is its namespace's kernel's, which would forward on for
    a VNF that is dead. One with a data path of its own takes it along."""

    def stop() -> float:
        descriptor = os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY)
        try:
            os.kill(pid, signal.SIGKILL)
            os.write(descriptor, b"0")
            return time.monotonic()
        finally:
            os.close(descriptor)

    return netns.inside(namespace_name(vnfc["id"]), stop)


def _no_heal(manager: Manager, text: str) -> BenchError:
    """With what the newest operations say."""
    ops = manager.ask("op", "list")[:3]
    told = "; ".join(f"{op['operation']} {op['target']} {op['state']}" for op in ops)
    for op in ops:
        error = op.get("error") or {}
        if str(error.get("type")).endswith(":unimplemented"):
            return NotOfferedError(error["detail"])
        told += f" ({error['detail'][:200]})" if error.get("detail") else ""
    return BenchError(f"{text}: {told}")
