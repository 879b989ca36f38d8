"""What is held is told with how it differs from what was told before, so that nobody has to compare all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from store_bench import Bench, played

from vnfm.lcm.operation import Design
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.placement.types import LinkReservation, Reservation
from vnfm.store.group import tell
from vnfm.store.holdings import Freed, Holdings


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
