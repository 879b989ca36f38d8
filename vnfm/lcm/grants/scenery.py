"""The snapshot that decisions work on, shared by all of them: made anew only where the hosts or their costs changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from vnfm.lcm.ports import JoinedInventory
from vnfm.placement.snapshot import Since, Snapshot
from vnfm.placement.types import LinkReservation, ObservedCost, Reservation

REST = 20  # costs are taken in anew after so many times what that took last time: at most a twentieth of the time


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


class Scenery:
    """Keeps hosts with their costs, resolved. Costs that were observed a moment ago may still be missing: with
    thousands of hosts each of them would else have all hosts looked through again."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._inventory: JoinedInventory | None = None
        self._told: Snapshot | None = None  # as the plugins tell
        self._seen: tuple[ObservedCost, ...] = ()
        self._base: Snapshot | None = None  # with what was observed
        self._next_s = 0.0

    def snapshot(self, inventory: JoinedInventory, held: HeldCapacity) -> Snapshot:
        """What is free now."""
        base = self._known(inventory, held.observed)
        return replace(base, reservations=held.reservations, link_reservations=held.link_reservations, since=held.since)

    def _known(self, inventory: JoinedInventory, observed: tuple[ObservedCost, ...]) -> Snapshot:
        begun = self._seconds()
        told, base = self._told, self._base
        if told is None or inventory is not self._inventory:
            told = self._told = Snapshot.of(
                inventory.version,
                inventory.hosts,
                latencies=inventory.latencies,
                fabric=inventory.fabric,
                licences=inventory.licences,
                reaches=inventory.reaches,
            )
            self._inventory, base = inventory, None
        if base is None or (observed is not self._seen and begun >= self._next_s):
            base = self._base = told.with_observed(observed)
            self._seen = observed
            ended = self._seconds()
            self._next_s = ended + REST * (ended - begun)
        return base
