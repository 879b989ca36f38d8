"""Why a VNFC stands where it stands: what speaks for the choice, what was not taken and why, what came second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vnfm.model.placement import Runtime
from vnfm.placement.alternatives import elsewhere, first_there, traffic, without
from vnfm.placement.atlas import SCALE
from vnfm.placement.book import Draft, Seat
from vnfm.placement.estate import GRAIN
from vnfm.placement.explain import word_of
from vnfm.placement.extend import extend
from vnfm.placement.hindrances import CAUSES, CLOSED, FITS, Codes, Hindrances
from vnfm.placement.openings import Candidate, OpenKind
from vnfm.placement.option import MIB
from vnfm.placement.rules import TABLE, met_texts, refusal_text
from vnfm.placement.score import WEIGHTS
from vnfm.placement.seek import Sought, told_way
from vnfm.placement.snapshot import cost_of
from vnfm.placement.task import Task
from vnfm.placement.types import Demand, Host, Rejection, RuleKind, RunnerUp

FEW = 8  # hosts that are told one by one; of more, only the chosen one is, and the others are counted
Word = tuple[Runtime, bool]  # a realization: runtime, and whether nested in a VM


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a demand is, or could be: a host and how it runs there."""

    host: Host
    node: int
    way: int
    candidate: Candidate

    @property
    def word(self) -> Word:
        """The realization."""
        return self.candidate.option.runtime, self.candidate.option.nested

    @property
    def rank(self) -> tuple[object, ...]:
        """Among what costs the same: the lighter, then by the host's name."""
        return (self.candidate.option.lightness, self.host.key)


@dataclass(frozen=True, slots=True)
class Why:
    """The explanation of one assignment, in the words of `types.Assignment`."""

    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    runner_up: RunnerUp | None
    realizations: dict[str, str]
    filters: dict[str, int]
    score: dict[str, int]


def chosen(sought: Sought, demand: Demand, seat: Seat) -> Choice:
    """The choice that a seat is."""
    return choice(sought, demand, seat.node, seat.variant)


def choice(sought: Sought, demand: Demand, node: int, way: int) -> Choice:
    """What a way of the demand is on a node."""
    task, opening = sought.task, sought.task.openings[demand.id]
    at = int(opening.hosts[way][node])
    candidate = opening.candidate(way, int(task.offers.sorts.of[at]))
    return Choice(task.snapshot.hosts[at], node, way, candidate)


