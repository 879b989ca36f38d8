"""What both ways out of a change that went wrong have in common."""

from __future__ import annotations

import pytest
from change_acts import Act, assert_true, begun, key, stood
from operation_asserts import remove
from operation_world import Fault, Mode, World

from vnfm.lcm.operation import Operation
from vnfm.model.lcm import LcmOperationState
from vnfm.model.problem import ProblemError

LATE = (Mode.TWICE, Mode.CRASH_BEFORE, Mode.CRASH_AFTER)  # misfortunes that need no way out: a failure follows


async def assert_completed(world: World, chain_id: str, act: Act, operation: Operation) -> None:
    """Done, and true."""
    assert operation.state is LcmOperationState.COMPLETED, operation.error
    says = await assert_true(world, chain_id)
    (path,) = says.realization.paths
    assert [h.name for h in path.spec.hops] == list(act.hops)


async def survive(world: World, act: Act, step: str, mode: Mode, back: bool) -> None:
    """The act with a misfortune at one of its steps, and the way out."""
    created = await begun(world, act)
    chain_id, before = created.target_id, await stood(world, created.target_id)
    operation = await act.order(world, chain_id)
    wanted = await key(world, operation, step)
    then = [Fault("probe default" if mode is Mode.TWICE else wanted, Mode.FAILS)] if mode in LATE else []
    operation = await world.run(operation, Fault(wanted, mode), *then)
    removing = any(s.forward_only and operation.status[s.key] != "PENDING" for s in operation.steps)
    if operation.state is LcmOperationState.COMPLETED:  # what came too late to matter
        assert mode in (Mode.TWICE, Mode.CANCEL)
    elif back and removing:
        with pytest.raises(ProblemError, match="cannot go back") as refused:
            await world.rollback(operation)
        assert refused.value.problem.word == "conflict"
        operation = await world.retry(operation)
    elif back:
        assert operation.state is LcmOperationState.FAILED_TEMP
        operation = await world.rollback(operation)
        assert operation.state is LcmOperationState.ROLLED_BACK, operation.error
        after = await assert_true(world, chain_id)
        assert after.ids == before.ids
        assert (after.descriptor, after.instances) == (before.descriptor, before.instances)
        await remove(world, created)
        return
    else:
        assert operation.state is LcmOperationState.FAILED_TEMP
        operation = await world.retry(operation)
    await assert_completed(world, chain_id, act, operation)
    await remove(world, created)
