"""Where a demand of a plan is, or could be."""

from __future__ import annotations

from dataclasses import dataclass

from vnfm.placement.book import Seat
from vnfm.placement.inventory import Host
from vnfm.placement.marks import Word
from vnfm.placement.openings import Candidate
from vnfm.placement.request import Demand
from vnfm.placement.seek import Sought


@dataclass(frozen=True, slots=True)
class Choice:
    """A host, and how the demand runs there."""

    host: Host
    node: int
    way: int
    candidate: Candidate

    @property
    def word(self) -> Word:
        """The realization."""
        return self.candidate.option.runtime, self.candidate.option.nested

    @property
    def rank(self) -> tuple[object, ...]:
        """Among what costs the same: the lighter, then by the host's name."""
        return (self.candidate.option.lightness, self.host.key)


def chosen(sought: Sought, demand: Demand, seat: Seat) -> Choice:
    """The choice that a seat is."""
    return choice(sought, demand, seat.node, seat.variant)


def choices(sought: Sought) -> dict[str, Choice]:
    """By demand, where it was found to go, in the request's order."""
    draft = sought.draft
    assert draft is not None
    return {d.id: chosen(sought, d, draft.seats[sought.at[d.id]]) for d in sought.task.request.demands}


def choice(sought: Sought, demand: Demand, node: int, way: int) -> Choice:
    """What a way of the demand is on a node."""
    task, opening = sought.task, sought.task.openings[demand.id]
    at = int(opening.hosts[way][node])
    candidate = opening.candidate(way, int(task.offers.sorts.of[at]))
    return Choice(task.snapshot.hosts[at], node, way, candidate)
