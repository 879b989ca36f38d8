"""Reorder, swap, place anew, scale: the chain carries traffic all the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_host import wait_until
from e2e_live import OTHER_MON, assert_stands, create, order, show, status, traced, variant, vnfcs
from e2e_manager import Manager
from e2e_packages import FW, MON, Packages, chain_file
from e2e_traffic import Pings, Streams, address

VNFS = {"fw": FW, "a": MON, "b": MON}


@pytest.fixture(scope="module")
def other_mon(manager: Manager, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another product that does the same, onboarded."""
    manager.onboard(variant(packages, tmp_path_factory.mktemp("other"), OTHER_MON, "othermon"))
    return "othermon"


@pytest.fixture
def trio(manager: Manager, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A firewall and two monitors, all containers; afterwards nothing is left."""
    yield create(manager, chain_file(tmp_path, "trio", VNFS), dict.fromkeys(VNFS, "CONTAINER"))
    manager.take_all_down(["default"])
    manager.nothing_stands()


def test_reordered_and_back(manager: Manager, trio: dict[str, Any]) -> None:
    with Streams(trio) as streams, Pings(trio) as pings:
        for wanted in (["b", "a", "fw"], ["a", "fw", "b"], ["fw", "a", "b"]):
            manager.ask("chain", "reorder", "trio", *wanted)
            pings.flow(60)
            assert order(show(manager, "trio")) == ["client", *wanted, "server"]
            assert traced(manager, "trio") == ["client", *wanted, "server"]
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    assert_stands(manager, show(manager, "trio"))


def test_another_product_takes_the_place_and_the_addresses(
    manager: Manager, trio: dict[str, Any], other_mon: str
) -> None:
    before = vnfcs(trio, "a")[0]
    with Streams(trio) as streams, Pings(trio) as pings:
        manager.ask("chain", "swap", "trio", "a", "--vnf", other_mon)
        pings.flow(60)
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    chain = show(manager, "trio")
    after = vnfcs(chain, "a")[0]
    assert after["id"] != before["id"]
    assert after["addresses"] == before["addresses"]
    assert next(v["vnfd_id"] for v in chain["vnfs"] if v["alias"] == "a") == OTHER_MON
    assert traced(manager, "trio") == ["client", "fw", "a", "b", "server"]
    assert status(manager, "trio/a")["left_to_right"]["packets"] > 30
    assert_stands(manager, chain)


def test_a_raised_isolation_moves_a_container_into_a_microvm_and_back(manager: Manager, trio: dict[str, Any]) -> None:
    before = vnfcs(trio, "a")[0]
    with Streams(trio) as streams, Pings(trio) as pings:
        manager.ask("vnf", "modify", "trio/a", "--isolation", "kernel")
        assert vnfcs(show(manager, "trio"), "a")[0]["id"] == before["id"], "a need alone moves nothing"
        manager.ask("chain", "replace-vnf", "trio", "a")
        pings.flow()
        raised = vnfcs(show(manager, "trio"), "a")[0]
        assert (raised["runtime"], raised["addresses"]) == ("KATA", before["addresses"])
        assert status(manager, "trio/a")["left_to_right"]["packets"] > 30
        manager.ask("vnf", "modify", "trio/a", "--isolation", "vnfd")
        manager.ask("chain", "replace-vnf", "trio", "a")
        pings.flow()
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    chain = show(manager, "trio")
    after = vnfcs(chain, "a")[0]
    assert (after["runtime"], after["addresses"]) == ("CONTAINER", before["addresses"])
    assert_stands(manager, chain)


def test_a_need_that_cannot_be_met_moves_nothing(manager: Manager, trio: dict[str, Any]) -> None:
    before = vnfcs(trio, "a")[0]
    with Pings(trio) as pings:
        manager.ask("vnf", "modify", "trio/a", "--isolation", "machine")  # the package has no disk image
        word, detail = manager.refused("chain", "replace-vnf", "trio", "a")
        assert word == "no-placement", detail
        pings.flow()
    pings.report.assert_none_lost()
    assert vnfcs(show(manager, "trio"), "a")[0] == before
    assert_stands(manager, show(manager, "trio"))


def flows_by_instance(manager: Manager, alias: str) -> dict[str, set[int]]:
    """The client's ports of the TCP flows that each instance of a monitor saw."""
    found = {}
    for vnfc in vnfcs(show(manager, "trio"), alias):
        flows = status(manager, f"trio/{alias}", "flows", vnfc=vnfc["id"])
        found[vnfc["id"]] = {f["source_port"] for f in flows if f["protocol"] == "tcp"}
    return found


def test_scaled_out_and_in_each_flow_keeps_its_instance_and_none_breaks(manager: Manager, trio: dict[str, Any]) -> None:
    first = vnfcs(trio, "a")[0]["id"]
    with Streams(trio, 30) as streams, Pings(trio) as pings:
        early = flows_by_instance(manager, "a")[first]
        assert len(early) == 30
        manager.ask("chain", "scale", "trio", "a", "--replicas", "3")
        chain = show(manager, "trio")
        assert len(vnfcs(chain, "a")) == 3
        assert_stands(manager, chain)
        streams.more(60)
        pings.flow()
        spread = flows_by_instance(manager, "a")
        assert sum(map(len, spread.values())) == len(set().union(*spread.values())) == 90, "a flow was seen twice"
        assert early <= spread[first], "flows from before the change stay where they were"
        assert all(len(ports - early) >= 6 for ports in spread.values()), f"60 new flows were spread badly: {spread}"
        manager.ask("chain", "scale", "trio", "a", "--replicas", "1", timeout_s=240)
        pings.flow()
        assert len(vnfcs(show(manager, "trio"), "a")) == 1
        streams.more(5)
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    chain = show(manager, "trio")
    assert traced(manager, "trio") == ["client", "fw", "a", "b", "server"]
    assert_stands(manager, chain)


def test_a_stateful_firewall_scales_by_its_aspect(manager: Manager, trio: dict[str, Any]) -> None:
    """An instance that sees half a connection would drop it."""
    with Streams(trio, 20) as streams, Pings(trio) as pings:
        manager.ask("vnf", "scale", "trio/fw", "--out", "--aspect", "capacity")
        assert len(vnfcs(show(manager, "trio"), "fw")) == 2
        streams.more(20)
        pings.flow()
        manager.ask("vnf", "scale", "trio/fw", "--out", "--steps", "2")
        assert len(vnfcs(show(manager, "trio"), "fw")) == 4
        streams.more(20)
        word, detail = manager.refused("vnf", "scale", "trio/fw", "--out")
        assert "capacity" in detail or "4" in detail, (word, detail)
        pings.flow()
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    assert_stands(manager, show(manager, "trio"))


@pytest.mark.long
def test_a_hop_of_microvms_and_a_hop_beside_it_scale_too(manager: Manager, tmp_path: Path) -> None:
    vnfs = {"a": MON, "k": f"{MON} kernel"}
    chain = create(manager, chain_file(tmp_path, "pair", vnfs), {"a": "CONTAINER", "k": "KATA"})
    try:
        with Streams(chain, 10) as streams, Pings(chain) as pings:
            manager.ask("chain", "scale", "pair", "k", "--replicas", "2")
            manager.ask("chain", "scale", "pair", "a", "--replicas", "2")
            streams.more(20)
            pings.flow()
            for alias in ("a", "k"):
                seen = [
                    status(manager, f"pair/{alias}", vnfc=c["id"])["flows"] for c in vnfcs(show(manager, "pair"), alias)
                ]
                assert all(seen), f"an instance of {alias} saw no flow: {seen}"
            manager.ask("chain", "scale", "pair", "k", "--replicas", "1")
            pings.flow()
        pings.report.assert_none_lost()
        streams.assert_none_broke()
        assert_stands(manager, show(manager, "pair"))
    finally:
        manager.take_all_down(["default"])
    manager.nothing_stands()


def test_a_chain_may_begin_with_several_instances(manager: Manager, tmp_path: Path) -> None:
    file = chain_file(tmp_path, "twice", {"fw": FW, "a": MON})
    text = file.read_text().replace(f"vnfd: {FW}", f"vnfd: {FW}\n    instantiation_level: pair")
    file.write_text(text)
    chain = create(manager, file, {"fw": "CONTAINER", "a": "CONTAINER"})
    try:
        assert len(vnfcs(chain, "fw")) == 2
        with Streams(chain, 30) as streams, Pings(chain) as pings:
            assert address(chain, "server")
            pings.flow()
            accepted = [_established(manager, "twice/fw", c["id"]) for c in vnfcs(chain, "fw")]
            assert wait_until(
                lambda: all(_established(manager, "twice/fw", c["id"]) for c in vnfcs(chain, "fw")), 10
            ), accepted
        pings.report.assert_none_lost()
        streams.assert_none_broke()
    finally:
        manager.take_all_down(["default"])
    manager.nothing_stands()


def _established(manager: Manager, vnf: str, vnfc: str) -> int:
    """Packets of known connections that one instance of the firewall let pass."""
    done = manager.run(
        "vnf", "exec", vnf, "--vnfc", vnfc, "--", "nft", "list", "counter", "inet", "firewall", "established"
    )
    assert done.code == 0, done
    words = done.stdout.split()
    return int(words[words.index("packets") + 1])
