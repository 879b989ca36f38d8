"""Changes of a running chain: rollbacks that fail, and what was given up half-way."""

from __future__ import annotations

import pytest
from change_acts import CASES, IDS, Act, assert_true, begun, change, cloud, done, heal, key, stood
from change_walks import assert_completed
from operation_asserts import remove
from operation_world import Fault, Mode, World, clock

from vnfm.lcm import control
from vnfm.model.change import Insert
from vnfm.model.lcm import LcmOperationState


@pytest.mark.parametrize(("act", "step"), CASES, ids=IDS)
def test_a_rollback_that_fails_is_tried_again_or_turned_forward(play, act: Act, step: str) -> None:
    async def story(world: World) -> None:
        created = await begun(world, act)
        chain_id, before = created.target_id, await stood(world, created.target_id)
        operation = await act.order(world, chain_id)
        wanted = await key(world, operation, step)
        operation = await world.run(operation, Fault("probe default", Mode.FAILS))
        if wanted.startswith(("remove", "probe", "keep")):  # nothing to undo there: the path's switch back fails
            wanted = "path default"
        operation = await world.rollback(operation, Fault(wanted, Mode.FAILS_HALF_DONE, undo=True))
        assert operation.state is LcmOperationState.FAILED_TEMP
        if step == act.steps[0]:
            operation = await world.retry(operation)
            await assert_completed(world, chain_id, act, operation)
        else:
            operation = await world.rollback(operation)
            assert operation.state is LcmOperationState.ROLLED_BACK
            assert (await assert_true(world, chain_id)).ids == before.ids
        await remove(world, created)

    play(story)


@pytest.mark.parametrize(("act", "step"), CASES, ids=IDS)
def test_what_was_given_up_half_way_is_told_truly_and_can_be_changed_again(play, act: Act, step: str) -> None:
    async def story(world: World) -> None:
        created = await begun(world, act)
        chain_id = created.target_id
        operation = await act.order(world, chain_id)
        wanted = await key(world, operation, step)
        operation = await world.run(operation, Fault(wanted, Mode.FAILS_HALF_DONE))
        operation = await control.fail(world.journal, operation, clock)
        assert operation.state is LcmOperationState.FAILED
        says = await assert_true(world, chain_id, leftovers=True)
        alias = says.descriptor.vnfs[0].alias
        if len(step) % 2:
            await done(world, await heal(world, chain_id, alias))
        else:
            await done(world, await change(world, chain_id, Insert("z", "two", before="server")))
        await assert_true(world, chain_id)
        await remove(world, created)
        assert cloud(world, chain_id) == {}

    play(story)
