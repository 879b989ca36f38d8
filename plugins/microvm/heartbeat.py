"""The guest's sign of life, for whoever watches: an empty file whose time of change says when the agent last answered.

The file is `heartbeat` in the container's folder (`ROOT/ID/heartbeat`, also told by `state`).  Its mtime is in
CLOCK_MONOTONIC, which is the same for all processes and does not jump when the date is set, so it looks like 1970; a
watcher subtracts it from `time.monotonic()`.  Looking costs one `stat`.
"""

from __future__ import annotations

import os

NAME = "heartbeat"

PERIOD_SECONDS = 1.0
"""How often the agent is asked; the next question waits for the answer to the last."""

HUNG_AFTER_SECONDS = 10.0
"""Without an answer for so long a guest counts as hung; README.md says what a merely slow one was seen to need.

Look twice, two periods apart, before acting: a host that stood still itself finds every file old when it goes on."""


def path(root: str, container: str) -> str:
    """Where a container's file is; it is there as soon as `create` has returned."""
    return f"{root}/{container}/{NAME}"


def age_seconds(file: str, monotonic_now: float) -> float | None:
    """Seconds since the agent last answered; None where there is no such file (being created, or deleted)."""
    try:
        return max(0.0, monotonic_now - os.stat(file).st_mtime_ns / 1e9)
    except FileNotFoundError:
        return None


class Pulse:
    """The relay's side: when to ask, and noting the answers."""

    def __init__(self, folder: str, monotonic_now: float) -> None:
        self._file = os.open(f"{folder}/{NAME}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._asked_at = monotonic_now
        self._waiting = False
        self.note(monotonic_now)

    def note(self, monotonic_now: float) -> None:
        """The agent has answered."""
        self._waiting = False
        stamp = int(monotonic_now * 1e9)
        os.utime(self._file, ns=(stamp, stamp))

    def due(self, monotonic_now: float) -> bool:
        """Is it time to ask?  Once it is, the next time is a period later."""
        if self._waiting or monotonic_now < self._asked_at + PERIOD_SECONDS:
            return False
        self._asked_at = monotonic_now
        self._waiting = True
        return True

    def wait_seconds(self, monotonic_now: float) -> float | None:
        """How long until it is time to ask; None while an answer is awaited."""
        return None if self._waiting else max(0.0, self._asked_at + PERIOD_SECONDS - monotonic_now)
