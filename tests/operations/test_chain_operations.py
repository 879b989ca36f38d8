"""Chain create and terminate: every step x every misfortune x every way out ends completed or with a clean slate."""

from __future__ import annotations

import pytest
from operation_world import Fault, Mode, World

from vnfm.lcm.operation import Operation
from vnfm.lcm.steps import StepKind
from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState
from vnfm.model.problem import ProblemError

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
REMOVALS = [
    "path default",
    "end client",
    "CONTAINER fw/front",
    "KATA rt/back",
    "link client-fw",
    "link fw/vl",
    "link rt-server",
]
WAYS = ["retry", "rollback"]


async def key_of(world: World, operation: Operation, wanted: str) -> str:
    """The step's key: those of images and removals carry ids, so they are found by what they begin with."""
    design = await world.granting.design(operation)
    keys = [s.key for s in design.steps if s.key.startswith(wanted) or s.title.removeprefix("remove ") == wanted]
    assert len(keys) == 1, (wanted, [s.key for s in design.steps])
    return keys[0]


async def assert_stands_once(world: World, operation: Operation) -> None:
    """Each allocated id exists exactly once, nothing else does."""
    assert operation.state is LcmOperationState.COMPLETED, operation.error
    expected = {s.allocates for s in operation.steps if s.allocates}
    assert await world.objects(operation.target_id) == dict.fromkeys(expected, 1)
    known = {r.id for r in await world.resources.of_subject(operation.target_id)}
    assert known == expected
    chain = await world.orders.chain("default", operation.target)
    assert chain.state is ChainState.INSTANTIATED
    assert all(h["received"] == h["sent"] > 0 for h in chain.body["probe"]["hops"])
    for instance in await world.orders.vnfs("default", chain.id):
        assert instance.instantiation_state is InstantiationState.INSTANTIATED
        assert len(instance.vnfcs) == 2


async def assert_clean_slate(world: World, operation: Operation) -> None:
    """As if it had never been."""
    assert operation.state is LcmOperationState.ROLLED_BACK, operation.error
    assert await world.objects(operation.target_id) == {}
    assert await world.resources.of_subject(operation.target_id) == []
    assert await world.held(operation) == 0
    with pytest.raises(ProblemError, match="there is no chain"):
        await world.orders.chain("default", operation.target)
    again = await world.create(operation.target)  # the name is free
    await world.run(again)
    await remove(world, again)


async def remove(world: World, created: Operation) -> None:
    gone = await world.run(await world.terminate(created))
    assert gone.state is LcmOperationState.COMPLETED, gone.error
    assert await world.objects(created.target_id) == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", list(Mode))
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


@pytest.mark.parametrize("mode", list(Mode))
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("step", REMOVALS)
def test_terminate_survives(play, step: str, mode: Mode, way: str) -> None:
    async def story(world: World) -> None:
        created = await world.run(await world.create())
        operation = await world.terminate(created)
        key = await key_of(world, operation, step)
        last = (await world.granting.design(operation)).steps[-1].key
        then = (
            []
            if mode in (Mode.FAILS, Mode.FAILS_HALF_DONE)
            else [Fault(last if mode is Mode.TWICE else key, Mode.FAILS)]
        )
        operation = await world.run(operation, Fault(key, mode), *then)
        assert operation.state is LcmOperationState.FAILED_TEMP
        if way == "rollback":
            with pytest.raises(ProblemError, match="cannot go back") as refused:
                await world.rollback(operation)
            assert refused.value.problem.word == "conflict"
        operation = await world.retry(operation)
        assert operation.state is LcmOperationState.COMPLETED
        assert await world.objects(created.target_id) == {}
        assert await world.resources.of_subject(created.target_id) == []
        assert await world.held(created) == 0
        assert (await world.orders.chain("default", created.target)).state is ChainState.NOT_INSTANTIATED

    play(story)


@pytest.mark.parametrize("step", ["link fw-rt", "vnfc rt/front/0", "probe default"])
def test_what_was_given_up_half_way_can_be_terminated(play, step: str) -> None:
    async def story(world: World) -> None:
        from operation_world import clock

        from vnfm.lcm import control

        operation = await world.run(await world.create(), Fault(step, Mode.FAILS_HALF_DONE))
        operation = await control.fail(world.journal, operation, clock)
        assert operation.state is LcmOperationState.FAILED
        chain = await world.orders.chain("default", operation.target)
        assert chain.state is ChainState.FAILED
        await remove(world, operation)
        assert await world.held(operation) == 0

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
        assert kinds == set(StepKind) - {StepKind.TERMINATE}
        await world.run(create)
        await remove(world, create)

    play(story)
