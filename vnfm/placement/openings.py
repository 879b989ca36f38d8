"""What the table leaves open to a demand, as the search's costs and masks over all nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.atlas import HALVES, SCALE, Atlas
from vnfm.placement.book import Amounts
from vnfm.placement.candidates import Candidate
from vnfm.placement.estate import Bools, Ints
from vnfm.placement.kinds import NEVER, Kind, Way
from vnfm.placement.ledger import MIB, amount_of, reserve
from vnfm.placement.score import Weights, price_score, realization_score
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import Demand, Host, Reservation

Taker = tuple[Candidate, Host]


@dataclass(frozen=True, slots=True)
class Opening:
    """The ways to realize a demand, cheapest first, and by way which candidate on which host a node stands for."""

    ways: tuple[Way, ...]
    takers: tuple[Mapping[int, Taker], ...]
    fixed: Ints
    strict: bool

    def kind(self, tenant: int, docks: int, allowed: Bools | None = None) -> OpenKind:
        """As a kind of the search; `allowed`: only there."""
        ways = self.ways
        if allowed is not None:
            ways = tuple(replace(w, allowed=left) for w in ways if (left := w.allowed & allowed).any())
        return OpenKind(ways, self.fixed, self.strict, tenant, docks)


class OpenKind(Kind):
    """A kind whose ways were worked out by the table."""

    __slots__ = ()

    def __init__(self, ways: tuple[Way, ...], fixed: Ints, strict: bool, tenant: int, docks: int) -> None:
        self.tenant = tenant
        self.strict = strict
        self.ways = ways
        self.least_us = min((w.latency_us for w in ways), default=0)
        self._fixed = fixed
        self.never = NEVER
        self.score = fixed
        self.dock_score: Ints = np.empty(docks, dtype=np.int64)
        self.seen = -1


def opening_of(
    demand: Demand, candidates: Sequence[Candidate], snapshot: Snapshot, atlas: Atlas, weights: Weights
) -> Opening:
    """The opening of a demand for which the table left these candidates."""
    size = atlas.estate.size
    found: dict[tuple[int, Amounts, int, int], tuple[Bools, dict[int, Taker]]] = {}
    fixed: Ints = np.zeros(size, dtype=np.int64)
    for candidate in candidates:
        first = candidate.group[0]
        cost = realization_score(candidate.option(first), len(candidate.unmet), weights) * SCALE
        price = price_score(demand, first, weights) * SCALE
        held = reserve(demand, first, candidate.runtime, candidate.isolation, candidate.memory_bytes, None)
        way = (cost, amounts_of(held), candidate.hop_us * HALVES, shares_of(held))
        mask, takers = found.setdefault(way, (np.zeros(size, dtype=np.bool_), {}))
        for host in candidate.group:
            node = atlas.node_of[snapshot.machine[host.key]]
            mask[node] = True
            fixed[node] = price
            takers.setdefault(node, (candidate, host))
    ordered = sorted(found, key=lambda w: (w[0], w[2], w[1], w[3]))
    ways = tuple(Way(i, w[1], w[0], w[2], w[3], found[w][0]) for i, w in enumerate(ordered))
    return Opening(ways, tuple(found[w][1] for w in ordered), fixed, demand.needs.numa_strict)


def point_of(size: int) -> Opening:
    """Of what asks nothing but to be somewhere: an end without a host."""
    everywhere: Bools = np.ones(size, dtype=np.bool_)
    return Opening((Way(0, (0,) * 6, 0, 0, 0, everywhere),), ({},), np.zeros(size, dtype=np.int64), strict=False)


def amounts_of(held: Reservation) -> Amounts:
    """A reservation in the search's units, rounded up."""
    cpu, memory, huge, vfs, gpus, disk = amount_of(held)
    return (cpu, -(-memory // MIB), -(-huge // MIB), vfs, gpus, -(-disk // MIB))


def shares_of(held: Reservation) -> int:
    """How what is held shares its node's kernel: 0 not, 1 with anyone, 2 within its tenant."""
    if held.runtime is not Runtime.CONTAINER:
        return 0
    return 2 if held.isolation >= Isolation.TENANT else 1