class _Story:
    """One demand of a draft, with all others where they are."""

    def __init__(self, sought: Sought, demand: Demand) -> None:
        assert sought.draft is not None
        self.sought, self.demand, self.draft = sought, demand, sought.draft
        self.task, self.ask = sought.task, sought.ask
        desk = self.task.desk
        self.book, self.horizon = desk.book, desk.placer.horizon
        self.opening = self.task.openings[demand.id]
        self.movers = sought.movers(demand.id)
        self.v = self.movers[0]
        self.rest = without(self.ask, self.book, self.draft, self.movers)
        self.mine = chosen(sought, demand, self.draft.seats[self.v])
        self._tried: dict[tuple[int, int], Draft | None] = {}
        self.at = self.tried(self.mine.node, self.mine.way)
        self.hindrances = Hindrances(sought, demand, self.rest, self.movers)
        self.codes = [self.hindrances.codes(way) for way in self.opening.ways]
        self._correct()

    def _correct(self) -> None:
        """Where the others are, by trial."""
        estate = self.book.estate
        for server in {estate.root[seat.node] for seat in self.draft.seats.values()}:
            for node in estate.on_server(server):
                for w, code in enumerate(self.codes):
                    if code[node] != CLOSED and (self.tried(node, w) is not None) != (code[node] == FITS):
                        code[node] = FITS if code[node] else self.hindrances.cause(node, self.opening.ways[w])

    def tried(self, node: int, w: int) -> Draft | None:
        """The draft with the demand there in that way, and the ends that go with it."""
        if (node, w) not in self._tried:
            self._tried[node, w] = self._try(node, w)
        return self._tried[node, w]

    def _try(self, node: int, w: int) -> Draft | None:
        kind = self.ask.kinds[self.v]
        assert isinstance(kind, OpenKind)
        only = tuple(x for x in kind.ways if x.variant == w)
        kinds = tuple(kind.by(only) if i == self.v else k for i, k in enumerate(self.ask.kinds))
        ask, draft = replace(self.ask, kinds=kinds), self.rest
        for v in self.movers:
            grown = extend(ask, self.book, self.horizon.routes, draft, v, node, patient=True)
            if not isinstance(grown, Draft):
                return None
            draft = grown
        return draft

    # ---- what is told ----

    @cached_property
    def _filters(self) -> dict[str, int]:
        return filters(self.task, self.demand, self.codes)

    def why(self) -> Why:
        """All of it."""
        others = self._others()
        best = min(others, key=lambda o: (o[1].cost, *o[0].rank), default=None)
        return Why(
            reasons=(*self._speaking_for(), *self._choice(best)),
            rejected=tuple(self._rejected()),
            runner_up=None if best is None else self._runner_up(*best),
            realizations=self._realizations(),
            filters=self._filters,
            score=self._score(),
        )

    def _others(self) -> list[tuple[Choice, Draft]]:
        """Other choices that would do: all on the chosen server and, of few hosts, on each; else the best elsewhere."""
        estate, node_of = self.book.estate, self.mine.node
        few = estate.size <= FEW
        near = range(estate.size) if few else estate.on_server(estate.root[node_of])
        found: list[tuple[Choice, Draft]] = []
        for node in near:
            for w, code in enumerate(self.codes):
                if code[node] == FITS and (node, w) != (self.mine.node, self.mine.way):
                    other = choice(self.sought, self.demand, node, w)
                    same = other.host.key == self.mine.host.key and other.word == self.mine.word
                    if not same and (draft := self.tried(node, w)) is not None:
                        found.append((other, draft))
        u = self.ask.unit_of[self.v]
        if not few and set(self.ask.units[u].members) == set(self.movers):
            node = self.mine.node if len(self.movers) == 1 else estate.root[self.mine.node]
            draft = elsewhere(self.ask, self.book, self.horizon, self.rest, u, node)
            if draft is not None:
                found.append((chosen(self.sought, self.demand, draft.seats[self.v]), draft))
        return found

    def _speaking_for(self) -> Iterable[str]:
        mine, task = self.mine, self.task
        yield from met_texts(self.demand, mine.candidate.on(mine.host), mine.candidate.unmet)
        for rule in task.request.rules:
            if any(self.demand.id in g for g in rule.groups):
                names = sorted({task.names[m] for g in rule.groups for m in g if m != self.demand.id})
                word = "apart from" if rule.kind is RuleKind.ANTI_AFFINITY else "together with"
                if names:
                    yield f"rule {rule.id}: kept {word} {', '.join(names)} (scope {rule.scope})"
        if (size := mine.host.worker) is not None:
            yield (
                f"worker VM {mine.host.id} (size {size.id}: {size.cpu_milli / 1000:g} CPU, "
                f"{size.memory_bytes // MIB} MiB) is opened on host {mine.host.parent} where it is not open yet"
            )
        if mine.candidate.option.nested:
            line = task.snapshot.lineage[mine.host.key]
            server = task.snapshot.root(mine.host.key)[1]
            yield f"runs inside a VM: {' > '.join(key[1] for key in line)}; (anti-)affinity looks at {server}"

    def _choice(self, best: tuple[Choice, Draft] | None) -> Iterable[str]:
        mine, option = self.mine, self.mine.candidate.option
        by_word = self._by_word
        others = any((codes == FITS).any() for word, codes in by_word.items() if word != mine.word)
        yield (
            f"{option.word} is the lightest realization that will do"
            if others
            else f"{option.word} is the only realization that will do"
        )
        every = len(self.task.snapshot.hosts)
        if every > 1:
            count = int(np.count_nonzero(by_word[mine.word] == FITS))
            left = self._filters["left"]
            more = "" if left == count else f" as {option.word} ({left:,} with some realization)"
            if best is None or self.at is None or best[1].cost >= self.at.cost:
                more += ", none costs less"
            yield (
                f"host {mine.host.id}: {count:,} of {every:,} hosts would do{more}"
                if count > 1
                else f"host {mine.host.id} is the only one for {option.word}"
            )

    @cached_property
    def _by_word(self) -> dict[Word, Codes]:
        """By realization and node: the best of its ways there."""
        out: dict[Word, Codes] = {}
        for w, codes in enumerate(self.codes):
            word = self.opening.word(w)
            out[word] = np.minimum(out[word], codes) if word in out else codes
        return out

    def _realizations(self) -> dict[str, str]:
        """Of each realization that was not taken, why: what it would cost more, else what keeps it from most hosts."""
        by_word = self._by_word
        out: dict[str, str] = {}
        for word in self._words():
            if word != self.mine.word and word_of(word) not in out:
                fits = word in by_word and (by_word[word] == FITS).any()
                out[word_of(word)] = self._dearer(word) if fits else self._in_the_way(word)
        return out

    def _words(self) -> list[Word]:
        """Realizations that hosts know; guests in guests only where some host offers that."""
        open_to = {self.opening.word(w) for w in range(len(self.codes))}
        known = {(r.option.runtime, r.option.nested) for r in self.opening.refused}
        known = {k for k in known if not k[1] or k[0] is Runtime.CONTAINER or (k[0], False) not in known | open_to}
        return sorted(known | open_to, key=lambda k: (list(Runtime)[::-1].index(k[0]), k[1]))

    def _dearer(self, word: Word) -> str:
        """Why a realization that would do was not taken: on the chosen host, or where it costs least."""
        here = [w for w, codes in enumerate(self.codes) if self.opening.word(w) == word]
        there = [(w, self.mine.node) for w in here if self.codes[w][self.mine.node] == FITS]
        there += [(w, int(np.argmin(self.codes[w]))) for w in here if (self.codes[w] == FITS).any()]
        w, node = there[0]
        return self._of_choice(choice(self.sought, self.demand, node, w), FITS)

    def _in_the_way(self, word: Word) -> str:
        """What keeps a realization from most of the hosts that could have it, of the chosen one where it can."""
        refused = [r for r in self.opening.refused if (r.option.runtime, r.option.nested) == word]
        mine = int(self.task.offers.sorts.of[self.task.desk.position[self.mine.host.key]])
        counts = Counter({row.name: 0 for row in TABLE})
        for r in refused:
            counts.update({row.name: len(r.group.at) for row in r.rows})
        codes = self._by_word.get(word)
        held = [] if codes is None else np.bincount(codes, minlength=CLOSED + 1)[:CLOSED].tolist()
        every = sum(len(r.group.at) for r in refused) + sum(held)
        most = max(counts, key=lambda name: counts[name])
        if held and max(held) > counts[most]:
            code = held.index(max(held))
            w, node = next((w, int(np.argmax(of == code))) for w, of in enumerate(self.codes)
                           if self.opening.word(w) == word and (of == code).any())  # fmt: skip
            text, count = self._of_choice(choice(self.sought, self.demand, node, w), code), held[code]
        else:
            by_row = [r for r in refused if any(row.name == most for row in r.rows)]
            r = next((r for r in by_row if r.group.sort == mine), by_row[0])
            option = replace(r.option, host=self.mine.host) if r.group.sort == mine else r.option
            row = next(row for row in r.rows if row.name == most)
            text, count = refusal_text(row, self.demand, option), counts[most]
        if every <= FEW:
            return text
        return f"{count:,} of {every:,} hosts: {text}" if count < every else f"all {every:,} hosts: {text}"

    def _on_host(self, host: Host, node: int, word: Word) -> str:
        """Why it does not run so on that host; empty where that cannot be asked."""
        for w, codes in enumerate(self.codes):
            if self.opening.word(w) == word and codes[node] != CLOSED:
                there = choice(self.sought, self.demand, node, w)
                if there.host.key == host.key:
                    return self._of_choice(there, int(codes[node]))
        sort = int(self.task.offers.sorts.of[self.task.desk.position[host.key]])
        for r in self.opening.refused:
            if (r.option.runtime, r.option.nested) == word and r.group.sort == sort:
                option = replace(r.option, host=host)
                return "; ".join(refusal_text(row, self.demand, option) for row in r.rows)
        return ""

    def _of_choice(self, there: Choice, code: int) -> str:
        way = self.opening.ways[there.way]
        if code == FITS and (draft := self.tried(there.node, there.way)) is not None:
            return self._because(there, draft)
        return self.hindrances.text(there.host, there.candidate, there.node, way)

    # ---- rejections ----

    def _rejected(self) -> Iterator[Rejection]:
        hosts, position = self.task.snapshot.hosts, self.task.desk.position
        few = len(hosts) <= FEW
        named = sorted(hosts, key=lambda h: (h.key != self.mine.host.key, h.id)) if few else [self.mine.host]
        counts = Counter[tuple[Word, str]]() if few else self._counted()
        for word in self._words():
            for host in named:
                if word == self.mine.word and host.key == self.mine.host.key:
                    continue
                node = int(self.task.desk.nodes[position[host.key]])
                nested = self.task.offers.sorts.nested(position[host.key])
                if word[1] == nested and (text := self._on_host(host, node, word)):
                    yield Rejection(word[0], host.id, text, word[1])
            rest = {cause: n for (of, cause), n in sorted(counts.items()) if of == word and n > 0}
            if rest:
                told = ", ".join(f"{n:,} {cause}" for cause, n in sorted(rest.items(), key=lambda x: (-x[1], x[0])))
                hosts_word = "hosts" if sum(rest.values()) > 1 else "host"
                yield Rejection(word[0], "*", f"{sum(rest.values()):,} more {hosts_word}: {told}", word[1])

    def _counted(self) -> Counter[tuple[Word, str]]:
        """By realization and cause the hosts that it was not taken on, the chosen one left out."""
        out: Counter[tuple[Word, str]] = Counter()
        mine = int(self.task.offers.sorts.of[self.task.desk.position[self.mine.host.key]])
        for r in self.opening.refused:
            word = (r.option.runtime, r.option.nested)
            out[word, r.rows[0].name] += len(r.group.at) - (r.group.sort == mine)
        for word, codes in self._by_word.items():
            for code, n in enumerate(np.bincount(codes, minlength=CLOSED + 1)[:CLOSED].tolist()):
                n -= int(codes[self.mine.node] == code)
                if n:
                    out[word, CAUSES.get(code, "not the best")] += n
        return out

    # ---- costs ----

    def _score(self) -> dict[str, int]:
        """The terms of the cost; a link between two VNFCs counts at the one placed later."""
        mine, way = self.mine, self.opening.ways[self.mine.way]
        wishes = WEIGHTS.wish * len(mine.candidate.unmet)
        lightness = WEIGHTS.lightness * mine.candidate.option.lightness
        on = sum(first_there(self.ask, self.draft, self.book, v) for v in self.movers)
        return {
            "wishes": wishes,
            "lightness": lightness,
            "realization": way.cost // SCALE - wishes - lightness,
            "price": int(self.opening.fixed[mine.node]) // SCALE,
            "on": on * GRAIN // SCALE,
            "bw_hops": sum(traffic(self.ask, self.draft, v) for v in self.movers),
        }

    def _runner_up(self, other: Choice, draft: Draft) -> RunnerUp:
        because = self._because(other, draft)
        return RunnerUp(other.host.vim, other.host.id, *other.word, because, self._more(draft))

    def _more(self, draft: Draft) -> int:
        return 0 if self.at is None else round((draft.cost - self.at.cost) / SCALE)

    def _because(self, other: Choice, draft: Draft) -> str:
        """Why the other choice came second: the first aim on which they differ."""
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


def filters(task: Task, demand: Demand, codes: Sequence[Codes]) -> dict[str, int]:
    """`nodes`: the hosts there are; by cause how many fall away; at last how many are `left`. `codes`: by way."""
    opening = task.openings[demand.id]
    out = {"nodes": len(task.snapshot.hosts), **opening.closed}
    counts = [0] * (CLOSED + 1)
    if codes:
        least = np.minimum.reduce(list(codes))
        counts = np.bincount(least[task.desk.nodes[opening.some]], minlength=CLOSED + 1).tolist()
    out.update((CAUSES[code], counts[code]) for code in sorted(CAUSES, reverse=True) if counts[code])
    out["left"] = counts[FITS]
    return out


def why(sought: Sought, demand: Demand) -> Why:
    """Explain a demand's place in what was found."""
    return _Story(sought, demand).why()
