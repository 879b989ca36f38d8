"""What we hold of the VIMs' capacity and what was seen of it, kept in memory: every decision asks for all of it.

Read once; from then on each transaction tells what it changes (see group.tell), so that the memory is always that of
the newest commit and nothing is read again. A decision may be held here before it is on record, so that the next one
need not wait for the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from vnfm.model.codec import decode
from vnfm.model.placement import Runtime
from vnfm.placement.types import LinkReservation, ObservedCost, Reservation
from vnfm.store import tables as t
from vnfm.store.costs import observed
from vnfm.store.database import Database
from vnfm.store.group import tell

_RESERVATIONS = select(t.reservation)


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
    seen: tuple[ObservedCost, ...]


@dataclass(slots=True)
class _Memory:
    hosts: dict[str, Reservation] = field(default_factory=dict)
    links: dict[str, LinkReservation] = field(default_factory=dict)
    seen: dict[tuple[str, str, Runtime], ObservedCost] = field(default_factory=dict)

    def hold(self, held: Held) -> None:
        self.hosts.update((r.resource_id, r) for r in held.hosts)
        self.links.update((r.resource_id, r) for r in held.links)

    def free(self, keys: Iterable[tuple[str, str]]) -> None:
        for resource_id, kind in keys:
            gone = self.hosts if kind == "host" else self.links
            gone.pop(resource_id, None)

    def see(self, cost: ObservedCost) -> None:
        self.seen[cost.vim, cost.host, cost.runtime] = cost


class HeldNow:
    """Follows a database. Lives in its event loop."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._memory: _Memory | None = None
        self._reservations: tuple[Reservation, ...] | None = None
        self._links: tuple[LinkReservation, ...] | None = None
        self._seen: tuple[ObservedCost, ...] | None = None
        database.listeners.append(self._hear)

    async def holdings(self) -> Holdings:
        """As of the newest commit; tuples that did not change are the same ones as before."""
        while (memory := self._memory) is None:
            await self._db.write(_read)  # in line with the transactions: what comes after it is told after it
        if self._reservations is None:
            self._reservations = tuple(memory.hosts.values())
        if self._links is None:
            self._links = tuple(memory.links.values())
        if self._seen is None:
            self._seen = tuple(memory.seen.values())
        return Holdings(self._reservations, self._links, self._seen)

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
                self._reservations = self._links = self._seen = None
                memory.hold(fact.held)
                for cost in fact.seen:
                    memory.see(cost)
            case Held() if memory:
                memory.hold(fact)
                self._reservations = self._links = None
            case Freed() if memory:
                memory.free(fact.keys)
                self._reservations = self._links = None
            case ObservedCost() if memory:
                memory.see(fact)
                self._seen = None


def _read(c: Connection) -> None:
    rows = c.execute(_RESERVATIONS).mappings().all()
    hosts = tuple(decode(Reservation, r["body"]) for r in rows if r["kind"] == "host")
    links = tuple(decode(LinkReservation, r["body"]) for r in rows if r["kind"] == "link")
    tell(c, _Read(Held(hosts, links), observed(c)))
