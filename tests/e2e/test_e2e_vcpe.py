"""The vCPE, from its packages to packets that cross a container, a microVM and a VM, and back to an empty host."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from e2e_chains import CHAIN_ORDER, assert_each_exists_once, assert_probe_counted, end_address, vnf
from e2e_host import wait_until
from e2e_manager import Listener, Manager, call
from e2e_packages import VCPE

ALLOWED, FORBIDDEN = 8080, 2323
EXPECTED = {"fw": "CONTAINER", "rt": "KATA", "gw": "VM"}


@pytest.fixture(scope="module")
def vcpe(manager: Manager) -> dict[str, Any]:
    """The chain, created once for the stories below."""
    op = manager.ask("chain", "create", str(VCPE))
    assert op["state"] == "COMPLETED"
    shown: dict[str, Any] = manager.ask("chain", "show", "vcpe")
    return shown


def test_the_plan_follows_from_what_the_descriptors_need(manager: Manager) -> None:
    plan = manager.ask("chain", "plan", str(VCPE))
    assert plan["feasible"] is True
    assert plan["refused"] is None
    assert {v["alias"]: v["runtime"] for v in plan["vnfs"]} == EXPECTED
    for planned in plan["vnfs"]:
        assert planned["reasons"], planned
        others = set(EXPECTED.values()) - {planned["runtime"]}
        assert {r["runtime"] for r in planned["rejected"]} == others
        assert all(r["reason"] and r["host"] for r in planned["rejected"])
        assert planned["host"] == planned["host_path"][-1]
        assert planned["vim"] == "local"
    assert manager.ask("chain", "list") == []
    manager.nothing_stands()


def test_created_it_is_realized_once_and_probed_hop_by_hop(manager: Manager, vcpe: dict[str, Any]) -> None:
    assert vcpe["state"] == "INSTANTIATED"
    assert {v["alias"]: v["runtime"] for v in vcpe["vnfs"]} == EXPECTED
    assert [f"{h['from']}>{h['to']}" for h in vcpe["probe"]["hops"]] == [
        f"{a}>{b}" for a, b in itertools.pairwise(CHAIN_ORDER)
    ]
    assert_probe_counted(vcpe)
    assert_each_exists_once(manager, vcpe)


def test_the_witness_sees_what_stands(manager: Manager, vcpe: dict[str, Any]) -> None:
    """Otherwise its finding nothing afterwards would mean nothing."""
    standing = manager.witness.standing(but=manager.own_pids())
    for kind in ("namespaces", "cgroups", "mounts", "processes", "run_files"):
        assert getattr(standing, kind), f"{kind} of {vcpe['name']} are not seen"


def test_an_allowed_port_passes_with_the_source_translated(manager: Manager, vcpe: dict[str, Any]) -> None:
    client, server = end_address(vcpe, "client"), end_address(vcpe, "server")
    listener = Listener(manager, "vcpe", "server", ALLOWED)
    try:
        answer = call(manager, "vcpe", "client", server, ALLOWED)
        assert answer.startswith(f"{ALLOWED} saw "), answer
        assert wait_until(lambda: listener.served(ALLOWED), 15)
        seen = listener.served(ALLOWED)[0]
    finally:
        listener.close()
    assert client.startswith("10.1.0.")
    assert not seen.startswith("10.1.0."), f"the server saw the client's own address {seen}"
    router_addresses = [a.partition("/")[0] for c in vnf(vcpe, "rt")["vnfcs"] for a in c["addresses"]]
    assert seen in router_addresses


def test_a_forbidden_port_is_dropped_and_counted_by_the_firewall(manager: Manager, vcpe: dict[str, Any]) -> None:
    server = end_address(vcpe, "server")
    listener = Listener(manager, "vcpe", "server", FORBIDDEN)
    try:
        before = _dropped(manager, vcpe)
        assert call(manager, "vcpe", "client", server, FORBIDDEN, patience_s=4) == ""
        assert listener.served(FORBIDDEN) == []
        assert _dropped(manager, vcpe) > before
    finally:
        listener.close()


def test_the_picture_tells_container_microvm_and_vm_apart(
    manager: Manager, vcpe: dict[str, Any], tmp_path: Path
) -> None:
    picture = tmp_path / "vcpe.svg"
    assert manager.run("chain", "graph", "vcpe", "-o", str(picture)).code == 0
    text = picture.read_text()
    assert "<svg" in text[:500]
    for word in (*EXPECTED, *EXPECTED.values(), vnf(vcpe, "fw")["host"]):
        assert word in text, f"{word} is not in the picture"


def test_terminated_and_deleted_nothing_is_left(manager: Manager, vcpe: dict[str, Any]) -> None:
    op = manager.ask("chain", "terminate", "vcpe")
    assert op["state"] == "COMPLETED"
    manager.nothing_stands()
    shown = manager.ask("chain", "show", "vcpe")
    assert shown["state"] == "NOT_INSTANTIATED"
    manager.ask("chain", "delete", "vcpe")
    assert manager.ask("chain", "list") == []
    assert manager.refused("chain", "show", vcpe["id"])[0] == "not-found"


def _dropped(manager: Manager, chain: dict[str, Any]) -> int:
    """What the firewall's own counters say, read inside the VNF."""
    words = ("--", "nft", "-j", "list", "counters")
    done = manager.run("vnf", "exec", vnf(chain, "fw")["vnf_instance_id"], *words)
    assert done.code == 0, done.stderr
    counters = [e["counter"] for e in json.loads(done.stdout)["nftables"] if "counter" in e]
    return sum(c["packets"] for c in counters if c["name"] == "dropped_from_left")
