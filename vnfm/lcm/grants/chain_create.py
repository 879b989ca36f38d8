"""The grant of CHAIN_CREATE, and the dry run of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from vnfm.lcm.changing import first_generation
from vnfm.lcm.grants.world import World
from vnfm.lcm.operation import Design, Desired, Operation
from vnfm.lcm.planning import Planned, plan_chain, refused
from vnfm.lcm.recipes.chain_create import ChainFacts, chain_create
from vnfm.lcm.scaling import initial_level
from vnfm.lcm.told import created_body
from vnfm.model.chain import ServiceChain
from vnfm.placement.plan import Refusal


async def planned(
    world: World, chain: ServiceChain, tenant: str, operation_id: str, instance_ids: Mapping[str, str]
) -> Planned:
    """Decided, nothing is held yet."""
    packages = await world.facts.packages(tenant, [v.vnfd_id for v in chain.vnfs])
    snapshot, inventory = await world.snapshot()
    # CPU-bound: off the event loop
    return await asyncio.to_thread(
        plan_chain,
        chain,
        packages,
        snapshot,
        operation_id=operation_id,
        tenant=tenant,
        instance_ids=instance_ids,
        absent=inventory.absent,
        capabilities=inventory.capabilities,
        reaches=inventory.reaches,
    )


async def grant(world: World, operation: Operation) -> Design:
    """Raises ProblemError `no-placement` and what is wrong with the chain itself."""
    chain = await world.facts.chain(operation.tenant, operation.target_id)
    ids = {i.alias: i.id for i in chain.instances}
    made = await planned(world, chain.descriptor, operation.tenant, operation.id, ids)
    if made.facts is None:
        assert isinstance(made.outcome, Refusal)
        raise refused(made.outcome, made.document["absent_vims"])
    facts = replace(made.facts, generation=first_generation(chain.grants))
    return Design(
        steps=chain_create(facts),
        reservations=facts.plan.reservations,
        link_reservations=facts.plan.link_reservations,
        body=created_body(facts, made.document),
        plan=made.document,
        desired=Desired(scale_levels=_levels(facts)),
    )


def _levels(facts: ChainFacts) -> dict[str, Mapping[str, int]]:
    """Of each VNF that can be scaled, where its instantiation level puts it."""
    found: dict[str, Mapping[str, int]] = {}
    for vnf in facts.chain.vnfs:
        lane = facts.lanes[vnf.alias]
        if aspects := lane.flavour.scaling_aspects:
            found[lane.instance_id] = {a.id: initial_level(lane.flavour, a.id, vnf.level_id) for a in aspects}
    return found
