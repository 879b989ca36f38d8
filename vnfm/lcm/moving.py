"""VNFs in another order: whose routes lead astray then, and the routes that they need. Pure.

A VNF that translates addresses sends on with its own way out, so whoever comes after it has to send answers to that
address back by its way in. Frames go where paths lead, whatever a route's gateway is: only the port matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from vnfm.graph.servicegraph import Attachment
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.routes import PathLayout, Spot
from vnfm.model.realization import Realization, VnfcThere
from vnfm.model.resources import PortSpec, Route


def misled(
    paths: Sequence[PathLayout], lanes: Mapping[str, Lane], kept: Sequence[VnfcThere], spots: Mapping[Attachment, Spot]
) -> frozenset[str]:
    """Resource ids of those that would send answers to a VNF before them onwards."""
    found: set[str] = set()
    for path in paths:
        for at, position in enumerate(path.positions):
            if position.ingress is None or position.egress is None or position.one_armed:
                continue
            left = lanes[position.name].cpd_of_external(position.ingress.cp).id
            outs = {p.egress for p in path.positions[:at] if p.ingress and p.egress}
            addresses = [s.address for port, s in spots.items() if replace(port, index=0) in outs and s.address]
            for vnfc in (v for v in kept if v.alias == position.name and v.port(left)):
                if any(_way(vnfc.spec.ports, address) not in (left, "") for address in addresses):
                    found.add(vnfc.resource_id)
    return frozenset(found)


def rerouted(before: Realization, port: PortSpec, ways: Sequence[Route]) -> PortSpec:
    """The port with other destinations and the gateway that it had; where it had none, a neighbour of its link."""
    own = {ip.split("/")[0] for ip in port.ips}
    beside = (a for a in before.addresses(port.link_id).values() if a not in own)
    gateway = port.routes[0].via if port.routes else next(beside, "")
    return replace(port, routes=tuple(Route(way.destination, gateway or way.via) for way in ways))


def _way(ports: Sequence[PortSpec], address: str) -> str:
    """The CP by which an address is left for: the longest prefix, own networks included; empty where there is none."""
    target = ip_address(address)
    ways = [(ip_interface(ip).network, p.cp_id) for p in ports for ip in p.ips]
    ways += [(ip_network(r.destination), p.cp_id) for p in ports for r in p.routes]
    fitting = [(network.prefixlen, cp) for network, cp in ways if target in network]
    return max(fitting)[1] if fitting else ""
