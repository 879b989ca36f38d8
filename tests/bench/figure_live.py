"""A hop is inserted into a live chain and removed again, time after time, while pings run."""

from __future__ import annotations

import itertools
import re
import statistics
from typing import Any

from bench_host import Workspace
from bench_manager import VNFD_ID, BenchError, Manager, chain_file
from bench_rows import Bound, Row, Say, measured, skipped
from pinger import Echo, Pinger

from plugins.local.net import namespace_name

LOST, SWITCH = "live_lost", "live_switch"
LOST_BOUND = Bound(0, 0, on="value")
SWITCH_BOUND = Bound(None, 10, on="value")
ROWS = ((LOST, "packets", LOST_BOUND), (SWITCH, "ms", SWITCH_BOUND))
CHAIN = "bench-live"
ROUNDS = 10  # of one insert and one removal


def figure(space: Workspace, manager: Manager, quick: bool, say: Say) -> list[Row]:
    """Packets lost over all inserts and removals; milliseconds that a switch takes."""
    for verb in ("insert", "remove"):
        if not manager.offers("chain", verb):
            why = f"this vnfm has no `chain {verb}`"
            say(f"{LOST}, {SWITCH}: skipped: {why}")
            return [skipped(name, unit, bound, why) for name, unit, bound in ROWS]
    manager.ask("chain", "create", str(chain_file(space.folder, CHAIN, ["a", "b"])))
    try:
        client, address = ends_of(manager.ask("chain", "show", CHAIN))
        pinger = Pinger(client, address)
        try:
            ops = _switch(manager, 2 if quick else ROUNDS)
        finally:
            echoes = pinger.stop()
    finally:
        manager.cli("chain", "terminate", CHAIN, "-o", "json")
        manager.cli("chain", "delete", CHAIN, "-o", "json")
    return _rows(ops, echoes, say)


def ends_of(chain: Any) -> tuple[str, str]:
    """The namespace of the client, and the server's address."""
    ends = {end["name"]: end for end in chain["ends"]}
    return namespace_name(ends["client"]["resource_id"]), str(ends["server"]["address"]).partition("/")[0]


def _switch(manager: Manager, rounds: int) -> list[Any]:
    ops = []
    for _ in range(rounds):
        ops.append(manager.ask("chain", "insert", CHAIN, "--vnf", VNFD_ID, "--as", "x", "--after", "a"))
        ops.append(manager.ask("chain", "remove", CHAIN, "x"))
    for op in ops:
        if op["state"] != "COMPLETED":
            raise BenchError(f"{op['operation']}: {op['state']} {op['error']}")
    return ops


def _rows(ops: list[Any], echoes: list[Echo], say: Say) -> list[Row]:
    answered = sorted(e.answered for e in echoes if e.answered)
    lost = len(echoes) - len(answered)
    pauses = [b - a for a, b in itertools.pairwise(answered)]
    seconds = echoes[-1].sent - echoes[0].sent
    note = (
        f"of {len(echoes)} pings ({len(echoes) / seconds:.0f}/s) over {len(ops)} inserts and removals; "
        f"longest silence {max(pauses) * 1e3:.0f} ms"
    )
    switches = [ms for op in ops for ms in switch_ms(op)]
    say(f"{LOST}: {lost} {note}; {SWITCH}: {statistics.median(switches):.1f} ms")
    whole = [float(s["seconds"]) for op in ops for s in op["steps"]]
    return [
        Row(LOST, "packets", LOST_BOUND, float(lost), n=len(echoes), note=note),
        measured(
            SWITCH,
            "ms",
            SWITCH_BOUND,
            switches,
            f"the step that steers, as the operation tells; slowest step {max(whole):.2f} s",
        ),
    ]


def switch_ms(op: Any) -> list[float]:
    """How long the operation's steps on paths took; the plugin's own word on the switch where it has one."""
    found = []
    for step in op["steps"]:
        if not re.match(r"(path|steer|switch)\b", step["name"]):
            continue
        said = re.search(r"switch\w*\D*([\d.]+) ?ms", step.get("detail") or "")
        found.append(float(said[1]) if said else float(step["seconds"]) * 1e3)
    return found
