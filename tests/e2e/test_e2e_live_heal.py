"""What dies, hangs or loses its link is healed without a word from anyone; what is well is left alone; and there is an
end to trying."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_host import wait_until
from e2e_live import (
    SHORT_LIVED,
    assert_stands,
    await_heal,
    create,
    heals,
    machines,
    quiet,
    show,
    traced,
    undisturbed,
    variant,
    vnfcs,
)
from e2e_manager import Manager
from e2e_packages import FW, GW, MON, Packages, chain_file
from e2e_traffic import Pings, Streams

from plugins.local.net import naming

# two monitors: one that dies for the fifth time within ten minutes is given up
VNFS = {"fw": FW, "mon": MON, "tap": MON, "micro": f"{MON} kernel", "gw": GW}
RUNTIMES = {"fw": "CONTAINER", "mon": "CONTAINER", "tap": "CONTAINER", "micro": "KATA", "gw": "VM"}
STILL_S = 6.0  # for so long nothing may happen where nothing should
OUTAGE_BOUND_MS = {"CONTAINER": 5_000, "KATA": 30_000, "VM": 90_000}  # generous: the machine may be loaded


@pytest.fixture(scope="module")
def row(manager: Manager, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three containers, a microVM and a VM in a row."""
    return create(manager, chain_file(tmp_path_factory.mktemp("row"), "row", VNFS), RUNTIMES)


def inhabitants(manager: Manager, alias: str) -> list[int]:
    """The processes of one of the chain's VNFs."""
    return manager.witness.inhabitants(vnfcs(show(manager, "row"), alias)[0]["id"])


def machine(manager: Manager, alias: str) -> int:
    """The pid of a guest's qemu."""
    (pid,) = machines(inhabitants(manager, alias))
    return pid


def container_dies(manager: Manager) -> None:
    os.kill(inhabitants(manager, "mon")[0], signal.SIGKILL)


def firewall_dies(manager: Manager) -> None:
    os.kill(inhabitants(manager, "fw")[0], signal.SIGKILL)


def microvm_dies(manager: Manager) -> None:
    os.kill(machine(manager, "micro"), signal.SIGKILL)


def vm_dies(manager: Manager) -> None:
    os.kill(machine(manager, "gw"), signal.SIGKILL)


def microvm_hangs(manager: Manager) -> None:
    os.kill(machine(manager, "micro"), signal.SIGSTOP)


def vm_hangs(manager: Manager) -> None:
    os.kill(machine(manager, "gw"), signal.SIGSTOP)


def interface_vanishes(manager: Manager) -> None:
    namespace = naming.namespace_name(vnfcs(show(manager, "row"), "mon")[0]["id"])
    subprocess.run(["ip", "-n", namespace, "link", "delete", "right"], check=True)


FATES: dict[Callable[[Manager], None], str] = {
    container_dies: "mon",
    firewall_dies: "fw",
    interface_vanishes: "mon",
    microvm_dies: "micro",
    microvm_hangs: "micro",
    vm_dies: "gw",
    vm_hangs: "gw",
}
ALWAYS = (container_dies, interface_vanishes, microvm_dies, vm_dies)


@pytest.mark.parametrize(
    "fate", [f if f in ALWAYS else pytest.param(f, marks=pytest.mark.long) for f in FATES], ids=lambda f: f.__name__
)
def test_it_is_healed_by_itself(manager: Manager, row: dict[str, Any], fate: Callable[[Manager], None]) -> None:
    alias = FATES[fate]
    before, known = vnfcs(show(manager, "row"), alias)[0], len(heals(manager))
    with Pings(row) as pings:
        fate(manager)
        op = await_heal(manager, known)
        pings.flow(timeout_s=30)
    chain = show(manager, "row")
    after = vnfcs(chain, alias)[0]
    assert after["id"] != before["id"]
    assert (after["runtime"], after["addresses"]) == (before["runtime"], before["addresses"])
    print(f"{fate.__name__}: outage {op.get('outage_ms')} ms, pings: {pings.report.longest_gap_s * 1000:.0f} ms")
    assert 0 < op["outage_ms"] < OUTAGE_BOUND_MS[RUNTIMES[alias]]
    assert traced(manager, "row") == ["client", *VNFS, "server"]
    others = [c["id"] for v in row["vnfs"] for c in v["vnfcs"] if v["alias"] != alias]
    assert_stands(manager, chain)
    assert len(heals(manager)) == known + 1, "one death, one HEAL"
    assert others, "the others stand"


@pytest.mark.long
def test_a_healed_chain_keeps_connections_that_its_vnfs_allow(manager: Manager, row: dict[str, Any]) -> None:
    """The monitor keeps no state: what is lost is sent again, and no connection breaks."""
    known = len(heals(manager))
    with Streams(row, 8) as streams:
        container_dies(manager)
        await_heal(manager, known)
    streams.assert_none_broke()


def test_healing_is_ordered_by_hand_too_and_loses_nothing(manager: Manager, row: dict[str, Any]) -> None:
    before = vnfcs(show(manager, "row"), "mon")[0]
    with Streams(row) as streams, Pings(row) as pings:
        op = manager.ask("vnf", "heal", "row/mon", "--cause", "a new image is wanted")
        pings.flow()
    assert op["operation"] == "HEAL"
    assert vnfcs(show(manager, "row"), "mon")[0]["id"] != before["id"]
    pings.report.assert_none_lost()
    streams.assert_none_broke()
    assert_stands(manager, show(manager, "row"))


