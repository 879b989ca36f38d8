"""One chain over two VIMs that know of each other by a network outside only: containers here, the rest there, with
packets counted by both, healed, changed, killed in the middle, and gone without a trace."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_chains import assert_probe_counted, vnf
from e2e_host import Witness, wait_until
from e2e_live import order, show, traced
from e2e_manager import Manager, private_folder
from e2e_packages import FW, MON, Packages
from e2e_traffic import Pings

MICRO = f"{MON} kernel"
OUTAGE_PATIENCE_S = 180.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Outside:
    """Two namespaces, as of two hosts: in each an interface `eth0` and a bridge `br-out`, each wired to the other's."""

    names: tuple[str, str]

    def make(self) -> None:
        one, other = self.names
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "add", "br-out", "type", "bridge")
        for wire in ("eth0", "wire"):
            ip("-n", one, "link", "add", wire, "type", "veth", "peer", "name", wire, "netns", other)
        for number, name in enumerate(self.names, 1):
            ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "wire", "master", "br-out")
            for device in ("lo", "eth0", "wire", "br-out"):
                ip("-n", name, "link", "set", device, "up")

    def devices(self) -> list[list[str]]:
        """What is in each of them."""
        told = (
            subprocess.run(["ip", "-n", n, "-br", "link"], check=True, capture_output=True, text=True, timeout=30)
            for n in self.names
        )
        return [sorted(line.split("@")[0].split()[0] for line in one.stdout.splitlines()) for one in told]

    def remove(self) -> None:
        for name in self.names:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    made = Outside((f"vnfm-t-{uuid.uuid4().hex[:8]}", f"vnfm-t-{uuid.uuid4().hex[:8]}"))
    try:
        made.make()
        yield made
    finally:
        made.remove()


NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "under": {"interface": "eth0", "encaps": ["VXLAN"]},
    "flooded": {"interface": "eth0", "encaps": ["VXLAN"], "udp_port": 14789, "group": "239.3.3.3"},
    "phys": {"interface": "br-out", "encaps": ["FLAT"]},
    "tagged": {"interface": "eth0", "encaps": ["VLAN"], "vlan_ids": [100, 199]},
}


def configured(folder: Path, outside: Outside, network: str) -> list[str]:
    """Two local VIMs, each by one side of the network."""
    words = []
    for name, namespace in zip("ab", outside.names, strict=True):
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"networks": {network: {**NETWORKS[network], "namespace": namespace}}}))
        words.append(f"{name}=local:{file}")
    return words


@dataclass
class Two:
    """A manager with VIMs `a` and `b`, and one who looks after what b leaves on the host."""

    manager: Manager
    beside: Witness
    outside: Outside

    def nothing_stands(self) -> None:
        self.manager.nothing_stands()
        assert self.beside.nothing_stands(but=self.manager.own_pids()) == []
        assert self.outside.devices() == [sorted(["br-out", "eth0", "lo", "wire"])] * 2


def started(root: Path, outside: Outside, network: str, packages: Packages) -> Two:
    state = root / "state"
    manager = Manager(root, configured(root, outside, network), run_dir=state / "vim/a/data/run")
    two = Two(manager, Witness(state, state / "vim/b/data/run", manager.temp), outside)
    manager.start()
    manager.onboard(packages.csar("fw"), packages.csar("mon"))
    return two


@pytest.fixture(scope="module")
def two(outside: Outside, packages: Packages, managers: list[Manager]) -> Two:
    made = started(private_folder(), outside, "under", packages)
    managers.append(made.manager)
    return made


def chain_over(folder: Path, name: str, vnfs: Mapping[str, tuple[str, str]]) -> Path:
    """A chain with each VNF held to a VIM, given as alias: (VNFD with level, VIM)."""
    entries = {a: dict(zip(("vnfd", "level"), v.split(), strict=False)) | {"vim": vim} for a, (v, vim) in vnfs.items()}
    file = folder / f"{name}.yaml"
    ends = {"client": {"cidr": "10.1.0.0/24"}, "server": {"cidr": "10.9.0.0/24"}}
    document = {"chain": name, "ends": ends, "vnfs": entries, "path": ["client", *vnfs, "server"]}
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def vims_of(chain: dict[str, Any]) -> dict[str, str]:
    return {v["alias"]: v["vim"] for v in chain["vnfs"]}


def assert_well(manager: Manager, chain: dict[str, Any]) -> None:
    """Packets are counted at every hop of both VIMs, and seen there in the right order."""
    assert_probe_counted(chain)
    hops = [h["from"] for h in chain["probe"]["hops"]] + [chain["probe"]["hops"][-1]["to"]]
    assert hops == order(chain)
    assert traced(manager, chain["name"]) == hops


