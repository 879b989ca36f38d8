"""What is held is told with how it differs from what was told before, so that nobody has to compare all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from store_bench import Bench, played

from vnfm.lcm.operation import Design
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.inventory import LinkReservation, Reservation
from vnfm.store.costs import Start, observe
from vnfm.store.group import tell
from vnfm.store.holdings import Freed, HeldNow, Holdings


def host(name: str, size: int) -> Reservation:
    return Reservation(name, "m", "h", "t", Runtime.CONTAINER, Isolation.NONE, size, 1)


def link(name: str, size: int) -> LinkReservation:
    return LinkReservation(name, (), size)


def followed(before: dict[str, object], told: Holdings) -> dict[str, object]:
    """What somebody has who only hears of differences."""
    assert told.since
    after = dict(before)
    for gone in told.since.gone:
        assert after.pop(f"{type(gone).__name__} {gone.resource_id}") == gone
    for fresh in told.since.fresh:
        assert after.setdefault(f"{type(fresh).__name__} {fresh.resource_id}", fresh) is fresh
    return after


def every(told: Holdings) -> dict[str, object]:
    return {f"{type(r).__name__} {r.resource_id}": r for r in (*told.reservations, *told.link_reservations)}


@pytest.mark.parametrize("seed", range(6))
def test_the_differences_lead_from_one_telling_to_the_next(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)

    async def story(bench: Bench) -> None:
        before = await bench.resources.holdings()
        known = every(before)
        for _ in range(60):
            for _ in range(dice.randrange(4)):
                name, size = f"r{dice.randrange(6)}", dice.randrange(3)
                if dice.random() < 0.5:
                    bench.resources.hold(Design((), (host(name, size),), (link(name, size),)))
                else:
                    gone = Freed(((name, dice.choice(("host", "link"))),))
                    await bench.database.write(lambda c, gone=gone: tell(c, gone))
            told = await bench.resources.holdings()
            if told.since is not before.since:
                assert told.since
                assert told.since.reservations is before.reservations
                assert told.since.link_reservations is before.link_reservations
                known = followed(known, told)
            else:
                assert told.reservations is before.reservations
                assert told.link_reservations is before.link_reservations
            assert known == every(told)
            before = told

    played(tmp_path, story)


def test_what_is_held_once_more_is_no_difference(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.resources.holdings()
        bench.resources.hold(Design((), (host("a", 1),), (link("a", 1),)))
        told = await bench.resources.holdings()
        bench.resources.hold(Design((), (host("a", 1),), (link("a", 1),)))  # by its transaction, a moment later
        again = await bench.resources.holdings()
        assert again.reservations is told.reservations
        assert again.since is told.since

    played(tmp_path, story)


def test_after_what_was_held_too_soon_everything_is_to_be_compared(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.resources.holdings()
        bench.resources.hold(Design((), (host("a", 1),)))
        assert (await bench.resources.holdings()).since
        bench.resources.forget_held()
        told = await bench.resources.holdings()
        assert told.reservations == ()
        assert told.since is None

    played(tmp_path, story)


def test_of_what_was_seen_only_what_changed_is_told(tmp_path: Path) -> None:
    clock = [0.0]

    async def story(bench: Bench) -> None:
        async def see(start_ms: int, *hosts: str) -> Holdings:
            starts = [Start("m", h, Runtime.CONTAINER, start_ms, 1000) for h in hosts]
            await bench.database.write(lambda c: observe(c, starts))
            clock[0] += 1  # past any rest
            return await held.holdings()

        held = HeldNow(bench.database, lambda: clock[0])
        both = await see(100, "a", "b")
        assert {(c.host, c.start_ms) for c in both.observed} == {("a", 100), ("b", 100)}
        same = await see(100, "a")
        assert same.observed is both.observed
        other = await see(300, "b")
        assert other.costs_since
        assert other.costs_since.observed is both.observed
        assert [(c.host, c.start_ms) for c in other.costs_since.fresh] == [("b", 200)]
        assert {(c.host, c.start_ms) for c in other.observed} == {("a", 100), ("b", 200)}

    played(tmp_path, story)
