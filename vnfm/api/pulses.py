"""Who watches an operation hears of each line that the journal writes about it, and need not read it again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from vnfm.lcm.operation import Operation


class Ear:
    """One watcher's."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._latest: Operation | None = None

    def hear(self, operation: Operation | None) -> None:
        """The operation as it is now; None: read it again."""
        self._latest = operation
        self._news.set()

    async def wait(self, timeout_s: float) -> tuple[bool, Operation | None]:
        """Whether there was news within that time, and the operation as it was told."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return False, None
        self._news.clear()
        return True, self._latest


class Pulses:
    """The ears of all watchers, by operation."""

    def __init__(self) -> None:
        self._ears: dict[str, list[Ear]] = {}

    def told(self, operation: Operation) -> None:
        """The journal wrote something about it."""
        for ear in self._ears.get(operation.id, ()):
            ear.hear(operation)

    def cancelled(self, operation_id: str) -> None:
        """A wish to cancel was put on record, of which whoever drives the operation has no copy."""
        for ear in self._ears.get(operation_id, ()):
            ear.hear(None)

    @contextlib.contextmanager
    def listening(self, operation_id: str) -> Iterator[Ear]:
        """Until the end of the block."""
        ear = Ear()
        self._ears.setdefault(operation_id, []).append(ear)
        try:
            yield ear
        finally:
            self._ears[operation_id].remove(ear)
            if not self._ears[operation_id]:
                del self._ears[operation_id]
