"""A VNF goes into a running chain and out again between neighbours of every kind: no ping, no connection is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_live import MICRO_MON, assert_stands, create, order, show, status, traced, variant
from e2e_manager import Manager
from e2e_packages import FW, GW, MON, Packages, chain_file
from e2e_traffic import Pings, Streams

ALIASES = ("fw", "mon", "micro", "second", "gw")
RUNTIMES = dict(zip(ALIASES, ("CONTAINER", "CONTAINER", "KATA", "KATA", "VM"), strict=True))
BEHIND = {  # the neighbours of what is inserted, by the one before it
    "end and container": "client",
    "container and container": "fw",
    "container and microVM": "mon",
    "microVM and microVM": "micro",
    "microVM and VM": "second",
    "VM and end": "gw",
}
MIXES = ("container and container", "container and microVM", "microVM and microVM", "microVM and VM")
SHORT, FULL = 3, 20


@pytest.fixture(scope="module")
def mixed(manager: Manager, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A chain with every mix of neighbours, for all stories here."""
    folder = tmp_path_factory.mktemp("mixed")
    manager.onboard(variant(packages, folder, MICRO_MON, "micromon", ("{ level: tenant }", "{ level: kernel }")))
    vnfs = {"fw": FW, "mon": MON, "micro": f"{MON} kernel", "second": MICRO_MON, "gw": GW}
    return create(manager, chain_file(folder, "mixed", vnfs), RUNTIMES)


@pytest.fixture
def as_it_was(manager: Manager, mixed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chain; a story that ends ill has its VNF taken out again."""
    yield mixed
    for alias in order(show(manager, "mixed"))[1:-1]:
        if alias not in ALIASES:
            manager.run("chain", "remove", "mixed", alias, "-o", "json")


def go_in_and_out(manager: Manager, vnf: str, behind: str, rounds: int) -> None:
    """Each time it must be on the way of the pings, and gone afterwards."""
    whole = ["client", *ALIASES, "server"]
    at = whole.index(behind) + 1
    with_it = [*whole[:at], "guest", *whole[at:]]
    chain = show(manager, "mixed")
    with Streams(chain) as streams, Pings(chain) as pings:
        for number in range(rounds):
            manager.ask("chain", "insert", "mixed", "--vnf", vnf, "--as", "guest", "--after", behind)
            pings.flow(60)
            seen = status(manager, "mixed/guest")
            assert seen["left_to_right"]["packets"] > 30, f"round {number}: the pings went past it: {seen}"
            assert seen["right_to_left"]["packets"] > 30, f"round {number}: the answers went past it: {seen}"
            if number == 0:
                assert order(show(manager, "mixed")) == with_it
                assert traced(manager, "mixed") == with_it
            manager.ask("chain", "remove", "mixed", "guest")
            pings.flow(60)
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    chain = show(manager, "mixed")
    assert order(chain) == whole == traced(manager, "mixed")
    assert_stands(manager, chain)


@pytest.mark.parametrize("mix", MIXES)
def test_a_container_goes_in_and_out_and_nothing_is_lost(manager: Manager, as_it_was: dict[str, Any], mix: str) -> None:
    go_in_and_out(manager, "mon", BEHIND[mix], SHORT)


def test_a_microvm_goes_in_and_out_and_nothing_is_lost(manager: Manager, as_it_was: dict[str, Any]) -> None:
    go_in_and_out(manager, "micromon", BEHIND["container and microVM"], 1)


@pytest.mark.long
@pytest.mark.parametrize("mix", BEHIND)
def test_a_container_goes_in_and_out_twenty_times(manager: Manager, as_it_was: dict[str, Any], mix: str) -> None:
    go_in_and_out(manager, "mon", BEHIND[mix], FULL)


@pytest.mark.long
@pytest.mark.parametrize("mix", BEHIND)
def test_a_microvm_goes_in_and_out_between_all_kinds(manager: Manager, as_it_was: dict[str, Any], mix: str) -> None:
    go_in_and_out(manager, "micromon", BEHIND[mix], SHORT)


@pytest.mark.long
def test_two_stand_beside_each_other_and_go_in_the_order_in_which_they_came(
    manager: Manager, as_it_was: dict[str, Any]
) -> None:
    with Streams(as_it_was) as streams, Pings(as_it_was) as pings:
        for alias, behind in (("guest", "fw"), ("friend", "guest")):
            manager.ask("chain", "insert", "mixed", "--vnf", "mon", "--as", alias, "--after", behind)
        assert traced(manager, "mixed")[:5] == ["client", "fw", "guest", "friend", "mon"]
        assert_stands(manager, show(manager, "mixed"))
        for alias in ("guest", "friend"):
            manager.ask("chain", "remove", "mixed", alias)
            pings.flow(60)
    pings.report.assert_none_lost()
    streams.assert_none_broke()


def test_what_cannot_be_inserted_or_removed_is_refused_and_changes_nothing(
    manager: Manager, as_it_was: dict[str, Any]
) -> None:
    before = show(manager, "mixed")
    insert = ("chain", "insert", "mixed", "--vnf", "mon", "--as")
    with Pings(as_it_was) as pings:
        for words, named in (
            ((*insert, "fw", "--after", "mon"), "fw"),
            ((*insert, "guest", "--after", "nobody"), "nobody"),
            ((*insert, "guest", "--after", "server"), "server"),
            (("chain", "insert", "mixed", "--vnf", "no-such", "--as", "guest", "--after", "fw"), "no-such"),
            (("chain", "remove", "mixed", "guest"), "guest"),
            (("chain", "remove", "mixed", "client"), "client"),
        ):
            _, detail = manager.refused(*words)
            assert named in detail, detail
        pings.flow()
    pings.report.assert_none_lost()
    assert {k: v for k, v in show(manager, "mixed").items() if k != "probe"} == {
        k: v for k, v in before.items() if k != "probe"
    }


def test_terminated_with_what_was_inserted_nothing_is_left(manager: Manager, mixed: dict[str, Any]) -> None:
    manager.ask("chain", "insert", "mixed", "--vnf", "mon", "--as", "guest", "--after", "fw")
    manager.ask("chain", "insert", "mixed", "--vnf", "mon", "--as", "friend", "--before", "gw")
    manager.ask("chain", "remove", "mixed", "mon")
    manager.take_down("mixed")
    manager.nothing_stands()
