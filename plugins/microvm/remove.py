"""Taking a container away: whatever of it is left, in whatever state it is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from plugins.microvm import cgroup, network, statefile
from plugins.microvm.errors import NotFound
from plugins.microvm.store import Container, load


def clean_up(root: Path, container: str) -> None:
    """End what runs, then remove redirects, cgroup and folder; each step may have been done before."""
    try:
        found = load(root, container)
    except NotFound:
        return
    _end(found)
    if found.netns:
        network.disconnect(found.netns, found.links)
    if found.cgroup:
        cgroup.remove(found.cgroup)
    shutil.rmtree(found.folder, ignore_errors=True)


def _end(found: Container) -> None:
    """Kill the relay, by which qemu dies, and what else is in the cgroup."""
    if found.status != statefile.STOPPED and found.pid != os.getpid():
        _kill(found.pid)
        end = time.monotonic() + 5
        while statefile.start_time(found.pid) and time.monotonic() < end:
            time.sleep(0.005)
    if found.cgroup:
        for pid in cgroup.members(found.cgroup):
            if pid != os.getpid():
                _kill(pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