def test_a_container_here_and_a_microvm_there(two: Two, tmp_path: Path) -> None:
    """Planned, created, probed, with traffic while either end of the border is healed, torn down."""
    manager = two.manager
    file = chain_over(tmp_path, "over", {"fw": (FW, "a"), "micro": (MICRO, "b"), "mon": (MON, "b")})
    plan = manager.ask("chain", "plan", str(file))
    (tied,) = [link for link in plan["links"] if link["segment"]]
    assert tied["segment"] == {"network": "under", "encap": "VXLAN", "vims": ["a", "b"], "leads": "a"}
    assert manager.ask("chain", "create", str(file))["state"] == "COMPLETED"
    chain = show(manager, "over")
    assert vims_of(chain) == {"fw": "a", "micro": "b", "mon": "b"}
    assert [v["runtime"] for v in chain["vnfs"]] == ["CONTAINER", "KATA", "CONTAINER"]
    assert_well(manager, chain)
    with Pings(chain, 200) as pings:
        for alias in ("fw", "micro"):
            healed = manager.ask("vnf", "heal", vnf(chain, alias)["vnf_instance_id"])
            assert healed["state"] == "COMPLETED", healed
    report = pings.report
    assert report.lost_count < report.sent / 2, report
    chain = show(manager, "over")
    assert_well(manager, chain)
    changed = manager.ask("chain", "insert", "over", "--vnf", MON, "--as", "tap", "--after", "micro")
    assert changed["state"] == "COMPLETED", changed
    chain = show(manager, "over")
    assert vims_of(chain)["tap"] == "b"
    assert_well(manager, chain)
    assert manager.ask("chain", "remove", "over", "tap")["state"] == "COMPLETED"
    manager.take_down("over")
    two.nothing_stands()


def test_what_cannot_be_done_beside_a_border_is_refused_by_name(two: Two, tmp_path: Path) -> None:
    manager = two.manager
    file = chain_over(tmp_path, "fixed", {"fw": (FW, "a"), "mon": (MON, "b")})
    assert manager.ask("chain", "create", str(file))["state"] == "COMPLETED"
    word, detail = manager.refused("chain", "insert", "fixed", "--vnf", MON, "--as", "tap", "--before", "mon")
    assert (word, "leads into another VIM" in detail) == ("unsupported", True), detail
    word, detail = manager.refused("chain", "remove", "fixed", "mon")
    assert (word, "goes over VIMs (a -> b)" in detail) == ("unsupported", True), detail
    assert_well(manager, show(manager, "fixed"))
    manager.take_down("fixed")
    two.nothing_stands()


def test_killed_in_the_middle_it_goes_on_and_leaves_nothing(two: Two, tmp_path: Path) -> None:
    """kill -9 of the manager once the first half of the border stands, and of nothing else."""
    manager = two.manager
    file = chain_over(tmp_path, "cut", {"fw": (FW, "a"), "micro": (MICRO, "b"), "mon": (MON, "a")})
    op = manager.ask("chain", "create", str(file), "--no-wait")

    def is_joined() -> bool:
        steps = manager.ask("op", "show", op["id"])["steps"]
        return any(s["name"].startswith("join ") and s["state"] == "DONE" for s in steps)

    assert wait_until(is_joined, OUTAGE_PATIENCE_S, every_s=0.05), manager.words()
    manager.kill()
    manager.start()
    manager.completed(op["id"], OUTAGE_PATIENCE_S)
    chain = show(manager, "cut")
    assert vims_of(chain) == {"fw": "a", "micro": "b", "mon": "a"}
    assert_well(manager, chain)
    manager.take_down("cut")
    two.nothing_stands()


@pytest.mark.parametrize("network", [n for n in NETWORKS if n != "under"])
def test_other_networks_join_as_well(
    network: str, outside: Outside, packages: Packages, managers: list[Manager], tmp_path: Path
) -> None:
    made = started(private_folder(), outside, network, packages)
    managers.append(made.manager)
    file = chain_over(tmp_path, "over", {"fw": (FW, "a"), "mon": (MON, "b")})
    planned = made.manager.run("chain", "plan", str(file), "-o", "json")
    if network == "tagged" and planned.code == 1:
        refused = planned.json["refused"]["detail"]
        assert "this kernel makes no VLAN devices" in refused
        pytest.skip(refused)
    assert made.manager.ask("chain", "create", str(file))["state"] == "COMPLETED"
    assert_well(made.manager, show(made.manager, "over"))
    made.manager.take_down("over")
    made.nothing_stands()
