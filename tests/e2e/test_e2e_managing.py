"""Managers come and go, clients repeat themselves, tenants share a host: what people rely on beyond one chain."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from e2e_chains import assert_each_exists_once, assert_probe_counted, end_address
from e2e_host import wait_until
from e2e_manager import ROOT, Listener, Manager, call, fresh_request_id
from e2e_packages import FW, VCPE, chain_file

PORT = 8080


@pytest.fixture
def quick(tmp_path: Path, clean_end: None) -> Path:
    """A chain of two containers."""
    return chain_file(tmp_path, "quick", {"a": FW, "b": FW})


def test_a_second_manager_on_the_state_folder_is_refused_by_name(manager: Manager) -> None:
    assert manager.process is not None
    argv = manager.command()
    argv[argv.index("--listen") + 1] = f"unix:{manager.root / 'second.sock'}"
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(manager.state) in done.stderr
    assert str(manager.process.pid) in done.stderr
    assert "ready" not in done.stdout
    assert manager.ask("vim", "list")[0]["state"] == "CONNECTED", "the first one goes on"


def test_sigterm_in_the_middle_of_creating_then_the_next_start_goes_on(manager: Manager, clean_end: None) -> None:
    op_id = manager.ask("chain", "create", str(VCPE), "--no-wait")["id"]
    seen = [manager.ask("op", "show", op_id)]
    while seen[-1]["progress_percent"] < 10 and seen[-1]["state"] in ("STARTING", "PROCESSING"):
        seen.append(manager.ask("op", "show", op_id))
    assert seen[-1]["state"] == "PROCESSING", [(s["state"], s["progress_percent"]) for s in seen]
    assert manager.stop() == 0
    manager.start()
    manager.completed(op_id)
    chain = manager.ask("chain", "show", "vcpe")
    assert_probe_counted(chain)
    assert_each_exists_once(manager, chain)


def _well(manager: Manager, chain: str) -> dict[str, Any]:
    """The chain as shown once the plugin has told of each VNF that it is well: nobody knows before."""
    shown = []

    def told() -> bool:
        shown.append(manager.ask("chain", "show", chain))
        return all(v["health"]["state"] == "WELL" for v in shown[-1]["vnfs"])

    assert wait_until(told, 10), shown[-1]
    return shown[-1]


def test_what_was_realized_stays_running_over_a_restart(manager: Manager, quick: Path) -> None:
    manager.ask("chain", "create", str(quick))
    before = _well(manager, "quick")
    lives = {c["id"]: manager.witness.inhabitants(c["id"]) for v in before["vnfs"] for c in v["vnfcs"]}
    assert all(lives.values())
    manager.stop()
    assert {i: manager.witness.inhabitants(i) for i in lives} == lives, "they run without a manager"
    manager.start()
    assert _well(manager, "quick") == before
    listener = Listener(manager, "quick", "server", PORT)
    try:
        assert call(manager, "quick", "client", end_address(before, "server"), PORT)
    finally:
        listener.close()
    assert {i: manager.witness.inhabitants(i) for i in lives} == lives
    manager.take_down("quick")
    manager.nothing_stands()


def test_a_repeated_request_id_is_the_same_request(manager: Manager, quick: Path) -> None:
    same = fresh_request_id()
    first = manager.ask("chain", "create", str(quick), "--request-id", same)
    again = manager.ask("chain", "create", str(quick), "--request-id", same)
    assert first["id"] == again["id"]
    assert again["state"] == "COMPLETED"
    assert len(manager.ask("chain", "list")) == 1
    ending = fresh_request_id()
    ends = {manager.ask("chain", "terminate", "quick", "--request-id", ending)["id"] for _ in range(2)}
    assert len(ends) == 1


def test_a_wait_that_is_over_before_the_operation_exits_4(manager: Manager, clean_end: None) -> None:
    waited = manager.run("chain", "create", str(VCPE), "--timeout", "0.1", "-o", "json")
    assert waited.code == 4, waited
    creating = [op for op in manager.ask("op", "list") if op["operation"] == "CHAIN_CREATE"]
    manager.completed(max(creating, key=lambda op: op["started_at"])["id"])
    terminated = manager.run("chain", "terminate", "vcpe", "--timeout", "0.001", "-o", "json")
    assert terminated.code == 4, terminated
    assert wait_until(lambda: manager.ask("chain", "show", "vcpe")["state"] == "NOT_INSTANTIATED", 60)


def test_an_unreachable_manager_exits_3_soon(manager: Manager, tmp_path: Path) -> None:
    begun = time.monotonic()
    done = manager.run("chain", "list", "--endpoint", f"unix:{tmp_path / 'nobody.sock'}", "-o", "json")
    assert done.code == 3, done
    assert "nobody.sock" in done.stderr
    assert time.monotonic() - begun < 30


def test_tenants_do_not_see_each_others_chains(manager: Manager, quick: Path) -> None:
    manager.ask("chain", "create", str(quick))
    chain = manager.ask("chain", "show", "quick")
    instance = chain["vnfs"][0]["vnf_instance_id"]
    operation = manager.ask("op", "list")[0]["id"]
    for kind in ("chain", "vnf", "op", "package"):
        assert manager.ask(kind, "list", tenant="other") == [], kind
    for words in (
        ("chain", "show", "quick"),
        ("chain", "show", chain["id"]),
        ("chain", "terminate", chain["id"]),
        ("chain", "delete", chain["id"]),
        ("vnf", "show", instance),
        ("vnf", "terminate", instance),
        ("op", "show", operation),
        ("op", "rollback", operation),
    ):
        assert manager.refused(*words, tenant="other")[0] == "not-found", words
    assert manager.run("chain", "exec", "quick", "client", "--", "true", tenant="other").code == 1
    assert manager.run("vnf", "exec", instance, "--", "true", tenant="other").code == 1
    assert manager.ask("chain", "show", "quick") == chain
