"""Why a request cannot be placed, as far as it is proved, and the smallest change that would admit it."""

from __future__ import annotations

from collections import Counter

from vnfm.placement.candidates import alike
from vnfm.placement.changes import describe, smallest_change, without
from vnfm.placement.ledger import NOTHING, ZERO, Vector, add, capacity_of, positive, quantity, sub
from vnfm.placement.rules import refusal_text
from vnfm.placement.seek import solve
from vnfm.placement.task import Task, task_of
from vnfm.placement.tryout import Conflict, State, extend, name_of
from vnfm.placement.types import Demand, Proof, Refusal, Request

NOT_FOUND = "not found"


def refusal_of(task: Task, *, proved: bool) -> Refusal:
    """The refusal of a task for which no state was found; `proved`: the search saw everything."""
    for judge in (_no_option, _no_room_alone):
        for demand in task.demands:
            if (why := judge(task, demand)) is not None:
                return _refusal(task, *why, demand.id)
    return _refusal(task, *_together(task, proved))


def _refusal(task: Task, proof: Proof, detail: str, demand_id: str = "") -> Refusal:
    change = smallest_change(task, proof)
    return Refusal(proof, detail, change.text if change else NOT_FOUND, task.snapshot.version, demand_id)


def _no_option(task: Task, demand: Demand) -> tuple[Proof, str] | None:
    """The table leaves nothing: by the realizations themselves, or only on the hosts there are."""
    if task.candidates[demand.id]:
        return None
    name = name_of(task, demand.id)
    refused = task.refused[demand.id]
    if not refused:
        return Proof.HOST, f"no host for VNF {name}: the inventory is empty"
    if all(any(not row.of_host for row in r.rows) for r in refused):
        return Proof.REALIZATION, f"no realization for VNF {name}: {_by_realization(demand, task)}"
    return Proof.HOST, f"no host for VNF {name}: {_by_realization(demand, task)}"


def _by_realization(demand: Demand, task: Task) -> str:
    """For each realization what is in its way, with the number of hosts where they differ."""
    texts: dict[str, Counter[str]] = {}
    for r in task.refused[demand.id]:
        text = "; ".join(refusal_text(row, demand, r.option) for row in r.rows)
        texts.setdefault(r.option.word, Counter())[text] += len(r.group)
    parts = []
    for word in sorted(texts):
        counted = sorted(texts[word].items(), key=lambda x: (-x[1], x[0]))
        shown = "; ".join(f"{n} hosts: {t}" if n > 1 else t for t, n in counted[:3])
        more = sum(n for _, n in counted[3:])
        parts.append(f"{word}: {shown}" + (f"; and {more} more hosts" if more else ""))
    return " | ".join(parts)


def _no_room_alone(task: Task, demand: Demand) -> tuple[Proof, str] | None:
    """The demand on its own, without links and rules: nowhere to go."""
    alone = task_of(Request(task.request.tenant, (demand,)), task.snapshot, task.weights)
    conflicts: list[tuple[Conflict, int]] = []
    for candidate in alone.candidates[demand.id]:
        for host, hosts in alike(candidate, task.snapshot, alone.loads, frozenset()):
            for cell in range(len(host.cells)) if demand.needs.numa_strict else (None,):
                tried = extend(alone, State(), demand, candidate, host, cell)
                if isinstance(tried, State):
                    return None
                conflicts.append((tried, hosts))
    counts: Counter[str] = Counter()
    for conflict, hosts in conflicts:
        counts[conflict.text] += hosts
    counted = sorted(counts.items(), key=lambda x: (-x[1], x[0]))
    shown = "; ".join(f"{n} hosts: {t}" if n > 1 else t for t, n in counted[:4])
    more = sum(n for _, n in counted[4:])
    tail = f"; and {more} more" if more else ""
    return Proof.HOST, f"no host has room for VNF {name_of(task, demand.id)}: {shown}{tail}"


def _together(task: Task, proved: bool) -> tuple[Proof, str]:
    """Each fits alone: what keeps them from fitting together is found by leaving it away."""
    if text := _short_in_all(task):
        return Proof.CAPACITY, text
    if not proved:
        return (
            Proof.NOT_PROVED,
            f"no placement of {describe(task)} was found within the search's budget; it may exist all the same",
        )
    for proof, what in _LEFT_AWAY:
        fewer = without(task.request, proof)
        if fewer != task.request and _fits(task, fewer):
            return proof, what.format(vnfs=describe(task), bounds=_bounds_text(task), rules=_rules_text(task))
    bare = task.request
    for proof, _ in _LEFT_AWAY:
        bare = without(bare, proof)
    if bare != task.request and _fits(task, bare):
        return Proof.COMBINATION, (
            f"{describe(task)} would fit each condition alone, but not all of them: {_bounds_text(task)}; "
            f"{_rules_text(task)}"
        )
    return Proof.CAPACITY, f"each of {describe(task)} would fit alone, but no hosts hold them together"


def _fits(task: Task, request: Request) -> bool:
    again = task_of(request, task.snapshot, task.weights)
    return solve(again).state is not None


def _short_in_all(task: Task) -> str:
    """A resource of which all hosts together have less free than the demands need at least."""
    free: Vector = ZERO
    for host in task.snapshot.hosts:
        left = sub(capacity_of(host), task.loads.get(task.snapshot.machine[host.key], NOTHING).total)
        free = add(free, positive(left))
    for i in range(5):
        need = sum(_least_need(task, d)[i] for d in task.demands)
        if need > max(0, free[i]):
            return (
                f"{describe(task)} together need {quantity(i, need)}; "
                f"{_all_hosts(task)} {quantity(i, max(0, free[i]))} free"
            )
    return ""


def _all_hosts(task: Task) -> str:
    hosts = task.snapshot.hosts
    return f"host {hosts[0].id} has" if len(hosts) == 1 else f"all {len(hosts)} hosts together have"


def _least_need(task: Task, demand: Demand) -> Vector:
    n = demand.needs
    overhead = min((c.memory_bytes for c in task.candidates[demand.id]), default=0)
    ordinary = max(0, demand.memory_bytes - n.hugepage_bytes) + overhead
    return (demand.cpu_milli, ordinary, n.hugepage_bytes, n.sriov_ports, n.gpus, demand.disk_bytes)


def _bounds_text(task: Task) -> str:
    paths = [f"path {p.id} within {p.max_latency_us} us" for p in task.request.paths]
    links = [f"link {x.id} within {x.max_latency_us} us" for x in task.request.links if x.max_latency_us is not None]
    if not paths and not links:
        return "no latency bound"
    roots = sorted({task.snapshot.root(h.key) for h in task.snapshot.hosts})[:20]
    untold = any((r := task.network.route(roots[0], b)) is None or r.latency_us is None for b in roots[1:])
    hint = " (the inventory does not tell the latency between all servers)" if untold else ""
    return ", ".join([*paths, *links]) + hint


def _rules_text(task: Task) -> str:
    return ", ".join(f"rule {r.id} (scope {r.scope})" for r in task.request.rules) or "no rule"


_LEFT_AWAY = (
    (Proof.LATENCY, "no placement of {vnfs} meets the latency bounds: {bounds}; without them there is one"),
    (Proof.LICENCE, "no placement of {vnfs} has the licences that they take; without that there is one"),
    (Proof.RULES, "no placement of {vnfs} keeps the rules: {rules}; without them there is one"),
    (Proof.BANDWIDTH, "no placement of {vnfs} has the bandwidth that its links ask for; without it there is one"),
)
