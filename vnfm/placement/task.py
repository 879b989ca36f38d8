"""A request made ready: checked, in the order of placing, with what the table leaves open to each demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.model.problem import problem
from vnfm.placement.desk import Desk, Offers, desk_of, offers_of
from vnfm.placement.openings import Opening
from vnfm.placement.request import Demand, End, Link, Request
from vnfm.placement.snapshot import Snapshot, cost_of


@dataclass(frozen=True, slots=True)
class Task:
    """The request on the snapshot. `demands` are in the order of placing: neighbours follow each other."""

    request: Request
    snapshot: Snapshot
    desk: Desk
    demands: tuple[Demand, ...]
    offers: Offers
    openings: Mapping[str, Opening]
    ends: Mapping[str, End]
    links: Mapping[str, Link]
    names: Mapping[str, str]  # how texts call demands and ends, and links; all different
    link_names: Mapping[str, str]
    end_us: Mapping[str, int]  # what an end itself adds to a link


def task_of(request: Request, snapshot: Snapshot) -> Task:
    """Prepare the request; to be called under `snapshot.kept.lock`.

    Raises ProblemError where it contradicts itself: an id twice, a link to nowhere.
    """
    _check(request, snapshot)
    desk = desk_of(snapshot)
    offers = offers_of(snapshot, desk)
    demands = _in_order(request)
    return Task(
        request=request,
        snapshot=snapshot,
        desk=desk,
        demands=demands,
        offers=offers,
        openings={d.id: offers.opening(d) for d in demands},
        ends={e.id: e for e in request.ends},
        links={x.id: x for x in request.links},
        names=_names([*_called(demands), *((e.id, e.name or e.id) for e in request.ends)]),
        link_names=_names([(x.id, x.name or x.id) for x in request.links]),
        end_us={e.id: _end_us(e, snapshot) for e in request.ends},
    )


def _end_us(end: End, snapshot: Snapshot) -> int:
    host = snapshot.by_key.get((end.vim, end.host))
    return cost_of(host, end.runtime).hop_us if host is not None and end.runtime is not None else 0


def _called(demands: tuple[Demand, ...]) -> list[tuple[str, str]]:
    """By a VNF's alias, with the VDU where it has several VNFCs."""
    several = Counter(d.alias for d in demands)
    return [(d.id, f"{d.alias}/{d.vdu}" if several[d.alias] > 1 else d.alias) for d in demands]


def _names(wanted: list[tuple[str, str]]) -> dict[str, str]:
    """With a number where a name is taken."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for member, name in wanted:
        number, other = 0, name
        while other in taken:
            number += 1
            other = f"{name}#{number}"
        taken.add(other)
        names[member] = other
    return names


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
        if end.host and (end.vim, end.host) not in snapshot.by_key:
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
