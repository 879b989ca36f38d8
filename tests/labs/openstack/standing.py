"""Which OpenStack tests may use: the one that OS_CLOUD names, else the lab where it is up."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .lab import DEFAULT_FOLDER, FOLDER_ENV, HOST, PORTS, UNDERLAY, WIRES

ADMIN_ENV = "VNFM_OPENSTACK_ADMIN_CLOUD"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud as tests see it: names of clouds.yaml, and how this host reaches its wires.

    `clouds_file` is None where openstacksdk's own search applies; `admin`, `application` (an application credential of
    the member's project) and `second` (another plain tenant) are None where nobody named one. `wires` leads from
    physical networks to bridges on this host, `underlay` is the bridge that carries VXLAN; empty where there is none.
    `lab` is the lab's state folder, None on any other cloud.
    """

    member: str
    clouds_file: Path | None = None
    admin: str | None = None
    application: str | None = None
    second: str | None = None
    wires: Mapping[str, str] = field(default_factory=dict)
    underlay: str = ""
    lab: Path | None = None


def standing(environment: Mapping[str, str]) -> Cloud | str:
    """The cloud for tests, or why there is none."""
    folder = Path(environment.get(FOLDER_ENV) or DEFAULT_FOLDER)
    own = folder / "clouds.yaml"
    file = environment.get("OS_CLIENT_CONFIG_FILE", "")
    name = environment.get("OS_CLOUD", "")
    if name and file != str(own):
        wires = {physical: bridge for physical, (bridge, _) in WIRES.items() if _is_link(bridge)}
        found = Path(file) if file else None
        return Cloud(name, found, environment.get(ADMIN_ENV), wires=wires, underlay=UNDERLAY if wires else "")
    if not own.exists() or not _listens(PORTS["keystone"]):
        return f"needs an OpenStack: OS_CLOUD is not set and no lab is up in {folder} (make lab-openstack)"
    wires = {physical: bridge for physical, (bridge, _) in WIRES.items()}
    return Cloud("lab", own, "lab-admin", "lab-app", "lab-two", wires, UNDERLAY, folder)


def _is_link(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((HOST, port)) == 0
