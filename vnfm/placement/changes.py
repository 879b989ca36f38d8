"""The smallest change that would admit a refused request. Every proposal is tried before it is told: no guesses.

A change of hosts is tried on the very book: what it would add is entered, searched on, and taken out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vnfm.model.resources import Licence
from vnfm.placement.atlas import HALVES
from vnfm.placement.desk import Offers
from vnfm.placement.domains import Impossible
from vnfm.placement.hindrances import licences_at
from vnfm.placement.inventory import Host
from vnfm.placement.openings import Refused
from vnfm.placement.option import Values
from vnfm.placement.placer import Effort
from vnfm.placement.plan import Proof
from vnfm.placement.request import Demand, PathBound, Request
from vnfm.placement.room import growths
from vnfm.placement.rules import NOT_OFFERED
from vnfm.placement.seek import Sought, alone, link_us, solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import Task, task_of

TRIES = 24  # searches spent on one refusal
QUICK = Effort((4,), prove=False)
ANY_US = 10**9  # no way whose latency is told is that long
TRIAL = "a change that is tried out"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the request, of hosts (in the place of those of the same key) or of licences (more of them)."""

    text: str
    request: Request
    hosts: tuple[Host, ...] = ()
    licences: tuple[Licence, ...] = ()

    def snapshot(self, before: Snapshot) -> Snapshot:
        """The snapshot as changed."""
        after = before.with_hosts(self.hosts) if self.hosts else before
        return after.with_licences([*after.licences, *self.licences]) if self.licences else after


