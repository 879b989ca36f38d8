"""Chain create: every step x every misfortune x every way out ends completed or with a clean slate."""

from __future__ import annotations

import pytest
from operation_asserts import WAYS, assert_clean_slate, assert_stands_once, key_of, remove
from operation_world import MISFORTUNES, Fault, Mode, World

from vnfm.lcm.realizing import brought
from vnfm.lcm.steps import StepKind
from vnfm.model.lcm import LcmOperationState
from vnfm.model.problem import ProblemError
from vnfm.store.watched import WatchedStore

CREATE_STEPS = [
    "image",
    "link client-fw",
    "link fw-rt",
    "link rt-server",
    "link fw/vl",
    "link rt/vl",
    "end client",
    "end server",
    "vnfc fw/front/0",
    "vnfc fw/back/0",
    "vnfc rt/front/0",
    "vnfc rt/back/0",
    "path default",
    "probe default",
]


def test_what_a_creation_brought_is_what_is_on_record_of_it(play) -> None:
    async def story(world: World) -> None:
        operation = await world.run(await world.create())
        assert operation.state is LcmOperationState.COMPLETED
        store = WatchedStore(world.database, world.orders, lambda: "unused")
        on_record = await store.expected([operation.target_id])
        assert len(on_record) == 4
        assert sorted(brought(operation), key=str) == sorted(on_record, key=str)
        await remove(world, operation)

    play(story)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MISFORTUNES)
@pytest.mark.parametrize("step", CREATE_STEPS)
def test_create_survives(play, step: str, mode: Mode, way: str) -> None:
    async def story(world: World) -> None:
        operation = await world.create()
        key = await key_of(world, operation, step)
        # after a misfortune that needs no way out, a failure follows: of the same step, or of the last one
        then = (
            []
            if mode in (Mode.FAILS, Mode.FAILS_HALF_DONE)
            else [Fault("probe default" if mode is Mode.TWICE else key, Mode.FAILS)]
        )
        operation = await world.run(operation, Fault(key, mode), *then)
        if mode is Mode.TWICE and step == CREATE_STEPS[-1]:  # nothing comes after it that could fail
            await assert_stands_once(world, operation)
            await remove(world, operation)
            return
        assert operation.state is LcmOperationState.FAILED_TEMP
        assert operation.error is not None
        assert operation.error.word == "planted"
        if way == "retry":
            operation = await world.retry(operation)
            await assert_stands_once(world, operation)
            await remove(world, operation)
        else:
            operation = await world.rollback(operation)
            await assert_clean_slate(world, operation)

    play(story)


@pytest.mark.parametrize("mode", MISFORTUNES)
@pytest.mark.parametrize("step", [s for s in CREATE_STEPS if s not in ("image", "probe default")])
def test_rollback_survives(play, step: str, mode: Mode) -> None:
    async def story(world: World) -> None:
        operation = await world.create()
        key = await key_of(world, operation, step)
        operation = await world.run(operation, Fault("probe default", Mode.FAILS))
        operation = await world.rollback(operation, Fault(key, mode, undo=True))
        if mode in (Mode.FAILS, Mode.FAILS_HALF_DONE):
            assert operation.state is LcmOperationState.FAILED_TEMP
            operation = await world.rollback(operation)
        await assert_clean_slate(world, operation)

    play(story)


@pytest.mark.parametrize("step", ["link fw-rt", "vnfc rt/front/0", "path default"])
def test_a_rollback_that_failed_half_way_can_go_forward_again(play, step: str) -> None:
    async def story(world: World) -> None:
        operation = await world.run(await world.create(), Fault("probe default", Mode.FAILS))
        operation = await world.rollback(operation, Fault(step, Mode.FAILS, undo=True))
        assert operation.state is LcmOperationState.FAILED_TEMP
        operation = await world.retry(operation)
        await assert_stands_once(world, operation)
        await remove(world, operation)

    play(story)


def test_one_open_operation_an_instance(play) -> None:
    async def story(world: World) -> None:
        operation = await world.run(await world.create(), Fault("probe default", Mode.FAILS))
        with pytest.raises(ProblemError) as refused:
            await world.terminate(operation)
        assert refused.value.problem.word == "conflict"
        await world.rollback(operation)

    play(story)


def test_every_kind_of_step_is_walked(play) -> None:
    async def story(world: World) -> None:
        create = await world.create()
        kinds = {s.kind for s in (await world.granting.design(create)).steps}
        # joins are walked where chains lie over VIMs
        assert kinds == set(StepKind) - {StepKind.TERMINATE, StepKind.JOIN}
        await world.run(create)
        await remove(world, create)

    play(story)
