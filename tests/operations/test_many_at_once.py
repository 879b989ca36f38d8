"""Many operations share decisions, commits and a crash: each ends as if it had been alone."""

from __future__ import annotations

import asyncio

import pytest
from operation_asserts import assert_stands_once, remove
from operation_world import Fault, Faults, Mode, World

from vnfm.lcm.operation import Operation
from vnfm.model.lcm import LcmOperationState

MANY = 12  # more than the runner takes for a crowd


async def ended(world: World, operations: list[Operation], planted: Faults) -> list[Operation]:
    """All of them, whatever becomes of the manager on the way; it dies once for each crash that is planted."""
    async with asyncio.timeout(60):
        while True:
            if planted.died.is_set():
                await world.runner.close()
                planted = Faults(*(f for f in planted.faults if not f.spent))
                world.runner = world.new_runner(planted)
                await world.runner.resume()
            now = [await world.journal.load(o.id) for o in operations]
            if all(o.state.final or o.state is LcmOperationState.FAILED_TEMP for o in now):
                return now
            await asyncio.sleep(0.01)


async def driven(world: World, *faults: Fault) -> list[Operation]:
    operations = list(await asyncio.gather(*(world.create() for _ in range(MANY))))
    planted = Faults(*faults)
    world.runner = world.new_runner(planted)
    for operation in operations:
        world.runner.drive(operation.id, operation)
    return await ended(world, operations, planted)


@pytest.mark.parametrize("mode", [Mode.CRASH_BEFORE, Mode.CRASH_AFTER])
@pytest.mark.parametrize("step", ["link client-fw", "end client", "vnfc rt/front/0", "path default", "probe default"])
def test_a_crash_with_many_under_way_is_mended_for_each(play, step: str, mode: Mode) -> None:
    async def story(world: World) -> None:
        for operation in await driven(world, Fault(step, mode)):
            await assert_stands_once(world, operation)
            await remove(world, operation)

    play(story)


def test_two_crashes_in_a_row_are_mended_too(play) -> None:
    async def story(world: World) -> None:
        faults = [Fault("link fw-rt", Mode.CRASH_AFTER), Fault("vnfc fw/back/0", Mode.CRASH_BEFORE)]
        for operation in await driven(world, *faults):
            await assert_stands_once(world, operation)
            await remove(world, operation)

    play(story)


def test_one_that_fails_leaves_the_others_alone(play) -> None:
    async def story(world: World) -> None:
        now = await driven(world, Fault("vnfc rt/front/0", Mode.FAILS))
        (failed,) = (o for o in now if o.state is not LcmOperationState.COMPLETED)
        assert failed.state is LcmOperationState.FAILED_TEMP
        for operation in (*(o for o in now if o.id != failed.id), await world.retry(failed)):
            await assert_stands_once(world, operation)
            await remove(world, operation)

    play(story)


def test_capacity_of_many_is_held_and_given_back(play) -> None:
    async def story(world: World) -> None:
        before = await held(world)
        now = await driven(world)
        assert await held(world) - before >= {s.allocates for o in now for s in o.steps if s.compute}
        for operation in now:
            await remove(world, operation)
        assert await held(world) == before

    play(story)


async def held(world: World) -> set[str]:
    await world.database.write(lambda _: None)  # what was on disk before is told to the memory before this answers
    holdings = await world.resources.holdings()
    return {r.resource_id for r in (*holdings.reservations, *holdings.link_reservations)}
