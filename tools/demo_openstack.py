"""`make demo-openstack`: one chain over two VIMs, a container and a microVM on this host and a VM in an OpenStack.

The same story as `make demo`, on the cloud that OS_CLOUD names with the VIMs' configurations of VNFM_DEMO_VIMS, else on
the lab, which is brought up where it is not. Nothing is left on the host or in the cloud but what is kept for the next
chain: the image and the flavor.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[1:1] = [str(ROOT), str(ROOT / "tests")]

import demo  # noqa: E402
import yaml  # noqa: E402
from demo_tell import StoryError, Teller  # noqa: E402
from labs.openstack.lab import EMULATED, UNDERLAY, VXLAN_GROUP, VXLAN_PORT  # noqa: E402
from labs.openstack.standing import Cloud, standing  # noqa: E402

CHAIN_FILE = "descriptors/chains/vcpe-two-vims.yaml"
VIMS_ENV = "VNFM_DEMO_VIMS"
CLOUD_VIM = "pop1"
OUR_ADDRESS = "198.51.100.201"
KEPT = ("image", "flavor")


class TwoVims(demo.Demo):
    """The story of the chain over both."""

    name = "vcpe-two-vims"
    route = "fw → gw → rt"
    expected = {"fw": "CONTAINER", "gw": "VM", "rt": "KATA"}  # noqa: RUF012
    meaning = "what each is realized as follows from its VNFD; that gw is in the cloud the chain's file says"

    def play(self) -> None:
        """All steps in order; StoryError where one does not hold."""
        self.chain_file = CHAIN_FILE
        with self.teller.step("The manager, with two VIMs"):
            self.prepare()
            self.two_vims()
        with self.teller.step("VNF packages: built, checked, onboarded"):
            self.onboard()
        with self.teller.step("The plan: which VIM, what joins them, and why"):
            self.plan()
            self.joined()
        with self.teller.step(f"The chain {self.name} is created"):
            self.create()
        with self.teller.step("Real traffic crosses both VIMs"):
            self.traffic()
        with self.teller.step("Everything is taken down, and nothing is left"):
            self.take_down()

    def two_vims(self) -> None:
        """Both are connected, and reach one network."""
        self.cli.ask("vim", "inventory", CLOUD_VIM)  # waits until the cloud has told
        self.cli.show("vim", "list")
        found = {vim["name"]: vim["state"] for vim in self.cli.ask("vim", "list")}
        if set(found.values()) != {"CONNECTED"} or CLOUD_VIM not in found:
            raise StoryError(f"expected two VIMs that are CONNECTED, found {found}")

    def joined(self) -> None:
        """Two links cross the border, each by a segment that Neutron chooses."""
        plan = self.cli.ask("chain", "plan", self.chain_file)
        tied = [link["segment"] for link in plan["links"] if link["segment"]]
        if len(tied) != 2:
            raise StoryError(f"expected two links over the border, the plan says {tied}")
        words = ", ".join(f"{one['encap']} on {one['network']}, {one['leads']} leads" for one in tied)
        self.teller.good(f"two links go on in the other VIM: {words}")

    def take_down(self) -> None:
        """The chain goes; then both the cloud and the host are looked at."""
        for name in tuple(self.standing):
            self.terminate(name)
        left = left_in_cloud(self.manager.state, cloud_of(self.manager.options))
        if left:
            raise StoryError("left in the cloud: " + ", ".join(left))
        self.teller.good(f"in the cloud no stack, server, network or group of ours is left; kept: {' and '.join(KEPT)}")
        super().take_down()


def cloud_of(options: list[str]) -> dict[str, Any]:
    """The cloud VIM's configuration, out of the manager's options."""
    file = next(word.partition(":")[2] for word in options if word.startswith(f"{CLOUD_VIM}=openstack:"))
    found: dict[str, Any] = yaml.safe_load(Path(file).read_text())
    return found


def left_in_cloud(state: Path, config: dict[str, Any]) -> list[str]:
    """What bears the manager's stamp, as the cloud's own lists have it."""
    import openstack

    from plugins.openstack.corrections import META_MANAGER
    from plugins.openstack.stamp import manager_tag, stack_name

    with closing(sqlite3.connect(f"file:{state / 'vnfm.sqlite'}?mode=ro", uri=True)) as database:
        manager_id = str(database.execute("SELECT id FROM manager").fetchone()[0])
    begin = stack_name(manager_id, "x")[:-1]
    given = {"OS_CLIENT_CONFIG_FILE": str(config["clouds_file"])} if "clouds_file" in config else {}
    os.environ.update(given)
    with closing(openstack.connect(cloud=config["cloud"])) as cloud:
        found = [f"stack {one.name}" for one in cloud.orchestration.stacks(tags=manager_tag(manager_id))]
        servers = cloud.compute.servers(details=True)
        found += [f"server {one.name}" for one in servers if one.metadata.get(META_MANAGER) == manager_id]
        for kind, listed in (("network", cloud.network.networks), ("security group", cloud.network.security_groups)):
            found += [f"{kind} {one.name}" for one in listed() if str(one.name).startswith(begin)]
    return found


@contextmanager
def two_vims(teller: Teller) -> Iterator[tuple[str, ...]]:
    """The local VIM and the cloud, by the operator's configurations, or by the lab's underlay."""
    found = standing(os.environ)
    if isinstance(found, str):
        teller.line(f"{found}; bringing the lab up, which takes some minutes the first time")
        if subprocess.run(
            [sys.executable, "-m", "labs.openstack", "up"], env=lab_environment(), check=False
        ).returncode:
            raise StoryError("the lab did not come up: see `make lab-openstack-status`")
        found = standing(os.environ)
    if isinstance(found, str):
        raise StoryError(found)
    if found.lab is None:
        yield operators_vims()
        return
    teller.line("the lab stays up afterwards: `make lab-openstack-down` takes it away")
    with closing_wire(teller) as wire:
        yield labs_vims(found, wire)


def lab_environment() -> dict[str, str]:
    """For the lab's own commands."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}


