"""The journal: nothing that may exist is forgotten, and what is announced is what is."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from store_bench import NOW, Bench, entry, new, outbox, played

from vnfm.lcm.machine import St
from vnfm.lcm.operation import Operation, StepOutput
from vnfm.model.lcm import CancelMode, LcmOperationState, LcmOperationType
from vnfm.model.problem import Problem, ProblemError, problem
from vnfm.model.resources import Handle, Resource, ResourceKind, ResourceState
from vnfm.store import tables as t

S = LcmOperationState


def resource_of(operation: Operation) -> Resource:
    handle = Handle(operation.steps[0].allocates, "native-1", 1, "c3RhdGU=")
    return Resource(handle, ResourceKind.LINK, ResourceState.RUNNING, addresses=("10.0.0.1/29",))


async def names(bench: Bench) -> list[str]:
    return [r["name"] for r in await bench.rows(t.resource)]


def test_what_may_exist_is_on_record_from_its_intent_to_its_end(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        assert await names(bench) == []
        op = await bench.journal.append(op, (entry(op, St.STARTED),))
        assert await names(bench) == ["link a"]
        assert (await bench.resources.handles(op))[op.steps[0].allocates] == Handle(op.steps[0].allocates)
        op = await bench.journal.append(op, (entry(op, St.FAILED, problem=problem("x", "y").problem),))
        assert await names(bench) == ["link a"]  # a failed call may have left something
        op = await bench.journal.append(op, (entry(op, St.STARTED),))
        op = await bench.journal.append(op, (entry(op, St.DONE, output=StepOutput(resource_of(op))),))
        assert (await bench.resources.handles(op))[op.steps[0].allocates].native_id == "native-1"
        op = await bench.journal.append(op, (entry(op, St.UNDO_STARTED),))
        assert await names(bench) == ["link a"]
        op = await bench.journal.append(op, (entry(op, St.UNDONE),))
        assert await names(bench) == []

    played(tmp_path, story)


def test_the_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    async def story(bench: Bench) -> Operation:
        op = await bench.granted()
        op = await bench.journal.append(op, (entry(op, St.STARTED),))
        return await bench.journal.append(op, (entry(op, St.DONE, output=StepOutput(resource_of(op))),))

    written = played(tmp_path, story)

    async def later(bench: Bench) -> Operation:
        assert await bench.journal.running() == [written.id]
        return await bench.journal.load(written.id)

    assert played(tmp_path, later) == written


WRITES = {
    "append": ("step_event", "resource"),
    "enter": ("operation", "op_subject", "reservation", "outbox"),
    "control": ("step_event", "operation", "outbox"),
    "order": ("operation", "op_subject", "outbox"),
    "grant": ("operation", "reservation", "outbox"),
}


@pytest.mark.parametrize(("call", "table"), [(c, table) for c, tables in WRITES.items() for table in tables])
def test_a_transaction_that_breaks_leaves_neither_state_nor_notice(tmp_path: Path, call: str, table: str) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        fresh = await bench.order(await bench.vnf())
        spare = await bench.vnf()
        if call == "control":
            op = await bench.journal.append(op, (entry(op, St.STARTED),))
            op = await bench.journal.append(op, (entry(op, St.FAILED),))
            op = await bench.journal.enter(op, S.FAILED_TEMP, NOW)
        before = {x.name: await bench.rows(x) for x in t.metadata.sorted_tables}
        changes = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
        struck = False

        def strike(action: int, about: str | None, *_: Any) -> int:
            nonlocal struck
            hit = about == table and action in changes
            struck = struck or hit
            return sqlite3.SQLITE_DENY if hit else sqlite3.SQLITE_OK

        def watched(connection: Connection) -> None:
            connection.connection.dbapi_connection.set_authorizer(strike)

        event.listen(bench.database.engine, "begin", watched)
        calls = {
            "append": lambda: bench.journal.append(op, (entry(op, St.STARTED),)),
            "enter": lambda: bench.journal.enter(op, S.FAILED, NOW),
            "control": lambda: bench.journal.control(op, S.PROCESSING, (entry(op, St.STARTED),), NOW),
            "order": lambda: bench.order(spare),
            "grant": lambda: bench.journal.grant(fresh, _design(fresh, op), NOW),
        }
        error: ProblemError | None = None
        try:
            await calls[call]()
        except ProblemError as caught:
            error = caught
        event.remove(bench.database.engine, "begin", watched)
        bench.database.engine.dispose()
        assert struck
        assert error
        assert error.problem.word == "storage"
        assert {x.name: await bench.rows(x) for x in t.metadata.sorted_tables} == before

    played(tmp_path, story)


def _design(fresh: Operation, like: Operation) -> Any:
    from dataclasses import replace

    from vnfm.lcm.operation import Design
    from vnfm.model.needs import Isolation
    from vnfm.model.placement import Runtime
    from vnfm.placement.inventory import Reservation

    (step,) = like.steps
    assert step.link
    step = replace(step, link=replace(step.link, resource_id=new()))
    held = Reservation(step.allocates, "m", "h", "t", Runtime.CONTAINER, Isolation.NONE, 1, 1)
    return Design((step,), (held,))


def test_each_state_is_announced_once_for_the_operation_and_once_for_each_vnf(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        await bench.journal.enter(op, S.FAILED_TEMP, NOW, problem("x", "broken").problem)
        told = [r["body"] for r in await outbox(bench) if r["type"] == "VnfLcmOperationOccurrenceNotification"]
        whole = [b["operation_state"] for b in told if "vnf_instance_id" not in b]
        assert whole == ["STARTING", "PROCESSING", "FAILED_TEMP"]
        lanes = [b["operation_state"] for b in told if b.get("vnf_instance_id") == op.target_id]
        assert lanes == ["PROCESSING", "FAILED_TEMP"]
        assert told[-1]["error"]["detail"] == "broken"

    played(tmp_path, story)


def test_what_another_decided_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        await bench.journal.append(op, (entry(op, St.STARTED),))
        with pytest.raises(ProblemError, match="changed meanwhile") as late:
            await bench.journal.enter(op, S.COMPLETED, NOW)  # knows nothing of the step that runs
        assert late.value.problem.word == "conflict"
        now = await bench.journal.load(op.id)
        assert now.state is S.PROCESSING
        failed = await bench.journal.enter(now, S.FAILED_TEMP, NOW)
        with pytest.raises(ProblemError, match="changed meanwhile"):
            await bench.journal.request_cancel(failed, CancelMode.GRACEFUL)

    played(tmp_path, story)


def test_the_last_line_and_the_state_it_leads_to_are_on_record_together_or_not_at_all(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        begun = await bench.journal.append(op, (entry(op, St.STARTED),))
        last = (entry(op, St.DONE, output=StepOutput(resource_of(op))),)
        with pytest.raises(ProblemError, match="changed meanwhile"):
            await bench.journal.enter(op, S.COMPLETED, NOW, None, last)
        now = await bench.journal.load(op.id)
        assert (now.state, [e.to for e in now.log]) == (S.PROCESSING, [St.STARTED])
        done = await bench.journal.enter(begun, S.COMPLETED, NOW, None, last)
        assert done == await bench.journal.load(op.id)
        assert (done.state, [e.to for e in done.log]) == (S.COMPLETED, [St.STARTED, St.DONE])
        assert (await bench.resources.handles(op))[op.steps[0].allocates].native_id == "native-1"

    played(tmp_path, story)


def test_after_its_end_the_instance_is_free_for_the_next_operation(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.granted()
        with pytest.raises(ProblemError, match="INSTANTIATE of vnf is open in PROCESSING") as refused:
            await bench.order(op.target_id)
        assert f"vnfm op cancel {op.id[:8]}" in refused.value.problem.detail
        await bench.journal.enter(op, S.ROLLED_BACK, NOW)
        await bench.order(op.target_id)

    played(tmp_path, story)


def test_terminate_while_the_creation_failed_for_now_says_what_to_do(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        op = await bench.journal.enter(await bench.granted(), S.FAILED_TEMP, NOW)
        with pytest.raises(ProblemError) as refused:
            await bench.order(op.target_id, LcmOperationType.TERMINATE)
        found: Problem = refused.value.problem
        assert found.word == "conflict"
        for way in ("retry", "rollback", "fail"):
            assert f"`vnfm op {way} {op.id[:8]}`" in found.detail

    played(tmp_path, story)
