"""Calls on the wire: many calls over one stream, each answered as if it had been alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import calls
from vnfm.pluginkit.core import Asked, Core
from vnfm.pluginkit.problems import cancelled, failure_of, guarded, invalid, refusal, unimplemented
from vnfm.pluginkit.servicers import Context


def _own(request: Any) -> str:
    return str(request.resource_id)


# by field of Call: the RPC that it stands for, what its request is about, and how it is prepared
_PREPARE: Mapping[str, tuple[str, Callable[[Any], str], Callable[[Core, Any], Asked]]] = {
    "link": ("AllocateLink", _own, calls.allocate_link),
    "sap": ("AllocateSap", _own, calls.allocate_sap),
    "compute": ("AllocateCompute", _own, calls.allocate_compute),
    "path": ("AllocatePath", _own, calls.allocate_path),
    "terminate": ("Terminate", lambda request: str(request.handle.resource_id), calls.terminate),
    "join": ("JoinLink", lambda request: str(request.link.resource_id), calls.join_link),
}


@dataclass
class CallsServicer(rpc.CallsServicer):
    """What comes together in one turn of the loop is answered together."""

    core: Core

    async def Exchange(
        self, request_iterator: AsyncIterator[pb.CallBatch], context: Context
    ) -> AsyncIterator[pb.AnswerBatch]:
        """Ends with the last answer once the caller has said all."""
        async with guarded(context, "Exchange"):
            self.core.ready()
            self.core.offers("Exchange", pb.CAPABILITY_CALLS)
            desk = _Desk(self.core)
            try:
                desk.begin(request_iterator)
                while answers := await desk.answers():
                    yield pb.AnswerBatch(answers=answers)
            finally:
                await desk.close()


@dataclass
class _Desk:
    """One caller's calls. What was said and not sent yet is lost when the caller goes away, as it is with any call."""

    core: Core
    _flying: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _said: list[pb.Answer] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: asyncio.Task[None] | None = None

    def begin(self, batches: AsyncIterator[pb.CallBatch]) -> None:
        self._reader = asyncio.create_task(self._read(batches))
        self._reader.add_done_callback(lambda _: self._wake.set())

    async def answers(self) -> list[pb.Answer]:
        """What there is to say, waiting for it; nothing once all is said. Raises what is wrong with the stream."""
        while not self._said:
            assert self._reader
            if self._reader.done():
                self._reader.result()
                if not self._flying:
                    return []
            await self._wake.wait()
            self._wake.clear()
        said, self._said = self._said, []
        return said

    async def close(self) -> None:
        """Leave all calls."""
        tasks = [*self._flying.values(), *([self._reader] if self._reader else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, batches: AsyncIterator[pb.CallBatch]) -> None:
        async for batch in batches:
            for call in batch.calls:
                self._take(call)

    def _take(self, call: pb.Call) -> None:
        flying = self._flying.get(call.id)
        if call.WhichOneof("ask") == "leave":
            if flying:
                flying.cancel()
            return
        if flying:
            raise invalid("calls.id", f"{call.id} is that of a call in flight: give each call an id of its own")
        task = self._flying[call.id] = asyncio.create_task(self._answer(call))
        task.add_done_callback(partial(self._ended, call.id))

    def _ended(self, call_id: int, task: asyncio.Task[None]) -> None:
        del self._flying[call_id]
        if task.cancelled():
            self._say(pb.Answer(id=call_id, failed=failure_of(cancelled("the caller has left the call"))))
        self._wake.set()

    def _say(self, answer: pb.Answer) -> None:
        self._said.append(answer)
        self._wake.set()

    async def _answer(self, call: pb.Call) -> None:
        kind: str = call.WhichOneof("ask") or ""
        name, instance = "Exchange", ""
        try:
            if kind == "probe":
                name, instance = "ProbePath", call.probe.path.resource_id
                self._say(pb.Answer(id=call.id, probed=await calls.probe_path(self.core, call.probe)))
                return
            if kind not in _PREPARE:
                raise unimplemented(f"call {call.id}", "a newer version of the contract")
            name, about, prepare = _PREPARE[kind]
            request = getattr(call, kind)
            instance = about(request)
            asked = prepare(self.core, request)

            def hear(update: pb.Progress.Update) -> None:
                self._say(pb.Answer(id=call.id, update=update))

            self._say(pb.Answer(id=call.id, done=await self.core.result(asked, hear)))
        except Exception as error:  # noqa: BLE001  each call has its own end
            self._say(pb.Answer(id=call.id, failed=failure_of(refusal(error, name, instance))))
