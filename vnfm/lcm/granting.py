"""What a STARTING operation is to do: the grant (SOL003 9), decided by our own placement where no NFVO is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from vnfm.lcm.grants import chain_change, chain_create, instantiate, vnf_change
from vnfm.lcm.grants.world import Facts, World
from vnfm.lcm.operation import Design, Operation
from vnfm.lcm.planning import Planned
from vnfm.lcm.ports import Vims
from vnfm.lcm.recipes.terminate import terminate
from vnfm.model.chain import ServiceChain
from vnfm.model.lcm import LcmOperationType as Type
from vnfm.model.problem import problem

Grant = Callable[[World, Operation], Awaitable[Design]]


class Granting:
    """Implements runner.Granter. The runner lets one decide at a time, so that two never count on the same capacity."""

    def __init__(self, facts: Facts, vims: Vims) -> None:
        self._world = World(facts, vims)

    @property
    def world(self) -> World:
        """What grants look at, for who looks ahead: the same picture, made once."""
        return self._world

    async def plan(self, chain: ServiceChain, tenant: str, operation_id: str) -> Planned:
        """A dry run."""
        return await chain_create.planned(self._world, chain, tenant, operation_id, {})

    async def design(self, operation: Operation) -> Design:
        """Raises ProblemError where the operation is refused."""
        grant = GRANTS.get(operation.type)
        if grant is None:
            raise problem("unimplemented", f"{operation.type} is not offered by this manager")
        return await grant(self._world, operation)


async def _terminate(world: World, operation: Operation) -> Design:
    lanes = operation.subjects
    standing = await world.facts.standing(operation.target_id)
    return Design(terminate([replace(s, lane=lanes.get(s.vnf_instance_id, "")) for s in standing]))


async def _of_a_vnf(world: World, operation: Operation) -> Design:
    """In a chain the chain is looked at as a whole."""
    grant = chain_change.grant if operation.params.get("chain_id") else vnf_change.grant
    return await grant(world, operation)


GRANTS: Mapping[Type, Grant] = {
    Type.CHAIN_CREATE: chain_create.grant,
    Type.CHAIN_TERMINATE: _terminate,
    Type.CHAIN_UPDATE: chain_change.grant,
    Type.CHAIN_SCALE: chain_change.grant,
    Type.INSTANTIATE: instantiate.grant,
    Type.TERMINATE: _terminate,
    Type.HEAL: _of_a_vnf,
    Type.SCALE: _of_a_vnf,
}
