"""Many calls over one stream (service Calls): what is wanted at the same moment travels together.

Whoever calls sees nothing of it: each call is answered, refused, left and lost by itself. One stream a channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from vnfm.lcm.ports import Say
from vnfm.model.problem import problem
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc

Asking = (
    pb.AllocateLinkRequest
    | pb.AllocateSapRequest
    | pb.AllocateComputeRequest
    | pb.AllocatePathRequest
    | pb.ProbePathRequest
    | pb.TerminateRequest
    | pb.JoinLinkRequest
)
_FIELDS: dict[type, str] = {
    pb.AllocateLinkRequest: "link",
    pb.AllocateSapRequest: "sap",
    pb.AllocateComputeRequest: "compute",
    pb.AllocatePathRequest: "path",
    pb.ProbePathRequest: "probe",
    pb.TerminateRequest: "terminate",
    pb.JoinLinkRequest: "join",
}
EXCHANGE = f"/{pb.DESCRIPTOR.services_by_name['Calls'].full_name}/Exchange"
MOST_BYTES = 4 << 20  # of one message: more calls than that wait for the next one
CROWD, CROWD_S = 6, 0.2  # so many messages in so short a time: from there on more calls are waited for
GATHER_S = 0.02


class StreamLost(Exception):
    """The stream ended before the answer came: what the call did is not known. `error` is what it ended with, None
    where the channel was closed."""

    def __init__(self, error: grpc.aio.AioRpcError | None) -> None:
        super().__init__("lost in mid-call")
        self.error = error


@dataclass(slots=True)
class _Waiter:
    future: asyncio.Future[pb.Answer]
    say: Say
    due_s: float  # by the loop's clock


class Exchange:
    """One stream, opened by the first call; once it has ended, `lost` is set and another one has to be made."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.lost = False
        self._channel = channel
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiter] = {}
        self._unsent: list[bytes] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._look_s = float("inf")  # when somebody's time may be over

    async def call(self, request: Asking, say: Say, timeout_s: float) -> pb.Answer:
        """The last answer: `done`, `probed` or `failed`; updates before it are said. Raises StreamLost, and
        TimeoutError, by which, as by being cancelled, the call is left."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="calls of a VIM")
        call_id = next(self._ids)
        loop = asyncio.get_running_loop()
        waiter = self._waiting[call_id] = _Waiter(loop.create_future(), say, loop.time() + timeout_s)
        self._watch_time(loop, waiter.due_s)
        batch = pb.CallBatch()
        batch.calls.add(id=call_id, **{_FIELDS[type(request)]: request})
        self._send(batch)
        try:
            return await waiter.future
        finally:
            if self._waiting.pop(call_id, None) and not self.lost:
                self._send(pb.CallBatch(calls=[pb.Call(id=call_id, leave=True)]))

    def _watch_time(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        """One timer for all: hardly any call is ever late."""
        if due_s < self._look_s:
            self._look_s = due_s
            loop.call_at(due_s, self._look, loop, due_s)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        if due_s != self._look_s:
            return  # there is an earlier one, which looks for all
        self._look_s = float("inf")
        for waiter in self._waiting.values():
            if waiter.due_s > due_s:
                self._watch_time(loop, waiter.due_s)
            elif not waiter.future.done():
                waiter.future.set_exception(TimeoutError())

    def _send(self, batch: pb.CallBatch) -> None:
        # put into bytes once: batches of one call each, one after the other, are a batch of these calls
        self._unsent.append(batch.SerializeToString())
        self._wake.set()

    async def _run(self) -> None:
        error: grpc.aio.AioRpcError | None = None
        begin: Any = self._channel.stream_stream(EXCHANGE, bytes, pb.AnswerBatch.FromString)
        stream = begin()  # the stubs know iterators only
        writer = asyncio.create_task(self._write(stream))
        try:
            while isinstance(batch := await stream.read(), pb.AnswerBatch):
                for answer in batch.answers:
                    self._hear(answer)
        except grpc.aio.AioRpcError as ended:
            error = ended
        finally:
            # also where the channel was closed, which comes as cancellation
            self.lost = True
            writer.cancel()
            waiting, self._waiting = self._waiting, {}
            for waiter in waiting.values():
                if not waiter.future.done():
                    waiter.future.set_exception(StreamLost(error))

    async def _write(self, stream: Any) -> None:
        loop, written_s = asyncio.get_running_loop(), deque[float](maxlen=CROWD)
        # a write into a stream that has ended says nothing that reading does not say better
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._wake.wait()
                now_s = loop.time()
                if len(written_s) == CROWD and now_s - written_s[0] < CROWD_S:
                    await asyncio.sleep(GATHER_S)
                self._wake.clear()
                while self._unsent:
                    await stream.write(self._next())
                written_s.append(now_s)

    def _next(self) -> bytes:
        unsent, size = self._unsent, 0
        for number, call in enumerate(unsent):
            size += len(call)
            if size > MOST_BYTES and number:
                self._unsent = unsent[number:]
                return b"".join(unsent[:number])
        self._unsent = []
        return b"".join(unsent)

    def _hear(self, answer: pb.Answer) -> None:
        if answer.HasField("update"):
            if waiter := self._waiting.get(answer.id):
                waiter.say(answer.update.message)
        elif (waiter := self._waiting.pop(answer.id, None)) and not waiter.future.done():
            waiter.future.set_result(answer)


async def alone(channel: grpc.aio.Channel, request: Asking, say: Say, timeout_s: float) -> pb.Answer:
    """The same call by its own RPC, for a plugin that takes no other. Raises AioRpcError."""
    if isinstance(request, pb.ProbePathRequest):
        return pb.Answer(probed=await rpc.NetworkStub(channel).ProbePath(request, timeout=timeout_s))
    return await _last(_stream(channel, request, timeout_s), say)


def _stream(channel: grpc.aio.Channel, request: Asking, timeout_s: float) -> AsyncIterable[pb.Progress]:
    match request:
        case pb.AllocateLinkRequest():
            return rpc.NetworkStub(channel).AllocateLink(request, timeout=timeout_s)
        case pb.AllocateSapRequest():
            return rpc.NetworkStub(channel).AllocateSap(request, timeout=timeout_s)
        case pb.AllocatePathRequest():
            return rpc.NetworkStub(channel).AllocatePath(request, timeout=timeout_s)
        case pb.JoinLinkRequest():
            return rpc.NetworkStub(channel).JoinLink(request, timeout=timeout_s)
        case pb.AllocateComputeRequest():
            return rpc.ComputeStub(channel).AllocateCompute(request, timeout=timeout_s)
        case pb.TerminateRequest():
            return rpc.ResourcesStub(channel).Terminate(request, timeout=timeout_s)
        case _:
            raise AssertionError(f"a {type(request).__name__} has no progress")


async def _last(stream: AsyncIterable[pb.Progress], say: Say) -> pb.Answer:
    """Read a stream of Progress to its end; says each update."""
    done: pb.Resource | None = None
    async for progress in stream:
        if progress.HasField("update"):
            say(progress.update.message)
        else:
            done = progress.done
    if done is None:
        raise problem("vim-failed", "the plugin ended its answer without a result")
    return pb.Answer(done=done)
