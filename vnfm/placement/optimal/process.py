"""Solves a batch in a process of its own and holds the deadline, whatever that process does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from vnfm.placement.optimal.wire import instance_dict
from vnfm.placement.solution_io import parse_solution
from vnfm.placement.statement import SOLUTION_FORMAT, Answer, Instance, Solution

PATIENCE_S = 0.7  # past the deadline, for a solver that looks at its clock late and for the last line


class WorkerDiedError(RuntimeError):
    """The process ended without any answer; its standard error says why."""


SELF = "vnfm.placement.optimal.worker"


def solve(
    instance: Instance,
    seconds: float,
    *,
    seed: int = 1,
    threads: int | None = None,
    raw: Mapping[str, Any] | None = None,
) -> Solution:
    """The best solution found within `seconds` (at most PATIENCE_S more), with objective, bound and gap.

    Raises WorkerDiedError.
    `raw` is the instance's JSON where it is at hand. The gap is what of the objective the bound leaves open, from 0
    (proved) to 1.
    """
    until = time.monotonic() + seconds
    told = _asked(raw if raw is not None else instance_dict(instance), until, seed, threads or os.cpu_count() or 1)
    return _solution(instance, told)


def _asked(raw: Mapping[str, Any], until: float, seed: int, threads: int) -> Mapping[str, Any]:
    """The last line that the worker told."""
    child = subprocess.Popen(
        [sys.executable, "-m", SELF], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
    )
    assert child.stdin is not None
    assert child.stdout is not None
    lines: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    best: Mapping[str, Any] = {}
    try:
        try:
            child.stdin.write(json.dumps({"until": until, "seed": seed, "threads": threads, "instance": raw}) + "\n")
            child.stdin.close()
        except BrokenPipeError:
            raise WorkerDiedError("the solving process died before it read the instance") from None
        while True:
            try:
                line = lines.get(timeout=max(0.0, until + PATIENCE_S - time.monotonic()))
            except queue.Empty:
                return best
            if line is None and not best:
                raise WorkerDiedError("the solving process died without an answer")
            if line is None:
                return best
            best = line
            if line["last"]:
                return best
    finally:
        child.kill()
        child.wait()
        reader.join()
        child.stdout.close()


def _read(out: TextIO, lines: queue.Queue[Mapping[str, Any] | None]) -> None:
    for line in out:
        if line.endswith("\n"):
            lines.put(json.loads(line))
    lines.put(None)


def _environment() -> dict[str, str]:
    """The worker finds the same code as this process."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))


def _solution(instance: Instance, told: Mapping[str, Any]) -> Solution:
    accepted = {
        a.id: a
        for a in parse_solution({"format": SOLUTION_FORMAT, "instance": "", "chains": told.get("chains", [])}).chains
    }
    refused = {"proof": None, "text": "not found within the time"}
    answers = tuple(accepted.get(c.id) or Answer(c.id, False, reason=refused) for c in instance.chains)
    objective = told.get("objective", sum(c.value for c in instance.chains))
    bound = told.get("bound", 0)
    gap = (objective - bound) / objective if objective else 0.0
    return Solution(instance.name, answers, objective, bound, round(gap, 6))
