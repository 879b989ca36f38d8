"""Solves a batch in a process of its own and holds the deadline, whatever that process does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import IO, Any

from vnfm.model.problem import problem
from vnfm.placement.optimal.wire import instance_dict
from vnfm.placement.solution_io import parse_solution
from vnfm.placement.statement import SOLUTION_FORMAT, Answer, Instance, Solution

PATIENCE_S = 0.7  # past the deadline, for a solver that looks at its clock late and for the last line
WORKER = "vnfm.placement.optimal.worker"
PROVED = {"proof": "batch", "text": "no better solution of the whole batch accepts it"}
OPEN = {"proof": None, "text": "not found"}


class WorkerDiedError(RuntimeError):
    """The process ended without any answer; its standard error says why."""


def solve(instance: Instance, seconds: float, *, seed: int = 1, threads: int | None = None) -> Solution:
    """The best solution found within `seconds` (at most PATIENCE_S more), with objective, bound and gap.

    The gap is what of the objective the bound leaves open, from 0 (proved) to 1. Raises WorkerDiedError.
    """
    with Worker(time.monotonic() + seconds, seed, threads) as worker:
        worker.send(json.dumps(instance_dict(instance)).encode())
        told = worker.best()
    return solution_of(instance.name, ((c.id, c.value) for c in instance.chains), told)


def solution_of(name: str, chains: Iterable[tuple[str, int]], told: Mapping[str, Any]) -> Solution:
    """What the worker told, with the chains (id and value) that it accepted none of."""
    accepted = {a.id: a for a in parse_solution({"format": SOLUTION_FORMAT, "chains": told.get("chains", [])}).chains}
    chains = list(chains)
    objective = told.get("objective", sum(value for _, value in chains))
    bound = told.get("bound", 0)
    gap = (objective - bound) / objective if objective else 0.0
    reason = OPEN if gap else PROVED
    answers = tuple(accepted.get(chain) or Answer(chain, False, reason=reason) for chain, _ in chains)
    return Solution(name, answers, objective, bound, round(gap, 6))


class Worker:
    """One run of the worker process; killed at the latest when the `with` block ends."""

    def __init__(self, until: float, seed: int = 1, threads: int | None = None) -> None:
        self._until = until
        self._header = {"until": until, "seed": seed, "threads": threads or os.cpu_count() or 1}
        self._lines: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._child = subprocess.Popen(
            [sys.executable, "-m", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def send(self, instance: bytes) -> None:
        """The instance's JSON, as it is; the search begins."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        header = json.dumps(self._header | {"bytes": len(instance)}).encode() + b"\n"
        for work, pipe in ((_write, self._child.stdin), (self._read, self._child.stdout)):
            arguments = (pipe, header + instance) if work is _write else (pipe,)
            thread = threading.Thread(target=work, args=arguments, daemon=True)
            thread.start()
            self._threads.append(thread)

    def best(self) -> Mapping[str, Any]:
        """The last line that the worker tells until the deadline; empty where it tells none by then.

        Raises ProblemError where it refuses the instance, WorkerDiedError where it ends without a word.
        """
        best: Mapping[str, Any] = {}
        while not best.get("last"):
            try:
                line = self._lines.get(timeout=max(0.0, self._until + PATIENCE_S - time.monotonic()))
            except queue.Empty:
                return best
            if line is None and not best:
                raise WorkerDiedError("the solving process died without an answer")
            if line is None:
                return best
            if refusal := line.get("refused"):
                raise problem("invalid-request", refusal["detail"], instance=refusal["instance"])
            best = line
        return best

    def _read(self, out: IO[bytes]) -> None:
        for line in out:
            if line.endswith(b"\n"):
                self._lines.put(json.loads(line))
        self._lines.put(None)


def _write(to: IO[bytes], data: bytes) -> None:
    with suppress(BrokenPipeError):  # a worker that died says so by the end of its output
        to.write(data)
        to.close()


def _environment() -> dict[str, str]:
    """The worker finds the same code as this process."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
