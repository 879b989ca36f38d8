"""A process that dies between any two steps of what it does to the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from plugins.local.net import HostNetwork, Outside

DIED, DONE = 9, 0
Action = Callable[[HostNetwork], object]


def _die_at(step: int) -> Callable[[str], None]:
    passed = iter(range(10_000))

    def checkpoint(_name: str) -> None:
        if next(passed) == step:
            os._exit(DIED)  # as kill -9: no cleaning up, no handlers

    return checkpoint


def _in_a_process_that_dies(run_dir: Path, step: int, action: Action, outsides: Sequence[Outside]) -> int:
    """Run the action in a child that dies after so many steps; its exit status, DONE where it came to the end."""
    child = os.fork()
    if child == 0:
        try:
            action(HostNetwork(run_dir, outsides=outsides, checkpoint=_die_at(step)))
            os._exit(DONE)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def deaths(run_dir: Path, action: Action, outsides: Sequence[Outside] = ()) -> Iterator[int]:
    """Die at the first step, the second and so on, until the action comes to its end without."""
    for step in range(1000):
        status = _in_a_process_that_dies(run_dir, step, action, outsides)
        if status == DONE:
            assert step > 0, "no step was met"
            return
        assert status == DIED
        yield step
    raise AssertionError("the action has no end")
