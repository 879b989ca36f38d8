"""What happens when two things happen at once: nothing is left without a driver, nothing is done by two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from lcm_bench import Bench, clock, fine, until

from vnfm.lcm import control, runner
from vnfm.lcm.actions import Context
from vnfm.lcm.machine import St
from vnfm.lcm.operation import Design, Operation, StepOutput
from vnfm.lcm.steps import Step
from vnfm.model.lcm import CancelMode, InstantiationState, LcmOperationState
from vnfm.model.problem import ProblemError, Retry, problem

S = LcmOperationState
Story = Callable[[Bench], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def main() -> None:
            bench = Bench(tmp_path)
            try:
                await story(bench)
            finally:
                await bench.close()

        asyncio.run(main())

    return run


async def fails(step: Step, ctx: Context) -> StepOutput:
    raise problem("planted", f"{step.key} fails")


async def never(step: Step, ctx: Context) -> StepOutput:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def failed_temp(bench: Bench) -> Operation:
    bench.do = fails
    operation = await bench.ordered()
    bench.runner.drive(operation.id)
    failed = await bench.until(operation, S.FAILED_TEMP)
    bench.do = fine
    return failed


def test_a_retry_between_the_last_line_and_the_drivers_end_is_not_lost(play) -> None:
    async def story(bench: Bench) -> None:
        bench.do = fails
        operation = await bench.ordered()
        retried = asyncio.Event()
        enter = bench.journal.enter

        async def enter_and_linger(*args: Any) -> Operation:
            changed = await enter(*args)
            if changed.state is S.FAILED_TEMP and not retried.is_set():
                bench.do = fine
                retried.set()
                # the state is on record and its driver still alive: now the user's retry comes
                await control.retry(bench.journal, bench.runner, changed, clock)
            return changed

        bench.journal.enter = enter_and_linger  # type: ignore[method-assign]
        bench.runner.drive(operation.id)
        await asyncio.wait_for(retried.wait(), 20)
        done = await bench.until(operation, S.COMPLETED)
        assert set(done.status.values()) == {St.DONE}

    play(story)


@pytest.mark.parametrize("second", ["retry", "rollback", "fail"])
@pytest.mark.parametrize("first", ["retry", "rollback", "fail"])
def test_of_two_who_decide_at_once_one_is_late(play, first: str, second: str) -> None:
    async def story(bench: Bench) -> None:
        failed = await failed_temp(bench)
        ways = {
            "retry": lambda: control.retry(bench.journal, bench.runner, failed, clock),
            "rollback": lambda: control.rollback(bench.journal, bench.runner, failed, clock),
            "fail": lambda: control.fail(bench.journal, failed, clock),
        }
        ends = {"retry": S.COMPLETED, "rollback": S.ROLLED_BACK, "fail": S.FAILED}
        one, other = await asyncio.gather(ways[first](), ways[second](), return_exceptions=True)
        assert isinstance(one, Operation)
        assert isinstance(other, ProblemError)
        assert other.problem.word == "conflict"
        ended = await bench.until(failed, S.COMPLETED, S.ROLLED_BACK, S.FAILED)
        assert ended.state is ends[first]
        # and nobody drives it on from there
        await asyncio.sleep(0.05)
        assert (await bench.journal.load(failed.id)).state is ends[first]

    play(story)


def test_a_cancel_that_comes_too_late_is_told_so(play) -> None:
    async def story(bench: Bench) -> None:
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await bench.until(operation, S.COMPLETED)
        with pytest.raises(ProblemError, match="changed meanwhile"):
            await control.cancel(bench.journal, bench.runner, operation, CancelMode.GRACEFUL)
        assert (await bench.journal.load(operation.id)).cancel_mode is None

    play(story)


def test_a_cancel_while_the_grant_is_decided_rolls_back_for_nothing_exists_yet(play) -> None:
    async def story(bench: Bench) -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def slow(operation: Operation) -> Design:
            asked.set()
            await go.wait()
            return await bench.design(operation)

        bench.granting = slow
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await asyncio.wait_for(asked.wait(), 20)
        await control.cancel(bench.journal, bench.runner, operation, CancelMode.GRACEFUL)
        go.set()
        ended = await bench.until(operation, S.ROLLED_BACK, S.FAILED_TEMP)
        assert ended.state is S.ROLLED_BACK
        assert ended.error
        assert ended.error.word == "cancelled"
        assert (await bench.resources.holdings()).reservations == ()

    play(story)


def test_a_graceful_cancel_sees_what_runs_to_its_end_and_starts_nothing(play) -> None:
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
        await control.cancel(bench.journal, bench.runner, operation, CancelMode.GRACEFUL)
        await asyncio.sleep(0.05)
        assert (await bench.journal.load(operation.id)).state is S.PROCESSING
        go.set()
        ended = await bench.until(operation, S.FAILED_TEMP)
        assert ended.status == {"a": St.DONE, "b": St.PENDING}

    play(story)


def test_a_forceful_cancel_cuts_a_call_that_hangs(play) -> None:
    async def story(bench: Bench) -> None:
        bench.do = never
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await bench.until_step(operation, "a", St.STARTED)
        await control.cancel(bench.journal, bench.runner, operation, CancelMode.FORCEFUL)
        ended = await bench.until(operation, S.FAILED_TEMP)
        assert ended.status == {"a": St.FAILED, "b": St.PENDING}
        assert ended.error
        assert ended.error.word == "cancelled"

    play(story)


def test_a_forceful_cancel_while_the_intent_is_written_is_heard(play) -> None:
    async def story(bench: Bench) -> None:
        bench.do = never
        operation = await bench.ordered()
        grant = bench.journal.grant  # the first intent is on record with the grant
        told = asyncio.Event()

        async def grant_then_cancel(*args: Any) -> Operation:
            changed = await grant(*args)
            if not told.is_set():
                told.set()
                await control.cancel(bench.journal, bench.runner, changed, CancelMode.FORCEFUL)
            return changed

        bench.journal.grant = grant_then_cancel  # type: ignore[method-assign]
        bench.runner.drive(operation.id)
        ended = await bench.until(operation, S.FAILED_TEMP)
        assert ended.status["a"] is St.FAILED

    play(story)


def test_a_forceful_cancel_holds_over_a_restart(play) -> None:
    async def story(bench: Bench) -> None:
        bench.do = never
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await bench.until_step(operation, "a", St.STARTED)
        await bench.runner.close()  # parked: the log says STARTED
        await bench.journal.request_cancel(await bench.journal.load(operation.id), CancelMode.FORCEFUL)
        bench.runner = bench.new_runner()
        assert await bench.runner.resume() == 1
        ended = await bench.until(operation, S.FAILED_TEMP)
        assert ended.status["a"] is St.FAILED

    play(story)


def test_cancel_during_rollback_leaves_a_way_out(play) -> None:
    async def story(bench: Bench) -> None:
        failed = await failed_temp(bench)
        bench.undo = never
        await control.rollback(bench.journal, bench.runner, failed, clock)
        rolling = await bench.until_step(failed, "a", St.UNDO_STARTED)
        await control.cancel(bench.journal, bench.runner, rolling, CancelMode.FORCEFUL)
        again = await bench.until(failed, S.FAILED_TEMP)
        bench.undo = fine
        await control.rollback(bench.journal, bench.runner, again, clock)
        await bench.until(failed, S.ROLLED_BACK)
        assert await bench.held(failed) == 0

    play(story)


def test_a_mistake_of_the_granter_ends_the_operation_instead_of_leaving_it_open(play) -> None:
    async def story(bench: Bench) -> None:
        async def mistaken(operation: Operation) -> Design:
            raise KeyError("planted")

        bench.granting = mistaken
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        ended = await bench.until(operation, S.ROLLED_BACK)
        assert ended.error
        assert ended.error.word == "internal"
        bench.granting = bench.design
        order = await bench.orders.order(  # the instance is free again
            _again(operation), clock()
        )
        bench.runner.drive(order.id)
        await bench.until(order, S.COMPLETED)

    play(story)


def _again(operation: Operation) -> Any:
    import uuid

    from vnfm.store.orders import Order

    return Order(
        str(uuid.uuid4()),
        operation.tenant,
        operation.type,
        operation.target,
        operation.target_id,
        operation.subjects,
    )


@pytest.mark.parametrize("phase", ["load", "grant", "append", "enter"])
@pytest.mark.parametrize("kind", ["full disk", "mistake"])
def test_a_journal_that_fails_for_a_while_only_delays(play, monkeypatch, phase: str, kind: str) -> None:
    monkeypatch.setattr(runner, "PAUSE_S", 0.01)
    monkeypatch.setattr(runner, "MISTAKE_PAUSE_S", 0.01)
    monkeypatch.setattr(runner, "WRITE_WITHIN_S", 0.0)  # so that there is something to append

    async def story(bench: Bench) -> None:
        left = 3
        real = getattr(bench.journal, phase)

        async def flaky(*args: Any) -> Any:
            nonlocal left
            if left:
                left -= 1
                if kind == "mistake":
                    raise RuntimeError("planted")
                raise problem("no-space", "planted", retry=Retry.SAME_CALL)
            return await real(*args)

        async def waits(step: Step, ctx: Context) -> StepOutput:
            if phase == "append" and step.key == "b":  # till what ended before has gone to the disk by itself
                await until(lambda: not left)
            return StepOutput()

        setattr(bench.journal, phase, flaky)
        bench.do = waits
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await until(lambda: not left)
        done = await bench.until(operation, S.COMPLETED)
        assert set(done.status.values()) == {St.DONE}
        assert await bench.held(operation) == 4  # two links: on a host each, and a pair each

    play(story)


def test_capacity_stays_ours_when_a_rollback_fails_half_way_and_retry_goes_forward(play) -> None:
    async def story(bench: Bench) -> None:
        bench.names = (("a",), ("b", "a"), ("c", "b"))

        async def c_fails(step: Step, ctx: Context) -> StepOutput:
            return await (fails if step.key == "c" else fine)(step, ctx)

        async def a_stays(step: Step, ctx: Context) -> StepOutput:
            return await (fails if step.key == "a" else fine)(step, ctx)

        bench.do, bench.undo = c_fails, a_stays
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        failed = await bench.until(operation, S.FAILED_TEMP)
        await control.rollback(bench.journal, bench.runner, failed, clock)
        half = await bench.until(operation, S.FAILED_TEMP)
        assert half.status == {"a": St.UNDO_FAILED, "b": St.UNDONE, "c": St.UNDONE}
        bench.do = fine
        await control.retry(bench.journal, bench.runner, half, clock)
        await bench.until(operation, S.COMPLETED)
        assert await bench.held(operation) == 6

    play(story)


@pytest.mark.parametrize("end", ["rolled back", "failed"])
def test_no_reservation_outlives_what_it_was_for(play, end: str) -> None:
    async def story(bench: Bench) -> None:
        failed = await failed_temp(bench)  # `a` may exist, `b` never began
        if end == "failed":
            await control.fail(bench.journal, failed, clock)
            assert await bench.held(failed) == 2
            instance = await bench.orders.vnf("default", failed.target_id)
            assert instance.instantiation_state is InstantiationState.INSTANTIATED  # so that terminate is possible
            assert [r.name for r in await bench.resources.of_subject(failed.target_id)] == ["link a"]
            return
        await control.rollback(bench.journal, bench.runner, failed, clock)
        await bench.until(failed, S.ROLLED_BACK)
        assert await bench.held(failed) == 0
        assert await bench.resources.of_subject(failed.target_id) == []

    play(story)


def test_words_of_a_call_that_was_cut_are_gone(play) -> None:
    async def story(bench: Bench) -> None:
        async def chatty(step: Step, ctx: Context) -> StepOutput:
            ctx.say("on my way")
            return await never(step, ctx)

        bench.do = chatty
        operation = await bench.ordered()
        bench.runner.drive(operation.id)
        await until(lambda: bench.runner.words(operation.id) == {"a": "on my way"})
        await control.cancel(bench.journal, bench.runner, operation, CancelMode.FORCEFUL)
        await bench.until(operation, S.FAILED_TEMP)
        assert not bench.runner.words(operation.id)

    play(story)
