"""What a story's end has to look like."""

from __future__ import annotations

import pytest
from operation_world import World

from vnfm.lcm.operation import Operation
from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState
from vnfm.model.problem import ProblemError

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
