"""Who joins whom, who waits, and who is cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.inflight import Flights, Verb
from vnfm.pluginkit.problems import PluginError, failed

KEY = ("m", "r")


class Work:
    """Work that waits to be let go, and remembers what became of it."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, report: Callable[[int, str], None]) -> pb.Resource:
        self.runs += 1
        report(10, "begun")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(0.01)  # what was begun is cleared away
            raise
        if self.error:
            raise self.error
        return pb.Resource(handle=Handle(resource_id="r", native_id=f"run-{self.runs}"))


async def _follow(flights: Flights, verb: Verb, digest: str, work: Callable[..., Awaitable[pb.Resource]]) -> list[str]:
    seen = []
    async for progress in flights.run(KEY, verb, digest, work):
        seen.append(progress.update.message or progress.done.handle.native_id)
    return seen


def _run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await story()

    asyncio.run(bounded())


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_equal_calls_share_one_run_and_late_ones_hear_the_latest_progress() -> None:
    async def story() -> None:
        flights, work = Flights(), Work()
        first = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work))
        await _settle()
        second = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work))
        await _settle()
        work.go.set()
        assert await first == ["begun", "run-1"]
        assert await second == ["begun", "run-1"]
        assert work.runs == 1

    _run(story)


def test_another_specification_is_refused_while_one_is_in_flight() -> None:
    async def story() -> None:
        flights, work = Flights(), Work()
        first = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work))
        await _settle()
        with pytest.raises(PluginError) as refused:
            await _follow(flights, Verb.ALLOCATE, "other", work)
        assert refused.value.code.name == "ALREADY_EXISTS"
        work.go.set()
        await first

    _run(story)


def test_one_who_leaves_does_not_disturb_the_others_the_last_one_ends_the_work() -> None:
    async def story() -> None:
        flights, work = Flights(), Work()
        waiting = [asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work)) for _ in range(2)]
        await _settle()
        waiting[0].cancel()
        await _settle()
        assert work.cancelled == 0
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert work.cancelled == 1

    _run(story)


def test_who_asks_again_waits_until_the_cancelled_work_has_ended() -> None:
    async def story() -> None:
        flights, work, again = Flights(), Work(), Work()
        first = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work))
        await _settle()
        first.cancel()
        await _settle()
        assert work.cancelled == 1
        second = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", again))
        await _settle()
        assert again.runs == 0, "the cancelled work still clears away"
        again.go.set()
        assert await second == ["begun", "run-1"]

    _run(story)


def test_terminate_ends_an_allocation_and_acts_after_it() -> None:
    async def story() -> None:
        flights, work, removal = Flights(), Work(), Work()
        removal.go.set()
        first = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work))
        await _settle()
        assert await _follow(flights, Verb.TERMINATE, "t", removal) == ["begun", "run-1"]
        with pytest.raises(PluginError) as refused:
            await first
        assert refused.value.code.name == "CANCELLED"
        assert work.cancelled == 1

    _run(story)


@pytest.mark.parametrize("verb", [Verb.OPERATE, Verb.REPLACE])
def test_other_changes_wait_their_turn(verb: Verb) -> None:
    async def story() -> None:
        flights, work, change = Flights(), Work(), Work()
        change.go.set()
        first = asyncio.create_task(_follow(flights, verb, "d", work))
        await _settle()
        second = asyncio.create_task(_follow(flights, verb, "e", change))
        await _settle()
        assert change.runs == 0
        work.go.set()
        await first
        assert await second == ["begun", "run-1"]

    _run(story)


def test_a_failure_reaches_all_and_the_next_call_starts_anew() -> None:
    async def story() -> None:
        flights, work = Flights(), Work()
        work.error = failed("it died")
        waiting = [asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work)) for _ in range(2)]
        await _settle()
        work.go.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(result) for result in results] == ["realization-failed: it died"] * 2
        work.error = None
        assert await _follow(flights, Verb.ALLOCATE, "d", work) == ["begun", "run-2"]

    _run(story)


def test_closing_ends_everything() -> None:
    async def story() -> None:
        flights, work = Flights(), Work()
        first = asyncio.create_task(_follow(flights, Verb.ALLOCATE, "d", work))
        await _settle()
        await flights.close()
        assert work.cancelled == 1
        with pytest.raises(PluginError):
            await first

    _run(story)
