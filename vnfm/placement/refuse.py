"""Why a request cannot be placed, as far as it is proved, and the smallest change that would admit it.

The proofs are the search's own (`refusals.py`); here they are told in the words of hosts and VNFs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vnfm.placement.amounts import quantity, total
from vnfm.placement.atlas import HALVES, UNTOLD_US
from vnfm.placement.book import Amounts, Draft
from vnfm.placement.changes import Change, Tries, latencies, smallest_change, without
from vnfm.placement.choice import choice
from vnfm.placement.domains import Impossible
from vnfm.placement.estate import UNLIMITED
from vnfm.placement.hindrances import Hindrances
from vnfm.placement.marks import CLOSED, ROOM
from vnfm.placement.plan import Proof, Refusal
from vnfm.placement.request import Demand, Rule
from vnfm.placement.rules import refusal_text
from vnfm.placement.seek import Sought, allowed_by_licence, allowed_by_rules, alone
from vnfm.placement.task import Task
from vnfm.placement.why import filters

NOT_FOUND = "not found"


def refusal_of(task: Task, sought: Sought | None) -> Refusal:
    """The refusal of a task that nothing was found for; `sought` None: some demand has no realization anywhere."""
    return refusal_and_change(task, sought)[0]


def refusal_and_change(task: Task, sought: Sought | None) -> tuple[Refusal, Change | None]:
    """The same, with the change that it tells of."""
    told = _why(task, sought)
    change = smallest_change(task, told.proof, sought.why if sought else None)
    return replace(told, minimal_change=change.text if change else NOT_FOUND, version=task.snapshot.version), change


def _why(task: Task, sought: Sought | None) -> Refusal:
    """Without the change."""
    for demand in task.demands:
        if not task.openings[demand.id].ways:
            proof, detail = _no_option(task, demand)
            facts: dict[str, object] = {"vnf": task.names[demand.id], "filters": filters(task, demand, None)}
            return Refusal(proof, detail, "", demand_id=demand.id, facts=facts)
    assert sought is not None
    for demand in task.demands:
        fits = alone(task, demand.id)
        room = np.asarray(fits.score < fits.never)
        if (licensed := allowed_by_licence(task, demand, {})) is not None:
            room = room & licensed
        allowed = allowed_by_rules(task, demand.id)
        if not room.any() or (allowed is not None and not (room & allowed).any()):
            return _nowhere(sought, demand, Proof.RULES if room.any() else Proof.HOST)
    proof, detail = _together(task, sought)
    return Refusal(proof, detail, "", facts={} if sought.why is None else _facts(task, sought.why))


def _facts(task: Task, why: Impossible) -> dict[str, object]:
    """What a joint proof rests on, latencies in microseconds."""
    facts = dict(why.facts)
    if "vnfs" in facts:
        facts["vnfs"] = _named(task, why)
    least, limit = facts.pop("least", None), facts.pop("limit", None)
    names = facts.get("vlinks")
    if isinstance(names, list) and isinstance(limit, int):
        for _, allowed_us in bounds_of(task, names):
            known = isinstance(least, int) and least < UNTOLD_US // 2
            least_us = allowed_us + -(-(int(str(least)) - limit) // HALVES) if known else None
            return facts | {"least_us": least_us, "limit_us": allowed_us}
    return facts


def _no_option(task: Task, demand: Demand) -> tuple[Proof, str]:
    """The table leaves nothing: by the realizations themselves, or only on the hosts there are."""
    name = task.names[demand.id]
    refused_here = task.openings[demand.id].refused
    if not refused_here:
        return Proof.HOST, f"no host for VNF {name}: the inventory is empty"
    by_realization = all(any(not row.of_host for row in r.rows) for r in refused_here)
    texts: dict[str, Counter[str]] = {}
    for r in refused_here:
        text = "; ".join(refusal_text(row, demand, r.option) for row in r.rows)
        texts.setdefault(r.option.word, Counter())[text] += len(r.group.at)
    told = " | ".join(f"{word}: {_counted(texts[word], 3)}" for word in sorted(texts))
    if by_realization:
        return Proof.REALIZATION, f"no realization for VNF {name}: {told}"
    return Proof.HOST, f"no host for VNF {name}: {told}"


def _counted(texts: Counter[str], most: int) -> str:
    counted = sorted(texts.items(), key=lambda x: (-x[1], x[0]))
    shown = "; ".join(f"{n:,} hosts: {t}" if n > 1 else t for t, n in counted[:most])
    more = sum(n for _, n in counted[most:])
    return shown + (f"; and {more:,} more hosts" if more else "")


def _nowhere(sought: Sought, demand: Demand, proof: Proof) -> Refusal:
    """The demand fits nowhere, with nothing of the request placed: by cause the hosts, and the one that comes closest
    in words."""
    task = sought.task
    hindrances = Hindrances(sought, demand, Draft(sought.ask.tenant), sought.movers(demand.id))
    ways = task.openings[demand.id].ways
    marked = hindrances.marked(task.offers.tally(task.openings[demand.id], hindrances.book.tenant(demand.tenant)))
    codes = [marks.array for marks in marked.ways]
    least = np.minimum.reduce(codes)
    texts: Counter[str] = Counter()
    for code in np.unique(least[least != CLOSED]).tolist():
        nodes = np.flatnonzero(least == code)
        node = int(nodes[np.argmax(hindrances.book.free[code - ROOM][nodes])]) if code >= ROOM else int(nodes[0])
        w = next(i for i, of in enumerate(codes) if of[node] == code)
        there = choice(sought, demand, node, w)
        host, way = there.host, ways[w]
        texts[hindrances.text(host, there.candidate, node, way)] += len(nodes)
    name, what = task.names[demand.id], "no host has room for" if proof is Proof.HOST else "no host for"
    facts = {"vnf": name, "filters": filters(task, demand, marked)}
    return Refusal(proof, f"{what} VNF {name}: {_counted(texts, 4)}", "", demand_id=demand.id, facts=facts)


# ---- each fits alone ----


def _together(task: Task, sought: Sought) -> tuple[Proof, str]:
    """Each fits alone: what keeps them from fitting together."""
    if text := _short_in_all(task):
        return Proof.CAPACITY, text
    why = sought.why
    if why is None:
        return Proof.NOT_PROVED, (
            f"no placement of {_all(task)} was found within the search's effort; it may exist all the same"
        )
    if why.proof == "latency":
        return Proof.LATENCY, _latency_text(task, why)
    if why.proof == "rules":
        return Proof.RULES, _rules_detail(task, why)
    if why.proof == "combination":
        return _by_leaving_away(task)
    known = {str(p): p for p in Proof}
    return known.get(why.proof, Proof.COMBINATION), why.detail


def _by_leaving_away(task: Task) -> tuple[Proof, str]:
    """All ways to seat them were tried; what is in the way shows where they fit without it."""
    tries = Tries(task)
    for proof, what in _LEFT_AWAY:
        fewer = without(task.request, proof)
        if fewer != task.request and (found := tries.find(fewer)) is not None:
            text = what.format(vnfs=_all(task), bounds=_bounds_text(task), rules=_rules_text(task))
            return proof, text + (_untold(task, found) if proof is Proof.LATENCY else "")
    bare = task.request
    for proof, _ in _LEFT_AWAY:
        bare = without(bare, proof)
    if bare != task.request and tries.find(bare) is not None:
        return Proof.COMBINATION, (
            f"{_all(task)} would fit each condition alone, but not all of them: {_bounds_text(task)}; "
            f"{_rules_text(task)}"
        )
    return Proof.CAPACITY, f"each of {_all(task)} would fit alone, but no hosts hold them together"


def _untold(task: Task, found: Sought) -> str:
    """A hint where a bound fails because nobody tells how long the way takes."""
    known = latencies(found)
    bounded = {i for p in task.request.paths for i in p.links}
    bounded |= {x.id for x in task.request.links if x.max_latency_us is not None}
    return "" if bounded <= known.keys() else "; the inventory does not tell the latency between all of their servers"


def _short_in_all(task: Task) -> str:
    """A resource of which all hosts together have less free than the demands need at least."""
    book, estate = task.desk.book, task.desk.book.estate
    need = total(least_amounts(task, d) for d in task.demands)
    there = np.ones(estate.size, dtype=np.bool_)
    there[[n for n in estate.openings if not book.inside(n)]] = False  # what a closed one would have is its server's
    hosts = task.snapshot.hosts
    for r, amount in enumerate(need):
        free = book.free[r][there]
        if amount and not (book.free[r] >= UNLIMITED).any():
            left = int(free.clip(0).sum())
            if amount > left:
                where = f"host {hosts[0].id} has" if len(hosts) == 1 else f"all {len(hosts):,} hosts together have"
                return f"{_all(task)} together need {quantity(r, amount)}; {where} {quantity(r, left)} free"
    return ""


def least_amounts(task: Task, demand: Demand) -> Amounts:
    """What a demand takes at least, however it is realized."""
    ways = task.openings[demand.id].ways
    cpu, memory, huge, vfs, gpus, disk = (min((w.amounts[r] for w in ways), default=0) for r in range(6))
    return (cpu, memory, huge, vfs, gpus, disk)


def _latency_text(task: Task, why: Impossible) -> str:
    names, least, limit = why.facts.get("vlinks"), why.facts.get("least"), why.facts.get("limit")
    if not isinstance(names, list) or not isinstance(limit, int):
        return why.detail
    for what, allowed_us in bounds_of(task, names):
        text = f"no placement of {_all(task)} meets the latency bounds: {what} within {allowed_us} us"
        if not isinstance(least, int) or least >= UNTOLD_US // 2:
            return f"{text}; the inventory does not tell the latency between all of their servers"
        return f"{text}; it takes {allowed_us + -(-(least - limit) // HALVES)} us at least where they fit"
    return why.detail


def bounds_of(task: Task, names: list[str]) -> Iterator[tuple[str, int]]:
    """The paths, or the link, that are bounded over these links, and what they are allowed."""
    for path in task.request.paths:
        laid = {task.link_names[i] for i in path.links}
        if set(names) <= laid and len(names) > 1:
            yield f"path {path.id}", path.max_latency_us
    for link in task.request.links:
        if names == [task.link_names[link.id]] and link.max_latency_us is not None:
            yield f"link {names[0]}", link.max_latency_us
    for path in task.request.paths:
        if set(names) <= {task.link_names[i] for i in path.links}:
            yield f"path {path.id}", path.max_latency_us


def _rules_detail(task: Task, why: Impossible) -> str:
    names = _named(task, why)
    vnfs, about = ", ".join(names), _about(task, set(names))
    rules = "".join(f"rule {r.id} (scope {r.scope}): " for r in about[:1]) if len(about) == 1 else ""
    if (scope := why.facts.get("anti-affinity")) is not None:
        return f"{rules}{vnfs} must not share a {scope}, and there are too few that they fit on"
    return f"{rules}no {why.facts.get('affinity', 'server')} has room for {vnfs} together"


def _named(task: Task, why: Impossible) -> list[str]:
    """The VNFs that a proof is about."""
    told = why.facts.get("vnfs")
    known = {task.names[d.id] for d in task.demands}
    return [n for n in told if n in known] if isinstance(told, list) else []


def _about(task: Task, names: set[str]) -> list[Rule]:
    return [
        r
        for r in task.request.rules
        if len(names & {task.names[m] for g in r.groups for m in g if m in task.names}) > 1
    ]


def _all(task: Task) -> str:
    """The VNFs of the request by name."""
    return ", ".join(dict.fromkeys(task.names[d.id] for d in task.demands))


def _bounds_text(task: Task) -> str:
    paths = [f"path {p.id} within {p.max_latency_us} us" for p in task.request.paths]
    links = [
        f"link {task.link_names[x.id]} within {x.max_latency_us} us"
        for x in task.request.links
        if x.max_latency_us is not None
    ]
    return ", ".join([*paths, *links]) or "no latency bound"


def _rules_text(task: Task) -> str:
    return ", ".join(f"rule {r.id} (scope {r.scope})" for r in task.request.rules) or "no rule"


_LEFT_AWAY = (
    (Proof.LATENCY, "no placement of {vnfs} meets the latency bounds: {bounds}; without them there is one"),
    (Proof.LICENCE, "no placement of {vnfs} has the licences that they take; without that there is one"),
    (Proof.RULES, "no placement of {vnfs} keeps the rules: {rules}; without them there is one"),
    (Proof.BANDWIDTH, "no placement of {vnfs} has the bandwidth that its links ask for; without it there is one"),
)
