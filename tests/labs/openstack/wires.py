"""The lab's switches in this host's kernel, and what Neutron's agents leave there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .console import LabError
from .lab import UNDERLAY, UNDERLAY_ADDRESS, WIRES

LINKS = Path("/sys/class/net")
AGENTS_BRIDGE = re.compile(r"brq[0-9a-f]{8}-[0-9a-f]{2}")
AGENTS_TAP = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]{2}")


def plug() -> None:
    """Make the bridges and Neutron's end of each physical network, where they are missing."""
    for bridge in (*(bridge for bridge, _ in WIRES.values()), UNDERLAY):
        if not (LINKS / bridge).exists():
            _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
    for bridge, uplink in WIRES.values():
        if not (LINKS / uplink).exists():
            _ip("link", "add", uplink, "type", "veth", "peer", "name", f"{uplink}-sw")
        _ip("link", "set", f"{uplink}-sw", "master", bridge, "up")
        _ip("link", "set", uplink, "up")
    _ip("address", "replace", UNDERLAY_ADDRESS, "dev", UNDERLAY)


def unplug(networks: Iterable[str]) -> None:
    """Take away what `plug` made, and what the agents made: bridges, taps, VXLAN ends, these networks' namespaces.

    Others' ends on the lab's wires stay with them.
    """
    for namespace in namespaces(networks):
        _ip("netns", "delete", namespace, must=False)
    bridges = [name for name in _links() if AGENTS_BRIDGE.fullmatch(name)]
    ports = [port.name for bridge in bridges for port in (LINKS / bridge / "brif").glob("*")]
    taps = [name for name in _links() if AGENTS_TAP.fullmatch(name) and _is_orphan(name)]
    ends = [uplink for _, uplink in WIRES.values()]
    ours = [bridge for bridge, _ in WIRES.values()]
    for name in dict.fromkeys([*ports, *taps, *ends, *bridges, *ours, UNDERLAY]):
        if (LINKS / name).exists():
            _ip("link", "delete", name, must=False)


def left() -> list[str]:
    """What still stands of the lab in the kernel."""
    fixed = {UNDERLAY, *(name for pair in WIRES.values() for name in pair)}
    links = [name for name in _links() if name in fixed or AGENTS_BRIDGE.fullmatch(name)]
    return [f"link {name}" for name in links]


def namespaces(networks: Iterable[str]) -> list[str]:
    """The DHCP agent's namespaces of these networks that are there."""
    return [f"qdhcp-{network}" for network in networks if Path("/run/netns", f"qdhcp-{network}").exists()]


def _is_orphan(tap: str) -> bool:
    """A tap that is on no bridge: its guest is gone."""
    return not (LINKS / tap / "master").exists()


def _links() -> list[str]:
    return sorted(path.name for path in LINKS.iterdir())


def _ip(*words: str, must: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if must and done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
