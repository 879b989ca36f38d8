"""What a STARTING operation is to do: the grant (SOL003 9), decided by our own placement where no NFVO is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from vnfm.graph.build import instances_at
from vnfm.lcm.operation import Design, Operation
from vnfm.lcm.placing import place_together
from vnfm.lcm.planning import PackageFacts, Planned, lane_demands, plan_chain, refused
from vnfm.lcm.ports import JoinedInventory, Vims
from vnfm.lcm.recipes.chain_create import ChainFacts, chain_create, link_id, sap_id
from vnfm.lcm.recipes.computes import Lane, LaneIds, compute_steps
from vnfm.lcm.recipes.images import image_steps
from vnfm.lcm.recipes.terminate import Standing, terminate
from vnfm.model.chain import ChainVnf, ServiceChain
from vnfm.model.lcm import LcmOperationType, VnfInstance
from vnfm.model.problem import problem
from vnfm.model.vnfd import Flavour
from vnfm.placement.demand import rule_of_vnfd
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import LinkReservation, ObservedCost, Refusal, Request, Reservation


class HeldCapacity(Protocol):
    """What is ours already, and what was seen."""

    @property
    def reservations(self) -> tuple[Reservation, ...]: ...
    @property
    def link_reservations(self) -> tuple[LinkReservation, ...]: ...
    @property
    def observed(self) -> tuple[ObservedCost, ...]: ...


class Facts(Protocol):
    """What the store knows."""

    async def packages(self, tenant: str, vnfd_ids: Sequence[str]) -> Mapping[str, PackageFacts]: ...
    async def holdings(self) -> HeldCapacity: ...
    async def chain(self, tenant: str, chain_id: str) -> ServiceChain: ...
    async def instances(self, tenant: str, chain_id: str) -> Sequence[VnfInstance]: ...
    async def instance(self, tenant: str, instance_id: str) -> VnfInstance: ...
    async def standing(self, subject_id: str) -> Sequence[Standing]: ...


class Granting:
    """Implements runner.Granter. The runner lets one decide at a time, so that two never count on the same capacity."""

    def __init__(self, facts: Facts, vims: Vims) -> None:
        self._facts = facts
        self._vims = vims

    async def plan(self, chain: ServiceChain, tenant: str, operation_id: str) -> Planned:
        """A dry run."""
        return await self._planned(chain, tenant, operation_id, {})

    async def design(self, operation: Operation) -> Design:
        """Raises ProblemError where the operation is refused."""
        match operation.type:
            case LcmOperationType.CHAIN_CREATE:
                return await self._create_chain(operation)
            case LcmOperationType.INSTANTIATE:
                return await self._instantiate(operation)
            case LcmOperationType.CHAIN_TERMINATE | LcmOperationType.TERMINATE:
                standing = await self._facts.standing(operation.target_id)
                lanes = operation.subjects
                return Design(terminate([_in_lane(s, lanes) for s in standing]))
            case _:
                raise problem("unimplemented", f"{operation.type} is not offered by this manager")

    async def _planned(
        self, chain: ServiceChain, tenant: str, operation_id: str, instance_ids: Mapping[str, str]
    ) -> Planned:
        packages = await self._facts.packages(tenant, [v.vnfd_id for v in chain.vnfs])
        inventory = await self._vims.inventory()
        snapshot = await self._snapshot(inventory)
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
        )

    async def _snapshot(self, inventory: JoinedInventory) -> Snapshot:
        held = await self._facts.holdings()
        return Snapshot.of(
            inventory.version,
            inventory.hosts,
            latencies=inventory.latencies,
            fabric=inventory.fabric,
            reservations=held.reservations,
            link_reservations=held.link_reservations,
        ).with_observed(held.observed)

    async def _create_chain(self, operation: Operation) -> Design:
        chain = await self._facts.chain(operation.tenant, operation.target_id)
        instances = await self._facts.instances(operation.tenant, operation.target_id)
        ids = {i.alias: i.id for i in instances}
        planned = await self._planned(chain, operation.tenant, operation.id, ids)
        if planned.facts is None:
            assert isinstance(planned.outcome, Refusal)
            raise refused(planned.outcome, planned.document["absent_vims"])
        facts = planned.facts
        return Design(
            steps=chain_create(facts),
            reservations=facts.plan.reservations,
            link_reservations=facts.plan.link_reservations,
            body=_body(facts, planned.document),
            plan=planned.document,
        )

    async def _instantiate(self, operation: Operation) -> Design:
        instance = await self._facts.instance(operation.tenant, operation.target_id)
        packages = await self._facts.packages(operation.tenant, [instance.vnfd_id])
        package = packages.get(instance.vnfd_id)
        flavour = package.vnfd.flavour(instance.flavour_id) if package else None
        if package is None or flavour is None:
            raise problem(
                "unknown-flavour",
                f"VNFD {instance.vnfd_id} has no usable package or no flavour {instance.flavour_id!r}",
                instance=instance.id,
            )
        level = str(operation.params.get("level_id", ""))
        lane = Lane(instance.name, instance.id, flavour, _counts(flavour, level), package.images)
        vnf = ChainVnf(instance.name, instance.vnfd_id, flavour.id)
        demands = lane_demands(lane, vnf, operation.id, operation.tenant)
        rules = tuple(rule_of_vnfd(r, lane.alias, demands) for r in flavour.affinity)
        inventory = await self._vims.inventory()
        snapshot = await self._snapshot(inventory)
        outcome = await asyncio.to_thread(
            place_together, Request(operation.tenant, tuple(demands), rules=rules), snapshot
        )
        if isinstance(outcome, Refusal):
            raise refused(outcome, inventory.absent)
        images = image_steps([lane], outcome)
        needs = tuple(s.key for s in images)
        steps = (*images, *compute_steps(lane, outcome, LaneIds(operation.id), {}, needs))
        return Design(steps, outcome.reservations, outcome.link_reservations)


def _counts(flavour: Flavour, level: str) -> Mapping[str, int]:
    counts = instances_at(flavour, level)
    if counts is None:
        known = ", ".join(entry.id for entry in flavour.instantiation_levels) or "none"
        raise problem("unknown-level", f"flavour {flavour.id!r} has no instantiation level {level!r}; it has: {known}")
    return counts


def _in_lane(standing: Standing, lanes: Mapping[str, str]) -> Standing:
    return replace(standing, lane=lanes.get(standing.vnf_instance_id, ""))


def _body(facts: ChainFacts, document: Mapping[str, Any]) -> dict[str, Any]:
    """What `chain show` tells of ends and links."""
    told = {entry["id"]: entry for entry in document["links"]}
    ends = []
    for end in facts.chain.ends:
        resource_id = sap_id(facts.operation_id, end.name)
        at = next(e for e in facts.plan.ends if e.id == resource_id)
        address = next(a for link in facts.layout.links for p, a in link.addresses.items() if p.owner == end.name)
        ends.append(
            {
                "name": end.name,
                "cidr": end.cidr,
                "address": address,
                "vim": at.vim,
                "host": at.host,
                "resource_id": resource_id,
            }
        )
    links = [
        {
            "id": link.key,
            "cidr": link.cidr,
            "resource_id": link_id(facts.operation_id, link),
            "ports": [{"name": p.owner, "cp": p.cp, "address": a} for p, a in link.addresses.items()],
            "latency_us": told.get(link.key, {}).get("latency_us"),
            "bandwidth_bps": told.get(link.key, {}).get("bandwidth_bps"),
        }
        for link in facts.layout.links
    ]
    return {"ends": ends, "links": links}
