"""What is known of ports beyond their place: the MAC and addresses that stand behind them, never asked of a guest."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plugins.local.net import naming
from plugins.local.net.specs import PortSpec, Route


@dataclass(frozen=True, slots=True)
class PortFacts:
    """A port that speaks IP: `addresses` are its IPv4 ones, `has_ipv6` whether it has others, too.

    `networks` are those that it takes to be on its link, `gateways` whom it sends to there what goes further.
    """

    mac: str
    addresses: tuple[str, ...]
    has_ipv6: bool = False
    networks: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()

    def knows(self, other: PortFacts) -> bool:
        """Whether it would ask the other by ARP for whatever it sends, and for nobody else."""
        networks = [ipaddress.ip_network(one) for one in self.networks]
        within = all(any(ipaddress.ip_address(one) in network for network in networks) for one in other.addresses)
        return within and set(self.gateways) <= set(other.addresses)


# By port name. A port that is not in it passes frames on as they are, or nothing is known of it.
Facts = Mapping[str, PortFacts]


def to_stamp(resource_id: str, spec: PortSpec) -> dict[str, Any]:
    """The stamp of a port."""
    return {
        "resource_id": resource_id,
        "cp_id": spec.cp_id,
        "ips": list(spec.ips),
        "mac": spec.mac,
        "mtu_bytes": spec.mtu_bytes,
        "routes": [[route.destination, route.via] for route in spec.routes],
        "l2_transparent": spec.l2_transparent,
    }


def from_stamp(stamp: Mapping[str, Any]) -> tuple[str, PortSpec] | None:
    """(resource id, specification) out of a stamp; None where it is unreadable."""
    try:
        spec = PortSpec(
            str(stamp["cp_id"]),
            tuple(str(ip) for ip in stamp["ips"]),
            str(stamp["mac"]),
            int(stamp["mtu_bytes"]),
            tuple(Route(str(destination), str(via)) for destination, via in stamp["routes"]),
            bool(stamp["l2_transparent"]),
        )
        return str(stamp["resource_id"]), spec
    except (KeyError, TypeError, ValueError):
        return None


def facts_of(resource_id: str, spec: PortSpec) -> PortFacts | None:
    """The facts of a port; None where it has no address: frames pass it as they are."""
    try:
        found = [ipaddress.ip_interface(text) for text in spec.ips]
    except ValueError:
        return None
    if spec.l2_transparent or not found:
        return None
    mac = spec.mac.lower() or naming.derive_mac(resource_id, spec.cp_id)
    ours = [one for one in found if one.version == 4]
    gateways = tuple(dict.fromkeys(route.via for route in spec.routes if route.via and ":" not in route.via))
    networks = tuple(str(one.network) for one in ours)
    return PortFacts(mac, tuple(str(one.ip) for one in ours), len(ours) < len(found), networks, gateways)


def gathered(stamps: Mapping[str, Mapping[str, Any]]) -> dict[str, PortFacts]:
    """Facts by port name out of all stamps of ports."""
    known: dict[str, PortFacts] = {}
    for stamp in stamps.values():
        read = from_stamp(stamp)
        facts = facts_of(*read) if read else None
        if read and facts:
            known[naming.port_name(read[0], read[1].cp_id)] = facts
    return known
