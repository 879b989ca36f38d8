"""Chains: NS level (SOL005 clause 6), where the chain is ours to keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import grpc.aio

from vnfm.api.chainfiles import ChainFiles
from vnfm.api.changes import Changes
from vnfm.api.errors import answered, streamed, tenant_of
from vnfm.api.execs import Execs
from vnfm.api.liveness import Liveness
from vnfm.api.observing import Observations
from vnfm.api.operations import OperationViews
from vnfm.api.pictures import chain_svg
from vnfm.api.views import chain_message, struct
from vnfm.graph.nsdtext import to_nsd
from vnfm.lcm.granting import Granting
from vnfm.lcm.ports import Clock
from vnfm.lcm.runner import Runner
from vnfm.model.chain import ServiceChain
from vnfm.model.lcm import LcmOperationType
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.store.orders import ChainRecord, NewInstance, Order, OrderStore
from vnfm.store.packages import Onboarded, PackageStore

Context = grpc.aio.ServicerContext[Any, Any]


class ChainsServicer(rpc.ChainsServicer):
    """vnfm.nfvo.v1.Chains."""

    def __init__(
        self,
        orders: OrderStore,
        packages: PackageStore,
        granting: Granting,
        runner: Runner,
        execs: Execs,
        observations: Observations,
        changes: Changes,
        liveness: Liveness,
        views: OperationViews,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._orders = orders
        self._packages = packages
        self._granting = granting
        self._runner = runner
        self._execs = execs
        self._observations = observations
        self._changes = changes
        self._liveness = liveness
        self._clock = clock
        self._new_id = new_id
        self._views = views
        self._files = ChainFiles()

    async def PlanChain(self, request: pb.ChainRequest, context: Context) -> pb.ChainPlan:
        """A dry run: nothing is created."""

        async def work() -> pb.ChainPlan:
            chain, _ = await self._checked(tenant_of(context), request)
            planned = await self._granting.plan(chain, tenant_of(context), self._new_id())
            return pb.ChainPlan(
                chain=chain.name,
                feasible=bool(planned.document["feasible"]),
                body=struct(planned.document),
                nsd_yaml=to_nsd(chain),
            )

        return await answered(context, work())

    async def CreateChain(self, request: pb.ChainRequest, context: Context) -> pb.VnfLcmOpOcc:
        """Chain, instances and operation on record; the rest goes on in the background."""

        async def work() -> pb.VnfLcmOpOcc:
            tenant = tenant_of(context)
            chain, found = await self._checked(tenant, request)
            instances = [
                NewInstance(
                    self._new_id(),
                    f"{chain.name}/{v.alias}",
                    v.alias,
                    v.vnfd_id,
                    found[v.vnfd_id].package.id,
                    v.flavour_id,
                )
                for v in chain.vnfs
            ]
            chain_id = self._new_id()
            order = Order(
                self._new_id(),
                tenant,
                LcmOperationType.CHAIN_CREATE,
                chain.name,
                chain_id,
                {chain_id: "", **{i.id: i.alias for i in instances}},
                request.request_id,
            )
            operation = await self._orders.create_chain(order, chain, instances, self._clock())
            # a request that is repeated finds what it began earlier, which has gone on since
            self._runner.drive(operation.id, operation if operation.id == order.operation_id else None)
            return self._views.message(operation)

        return await answered(context, work())

    async def TerminateChain(self, request: pb.TerminateChainRequest, context: Context) -> pb.VnfLcmOpOcc:
        """Take everything away that may exist of it."""

        async def work() -> pb.VnfLcmOpOcc:
            tenant = tenant_of(context)
            chain = await self._orders.chain(tenant, request.ref)
            instances = await self._orders.vnfs(tenant, chain.id)
            order = Order(
                self._new_id(),
                tenant,
                LcmOperationType.CHAIN_TERMINATE,
                chain.name,
                chain.id,
                {chain.id: "", **{i.id: i.alias for i in instances}},
                request.request_id,
            )
            operation = await self._orders.order(order, self._clock())
            self._runner.drive(operation.id)
            return self._views.message(operation)

        return await answered(context, work())

    async def DeleteChain(self, request: pb.GetRequest, context: Context) -> pb.DeleteResponse:
        """Only when NOT_INSTANTIATED."""

        async def work() -> pb.DeleteResponse:
            await self._orders.delete_chain(tenant_of(context), request.ref, self._clock())
            return pb.DeleteResponse()

        return await answered(context, work())

    async def GetChain(self, request: pb.GetRequest, context: Context) -> pb.Chain:
        """One."""

        async def work() -> pb.Chain:
            return await self._shown(await self._orders.chain(tenant_of(context), request.ref))

        return await answered(context, work())

    async def ListChains(self, request: pb.ListRequest, context: Context) -> AsyncIterator[pb.Chain]:
        """All of the tenant."""

        async def items() -> AsyncIterator[pb.Chain]:
            for chain in await self._orders.chains(tenant_of(context)):
                live = await self._liveness.listed(chain)
                yield chain_message(chain, await self._orders.vnfs(chain.tenant, chain.id), live)

        async for item in streamed(context, items):
            yield item

    async def GraphChain(self, request: pb.GetRequest, context: Context) -> pb.ChainPicture:
        """A picture of the chain as it stands."""

        async def work() -> pb.ChainPicture:
            chain = await self._orders.chain(tenant_of(context), request.ref)
            instances = await self._orders.vnfs(chain.tenant, chain.id)
            return pb.ChainPicture(svg=chain_svg(chain, instances, await self._liveness.of_chain(chain)))

        return await answered(context, work())

    async def ProbeChain(self, request: pb.ProbeChainRequest, context: Context) -> pb.Chain:
        """Send packets now, and record what was counted."""

        async def work() -> pb.Chain:
            chain = await self._orders.chain(tenant_of(context), request.ref)
            await self._observations.probe(chain, request.packets)
            return await self._shown(await self._orders.chain(chain.tenant, chain.id))

        return await answered(context, work())

    async def UpdateChain(self, request: pb.UpdateChainRequest, context: Context) -> pb.VnfLcmOpOcc:
        """Change the chain while it runs."""

        async def work() -> pb.VnfLcmOpOcc:
            return self._views.message(await self._changes.chain(tenant_of(context), request))

        return await answered(context, work())

    async def TraceChain(self, request: pb.TraceChainRequest, context: Context) -> pb.Document:
        """A packet's way."""
        return await answered(context, self._observations.trace(tenant_of(context), request))

    async def WatchChainStats(self, request: pb.WatchStatsRequest, context: Context) -> AsyncIterator[pb.Document]:
        """Counters, sample by sample."""
        async for item in streamed(context, lambda: self._observations.chain_stats(tenant_of(context), request)):
            yield item

    async def ExecSap(
        self, requests: AsyncIterator[pb.ExecSapInput], context: Context
    ) -> AsyncIterator[pb.ExecVnfOutput]:
        """A command at an end of the chain."""
        async for item in streamed(context, lambda: self._execs.at_end(tenant_of(context), requests)):
            yield item

    async def _checked(self, tenant: str, request: pb.ChainRequest) -> tuple[ServiceChain, Mapping[str, Onboarded]]:
        """Everything that can be said without a VIM, before anything is on record."""
        text, filename = request.descriptor, request.filename or "chain.yaml"
        chain = self._files.read(text, filename)
        if request.name:
            chain = replace(chain, name=request.name)
        found = await self._packages.by_vnfd(tenant, [v.vnfd_id for v in chain.vnfs])
        self._files.check(text, filename, chain, found)
        return chain, found

    async def _shown(self, chain: ChainRecord) -> pb.Chain:
        live = await self._liveness.of_chain(chain)
        return chain_message(chain, await self._orders.vnfs(chain.tenant, chain.id), live)
