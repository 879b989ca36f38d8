"""Transactions that share a commit: each is its caller's own all the same; a crash takes all of a group or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from store_bench import NOW, Bench, entry, outbox, played

from vnfm.lcm.machine import St
from vnfm.lcm.operation import Design, Operation
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError, problem
from vnfm.placement.inventory import Reservation
from vnfm.store import costs
from vnfm.store import tables as t
from vnfm.store.group import tell
from vnfm.store.rows import announce
from vnfm.store.statements import new_row_unless_there

MANY = 12


class Busy:
    """Keeps the writer busy until it is let go, so that what is written meanwhile waits together."""

    def __init__(self, bench: Bench) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self._task = asyncio.create_task(bench.database.write(self._work))

    def _work(self, _: Connection) -> None:
        self._begun.set()
        assert self._go.wait(20)

    async def with_waiting(self, *waiting: Any) -> list[Any]:
        """The outcomes of these, all submitted while it is busy."""
        assert await asyncio.to_thread(self._begun.wait, 20)
        tasks = [asyncio.ensure_future(w) for w in waiting]
        await asyncio.sleep(0)
        self._go.set()
        await self._task
        return await asyncio.gather(*tasks, return_exceptions=True)


def note(text: str, *facts: object, then: Exception | None = None) -> Callable[[Connection], str]:
    """A transaction that puts a notice into the outbox, tells facts, and may fail after all that."""

    def work(c: Connection) -> str:
        announce(c, "t", NOW, text, {})
        for fact in facts:
            tell(c, fact)
        if then:
            raise then
        return text

    return work


def commits(bench: Bench) -> list[int]:
    """One for each commit from now on."""
    seen: list[int] = []
    event.listen(bench.database.engine, "commit", lambda _: seen.append(1))
    return seen


async def noted(bench: Bench) -> list[str]:
    return [row["type"] for row in await outbox(bench)]


def test_those_that_wait_share_a_commit_and_keep_their_order(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        busy, seen = Busy(bench), commits(bench)
        names = [f"n{i}" for i in range(MANY)]
        assert await busy.with_waiting(*(bench.database.write(note(n)) for n in names)) == names
        assert await noted(bench) == names
        assert len(seen) == 2

    played(tmp_path, story)


def test_one_that_fails_takes_back_its_own_and_no_more(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        told: list[object] = []
        bench.database.listeners.append(told.append)
        refusal = problem("conflict", "no")
        outcomes = await Busy(bench).with_waiting(
            bench.database.write(note("a", 1, 2)),
            bench.database.write(note("b", 3, then=refusal)),
            bench.database.write(note("c", 4)),
            bench.database.write(note("d", 5, then=KeyError("a mistake"))),
        )
        assert outcomes[0] == "a"
        assert outcomes[1] is refusal
        assert outcomes[2] == "c"
        assert isinstance(outcomes[3], KeyError)
        assert await noted(bench) == ["a", "c"]
        assert told == [1, 2, 4]

    played(tmp_path, story)


def test_facts_are_told_before_the_caller_goes_on(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        told: list[object] = []
        bench.database.listeners.append(told.append)

        async def written(number: int) -> bool:
            await bench.database.write(note(str(number), number))
            return number in told

        assert await Busy(bench).with_waiting(*(written(n) for n in range(MANY))) == [True] * MANY
        assert told == list(range(MANY))

    played(tmp_path, story)


def test_the_disk_fails_one_of_a_group_and_the_others_are_written(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        full = OperationalError("INSERT", None, Exception("database or disk is full"))
        outcomes = await Busy(bench).with_waiting(
            bench.database.write(note("a")),
            bench.database.write(note("b", then=full)),
            bench.database.write(note("c")),
        )
        assert outcomes[::2] == ["a", "c"]
        assert isinstance(outcomes[1], ProblemError)
        assert outcomes[1].problem.word == "no-space"
        assert await noted(bench) == ["a", "c"]

    played(tmp_path, story)


def test_a_commit_that_fails_fails_all_of_its_group_and_nothing_is_told(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        told: list[object] = []
        bench.database.listeners.append(told.append)
        left = [None, OperationalError("COMMIT", None, Exception("disk I/O error"))]

        def strike(_: Connection) -> None:
            if left and (error := left.pop(0)):
                raise error

        event.listen(bench.database.engine, "commit", strike)
        outcomes = await Busy(bench).with_waiting(*(bench.database.write(note(str(n), n)) for n in range(MANY)))
        assert [o.problem.word for o in outcomes if isinstance(o, ProblemError)] == ["no-space"] * MANY
        assert (await noted(bench), told) == ([], [])
        assert await bench.database.write(note("after")) == "after"  # and it goes on

    played(tmp_path, story)


def test_a_caller_that_left_has_its_transaction_ended_when_it_hears_of_it(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        async def impatient() -> bool:
            task = asyncio.create_task(bench.database.write(note("left")))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled() and "left" in await noted(bench)

        outcomes = await Busy(bench).with_waiting(impatient(), bench.database.write(note("stays")))
        assert outcomes == [True, "stays"]

    played(tmp_path, story)


# ---- what is held, in memory ----


def design(operation: Operation, host: str) -> Design:
    return Design((), (Reservation(operation.id, "m", host, "t", Runtime.CONTAINER, Isolation.NONE, 10, 1),))


async def hosts_held(bench: Bench) -> list[str]:
    return sorted(r.host for r in (await bench.resources.holdings()).reservations)


def test_what_is_held_follows_the_commits_whoever_asks_in_between(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        ops = [await bench.order(await bench.vnf()) for _ in range(MANY)]

        async def granted(op: Operation) -> bool:
            bench.resources.hold(design(op, op.id))
            asked = hosts_held(bench)  # before it is on disk
            await bench.journal.grant(op, design(op, op.id), NOW)
            return op.id in await asked and op.id in await hosts_held(bench)

        assert await asyncio.gather(*(granted(op) for op in ops)) == [True] * MANY
        stored = {row["resource_id"] for row in await bench.rows(t.reservation)}
        assert set(await hosts_held(bench)) == stored == {op.id for op in ops}

    played(tmp_path, story)


def test_what_was_held_too_soon_is_let_go(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        kept, late = [await bench.order(await bench.vnf()) for _ in range(2)]
        await bench.journal.grant(kept, design(kept, "kept"), NOW)
        assert await hosts_held(bench) == ["kept"]
        bench.resources.hold(design(late, "late"))
        assert await hosts_held(bench) == ["kept", "late"]
        bench.resources.forget_held()  # its grant did not get to the disk
        assert await hosts_held(bench) == ["kept"]

    played(tmp_path, story)


# ---- crashes ----

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from sqlalchemy import event
from store_bench import NOW, Bench, entry
from test_group_commit import MANY, Busy
from vnfm.lcm.machine import St

async def main(folder, when):
    bench = Bench(Path(folder))
    ops = [await bench.granted() for _ in range(MANY)]
    print(*(op.id for op in ops), flush=True)
    seen = []
    def die(*_):
        seen.append(1)
        if len(seen) == 2:  # the first commit is that of who kept the writer busy
            os.kill(os.getpid(), signal.SIGKILL)
    if when == "after":
        from vnfm.store.group import GroupWriter
        # the group of one is that of who kept the writer busy; groups are answered once they are on the disk
        GroupWriter._answer = lambda _, group: os.kill(os.getpid(), signal.SIGKILL) if len(group) > 1 else None
    else:
        event.listen(bench.database.engine, "commit", die)
    waiting = [bench.journal.append(op, (entry(op, St.STARTED),)) for op in ops]
    await asyncio.wait([asyncio.create_task(Busy(bench).with_waiting(*waiting))], timeout=20)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("when", "lines"), [("before", 0), ("after", 1)])
def test_kill_9_around_a_shared_commit_leaves_all_or_nothing_of_it(tmp_path: Path, when: str, lines: int) -> None:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path), when],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    ids = done.stdout.split()
    assert len(ids) == MANY

    async def story(bench: Bench) -> None:
        assert set(await bench.journal.running()) == set(ids)  # each is taken up again
        for operation_id in ids:
            op = await bench.journal.load(operation_id)
            assert [e.to for e in op.log] == [St.STARTED] * lines
            known = [r for r in await bench.rows(t.resource) if r["id"] == op.steps[0].allocates]
            assert len(known) == lines  # what may exist is on record exactly where the intent is
            if not lines:
                op = await bench.journal.append(op, (entry(op, St.STARTED),))
            await bench.journal.append(op, (entry(op, St.DONE),))

    played(tmp_path, story)


# ---- the other database ----


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_what_differs_between_the_databases_is_understood_by_both(dialect: str) -> None:
    kind = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect()
    for statement in (costs._started(dialect), costs._crossed(dialect), new_row_unless_there(t.resource, dialect)):
        text = str(statement.compile(dialect=kind))
        assert " ON CONFLICT (" in text
        assert " / (" in text or "DO NOTHING" in text or "hop_us" in text
        assert "FLOOR" not in text.upper()  # whole numbers stay whole
