"""The grants of HEAL and SCALE of a VNF that stands alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from vnfm.lcm.changing import Renewal, Wanted, change
from vnfm.lcm.grants.world import World, flavour_of
from vnfm.lcm.operation import Design, Desired, Operation
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.scaling import scaled_by_aspect
from vnfm.lcm.shapes import held_to
from vnfm.model.lcm import LcmOperationType
from vnfm.model.problem import problem


async def grant(world: World, operation: Operation) -> Design:
    """Raises ProblemError `conflict`, `bad-value`, `no-placement`."""
    instance = await world.facts.instance(operation.tenant, operation.target_id)
    package, described = flavour_of(instance, await world.facts.packages_of(operation.tenant, [instance]))
    before = await world.facts.realization(operation.tenant, instance.id)
    flavour = held_to(described, instance.isolation)
    counts: Mapping[str, int] = {v.id: 0 for v in flavour.vdus} | Counter(v.vdu_id for v in before.vnfcs)
    levels: Mapping[str, int] = instance.scale_levels
    renewal = Renewal()
    if operation.type is LcmOperationType.SCALE:
        scaled = scaled_by_aspect(instance.name, flavour, counts, levels, operation.params)
        counts, levels = {**counts, **scaled.counts}, scaled.levels
    else:
        there = frozenset(v.resource_id for v in before.vnfcs)
        named = frozenset(operation.params.get("vnfcs", ()))
        if unknown := sorted(named - there):
            raise problem(
                "conflict", f"vnfcs: VNF {instance.name} has no VNFC {unknown[0]} (any more)", instance=instance.id
            )
        renewal = Renewal(named or there, dead=True)
    lane = Lane(instance.name, instance.id, flavour, counts, package.images)
    wanted = Wanted(operation.tenant, before, {lane.alias: lane}, {lane.alias: instance.vnfd_id})
    snapshot, inventory = await world.snapshot()
    done = await asyncio.to_thread(
        change, wanted, renewal, snapshot, operation_id=operation.id, absent=inventory.absent
    )
    desired = Desired(scale_levels={instance.id: levels})
    return Design(done.steps, done.plan.reservations, done.plan.link_reservations, desired=desired)
