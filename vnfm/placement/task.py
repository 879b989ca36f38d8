"""A request made ready for the search: everything that does not change while candidates are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.model.problem import problem
from vnfm.placement.candidates import Candidate, Refused
from vnfm.placement.desk import desk_of
from vnfm.placement.ledger import Load
from vnfm.placement.network import Network
from vnfm.placement.score import Weights
from vnfm.placement.snapshot import Snapshot, cost_of
from vnfm.placement.types import Demand, End, HostKey, Link, PathBound, Request, Rule


@dataclass(frozen=True, slots=True)
class Task:
    """The request on the snapshot. `demands` are in the order of placing: neighbours follow each other."""

    request: Request
    snapshot: Snapshot
    network: Network
    weights: Weights
    loads: Mapping[HostKey, Load]
    demands: tuple[Demand, ...]
    candidates: Mapping[str, tuple[Candidate, ...]]
    refused: Mapping[str, tuple[Refused, ...]]
    ends: Mapping[str, End]
    links: Mapping[str, Link]
    links_of: Mapping[str, tuple[Link, ...]]
    paths_of: Mapping[str, tuple[PathBound, ...]]  # by link
    rules_of: Mapping[str, tuple[Rule, ...]]
    least_hop_us: Mapping[str, int]
    occupied: frozenset[HostKey]  # servers that we hold something on
    tokens: Mapping[tuple[str, str], int]  # licences that are left, by licence and site


def task_of(request: Request, snapshot: Snapshot, weights: Weights) -> Task:
    """Prepare the request. Raises ProblemError where it contradicts itself: an id twice, a link to nowhere."""
    _check(request, snapshot)
    desk = desk_of(snapshot)
    demands = _in_order(request)
    judged = {d.id: desk.judged(d, weights) for d in demands}
    candidates = {i: j[0] for i, j in judged.items()}
    links = {link.id: link for link in request.links}
    ends = {e.id: e for e in request.ends}
    return Task(
        request=request,
        snapshot=snapshot,
        network=desk.network,
        weights=weights,
        loads=dict(desk.loads),
        demands=demands,
        candidates=candidates,
        refused={i: j[1] for i, j in judged.items()},
        ends=ends,
        links=links,
        links_of={d.id: tuple(x for x in links.values() if d.id in (x.a, x.b)) for d in demands},
        paths_of={x: tuple(p for p in request.paths if x in p.links) for x in links},
        rules_of={d.id: tuple(r for r in request.rules if any(d.id in g for g in r.groups)) for d in demands},
        least_hop_us={d.id: min((c.hop_us for c in candidates[d.id]), default=0) for d in demands}
        | {e.id: end_hop_us(e, snapshot) for e in request.ends},
        occupied=frozenset(snapshot.root(machine) for machine in desk.loads),
        tokens=desk.book.licences.copy(),
    )


def end_hop_us(end: End, snapshot: Snapshot) -> int:
    """What the end itself adds to a link."""
    host = snapshot.by_key.get((end.vim, end.host))
    return cost_of(host, end.runtime).hop_us if host is not None and end.runtime is not None else 0


def _known(snapshot: Snapshot, vim: str, host: str) -> bool:
    return (vim, host) in snapshot.by_key


def _check(request: Request, snapshot: Snapshot) -> None:
    ids = [d.id for d in request.demands] + [e.id for e in request.ends]
    if len(set(ids)) != len(ids):
        raise problem(
            "invalid-request", f"the id {next(i for i in ids if ids.count(i) > 1)!r} is used by two demands or ends"
        )
    known = set(ids)
    if len({x.id for x in request.links}) != len(request.links):
        raise problem("invalid-request", "two links have one id")
    for link in request.links:
        if missing := {link.a, link.b} - known:
            raise problem(
                "invalid-request", f"link {link.id!r} leads to {min(missing)!r}, which is no demand and no end"
            )
    for path in request.paths:
        if missing := set(path.links) - {x.id for x in request.links}:
            raise problem("invalid-request", f"path {path.id!r} runs over {min(missing)!r}, which is no link")
    for end in request.ends:
        if end.host and not _known(snapshot, end.vim, end.host):
            raise problem(
                "invalid-request",
                f"end {end.id!r} is at host {end.host!r} of VIM {end.vim!r}, which the inventory does not tell",
            )


def _in_order(request: Request) -> tuple[Demand, ...]:
    """Breadth first along the links from the ends; what hangs on nothing follows by id."""
    beside: dict[str, set[str]] = {}
    for link in request.links:
        beside.setdefault(link.a, set()).add(link.b)
        beside.setdefault(link.b, set()).add(link.a)
    by_id = {d.id: d for d in request.demands}
    anchors = sorted(e.id for e in request.ends if e.host) or sorted(e.id for e in request.ends)[:1]
    order: list[str] = []
    seen: set[str] = set()
    for start in (*anchors, *sorted(by_id)):
        queue = [start]
        while queue:
            at = queue.pop(0)
            if at in seen:
                continue
            seen.add(at)
            order.append(at)
            queue.extend(sorted(beside.get(at, set()) - seen))
    return tuple(by_id[i] for i in order if i in by_id)
