"""The grants of what changes a running chain: CHAIN_UPDATE, CHAIN_SCALE, and HEAL and SCALE of a VNF in a chain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.graph.edit import edited, with_instances
from vnfm.lcm.changes import change_of
from vnfm.lcm.changing import Changed, Renewal, Wanted, change
from vnfm.lcm.grants.world import StandingChain, World
from vnfm.lcm.operation import Design, Desired, Operation
from vnfm.lcm.ports import JoinedInventory
from vnfm.lcm.realizing import expected
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.routes import PathLayout
from vnfm.lcm.scaling import scaled_by_aspect, scaled_hop
from vnfm.lcm.shapes import PackageFacts, graph_of, lanes_of, paths_of
from vnfm.lcm.told import changed_links, changed_plan
from vnfm.model.chain import ServiceChain
from vnfm.model.change import Reorder, Replace, Scale
from vnfm.model.lcm import LcmOperationType
from vnfm.model.problem import problem
from vnfm.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class _Chain:
    """The chain with everything that its change needs to know of its VNFs."""

    standing: StandingChain
    packages: Mapping[str, PackageFacts]
    instance_ids: Mapping[str, str]  # by alias, as they are to be

    def wired(self, chain: ServiceChain) -> tuple[dict[str, Lane], tuple[PathLayout, ...]]:
        """Lanes and paths of the chain as it is to be."""
        graph = graph_of(chain, self.packages)
        return lanes_of(chain, graph, self.packages, self.instance_ids), paths_of(graph)


async def grant(world: World, operation: Operation) -> Design:
    """Raises ProblemError for what cannot be changed while it runs, `no-placement` where there is no room."""
    chain_id = str(operation.params.get("chain_id", "")) or operation.target_id
    standing = await world.facts.chain(operation.tenant, chain_id)
    leaves = operation.params.get("old_instance_id", "")
    chain = _Chain(
        standing,
        await world.facts.packages_of(operation.tenant, standing.instances),
        {i.alias: i.id for i in standing.instances if i.id != leaves},
    )
    snapshot, inventory = await world.snapshot()
    # CPU-bound: off the event loop
    return await asyncio.to_thread(_decided, chain, operation, snapshot, inventory)


def _decided(chain: _Chain, operation: Operation, snapshot: Snapshot, inventory: JoinedInventory) -> Design:
    standing = chain.standing
    descriptor, renewal, levels = _aim(chain, operation)
    lanes, paths = chain.wired(descriptor)
    wanted = Wanted(
        tenant=operation.tenant,
        before=standing.realization,
        lanes=lanes,
        vnfd_ids={v.alias: v.vnfd_id for v in descriptor.vnfs},
        paths=paths,
        chain=descriptor,
        grants=standing.grants,
    )
    done = change(
        wanted,
        renewal,
        snapshot,
        operation_id=operation.id,
        absent=inventory.absent,
        capabilities=inventory.capabilities,
    )
    return Design(
        steps=done.steps,
        reservations=done.plan.reservations,
        link_reservations=done.plan.link_reservations,
        desired=_desired(standing, descriptor, lanes, done, levels),
    )


def _aim(chain: _Chain, operation: Operation) -> tuple[ServiceChain, Renewal, dict[str, Mapping[str, int]]]:
    """The descriptor as it is to be, what is made anew all the same, and levels of scaling by VNF instance."""
    before = chain.standing.descriptor
    if operation.type is LcmOperationType.HEAL:
        return before, Renewal(_to_heal(chain, operation), dead=True), {}
    if operation.type is LcmOperationType.SCALE:
        return _scaled(chain, operation)
    asked = change_of(operation.params)
    after = edited(before, asked)
    if isinstance(asked, Scale):
        lanes, paths = chain.wired(before)
        counts = scaled_hop(lanes[asked.alias], [p for path in paths for p in path.positions], asked.replicas)
        return with_instances(after, asked.alias, counts), Renewal(), {}
    if isinstance(asked, Replace):
        mine = (v.resource_id for v in chain.standing.realization.vnfcs if v.alias in asked.aliases)
        return after, Renewal(frozenset(mine), places=asked.places), {}
    return after, Renewal(moved=isinstance(asked, Reorder)), {}


def _to_heal(chain: _Chain, operation: Operation) -> frozenset[str]:
    """Those that are named, of other VNFs of the chain, too; all of the VNF where none is."""
    standing = chain.standing.realization
    named = frozenset(operation.params.get("vnfcs", ()))
    if unknown := sorted(named - {v.resource_id for v in standing.vnfcs}):
        raise problem(
            "conflict",
            f"vnfcs: chain {chain.standing.name} has no VNFC {unknown[0]} (any more)",
            instance=operation.target_id,
        )
    return named or frozenset(v.resource_id for v in standing.of_instance(operation.target_id))


def _scaled(chain: _Chain, operation: Operation) -> tuple[ServiceChain, Renewal, dict[str, Mapping[str, int]]]:
    instance = next(i for i in chain.standing.instances if i.id == operation.target_id)
    lane = chain.wired(chain.standing.descriptor)[0][instance.alias]
    scaled = scaled_by_aspect(instance.alias, lane.flavour, lane.counts, instance.scale_levels, operation.params)
    after = with_instances(chain.standing.descriptor, instance.alias, scaled.counts)
    return after, Renewal(), {instance.id: scaled.levels}


def _desired(
    standing: StandingChain,
    descriptor: ServiceChain,
    lanes: Mapping[str, Lane],
    done: Changed,
    levels: Mapping[str, Mapping[str, int]],
) -> Desired:
    after = expected(standing.realization, done.steps)
    aliases = [v.alias for v in descriptor.vnfs]
    return Desired(
        chain=descriptor,
        links=tuple(changed_links(after, lanes, standing.body.get("links", ()))),
        plan=changed_plan(standing.plan, done.plan, after, aliases),
        scale_levels=levels,
    )
