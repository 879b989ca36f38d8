"""What a placed VNFC could have been instead, with all others where they are: tried out, compared, and the best one."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vnfm.placement.alternatives import elsewhere, without
from vnfm.placement.atlas import SCALE
from vnfm.placement.book import Draft
from vnfm.placement.choice import Choice, choice, chosen
from vnfm.placement.extend import extend
from vnfm.placement.hindrances import Hindrances
from vnfm.placement.marks import CLOSED, FITS
from vnfm.placement.openings import OpenKind
from vnfm.placement.option import MIB
from vnfm.placement.plan import RunnerUp
from vnfm.placement.request import Demand
from vnfm.placement.seek import Sought, told_way
from vnfm.placement.snapshot import cost_of
from vnfm.placement.tallies import Tally


class Rival(NamedTuple):
    """Another choice, and the draft with it."""

    choice: Choice
    draft: Draft


class Rivals:
    """Of one demand of a draft. `marked`: what keeps it from each node, `at`: the draft with it placed last, None where
    that cannot be."""

    def __init__(self, sought: Sought, demand: Demand, mine: Choice, tally: Tally, few: bool) -> None:
        """`few`: all hosts are looked at."""
        assert sought.draft is not None
        self.sought, self.demand, self.mine, self.draft = sought, demand, mine, sought.draft
        self.task, self.ask = sought.task, sought.ask
        desk = self.task.desk
        self.book, self._horizon = desk.book, desk.placer.horizon
        self._opening = self.task.openings[demand.id]
        self._tally = tally
        self._few = few
        self.movers = sought.movers(demand.id)
        self._rest = without(self.ask, self.book, self.draft, self.movers)
        self._tried: dict[tuple[int, int], Draft | None] = {}
        self.at = self.tried(mine.node, mine.way)
        self._hindrances = Hindrances(sought, demand, self._rest, self.movers)
        self.marked = self._hindrances.marked(tally)
        self._correct()

    def _correct(self) -> None:
        """Where the others are, by trial."""
        estate, marked = self.book.estate, self.marked
        for server in {estate.root[seat.node] for seat in self.draft.seats.values()}:
            for node in estate.on_server(server):
                for w, marks in enumerate(marked.ways):
                    code = marks[node]
                    if code != CLOSED and (self.tried(node, w) is not None) != (code == FITS):
                        marked.put(node, w, FITS if code else self._hindrances.cause(node, self._opening.ways[w]))

    def tried(self, node: int, w: int) -> Draft | None:
        """The draft with the demand there in that way, and the ends that go with it."""
        if (node, w) not in self._tried:
            self._tried[node, w] = self._try(node, w)
        return self._tried[node, w]

    def _try(self, node: int, w: int) -> Draft | None:
        kinds, v = list(self.ask.kinds), self.movers[0]
        kind = kinds[v]
        assert isinstance(kind, OpenKind)
        kinds[v] = self._tally.only(w) if kind.ways is self._opening.ways else kind.only(w)
        ask, draft = replace(self.ask, kinds=tuple(kinds)), self._rest
        for v in self.movers:
            grown = extend(ask, self.book, self._horizon.routes, draft, v, node, patient=True)
            if not isinstance(grown, Draft):
                return None
            draft = grown
        return draft

    def best(self) -> Rival | None:
        """The cheapest other choice."""
        return min(self._others(), key=lambda o: (o.draft.cost, *o.choice.rank), default=None)

    def _others(self) -> list[Rival]:
        """Other choices that would do: all on the chosen server and, of few hosts, on each; else the best elsewhere."""
        estate, mine = self.book.estate, self.mine
        near = range(estate.size) if self._few else estate.on_server(estate.root[mine.node])
        found: list[Rival] = []
        for node in near:
            for w, marks in enumerate(self.marked.ways):
                if marks[node] == FITS and (node, w) != (mine.node, mine.way):
                    other = choice(self.sought, self.demand, node, w)
                    same = other.host.key == mine.host.key and other.word == mine.word
                    if not same and (draft := self.tried(node, w)) is not None:
                        found.append(Rival(other, draft))
        u = self.ask.unit_of[self.movers[0]]
        if not self._few and set(self.ask.units[u].members) == set(self.movers):
            node = mine.node if len(self.movers) == 1 else estate.root[mine.node]
            draft = elsewhere(self.ask, self.book, self._horizon, self._rest, u, node)
            if draft is not None:
                found.append(Rival(chosen(self.sought, self.demand, draft.seats[self.movers[0]]), draft))
        return found

    # ---- in words ----

    def runner_up(self, best: Rival) -> RunnerUp:
        """The best one, as it is told."""
        host = best.choice.host
        return RunnerUp(host.vim, host.id, *best.choice.word, self._because(best), self._more(best.draft))

    def against(self, there: Choice, code: int) -> str:
        """Why it is not there, where it is marked so."""
        if code == FITS and (draft := self.tried(there.node, there.way)) is not None:
            return self._because(Rival(there, draft))
        return self._hindrances.text(there.host, there.candidate, there.node, self._opening.ways[there.way])

    def _more(self, draft: Draft) -> int:
        return 0 if self.at is None else round((draft.cost - self.at.cost) / SCALE)

    def _because(self, rival: Rival) -> str:
        """Why the other choice came second: the first aim on which they differ."""
        other, draft = rival
        mine, its = self.mine.candidate, other.candidate
        if len(its.unmet) > len(mine.unmet):
            unmet = next(r for r in its.unmet if r not in mine.unmet)
            return f"would do, but drops the wish for {unmet.name}"
        if its.option.lightness > mine.option.lightness:
            return f"would do, but is heavier than {mine.option.word}: {self._difference(other)}"
        if not other.host.active and self.mine.host.active:
            return f"would do, but host {other.host.id} would have to be switched on"
        more = self._more(draft)
        longer = self._us(draft) - self._us(self.at) if self.at is not None else 0
        hops = self._hops(draft) - self._hops(self.at) if self.at is not None else 0
        if more > 0 and hops > 0:
            far = f" and {longer} us" if longer > 0 else ""
            return f"would do, but links are {hops} hops{far} longer in all"
        if more > 0:
            return f"would do, but costs more on host {other.host.id}: {self._difference(other)}"
        if longer > 0:
            return f"would do, but links are {longer} us longer in all"
        if more < 0:
            return f"{its.option.word} on host {other.host.id} was not reached within the search's budget"
        return f"just as good on host {other.host.id}: the name decided"

    def _difference(self, other: Choice) -> str:
        mine = self.mine.host
        was, its = cost_of(mine, self.mine.word[0]), cost_of(other.host, other.word[0])
        parts = [
            f"{its.memory_bytes // MIB - was.memory_bytes // MIB:+d} MiB",
            f"{its.start_ms - was.start_ms:+d} ms start-up",
            f"{its.hop_us - was.hop_us:+d} us per hop",
        ]
        if other.host.price_per_vcpu != mine.price_per_vcpu:
            parts.append(f"{other.host.price_per_vcpu - mine.price_per_vcpu:+g} per vCPU")
        return ", ".join(parts)

    def _us(self, draft: Draft) -> int:
        return sum(told_way(self.task.desk, draft.routes[i])[0] or 0 for i in self._wires(draft))

    def _hops(self, draft: Draft) -> int:
        return sum(len(draft.routes[i]) for i in self._wires(draft))

    def _wires(self, draft: Draft) -> set[int]:
        return {i for v in self.movers for i in self.ask.wires_of[v] if i in draft.routes}
