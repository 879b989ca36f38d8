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
from vnfm.placement.inventory import LinkReservation, ObservedCost, Reservation
from vnfm.placement.snapshot import CostsSince, Since
from vnfm.store import tables as t
from vnfm.store.costs import CostKey, CostsChanged, observed
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
    since: Since | None = None  # how it differs from what it was before
    costs_since: CostsSince | None = None


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
    """All that is held, and what has changed of it since it was told."""

    hosts: dict[str, Reservation] = field(default_factory=dict)
    links: dict[str, LinkReservation] = field(default_factory=dict)
    told: tuple[tuple[Reservation, ...], tuple[LinkReservation, ...]] | None = None
    since: Since | None = None
    gone: dict[tuple[str, str], Reservation | LinkReservation] = field(default_factory=dict)
    fresh: dict[tuple[str, str], Reservation | LinkReservation] = field(default_factory=dict)

    def hold(self, held: Held) -> None:
        """What was held ahead of its transaction is held again by it: the same."""
        for host in held.hosts:
            if (before := self.hosts.get(host.resource_id)) != host:
                self._out("host", host.resource_id, before)
                self.hosts[host.resource_id] = self.fresh["host", host.resource_id] = host
        for link in held.links:
            if (known := self.links.get(link.resource_id)) != link:
                self._out("link", link.resource_id, known)
                self.links[link.resource_id] = self.fresh["link", link.resource_id] = link

    def free(self, keys: Iterable[tuple[str, str]]) -> None:
        for resource_id, kind in keys:
            self._out(kind, resource_id, (self.hosts if kind == "host" else self.links).pop(resource_id, None))

    def tell(self, observed: tuple[ObservedCost, ...], costs_since: CostsSince | None = None) -> Holdings:
        """What is held; tuples that did not change are the same ones as before."""
        before = self.told
        if before is None or self.gone or self.fresh:
            hosts = tuple(self.hosts.values()) if before is None or self._touches("host") else before[0]
            links = tuple(self.links.values()) if before is None or self._touches("link") else before[1]
            self.told = hosts, links
            self.since = Since(*before, tuple(self.gone.values()), tuple(self.fresh.values())) if before else None
            self.gone, self.fresh = {}, {}
        assert self.told
        return Holdings(*self.told, observed, self.since, costs_since)

    def _out(self, kind: str, resource_id: str, item: Reservation | LinkReservation | None) -> None:
        """What was told of and is no more; of what came and went meanwhile nobody needs to hear."""
        if self.fresh.pop((kind, resource_id), None) is None and item is not None:
            self.gone[kind, resource_id] = item

    def _touches(self, kind: str) -> bool:
        return any(key[0] == kind for changed in (self.gone, self.fresh) for key in changed)


class HeldNow:
    """Follows a database. Lives in its event loop."""

    def __init__(self, database: Database, seconds: Callable[[], float] = time.monotonic) -> None:
        self._db = database
        self._memory: _Memory | None = None
        self._costs: dict[CostKey, ObservedCost] = {}
        self._seen: tuple[ObservedCost, ...] = ()
        self._costs_since: CostsSince | None = None
        self._costs_changed: set[CostKey] | None = None  # None: all of them have to be read
        self._next_s = 0.0
        self._seconds = seconds
        database.listeners.append(self._hear)

    async def holdings(self) -> Holdings:
        """As of the newest commit; tuples that did not change are the same ones as before."""
        if self._costs_changed != set() and self._seconds() >= self._next_s:
            await self._read_costs()
        while (memory := self._memory) is None:
            await self._db.write(_read)  # in line with the transactions: what comes after it is told after it
        return memory.tell(self._seen, self._costs_since)

    async def _read_costs(self) -> None:
        """Those that changed. Values that are what they were before are no change."""
        begun, keys = self._seconds(), self._costs_changed
        self._costs_changed = set()
        try:
            read = await self._db.read(lambda c: observed(c, keys))
        except BaseException:
            self._costs_changed = None
            raise
        fresh = tuple(cost for key, cost in read.items() if self._costs.get(key) != cost)
        if fresh:
            before = self._seen
            self._costs.update(read)
            self._seen = tuple(self._costs.values())
            self._costs_since = CostsSince(before, fresh)
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
                memory.hold(fact.held)
            case Held() if memory:
                memory.hold(fact)
            case Freed() if memory:
                memory.free(fact.keys)
            case CostsChanged() if self._costs_changed is not None:
                self._costs_changed |= fact.keys


def _read(c: Connection) -> None:
    rows = c.execute(_RESERVATIONS).mappings().all()
    hosts = tuple(decode(Reservation, r["body"]) for r in rows if r["kind"] == "host")
    links = tuple(decode(LinkReservation, r["body"]) for r in rows if r["kind"] == "link")
    tell(c, _Read(Held(hosts, links)))
