"""Why a VNFC stands where it stands: what speaks for the choice, what was rejected and why, what came second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import nsmallest

from vnfm.model.placement import Runtime
from vnfm.placement.candidates import Candidate, Refused
from vnfm.placement.option import MIB
from vnfm.placement.rules import met_texts, refusal_text
from vnfm.placement.snapshot import cost_of
from vnfm.placement.task import Task
from vnfm.placement.tryout import Conflict, Placed, State, extend, name_of, seats, start
from vnfm.placement.types import Demand, Host, Rejection, RuleKind, RunnerUp

NAMED = 8  # rejections named host by host for each runtime; the others are counted
LOOKED_AT = 32  # other choices tried out for each realization, the cheapest first; the others are counted
Realized = tuple[Runtime, bool]
Uncounted = Counter[tuple[Realized, str]]  # hosts that are not named, by realization and cause


@dataclass(frozen=True, slots=True)
class Reasons:
    """The explanation of one assignment."""

    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    runner_up: RunnerUp | None


@dataclass(frozen=True, slots=True)
class _Other:
    """A choice that would have been possible while all else stays."""

    candidate: Candidate
    host: Host
    state: State
    because: str


@dataclass(frozen=True, slots=True)
class _No:
    """A rejection before it is shortened. `cause` is what the counted ones are counted by."""

    candidate: tuple[Runtime, bool]
    host: str
    cause: str
    text: str


def reasons_of(task: Task, state: State, demand: Demand) -> Reasons:
    """Explain the demand's place in a finished state."""
    placed = state.placed[demand.id]
    others, conflicts, unseen = _alternatives(task, state, demand)
    refused, counted = _by_table(task, demand, placed.host.id)
    noes = [*refused, *conflicts, *(_lost(o) for o in others)]
    best = min(others, key=lambda o: o.state.rank, default=None)
    return Reasons(
        reasons=(*_speaking_for(task, demand, placed), *_choice(task, placed, others, unseen)),
        rejected=_shortened(noes, counted + unseen, placed.host.id),
        runner_up=None
        if best is None
        else RunnerUp(best.host.vim, best.host.id, best.candidate.runtime, best.candidate.nested, best.because),
    )


def _speaking_for(task: Task, demand: Demand, placed: Placed) -> Iterable[str]:
    candidate = placed.candidate
    yield from met_texts(demand, candidate.option(placed.host), candidate.unmet)
    for rule in task.rules_of[demand.id]:
        names = sorted({name_of(task, m) for g in rule.groups for m in g if m != demand.id})
        word = "apart from" if rule.kind is RuleKind.ANTI_AFFINITY else "together with"
        if names:
            yield f"rule {rule.id}: kept {word} {', '.join(names)} (scope {rule.scope})"
    if placed.host.worker:
        size = placed.host.worker
        yield (
            f"worker VM {placed.host.id} (size {size.id}: {size.cpu_milli / 1000:g} CPU, "
            f"{size.memory_bytes // MIB} MiB) is opened on host {placed.host.parent} where it is not open yet"
        )
    if candidate.nested:
        path = " > ".join(key[1] for key in task.snapshot.lineage[placed.host.key])
        yield f"runs inside a VM: {path}; (anti-)affinity looks at {placed.root[1]}"


def _choice(task: Task, placed: Placed, others: list[_Other], unseen: Uncounted) -> Iterable[str]:
    word = placed.candidate.option(placed.host).word
    mine = (placed.candidate.runtime, placed.candidate.nested)
    heavier = {(o.candidate.runtime, o.candidate.nested) for o in others} - {mine}
    yield (
        f"{word} is the lightest realization that will do"
        if heavier
        else f"{word} is the only realization that will do"
    )
    hosts = {o.host.key for o in others if (o.candidate.runtime, o.candidate.nested) == mine} | {placed.host.key}
    if len(task.snapshot.hosts) > 1:
        least = "at least " if any(kind == mine for kind, _ in unseen) else ""
        of = f"{least}{len(hosts)} of {len(task.snapshot.hosts)} hosts would do"
        yield (
            f"host {placed.host.id}: {of}, none costs less"
            if len(hosts) > 1
            else f"host {placed.host.id} is the only one for {word}"
        )


def _alternatives(task: Task, state: State, demand: Demand) -> tuple[list[_Other], list[_No], Uncounted]:
    """Other choices tried while the other VNFCs keep theirs. Of hosts that are alike one stands for all."""
    rest = _without(task, state, demand)
    unseen: Uncounted = Counter()
    if rest is None:
        return [], [], unseen
    placed = state.placed[demand.id]
    others: list[_Other] = []
    noes: list[_No] = []
    tried_of: Counter[Realized] = Counter()
    for candidate in task.candidates[demand.id]:
        kind = (candidate.runtime, candidate.nested)
        if tried_of[kind] >= LOOKED_AT:
            unseen[kind, "not looked at closer"] += len(candidate.group)
            continue
        for host, cell in seats(task, rest, demand, candidate):
            if host.key == placed.host.key and candidate.runtime is placed.candidate.runtime:
                continue
            tried_of[kind] += 1
            tried = extend(task, rest, demand, candidate, host, cell)
            if isinstance(tried, Conflict):
                noes.append(_No(kind, host.id, tried.cause, tried.text))
            else:
                others.append(_Other(candidate, host, tried, _because(task, state, placed, candidate, host, tried)))
    return others, noes, unseen


