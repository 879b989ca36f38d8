"""Implements vnfm.lcm.grants.world.Facts on the stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vnfm.lcm.grants.world import StandingChain
from vnfm.lcm.recipes.terminate import Standing
from vnfm.lcm.shapes import PackageFacts
from vnfm.model.lcm import VnfInstance
from vnfm.model.realization import Realization
from vnfm.store.holdings import Holdings
from vnfm.store.orders import OrderStore
from vnfm.store.packages import PackageStore
from vnfm.store.resources import ResourceStore


class StoredFacts:
    """What a grant needs to know."""

    def __init__(self, packages: PackageStore, orders: OrderStore, resources: ResourceStore) -> None:
        self._packages = packages
        self._orders = orders
        self._resources = resources

    async def packages(self, tenant: str, vnfd_ids: Sequence[str]) -> Mapping[str, PackageFacts]:
        """Usable ones, by VNFD id."""
        found = await self._packages.by_vnfd(tenant, vnfd_ids)
        return {k: PackageFacts(o.package.id, o.vnfd, o.images) for k, o in found.items()}

    async def holdings(self) -> Holdings:
        """What is ours already."""
        return await self._resources.holdings()

    async def packages_of(self, tenant: str, instances: Sequence[VnfInstance]) -> Mapping[str, PackageFacts]:
        """Of VNFs that are there, by VNFD id: disabled ones, too."""
        found = await self._packages.by_id(tenant, sorted({i.package_id for i in instances}))
        return {o.vnfd.id: PackageFacts(o.package.id, o.vnfd, o.images) for o in found}

    async def chain(self, tenant: str, chain_id: str) -> StandingChain:
        """With its VNFs."""
        chain, vnfs = await self._orders.chain_with_vnfs(tenant, chain_id)
        return StandingChain(
            chain.id,
            chain.name,
            chain.descriptor,
            chain.realization,
            chain.grants,
            chain.plan,
            chain.body,
            tuple(vnfs),
        )

    async def realization(self, tenant: str, instance_id: str) -> Realization:
        """Of a VNF that stands alone."""
        return await self._orders.realization(tenant, instance_id)

    async def instance(self, tenant: str, instance_id: str) -> VnfInstance:
        """One."""
        return await self._orders.vnf(tenant, instance_id)

    async def standing(self, subject_id: str) -> Sequence[Standing]:
        """What may exist of a chain or an instance."""
        return [
            Standing(r.id, r.kind, r.vim, r.name, vnf_instance_id=r.vnf_instance_id)
            for r in await self._resources.of_subject(subject_id)
        ]
