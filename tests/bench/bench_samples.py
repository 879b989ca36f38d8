"""Where manager and plugin spend their processor time: one more manager, with a sampler in each of its processes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench_host import Workspace
from bench_manager import Manager, build_package

SAMPLER = Path(__file__).parent / "sampler"
ROOMS = ("api/", "lcm/", "recipes/", "store/", "vim/", "placement/", "graph/", "model/", "local/", "net/", "pluginkit/")
SHOWN = 25


def sampled(space: Workspace, work: Callable[[Manager], None], vim: str = "") -> list[str]:
    """Do the work on a manager of its own; lines with the share of each function of ours and all that it called."""
    folder = space.folder / "samples"
    folder.mkdir()
    before = dict(os.environ)
    manager = Manager(space.folder / "sampled", vim=vim)
    try:
        os.environ["VNFM_BENCH_SAMPLES"] = str(folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SAMPLER), before.get("PYTHONPATH"))))
        manager.start()
        manager.connected()
        pids = {"manager": manager.pid, "plugin": manager.plugin_pid()}
        manager.ask("package", "onboard", str(build_package(space)))
        work(manager)
        time.sleep(1.5)  # the sampler writes once a second
        return [line for name, pid in pids.items() for line in _told(name, folder / f"{pid}.txt")]
    finally:
        os.environ.clear()
        os.environ.update(before)
        manager.stop()


def _told(name: str, file: Path) -> list[str]:
    shares: Counter[str] = Counter()
    total = 0
    for line in file.read_text().splitlines() if file.exists() else ():
        count, _, stack = line.partition(" ")
        total += int(count)
        for frame in set(stack.split(";")):
            shares[frame] += int(count)
    ours = [(frame, n) for frame, n in shares.most_common() if frame.startswith(ROOMS)]
    return [f"{name}, {total} samples", *(f"{100 * n / max(1, total):5.1f}%  {frame}" for frame, n in ours[:SHOWN])]
