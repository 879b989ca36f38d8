"""The process that searches: a header and an instance on stdin, improvements on stdout, a JSON line each.

Run by `process.py` as `python -m vnfm.placement.optimal.worker`. Nothing that it loads reaches the manager, and it ends
by its deadline whatever becomes of its parent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from vnfm.model.problem import ProblemError
from vnfm.placement.statement import Answer, Chain, Instance
from vnfm.placement.statement_io import parse_instance

PAUSE_S = 0.3  # between two answers told, so that large ones do not cost the search its time


class Teller:
    """Writes the best so far; what comes too soon after the last is kept for the end."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._last = float("-inf")

    def line(self, **words: Any) -> None:
        """One line."""
        self._write(json.dumps(words, separators=(",", ":")) + "\n")

    def __call__(self, found: Any, *, last: bool = False) -> None:
        from vnfm.placement.solution_io import answer_dict

        if last or self._clock() - self._last >= PAUSE_S:
            chains = [answer_dict(a) for a in found.answers.values()]
            words = {"objective": found.objective, "bound": found.bound, "stage": found.stage, "last": last}
            self.line(**words, chains=chains)
            self._last = self._clock()


def fast_path(instance: Instance) -> Callable[[Sequence[Chain]], Iterator[Answer]]:
    """Chains in an order through the engine, each time on the empty cloud. No worker VM is opened: the exact model
    knows of none that is not there, and its answers and these are mixed."""
    from vnfm.placement.book import Book
    from vnfm.placement.estate import build_estate
    from vnfm.placement.placer import Placer, answer_of

    if any(n.opens for n in instance.nodes):
        instance = replace(instance, nodes=tuple(n._replace(opens=()) for n in instance.nodes))
    estate = build_estate(instance)

    def place(chains: Sequence[Chain]) -> Iterator[Answer]:
        placer = Placer(Book(estate))
        effort = placer.effort._replace(prove=False)  # why one is refused does not matter here
        for chain in chains:
            found = placer.find(chain, effort)
            if found.draft is None:
                yield Answer(chain.id, accepted=False)
            else:
                placer.book.commit(chain.id, found.draft, found.version)
                yield answer_of(found.ask, placer.book, found.draft)

    return place


def main() -> int:
    """The exit code."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a solver's own words do not come between the lines
    teller = Teller(out.write, time.monotonic)
    header = json.loads(sys.stdin.buffer.readline())
    try:
        instance = parse_instance(json.loads(sys.stdin.buffer.read(header["bytes"])))
    except ProblemError as error:
        teller.line(refused={"detail": error.problem.detail, "instance": error.problem.instance})
        return 1
    from vnfm.placement.optimal.cloud import Cloud
    from vnfm.placement.optimal.search import Search, Settings

    settings = Settings(time.monotonic, header["until"], header["seed"], header["threads"], teller)
    search = Search(Cloud(instance), settings)
    try:
        search.run(fast_path(instance))
    except ImportError as error:
        sys.stderr.write(f"only the fast path was tried, for the solver is not installed: {error}\n")
    teller(search.found, last=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
