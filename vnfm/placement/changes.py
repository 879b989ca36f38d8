"""The smallest change that would admit a refused request. Every proposal is tried before it is told: no guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from vnfm.model.resources import Licence
from vnfm.placement.ledger import MIB, capacity_of, quantity
from vnfm.placement.option import values_of
from vnfm.placement.rules import NOT_OFFERED, Row
from vnfm.placement.score import DEFAULT_WEIGHTS, Weights
from vnfm.placement.seek import Found, solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import Task, task_of
from vnfm.placement.tryout import State, mbit, name_of, place_of
from vnfm.placement.types import Cell, Demand, Host, HostKey, PathBound, Proof, Request

TRIES = 100  # searches spent on one refusal of a chain of ordinary length, fewer for long ones
ANEW = 200  # hosts that cost as much as a search when they have to be laid out anew
HOSTS = 6  # hosts looked at for more capacity
LATENCY_FIRST = Weights(lightness=0, most_of_the_rest=1 << 50, hop_per_us=2_000, link_per_us=1_000, switch_on=0)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the request or of the hosts, in words and as made."""

    text: str
    request: Request
    snapshot: Snapshot


class _Tries:
    """Counts searches, so that a refusal stays answerable in time."""

    def __init__(self, snapshot: Snapshot, demands: int) -> None:
        self.snapshot = snapshot
        self.left = min(TRIES, 10 * TRIES // max(1, demands))

    def solve(
        self, request: Request, snapshot: Snapshot, weights: Weights = DEFAULT_WEIGHTS
    ) -> tuple[Task, State] | None:
        """The task and a state that admits it, or None."""
        if self.left <= 0:
            return None
        self.left -= 1 if snapshot is self.snapshot else 1 + len(snapshot.hosts) // ANEW
        task = task_of(request, snapshot, weights)
        if not all(task.candidates[d.id] for d in task.demands):
            return None
        found: Found = solve(task)
        return None if found.state is None else (task, found.state)

    def admits(self, change: Change) -> bool:
        """Whether the changed request can be placed."""
        return self.solve(change.request, change.snapshot) is not None


Kind = Callable[[Task, _Tries], Iterator[Change]]


def smallest_change(task: Task, proof: Proof) -> Change | None:
    """The first change that admits the request: of the kind that the proof names first, smaller ones first.

    Where no single change does, two or three of them together are tried, one VNF after the other.
    """
    return _smallest(task, proof, _Tries(task.snapshot, len(task.demands)), 2)


def _smallest(task: Task, proof: Proof, tries: _Tries, deeper: int) -> Change | None:
    for kind in _KINDS[proof]:
        for change in kind(task, tries):
            if tries.admits(change):
                return change
    if not deeper:
        return None
    stuck = {d.id for d in task.demands if not task.candidates[d.id]}
    for change in _needs(task, tries):
        nxt = task_of(change.request, change.snapshot, task.weights)
        still = {d.id for d in nxt.demands if not nxt.candidates[d.id]}
        if still < stuck and tries.left > 0:
            rest = _smallest(nxt, Proof.REALIZATION if still else Proof.COMBINATION, tries, deeper - 1)
            if rest is not None:
                return replace(rest, text=f"{change.text}, and {rest.text}")
    return None


def _needs(task: Task, tries: _Tries) -> Iterator[Change]:
    """What the table refuses, asked for a little less: each refused option with the rows in its way changed."""
    found: dict[str, tuple[tuple[int, ...], Change]] = {}
    stuck = {d.id for d in task.demands if not task.candidates[d.id]}
    for demand in task.demands:
        if stuck and demand.id not in stuck:
            continue
        for refused in task.refused[demand.id]:
            made = _eased(task, demand, refused.option.host, refused.rows, refused.option.runtime)
            if made is not None and (made[1].text not in found or made[0] < found[made[1].text][0]):
                found[made[1].text] = made
    yield from (change for _, change in sorted(found.values(), key=lambda x: (x[0], x[1].text)))


def _eased(
    task: Task, demand: Demand, host: Host, rows: tuple[Row, ...], runtime: object
) -> tuple[tuple[int, ...], Change] | None:
    option = next(r.option for r in task.refused[demand.id] if r.option.host is host and r.option.runtime is runtime)
    eased, snapshot, texts, size, short = demand, task.snapshot, [], 0, 0
    for row in rows:
        if row is NOT_OFFERED:
            refusals = {k: v for k, v in host.refusals.items() if k is not option.runtime}
            changed = replace(host, runtimes=host.runtimes | {option.runtime}, refusals=refusals)
            snapshot = snapshot.with_hosts([changed])
            texts.append(f"offer {option.runtime} on host {host.id}")
            size += 70
        elif row.changed is not None:
            eased = row.changed(eased, option)
            texts.append(row.change.format_map(values_of(demand, option)))
            size += row.size
            short += row.short(demand, option)
        else:
            return None
    demands = tuple(eased if d.id == demand.id else d for d in task.request.demands)
    request = replace(task.request, demands=demands)
    return (len(rows), size, short), Change(" and ".join(dict.fromkeys(texts)), request, snapshot)


def _bounds(task: Task, tries: _Tries) -> Iterator[Change]:
    """Latency bounds raised to the least that can be had: each alone, then all that are in the way."""
    free = _unbounded(task.request)
    got = tries.solve(free, task.snapshot, LATENCY_FIRST)
    if got is None:
        return
    latency = {i: w.latency_us for i, w in got[1].wired.items()}
    raised = task.request
    texts: list[str] = []
    for path in task.request.paths:
        parts = [latency.get(i) for i in path.links]
        total = sum(x for x in parts if x is not None)
        if None in parts or total <= path.max_latency_us:
            continue

        def with_path(us: int, path: PathBound = path) -> Change:
            paths = tuple(replace(p, max_latency_us=us) if p.id == path.id else p for p in task.request.paths)
            text = f"raise latency bound of path {path.id} to {us} us"
            return Change(text, replace(task.request, paths=paths), task.snapshot)

        if (best := _least(path.max_latency_us, total, with_path, tries)) is not None:
            yield best
        texts.append(f"raise latency bound of path {path.id} to {total} us")
        raised = replace(
            raised, paths=tuple(replace(p, max_latency_us=total) if p.id == path.id else p for p in raised.paths)
        )
    for link in task.request.links:
        took = latency.get(link.id)
        if link.max_latency_us is None or took is None or took <= link.max_latency_us:
            continue

        def with_link(us: int, link_id: str = link.id) -> Change:
            links = tuple(replace(x, max_latency_us=us) if x.id == link_id else x for x in task.request.links)
            text = f"raise latency bound of link {link_id} to {us} us"
            return Change(text, replace(task.request, links=links), task.snapshot)

        if (best := _least(link.max_latency_us, took, with_link, tries)) is not None:
            yield best
        texts.append(f"raise latency bound of link {link.id} to {took} us")
        raised = replace(
            raised, links=tuple(replace(x, max_latency_us=took) if x.id == link.id else x for x in raised.links)
        )
    if len(texts) > 1:
        yield Change(" and ".join(texts), raised, task.snapshot)


def _rules(task: Task, tries: _Tries) -> Iterator[Change]:
    for rule in task.request.rules:
        rules = tuple(r for r in task.request.rules if r.id != rule.id)
        yield Change(f"drop rule {rule.id} ({rule.scope})", replace(task.request, rules=rules), task.snapshot)


def _bandwidths(task: Task, tries: _Tries) -> Iterator[Change]:
    for link in task.request.links:
        if not link.bandwidth_bps:
            continue

        def with_less(less_mbit: int, link_id: str = link.id, asked: int = link.bandwidth_bps) -> Change:
            bps = max(0, asked - less_mbit * 1_000_000)
            links = tuple(replace(x, bandwidth_bps=bps) if x.id == link_id else x for x in task.request.links)
            text = f"lower bandwidth of link {link_id} to {mbit(bps)}"
            return Change(text, replace(task.request, links=links), task.snapshot)

        best = _least(0, -(-link.bandwidth_bps // 1_000_000), with_less, tries)
        if best is not None:
            yield best


def _licences(task: Task, tries: _Tries) -> Iterator[Change]:
    """More of a licence at one site, as little as will do."""
    places = {task.network.sites[task.snapshot.root(h.key)]: h for h in reversed(task.snapshot.hosts)}
    for name in sorted({d.needs.licence for d in task.demands} - {""}):
        most = sum(d.needs.licence_count for d in task.demands if d.needs.licence == name)
        for host in places.values():

            def with_more(n: int, name: str = name, host: Host = host) -> Change:
                more = (*task.snapshot.licences, Licence(host.vim, name, host.site, n))
                text = f"{n} more of licence {name} {place_of(host)}"
                return Change(text, task.request, task.snapshot.with_licences(more))

            if (best := _least(0, most, with_more, tries)) is not None:
                yield best


def _capacity(task: Task, tries: _Tries) -> Iterator[Change]:
    """More of one resource on one host, as little as will do; of several hosts the one that lacks least."""
    found: list[tuple[float, str, Change]] = []
    for key in _hosts_worth_growing(task):
        for kinds in ((1,), (0,), (0, 1), (2,), (3,), (4,), (5,)):
            most = [sum(_asked(task, d)[k] for d in task.demands) for k in kinds]
            if not all(most):
                continue
            made = _grown(task, key, kinds, most, tries)
            if made is not None:
                found.append((made[0], made[1].text, made[1]))
                break
    yield from (change for _, _, change in sorted(found, key=lambda x: x[:2]))


def _grown(
    task: Task, key: HostKey, kinds: tuple[int, ...], most: list[int], tries: _Tries
) -> tuple[float, Change] | None:
    """The least growth of these resources on the host; its size in the scale of a 1 CPU, 1 GiB server."""
    host = task.snapshot.by_key[key]
    units = [_UNIT[k] for k in kinds]
    steps = [0] * len(kinds)
    top = [-(-m // u) for m, u in zip(most, units, strict=True)]

    def grown(amounts: list[int]) -> Change:
        extra = [a * u for a, u in zip(amounts, units, strict=True)]
        text = " and ".join(f"{_more(k, e)}" for k, e in zip(kinds, extra, strict=True) if e)
        changed = host
        for k, e in zip(kinds, extra, strict=True):
            changed = _with_more(changed, k, e)
        return Change(f"{text} on host {host.id}", task.request, task.snapshot.with_hosts([changed]))

    best: Change | None = None
    for i in range(len(kinds)):  # each resource in turn as low as it will go, the later ones still at the top

        def at(n: int, i: int = i) -> Change:
            return grown([*steps[:i], n, *top[i + 1 :]])

        low = _least_number(0, top[i], at, tries)
        if low is None:
            return None
        steps[i] = low
        best = at(low)
    if best is None or not any(steps):
        return None
    size = sum(n * u / _SCALE[k] for n, u, k in zip(steps, units, kinds, strict=True))
    return size, best


def _least(low: int, high: int, make: Callable[[int], Change], tries: _Tries) -> Change | None:
    number = _least_number(low, high, make, tries)
    return None if number is None else make(number)


def _least_number(low: int, high: int, make: Callable[[int], Change], tries: _Tries) -> int | None:
    """The least number of (low, high] that admits, by halving; None where even the highest does not."""
    if not tries.admits(make(high)):
        return None
    while low < high and tries.left > 0:
        middle = (low + high) // 2
        if tries.admits(make(middle)):
            high = middle
        else:
            low = middle + 1
    return high


def _hosts_worth_growing(task: Task) -> list[HostKey]:
    """One of each group that any demand could use, those with most free memory first."""
    keys: dict[HostKey, int] = {}
    for demand in task.demands:
        for candidate in task.candidates[demand.id]:
            host = candidate.group[0]
            if host.worker:
                continue  # its size is the VIM's
            load = task.loads.get(task.snapshot.machine[host.key])
            keys[host.key] = capacity_of(host)[1] - (load.total[1] if load else 0)
    return sorted(keys, key=lambda k: (-keys[k], k))[:HOSTS]


def _asked(task: Task, demand: Demand) -> tuple[int, ...]:
    overhead = max((c.memory_bytes for c in task.candidates[demand.id]), default=0)
    n = demand.needs
    ordinary = demand.memory_bytes - n.hugepage_bytes + overhead
    return (demand.cpu_milli, ordinary, n.hugepage_bytes, n.sriov_ports, n.gpus, demand.disk_bytes)


def _with_more(host: Host, kind: int, extra: int) -> Host:
    if kind == 5:
        return replace(host, disk_bytes=None if host.disk_bytes is None else host.disk_bytes + extra)
    first: Cell = host.cells[0]
    grown = (
        replace(first, cpu_milli=first.cpu_milli + extra),
        replace(first, memory_bytes=first.memory_bytes + extra),
        replace(first, hugepage_bytes=first.hugepage_bytes + extra),
        replace(first, vfs=first.vfs + extra),
        replace(first, gpus=first.gpus + extra),
    )[kind]
    return replace(host, cells=(grown, *host.cells[1:]))


def _more(kind: int, extra: int) -> str:
    number, _, what = quantity(kind, extra).partition(" ")
    return f"{number} {what.replace('MiB ', 'MiB more ')}" if what.startswith("MiB") else f"{number} more {what}"


def _unbounded(request: Request) -> Request:
    links = tuple(replace(x, max_latency_us=None) for x in request.links)
    return replace(request, links=links, paths=())


def without(request: Request, proof: Proof) -> Request:
    """The request without what the proof is about."""
    if proof is Proof.LATENCY:
        return _unbounded(request)
    if proof is Proof.LICENCE:
        free = tuple(replace(d, needs=replace(d.needs, licence="", licence_count=0)) for d in request.demands)
        return replace(request, demands=free)
    if proof is Proof.RULES:
        return replace(request, rules=())
    if proof is Proof.BANDWIDTH:
        return replace(request, links=tuple(replace(x, bandwidth_bps=0) for x in request.links))
    return request


def describe(task: Task) -> str:
    """The VNFs of the request by name."""
    return ", ".join(dict.fromkeys(name_of(task, d.id) for d in task.demands))


_UNIT = (100, MIB, MIB, 1, 1, MIB)
_SCALE = (1000, 1024 * MIB, 1024 * MIB, 1, 1, 10 * 1024 * MIB)
_KINDS: dict[Proof, tuple[Kind, ...]] = {
    Proof.REALIZATION: (_needs,),
    Proof.HOST: (_needs, _licences, _capacity),
    Proof.CAPACITY: (_capacity, _needs),
    Proof.LICENCE: (_licences,),
    Proof.LATENCY: (_bounds, _needs, _rules, _capacity),
    Proof.RULES: (_rules, _capacity, _needs),
    Proof.BANDWIDTH: (_bandwidths, _needs, _rules, _capacity),
    Proof.COMBINATION: (_bounds, _rules, _bandwidths, _licences, _capacity, _needs),
    Proof.NOT_PROVED: (_bounds, _rules, _bandwidths, _licences, _capacity, _needs),
}
