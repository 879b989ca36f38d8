"""Chain terminate: every step x every misfortune x every way out ends completed; there is no way back."""

from __future__ import annotations

import pytest
from operation_asserts import WAYS, key_of, remove
from operation_world import MISFORTUNES, Fault, Mode, World, clock

from vnfm.lcm import control
from vnfm.model.lcm import ChainState, LcmOperationState
from vnfm.model.problem import ProblemError

REMOVALS = [
    "path default",
    "end client",
    "CONTAINER fw/front",
    "KATA rt/back",
    "link client-fw",
    "link fw/vl",
    "link rt-server",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MISFORTUNES)
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
        operation = await world.run(await world.create(), Fault(step, Mode.FAILS_HALF_DONE))
        operation = await control.fail(world.journal, operation, clock)
        assert operation.state is LcmOperationState.FAILED
        chain = await world.orders.chain("default", operation.target)
        assert chain.state is ChainState.FAILED
        await remove(world, operation)
        assert await world.held(operation) == 0

    play(story)
