"""Identity, Inventory, Resources and Images on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import calls, check
from vnfm.pluginkit.core import Core, asked_for
from vnfm.pluginkit.handlers import ImageSink
from vnfm.pluginkit.problems import SAME_CALL, PluginError, guarded, invalid
from vnfm.pluginkit.publish import Watcher

API_VERSIONS = (1,)
MOST_GATHERED = 256  # changes in one message
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class IdentityServicer(rpc.IdentityServicer):
    """Who the plugin is, and its configuration."""

    core: Core
    name: str
    version: str

    async def Handshake(self, request: pb.HandshakeRequest, context: Context) -> pb.HandshakeResponse:
        """Picks the highest common API version."""
        async with guarded(context, "Handshake"):
            common = set(request.api_versions) & set(API_VERSIONS)
            if not common:
                raise PluginError(
                    "no-common-version",
                    f"api_versions: the plugin speaks {list(API_VERSIONS)}, the caller {list(request.api_versions)}: "
                    "install another version of one of them",
                    grpc.StatusCode.FAILED_PRECONDITION,
                )
            response = pb.HandshakeResponse(
                api_version=max(common),
                name=self.name,
                version=self.version,
                runtimes=self.core.plugin.runtimes,
                capabilities=sorted(self.core.plugin.offered()),
            )
            json_format.ParseDict(dict(self.core.plugin.config_schema), response.config_schema)
        return response

    async def Configure(self, request: pb.ConfigureRequest, context: Context) -> pb.ConfigureResponse:
        """Checks against the schema, then hands over to the plugin. May be called again."""
        async with guarded(context, "Configure"):
            config = {key: _whole(value) for key, value in json_format.MessageToDict(request.config).items()}
            _check_schema(config, self.core.plugin.config_schema)
            await self.core.plugin.configure(config, dict(request.secrets))
            self.core.configured = True
        return pb.ConfigureResponse()


def _whole(value: Any) -> Any:
    """Struct knows only doubles: 3.0 becomes 3 again."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return value


def _check_schema(config: object, schema: object) -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)  # type: ignore[arg-type]
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is not None:
        raise invalid("/".join(["config", *map(str, error.absolute_path)]), error.message)


@dataclass
class InventoryServicer(rpc.InventoryServicer):
    """What the VIM has."""

    core: Core

    async def WatchInventory(
        self, request: pb.WatchInventoryRequest, context: Context
    ) -> AsyncIterator[pb.InventoryChunk]:
        """A whole snapshot at once, then one per change."""
        async with guarded(context, "WatchInventory"):
            self.core.ready()
            async for chunk in self.core.plugin.inventory.watch():
                yield chunk


