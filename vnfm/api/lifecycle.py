"""Lifecycle: SOL003 clause 5."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio

from vnfm.api.changes import Changes
from vnfm.api.errors import answered, streamed, tenant_of
from vnfm.api.execs import Execs
from vnfm.api.liveness import Live, Liveness
from vnfm.api.observing import Observations
from vnfm.api.operations import OperationViews
from vnfm.api.targets import find_vnf
from vnfm.api.views import instance_message
from vnfm.lcm import control
from vnfm.lcm.control import ControlJournal
from vnfm.lcm.operation import Operation
from vnfm.lcm.ports import Clock
from vnfm.lcm.runner import Runner
from vnfm.model.lcm import CancelMode, LcmOperationType
from vnfm.model.problem import problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.store.orders import NewInstance, Order, OrderStore
from vnfm.store.packages import PackageStore

Context = grpc.aio.ServicerContext[Any, Any]


class LifecycleServicer(rpc.LifecycleServicer):
    """vnfm.nfvo.v1.Lifecycle."""

    def __init__(
        self,
        orders: OrderStore,
        packages: PackageStore,
        journal: ControlJournal,
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
        self._journal = journal
        self._runner = runner
        self._execs = execs
        self._observations = observations
        self._changes = changes
        self._liveness = liveness
        self._clock = clock
        self._new_id = new_id
        self._views = views

    async def CreateVnf(self, request: pb.CreateVnfRequest, context: Context) -> pb.VnfInstance:
        """A VNF identifier."""

        async def work() -> pb.VnfInstance:
            tenant = tenant_of(context)
            found = (await self._packages.by_vnfd(tenant, [request.vnfd_id])).get(request.vnfd_id)
            if found is None:
                raise problem(
                    "unknown-vnfd",
                    f"vnfd_id: no enabled package of tenant {tenant} has VNFD {request.vnfd_id!r}",
                    instance=request.vnfd_id,
                )
            instance_id = self._new_id()
            name = request.name or f"{found.vnfd.product.lower()}-{instance_id[:8]}"
            instance = NewInstance(instance_id, name, "", request.vnfd_id, found.package.id, "")
            made = await self._orders.create_vnf(tenant, instance, request.request_id, self._clock())
            return instance_message(made, Live())

        return await answered(context, work())

    async def InstantiateVnf(self, request: pb.InstantiateVnfRequest, context: Context) -> pb.VnfLcmOpOcc:
        """NOT_INSTANTIATED -> INSTANTIATED."""

        async def work() -> pb.VnfLcmOpOcc:
            tenant = tenant_of(context)
            instance = await self._orders.vnf(tenant, request.ref)
            if instance.chain_id:
                raise problem("conflict", f"VNF {instance.name} lives and ends with its chain", instance=instance.id)
            found = (await self._packages.by_vnfd(tenant, [instance.vnfd_id])).get(instance.vnfd_id)
            if found is None or found.vnfd.flavour(request.flavour_id) is None:
                raise problem(
                    "unknown-flavour",
                    f"flavour_id: no usable package has flavour {request.flavour_id!r} of VNFD {instance.vnfd_id}",
                    instance=instance.id,
                )
            order = Order(
                self._new_id(),
                tenant,
                LcmOperationType.INSTANTIATE,
                instance.name,
                instance.id,
                {instance.id: instance.name},
                request.request_id,
                {"level_id": request.level_id},
            )
            operation = await self._orders.order(order, self._clock(), request.flavour_id)
            self._runner.drive(operation.id)
            return self._views.message(operation)

        return await answered(context, work())

    async def TerminateVnf(self, request: pb.TerminateVnfRequest, context: Context) -> pb.VnfLcmOpOcc:
        """INSTANTIATED -> NOT_INSTANTIATED."""

        async def work() -> pb.VnfLcmOpOcc:
            tenant = tenant_of(context)
            instance = await self._orders.vnf(tenant, request.ref)
            if instance.chain_id:
                raise problem(
                    "conflict",
                    f"VNF {instance.name} belongs to a chain: terminate the chain",
                    instance=instance.id,
                )
            order = Order(
                self._new_id(),
                tenant,
                LcmOperationType.TERMINATE,
                instance.name,
                instance.id,
                {instance.id: instance.name},
                request.request_id,
                {"termination_type": request.termination_type or "FORCEFUL"},
            )
            operation = await self._orders.order(order, self._clock())
            self._runner.drive(operation.id)
            return self._views.message(operation)

        return await answered(context, work())

    async def HealVnf(self, request: pb.HealVnfRequest, context: Context) -> pb.VnfLcmOpOcc:
        """Put right what is not well."""
        return await answered(context, self._changed(self._changes.heal(tenant_of(context), request)))

    async def ScaleVnf(self, request: pb.ScaleVnfRequest, context: Context) -> pb.VnfLcmOpOcc:
        """More or fewer instances."""
        return await answered(context, self._changed(self._changes.scale(tenant_of(context), request)))

    async def ModifyVnf(self, request: pb.ModifyVnfRequest, context: Context) -> pb.VnfLcmOpOcc:
        """Change what is on record."""
        return await answered(context, self._changed(self._changes.modify(tenant_of(context), request)))

    async def _changed(self, ordered: Awaitable[Operation]) -> pb.VnfLcmOpOcc:
        return self._views.message(await ordered)

    async def WatchVnfStats(self, request: pb.WatchStatsRequest, context: Context) -> AsyncIterator[pb.Document]:
        """Counters, sample by sample."""
        async for item in streamed(context, lambda: self._observations.vnf_stats(tenant_of(context), request)):
            yield item

    async def CaptureVnf(self, request: pb.CaptureVnfRequest, context: Context) -> AsyncIterator[pb.CaptureChunk]:
        """Packets at a port."""
        async for item in streamed(context, lambda: self._observations.capture(tenant_of(context), request)):
            yield item

    async def DeleteVnf(self, request: pb.GetRequest, context: Context) -> pb.DeleteResponse:
        """Delete the identifier."""

        async def work() -> pb.DeleteResponse:
            await self._orders.delete_vnf(tenant_of(context), request.ref, self._clock())
            return pb.DeleteResponse()

        return await answered(context, work())

    async def GetVnf(self, request: pb.GetRequest, context: Context) -> pb.VnfInstance:
        """One."""

        async def work() -> pb.VnfInstance:
            instance = await find_vnf(self._orders, tenant_of(context), request.ref)
            return instance_message(instance, await self._liveness.of_vnf(instance))

        return await answered(context, work())

    async def ListVnfs(self, request: pb.ListRequest, context: Context) -> AsyncIterator[pb.VnfInstance]:
        """All of the tenant."""

        async def items() -> AsyncIterator[pb.VnfInstance]:
            for instance in await self._orders.vnfs(tenant_of(context)):
                yield instance_message(instance, self._liveness.now())

        async for item in streamed(context, items):
            yield item

    async def ExecVnf(
        self, requests: AsyncIterator[pb.ExecVnfInput], context: Context
    ) -> AsyncIterator[pb.ExecVnfOutput]:
        """A command in a VNFC."""
        async for item in streamed(context, lambda: self._execs.in_vnf(tenant_of(context), requests)):
            yield item

    async def GetOpOcc(self, request: pb.GetRequest, context: Context) -> pb.VnfLcmOpOcc:
        """One occurrence."""
        return await answered(context, self._views.one(tenant_of(context), request.ref))

    async def ListOpOccs(self, request: pb.ListRequest, context: Context) -> AsyncIterator[pb.VnfLcmOpOcc]:
        """All of the tenant, newest first."""
        async for item in streamed(context, lambda: self._views.all(tenant_of(context))):
            yield item

    async def WatchOpOcc(self, request: pb.GetRequest, context: Context) -> AsyncIterator[pb.VnfLcmOpOcc]:
        """Until final or FAILED_TEMP."""
        async for item in streamed(context, lambda: self._views.watch(tenant_of(context), request.ref)):
            yield item

    async def ControlOpOcc(self, request: pb.ControlOpOccRequest, context: Context) -> pb.VnfLcmOpOcc:
        """retry, rollback, fail, cancel."""

        async def work() -> pb.VnfLcmOpOcc:
            ref = request.ref.partition(":")[0]
            operation = await self._orders.operation(tenant_of(context), ref)
            match request.action:
                case "retry":
                    changed = await control.retry(self._journal, self._runner, operation, self._clock)
                case "rollback":
                    changed = await control.rollback(self._journal, self._runner, operation, self._clock)
                case "fail":
                    changed = await control.fail(self._journal, operation, self._clock)
                case "cancel":
                    mode = CancelMode.FORCEFUL if request.cancel_mode == CancelMode.FORCEFUL else CancelMode.GRACEFUL
                    changed = await control.cancel(self._journal, self._runner, operation, mode)
                case other:
                    raise problem("bad-request", f"action: {other!r} is none of retry, rollback, fail, cancel")
            return self._views.message(changed)

        return await answered(context, work())

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Context) -> AsyncIterator[pb.Event]:
        """From a cursor."""
        async for item in streamed(context, lambda: self._views.events(tenant_of(context), request.after)):
            yield item
