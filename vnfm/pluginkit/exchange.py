"""Calls on the wire: many calls over one stream, each answered as if it had been alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import calls
from vnfm.pluginkit.core import Asked, Core
from vnfm.pluginkit.inflight import Flight, Hear
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


@dataclass(slots=True)
class _Joined:
    """A call that waits for a flight."""

    flight: Flight
    hear: Hear

    def cancel(self) -> None:
        """Its answer is of no interest any more."""
        self.flight.leave(self.hear)


@dataclass
class _Desk:
    """One caller's calls. What was said and not sent yet is lost when the caller goes away, as it is with any call.

    A call whose work can begin at once waits for it by a callback; a task of its own has only one that has to wait for
    something else before."""

    core: Core
    _flying: dict[int, asyncio.Task[None] | _Joined] = field(default_factory=dict)
    _said: list[pb.Answer] = field(default_factory=list)
    _updates: dict[int, int] = field(default_factory=dict)  # where among these a call's latest progress is
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
            await asyncio.sleep(0)  # what ends in this turn of the loop goes with it
        said, self._said = self._said, []
        self._updates.clear()
        return said

    async def close(self) -> None:
        """Leave all calls."""
        flying, self._flying = self._flying, {}
        for each in flying.values():
            each.cancel()
        tasks = [each for each in flying.values() if not isinstance(each, _Joined)]
        if self._reader:
            self._reader.cancel()
            tasks.append(self._reader)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, batches: AsyncIterator[pb.CallBatch]) -> None:
        async for batch in batches:
            for call in batch.calls:
                self._take(call)

    def _take(self, call: pb.Call) -> None:
        flying = self._flying.get(call.id)
        kind: str = call.WhichOneof("ask") or ""
        if kind == "leave":
            if flying:
                self._leave(call.id, flying)
        elif flying:
            raise invalid("calls.id", f"{call.id} is that of a call in flight: give each call an id of its own")
        elif kind in _PREPARE:
            self._ask(call.id, kind, getattr(call, kind))
        elif kind == "probe":
            self._wait(call.id, self._probe(call.id, call.probe))
        else:
            self._fail(call.id, unimplemented(f"call {call.id}", "a newer version of the contract"), "Exchange", "")

    def _leave(self, call_id: int, flying: asyncio.Task[None] | _Joined) -> None:
        flying.cancel()
        if isinstance(flying, _Joined):
            del self._flying[call_id]
            self._say_left(call_id)

    def _ask(self, call_id: int, kind: str, request: Any) -> None:
        name, about, prepare = _PREPARE[kind]
        try:
            asked = prepare(self.core, request)
            if (flight := self.core.begin(asked)) is not None:
                self._join(call_id, flight, name, about(request))
                return
        except Exception as error:  # noqa: BLE001  each call has its own end
            self._fail(call_id, error, name, about(request))
            return
        self._wait(call_id, self._enter(call_id, asked, name, about(request)))

    def _join(self, call_id: int, flight: Flight, name: str, instance: str) -> None:
        def hear(update: pb.Progress.Update) -> None:
            self._say_update(pb.Answer(id=call_id, update=update))

        def landed(_: object) -> None:
            if self._flying.get(call_id) is not joined:
                return  # it was left
            del self._flying[call_id]
            flight.leave(hear)
            try:
                self._say(pb.Answer(id=call_id, done=flight.result()))
            except Exception as error:  # noqa: BLE001  each call has its own end
                self._fail(call_id, error, name, instance)

        joined = self._flying[call_id] = _Joined(flight, hear)
        flight.join(hear)
        flight.task.add_done_callback(landed)

    def _wait(self, call_id: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._flying[call_id] = asyncio.create_task(work)
        task.add_done_callback(partial(self._ended, call_id))

    def _ended(self, call_id: int, task: asyncio.Task[None]) -> None:
        if self._flying.get(call_id) is task:
            del self._flying[call_id]
        if task.cancelled():
            self._say_left(call_id)
        self._wake.set()

    async def _enter(self, call_id: int, asked: Asked, name: str, instance: str) -> None:
        try:
            self._join(call_id, await self.core.enter(asked), name, instance)
        except Exception as error:  # noqa: BLE001  each call has its own end
            self._fail(call_id, error, name, instance)

    async def _probe(self, call_id: int, request: pb.ProbePathRequest) -> None:
        try:
            self._say(pb.Answer(id=call_id, probed=await calls.probe_path(self.core, request)))
        except Exception as error:  # noqa: BLE001  each call has its own end
            self._fail(call_id, error, "ProbePath", request.path.resource_id)

    def _say(self, answer: pb.Answer) -> None:
        self._updates.pop(answer.id, None)
        self._said.append(answer)
        self._wake.set()

    def _say_update(self, answer: pb.Answer) -> None:
        """In the place of what was said of the same call before, where that has not been sent yet."""
        at = self._updates.get(answer.id)
        if at is None:
            self._updates[answer.id] = len(self._said)
            self._said.append(answer)
            self._wake.set()
        else:
            self._said[at] = answer

    def _say_left(self, call_id: int) -> None:
        self._say(pb.Answer(id=call_id, failed=failure_of(cancelled("the caller has left the call"))))

    def _fail(self, call_id: int, error: Exception, name: str, instance: str) -> None:
        self._say(pb.Answer(id=call_id, failed=failure_of(refusal(error, name, instance))))
