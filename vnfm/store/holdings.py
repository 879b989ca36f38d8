"""What we hold of the VIMs' capacity and what was seen of it, kept in memory: every decision asks for all of it.

Read once; from then on each transaction tells what it changes (see group.tell), so that the memory is always that of
the newest commit and nothing is read again. A decision may be held here before it is on record, so that the next one
need not wait for the disk.

What was seen to cost changes with every VNF and is not pressing: it is read again now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from vnfm.model.codec import decode
from vnfm.placement.types import LinkReservation, ObservedCost, Reservation
from vnfm.store import tables as t
from vnfm.store.costs import CostsChanged, observed
from vnfm.store.database import Database
from vnfm.store.group import tell

_RESERVATIONS = select(t.reservation)
REST = 20  # costs are read again after so many times what that took last time


@dataclass(frozen=True, slots=True)
class Holdings:
    """What we hold of the VIMs' capacity, by resource id."""

    reservations: tuple[Reservation, ...]
    link_reservations: tuple[LinkReservation, ...]
    observed: tuple[ObservedCost, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Told when capacity becomes ours."""

    hosts: tuple[Reservation, ...]
    links: tuple[LinkReservation, ...]


@dataclass(frozen=True, slots=True)
class Freed:
    """Told when reservations go: resource id and kind of each."""

    keys: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """All of it, as of one moment among the transactions."""

    held: Held


@dataclass(slots=True)
class _Memory:
    hosts: dict[str, Reservation] = field(default_factory=dict)
    links: dict[str, LinkReservation] = field(default_factory=dict)

    def hold(self, held: Held) -> None:
        self.hosts.update((r.resource_id, r) for r in held.hosts)
        self.links.update((r.resource_id, r) for r in held.links)

    def free(self, keys: Iterable[tuple[str, str]]) -> None:
        for resource_id, kind in keys:
            gone = self.hosts if kind == "host" else self.links
            gone.pop(resource_id, None)


class HeldNow:
    """Follows a database. Lives in its event loop."""

    def __init__(self, database: Database, seconds: Callable[[], float] = time.monotonic) -> None:
        self._db = database
        self._memory: _Memory | None = None
        self._reservations: tuple[Reservation, ...] | None = None
        self._links: tuple[LinkReservation, ...] | None = None
        self._seen: tuple[ObservedCost, ...] = ()
        self._costs_changed = True
        self._next_s = 0.0
        self._seconds = seconds
        database.listeners.append(self._hear)

    async def holdings(self) -> Holdings:
        """As of the newest commit; tuples that did not change are the same ones as before."""
        if self._costs_changed and self._seconds() >= self._next_s:
            await self._read_costs()
        while (memory := self._memory) is None:
            await self._db.write(_read)  # in line with the transactions: what comes after it is told after it
        # from here on nothing is awaited: what is told meanwhile would be lost
        if self._reservations is None:
            self._reservations = tuple(memory.hosts.values())
        if self._links is None:
            self._links = tuple(memory.links.values())
        return Holdings(self._reservations, self._links, self._seen)

    async def _read_costs(self) -> None:
        self._costs_changed, begun = False, self._seconds()
        try:
            self._seen = await self._db.read(observed)
        except BaseException:
            self._costs_changed = True
            raise
        ended = self._seconds()
        self._next_s = ended + REST * (ended - begun)

    def hold(self, reservations: tuple[Reservation, ...], links: tuple[LinkReservation, ...]) -> None:
        """What was decided just now; it is on its way to the disk."""
        self._hear(Held(reservations, links))

    def forget(self) -> None:
        """Something that was held did not get to the disk, as far as is known: read again what did."""
        self._memory = None

    def _hear(self, fact: object) -> None:
        memory = self._memory
        match fact:
            case _Read():
                memory = self._memory = _Memory()
                self._reservations = self._links = None
                memory.hold(fact.held)
            case Held() if memory:
                memory.hold(fact)
                self._reservations = self._links = None
            case Freed() if memory:
                memory.free(fact.keys)
                self._reservations = self._links = None
            case CostsChanged():
                self._costs_changed = True


def _read(c: Connection) -> None:
    rows = c.execute(_RESERVATIONS).mappings().all()
    hosts = tuple(decode(Reservation, r["body"]) for r in rows if r["kind"] == "host")
    links = tuple(decode(LinkReservation, r["body"]) for r in rows if r["kind"] == "link")
    tell(c, _Read(Held(hosts, links)))
