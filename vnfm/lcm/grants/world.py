"""What grants look at: the store's facts, and the VIMs' inventory less what is ours already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vnfm.lcm.grants.scenery import HeldCapacity, Scenery
from vnfm.lcm.ports import JoinedInventory, Vims
from vnfm.lcm.recipes.terminate import Standing
from vnfm.lcm.shapes import PackageFacts
from vnfm.model.chain import ServiceChain
from vnfm.model.lcm import VnfInstance
from vnfm.model.problem import problem
from vnfm.model.realization import Realization
from vnfm.model.vnfd import Flavour
from vnfm.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class StandingChain:
    """A chain with its VNFs, as it stands. `grants`: how many operations were granted on it so far."""

    id: str
    name: str
    descriptor: ServiceChain
    realization: Realization
    grants: int
    plan: Mapping[str, Any]
    body: Mapping[str, Any]
    instances: tuple[VnfInstance, ...]


class Facts(Protocol):
    """What the store knows."""

    async def packages(self, tenant: str, vnfd_ids: Sequence[str]) -> Mapping[str, PackageFacts]:
        """Usable ones, by VNFD id."""
        ...

    async def packages_of(self, tenant: str, instances: Sequence[VnfInstance]) -> Mapping[str, PackageFacts]:
        """Of VNFs that are there, by VNFD id: disabled ones, too."""
        ...

    async def holdings(self) -> HeldCapacity: ...
    async def chain(self, tenant: str, chain_id: str) -> StandingChain: ...
    async def instance(self, tenant: str, instance_id: str) -> VnfInstance: ...
    async def realization(self, tenant: str, instance_id: str) -> Realization:
        """Of a VNF that stands alone."""
        ...

    async def standing(self, subject_id: str) -> Sequence[Standing]: ...


@dataclass(frozen=True, slots=True)
class World:
    """What a grant may ask."""

    facts: Facts
    vims: Vims
    scenery: Scenery = field(default_factory=Scenery)

    async def snapshot(self) -> tuple[Snapshot, JoinedInventory]:
        """What is free now."""
        inventory = await self.vims.inventory()
        held = await self.facts.holdings()
        return self.scenery.snapshot(inventory, held), inventory


def flavour_of(instance: VnfInstance, packages: Mapping[str, PackageFacts]) -> tuple[PackageFacts, Flavour]:
    """Of a VNF that is there. Raises ProblemError `unknown-flavour`."""
    package = packages.get(instance.vnfd_id)
    flavour = package.vnfd.flavour(instance.flavour_id) if package else None
    if package is None or flavour is None:
        raise problem(
            "unknown-flavour",
            f"VNFD {instance.vnfd_id} has no usable package or no flavour {instance.flavour_id!r}",
            instance=instance.id,
        )
    return package, flavour
