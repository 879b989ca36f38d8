"""What is there to begin with: flavors, images, availability zones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .identities import Connection
from .lab import EMULATED, Lab


@dataclass(frozen=True, slots=True)
class Flavor:
    """A Nova flavor; `specs` are its extra specs."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    specs: Mapping[str, str] = field(default_factory=dict)


PINNED = {"hw:cpu_policy": "dedicated", "hw:mem_page_size": "1GB", "hw:numa_nodes": "1"}
FLAVORS: Mapping[str, Flavor] = {
    "lab.guest": Flavor(1, 160, 1),
    "m1.tiny": Flavor(1, 512, 1),
    "m1.small": Flavor(1, 2048, 10),
    "m1.medium": Flavor(2, 4096, 20),
    "telco.pinned": Flavor(4, 4096, 10, PINNED),
}
# Simulated hosts do not look into an image.
EMPTY_IMAGE_BYTES = 1 << 20


def seed(lab: Lab, cloud: Connection, guest: Path) -> None:
    """Make what is missing."""
    _flavors(cloud)
    known = {image.name for image in cloud.image.images()}
    if "lab-guest" not in known:
        _image(cloud, "lab-guest", "qcow2", guest.read_bytes())
    if "lab-empty" not in known:
        _image(cloud, "lab-empty", "raw", bytes(EMPTY_IMAGE_BYTES))
    # servers that ask for no zone go to "nova"
    _zone(cloud, "nova", lab.simulated_hosts)
    _zone(cloud, "tcg", (EMULATED,))


def _flavors(cloud: Connection) -> None:
    known = {flavor.name for flavor in cloud.compute.flavors()}
    for name, flavor in FLAVORS.items():
        if name in known:
            continue
        size = {"vcpus": flavor.vcpus, "ram": flavor.memory_mib, "disk": flavor.disk_gib}
        made = cloud.compute.create_flavor(name=name, **size)
        if flavor.specs:
            cloud.compute.create_flavor_extra_specs(made, dict(flavor.specs))


def _image(cloud: Connection, name: str, form: str, data: bytes) -> None:
    described = {"disk_format": form, "container_format": "bare", "visibility": "public"}
    cloud.image.create_image(name=name, data=data, **described)


def _zone(cloud: Connection, zone: str, hosts: tuple[str, ...]) -> None:
    known = {one.availability_zone: one for one in cloud.compute.aggregates()}
    aggregate = known.get(zone) or cloud.compute.create_aggregate(name=f"zone-{zone}", availability_zone=zone)
    for host in set(hosts) - set(aggregate.hosts or ()):
        cloud.compute.add_host_to_aggregate(aggregate, host)
