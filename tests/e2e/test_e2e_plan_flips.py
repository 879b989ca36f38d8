"""Another need, another realization; and a need that no host meets, refused before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e_chains import assert_probe_counted
from e2e_manager import Manager, private_folder
from e2e_packages import FW, GW, RT, VCPE, Packages, chain_file

LATENCY_OF_FW = """
          latency:  # what the realization may add at each end of a link, in microseconds
            requested_additional_capability_name: latency
            support_mandatory: true
            target_performance_parameters: { hop_us: "50" }"""
UNMEETABLE = {
    "more memory than any host has": ("rt", ("128 MiB", "10 TiB"), "memory"),
    "a host trusted more than any is": ("rt", ("{ level: kernel }", "{ level: kernel, trust_level: 3 }"), "trust"),
    "a kernel of its own within 1 us per hop": (
        "fw",
        ("level: tenant }", "level: kernel }"),
        "50 us",
    ),
}


@pytest.fixture
def bare(managers: list[Manager]) -> Manager:
    """A manager that knows no package yet: each story brings its own copies."""
    found = Manager(private_folder())
    managers.append(found)
    found.start()
    return found


def runtimes(plan: dict[str, Any]) -> dict[str, str]:
    """What each VNF would become."""
    return {v["alias"]: v["runtime"] for v in plan["vnfs"]}


def test_lower_needs_for_rt_and_higher_ones_for_fw_flip_the_plan(
    bare: Manager, packages: Packages, tmp_path: Path
) -> None:
    weaker = packages.changed("rt", tmp_path, ("{ level: kernel }", "{ level: tenant }"))
    stronger = packages.changed("fw", tmp_path, ("{ level: tenant }", "{ level: kernel }"), (LATENCY_OF_FW, ""))
    bare.onboard(weaker, stronger, packages.csar("gw"))
    plan = bare.ask("chain", "plan", str(VCPE))
    assert runtimes(plan) == {"fw": "KATA", "rt": "CONTAINER", "gw": "VM"}
    # and what is planned is what is made
    flipped = chain_file(tmp_path, "flipped", {"fw": FW, "rt": RT})
    assert bare.ask("chain", "create", str(flipped))["state"] == "COMPLETED"
    chain = bare.ask("chain", "show", "flipped")
    assert runtimes(chain) == {"fw": "KATA", "rt": "CONTAINER"}
    assert_probe_counted(chain)
    bare.take_down("flipped")
    bare.nothing_stands()


@pytest.mark.parametrize("need", UNMEETABLE)
def test_a_need_that_no_host_meets_is_refused_with_proof(
    bare: Manager, packages: Packages, tmp_path: Path, need: str
) -> None:
    name, edit, word = UNMEETABLE[need]
    others = [packages.csar(n) for n in ("fw", "rt", "gw") if n != name]
    bare.onboard(packages.changed(name, tmp_path, edit), *others)
    done = bare.run("chain", "plan", str(VCPE), "-o", "json")
    assert done.code == 1, done
    plan = done.json
    assert plan["feasible"] is False
    refused = plan["refused"]
    assert refused["proof"], refused
    assert refused["minimal_change"], refused
    assert word in f"{refused}", refused
    assert done.problem == "no-placement"
    # nor is it created
    created, detail = bare.refused("chain", "create", str(VCPE))
    assert created == "no-placement", detail
    assert bare.ask("chain", "list") == []
    assert bare.ask("vnf", "list") == []
    assert bare.open_operations() == []
    bare.nothing_stands()


def test_the_chain_that_was_refused_can_be_created_once_the_need_is_met(
    bare: Manager, packages: Packages, tmp_path: Path
) -> None:
    greedy = packages.changed("rt", tmp_path, ("128 MiB", "10 TiB"))
    bare.onboard(greedy)
    chain = chain_file(tmp_path, "later", {"rt": RT})
    assert bare.refused("chain", "create", str(chain))[0] == "no-placement"
    (package,) = bare.ask("package", "list")
    bare.ask("package", "disable", package["id"])
    bare.ask("package", "delete", package["id"])
    bare.onboard(packages.csar("rt"))
    assert bare.ask("chain", "create", str(chain))["state"] == "COMPLETED"
    bare.take_down("later")
    bare.nothing_stands()


def test_each_need_of_gw_alone_asks_for_a_vm(bare: Manager, packages: Packages, tmp_path: Path) -> None:
    bare.onboard(packages.csar("gw"))
    plan = bare.ask("chain", "plan", str(chain_file(tmp_path, "alone", {"gw": GW})))
    assert runtimes(plan) == {"gw": "VM"}
