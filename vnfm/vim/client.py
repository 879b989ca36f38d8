"""Implements vnfm.lcm.ports.Vim over one VimConnection.

A plugin that dies in mid-call is started again by its connection, and the same call is made again: every call is
idempotent by the id in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog

from vnfm.lcm.ports import Say
from vnfm.model.problem import ProblemError, problem
from vnfm.model.resources import (
    CaptureOrder,
    ComputeSpec,
    Handle,
    LinkEnd,
    LinkSpec,
    Owner,
    PathSpec,
    ProbeResult,
    Resource,
    SapSpec,
    StatsSample,
)
from vnfm.pb.common.v1 import common_pb2 as cpb
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.vim import convert
from vnfm.vim.connection import VimConnection
from vnfm.vim.count import Count
from vnfm.vim.errors import late, problem_in, problem_of, unexplained
from vnfm.vim.exchange import MOST_BYTES, Asking, Exchange, StreamLost, alone

log = structlog.get_logger(__name__)
T = TypeVar("T")
S = TypeVar("S")

ATTEMPTS = 8  # of one call over a plugin's deaths
CONNECT_S = 45.0
LIGHT_CALL_S = 90.0
NETWORK_S = 300.0  # a cloud makes and removes networks and servers in its own time
COMPUTE_S = 600.0
IMAGE_S = 900.0
CHUNK_BYTES = 1 << 20
LOST_CHECKS = 60
FOREVER_S = float("inf")
SEEN_S = 2.0  # for so long an image that was there a moment ago is not asked for again
ANYONE = Owner("")  # matches everything of this manager
OFFERS = {
    pb.CAPABILITY_STATS: "statistics",
    pb.CAPABILITY_CAPTURE: "the capture of packets",
    pb.CAPABILITY_STEER: "changes of chains that run",
    pb.CAPABILITY_BALANCE: "several instances behind one hop",
    pb.CAPABILITY_COUNT: "counting of probes that other VIMs send",
}
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


class VimClient:
    """One VIM as the core sees it. `fence` is the lease's number, `manager_id` the stamp by which we know our own."""

    def __init__(self, connection: VimConnection, manager_id: str, fence: int) -> None:
        self.connection = connection
        self._manager_id = manager_id
        self._fence = fence
        self._seen: dict[str, tuple[int, float]] = {}  # image -> (generation of the connection, when it was there)
        self._stubs: dict[Any, Any] = {}
        self._stubs_of: grpc.aio.Channel | None = None
        self._exchange: Exchange | None = None
        self._exchange_of: grpc.aio.Channel | None = None

    async def put_image(self, sha256: str, image_format: str, blob: Path, say: Say) -> None:
        """Stat first; send only what is missing. Of many that want one image at the same time, the first ones ask."""
        if self.has_image(sha256):
            return

        async def call(channel: grpc.aio.Channel) -> None:
            stub = self._stub(rpc.ImagesStub, channel)
            present = await stub.StatImage(pb.StatImageRequest(sha256=sha256), timeout=LIGHT_CALL_S)
            if not present.present:
                say(f"sending image {sha256[:12]}")
                call = stub.PutImage(timeout=IMAGE_S)  # type: ignore[call-arg]  # the stubs know iterators only
                # written by hand: an iterator would turn the plugin's refusal into a cancellation of ours
                with contextlib.suppress(asyncio.InvalidStateError):
                    async for chunk in _chunks(sha256, image_format, blob):
                        await call.write(chunk)
                    await call.done_writing()
                await call
                say(f"sent image {sha256[:12]}")

        await self._again("PutImage", call)
        self._seen = {k: v for k, v in self._seen.items() if time.monotonic() - v[1] < SEEN_S}
        self._seen[sha256] = self.connection.generation, time.monotonic()

    def has_image(self, sha256: str) -> bool:
        """Whether it was there a moment ago."""
        generation, at = self._seen.get(sha256, (0, 0.0))
        return generation == self.connection.generation and time.monotonic() - at < SEEN_S

    async def allocate_link(self, spec: LinkSpec, owner: Owner, say: Say) -> Resource:
        """AllocateLink."""
        return await self._done("AllocateLink", convert.link_out(spec, self._owner(owner)), say, NETWORK_S)

    async def join_link(self, link: Handle, ends: Sequence[LinkEnd], owner: Owner, say: Say) -> Resource:
        """JoinLink."""
        return await self._done("JoinLink", convert.join_out(link, ends, self._owner(owner)), say, NETWORK_S)

    async def allocate_sap(self, spec: SapSpec, owner: Owner, handles: Mapping[str, Handle], say: Say) -> Resource:
        """AllocateSap."""
        return await self._done("AllocateSap", convert.sap_out(spec, self._owner(owner), handles), say, LIGHT_CALL_S)

    async def allocate_compute(
        self, spec: ComputeSpec, owner: Owner, handles: Mapping[str, Handle], say: Say
    ) -> Resource:
        """AllocateCompute."""
        request = convert.compute_out(spec, self._owner(owner), handles)
        return await self._done("AllocateCompute", request, say, COMPUTE_S)

    async def allocate_path(self, spec: PathSpec, owner: Owner, handles: Mapping[str, Handle], say: Say) -> Resource:
        """AllocatePath."""
        return await self._done("AllocatePath", convert.path_out(spec, self._owner(owner), handles), say, NETWORK_S)

    async def probe_path(
        self,
        path: Handle,
        owner: Owner,
        packets: int,
        patience_s: float,
        trace: bool = False,
        token: bytes = b"",
        destination: str = "",
    ) -> ProbeResult:
        """ProbePath; with `trace` the answer also tells where and when one packet was seen."""
        request = pb.ProbePathRequest(
            path=convert.handle_out(path),
            packets=packets,
            owner=self._owner(owner),
            trace=trace,
            token=token,
            destination=destination,
        )
        request.patience.FromMilliseconds(int(patience_s * 1000))
        await self.connection.channel(CONNECT_S)
        if not self.offers(pb.CAPABILITY_PROBE):
            settings = self.connection.settings
            return ProbeResult((), False, unsupported=f"VIM {settings.name} ({settings.kind}) sends no probes (PROBE)")
        answer = await self._called("ProbePath", request, _nobody_hears, patience_s + LIGHT_CALL_S)
        return convert.probe_in(answer.probed)

    @contextlib.asynccontextmanager
    async def count_probe(self, path: Handle, owner: Owner, token: bytes) -> AsyncIterator[Count]:
        """CountProbe. Raises ProblemError `not-offered`, `vim-unreachable`."""
        channel, _ = await self.connection.channel(CONNECT_S)
        self.expect(pb.CAPABILITY_COUNT)
        begin = pb.CountProbeRequest.Begin(path=convert.handle_out(path), owner=self._owner(owner), token=token)
        count = Count(self._stub(rpc.NetworkStub, channel), self.connection.settings.name)
        try:
            await count.begin(begin)
            yield count
        finally:
            count.close()

    async def terminate(self, handle: Handle, owner: Owner, say: Say, grace_s: float = 0.0) -> None:
        """Terminate."""
        request = pb.TerminateRequest(handle=convert.handle_out(handle), owner=self._owner(owner))
        request.grace.FromMilliseconds(int(grace_s * 1000))
        await self._done("Terminate", request, say, NETWORK_S + grace_s)

    async def _done(self, name: str, request: Asking, say: Say, timeout_s: float) -> Resource:
        return convert.resource_in((await self._called(name, request, say, timeout_s)).done)

    async def _called(self, name: str, request: Asking, say: Say, timeout_s: float) -> pb.Answer:
        """The one place that knows whether the plugin takes many calls over one stream."""

        async def call(channel: grpc.aio.Channel) -> pb.Answer:
            if not self.offers(pb.CAPABILITY_CALLS) or request.ByteSize() > MOST_BYTES:
                return await alone(channel, request, say, timeout_s)
            if self._exchange_of is not channel or self._exchange is None or self._exchange.lost:
                self._exchange_of, self._exchange = channel, Exchange(channel)
            return await self._exchange.call(request, say, timeout_s)

        try:
            answer = await self._again(name, call)
        except TimeoutError:
            raise late(self.connection.settings.name, name) from None
        if answer.WhichOneof("told") == "failed":
            raise ProblemError(problem_in(answer.failed.problem))
        return answer

    async def query_resources(self, resource_ids: Sequence[str]) -> tuple[Resource, ...]:
        """QueryResources: those of ours that are there."""
        request = pb.QueryRequest(owner=self._owner(ANYONE), resource_ids=resource_ids)

        async def call(channel: grpc.aio.Channel) -> tuple[Resource, ...]:
            stream: AsyncIterable[pb.Resource] = self._stub(rpc.ResourcesStub, channel).QueryResources(
                request, timeout=LIGHT_CALL_S
            )
            return tuple([convert.resource_in(r) async for r in stream])

        return await self._again("QueryResources", call)

    async def watch_resources(self) -> AsyncGenerator[Resource | None, None]:
        """Every compute of ours that is there, then None, then each change as it happens. Raises ProblemError
        `vim-unreachable` when the plugin is lost: watch again, and what is there comes anew."""
        request = pb.QueryRequest(owner=self._owner(ANYONE), kinds=[pb.KIND_COMPUTE], gathered=True)
        answers = self._stream(
            "WatchResources", lambda ch: self._stub(rpc.ResourcesStub, ch).WatchResources(request), FOREVER_S
        )
        async with contextlib.aclosing(answers):
            async for message in answers:
                yield None if message.listed else convert.resource_in(message)
                for later in message.later:
                    yield convert.resource_in(later)

    async def watch_stats(
        self, owner: Owner, resource_ids: Sequence[str], interval_ms: int, count: int
    ) -> AsyncGenerator[StatsSample, None]:
        """WatchStats of what the owner and the ids match (empty: all); `count` 0 goes on. Raises ProblemError
        `not-offered` where the VIM counts nothing, `vim-unreachable` when the plugin is lost."""
        request = pb.WatchStatsRequest(
            owner=self._owner(owner), resource_ids=resource_ids, interval_ms=interval_ms, count=count
        )
        answers = self._stream(
            "WatchStats",
            lambda ch: self._stub(rpc.ObservationStub, ch).WatchStats(request),
            CONNECT_S,
            pb.CAPABILITY_STATS,
        )
        async with contextlib.aclosing(answers):
            async for message in answers:
                yield convert.stats_in(message)

    async def capture(self, at: Handle, owner: Owner, order: CaptureOrder) -> AsyncGenerator[bytes, None]:
        """Capture: pieces of one pcap file. Raises ProblemError `not-offered`, `vim-unreachable`."""
        request = pb.CaptureRequest(
            at=convert.handle_out(at),
            owner=self._owner(owner),
            cp_id=order.cp_id,
            snap_bytes=order.snap_bytes,
            max_packets=order.max_packets,
            max_bytes=order.max_bytes,
        )
        request.duration.FromMilliseconds(int(order.seconds * 1000))
        answers = self._stream(
            "Capture", lambda ch: self._stub(rpc.ObservationStub, ch).Capture(request), CONNECT_S, pb.CAPABILITY_CAPTURE
        )
        async with contextlib.aclosing(answers):
            async for message in answers:
                yield message.pcap

    def exec(self, channel: grpc.aio.Channel, inputs: AsyncIterator[pb.ExecInput]) -> AsyncIterable[pb.ExecOutput]:
        """Exec, passed through."""
        outputs: AsyncIterable[pb.ExecOutput] = self._stub(rpc.ComputeStub, channel).Exec(inputs)
        return outputs

    def _stub(self, kind: Callable[[grpc.aio.Channel], S], channel: grpc.aio.Channel) -> S:
        """One a channel: it costs a third of a call."""
        if self._stubs_of is not channel:
            self._stubs_of, self._stubs = channel, {}
        stub: S | None = self._stubs.get(kind)
        if stub is None:
            stub = self._stubs[kind] = kind(channel)
        return stub

    def _owner(self, owner: Owner) -> cpb.Owner:
        return convert.owner_out(owner, self._fence, self._manager_id)

    async def _stream(
        self,
        name: str,
        call: Callable[[grpc.aio.Channel], AsyncIterable[T]],
        connect_s: float,
        capability: pb.Capability.ValueType = pb.CAPABILITY_UNSPECIFIED,
    ) -> AsyncGenerator[T, None]:
        """The answers of a call that is not made again by itself, its errors as problems."""
        vim = self.connection.settings.name
        channel, _ = await self.connection.channel(connect_s)
        if capability:
            self.expect(capability)
        try:
            async for answer in call(channel):
                yield answer
        except grpc.aio.AioRpcError as error:
            found = problem_of(error, vim)
            raise ProblemError(found) if found else unexplained(error, vim, name) from error
        except asyncio.CancelledError:
            # grpc reports a closed channel as cancellation of the call: only our own cancel is passed on
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            raise problem("vim-unreachable", f"VIM {vim} was lost during {name}", instance=vim) from None

    def offers(self, capability: pb.Capability.ValueType) -> bool:
        """Whether the plugin that is connected said so in its handshake."""
        return capability in self.connection.capabilities

    def expect(self, capability: pb.Capability.ValueType) -> None:
        """Raises ProblemError `not-offered`."""
        if not self.offers(capability):
            name, settings = pb.Capability.Name(capability), self.connection.settings
            raise problem(
                "not-offered",
                f"VIM {settings.name} ({settings.kind}) does not offer {OFFERS.get(capability, name)} "
                f"({name.removeprefix('CAPABILITY_')})",
                instance=settings.name,
            )

    async def _again(self, name: str, call: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
        """Make the call; when the plugin is lost in the middle, make it again on the next connection."""
        vim, generation = self.connection.settings.name, 0
        for attempt in range(1, ATTEMPTS + 1):
            channel, generation = await self.connection.channel(CONNECT_S, newer_than=generation)
            try:
                return await call(channel)
            except (grpc.aio.AioRpcError, StreamLost) as ended:
                error = ended.error if isinstance(ended, StreamLost) else ended
                if error and (found := problem_of(error, vim)):
                    raise ProblemError(found) from error
                if error and (error.code() not in GONE or attempt == ATTEMPTS):
                    raise unexplained(error, vim, name) from error
                log.warning("plugin lost in mid-call", vim=vim, call=name, attempt=attempt)
                if error and not await self._lost(generation):
                    raise unexplained(error, vim, name) from error
            except asyncio.CancelledError:
                # grpc reports a closed channel as cancellation of the call: only our own cancel is passed on
                task = asyncio.current_task()
                if task and task.cancelling():
                    raise
                log.warning("channel closed in mid-call", vim=vim, call=name, attempt=attempt)
        raise problem("vim-unreachable", f"VIM {vim} was lost {ATTEMPTS} times during {name}", instance=vim)

    async def _lost(self, generation: int) -> bool:
        """Whether the connection notices, within a moment, that its plugin is gone."""
        for _ in range(LOST_CHECKS):
            if self.connection.generation != generation or self.connection.state != "CONNECTED":
                return True
            await asyncio.sleep(0.05)
        return False


def _nobody_hears(word: str) -> None:
    return None


async def _chunks(sha256: str, image_format: str, blob: Path) -> AsyncIterator[pb.PutImageChunk]:
    size = (await asyncio.to_thread(blob.stat)).st_size
    with blob.open("rb") as file:
        first = await asyncio.to_thread(file.read, CHUNK_BYTES)
        yield pb.PutImageChunk(sha256=sha256, format=image_format, total_bytes=size, data=first)
        while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield pb.PutImageChunk(data=data)