def operators_vims() -> tuple[str, ...]:
    """A cloud of somebody's: how this host reaches its networks only its operator knows."""
    folder = Path(os.environ.get(VIMS_ENV, ""))
    files = [folder / "local.yaml", folder / f"{CLOUD_VIM}.yaml"]
    if VIMS_ENV not in os.environ or not all(file.is_file() for file in files):
        raise StoryError(
            f"OS_CLOUD is set: name in {VIMS_ENV} a folder with local.yaml and {CLOUD_VIM}.yaml, the VIMs' "
            "configurations with a network that both reach (docs/vim-openstack.md); or unset OS_CLOUD for the lab"
        )
    return f"local=local:{files[0]}", f"{CLOUD_VIM}=openstack:{files[1]}"


def labs_vims(cloud: Cloud, wire: str) -> tuple[str, ...]:
    """The lab's tunnels go over a bridge on this host, which a namespace of ours is plugged into."""
    tunnels = {"encaps": ["VXLAN"], "udp_port": VXLAN_PORT, "group": VXLAN_GROUP}
    here = {"networks": {"tunnels": {**tunnels, "interface": "cable", "namespace": wire, "address": OUR_ADDRESS}}}
    there = {
        "cloud": cloud.admin,
        "clouds_file": str(cloud.clouds_file),
        "zones": [EMULATED.partition("-")[0]],  # the one with a host that really boots guests
        "networks": {"tunnels": tunnels},
    }
    files = {"local": here, CLOUD_VIM: there}
    for name, content in files.items():
        (demo.BUILD / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return f"local=local:{demo.BUILD / 'local.yaml'}", f"{CLOUD_VIM}=openstack:{demo.BUILD / f'{CLOUD_VIM}.yaml'}"


@contextmanager
def closing_wire(teller: Teller) -> Iterator[str]:
    """A network namespace with a cable into the lab's underlay, as of another machine there."""
    name = f"demo-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:7]}"
    plug = f"{name}-p"
    orders = (
        f"ip netns add {name}",
        f"ip link add {plug} type veth peer name cable netns {name}",
        f"ip link set {plug} master {UNDERLAY} up",
        f"ip -n {name} address add {OUR_ADDRESS}/24 dev cable",
        f"ip -n {name} link set lo up",
        f"ip -n {name} link set cable up",
    )
    unplug(name, plug)  # of a demo that was broken off
    try:
        for order in orders:
            teller.command(order.split())
            done = subprocess.run(order.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                raise StoryError(f"`{order}`: {done.stderr.strip()}")
        yield name
    finally:
        unplug(name, plug)


def unplug(name: str, plug: str) -> None:
    """Away with it; success also where it is not there."""
    for order in (f"ip link delete {plug}", f"ip netns delete {name}"):
        subprocess.run(order.split(), capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(demo.main(TwoVims, two_vims))