@dataclass
class ResourcesServicer(rpc.ResourcesServicer):
    """Finding, watching, removing."""

    core: Core

    async def QueryResources(self, request: pb.QueryRequest, context: Context) -> AsyncIterator[pb.Resource]:
        """Everything of this manager that matches."""
        async with guarded(context, "QueryResources"):
            self._check(request)
            for resource in await self._present(request):
                yield resource

    async def WatchResources(self, request: pb.QueryRequest, context: Context) -> AsyncIterator[pb.Resource]:
        """What is, the mark that this was all, then changes; what changes meanwhile may come twice, but is never lost.

        What was known before the watch began, and is gone since, is simply not among what is.
        """
        async with guarded(context, "WatchResources"):
            self._check(request)
            changes = self.core.plugin.changes
            watcher = changes.subscribe(request.kinds)
            try:
                for resource in await self._present(request):
                    yield changes.dated(resource)
                yield pb.Resource(listed=True)
                async for message in _gathered(watcher, request) if request.gathered else _each(watcher, request):
                    yield message
            finally:
                watcher.close()

    async def Terminate(self, request: pb.TerminateRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Remove by handle; a resource_id is enough."""
        async with guarded(context, "Terminate", request.handle.resource_id):
            async for progress in self.core.run(calls.terminate(self.core, request)):
                yield progress

    def _check(self, request: pb.QueryRequest) -> None:
        self.core.ready()
        found = check.Findings()
        check.check_owner(found, request.owner, tenant=False)
        found.raise_found()

    async def _present(self, request: pb.QueryRequest) -> list[pb.Resource]:
        resources, manager_id = self.core.plugin.resources, request.owner.manager_id
        if request.resource_ids:
            found = [await resources.find(manager_id, each) for each in dict.fromkeys(request.resource_ids)]
            every = [stamped for stamped in found if stamped is not None]
        else:
            every = list(await resources.find_all(manager_id))
        return [
            stamped.resource
            for stamped in every
            if asked_for(stamped.resource, request.owner, request.resource_ids, request.kinds)
        ]


def _watched(resource: pb.Resource, request: pb.QueryRequest) -> bool:
    return asked_for(resource, request.owner, request.resource_ids, request.kinds)


async def _each(watcher: Watcher, request: pb.QueryRequest) -> AsyncIterator[pb.Resource]:
    async for resource in watcher.changes():
        if _watched(resource, request):
            yield resource


async def _gathered(watcher: Watcher, request: pb.QueryRequest) -> AsyncIterator[pb.Resource]:
    """Changes of one moment in one message: a message costs more than what is in it."""
    async for several in watcher.gathered():
        wanted = [each for each in several if _watched(each, request)]
        for begin in range(0, len(wanted), MOST_GATHERED):
            message = pb.Resource()
            message.CopyFrom(wanted[begin])
            message.later.extend(wanted[begin + 1 : begin + MOST_GATHERED])
            yield message


_HEAR_OUT_S = 20.0


@dataclass
class ImagesServicer(rpc.ImagesServicer):
    """Images by digest. The kit counts and hashes what passes; a plugin only stores it."""

    core: Core
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def StatImage(self, request: pb.StatImageRequest, context: Context) -> pb.StatImageResponse:
        """Whether it is there."""
        async with guarded(context, "StatImage", request.sha256):
            self._check(request.sha256)
            size_bytes = await self.core.plugin.images.stat_image(request.sha256)
        return pb.StatImageResponse(present=size_bytes is not None, size_bytes=size_bytes or 0)

    async def PutImage(
        self, request_iterator: AsyncIterator[pb.PutImageChunk], context: Context
    ) -> pb.StatImageResponse:
        """Two puts of one image wait for each other; the second finds it there and need not send it."""
        async with guarded(context, "PutImage"):
            self.core.ready()
            try:
                size_bytes = await self._put(request_iterator)
            except Exception:
                await _hear_out(request_iterator)
                raise
            await _hear_out(request_iterator)
        return pb.StatImageResponse(present=True, size_bytes=size_bytes)

    async def _put(self, chunks: AsyncIterator[pb.PutImageChunk]) -> int:
        first = await anext(chunks, None)
        found = check.Findings()
        check.check_image(found, first or pb.PutImageChunk())
        found.raise_found()
        assert first is not None
        async with self._locks.setdefault(first.sha256, asyncio.Lock()):
            size_bytes = await self.core.plugin.images.stat_image(first.sha256)
            return await self._receive(first, chunks) if size_bytes is None else size_bytes

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Context) -> pb.DeleteImageResponse:
        """Success where it is not there."""
        async with guarded(context, "DeleteImage", request.sha256):
            self._check(request.sha256)
            async with self._locks.setdefault(request.sha256, asyncio.Lock()):
                await self.core.plugin.images.delete_image(request.sha256)
        return pb.DeleteImageResponse()

    def _check(self, sha256: str) -> None:
        self.core.ready()
        found = check.Findings()
        found.sha256(sha256, "sha256")
        found.raise_found()

    async def _receive(self, first: pb.PutImageChunk, rest: AsyncIterator[pb.PutImageChunk]) -> int:
        sink = await self.core.plugin.images.begin_image(first.sha256, first.format, first.total_bytes)
        try:
            await self._copy(sink, first, rest)
            await sink.commit()
        except BaseException:
            await sink.discard()
            raise
        return first.total_bytes

    async def _copy(self, sink: ImageSink, first: pb.PutImageChunk, rest: AsyncIterator[pb.PutImageChunk]) -> None:
        digest, seen_bytes = hashlib.sha256(), 0
        chunk: pb.PutImageChunk | None = first
        while chunk is not None:
            seen_bytes += len(chunk.data)
            if seen_bytes > first.total_bytes:
                break
            digest.update(chunk.data)
            await sink.write(chunk.data)
            chunk = await anext(rest, None)
        if seen_bytes != first.total_bytes:
            more = "more than" if seen_bytes > first.total_bytes else f"{seen_bytes} of"
            raise _damaged(first.sha256, f"{more} {first.total_bytes} bytes came")
        if digest.hexdigest() != first.sha256:
            raise _damaged(first.sha256, f"the bytes that came have sha256 {digest.hexdigest()}")


async def _hear_out(chunks: AsyncIterator[pb.PutImageChunk]) -> None:
    """Read what is still being sent, for a while, and drop it.

    A client of gRPC's asyncio whose write meets a call that has ended reports its own failed write instead of the
    answer: the reason of a refusal would be lost.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEAR_OUT_S):
            async for _ in chunks:
                pass


def _damaged(sha256: str, detail: str) -> PluginError:
    return PluginError(
        "image-damaged", f"{detail}: send it again", grpc.StatusCode.DATA_LOSS, retry=SAME_CALL, instance=sha256
    )
