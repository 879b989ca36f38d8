"""Packets of a port for the caller of Capture: a thread reads them, a bounded queue hands them over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import structlog

from plugins.local.net.ring import Frame
from plugins.local.net.sniffer import Sniffer
from vnfm.pluginkit.handlers import Packet

_QUEUE_BYTES = 32 << 20
_HAND_OVER_SECONDS = 1.0
log = structlog.get_logger("plugins.local.packets")


class _Pipe:
    """From one thread to the event loop; a full one makes the thread wait, while the kernel's memory takes the rest."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Sequence[Frame] | None] = asyncio.Queue()
        self._room = threading.Condition()
        self._bytes = 0
        self.stop = threading.Event()

    def deliver(self, batch: Sequence[Frame]) -> bool:
        """Called by the thread; False once nobody wants more."""
        size = sum(len(frame.data) for frame in batch)
        with self._room:
            while self._bytes > _QUEUE_BYTES and not self.stop.is_set():
                self._room.wait(_HAND_OVER_SECONDS)
            self._bytes += size
        return self._put(batch)

    def end(self) -> None:
        """Called by the thread: nothing more will come."""
        self._put(None)

    def _put(self, batch: Sequence[Frame] | None) -> bool:
        if self.stop.is_set():
            return False
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, batch)
            return True
        return False

    async def take(self) -> Sequence[Frame] | None:
        """The next batch; None at the end."""
        batch = await self._queue.get()
        with self._room:
            self._bytes -= sum(len(frame.data) for frame in batch or ())
            self._room.notify()
        return batch

    def close(self) -> None:
        """Nobody wants more."""
        self.stop.set()
        with self._room:
            self._room.notify()


async def packets(sniffer: Sniffer, resource_id: str) -> AsyncGenerator[Sequence[Packet], None]:
    """An empty batch first, since the sniffer is open already, then batches as they come; ends when the port goes."""
    pipe = _Pipe()

    def read() -> None:
        try:
            sniffer.run(pipe.deliver, pipe.stop)
        finally:
            pipe.end()
            if sniffer.dropped:
                log.warning("packets came faster than they were taken", resource_id=resource_id, lost=sniffer.dropped)

    thread = threading.Thread(target=read, name="capture", daemon=True)
    thread.start()
    try:
        yield ()
        while (batch := await pipe.take()) is not None:
            yield [Packet(frame.at_ns, frame.data, frame.wire_bytes) for frame in batch]
    finally:
        pipe.close()
