"""The config drive: a small FAT volume labelled `config-2`, as OpenStack has it, plus `vnfm/network` in plain lines.

openstack/latest/meta_data.json, network_data.json, user_data
vnfm/network    hostname NAME · nic MAC NAME MTU ADDRESS/PREFIX[,…] · route DESTINATION via GATEWAY dev NAME
"""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.local import process

LABEL = "config-2"
_MIN_KIB, _SLACK_KIB = 1024, 256


@dataclass(frozen=True, slots=True)
class DriveNic:
    """A NIC as the guest shall set it up."""

    mac: str
    name: str
    mtu_bytes: int
    ips: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]


def contents(resource_id: str, hostname: str, nics: Sequence[DriveNic], user_data: bytes) -> dict[str, bytes]:
    """Path -> bytes, all of the drive."""
    meta = {"uuid": resource_id, "name": hostname, "hostname": hostname}
    files = {
        "openstack/latest/meta_data.json": json.dumps(meta).encode(),
        "openstack/latest/network_data.json": json.dumps(network_data(nics)).encode(),
        "vnfm/network": network_lines(hostname, nics).encode(),
    }
    if user_data:
        files["openstack/latest/user_data"] = user_data
    return files


def network_lines(hostname: str, nics: Sequence[DriveNic]) -> str:
    """For guests that read lines."""
    lines = [f"hostname {hostname}"]
    lines += [f"nic {nic.mac} {nic.name} {nic.mtu_bytes} {','.join(nic.ips) or '-'}" for nic in nics]
    lines += [
        f"route {destination} via {gateway} dev {nic.name}" for nic in nics for destination, gateway in nic.routes
    ]
    return "\n".join(lines) + "\n"


def network_data(nics: Sequence[DriveNic]) -> dict[str, Any]:
    """OpenStack's network_data.json: links by MAC, networks with addresses and routes."""
    links, networks = [], []
    for number, nic in enumerate(nics):
        link: dict[str, Any] = {"id": nic.name, "type": "phy", "ethernet_mac_address": nic.mac}
        links.append({**link, "mtu": nic.mtu_bytes} if nic.mtu_bytes else link)
        for index, text in enumerate(nic.ips):
            interface = ipaddress.ip_interface(text)
            routes = [
                {"network": str(net.network_address), "netmask": str(net.netmask), "gateway": gateway}
                for destination, gateway in (nic.routes if index == 0 else ())
                for net in [ipaddress.ip_network(destination, strict=False)]
            ]
            networks.append(
                {
                    "id": f"network{number}-{index}",
                    "link": nic.name,
                    "type": f"ipv{interface.version}",
                    "ip_address": str(interface.ip),
                    "netmask": str(interface.netmask),
                    "routes": routes,
                }
            )
    return {"links": links, "networks": networks, "services": []}


def write(image: Path, files: dict[str, bytes]) -> None:
    """Makes the volume. CommandFailed where the tools refuse."""
    tree = image.with_suffix(".tree")
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    try:
        size_kib = max(_MIN_KIB, sum(len(data) // 512 for data in files.values()) + _SLACK_KIB)
        image.unlink(missing_ok=True)
        process.run(["mkfs.vfat", "-n", LABEL, "-C", str(image), str(size_kib)])
        process.run(["mcopy", "-s", "-i", str(image), *(str(path) for path in sorted(tree.iterdir())), "::/"])
    finally:
        shutil.rmtree(tree)
