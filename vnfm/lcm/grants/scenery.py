"""The snapshot that decisions work on, shared by all of them: made anew only where the hosts or their costs changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from vnfm.lcm.ports import JoinedInventory
from vnfm.placement.inventory import LinkReservation, ObservedCost, Reservation
from vnfm.placement.snapshot import CostsSince, Since, Snapshot, cost_of

REST = 20  # costs are taken in anew after so many times what that took last time: at most a twentieth of the time
NEARLY = 10  # one part in so many: what differs less is as good as equal


class HeldCapacity(Protocol):
    """What is ours already, and what was seen. A tuple that did not change may be the same one as before."""

    @property
    def reservations(self) -> tuple[Reservation, ...]: ...
    @property
    def link_reservations(self) -> tuple[LinkReservation, ...]: ...
    @property
    def observed(self) -> tuple[ObservedCost, ...]: ...
    @property
    def since(self) -> Since | None:
        """How it differs from what was held at an earlier look, where that is known."""
        ...

    @property
    def costs_since(self) -> CostsSince | None:
        """The same of what was seen."""
        ...


class Scenery:
    """Keeps hosts with their costs, resolved. Costs that were observed a moment ago may still be missing, and such that
    differ little from what is known already are passed over: else thousands of hosts would be judged again for each
    VNFC that starts."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._inventory: JoinedInventory | None = None
        self._seen: tuple[ObservedCost, ...] = ()
        self._base: Snapshot | None = None  # with what was observed
        self._next_s = 0.0

    def snapshot(self, inventory: JoinedInventory, held: HeldCapacity) -> Snapshot:
        """What is free now."""
        base = self._known(inventory, held)
        return replace(base, reservations=held.reservations, link_reservations=held.link_reservations, since=held.since)

    def _known(self, inventory: JoinedInventory, held: HeldCapacity) -> Snapshot:
        begun, base = self._seconds(), self._base
        if base is None or inventory is not self._inventory:
            told = Snapshot.of(
                inventory.version,
                inventory.hosts,
                latencies=inventory.latencies,
                fabric=inventory.fabric,
                licences=inventory.licences,
                reaches=inventory.reaches,
            )
            self._inventory, base = inventory, told.with_observed(held.observed)
        elif held.observed is not self._seen and begun >= self._next_s:
            base = base.with_observed([cost for cost in self._fresh(held) if _differs(base, cost)])
        else:
            return base
        self._base, self._seen = base, held.observed
        ended = self._seconds()
        self._next_s = ended + REST * (ended - begun)
        return base

    def _fresh(self, held: HeldCapacity) -> tuple[ObservedCost, ...]:
        since = held.costs_since
        return since.fresh if since and since.observed is self._seen else held.observed


def _differs(base: Snapshot, seen: ObservedCost) -> bool:
    """Whether taking it in would change what is known of the host by more than a little."""
    host = base.by_key.get((seen.vim, seen.host))
    if host is None:
        return False
    known = cost_of(host, seen.runtime)
    pairs = (
        ("start_ms", known.start_ms, None if host.worker else seen.start_ms),
        ("memory_bytes", known.memory_bytes, seen.memory_bytes),
        ("hop_us", known.hop_us, seen.hop_us),
    )
    return any(
        now is not None and (name not in known.observed or NEARLY * abs(now - before) > before)
        for name, before, now in pairs
    )