def test_a_restart_of_plugin_or_manager_heals_nothing_that_is_well(manager: Manager, row: dict[str, Any]) -> None:
    known = len(heals(manager))

    def restarts() -> None:
        manager.kill_plugin()
        assert wait_until(lambda: manager.ask("vim", "list")[0]["state"] == "CONNECTED", 30)
        time.sleep(STILL_S)
        manager.kill()
        manager.start()
        time.sleep(STILL_S)
        manager.stop()
        manager.start()
        time.sleep(STILL_S)

    with Pings(row) as pings:
        undisturbed(manager, show(manager, "row"), restarts)
        assert len(heals(manager)) == known
    pings.report.assert_none_lost()


@pytest.mark.parametrize("away", ["the manager", pytest.param("the plugin", marks=pytest.mark.long)])
def test_what_died_while_nobody_watched_is_healed_at_the_next_start(
    manager: Manager, row: dict[str, Any], away: str
) -> None:
    known = len(heals(manager))
    pid = inhabitants(manager, "tap")[0]
    if away == "the manager":
        manager.stop()
        os.kill(pid, signal.SIGKILL)
        manager.start()
    else:
        manager.kill_plugin()
        os.kill(pid, signal.SIGKILL)
    await_heal(manager, known)
    with Pings(row):
        pass
    assert_stands(manager, show(manager, "row"))


def test_deaths_beside_each_other_are_all_healed(manager: Manager, row: dict[str, Any]) -> None:
    firewall, monitor = inhabitants(manager, "fw")[0], inhabitants(manager, "mon")[0]
    before = {a: vnfcs(show(manager, "row"), a)[0]["id"] for a in ("fw", "mon")}
    os.kill(firewall, signal.SIGKILL)
    os.kill(monitor, signal.SIGKILL)

    def renewed() -> bool:
        chain = show(manager, "row")
        return all(vnfcs(chain, a)[0]["id"] != before[a] for a in before) and quiet(manager)

    assert wait_until(renewed, 60, every_s=0.3), [(o["target"], o["state"], o["error"]) for o in heals(manager)[:4]]
    with Pings(row) as pings:
        pass
    pings.report.assert_none_lost()
    assert_stands(manager, show(manager, "row"))


def test_terminated_after_all_that_nothing_is_left_and_nothing_is_healed(manager: Manager, row: dict[str, Any]) -> None:
    known = len(heals(manager))
    manager.take_down("row")
    manager.nothing_stands()
    time.sleep(2)
    assert len(heals(manager)) == known


@pytest.fixture
def doomed(manager: Manager, packages: Packages, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A chain with a VNF of which no instance lives on from some time from now."""
    doomsday = int(time.time()) + 20
    command = f'command: [ /bin/sh, -c, "[ $(date +%s) -lt {doomsday} ] || exit 3; exec /sbin/vnf" ]'
    edit = ("        sysctls:\n", f"        {command}\n        sysctls:\n")
    manager.onboard(variant(packages, tmp_path, SHORT_LIVED, "shortlived", edit))
    file = chain_file(tmp_path, "doomed", {"fw": FW, "short": SHORT_LIVED})
    yield create(manager, file, {"fw": "CONTAINER", "short": "CONTAINER"})
    manager.take_all_down(["default"])
    manager.nothing_stands()
    (package,) = [p for p in manager.ask("package", "list") if p["vnfd_id"] == SHORT_LIVED]
    manager.ask("package", "disable", package["id"])
    manager.ask("package", "delete", package["id"])


def test_healing_what_dies_at_once_each_time_comes_to_an_end_with_the_reason(
    manager: Manager, doomed: dict[str, Any]
) -> None:
    known = len(heals(manager))
    assert wait_until(lambda: time.time() > _doomsday(manager), 60, every_s=0.2)
    (pid, *_) = manager.witness.inhabitants(vnfcs(doomed, "short")[0]["id"])
    os.kill(pid, signal.SIGKILL)

    def given_up() -> bool:
        return bool(heals(manager)[: len(heals(manager)) - known]) and heals(manager)[0]["state"] == "FAILED_TEMP"

    assert wait_until(given_up, 150, every_s=0.5), heals(manager)[:3]
    op = heals(manager)[0]
    assert "ended" in op["error"]["detail"], op["error"]
    assert [s["name"] for s in op["steps"] if s["state"] == "FAILED"] == ["CONTAINER short/watcher"]
    tries = len(heals(manager)) - known
    assert tries <= 8, f"{tries} operations"
    time.sleep(STILL_S)
    assert len(heals(manager)) - known == tries, "given up means given up"
    assert manager.ask("chain", "show", "doomed")["state"] == "INSTANTIATED"
    manager.ask("op", "fail", op["id"])


def _doomsday(manager: Manager) -> int:
    """As the descriptor says it: looked up in the process's own words."""
    (vnfc,) = vnfcs(show(manager, "doomed"), "short")
    names = list((manager.witness.run_dir / "computes" / vnfc["id"]).rglob("config.json"))
    text = names[0].read_text()
    return int(text.partition("-lt ")[2].split()[0])
