"""Tells at once when a process of a compute ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from plugins.local.process import ProcessRef
from vnfm.pb.vim.v1 import vim_pb2 as pb

Look = Callable[[], Awaitable[pb.Resource | None]]


@dataclass(slots=True)
class _Followed:
    fds: list[int]
    look: Look


class Watcher:
    """Holds a pidfd a process: the kernel wakes the event loop, nothing is polled."""

    def __init__(self, publish: Callable[[pb.Resource], None]) -> None:
        self._publish = publish
        self._followed: dict[str, _Followed] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def follow(self, resource_id: str, refs: Sequence[ProcessRef], look: Look) -> None:
        """From now on; a process that is gone already is told of at once."""
        self.forget(resource_id)
        loop = asyncio.get_running_loop()
        opened = [ref.open() for ref in refs]
        fds = [fd for fd in opened if fd is not None]
        self._followed[resource_id] = _Followed(fds, look)
        for fd in fds:
            loop.add_reader(fd, self._ended, resource_id)
        if len(fds) < len(refs):
            self._ended(resource_id)

    def forget(self, resource_id: str) -> None:
        """What happens to it now is meant."""
        followed = self._followed.pop(resource_id, None)
        if followed is not None:
            loop = asyncio.get_running_loop()
            for fd in followed.fds:
                loop.remove_reader(fd)
                os.close(fd)

    def close(self) -> None:
        """Forgets all."""
        for resource_id in list(self._followed):
            self.forget(resource_id)

    def _ended(self, resource_id: str) -> None:
        followed = self._followed.get(resource_id)
        if followed is None:
            return
        self.forget(resource_id)
        task = asyncio.ensure_future(self._tell(followed.look))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, look: Look) -> None:
        resource = await look()
        if resource is not None:
            self._publish(resource)
