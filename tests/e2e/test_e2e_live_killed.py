"""kill -9 of the manager and of the plugin at every step of a change: the change is COMPLETED all the same, traffic
flows, nothing is doubled and nothing stays behind.

A step is an entry in the operation's journal; the change is begun anew for each entry, until it ends before the entry.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from e2e_host import wait_until
from e2e_live import assert_stands, create, heals, show, traced, vnfcs
from e2e_manager import OPEN, Manager, fresh_request_id
from e2e_packages import FW, MON, chain_file
from e2e_traffic import Pings, Streams

VNFS = {"fw": FW, "a": MON, "b": MON}
WAY = ["client", "fw", "a", "b", "server"]
MOST_STEPS = 60
COMMANDS: list[subprocess.Popen[str]] = []  # that ordered a change and may have lost the manager since


@pytest.fixture
def trio(manager: Manager, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Three containers; afterwards nothing is left."""
    yield create(manager, chain_file(tmp_path, "trio", VNFS), dict.fromkeys(VNFS, "CONTAINER"))
    for command in COMMANDS:
        command.kill()
        command.communicate()
    COMMANDS.clear()
    if manager.process is None:
        manager.start()
    manager.take_all_down(["default"])
    manager.nothing_stands()


def manager_dies(manager: Manager) -> None:
    """kill -9, and started again."""
    manager.kill()
    manager.start()


def plugin_dies(manager: Manager) -> None:
    """kill -9; the manager is to notice."""
    with suppress(ProcessLookupError):
        manager.kill_plugin()


def begin(manager: Manager, *words: str) -> str:
    """Order a change; the operation's id, known from the manager's database before the command has ended."""
    known = set(rows(manager, "select id from operation"))
    command = manager.begin(*words, "--no-wait", "--request-id", fresh_request_id(), "-o", "json")
    fresh: list[tuple[Any, ...]] = []

    def come() -> bool:
        fresh[:] = [row for row in rows(manager, "select id from operation") if row not in known]
        return bool(fresh) or command.poll() not in (None, 0)

    try:
        assert wait_until(come, 60, every_s=0.002), "the order was not taken"
        assert fresh, command.communicate()
    finally:
        COMMANDS.append(command)
    return str(fresh[0][0])


