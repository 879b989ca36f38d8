"""kill -9 of the manager, of the plugin, of both, at random moments: the operation is COMPLETED, nothing is doubled,
no orphan stays.

A moment is a place in the operation's journal, drawn with a fixed seed, and a little while after it; so the moments
spread over the whole operation on a quick and on a loaded machine alike.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e_chains import assert_each_exists_once, assert_probe_counted
from e2e_host import wait_until
from e2e_manager import OPEN, Manager, fresh_request_id
from e2e_packages import FW, VCPE, chain_file

SEED = 20
EVENTS = {"quick": 20, "vcpe": 28}  # a STARTED and a DONE for each step
LINGER_S = {"quick": 0.05, "vcpe": 1.2}
SHORT = [("quick", n) for n in range(8)] + [("vcpe", n) for n in range(2)]
FULL = [("vcpe", n) for n in range(10)]


@dataclass(frozen=True)
class Moment:
    """After so many entries in the journal, and then so much later."""

    entries: int
    then_s: float


def moment(who: str, chain: str, number: int, rounds: int) -> Moment:
    """The rounds' moments are spread over the operation: one in each stretch of it, at random."""
    dice = random.Random(f"{SEED} {who} {chain} {number}")
    entries = int((number + dice.random()) * EVENTS[chain] / rounds)
    return Moment(entries, dice.uniform(0, LINGER_S[chain]))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A chain of two containers, and the vCPE."""
    folder = tmp_path_factory.mktemp("chains")
    return {"quick": chain_file(folder, "quick", {"a": FW, "b": FW}), "vcpe": VCPE}


@pytest.fixture
def chains(manager: Manager, files: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """The chains' files; afterwards nothing stands."""
    yield files
    if manager.process is None:
        manager.start()
    manager.take_all_down(["default"])
    manager.nothing_stands()


def begin(manager: Manager, *args: str) -> str:
    """Start an operation; its id."""
    return str(manager.ask(*args, "--no-wait", "--request-id", fresh_request_id())["id"])


def await_moment(manager: Manager, op_id: str, at: Moment) -> str:
    """Wait for it, without asking the manager; the operation's state then."""
    database = f"file:{manager.state / 'vnfm.sqlite'}?mode=ro"
    seen: dict[str, Any] = {"entries": 0, "state": ""}

    def come() -> bool:
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database, uri=True)) as connection:
            query = "select count(*) from step_event where operation_id = ?"
            seen["entries"] = connection.execute(query, (op_id,)).fetchone()[0]
            seen["state"] = connection.execute("select state from operation where id = ?", (op_id,)).fetchone()[0]
        return seen["entries"] >= at.entries or seen["state"] not in OPEN

    assert wait_until(come, 120, every_s=0.003), f"{at} never came: {seen}"
    time.sleep(at.then_s)  # not a wait for something: the moment itself
    return str(seen["state"])


def assert_created(manager: Manager, op_id: str, name: str) -> None:
    """COMPLETED by itself, each object once, and the probe went through."""
    manager.completed(op_id)
    chain = manager.ask("chain", "show", name)
    assert chain["state"] == "INSTANTIATED"
    assert_probe_counted(chain)
    assert wait_until(lambda: not _plugins_beside(manager), 15), "an earlier plugin still runs"
    assert_each_exists_once(manager, chain)
    assert manager.open_operations() == []


def assert_gone(manager: Manager, name: str) -> None:
    """Terminated, nothing of it stays."""
    manager.take_down(name)
    manager.nothing_stands()


def _plugins_beside(manager: Manager) -> set[int]:
    own = manager.own_pids()
    return {pid for pid in manager.witness.processes() - own if _is_plugin(pid)}


def _is_plugin(pid: int) -> bool:
    with suppress(OSError):
        return b"plugins.local" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def manager_dies(manager: Manager) -> None:
    """kill -9, and started again."""
    manager.kill()
    manager.start()


def plugin_dies(manager: Manager) -> None:
    """kill -9; the manager is to notice."""
    manager.kill_plugin()


def both_die(manager: Manager) -> None:
    """kill -9 of both, and the manager started again."""
    assert manager.process is not None
    pids = (manager.process.pid, manager.plugin_pid())
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    manager.kill()
    manager.start()


def create_and_strike(
    manager: Manager, chains: dict[str, Path], name: str, at: Moment, strike: Callable[[Manager], None]
) -> None:
    """One round."""
    op_id = begin(manager, "chain", "create", str(chains[name]))
    state = await_moment(manager, op_id, at)
    print(f"{name}: {strike.__name__} after {at.entries} entries and {at.then_s:.2f} s, operation {state}")
    strike(manager)
    assert_created(manager, op_id, name)
    assert_gone(manager, name)


def rounds_of(table: list[tuple[str, int]], name: str) -> int:
    """How many rounds of this chain the table has."""
    return sum(1 for chain, _ in table if chain == name)


@pytest.mark.parametrize(("name", "number"), SHORT)
def test_the_manager_is_killed_while_it_creates(
    manager: Manager, chains: dict[str, Path], name: str, number: int
) -> None:
    at = moment("manager", name, number, rounds_of(SHORT, name))
    create_and_strike(manager, chains, name, at, manager_dies)


@pytest.mark.parametrize(("name", "number"), SHORT)
def test_the_plugin_is_killed_while_it_realizes(
    manager: Manager, chains: dict[str, Path], name: str, number: int
) -> None:
    at = moment("plugin", name, number, rounds_of(SHORT, name))
    create_and_strike(manager, chains, name, at, plugin_dies)


@pytest.mark.parametrize(("name", "number"), [("quick", 0), ("vcpe", 1)])
def test_both_are_killed_at_once(manager: Manager, chains: dict[str, Path], name: str, number: int) -> None:
    create_and_strike(manager, chains, name, moment("both", name, number, 2), both_die)


@pytest.mark.parametrize(
    ("name", "strike"),
    [
        ("quick", manager_dies),
        ("quick", plugin_dies),
        ("vcpe", both_die),
        pytest.param("quick", both_die, marks=pytest.mark.long),
        pytest.param("vcpe", manager_dies, marks=pytest.mark.long),
        pytest.param("vcpe", plugin_dies, marks=pytest.mark.long),
    ],
)
def test_killed_while_it_terminates(
    manager: Manager, chains: dict[str, Path], name: str, strike: Callable[[Manager], None]
) -> None:
    begun = begin(manager, "chain", "create", str(chains[name]))
    manager.completed(begun)
    op_id = begin(manager, "chain", "terminate", name)
    dice = random.Random(f"{SEED} {strike.__name__} {name}")
    await_moment(manager, op_id, Moment(dice.randrange(1, 14), dice.uniform(0, 0.05)))
    strike(manager)
    manager.completed(op_id)
    manager.nothing_stands()
    manager.ask("chain", "delete", name)


@pytest.mark.long
@pytest.mark.parametrize("strike", [manager_dies, plugin_dies, both_die])
@pytest.mark.parametrize(("name", "number"), FULL)
def test_ten_times_each_with_all_three_realizations(
    manager: Manager, chains: dict[str, Path], name: str, number: int, strike: Callable[[Manager], None]
) -> None:
    at = moment(f"full {strike.__name__}", name, number, rounds_of(FULL, name))
    create_and_strike(manager, chains, name, at, strike)
