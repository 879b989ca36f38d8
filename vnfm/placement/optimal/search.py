"""A batch as good as time allows: orders of the fast path, then large neighbourhoods, then everything at once.

All three begin from the best so far and stop at the deadline. Time is read from the clock that is handed in, in
seconds, and random choices come from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vnfm.placement.optimal.books import Books, booked
from vnfm.placement.optimal.bound import chain_bounds
from vnfm.placement.optimal.cloud import Cloud, cpu_asked
from vnfm.placement.optimal.model import Model
from vnfm.placement.optimal.neighbourhoods import Neighbourhoods
from vnfm.placement.statement import Answer, Chain

Answers = Mapping[str, Answer]
Place = Callable[[Sequence[Chain]], Iterator[Answer]]  # chains in their order, on the empty cloud, one after the other

ORDERS_S = 5.0  # what shuffling finds it finds soon
FINISH_S = 0.15  # before the deadline, to tell the last
BOUND_S = 2e-8  # a VNF and node, of the bound without a solver
ON_THE_WAY_S = 0.4
IDLE_ORDERS = 60  # so many in a row that bring nothing end it
FIRST_S = 5.0  # of neighbourhoods before an exact model that is small
EASY = 150  # VNFs times nodes: the whole model is solved at once
EXACT_AT_ONCE = 1_100  # so much of the time is better spent on proving than on neighbourhoods
PROVERS = 8  # CP-SAT's strategies differ; eight prove in seconds, on two processors, what two do not in minutes
EXACT_AT_ALL = 25_000  # beyond, building the whole model takes longer than it brings


@dataclass(frozen=True, slots=True)
class Found:
    """The best so far. `bound` is proven; `stage` says what found it."""

    answers: Answers
    objective: int
    bound: int
    stage: str


@dataclass(frozen=True, slots=True)
class Settings:
    """`until` by `clock`; `tell` hears of each improvement."""

    clock: Callable[[], float]
    until: float
    seed: int
    threads: int
    tell: Callable[[Found], None]


class Search:
    """One batch. Use `run`; `best` and `bound` hold at any time."""

    def __init__(self, cloud: Cloud, settings: Settings) -> None:
        self.cloud, self.settings = cloud, settings
        self.chains = cloud.instance.chains
        self.random = random.Random(settings.seed)
        self.best: dict[str, Answer] = {}
        self.objective = sum(c.value for c in self.chains)
        self.bound = 0
        self.stage = "none"
        self.begun = settings.clock()

    def run(self, place: Place | None) -> Found:
        """Everything, until the deadline or the proof that nothing is better. `place` is the fast path on the empty
        cloud, chains in the order given."""
        until = self.settings.until - FINISH_S
        whole = until - self.begun
        if not self.cloud.nodes:
            place = None
        effort = sum(len(c.vnfs) for c in self.chains) * len(self.cloud.nodes)
        if effort * BOUND_S < 0.1 * whole:
            self.bound = sum(chain_bounds(self.cloud).values())
        if place is not None and self.chains:
            self._place(place, self.chains, until, on_the_way=True)
        if not self.bound:
            self.bound = sum(chain_bounds(self.cloud).values())
        alone = len(self.chains) == 1  # what the fast path has for it is known, and there are no others to move
        if place is not None and self.chains and not alone:
            self.orders(place, self.settings.clock() + min(0.1 * whole, ORDERS_S))
        at_once = effort <= EXACT_AT_ONCE
        if not self._done and at_once:
            if effort > EASY and not alone:
                self.neighbourhoods(self.settings.clock() + min(0.35 * whole, FIRST_S))
            self.exact(until)
        if not self._done and not at_once:
            possible = effort <= EXACT_AT_ALL
            self.insertions(self.begun + 0.3 * whole)
            self.neighbourhoods(self.begun + (0.7 if possible else 1.0) * whole)
            if possible and not self._done and self._left(until) > 2.0:
                self.exact(until)
            self.neighbourhoods(until)
        return self.found

    @property
    def found(self) -> Found:
        """The best so far."""
        return Found(self.best, self.objective, self.bound, self.stage)

    @property
    def _done(self) -> bool:
        return self.objective <= self.bound

    def _left(self, until: float) -> float:
        return until - self.settings.clock()

    def _take(self, answers: Answers, stage: str) -> bool:
        """Keep what is better; True where it is."""
        objective = booked(self.cloud, answers).objective()
        if objective >= self.objective:
            return False
        self.best, self.objective, self.stage = dict(answers), objective, stage
        self.settings.tell(self.found)
        return True

    # -- orders ------------------------------------------------------------------------------------------------------

    def orders(self, place: Place, until: float) -> None:
        """The fast path by value, by size, and then shuffled; chains that the best order refused go ahead in half of
        them."""
        fixed = [
            sorted(self.chains, key=lambda c: -c.value),
            sorted(self.chains, key=cpu_asked),
            sorted(self.chains, key=lambda c: -cpu_asked(c)),
        ]
        slowest = 0.0
        rounds = idle = 0
        while not self._done and idle < IDLE_ORDERS and self._left(until) > slowest:
            begun = self.settings.clock()
            order = fixed[rounds] if rounds < len(fixed) else self._shuffled()
            idle = 0 if self._place(place, order, until) else idle + 1
            slowest = max(slowest, self.settings.clock() - begun)
            rounds += 1

    def _place(self, place: Place, order: Sequence[Chain], until: float, *, on_the_way: bool = False) -> bool:
        """One order, as far as the time goes; True where it is the best so far. `on_the_way`: every now and then what
        is placed counts already, for a large batch takes longer than some deadlines."""
        placed: dict[str, Answer] = {}
        next_look = self.settings.clock() + ON_THE_WAY_S
        for answer in place(order):
            if answer.accepted:
                placed[answer.id] = answer
            now = self.settings.clock()
            if on_the_way and now >= next_look:
                self._take(placed, "orders")
                next_look = self.settings.clock() + ON_THE_WAY_S
            if now >= until:
                break
        return self._take(placed, "orders")

    def _shuffled(self) -> list[Chain]:
        order = list(self.chains)
        self.random.shuffle(order)
        if self.random.random() < 0.5:
            order.sort(key=lambda c: c.id in self.best)
        return order

    # -- large neighbourhoods ----------------------------------------------------------------------------------------

    def insertions(self, until: float) -> None:
        """Each refused chain by itself on a few nodes of what is left, once."""
        steps = self._steps()
        steps.insert([c for c in self.chains if c.id not in self.best], until)
        self._take(steps.books.answers, "insertions")

    def neighbourhoods(self, until: float) -> None:
        """A few chains at a time, from the best so far."""
        if self.chains and not self._done:
            self._steps().improve(until)

    def _steps(self) -> Neighbourhoods:
        def take(answers: Answers) -> bool:
            self._take(answers, "neighbourhoods")
            return self._done

        books = booked(self.cloud, self.best)
        return Neighbourhoods(books, self.random, self.settings.clock, self.settings.threads, take)

    # -- everything at once ------------------------------------------------------------------------------------------

    def exact(self, until: float) -> None:
        """The whole instance as one model, from the best so far; again with every switch by itself where the grouped
        network promised links that are not there."""
        for grouped in (True, False):
            if self._left(until) <= 0.05:
                return
            model = Model(Books(self.cloud), self.chains, range(len(self.cloud.nodes)), grouped=grouped)
            model.hint(self.best)
            result = model.solve(
                self._left(until),
                threads=max(PROVERS, self.settings.threads),
                seed=self.settings.seed,
                on_answers=lambda answers: self._take(answers, "exact"),
            )
            if result.bound < float("inf") and not self.cloud.opens:
                self.bound = max(self.bound, _up(result.bound))
            if result.found:
                self._take(result.answers, "exact")
            if result.laid or self._done:
                return


def _up(bound: float) -> int:
    """The objective is whole, so the bound may be rounded up, but for what floating point leaves."""
    return int(-(-(bound - 1e-6) // 1))
