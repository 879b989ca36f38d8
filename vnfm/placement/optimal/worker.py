"""The process that searches: one request on stdin, improvements on stdout, a JSON line each.

Run by `process.py` as `python -m vnfm.placement.optimal.worker`. Nothing that it loads reaches the manager.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.optimal.cloud import Cloud
from vnfm.placement.optimal.search import Found, Place, Search, Settings
from vnfm.placement.placer import Placer
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement import Answer, Chain, Instance
from vnfm.placement.statement_io import parse_instance

PAUSE_S = 0.3  # between two answers told, so that large ones do not cost the search its time


class Teller:
    """Writes the best so far; what comes too soon after the last is kept for the end."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._last = float("-inf")

    def __call__(self, found: Found, *, last: bool = False) -> None:
        if not last and self._clock() - self._last < PAUSE_S:
            return
        line: dict[str, Any] = {"objective": found.objective, "bound": found.bound, "stage": found.stage, "last": last}
        line["chains"] = [answer_dict(a) for a in found.answers.values()]
        self._write(json.dumps(line, separators=(",", ":")) + "\n")
        self._last = self._clock()


def fast_path(instance: Instance) -> Place:
    """Chains in an order through the engine, each time on the empty cloud."""
    estate = build_estate(instance)

    def place(chains: Sequence[Chain]) -> dict[str, Answer]:
        placer = Placer(Book(estate))
        answers = map(placer.place, chains)
        return {a.id: a for a in answers if a.accepted}

    return place


def main() -> int:
    """The exit code."""
    request = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a solver's own words do not come between the lines
    instance = parse_instance(request["instance"])
    teller = Teller(out.write, time.monotonic)
    settings = Settings(time.monotonic, request["until"], request["seed"], request["threads"], teller)
    search = Search(Cloud(instance), settings)
    try:
        search.run(fast_path(instance))
    except ImportError as error:
        sys.stderr.write(f"without the solver: {error}\n")
    teller(search.found, last=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
