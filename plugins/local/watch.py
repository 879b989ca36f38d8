"""Tells at once when a process ends, and how."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from plugins.local.process import PIDFD_OFFERED, ProcessRef, exit_status

MACHINE = "machine"
"""The name of a process beside the payload's own: qemu under a microVM's relay."""
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Ending:
    """A process that has ended. `status` is as waitpid() has it, None where the kernel does not say; `at_ns` is when
    it was seen (time.time_ns)."""

    name: str
    status: int | None
    at_ns: int


Tell = Callable[[str, Ending], None]


@dataclass(slots=True)
class _Followed:
    fds: dict[int, tuple[str, ProcessRef]] = field(default_factory=dict)
    polled: dict[str, ProcessRef] = field(default_factory=dict)


class Watcher:
    """Holds a pidfd a process: the kernel wakes the event loop. Only a kernel without pidfds is polled.

    `tell(key, ending)` is called in the event loop, once a process.
    """

    def __init__(self, tell: Tell, *, pidfds: bool = PIDFD_OFFERED) -> None:
        self._tell = tell
        self._pidfds = pidfds
        self._followed: dict[str, _Followed] = {}
        self._polling: asyncio.Task[None] | None = None

    def follow(self, key: str, refs: Mapping[str, ProcessRef]) -> None:
        """From now on, by name; what was followed under the key before is not. One that is gone is told of soon."""
        self.forget(key)
        loop = asyncio.get_running_loop()
        followed = self._followed[key] = _Followed()
        for name, ref in refs.items():
            fd = ref.open() if self._pidfds else None
            if fd is not None:
                followed.fds[fd] = name, ref
                loop.add_reader(fd, self._readable, key, fd)
            else:
                followed.polled[name] = ref
        if followed.polled:
            loop.call_soon(self._look, key)
            if self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll())

    def forget(self, key: str) -> None:
        """What happens to it now is meant."""
        followed = self._followed.pop(key, None)
        if followed is not None:
            for fd in followed.fds:
                _let_go(fd)

    def close(self) -> None:
        """Forgets all."""
        for key in list(self._followed):
            self.forget(key)
        if self._polling is not None:
            self._polling.cancel()

    def _readable(self, key: str, fd: int) -> None:
        followed = self._followed.get(key)
        if followed is None or fd not in followed.fds:
            return
        name, ref = followed.fds.pop(fd)
        ending = Ending(name, exit_status(ref, fd), time.time_ns())
        _let_go(fd)
        self._tell(key, ending)

    def _look(self, key: str) -> None:
        followed = self._followed.get(key)
        for name, ref in list(followed.polled.items()) if followed else []:
            if not ref.alive():
                assert followed is not None
                followed.polled.pop(name, None)
                self._tell(key, Ending(name, exit_status(ref), time.time_ns()))

    async def _poll(self) -> None:
        while any(followed.polled for followed in self._followed.values()):
            await asyncio.sleep(_POLL_SECONDS)
            for key in list(self._followed):
                self._look(key)


def _let_go(fd: int) -> None:
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)


def in_words(status: int | None) -> str:
    """How a process ended: `ended with 3`, `was killed by signal 9 (SIGKILL)`, `has ended`."""
    if status is None:
        return "has ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed by signal {-code}"


def was_killed(status: int | None) -> bool:
    """Whether it may have been SIGKILL, as it is where memory runs out."""
    return status is None or os.waitstatus_to_exitcode(status) == -9
