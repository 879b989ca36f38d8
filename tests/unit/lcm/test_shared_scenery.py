"""The snapshot that decisions share: kept while nothing changes, never behind what is held; costs are not pressing."""

from __future__ import annotations

from dataclasses import dataclass

from lcm_samples import hosts

from vnfm.lcm.grants.scenery import REST, Scenery
from vnfm.lcm.ports import JoinedInventory
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.inventory import LinkReservation, ObservedCost, Reservation
from vnfm.placement.snapshot import CostsSince, Since


@dataclass(frozen=True)
class Holding:
    reservations: tuple[Reservation, ...] = ()
    link_reservations: tuple[LinkReservation, ...] = ()
    observed: tuple[ObservedCost, ...] = ()
    since: Since | None = None
    costs_since: CostsSince | None = None


class Watch:
    """A clock that a look at takes a second of."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


def inventory(count: int = 2, version: int = 1) -> JoinedInventory:
    return JoinedInventory(version, hosts(count).hosts)


def reservation(resource_id: str) -> Reservation:
    host = hosts().hosts[0]
    return Reservation(resource_id, host.vim, host.id, "t", Runtime.CONTAINER, Isolation.NONE, 10, 1)


def cost(start_ms: int) -> ObservedCost:
    host = hosts().hosts[0]
    return ObservedCost(host.vim, host.id, Runtime.CONTAINER, start_ms=start_ms)


def started_ms(scenery: Scenery, told: JoinedInventory, held: Holding) -> int:
    return scenery.snapshot(told, held).hosts[0].costs[Runtime.CONTAINER].start_ms


def test_hosts_are_looked_through_once_however_many_ask() -> None:
    scenery, told = Scenery(), inventory()
    first = scenery.snapshot(told, Holding())
    later = scenery.snapshot(told, Holding((reservation("b"), reservation("a"))))
    assert later.hosts is first.hosts
    assert later.lineage is first.lineage
    assert [r.resource_id for r in later.reservations] == ["b", "a"]  # as they came to be held
    assert first.reservations == ()


def test_another_inventory_is_seen_at_once() -> None:
    scenery = Scenery()
    assert len(scenery.snapshot(inventory(2), Holding()).hosts) == 2
    assert len(scenery.snapshot(inventory(3, version=2), Holding()).hosts) == 3


def test_costs_are_taken_in_again_when_enough_time_has_passed() -> None:
    watch, told = Watch(), inventory()
    scenery = Scenery(watch)
    assert started_ms(scenery, told, Holding(observed=(cost(111),))) == 111
    changed = Holding(observed=(cost(222),))
    assert started_ms(scenery, told, changed) == 111
    watch.now_s += REST + 1
    assert started_ms(scenery, told, changed) == 222


def test_a_cost_that_is_nearly_what_it_was_changes_nothing() -> None:
    watch, told = Watch(), inventory()
    scenery = Scenery(watch)
    base = scenery.snapshot(told, Holding(observed=(cost(100),)))
    watch.now_s += REST + 1
    assert scenery.snapshot(told, Holding(observed=(cost(109),))).kept is base.kept
    watch.now_s += REST + 1
    changed = scenery.snapshot(told, Holding(observed=(cost(111),)))
    assert changed.hosts[0].costs[Runtime.CONTAINER].start_ms == 111
    assert changed.hosts[1] is base.hosts[1]


def test_of_costs_only_those_are_looked_at_that_differ() -> None:
    watch, told = Watch(), inventory()
    scenery = Scenery(watch)
    first = (cost(100),)
    scenery.snapshot(told, Holding(observed=first))
    watch.now_s += REST + 1
    # what the whole would say is not looked at where the difference is known
    later = Holding(observed=(cost(200),), costs_since=CostsSince(first, (cost(300),)))
    assert started_ms(scenery, told, later) == 300
    watch.now_s += REST + 1
    # one look was missed: the difference is from what was never seen
    missed = Holding(observed=(cost(400),), costs_since=CostsSince((cost(350),), ()))
    assert started_ms(scenery, told, missed) == 400
