"""Filter and score before the search: which realization on which hosts is open to a demand, best first.

Hosts that differ in their name only are one group, so that a uniform cloud costs no more than a small one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.ledger import NOTHING, Load
from vnfm.placement.option import Option
from vnfm.placement.rules import ISOLATION, Row, judge
from vnfm.placement.score import Weights, option_score
from vnfm.placement.snapshot import Snapshot, cost_of
from vnfm.placement.types import Demand, Host, HostKey

Group = tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A realization on any host of a group. `isolation`: what it is held to, less than a wish perhaps."""

    group: Group
    runtime: Runtime
    nested: bool
    isolation: Isolation
    unmet: tuple[Row, ...]
    score: int
    hop_us: int
    memory_bytes: int  # taken by the realization itself
    lightness: int

    def option(self, host: Host) -> Option:
        """The option on one host of the group."""
        return Option(host, self.runtime, self.nested, cost_of(host, self.runtime))


@dataclass(frozen=True, slots=True)
class Refused:
    """A realization that the table refuses on every host of a group, and by which rows."""

    group: Group
    option: Option  # on the group's first host
    rows: tuple[Row, ...]


def groups_of(snapshot: Snapshot, attached: Mapping[HostKey, object]) -> tuple[Group, ...]:
    """Hosts that placement cannot tell apart while nothing is held, together. Machines with several hosts on or in
    them stand alone. `attached`: by server, what places and networks tell it apart by."""
    roots: dict[HostKey, int] = {}
    for host in snapshot.hosts:
        root = snapshot.root(host.key)
        roots[root] = roots.get(root, 0) + 1
    groups: dict[object, list[Host]] = {}
    for host in snapshot.hosts:
        root = snapshot.root(host.key)
        alone = host.key if roots[root] > 1 else None
        groups.setdefault((alone, _signature(host), attached[root]), []).append(host)
    return tuple(tuple(g) for g in groups.values())


def alike(
    candidate: Candidate, snapshot: Snapshot, loads: Mapping[HostKey, Load], near: frozenset[HostKey]
) -> Iterator[tuple[Host, int]]:
    """Of a candidate's hosts one for all that hold the same, with their number; those on servers in `near` each."""
    found: dict[Load, list[Host]] = {}
    for host in candidate.group:
        if snapshot.root(host.key) in near:
            yield host, 1
        else:
            found.setdefault(loads.get(snapshot.machine[host.key], NOTHING), []).append(host)
    yield from ((hosts[0], len(hosts)) for hosts in found.values())


def candidates_of(
    demand: Demand, groups: tuple[Group, ...], snapshot: Snapshot, weights: Weights
) -> tuple[tuple[Candidate, ...], tuple[Refused, ...]]:
    """What the table leaves to the demand, best first, and what it refuses."""
    left: list[Candidate] = []
    refused: list[Refused] = []
    for group in groups:
        nested = snapshot.nested(group[0].key)
        for runtime in Runtime:
            option = Option(group[0], runtime, nested, cost_of(group[0], runtime))
            verdict = judge(demand, option)
            if verdict.refusing:
                refused.append(Refused(group, option, verdict.refusing))
            else:
                left.extend(_variants(demand, group, option, verdict.unmet, weights))
    left.sort(key=lambda c: (c.score, c.lightness, c.group[0].key, c.runtime))
    return tuple(left), tuple(refused)


def _variants(
    demand: Demand, group: Group, option: Option, unmet: tuple[Row, ...], weights: Weights
) -> list[Candidate]:
    """The option as it is; where isolation is a wish, also held to none, for a kernel that others share already."""
    wished = ISOLATION if ISOLATION.asked(demand) and ISOLATION.wished(demand) else None
    levels = [(Isolation(min(demand.needs.isolation, option.level)), unmet)]
    if wished is not None and option.runtime is Runtime.CONTAINER:
        levels.append((Isolation.NONE, (*unmet, *(() if wished in unmet else (wished,)))))
    return [
        Candidate(
            group=group,
            runtime=option.runtime,
            nested=option.nested,
            isolation=level,
            unmet=rows,
            score=option_score(demand, option, len(rows), weights),
            hop_us=option.cost.hop_us,
            memory_bytes=option.cost.memory_bytes,
            lightness=option.lightness,
        )
        for level, rows in levels
    ]


def _signature(host: Host) -> tuple[object, ...]:
    return (
        host.vim,
        host.cells,
        host.runtimes,
        host.parent,
        host.site,
        host.zone,
        host.arch,
        frozenset(host.refusals.items()),
        frozenset(host.costs.items()),
        frozenset(host.hardware.items()),
        host.disk_bytes,
        host.disk_used_by_others_bytes,
        host.trust,
        host.only_tenant,
        host.price_per_vcpu,
        host.active,
        host.on_cost,
    )
