"""What the table leaves open to a demand, as the search's costs and masks over all nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.amounts import amounts_of, reserve, shares_of
from vnfm.placement.atlas import HALVES, SCALE
from vnfm.placement.book import Amounts
from vnfm.placement.estate import Bools, Ints
from vnfm.placement.inventory import Host, Reservation
from vnfm.placement.kinds import Kind
from vnfm.placement.option import Option
from vnfm.placement.request import Demand
from vnfm.placement.rules import ISOLATION, Row, judge
from vnfm.placement.score import price_score, realization_score
from vnfm.placement.snapshot import cost_of
from vnfm.placement.ways import NEVER, Way, costs_of

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts of one sort: their positions among all hosts, and the first of them."""

    sort: int
    at: Ints
    first: Host
    nested: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A realization on any host of a group. `isolation`: what it is held to, less than a wish perhaps."""

    group: Group
    option: Option  # on the group's first host
    isolation: Isolation
    unmet: tuple[Row, ...]

    def on(self, host: Host) -> Option:
        """The option on one host of the group."""
        return replace(self.option, host=host)

    def reserve(self, demand: Demand, host: Host, cell: int | None) -> Reservation:
        """What it takes there."""
        option = self.option
        return reserve(demand, host, option.runtime, self.isolation, option.cost.memory_bytes, cell)


@dataclass(frozen=True, slots=True)
class Refused:
    """A realization that the table refuses on every host of a group, and by which rows."""

    group: Group
    option: Option  # on the group's first host
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """The ways to realize a demand, cheapest first. An opening is equal to itself only. `hosts`: by way and node the
    position of the host that it stands
    for; `candidates`: by way and sort of hosts, what it is there."""

    ways: tuple[Way, ...]
    hosts: tuple[Ints, ...]
    candidates: tuple[Mapping[int, Candidate], ...]
    refused: tuple[Refused, ...]
    fixed: Ints
    strict: bool
    some: Ints  # positions of the hosts that some way is open on
    closed: Mapping[str, int]  # the others, counted by what refuses every realization on them

    def word(self, way: int) -> tuple[Runtime, bool]:
        """Which realization a way is: runtime, and whether nested in a VM."""
        option = next(iter(self.candidates[way].values())).option
        return option.runtime, option.nested

    def candidate(self, way: int, sort: int) -> Candidate:
        """What a way is on hosts of a sort that it stands for."""
        return self.candidates[way][sort]

    def only(self, host: int, node: int, runtime: Runtime) -> Opening:
        """Only that runtime on that host."""
        kept: list[tuple[Way, Ints, Mapping[int, Candidate]]] = []
        for way, hosts, candidates in zip(self.ways, self.hosts, self.candidates, strict=True):
            mine = {
                sort: c for sort, c in candidates.items() if c.option.runtime is runtime and (c.group.at == host).any()
            }
            if mine:
                mask: Bools = np.zeros(len(hosts), dtype=np.bool_)
                mask[node] = True
                kept.append((way._replace(variant=len(kept), allowed=mask), np.where(mask, host, NOWHERE), mine))
        return replace(
            self,
            ways=tuple(k[0] for k in kept),
            hosts=tuple(k[1] for k in kept),
            candidates=tuple(k[2] for k in kept),
        )

    def kind(self, tenant: int, docks: int, allowed: Bools | None = None) -> OpenKind:
        """As a kind of the search; `allowed`: only there."""
        ways = self.ways
        if allowed is not None:
            ways = tuple(w._replace(allowed=left) for w in ways if (left := w.allowed & allowed).any())
        return OpenKind(ways, self.fixed, self.strict, tenant, docks)


class OpenKind(Kind):
    """A kind whose ways were worked out by the table."""

    __slots__ = ()

    def __init__(self, ways: tuple[Way, ...], fixed: Ints, strict: bool, tenant: int, docks: int) -> None:
        self.tenant = tenant
        self.strict = strict
        self.ways = ways
        self.costs = costs_of([w.cost for w in ways])
        self.least_us = min((w.latency_us for w in ways), default=0)
        self.fixed_costs = fixed
        self.never = NEVER
        self.score = fixed
        self.dock_score: Ints = np.empty(docks, dtype=np.int64)
        self.seen = -1

    def only(self, way: int) -> OpenKind:
        """With that way only, to be tried on single nodes: its scores are not worked out."""
        return OpenKind(tuple(w for w in self.ways if w.variant == way), self.fixed_costs, self.strict, self.tenant, 0)


def judged(demand: Demand, groups: Iterable[Group]) -> tuple[list[Candidate], list[Refused]]:
    """What the table leaves to the demand on these groups, and what it refuses."""
    left: list[Candidate] = []
    refused: list[Refused] = []
    for group in groups:
        for runtime in Runtime:
            option = Option(group.first, runtime, group.nested, cost_of(group.first, runtime))
            verdict = judge(demand, option)
            if verdict.refusing:
                refused.append(Refused(group, option, verdict.refusing))
            else:
                left.extend(_variants(demand, group, option, verdict.unmet))
    return left, refused


def opening_of(demand: Demand, groups: Sequence[Group], nodes: Ints, size: int) -> Opening:
    """The opening of a demand on these hosts. `nodes`: by host, the node that it is, of `size` nodes."""
    left, refused = judged(demand, groups)
    left.sort(key=lambda c: (_cost(c) + price_score(demand, c.option.host), c.option.host.key, c.option.runtime))
    found: dict[tuple[int, int, Amounts, int, str, bool], tuple[Bools, Ints, dict[int, Candidate]]] = {}
    fixed: Ints = np.zeros(size, dtype=np.int64)
    for candidate in left:
        first, at = candidate.option.host, nodes[candidate.group.at]
        held = candidate.reserve(demand, first, None)
        half_us = candidate.option.cost.hop_us * HALVES
        option = candidate.option
        cost = _cost(candidate) * SCALE
        way = (cost, half_us, amounts_of(held), shares_of(held), str(option.runtime), option.nested)
        if way not in found:
            found[way] = np.zeros(size, dtype=np.bool_), np.full(size, NOWHERE, dtype=np.int64), {}
        mask, hosts, candidates = found[way]
        mask[at] = True
        new = hosts[at] == NOWHERE
        hosts[at[new]] = candidate.group.at[new]
        fixed[at] = price_score(demand, first) * SCALE
        candidates.setdefault(candidate.group.sort, candidate)
    ordered = sorted(found)
    return Opening(
        ways=tuple(Way(i, w[2], w[0], w[1], w[3], found[w][0]) for i, w in enumerate(ordered)),
        hosts=tuple(found[w][1] for w in ordered),
        candidates=tuple(found[w][2] for w in ordered),
        refused=tuple(refused),
        fixed=fixed,
        strict=demand.needs.numa_strict,
        some=_joined([g.at for g in {c.group.sort: c.group for c in left}.values()]),
        closed=_closed({c.group.sort for c in left}, refused),
    )


def point_of(size: int) -> Opening:
    """Of what asks nothing but to be somewhere: an end without a host."""
    everywhere: Bools = np.ones(size, dtype=np.bool_)
    none: Ints = np.zeros(size, dtype=np.int64)
    way = Way(0, (0,) * 6, 0, 0, 0, everywhere)
    return Opening((way,), (none,), ({},), (), none, strict=False, some=none, closed={})


def _joined(positions: list[Ints]) -> Ints:
    return np.concatenate(positions) if positions else np.zeros(0, dtype=np.int64)


def _closed(left: set[int], refused: Iterable[Refused]) -> dict[str, int]:
    """Hosts without a candidate, counted at the first row that refuses every realization there."""
    rows_of: dict[int, list[Refused]] = {}
    for r in refused:
        if r.group.sort not in left:
            rows_of.setdefault(r.group.sort, []).append(r)
    out: Counter[str] = Counter()
    for here in rows_of.values():
        common = [row for row in here[0].rows if all(row in r.rows for r in here)]
        out[common[0].name if common else "no realization"] += len(here[0].group.at)
    return dict(sorted(out.items()))


def _cost(candidate: Candidate) -> int:
    return realization_score(candidate.option, len(candidate.unmet))


def _variants(demand: Demand, group: Group, option: Option, unmet: tuple[Row, ...]) -> list[Candidate]:
    """The option as it is; where isolation is a wish, also held to none, for a kernel that others share already."""
    wished = ISOLATION if ISOLATION.asked(demand) and ISOLATION.wished(demand) else None
    levels = [(Isolation(min(demand.needs.isolation, option.level)), unmet)]
    if wished is not None and option.runtime is Runtime.CONTAINER:
        levels.append((Isolation.NONE, (*unmet, *(() if wished in unmet else (wished,)))))
    return [Candidate(group, option, level, rows) for level, rows in levels]