class Tries:
    """Searches, counted, so that a refusal stays answerable in time."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.left = TRIES

    def find(self, request: Request, hosts: Sequence[Host] = (), licences: Sequence[Licence] = ()) -> Sought | None:
        """What is found for a request, with these hosts in the place of others and more licences; None: nothing."""
        if self.left <= 0:
            return None
        task = self._task(request, hosts)
        if not all(_anywhere(task, d) for d in task.demands) and not hosts:
            return None
        self.left -= 1
        book = task.desk.book
        if not hosts and not licences:
            found = solve(task, QUICK)
            return found if found.draft is not None else None
        growth = task.desk.growth(task.snapshot, {h.key: h for h in hosts})
        for pool in licences:
            token = (pool.id, task.desk.network.site_of(pool, task.snapshot))
            book.licences.setdefault(token, 0)
            growth.licences[token] = growth.licences.get(token, 0) - pool.count
        book.commit(TRIAL, growth)
        try:
            found = solve(task, QUICK)
        finally:
            book.release(TRIAL)
        return found if found.draft is not None else None

    def _task(self, request: Request, hosts: Sequence[Host]) -> Task:
        task = task_of(request, self.task.snapshot)
        if not any(h.runtimes != self.task.snapshot.by_key[h.key].runtimes for h in hosts):
            return task
        changed = {task.desk.position[h.key]: h for h in hosts}
        offers = Offers(task.offers.sorts.changed(changed), task.desk)
        return replace(task, offers=offers, openings={d.id: offers.opening(d) for d in task.demands})

    def admits(self, change: Change) -> bool:
        """Whether the changed request can be placed."""
        return self.find(change.request, change.hosts, change.licences) is not None


def _anywhere(task: Task, demand: Demand) -> bool:
    if not task.openings[demand.id].ways:
        return False
    kind = alone(task, demand.id)
    return bool((kind.score < kind.never).any())


Proposals = Callable[[Task, Tries, Impossible | None], Iterator[Change]]


def smallest_change(task: Task, proof: Proof, why: Impossible | None = None) -> Change | None:
    """The first change that admits the request: of the kind that the proof names first, smaller ones first.

    Where no single change does, two or three of them together are tried, one VNF after the other.
    """
    return _smallest(task, proof, why, Tries(task), 2)


def _smallest(task: Task, proof: Proof, why: Impossible | None, tries: Tries, deeper: int) -> Change | None:
    for proposals in _KINDS.get(proof, _ANY):
        for change in proposals(task, tries, why):
            if tries.admits(change):
                return change
    if not deeper:
        return None
    stuck = {d.id for d in task.demands if not task.openings[d.id].ways}
    for change in _needs(task, tries, why):
        nxt = task_of(change.request, task.snapshot)
        still = {d.id for d in nxt.demands if not nxt.openings[d.id].ways}
        if not change.hosts and still < stuck and tries.left > 0:
            rest = _smallest(nxt, Proof.REALIZATION if still else Proof.COMBINATION, None, tries, deeper - 1)
            if rest is not None:
                return replace(rest, text=f"{change.text}, and {rest.text}")
    return None


# ---- needs ----


def _needs(task: Task, tries: Tries, why: Impossible | None) -> Iterator[Change]:
    """What the table refuses, asked for a little less: each refused option with the rows in its way changed."""
    found: dict[str, tuple[tuple[int, ...], Change]] = {}
    stuck = {d.id for d in task.demands if not task.openings[d.id].ways}
    for demand in task.demands:
        if stuck and demand.id not in stuck:
            continue
        for refused in task.openings[demand.id].refused:
            made = _eased(task, demand, refused)
            if made is not None and (made[1].text not in found or made[0] < found[made[1].text][0]):
                found[made[1].text] = made
    yield from (change for _, change in sorted(found.values(), key=lambda x: (x[0], x[1].text)))


def _eased(task: Task, demand: Demand, refused: Refused) -> tuple[tuple[int, ...], Change] | None:
    option, eased, texts, size, short = refused.option, demand, [], 0, 0
    host = option.host
    hosts: tuple[Host, ...] = ()
    for row in refused.rows:
        if row is NOT_OFFERED:
            refusals = {k: v for k, v in host.refusals.items() if k is not option.runtime}
            hosts = (replace(host, runtimes=host.runtimes | {option.runtime}, refusals=refusals),)
            texts.append(f"offer {option.runtime} on host {host.id}")
            size += 70
        elif row.changed is not None:
            eased = row.changed(eased, option)
            texts.append(row.change.format_map(Values(demand, option)))
            size += row.size
            short += row.short(demand, option)
        else:
            return None
    demands = tuple(eased if d.id == demand.id else d for d in task.request.demands)
    request = replace(task.request, demands=demands)
    return (len(refused.rows), size, short), Change(" and ".join(dict.fromkeys(texts)), request, hosts)


# ---- latency ----


def _bounds(task: Task, tries: Tries, why: Impossible | None) -> Iterator[Change]:
    """Latency bounds raised to the least that can be had: each alone, then all that are in the way."""
    got = tries.find(_within(task.request, ANY_US)) or tries.find(without(task.request, Proof.LATENCY))
    if got is None:
        return
    took = latencies(got)
    raised = task.request
    texts: list[str] = []
    for what, limit, us, change in _exceeded(task, took):
        low = _proved(task, why, what, limit)
        if (best := _least(low - 1, us, change, tries)) is not None:
            yield best
        made = change(us)
        texts.append(made.text)
        raised = _both(raised, made.request, task.request)
    if len(texts) > 1:
        yield Change(" and ".join(texts), raised)


def _within(request: Request, us: int) -> Request:
    """The request with all of its bounds that wide: what nobody tells the latency of still does not keep them."""
    links = tuple(replace(x, max_latency_us=None if x.max_latency_us is None else us) for x in request.links)
    return replace(request, links=links, paths=tuple(replace(p, max_latency_us=us) for p in request.paths))


def latencies(found: Sought) -> dict[str, int]:
    """Of each link of the request as found; what nobody tells is left out."""
    told = {x.id: link_us(found, x)[0] for x in found.task.request.links}
    return {i: us for i, us in told.items() if us is not None}


Raise = Callable[[int], Change]


def _exceeded(task: Task, took: Mapping[str, int]) -> Iterator[tuple[str, int, int, Raise]]:
    """Bounds that what was found without them does not keep: name, bound, what it took, the bound raised."""
    request = task.request
    for path in request.paths:
        parts = [took.get(i) for i in path.links]
        whole = sum(x for x in parts if x is not None)
        if None in parts or whole <= path.max_latency_us:
            continue

        def with_path(us: int, path: PathBound = path) -> Change:
            paths = tuple(replace(p, max_latency_us=us) if p.id == path.id else p for p in request.paths)
            return Change(f"raise latency bound of path {path.id} to {us} us", replace(request, paths=paths))

        yield f"path {path.id}", path.max_latency_us, whole, with_path
    for link in request.links:
        us = took.get(link.id)
        if link.max_latency_us is None or us is None or us <= link.max_latency_us:
            continue
        name = task.link_names[link.id]

        def with_link(us: int, link_id: str = link.id, name: str = name) -> Change:
            links = tuple(replace(x, max_latency_us=us) if x.id == link_id else x for x in request.links)
            return Change(f"raise latency bound of link {name} to {us} us", replace(request, links=links))

        yield f"link {name}", link.max_latency_us, us, with_link


def _proved(task: Task, why: Impossible | None, what: str, limit: int) -> int:
    """The least that a bound can be, as far as the proof tells; else the least above what it is."""
    if why is None or why.proof != "latency":
        return limit + 1
    names, least, most = why.facts.get("vlinks"), why.facts.get("least"), why.facts.get("limit")
    if not isinstance(names, list) or not isinstance(least, int) or not isinstance(most, int):
        return limit + 1
    mine = {f"link {names[0]}"} if len(names) == 1 else set()
    mine |= {f"path {p.id}" for p in task.request.paths if set(names) <= {task.link_names[i] for i in p.links}}
    return limit + -(-(least - most) // HALVES) if what in mine else limit + 1


def _both(a: Request, b: Request, before: Request) -> Request:
    """Both requests' raised bounds."""
    paths = tuple(y if y != x else z for x, y, z in zip(before.paths, b.paths, a.paths, strict=True))
    links = tuple(y if y != x else z for x, y, z in zip(before.links, b.links, a.links, strict=True))
    return replace(a, paths=paths, links=links)


