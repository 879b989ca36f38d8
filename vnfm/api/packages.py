"""Packages: SOL003 clause 10, SOL005 clause 9."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from vnfm.api.errors import answered, streamed, tenant_of
from vnfm.api.views import package_message
from vnfm.lcm.onboarding import Onboarding
from vnfm.lcm.ports import Clock
from vnfm.model.package import OperationalState
from vnfm.model.problem import ProblemError, problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.store.blobs import BlobStore
from vnfm.store.packages import PackageStore

Context = grpc.aio.ServicerContext[Any, Any]
POLICIES = ("strict", "warn")


class PackagesServicer(rpc.PackagesServicer):
    """vnfm.nfvo.v1.Packages."""

    def __init__(
        self, store: PackageStore, blobs: BlobStore, onboarding: Onboarding, clock: Clock, new_id: Any
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._onboarding = onboarding
        self._clock = clock
        self._new_id = new_id

    async def CreatePackage(self, request: pb.CreatePackageRequest, context: Context) -> pb.Package:
        """An empty package resource."""

        async def work() -> pb.Package:
            made = await self._store.create(self._new_id(), tenant_of(context), request.request_id, self._clock())
            return package_message(made)

        return await answered(context, work())

    async def UploadPackage(self, requests: AsyncIterator[pb.UploadPackageChunk], context: Context) -> pb.Package:
        """Content, then the whole way to ONBOARDED or ERROR."""
        return await answered(context, self._upload(requests, context))

    async def _upload(self, requests: AsyncIterator[pb.UploadPackageChunk], context: Context) -> pb.Package:
        tenant = tenant_of(context)
        first = await anext(aiter(requests), None)
        if first is None or not first.package_id:
            raise problem("bad-request", "package_id: expected in the first chunk")
        policy = first.digest_policy or "strict"
        if policy not in POLICIES:
            raise problem("bad-request", f"digest_policy: {policy!r} is none of {', '.join(POLICIES)}")
        package = await self._store.get(tenant, first.package_id)
        await self._store.uploading(tenant, package.id, policy)
        with self._onboarding.hold():
            try:
                blob = await self._blobs.take(_data(first, requests))
                await self._store.processing(tenant, package.id, blob)
            except BaseException as error:
                found = error.problem if isinstance(error, ProblemError) else _broken().problem
                await self._onboarding.fail(tenant, package.id, found)
                raise
        done = await self._onboarding.process(tenant, package.id, blob, policy)
        return package_message(done)

    async def GetPackage(self, request: pb.GetRequest, context: Context) -> pb.Package:
        """One."""

        async def work() -> pb.Package:
            package = await self._store.get(tenant_of(context), request.ref)
            return package_message(package, await self._store.error_of(tenant_of(context), package.id))

        return await answered(context, work())

    async def ListPackages(self, request: pb.ListRequest, context: Context) -> AsyncIterator[pb.Package]:
        """All of the tenant."""

        async def items() -> AsyncIterator[pb.Package]:
            for package in await self._store.all(tenant_of(context)):
                yield package_message(package)

        async for item in streamed(context, items):
            yield item

    async def ChangePackage(self, request: pb.ChangePackageRequest, context: Context) -> pb.Package:
        """ENABLED or DISABLED."""

        async def work() -> pb.Package:
            if request.operational_state not in tuple(OperationalState):
                raise problem("bad-request", "operational_state: expected ENABLED or DISABLED")
            state = OperationalState(request.operational_state)
            return package_message(await self._store.change(tenant_of(context), request.ref, state, self._clock()))

        return await answered(context, work())

    async def DeletePackage(self, request: pb.GetRequest, context: Context) -> pb.DeleteResponse:
        """Only when disabled and unused; its blobs go too."""

        async def work() -> pb.DeleteResponse:
            await self._store.delete(tenant_of(context), request.ref, self._clock())
            await self._onboarding.sweep()
            return pb.DeleteResponse()

        return await answered(context, work())


async def _data(first: pb.UploadPackageChunk, rest: AsyncIterator[pb.UploadPackageChunk]) -> AsyncIterator[bytes]:
    if first.data:
        yield first.data
    async for chunk in rest:
        yield chunk.data


def _broken() -> ProblemError:
    return problem("upload-broken", "the upload ended before the package was whole; upload it again")