def _without(task: Task, state: State, demand: Demand) -> State | None:
    """The state with all placed but the demand."""
    rest: State | Conflict = start(task)
    for other in task.demands:
        if other.id != demand.id and isinstance(rest, State):
            p = state.placed[other.id]
            rest = extend(task, rest, other, p.candidate, p.host, p.reservation.cell)
    return rest if isinstance(rest, State) else None


def _because(task: Task, state: State, placed: Placed, candidate: Candidate, host: Host, tried: State) -> str:
    """Why the other choice came second: the first aim on which they differ."""
    mine = placed.candidate
    if len(candidate.unmet) > len(mine.unmet):
        unmet = next(r for r in candidate.unmet if r not in mine.unmet)
        return f"would do, but drops the wish for {unmet.name}"
    other_word, word = candidate.option(host).word, mine.option(placed.host).word
    if candidate.lightness > mine.lightness:
        return f"would do, but is heavier than {word}: {_difference(placed, candidate, host)}"
    if not host.active and placed.host.active:
        return f"would do, but host {host.id} would have to be switched on"
    longer = _total_us(tried) - _total_us(state)
    if longer > 0:
        return f"would do, but links are {longer} us longer in all"
    if tried.score > state.score:
        return f"would do, but costs more on host {host.id}: {_difference(placed, candidate, host)}"
    if tried.score < state.score:
        return f"{other_word} on host {host.id} was not reached within the search's budget"
    return f"just as good on host {host.id}: the name decided"


def _difference(placed: Placed, candidate: Candidate, host: Host) -> str:
    mine, other = cost_of(placed.host, placed.candidate.runtime), cost_of(host, candidate.runtime)
    parts = [
        f"{other.memory_bytes // MIB - mine.memory_bytes // MIB:+d} MiB",
        f"{other.start_ms - mine.start_ms:+d} ms start-up",
        f"{other.hop_us - mine.hop_us:+d} us per hop",
    ]
    if host.price_per_vcpu != placed.host.price_per_vcpu:
        parts.append(f"{host.price_per_vcpu - placed.host.price_per_vcpu:+g} per vCPU")
    return ", ".join(parts)


def _total_us(state: State) -> int:
    return sum(w.latency_us or 0 for w in state.wired.values())


def _by_table(task: Task, demand: Demand, chosen_host: str) -> tuple[list[_No], Uncounted]:
    """What the table refuses: by realization as many hosts as are named; the others are counted."""
    of_kind: dict[Realized, list[tuple[Host, Refused]]] = {}
    counted: Uncounted = Counter()
    for refused in task.refused[demand.id]:
        kind = (refused.option.runtime, refused.option.nested)
        counted[kind, refused.rows[0].name] += len(refused.group)
        here = of_kind.setdefault(kind, [])
        here += [(h, refused) for h in refused.group[:NAMED]]
        here += [(h, refused) for h in refused.group[NAMED:] if h.id == chosen_host]
    noes: list[_No] = []
    for kind, here in of_kind.items():
        for host, refused in nsmallest(NAMED, here, key=lambda x: (x[0].id != chosen_host, x[0].id)):
            option = replace(refused.option, host=host)
            text = "; ".join(refusal_text(row, demand, option) for row in refused.rows)
            noes.append(_No(kind, host.id, refused.rows[0].name, text))
            counted[kind, refused.rows[0].name] -= 1
    return noes, +counted


def _lost(other: _Other) -> _No:
    return _No((other.candidate.runtime, other.candidate.nested), other.host.id, "not the best", other.because)


def _shortened(noes: list[_No], counted: Uncounted, chosen_host: str) -> tuple[Rejection, ...]:
    """A few named for each realization, those on the chosen host first; the others counted by cause."""
    known = {no.candidate for no in noes} | {kind for kind, _ in counted}
    kinds = sorted(known, key=lambda k: (list(Runtime)[::-1].index(k[0]), k[1]))
    out: list[Rejection] = []
    for kind in kinds:
        mine: dict[str, _No] = {}
        for no in noes:
            if no.candidate == kind:
                mine.setdefault(no.host, no)
        ordered = sorted(mine.values(), key=lambda no: (no.host != chosen_host, no.host))
        out.extend(Rejection(kind[0], no.host, no.text, kind[1]) for no in ordered[:NAMED])
        rest = Counter(no.cause for no in ordered[NAMED:])
        rest.update({cause: n for (of, cause), n in counted.items() if of == kind})
        if rest:
            counts = ", ".join(f"{n} {cause}" for cause, n in sorted(rest.items()))
            out.append(Rejection(kind[0], "*", f"{rest.total()} more hosts: {counts}", kind[1]))
    return tuple(out)