def rows(manager: Manager, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What the manager's database answers, read without asking the manager."""
    database = f"file:{manager.state / 'vnfm.sqlite'}?mode=ro"
    with closing(sqlite3.connect(database, uri=True, timeout=10)) as connection:
        return connection.execute(query, values).fetchall()


def entries(manager: Manager, op_id: str) -> tuple[int, str]:
    """How many entries the operation's journal has, and its state."""
    with suppress(sqlite3.OperationalError):
        ((number,),) = rows(manager, "select count(*) from step_event where operation_id = ?", op_id)
        ((state,),) = rows(manager, "select state from operation where id = ?", op_id)
        return int(number), str(state)
    return 0, OPEN[0]


def strike_at(manager: Manager, op_id: str, entry: int, strike: Callable[[Manager], None]) -> bool:
    """Whether there was such an entry before the operation's end; then the blow fell there."""
    seen = (0, OPEN[0])

    def come() -> bool:
        nonlocal seen
        seen = entries(manager, op_id)
        return seen[0] >= entry or seen[1] not in OPEN

    assert wait_until(come, 120, every_s=0.002), f"entry {entry} never came: {seen}"
    if seen[1] not in OPEN:
        return False
    strike(manager)
    return True


def insert(manager: Manager) -> str:
    return begin(manager, "chain", "insert", "trio", "--vnf", "mon", "--as", "guest", "--after", "fw")


def remove(manager: Manager) -> str:
    return begin(manager, "chain", "remove", "trio", "guest")


def replace(manager: Manager) -> str:
    return begin(manager, "chain", "replace-vnf", "trio", "a")


def heal(manager: Manager) -> str:
    return begin(manager, "vnf", "heal", "trio/a")


def scale_out(manager: Manager) -> str:
    return begin(manager, "chain", "scale", "trio", "a", "--replicas", "2")


def scale_in(manager: Manager) -> str:
    return begin(manager, "chain", "scale", "trio", "a", "--replicas", "1")


CHANGES: dict[Callable[[Manager], str], Callable[[Manager], str] | None] = {  # and what takes them back
    insert: remove,
    remove: insert,
    replace: None,
    heal: None,
    scale_out: scale_in,
    scale_in: scale_out,
}
SHORT = [(insert, manager_dies, 4), (heal, plugin_dies, 5)]


def round_of(manager: Manager, change: Callable[[Manager], str], entry: int, strike: Callable[[Manager], None]) -> bool:
    """One blow; whether it fell. The change is COMPLETED either way."""
    op_id = change(manager)
    fell = strike_at(manager, op_id, entry, strike)
    op = manager.completed(op_id, 120)
    print(f"{change.__name__}, {strike.__name__} at entry {entry}: {op['state']}")
    way = ["client", "fw", "guest", *WAY[2:]] if change is insert else WAY
    assert traced(manager, "trio") == way
    chain = show(manager, "trio")
    assert len(vnfcs(chain, "a")) == (2 if change is scale_out else 1)
    assert_stands(manager, chain)
    assert manager.open_operations() == []
    return fell


def prepare(manager: Manager, change: Callable[[Manager], str]) -> None:
    """What must be there before the change can be ordered."""
    before = {remove: insert, scale_in: scale_out}.get(change)
    if before is not None:
        manager.completed(before(manager))


@pytest.mark.parametrize(("change", "strike", "entry"), SHORT)
def test_killed_in_the_middle_of_a_change(
    manager: Manager,
    trio: dict[str, Any],
    change: Callable[[Manager], str],
    strike: Callable[[Manager], None],
    entry: int,
) -> None:
    prepare(manager, change)
    with Streams(trio) as streams, Pings(trio) as pings:
        assert round_of(manager, change, entry, strike), "the change was over before the blow"
        pings.flow()
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    assert not [op for op in heals(manager) if change is not heal and op["target"].startswith("trio")]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("strike", [manager_dies, plugin_dies])
@pytest.mark.parametrize("change", CHANGES)
def test_killed_at_every_step_of_a_change(
    manager: Manager, trio: dict[str, Any], change: Callable[[Manager], str], strike: Callable[[Manager], None]
) -> None:
    back = CHANGES[change]
    prepare(manager, change)
    with Streams(trio) as streams, Pings(trio) as pings:
        for entry in count(1):
            assert entry < MOST_STEPS
            if not round_of(manager, change, entry, strike):
                break
            pings.flow()
            if back is not None:
                manager.completed(back(manager))
        assert entry > 4, "the blows fell nowhere"
    pings.report.assert_none_lost()
    streams.assert_none_broke()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("strike", [manager_dies, plugin_dies])
def test_killed_at_every_step_of_a_healing_that_nobody_ordered(
    manager: Manager, trio: dict[str, Any], strike: Callable[[Manager], None]
) -> None:
    fell = True
    for entry in count(1):
        known = len(heals(manager))
        (pid, *_) = manager.witness.inhabitants(vnfcs(show(manager, "trio"), "a")[0]["id"])
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda known=known: len(heals(manager)) > known, 30, every_s=0.02), "no HEAL was begun"
        op_id = heals(manager)[0]["id"]
        fell = strike_at(manager, op_id, entry, strike)
        manager.completed(op_id, 120)
        time.sleep(1)
        assert len(heals(manager)) == known + 1, "one death, one HEAL"
        with Pings(trio) as pings:
            pass
        pings.report.assert_none_lost()
        assert_stands(manager, show(manager, "trio"))
        assert entry < MOST_STEPS
        if not fell:
            break
