"""Taking the demo down: through the manager where it answers, by the stamps on the host where it does not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import demo_host
from demo_run import ROOT, Cli, Manager
from demo_tell import StoryError, Teller

OPEN = frozenset({"STARTING", "PROCESSING", "ROLLING_BACK", "FAILED_TEMP"})
PATIENCE_S = "90"


def state_folder(root: Path = ROOT) -> Path:
    """The demo's own state folder: one a clone, with a path short enough for a unix socket."""
    return Path("/var/tmp") / f"vnfm-demo-{hashlib.sha256(str(root).encode()).hexdigest()[:10]}"


def templates_folder(state: Path) -> Path:
    """Where the demo's microVM templates stand: in memory, apart from those of other managers on this host."""
    return Path("/dev/shm") / f"{state.name}-templates"


def remove_templates(state: Path) -> None:
    """Take them away once no guest needs them."""
    shutil.rmtree(templates_folder(state), ignore_errors=True)


def settle_operations(cli: Cli) -> None:
    """Bring every open operation to an end: what creates is rolled back, what terminates is seen through."""
    for op in cli.ask("op", "list"):
        if op["state"] not in OPEN or op.get("parent_id"):
            continue
        removing = "TERMINATE" in op["operation"]
        if op["state"] in ("STARTING", "PROCESSING") and not removing:
            cli.run("op", "cancel", op["id"], "--forceful", "--timeout", PATIENCE_S, timeout_s=120)
        elif op["state"] != "FAILED_TEMP":
            cli.run("op", "watch", op["id"], "--timeout", PATIENCE_S, timeout_s=120)
        state = cli.ask("op", "show", op["id"])["state"]
        if state == "FAILED_TEMP":
            # a change that has begun to take things away does not go back: it is seen through
            ways = ("retry",) if removing else ("rollback", "retry")
            if all(cli.run("op", way, op["id"], "--timeout", PATIENCE_S, timeout_s=120).returncode for way in ways):
                cli.run("op", "fail", op["id"])


def terminate_all(cli: Cli, tell: Callable[[str], None]) -> None:
    """Terminate and delete every chain and VNF that the manager knows."""
    settle_operations(cli)
    for kind in ("chain", "vnf"):
        items: list[dict[str, Any]] = cli.ask(kind, "list")
        for item in items:
            name = item["name"] or item["id"]
            state = item.get("instantiation_state") or item.get("state")
            if state != "NOT_INSTANTIATED":
                tell(f"terminating {kind} {name}")
                cli.run(kind, "terminate", item["id"], "--timeout", PATIENCE_S, timeout_s=120)
            cli.run(kind, "delete", item["id"])


def clear(teller: Teller, manager: Manager, cli: Cli) -> None:
    """Take down what stands on the state folder; the folder goes too. Never raises: it is the last resort.

    A second Ctrl-C breaks off; the next demo clears then.
    """
    if not manager.state.exists():
        return
    try:
        if not manager.running:
            for pid in demo_host.managers_of(manager.state):
                teller.line(f"the manager of an earlier demo still runs (process {pid}); ending it")
                _end(pid)
            manager.start()
        terminate_all(cli, teller.line)
    except StoryError as error:
        teller.bad(f"the manager could not take everything down ({error}); sweeping by stamps")
    manager.stop()
    for name in demo_host.sweep(manager.state):
        if name != f"folder {manager.state}":
            teller.line(f"swept: {name}")
    remove_templates(manager.state)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.1)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)


def remove_state(state: Path) -> None:
    """Take the state folder away once nothing runs on it."""
    if demo_host.mounts_below(state):
        raise StoryError(f"something is still mounted below {state}")
    shutil.rmtree(state, ignore_errors=True)
    remove_templates(state)