# ---- rules and bandwidth ----


def _rules(task: Task, tries: Tries, why: Impossible | None) -> Iterator[Change]:
    for rule in task.request.rules:
        rules = tuple(r for r in task.request.rules if r.id != rule.id)
        yield Change(f"drop rule {rule.id} ({rule.scope})", replace(task.request, rules=rules))


def _bandwidths(task: Task, tries: Tries, why: Impossible | None) -> Iterator[Change]:
    for link in task.request.links:
        if not link.bandwidth_bps:
            continue
        name = task.link_names[link.id]

        def with_less(
            less_mbit: int, link_id: str = link.id, asked: int = link.bandwidth_bps, name: str = name
        ) -> Change:
            bps = max(0, asked - less_mbit * 1_000_000)
            links = tuple(replace(x, bandwidth_bps=bps) if x.id == link_id else x for x in task.request.links)
            text = f"lower bandwidth of link {name} to {bps / 1_000_000:g} Mbit/s"
            return Change(text, replace(task.request, links=links))

        best = _least(0, -(-link.bandwidth_bps // 1_000_000), with_less, tries)
        if best is not None:
            yield best


def _licences(task: Task, tries: Tries, why: Impossible | None) -> Iterator[Change]:
    """More of a licence at one site, as little as will do."""
    sites = task.desk.network.sites
    places = {sites[task.snapshot.root(h.key)]: h for h in reversed(task.snapshot.hosts)}
    for name in sorted({d.needs.licence for d in task.demands} - {""}):
        most = sum(d.needs.licence_count for d in task.demands if d.needs.licence == name)
        for host in places.values():

            def with_more(n: int, name: str = name, host: Host = host) -> Change:
                text = f"{n} more of licence {name} {licences_at(host)}"
                return Change(text, task.request, licences=(Licence(host.vim, name, host.site, n),))

            if (best := _least(0, most, with_more, tries)) is not None:
                yield best


def _least(low: int, high: int, make: Callable[[int], Change], tries: Tries) -> Change | None:
    """With the least number of (low, high] that admits, by halving; None where even the highest does not."""
    low = min(low, high - 1)
    if tries.admits(make(low + 1)):
        return make(low + 1)
    low += 1
    if low >= high or not tries.admits(make(high)):
        return None
    while high - low > 1 and tries.left > 0:
        middle = (low + high) // 2
        if tries.admits(make(middle)):
            high = middle
        else:
            low = middle
    return make(high)


# ---- room ----


def _capacity(task: Task, tries: Tries, why: Impossible | None) -> Iterator[Change]:
    """More on one host, so that some of the VNFCs have room there: what is least in all first."""
    for text, host in growths(task):
        yield Change(text, task.request, (host,))


def without(request: Request, proof: Proof) -> Request:
    """The request without what the proof is about."""
    if proof is Proof.LATENCY:
        links = tuple(replace(x, max_latency_us=None) for x in request.links)
        return replace(request, links=links, paths=())
    if proof is Proof.LICENCE:
        free = tuple(replace(d, needs=replace(d.needs, licence="", licence_count=0)) for d in request.demands)
        return replace(request, demands=free)
    if proof is Proof.RULES:
        return replace(request, rules=())
    if proof is Proof.BANDWIDTH:
        return replace(request, links=tuple(replace(x, bandwidth_bps=0) for x in request.links))
    return request


_ANY: tuple[Proposals, ...] = (_bounds, _rules, _bandwidths, _licences, _capacity, _needs)
_KINDS: dict[Proof, tuple[Proposals, ...]] = {
    Proof.REALIZATION: (_needs,),
    Proof.HOST: (_needs, _licences, _capacity),
    Proof.LICENCE: (_licences,),
    Proof.CAPACITY: (_capacity, _needs),
    Proof.LATENCY: (_bounds, _needs, _rules, _capacity),
    Proof.RULES: (_rules, _capacity, _needs),
    Proof.BANDWIDTH: (_bandwidths, _needs, _rules, _capacity),
}
