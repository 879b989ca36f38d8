"""Large neighbourhoods: a few chains are freed on a few nodes, solved exactly, and kept where that is no worse.

As many such steps run side by side as there are processors, each on chains of its own. What a step may take is what
was free when it began; where another took it meanwhile, the step is given up.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from vnfm.placement.optimal.books import Books
from vnfm.placement.optimal.model import Model, Result
from vnfm.placement.statement import Answer, Chain

FREE_CHAINS = 4.0
MOST_FREE = 12.0
EXTRA_NODES = 12
ALL_NODES = 26  # a cloud of so many is never cut down
POOL = 160  # nodes that are looked at for the extra ones
STEP_S = 1.0
INSERT_S = 0.3
QUICK_S = 0.3


class Neighbourhoods:
    """Steps over `books`, which always hold a whole solution. `take` hears of each that is no worse and says whether
    that is enough."""

    def __init__(
        self,
        books: Books,
        dice: random.Random,
        clock: Callable[[], float],
        threads: int,
        take: Callable[[Mapping[str, Answer]], bool],
    ) -> None:
        self.books, self.cloud = books, books.cloud
        self.chains = books.cloud.instance.chains
        self._dice, self._clock, self._take = dice, clock, take
        self._abreast = max(1, min(threads, len(self.chains) // 3))
        self._lock = Lock()
        self._busy: set[str] = set()
        self._free = FREE_CHAINS  # fewer where a step is not solved to its end, more where it is at once
        self._building_s = 0.0  # what the last model took: none is begun that would not be built in time
        self._enough = False

    def insert(self, chains: Sequence[Chain], until: float) -> None:
        """Each of these refused chains by itself on a few nodes of what is left, once."""
        for chain in chains:
            left = until - self._clock()
            if left < 0.1:
                return
            model = Model(self.books, [chain], self._nodes([chain]))
            result = model.solve(min(INSERT_S, left), threads=1, seed=self._dice.randrange(1 << 30))
            for answer in result.answers.values():
                self.books.add(answer)

    def improve(self, until: float) -> None:
        """Step until then, or until it is enough."""
        with ThreadPoolExecutor(self._abreast) as pool:
            for turn in [pool.submit(self._turns, until) for _ in range(self._abreast)]:
                turn.result()

    def _turns(self, until: float) -> None:
        while not self._enough and until - self._clock() > 0.1 + self._building_s:
            with self._lock:
                begun = self._clock()
                free = self._chosen()
                before = {c.id: self.books.answers[c.id] for c in free if c.id in self.books.answers}
                self._busy |= {c.id for c in free}
                model = self._model(free, before)
                seed = self._dice.randrange(1 << 30)
                self._building_s = self._clock() - begun
            begun = self._clock()
            result = model.solve(min(STEP_S, until - begun), threads=1, seed=seed)
            with self._lock:
                self._settle(result, before)
                self._busy -= {c.id for c in free}
                self._resize(result.proved, self._clock() - begun)

    def _model(self, free: Sequence[Chain], before: Mapping[str, Answer]) -> Model:
        nodes = self._nodes(free)
        for name in before:
            self.books.remove(name)
        model = Model(self.books, free, nodes)
        model.hint(before)
        for answer in before.values():
            self.books.add(answer)
        return model

    def _settle(self, result: Result, before: Mapping[str, Answer]) -> None:
        """Put the answers in the place of those before; back where that is worse or does not fit any more."""
        if not result.found or (result.answers == before):
            return
        was = self.books.objective()
        for name in before:
            self.books.remove(name)
        for answer in result.answers.values():
            self.books.add(answer)
        if self.books.objective() <= was and self.books.holds(result.answers):
            if self.books.objective() < was:
                self._enough = self._take(self.books.answers) or self._enough
            return
        for name in result.answers:
            self.books.remove(name)
        for answer in before.values():
            self.books.add(answer)

    def _resize(self, proved: bool, seconds: float) -> None:
        if not proved:
            self._free = max(1.0, self._free - 1.0)
        elif seconds < QUICK_S:
            self._free = min(self._free + 0.34, MOST_FREE)

    # -- what is freed -----------------------------------------------------------------------------------------------

    def _chosen(self) -> list[Chain]:
        """A chain, a refused one rather, and others: such as meet it on its servers, or any."""
        books, dice = self.books, self._dice
        idle = [c for c in self.chains if c.id not in self._busy]
        refused = [c for c in idle if c.id not in books.answers]
        accepted = [c for c in idle if c.id in books.answers]
        first = dice.choice(refused if refused and (not accepted or dice.random() < 0.6) else accepted)
        others = [c for c in accepted if c.id != first.id]
        dice.shuffle(others)
        if first.id in books.answers and dice.random() < 0.6:
            mine = self._servers(first)
            others.sort(key=lambda c: -len(mine & self._servers(c)))
        count = max(1, min(round(self._free), len(self.chains) // self._abreast))  # so that some are left for others
        return [first, *others[: count - 1]]

    def _servers(self, chain: Chain) -> set[int]:
        return {self.cloud.root[n] for n in self.books.nodes_of(chain.id)}

    def _nodes(self, free: Sequence[Chain]) -> list[int]:
        """Where the free chains are, and some more: switched on and cheap ones first."""
        cloud, books = self.cloud, self.books
        if len(cloud.nodes) <= ALL_NODES:
            return list(range(len(cloud.nodes)))
        base = {n for c in free if c.id in books.answers for n in books.nodes_of(c.id)}
        pool = {self._dice.randrange(len(cloud.nodes)) for _ in range(POOL)}
        pool |= {g for n in base for g in cloud.guests_of[cloud.root[n]]}
        racks = {cloud.nodes[n].rack for n in base}
        for rack in sorted(racks):
            pool |= set(cloud.in_rack[rack])
        score: Counter[int] = Counter()
        wanted: set[int] = set()
        for chain in free:
            for vnf in chain.vnfs:
                ways = [o for o in cloud.options(vnf, chain.tenant, sorted(pool)) if self._fits(o.node, o.takes)]
                ways.sort(key=lambda o: o.cost + self._switching_on(o.node))
                for rank, option in enumerate(ways[:20]):
                    score[option.node] += 20 - rank
                if chain.id not in books.answers:
                    wanted |= {o.node for o in ways[:3]}
        extra = [n for n, _ in score.most_common(2 * EXTRA_NODES) if n not in base]
        self._dice.shuffle(extra)
        return sorted(base | wanted | set(extra[:EXTRA_NODES]))

    def _switching_on(self, node: int) -> int:
        server = self.cloud.root[node]
        return 0 if self.books.is_on(server) else self.cloud.nodes[server].on_cost

    def _fits(self, node: int, takes: Sequence[int]) -> bool:
        return all(t <= has for t, has in zip(takes, self.books.free[node], strict=True))
