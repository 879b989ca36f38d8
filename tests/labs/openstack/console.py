"""How the lab speaks and gives up."""

from __future__ import annotations

import time
from collections.abc import Callable

STARTED = time.monotonic()


class LabError(Exception):
    """The lab cannot go on; the text says why and where to look."""


def say(text: str) -> None:
    """A line of progress with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def wait_for(what: str, ready: Callable[[], object], seconds: float = 120, pause: float = 0.3) -> None:
    """Ask until the answer is true; LabError when the time is over.

    `ready` itself may raise LabError to end the waiting at once.
    """
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise LabError(f"{what}: not ready within {seconds:.0f} s")
        time.sleep(pause)
