"""Packages: SOL003 clause 10, SOL005 clause 9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from vnfm.api.errors import answered, streamed, tenant_of
from vnfm.api.views import package_message, struct
from vnfm.lcm.onboarding import Onboarding
from vnfm.lcm.ports import Clock
from vnfm.model.package import OperationalState
from vnfm.model.problem import ProblemError, problem
from vnfm.model.vnfd_document import vnfd_document
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc
from vnfm.store.blobs import BlobStore
from vnfm.store.fetching import PackageSources
from vnfm.store.packages import PackageStore
from vnfm.tosca.content import artifact_sizes, read_artifact

Context = grpc.aio.ServicerContext[Any, Any]
DIGEST_POLICIES = ("strict", "auto", "warn")
SIGNATURE_POLICIES = ("", "if-present", "require")


class PackagesServicer(rpc.PackagesServicer):
    """vnfm.nfvo.v1.Packages."""

    def __init__(
        self,
        store: PackageStore,
        blobs: BlobStore,
        onboarding: Onboarding,
        sources: PackageSources,
        clock: Clock,
        new_id: Any,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._onboarding = onboarding
        self._sources = sources
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
        first = await anext(aiter(requests), None)
        if first is None or not first.package_id:
            raise problem("bad-request", "package_id: expected in the first chunk")
        policy = _policy(first.digest_policy, first.signature_policy)
        return await self._take(tenant_of(context), first.package_id, policy, _data(first, requests))

    async def FetchPackage(self, request: pb.FetchPackageRequest, context: Context) -> pb.Package:
        """Content from an address that the operator allows, then the same way."""

        async def work() -> pb.Package:
            if not request.package_id or not request.url:
                raise problem("bad-request", "package_id and url: expected both")
            policy = _policy(request.digest_policy, request.signature_policy)
            self._sources.check(request.url)
            content = self._sources.fetch(request.url)
            return await self._take(tenant_of(context), request.package_id, policy, content)

        return await answered(context, work())

    async def _take(self, tenant: str, ref: str, policy: str, content: AsyncIterator[bytes]) -> pb.Package:
        package = await self._store.get(tenant, ref)
        await self._store.uploading(tenant, package.id, policy)
        with self._onboarding.hold():
            try:
                blob = await self._blobs.take(content)
                await self._store.processing(tenant, package.id, blob)
            except BaseException as error:
                found = error.problem if isinstance(error, ProblemError) else _broken().problem
                await self._onboarding.fail(tenant, package.id, found)
                raise
        return package_message(await self._onboarding.process(tenant, package.id, blob, policy))

    async def GetPackage(self, request: pb.GetRequest, context: Context) -> pb.Package:
        """One."""

        async def work() -> pb.Package:
            package = await self._store.get(tenant_of(context), request.ref)
            return package_message(package, await self._store.error_of(tenant_of(context), package.id))

        return await answered(context, work())

    async def ListPackages(self, request: pb.ListRequest, context: Context) -> AsyncIterator[pb.Package]:
        """All of the tenant."""

        async def items() -> AsyncIterator[pb.Package]:
            errors = await self._store.errors(tenant_of(context))
            for package in await self._store.all(tenant_of(context)):
                yield package_message(package, errors.get(package.id))

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

    async def GetVnfd(self, request: pb.GetRequest, context: Context) -> pb.Document:
        """The VNFD with all its fields."""

        async def work() -> pb.Document:
            vnfd, _ = await self._store.content(tenant_of(context), request.ref)
            return pb.Document(body=struct(vnfd_document(vnfd)))

        return await answered(context, work())

    async def ListArtifacts(self, request: pb.GetRequest, context: Context) -> AsyncIterator[pb.Artifact]:
        """Every file of an onboarded package."""

        async def items() -> AsyncIterator[pb.Artifact]:
            _, blob = await self._store.content(tenant_of(context), request.ref)
            for path, size in (await asyncio.to_thread(artifact_sizes, self._blobs.path(blob))).items():
                yield pb.Artifact(path=path, size_bytes=size)

        async for item in streamed(context, items):
            yield item

    async def FetchArtifact(
        self, request: pb.FetchArtifactRequest, context: Context
    ) -> AsyncIterator[pb.ArtifactChunk]:
        """One file of an onboarded package, or the package."""

        async def items() -> AsyncIterator[pb.ArtifactChunk]:
            _, blob = await self._store.content(tenant_of(context), request.ref)
            chunks = read_artifact(self._blobs.path(blob), request.path)
            try:
                while (found := await asyncio.to_thread(next, chunks, None)) is not None:
                    yield pb.ArtifactChunk(total_bytes=found[0], data=found[1])
            finally:
                await asyncio.to_thread(chunks.close)

        async for item in streamed(context, items):
            yield item


async def _data(first: pb.UploadPackageChunk, rest: AsyncIterator[pb.UploadPackageChunk]) -> AsyncIterator[bytes]:
    if first.data:
        yield first.data
    async for chunk in rest:
        yield chunk.data


def _policy(digests: str, signature: str) -> str:
    """Both in one word, as it is kept with the package for a start after a crash: `strict`, `strict+require`."""
    digests = digests or "strict"
    for name, given, known in (
        ("digest_policy", digests, DIGEST_POLICIES),
        ("signature_policy", signature, SIGNATURE_POLICIES),
    ):
        if given not in known:
            raise problem("bad-request", f"{name}: {given!r} is none of {', '.join(k for k in known if k)}")
    return f"{digests}+require" if signature == "require" else digests


def _broken() -> ProblemError:
    return problem("upload-broken", "the upload ended before the package was whole; upload it again")
