"""What comes out: a plan that says of each VNFC where it goes and why, or a refusal. Units as in `inventory.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vnfm.model.placement import Runtime
from vnfm.placement.inventory import LinkReservation, Reservation, WorkerSize


@dataclass(frozen=True, slots=True)
class Rejection:
    """A realization that was not taken on a host and why. Host `*`: on the hosts not named one by one."""

    runtime: Runtime
    host: str
    reason: str
    nested: bool = False


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The next best choice for one VNFC while the others stay; `because` says why it came second.

    `delta`: what it would cost more, in the units of `Assignment.score`.
    """

    vim: str
    host: str
    runtime: Runtime
    nested: bool
    because: str
    delta: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What a VNFC costs, in the unit of the VIM's prices: its CPUs as long as it runs, and once the server that has to
    be switched on and the worker VM that has to be opened for it; what several VNFCs of a plan need is counted with the
    first."""

    per_vcpu: float = 0.0
    cpus: float = 0.0
    switch_on: float = 0.0
    open_worker: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenedWorker:
    """The worker VM on demand that a VNFC is in: its id is the VNFC's host. `opens`: it is not open yet."""

    host: str
    size: WorkerSize
    opens: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where and how one VNFC runs. `host_path` goes from the physical server to the host.

    Why: `realizations` says of each other realization (as `explain.word_of` names it) why it was not taken; `filters`
    counts `nodes`, by cause those that fall away (each once), then those `left`; `score`: the terms of the cost.
    """

    id: str
    alias: str
    vdu: str
    vnfd_id: str
    vim: str
    host: str
    host_path: tuple[str, ...]
    runtime: Runtime
    nested: bool
    cell: int | None
    reasons: tuple[str, ...]
    rejected: tuple[Rejection, ...] = ()
    runner_up: RunnerUp | None = None
    realizations: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, int] = field(default_factory=dict)
    score: Mapping[str, int] = field(default_factory=dict)
    price: Price = Price()
    worker: OpenedWorker | None = None


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """A link as planned; latency None where the inventory does not tell it. `edges`: of the fabric, from a to b."""

    id: str
    latency_us: int | None
    bandwidth_bps: int
    edges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """Where an end is, or for an end without a host where it should be: its neighbour's physical server."""

    id: str
    vim: str
    host: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every demand with its assignment, in the request's order. `reservations` is what has to be held for it."""

    version: int  # of the snapshot it was made on
    assignments: tuple[Assignment, ...]
    links: tuple[PlannedLink, ...] = ()
    ends: tuple[PlannedEnd, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    link_reservations: tuple[LinkReservation, ...] = ()

    def assignment(self, demand_id: str) -> Assignment | None:
        """The assignment of that demand."""
        return next((a for a in self.assignments if a.id == demand_id), None)


class Proof(StrEnum):
    """What a refusal rests on."""

    REALIZATION = "realization"  # no realization meets the needs of one VNF, whichever the host
    HOST = "host"  # no host fits one VNF, even with all else left aside
    CAPACITY = "capacity"  # each VNF would fit alone, but what is free does not hold them together
    LATENCY = "latency"  # without the latency bounds it would fit
    LICENCE = "licence"  # without the licences that it takes it would fit
    RULES = "rules"  # without the (anti-)affinity rules it would fit
    BANDWIDTH = "bandwidth"  # without the links' bandwidths it would fit
    COMBINATION = "combination"  # only several of these together make it impossible
    NOT_PROVED = "not-proved"  # nothing was found within the search's budget: not the same as impossible


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan. `minimal_change` was tried and admits the request; `not found` where none was found."""

    proof: Proof
    detail: str
    minimal_change: str
    version: int = 0
    demand_id: str = ""  # the VNFC it is about, where it is about one
    facts: Mapping[str, object] = field(default_factory=dict)  # what was proved, in JSON-ready words
