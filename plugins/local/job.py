"""One piece of work on one compute, in a worker thread: what it is about, how far it may go, whom it tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from plugins.local.stamps import Stamp, StampFolder
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import cancelled

_STEP_SECONDS = 0.05


@dataclass
class Job:
    """`stamp` is written through `note`, so that what was started is found again after a crash at any line."""

    request: pb.AllocateComputeRequest
    stamps: StampFolder
    stamp: Stamp
    lock_fd: int
    report: Callable[[int, str], None]
    cancel: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        """Where everything about the compute stands."""
        return self.stamps.folder(self.stamp.resource_id)

    def note(self, stamp: Stamp, *, durable: bool = True) -> None:
        """The stamp, now with this; what is not durable outlives us, but not a power cut."""
        self.stamp = stamp
        self.stamps.write(stamp, durable=durable)

    def check(self) -> None:
        """Raises CANCELLED once nobody waits for the outcome any more."""
        if self.cancel.is_set():
            raise cancelled("the call was given up; what was begun stays stamped", instance=self.stamp.resource_id)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Polls until the condition holds; whether it did within the time."""
        deadline = time.monotonic() + seconds
        step = 0.002
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                return False
            time.sleep(step)
            step = min(step * 1.5, _STEP_SECONDS)
        return True

    def elapsed_ms(self) -> int:
        """Since the call."""
        return max(1, round((time.monotonic() - self.began) * 1000))
