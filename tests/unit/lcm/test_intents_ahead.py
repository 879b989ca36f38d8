"""A creation puts the intent of all its steps on record at once: what that saves, and that nothing is forgotten or
believed to be there which is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from lcm_bench import Bench, clock, fine

from vnfm.lcm import control
from vnfm.lcm.actions import Context
from vnfm.lcm.machine import St
from vnfm.lcm.operation import LogEntry, Operation, StepOutput
from vnfm.lcm.steps import Step
from vnfm.model.lcm import CancelMode, LcmOperationState
from vnfm.model.problem import problem

S = LcmOperationState
Story = Callable[[Bench], Coroutine[Any, Any, None]]
THREE = (("a",), ("b", "a"), ("c", "b"))


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def main() -> None:
            bench = Bench(tmp_path)
            bench.names = THREE
            try:
                await story(bench)
            finally:
                await bench.close()

        asyncio.run(main())

    return run


def fails_at(key: str) -> Callable[[Step, Context], Coroutine[Any, Any, StepOutput]]:
    async def act(step: Step, ctx: Context) -> StepOutput:
        if step.key == key:
            raise problem("planted", f"{step.key} fails")
        return StepOutput()

    return act


def states(operation: Operation) -> dict[str, str]:
    return {key: state.value for key, state in operation.status.items()}


def test_a_creation_in_which_nothing_fails_is_two_transactions_and_no_call_precedes_its_intent(play) -> None:
    async def story(bench: Bench) -> None:
        written: list[tuple[str, tuple[LogEntry, ...]]] = []
        on_record: set[str] = set()
        enter, grant, append = bench.journal.enter, bench.journal.grant, bench.journal.append

        async def granting(operation: Operation, design: Any, at: Any, entries: tuple[LogEntry, ...] = ()) -> Operation:
            granted = await grant(operation, design, at, entries)
            on_record.update(e.step for e in entries if e.to is St.STARTED)
            written.append(("grant", entries))
            return granted

        async def entering(*args: Any) -> Operation:
            written.append(("enter", args[4]))
            return await enter(*args)

        async def appending(operation: Operation, entries: tuple[LogEntry, ...]) -> Operation:
            written.append(("append", entries))
            return await append(operation, entries)

        async def on_record_first(step: Step, ctx: Context) -> StepOutput:
            assert step.key in on_record
            return StepOutput()

        bench.journal.grant, bench.journal.enter = granting, entering  # type: ignore[method-assign]
        bench.journal.append = appending  # type: ignore[method-assign]
        bench.do = on_record_first
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        done = await bench.until(operation, S.COMPLETED, S.FAILED_TEMP)
        assert done.state is S.COMPLETED
        assert [(what, [e.to.value for e in entries]) for what, entries in written] == [
            ("grant", ["STARTED"] * 3),
            ("enter", ["DONE"] * 3),
        ]
        assert [e.step for e in written[1][1]] == ["a", "b", "c"]

    play(story)


def test_what_comes_after_a_failure_is_as_if_it_had_never_been_meant(play) -> None:
    async def story(bench: Bench) -> None:
        bench.do = fails_at("b")
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        failed = await bench.until(operation, S.FAILED_TEMP)
        assert states(failed) == {"a": "DONE", "b": "FAILED", "c": "PENDING"}
        assert failed.error
        assert failed.error.word == "planted"
        kept = {r.name for r in await bench.resources.of_subject(operation.target_id)}
        assert kept == {"link a", "link b"}  # nothing of c may exist
        bench.do = fine
        await control.retry(bench.journal, bench.runner, failed, clock)
        assert states(await bench.until(operation, S.COMPLETED)) == dict.fromkeys("abc", "DONE")

    play(story)


def test_a_graceful_cancel_takes_back_what_has_not_begun(play) -> None:
    async def story(bench: Bench) -> None:
        began, go = asyncio.Event(), asyncio.Event()

        async def slow(step: Step, ctx: Context) -> StepOutput:
            began.set()
            await go.wait()
            return StepOutput()

        bench.do = slow
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await asyncio.wait_for(began.wait(), 20)
        running = await bench.journal.load(operation.id)
        await control.cancel(bench.journal, bench.runner, running, CancelMode.GRACEFUL)
        go.set()
        ended = await bench.until(operation, S.FAILED_TEMP)
        assert states(ended) == {"a": "DONE", "b": "PENDING", "c": "PENDING"}

    play(story)


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_after_a_crash_what_may_have_been_called_is_undone_though_its_turn_does_not_come(play, how: str) -> None:
    async def story(bench: Bench) -> None:
        called: list[str] = []
        at_b = asyncio.Event()

        async def stuck_at_b(step: Step, ctx: Context) -> StepOutput:
            called.append(step.key)
            if step.key == "b":
                at_b.set()
                await asyncio.Event().wait()
            return StepOutput()

        bench.do = stuck_at_b
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await asyncio.wait_for(at_b.wait(), 20)
        await bench.runner.close()  # the manager dies: a is done and, perhaps, not on record; b was called
        undone: list[str] = []

        async def note(step: Step, ctx: Context) -> StepOutput:
            undone.append(step.key)
            return StepOutput()

        bench.do = fails_at("a") if how == "fails" else fine
        bench.undo = note
        if how == "is cancelled":
            await bench.journal.request_cancel(await bench.journal.load(operation.id), CancelMode.FORCEFUL)
        bench.runner = bench.new_runner()
        await bench.runner.resume()
        failed = await bench.until(operation, S.FAILED_TEMP)
        assert failed.status["b"] is St.FAILED
        assert failed.error
        assert failed.error.word == ("planted" if how == "fails" else "cancelled")
        await control.rollback(bench.journal, bench.runner, failed, clock)
        await bench.until(operation, S.ROLLED_BACK)
        assert undone.index("b") < undone.index("a")
        assert await bench.resources.of_subject(operation.target_id) == []

    play(story)


def test_after_a_crash_each_step_waits_for_its_needs_again(play) -> None:
    async def story(bench: Bench) -> None:
        async def never(step: Step, ctx: Context) -> StepOutput:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        began = asyncio.Event()
        bench.do = never
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await asyncio.wait_for(began.wait(), 20)
        await bench.runner.close()
        assert states(await bench.journal.load(operation.id)) == dict.fromkeys("abc", "STARTED")
        order: list[str] = []

        async def note(step: Step, ctx: Context) -> StepOutput:
            order.append(step.key)
            return StepOutput()

        bench.do = note
        bench.runner = bench.new_runner()
        await bench.runner.resume()
        await bench.until(operation, S.COMPLETED)
        assert order == ["a", "b", "c"]

    play(story)
