"""What the runner keeps in memory of an operation that it drives: nothing that the log does not know, but for words,
tasks, and what has ended and is not written yet, which counts as a call in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from vnfm.lcm.machine import BROKEN, Run, St, move
from vnfm.lcm.operation import LogEntry, Operation
from vnfm.lcm.steps import Step
from vnfm.model.lcm import CancelMode
from vnfm.model.resources import Handle, LinkEnd


@dataclass(slots=True)
class Driven:
    """`status` is that of the log and of what is not written yet. `ahead` are steps whose intent this manager has put
    on record and which it has not called."""

    known: Operation | None = None  # as it was just written
    handles: dict[str, Handle] | None = None
    words: dict[str, str] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[Run, asyncio.Task[LogEntry]] = field(default_factory=dict)
    cancel: CancelMode | None = None
    again: bool = False  # asked for while its driver was about to end
    steps: Mapping[str, Step] = field(default_factory=dict)
    status: dict[str, St] = field(default_factory=dict)
    ahead: set[str] = field(default_factory=set)
    unwritten: tuple[LogEntry, ...] = ()
    since_s: float = 0.0  # when the first of these ended

    def take_up(self, operation: Operation, ahead: Iterable[str] = ()) -> None:
        """As the log has it; what was known besides is forgotten."""
        self.steps = {s.key: s for s in operation.steps}
        self.status = operation.status
        self.ahead = set(ahead)
        self.unwritten, self.handles = (), None

    async def woken(self, within_s: float | None) -> bool:
        """Wait until somebody wakes us; False where that takes longer."""
        if not self.wake.is_set():
            if within_s is None:
                await self.wake.wait()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(within_s):
                        await self.wake.wait()
        return self.wake.is_set()

    def add(self, entries: tuple[LogEntry, ...], at_s: float) -> None:
        """Lines that are to be written."""
        if entries and not self.unwritten:
            self.since_s = at_s
        for entry in entries:
            move(self.status, entry)
        self.unwritten += entries

    def seen(self, operation: Operation) -> Operation:
        """With what is not written yet."""
        return replace(operation, log=operation.log + self.unwritten) if self.unwritten else operation

    @property
    def broken(self) -> bool:
        """Something has failed: only what is in flight is seen to its end."""
        return not BROKEN.isdisjoint(self.status.values())

    def take_in(self, entries: Iterable[LogEntry]) -> None:
        """Handles of what was made, by resource id; what was taken back has none any more."""
        if self.handles is None:
            return
        for entry in entries:
            if entry.output and entry.output.resource:
                handle = entry.output.resource.handle
                self.handles[handle.resource_id] = handle
            elif entry.to is St.UNDONE:
                self.handles.pop(self.steps[entry.step].makes, None)


def link_ends(log: Iterable[LogEntry]) -> dict[str, LinkEnd]:
    """By what each link can be joined, as its VIM told when it was allocated."""
    resources = (e.output.resource for e in log if e.output and e.output.resource)
    return {r.handle.resource_id: r.link_end for r in resources if r.link_end}
