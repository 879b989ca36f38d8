"""The grant of INSTANTIATE: one VNF that stands alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from vnfm.graph.build import instances_at
from vnfm.lcm.grants.world import World, flavour_of
from vnfm.lcm.operation import Design, Desired, Operation
from vnfm.lcm.placing import Ground, place_over
from vnfm.lcm.planning import kept_together, lane_demands, refused
from vnfm.lcm.recipes.computes import Lane, LaneIds, compute_steps
from vnfm.lcm.recipes.images import image_steps
from vnfm.lcm.scaling import initial_level
from vnfm.lcm.shapes import held_to
from vnfm.model.chain import ChainVnf
from vnfm.model.problem import problem
from vnfm.model.vnfd import Flavour
from vnfm.placement.demand import rule_of_vnfd
from vnfm.placement.plan import Refusal
from vnfm.placement.request import Request


async def grant(world: World, operation: Operation) -> Design:
    """Raises ProblemError `unknown-flavour`, `unknown-level`, `no-placement`."""
    instance = await world.facts.instance(operation.tenant, operation.target_id)
    package, described = flavour_of(instance, await world.facts.packages(operation.tenant, [instance.vnfd_id]))
    flavour = held_to(described, instance.isolation)
    level = str(operation.params.get("level_id", ""))
    lane = Lane(instance.name, instance.id, flavour, _counts(flavour, level), package.images)
    vnf = ChainVnf(instance.name, instance.vnfd_id, flavour.id)
    demands = lane_demands(lane, vnf, operation.id, operation.tenant)
    rules = tuple(rule_of_vnfd(r, lane.alias, demands) for r in flavour.affinity)
    snapshot, inventory = await world.snapshot()
    ground = Ground(inventory.reaches, together=kept_together({lane.alias: lane}, operation.id))
    request = Request(operation.tenant, tuple(demands), rules=rules)
    made = await asyncio.to_thread(place_over, request, snapshot, ground)
    if isinstance(made, Refusal):
        raise refused(made, inventory.absent)
    outcome = made.plan
    images = image_steps([lane], outcome)
    needs = tuple(s.key for s in images)
    steps = (*images, *compute_steps(lane, outcome, LaneIds(operation.id), {}, needs))
    levels = {a.id: initial_level(flavour, a.id, level) for a in flavour.scaling_aspects}
    desired = Desired(scale_levels={instance.id: levels})
    return Design(steps, outcome.reservations, outcome.link_reservations, desired=desired)


def _counts(flavour: Flavour, level: str) -> Mapping[str, int]:
    counts = instances_at(flavour, level)
    if counts is None:
        known = ", ".join(entry.id for entry in flavour.instantiation_levels) or "none"
        raise problem("unknown-level", f"flavour {flavour.id!r} has no instantiation level {level!r}; it has: {known}")
    return counts
