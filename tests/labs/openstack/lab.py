"""The lab's ground plan: where its files are, which ports it takes, what its parts are called. No I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

HOST = "127.0.0.1"
REGION = "RegionOne"
FOLDER_ENV = "VNFM_LAB_OPENSTACK"
DEFAULT_FOLDER = "/var/tmp/vnfm-lab-openstack"

# Everything listens on the loopback interface only; the numbers of the APIs are the usual ones.
PORTS: Mapping[str, int] = MappingProxyType(
    {
        "keystone": 5000,
        "nova": 8774,
        "metadata": 8775,
        "placement": 8778,
        "heat": 8004,
        "glance": 9292,
        "neutron": 9696,
        "mariadb": 15306,
        "epmd": 15369,
        "rabbitmq": 15670,
        "rabbitmq_nodes": 15671,
    }
)

EMULATED = "tcg-1"

# The site's switches are bridges on this host. Whoever plugs a veth into one is another machine on that wire. Neutron's
# agent has an end of its own on each: it takes what it is given into bridges that it makes and unmakes.
WIRES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"physnet1": ("br-lab1", "lab-up1"), "physnet2": ("br-lab2", "lab-up2")}
)
# VXLAN's underlay is a bridge without ports: flooded frames leave by it and end there. On the loopback interface they
# would come back in, and bridges would learn a guest's address on the wrong port.
UNDERLAY = "br-labtun"
UNDERLAY_ADDRESS = "198.51.100.1/24"
VXLAN_PORT = 14789
VXLAN_GROUP = "224.0.0.1"


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab: its state folder and how many simulated compute hosts it has."""

    folder: Path
    simulated: int = 2

    @property
    def simulated_hosts(self) -> tuple[str, ...]:
        """The names of the simulated compute hosts."""
        return tuple(f"sim-{number}" for number in range(1, self.simulated + 1))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of all compute hosts."""
        return (*self.simulated_hosts, EMULATED)

    @property
    def clouds(self) -> Path:
        """The clouds.yaml that leads to this lab."""
        return self.folder / "clouds.yaml"

    def etc(self, *parts: str) -> Path:
        """A configuration file."""
        return self.folder.joinpath("etc", *parts)

    def log(self, name: str) -> Path:
        """The log of a service or a step."""
        return self.folder / "log" / f"{name}.log"

    def run(self, name: str) -> Path:
        """A socket or a process's record."""
        return self.folder / "run" / name

    def data(self, *parts: str) -> Path:
        """What a service keeps."""
        return self.folder.joinpath("data", *parts)

    def environment(self) -> dict[str, str]:
        """What every service runs with: no proxy, nothing of the caller's Python, commands of its own."""
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder / "home"),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(self.folder / "python"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
            FOLDER_ENV: str(self.folder),
        }


def url(api: str, path: str = "") -> str:
    """Where one of the APIs answers."""
    return f"http://{HOST}:{PORTS[api]}{path}"


# service user -> (type in the catalogue, its address there)
CATALOGUE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "glance": ("image", url("glance")),
        "placement": ("placement", url("placement")),
        "nova": ("compute", url("nova", "/v2.1")),
        "neutron": ("network", url("neutron")),
        "heat": ("orchestration", url("heat", "/v1/%(tenant_id)s")),
    }
)


def default_folder() -> Path:
    """The state folder where none is named."""
    return Path(os.environ.get(FOLDER_ENV) or DEFAULT_FOLDER).absolute()
