"""A batch as good as time allows: orders of the fast path, then large neighbourhoods, then everything at once.

All three begin from the best so far and stop at the deadline. Time is read from the clock that is handed in, in
seconds, and random choices come from the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vnfm.placement.optimal.books import Books, booked
from vnfm.placement.optimal.bound import chain_bounds
from vnfm.placement.optimal.cloud import Cloud, servers_asked
from vnfm.placement.optimal.model import Model, Result
from vnfm.placement.statement import Answer, Chain

Answers = Mapping[str, Answer]
Place = Callable[[Sequence[Chain], float], Answers]  # chains in their order, and when to stop

FREE_CHAINS = 4
EXTRA_NODES = 12
MOST_FREE = 12.0
STEP_SECONDS = 1.0
QUICK_S = 0.4
ALL_NODES = 26  # a cloud of so many is never cut down
ORDERS_S = 5.0  # what shuffling finds it finds soon
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
        whole = self.settings.until - self.begun
        if not self.cloud.nodes:
            place = None
        if place is not None and self.chains:
            self._take(place(self.chains, self.settings.until), "orders")
        self.bound = sum(chain_bounds(self.cloud).values())
        if place is not None and self.chains:
            self.orders(place, self.settings.clock() + min(0.1 * whole, ORDERS_S))
        effort = sum(len(c.vnfs) for c in self.chains) * len(self.cloud.nodes)
        at_once = effort <= EXACT_AT_ONCE
        if not self._done and at_once:
            if effort > EASY:
                self.neighbourhoods(self.settings.clock() + min(0.35 * whole, FIRST_S))
            self.exact(self.settings.until)
        if not self._done and not at_once:
            possible = effort <= EXACT_AT_ALL
            self.insertions(self.begun + 0.3 * whole)
            self.neighbourhoods(self.begun + (0.7 if possible else 1.0) * whole)
            if possible and not self._done and self._left(self.settings.until) > 2.0:
                self.exact(self.settings.until)
            self.neighbourhoods(self.settings.until)
        return self.found

    @property
    def found(self) -> Found:
        """The best so far."""
        return Found(self.best, self.objective, min(self.bound, self.objective), self.stage)

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
            sorted(self.chains, key=servers_asked),
            sorted(self.chains, key=lambda c: -servers_asked(c)),
        ]
        slowest = 0.0
        rounds = idle = 0
        while not self._done and idle < IDLE_ORDERS and self._left(until) > slowest:
            begun = self.settings.clock()
            order = fixed[rounds] if rounds < len(fixed) else self._shuffled()
            idle = 0 if self._take(place(order, until), "orders") else idle + 1
            slowest = max(slowest, self.settings.clock() - begun)
            rounds += 1

    def _shuffled(self) -> list[Chain]:
        order = list(self.chains)
        self.random.shuffle(order)
        if self.random.random() < 0.5:
            order.sort(key=lambda c: c.id in self.best)
        return order

    def insertions(self, until: float) -> None:
        """Each refused chain by itself on a few nodes of what is left, once."""
        books = booked(self.cloud, self.best)
        for chain in self.chains:
            if chain.id in books.answers or self._left(until) < 0.1:
                continue
            result = self._solved(books, [chain], self._nodes(books, [chain]), {}, min(0.3, self._left(until)))
            for answer in result.answers.values():
                books.add(answer)
        self._take(books.answers, "insertions")

    # -- large neighbourhoods ----------------------------------------------------------------------------------------

    def neighbourhoods(self, until: float) -> None:
        """Free a few chains and nodes, solve these exactly, keep what is no worse."""
        books = booked(self.cloud, self.best)
        size = float(FREE_CHAINS)  # smaller where a step is not solved to its end, larger where it is at once
        while self.chains and not self._done and self._left(until) > 0.1:
            free = self._chosen(books, max(1, min(round(size), len(self.chains))))
            before = {c.id: books.answers[c.id] for c in free if c.id in books.answers}
            was = books.objective()
            nodes = self._nodes(books, free)
            for name in before:
                books.remove(name)
            begun = self.settings.clock()
            result = self._solved(books, free, nodes, before, min(STEP_SECONDS, self._left(until)))
            better = result.found and self._settle(books, result, was)
            if not better:
                for name, answer in before.items():
                    if name not in books.answers:
                        books.add(answer)
            if not result.proved:
                size = max(1.0, size - 1.0)
            elif self.settings.clock() - begun < QUICK_S:
                size = min(size + 0.34, MOST_FREE)

    def _solved(
        self, books: Books, free: Sequence[Chain], nodes: Sequence[int], before: Answers, seconds: float
    ) -> Result:
        model = Model(books, free, nodes)
        model.hint(before)
        seed = self.random.randrange(1 << 30)
        return model.solve(seconds, threads=self.settings.threads, seed=seed)

    def _settle(self, books: Books, result: Result, was: int) -> bool:
        """Put the answers in; out again where they are worse."""
        for answer in result.answers.values():
            books.add(answer)
        if books.objective() <= was:
            if books.objective() < self.objective:
                self._take(books.answers, "neighbourhoods")
            return True
        for name in result.answers:
            books.remove(name)
        return False

    def _chosen(self, books: Books, count: int) -> list[Chain]:
        refused = [c for c in self.chains if c.id not in books.answers]
        accepted = [c for c in self.chains if c.id in books.answers]
        if refused and (not accepted or self.random.random() < 0.6):
            first = self.random.choice(refused)
        else:
            first = self.random.choice(accepted)
        others = [c for c in accepted if c.id != first.id]
        self.random.shuffle(others)
        if first.id in books.answers and self.random.random() < 0.6:  # those that meet it
            mine = {self.cloud.root[n] for n in books.nodes_of(first.id)}
            others.sort(key=lambda c: -len(mine & {self.cloud.root[n] for n in books.nodes_of(c.id)}))
        return [first, *others[: count - 1]]

    def _nodes(self, books: Books, free: Sequence[Chain]) -> list[int]:
        """Where the free chains are, and some more: near, switched on and cheap ones first."""
        cloud = self.cloud
        if len(cloud.nodes) <= ALL_NODES:
            return list(range(len(cloud.nodes)))
        base = {n for c in free if c.id in books.answers for n in books.nodes_of(c.id)}
        racks = {cloud.nodes[n].rack for n in base}
        pool = {self.random.randrange(len(cloud.nodes)) for _ in range(160)}
        pool |= {n for n in pool if cloud.nodes[n].rack in racks}
        pool |= {g for n in base for g in cloud.guests_of[cloud.root[n]]}
        score: Counter[int] = Counter()
        wanted: set[int] = set()
        for chain in free:
            for vnf in chain.vnfs:
                ways = [o for o in cloud.options(vnf, chain.tenant, sorted(pool)) if self._fits(books, o.node, o.takes)]
                ways.sort(key=lambda o: o.cost + (0 if books.is_on(cloud.root[o.node]) else 3_000))
                for rank, option in enumerate(ways[:20]):
                    score[option.node] += 20 - rank
                if chain.id not in books.answers:
                    wanted |= {o.node for o in ways[:3]}
        extra = [n for n, _ in score.most_common(2 * EXTRA_NODES) if n not in base]
        self.random.shuffle(extra)
        return sorted(base | wanted | set(extra[:EXTRA_NODES]))

    @staticmethod
    def _fits(books: Books, node: int, takes: Sequence[int]) -> bool:
        return all(t <= has for t, has in zip(takes, books.free[node], strict=True))

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
