"""Calls in flight: equal ones are joined, others about the same resource wait, Terminate takes precedence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import already_exists, cancelled

Key = tuple[str, str]
"""(manager_id, resource_id)"""
Hear = Callable[[pb.Progress.Update], None]
"""Takes progress as it happens."""
Work = Callable[[Callable[[int, str], None]], Awaitable[pb.Resource]]
"""What is done once for all who ask for it; its argument reports progress."""


class Verb(Enum):
    """How a call behaves towards another one about the same resource."""

    ALLOCATE = "allocate"  # another spec in flight is refused
    REPLACE = "replace"  # a path: another spec waits its turn
    OPERATE = "operate"  # waits its turn
    TERMINATE = "terminate"  # cancels what else is in flight, and waits until it has ended


class Flights:
    """At most one piece of work a resource at a time; each may have many who wait for it."""

    def __init__(self) -> None:
        self._calls: dict[Key, Flight] = {}

    async def run(self, key: Key, verb: Verb, digest: str, work: Work) -> AsyncIterator[pb.Progress]:
        """Start `work`, or join it where an equal one (same verb and digest) is in flight; yields up to `done`.

        Leaving (closing the iterator) does not disturb the others; when the last one leaves, the work is cancelled.
        Raises what the work raises; ALREADY_EXISTS where an allocation with another spec is in flight.
        """
        call = await self.enter(key, verb, digest, work)
        queue: asyncio.Queue[pb.Progress.Update | None] = asyncio.Queue()
        hear = queue.put_nowait
        call.task.add_done_callback(lambda _: queue.put_nowait(None))
        call.join(hear)
        try:
            while (update := await queue.get()) is not None:
                yield pb.Progress(update=update)
            yield pb.Progress(done=call.result())
        finally:
            call.leave(hear)

    def begin(self, key: Key, verb: Verb, digest: str, work: Work) -> Flight | None:
        """Start `work`, or take what it is to be joined with; None where something else has to end before it. Raises
        ALREADY_EXISTS where an allocation with another spec is in flight."""
        running = self._calls.get(key)
        if running is None:
            flight = self._calls[key] = Flight(key[1], verb, digest, work)
            flight.task.add_done_callback(lambda _: self._forget(key, flight))
            return flight
        if running.ending:
            return None
        if (running.verb, running.digest) == (verb, digest):
            return running
        if verb is Verb.ALLOCATE and running.verb is Verb.ALLOCATE:
            raise already_exists(key[1], f"{key[1]!r} is being allocated with another specification")
        return None

    async def enter(self, key: Key, verb: Verb, digest: str, work: Work) -> Flight:
        """The same, waiting for what has to end before it."""
        while (flight := self.begin(key, verb, digest, work)) is None:
            running = self._calls[key]
            if verb is Verb.TERMINATE and not running.ending:
                running.end()
            await asyncio.wait({running.task})
            if self._calls.get(key) is running:  # its callback comes a turn of the loop later
                del self._calls[key]
        return flight

    async def close(self) -> None:
        """Cancel all work and wait until it has ended."""
        tasks = [call.task for call in self._calls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: Key, call: Flight) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]


class Flight:
    """A piece of work in flight, with those who wait for it."""

    def __init__(self, resource_id: str, verb: Verb, digest: str, work: Work) -> None:
        self.verb = verb
        self.digest = digest
        self.ending = False
        self._resource_id = resource_id
        self._hear: list[Hear] = []
        self._latest: pb.Progress.Update | None = None
        self.task: asyncio.Task[pb.Resource] = asyncio.ensure_future(self._run(work))
        self.task.add_done_callback(_seen)

    async def _run(self, work: Work) -> pb.Resource:
        return await work(self._report)

    def _report(self, percent: int, message: str) -> None:
        update = pb.Progress.Update(percent=max(0, min(100, percent)), message=message)
        self._latest = update
        for hear in self._hear:
            hear(update)

    def join(self, hear: Hear) -> None:
        """Be told of its progress, and keep it going until `leave`."""
        if self._latest is not None:
            hear(self._latest)
        self._hear.append(hear)

    def leave(self, hear: Hear) -> None:
        """Where nobody is left, it ends."""
        self._hear.remove(hear)
        if not self._hear and not self.task.done():
            self.end()

    def end(self) -> None:
        """Break it off; its task sees to its end."""
        self.ending = True
        self.task.cancel()

    def result(self) -> pb.Resource:
        """Of what has ended. Raises what the work raised."""
        if self.task.cancelled():
            raise cancelled(
                "the call was cut short: by Terminate, or because the plugin stops", instance=self._resource_id
            )
        return self.task.result()


def _seen(task: asyncio.Task[pb.Resource]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits gets it from result()
