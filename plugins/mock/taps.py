"""Who listens at which port of the mock: captures open a tap, probes let their packets pass it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from vnfm.pluginkit.handlers import Packet

Place = tuple[str, str, str]
"""(manager_id, resource_id, cp_id)"""
_MOST = 10_000


class Taps:
    """Queues of packets by port."""

    def __init__(self) -> None:
        self._open: dict[Place, set[asyncio.Queue[Packet]]] = {}

    @contextmanager
    def listen(self, place: Place) -> Iterator[asyncio.Queue[Packet]]:
        """Packets at this port, as long as the block lasts; who is too slow loses the rest."""
        queue: asyncio.Queue[Packet] = asyncio.Queue(_MOST)
        self._open.setdefault(place, set()).add(queue)
        try:
            yield queue
        finally:
            self._open[place].discard(queue)
            if not self._open[place]:
                del self._open[place]

    def __bool__(self) -> bool:
        """Whether anyone listens anywhere."""
        return bool(self._open)

    def pass_by(self, place: Place, packet: Packet) -> None:
        """A packet crosses this port."""
        for queue in self._open.get(place, ()):
            if not queue.full():
                queue.put_nowait(packet)
