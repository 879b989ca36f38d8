"""How long a manager takes to answer, and how much memory it and its local VIM hold while they have nothing to do."""

from __future__ import annotations

import re
import statistics
import subprocess
import time

from bench_host import ROOT, Workspace, pss_bytes, python, python_environment, with_children
from bench_manager import Manager
from bench_rows import Bound, Row, Say, measured

START, PSS = "manager_start", "manager_pss"
START_BOUND = Bound(1.5, 1.0, on="value")
PSS_BOUND = Bound(160, 120, on="value")
ROWS = ((START, "s", START_BOUND), (PSS, "MiB", PSS_BOUND))
ROUNDS = 5
IDLE_S = 10.0
MIB = 1 << 20


def figure(space: Workspace, quick: bool, profile: bool, say: Say) -> list[Row]:
    """Spawn of `vnfm serve` to its `ready` line on an empty state folder; PSS after ten idle seconds."""
    first: list[float] = []
    again: list[float] = []
    told: list[str] = []
    sizes: list[float] = []
    rounds = 2 if quick else ROUNDS
    for number in range(rounds):
        manager = Manager(space.folder / f"start{number}")
        first.append(manager.start())
        manager.connected()
        manager.stop()
        again.append(manager.start())
        connected = manager.connected()
        if number == rounds - 1:
            time.sleep(3 if quick else IDLE_S)
            told = _sizes(manager)
            sizes.append(sum(pss_bytes(pid) for pid in with_children(manager.pid)) / MIB)
            told.append(f"VIM connected {connected:.2f} s after ready")
        manager.stop()
    say(
        f"{START}: {statistics.median(first):.2f} s, again {statistics.median(again):.2f} s; {PSS}: {sizes[-1]:.1f} MiB"
    )
    if profile:
        for line in import_times("vnfm.app"):
            say(f"  {line}")
        for line in import_times("plugins.local.service"):
            say(f"  {line}")
    note = f"on an empty state folder; again {statistics.median(again):.2f} s"
    return [
        measured(START, "s", START_BOUND, first, note),
        measured(PSS, "MiB", PSS_BOUND, sizes, "; ".join(told), decimals=1),
    ]


def _sizes(manager: Manager) -> list[str]:
    names = {manager.pid: "manager", manager.plugin_pid(): "plugin"}
    return [f"{names.get(pid, f'child {pid}')} {pss_bytes(pid) / MIB:.1f} MiB" for pid in with_children(manager.pid)]


def import_times(module: str, least_ms: float = 8.0) -> list[str]:
    """What importing takes, by `-X importtime`: modules whose own or whole time is worth a line."""
    done = subprocess.run(
        [python(), "-X", "importtime", "-c", f"import {module}"],
        cwd=ROOT,
        env=python_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)", done.stderr)
    lines = [(int(whole) / 1e3, len(indent) // 2, name) for _, whole, indent, name in found]
    return [f"{ms:6.1f} ms {'  ' * depth}{name}" for ms, depth, name in reversed(lines) if ms >= least_ms and depth < 4]
