"""Why a VNFC stands where it stands: what speaks for the choice, what was not taken and why, what came second."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from vnfm.placement.alternatives import first_there, traffic
from vnfm.placement.atlas import SCALE
from vnfm.placement.choice import Choice, choice
from vnfm.placement.estate import GRAIN
from vnfm.placement.explain import word_of
from vnfm.placement.inventory import Host
from vnfm.placement.marks import CAUSES, CLOSED, FITS, Marked, Word
from vnfm.placement.option import MIB
from vnfm.placement.plan import Rejection, RunnerUp
from vnfm.placement.request import Demand, RuleKind
from vnfm.placement.rivals import Rival, Rivals
from vnfm.placement.rules import TABLE, met_texts, refusal_text
from vnfm.placement.score import WEIGHTS
from vnfm.placement.seek import Sought
from vnfm.placement.task import Task

FEW = 8  # hosts that are told one by one; of more, only the chosen one is, and the others are counted
_ROWS = {row.name: row for row in TABLE}


@dataclass(frozen=True, slots=True)
class Why:
    """The explanation of one assignment, in the words of `types.Assignment`."""

    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    runner_up: RunnerUp | None
    realizations: Mapping[str, str]
    filters: Mapping[str, int]
    score: Mapping[str, int]


UNTOLD = Why((), (), None, {}, {}, {})


class _Story:
    """One demand of a draft, with all others where they are."""

    def __init__(self, sought: Sought, demand: Demand, mine: Choice) -> None:
        self.sought, self.demand, self.mine = sought, demand, mine
        self.task = sought.task
        self.opening = self.task.openings[demand.id]
        self.tally = self.task.offers.tally(self.opening, self.task.desk.book.tenant(demand.tenant))
        self.rivals = Rivals(sought, demand, mine, self.tally, few=self.task.desk.book.estate.size <= FEW)
        self.marked = self.rivals.marked
        self._sort = int(self.task.offers.sorts.of[self.task.desk.position[mine.host.key]])
        self._filters = filters(self.task, demand, self.marked)

    def why(self) -> Why:
        """All of it."""
        best = self.rivals.best()
        return Why(
            reasons=(*self._speaking_for(), *self._choice(best)),
            rejected=tuple(self._rejected()),
            runner_up=None if best is None else self.rivals.runner_up(best),
            realizations=self._realizations(),
            filters=self._filters,
            score={},
        )

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

    def _choice(self, best: Rival | None) -> Iterable[str]:
        mine, option = self.mine, self.mine.candidate.option
        by_word = self.marked.by_word
        yield (
            f"{option.word} is the lightest realization that will do"
            if any(word != mine.word and self.marked.fits(word) for word in by_word)
            else f"{option.word} is the only realization that will do"
        )
        every = len(self.task.snapshot.hosts)
        if every > 1:
            count = by_word[mine.word].counts[FITS]
            left = self._filters["left"]
            more = "" if left == count else f" as {option.word} ({left:,} with some realization)"
            if best is None or self.rivals.at is None or best.draft.cost >= self.rivals.at.cost:
                more += ", none costs less"
            yield (
                f"host {mine.host.id}: {count:,} of {every:,} hosts would do{more}"
                if count > 1
                else f"host {mine.host.id} is the only one for {option.word}"
            )

    # ---- realizations ----

    def _realizations(self) -> dict[str, str]:
        """Of each realization that was not taken, why: what it would cost more, else what keeps it from most hosts."""
        out: dict[str, str] = {}
        for word in self.tally.words:
            if word != self.mine.word and word_of(word) not in out:
                out[word_of(word)] = self._dearer(word) if self.marked.fits(word) else self._in_the_way(word)
        return out

    def _dearer(self, word: Word) -> str:
        """Why a realization that would do was not taken: on the chosen host, or where it costs least."""
        here = [w for w in range(len(self.opening.ways)) if self.opening.word(w) == word]
        there = [(w, self.mine.node) for w in here if self.marked.ways[w][self.mine.node] == FITS]
        if not there:
            there = [(w, at) for w in here if (at := self.marked.ways[w].first(FITS)) is not None]
        w, node = there[0]
        return self.rivals.against(choice(self.sought, self.demand, node, w), FITS)

    def _in_the_way(self, word: Word) -> str:
        """What keeps a realization from most of the hosts that could have it, of the chosen one where it can."""
        most, refused = self.tally.most.get(word, ("", 0))
        marks = self.marked.by_word.get(word)
        held = [] if marks is None else marks.counts[:CLOSED]
        every = self.tally.asked.get(word, 0) + sum(held)
        if held and max(held) > refused:
            text, count = self._most_held(word, held.index(max(held))), max(held)
        else:
            r = self.tally.refused_by(word, most, self._sort)
            option = replace(r.option, host=self.mine.host) if r.group.sort == self._sort else r.option
            text, count = refusal_text(_ROWS[most], self.demand, option), refused
        if every <= FEW:
            return text
        return f"{count:,} of {every:,} hosts: {text}" if count < every else f"all {every:,} hosts: {text}"

    def _most_held(self, word: Word, code: int) -> str:
        for w, marks in enumerate(self.marked.ways):
            if self.opening.word(w) == word and (node := marks.first(code)) is not None:
                return self.rivals.against(choice(self.sought, self.demand, node, w), code)
        raise AssertionError("a code that is counted is at some node")

    def _on_host(self, host: Host, node: int, word: Word) -> str:
        """Why it does not run so on that host; empty where that cannot be asked."""
        for w, marks in enumerate(self.marked.ways):
            if self.opening.word(w) == word and marks[node] != CLOSED:
                there = choice(self.sought, self.demand, node, w)
                if there.host.key == host.key:
                    return self.rivals.against(there, marks[node])
        r = self.tally.refused(word, int(self.task.offers.sorts.of[self.task.desk.position[host.key]]))
        if r is None:
            return ""
        option = replace(r.option, host=host)
        return "; ".join(refusal_text(row, self.demand, option) for row in r.rows)

    def _rejected(self) -> Iterator[Rejection]:
        hosts, position = self.task.snapshot.hosts, self.task.desk.position
        few = len(hosts) <= FEW
        named = sorted(hosts, key=lambda h: (h.key != self.mine.host.key, h.id)) if few else [self.mine.host]
        counts = {} if few else self._counted()
        for word in self.tally.words:
            for host in named:
                if word == self.mine.word and host.key == self.mine.host.key:
                    continue
                at = position[host.key]
                if word[1] == self.task.offers.sorts.nested(at) and (
                    text := self._on_host(host, int(self.task.desk.nodes[at]), word)
                ):
                    yield Rejection(word[0], host.id, text, word[1])
            if rest := sorted((-n, cause) for cause, n in counts.get(word, {}).items() if n > 0):
                every = -sum(n for n, _ in rest)
                told = ", ".join(f"{-n:,} {cause}" for n, cause in rest)
                yield Rejection(word[0], "*", f"{every:,} more {'hosts' if every > 1 else 'host'}: {told}", word[1])

    def _counted(self) -> dict[Word, dict[str, int]]:
        """By realization and cause the hosts that it was not taken on, the chosen one left out."""
        out = {word: dict(counts) for word, counts in self.tally.by_first.items()}
        for word, counts in out.items():
            if (r := self.tally.refused(word, self._sort)) is not None:
                counts[r.rows[0].name] -= 1
        for word, marks in self.marked.by_word.items():
            counts, mine = out.setdefault(word, {}), marks[self.mine.node]
            for code, n in enumerate(marks.counts[:CLOSED]):
                if n := n - (mine == code):
                    cause = CAUSES.get(code, "not the best")
                    counts[cause] = counts.get(cause, 0) + n
        return out


def filters(task: Task, demand: Demand, marked: Marked | None) -> dict[str, int]:
    """`nodes`: the hosts there are; by cause how many fall away; at last how many are `left`. `marked` None: the table
    leaves nothing."""
    out = {"nodes": len(task.snapshot.hosts), **task.openings[demand.id].closed}
    counts = [0] * (CLOSED + 1) if marked is None else marked.best.counts
    out.update((CAUSES[code], counts[code]) for code in sorted(CAUSES, reverse=True) if counts[code])
    out["left"] = counts[FITS]
    return out


def whys(sought: Sought, choices: Mapping[str, Choice]) -> dict[str, Why]:
    """By demand, why it is where it is. What is alike in all that a story rests on has one story."""
    known: dict[Hashable, Why] = {}
    found: dict[str, Why] = {}
    for demand in sought.task.request.demands:
        mine, like = choices[demand.id], _likeness(sought, demand)
        said = None if like is None else known.get(like)
        if said is None:
            said = _Story(sought, demand, mine).why()
            if like is not None:
                known[like] = said
        found[demand.id] = replace(said, score=_score(sought, demand, mine))
    return found


def _likeness(sought: Sought, demand: Demand) -> Hashable | None:
    """Equal for demands that could change places: what they ask, where they are, and what they are linked to. None for
    those that rules or latency bounds are about: they are told of by name."""
    task, ask, draft = sought.task, sought.ask, sought.draft
    assert draft is not None
    movers = sought.movers(demand.id)
    if any(demand.id in g for rule in task.request.rules for g in rule.groups):
        return None
    if any(ask.timed[v] or any(m not in movers for rule in ask.rules[v] for m in rule.others) for v in movers):
        return None
    parts = tuple([(ask.kinds[v], draft.seats[v], _wires(sought, v, movers)) for v in movers])
    return (demand.vdu, task.openings[demand.id], parts)


def _wires(sought: Sought, v: int, movers: tuple[int, ...]) -> tuple[tuple[int, str, int, tuple[int, ...]], ...]:
    """Each by where it leads, its bandwidth and its route."""
    ask, draft = sought.ask, sought.draft
    assert draft is not None
    found = []
    for i in ask.wires_of[v]:
        other = ask.wires[i].other(v)
        end = ask.chain.ends[-1 - other].at if other < 0 else ""
        node = -1 if other < 0 or other in movers else draft.seats[other].node
        found.append((node, end, ask.wires[i].bandwidth, draft.routes.get(i, ())))
    return tuple(sorted(found))


def _score(sought: Sought, demand: Demand, mine: Choice) -> dict[str, int]:
    """The terms of the cost; a link between two VNFCs counts at the one placed later."""
    task, ask, draft, opening = sought.task, sought.ask, sought.draft, sought.task.openings[demand.id]
    assert draft is not None
    movers = sought.movers(demand.id)
    wishes = WEIGHTS.wish * len(mine.candidate.unmet)
    lightness = WEIGHTS.lightness * mine.candidate.option.lightness
    return {
        "wishes": wishes,
        "lightness": lightness,
        "realization": opening.ways[mine.way].cost // SCALE - wishes - lightness,
        "price": int(opening.fixed[mine.node]) // SCALE,
        "on": sum(first_there(ask, draft, task.desk.book, v) for v in movers) * GRAIN // SCALE,
        "bw_hops": sum(traffic(ask, draft, v) for v in movers),
    }
