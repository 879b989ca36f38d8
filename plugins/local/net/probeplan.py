"""Which packets a path's match picks, between the addresses that its ends have."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from plugins.local.net import naming, netns, ports
from plugins.local.net.flavours import ICMP, TCP, UDP, Datagram, Echo, Flavour, Handshake
from plugins.local.net.rtnl import Address
from plugins.local.net.specs import Hop, Match, PathSpec

_SOURCE_PORTS = 64
_EPHEMERAL = range(32768, 60999)
_TABLES = {TCP: "tcp", UDP: "udp"}


class Unsupported(Exception):
    """Why no proof is possible."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """`one_at_a_time`: all packets are of one flow that has to be over before the next."""

    flavour: Flavour
    source: Address
    destination: Address
    dscp: int = 0
    one_at_a_time: bool = False


def plan_probe(path: PathSpec, packets: int, token: bytes, destination: str = "") -> ProbePlan:
    """From the first hop to the last, or to a destination beyond an edge; Unsupported says why not."""
    first, last, match = path.hops[0], path.hops[-1], path.match
    if last.kind.is_edge:
        return _plan_beyond(first, path, token, destination)
    for hop in (first, last):
        if not hop.kind.has_namespace:
            raise Unsupported(f"{hop.name} is a {hop.kind}: only a SAP can send and answer")
    sources = _addresses(first, first.egress_cp, match.source_cidr)
    destinations = _addresses(last, last.ingress_cp, match.destination_cidr)
    both = {one.version for one in sources} & {one.version for one in destinations}
    if not both:
        raise Unsupported(f"{last.name} has no address to send to of the kind that {first.name} has")
    version = min(both)
    source, target = (next(one for one in every if one.version == version) for every in (sources, destinations))
    if match.ip_protocol in (0, ICMP):
        return ProbePlan(Echo(version, token), source, target, match.dscp)
    if match.ip_protocol not in _TABLES or version != 4:
        raise Unsupported(f"packets of IP protocol {match.ip_protocol} cannot be made here, only ICMP, UDP and TCP")
    free = _free_ports(first, match.ip_protocol, token)
    source_ports = (match.source_port,) if match.source_port else free[: min(packets, _SOURCE_PORTS)]
    # Where any port will do, one that nobody else listens on.
    destination_port = match.destination_port or _free_ports(last, match.ip_protocol, token)[0]
    make = Datagram if match.ip_protocol == UDP else Handshake
    flavour = make(token, source, target, source_ports, destination_port)
    one_at_a_time = match.ip_protocol == TCP and len(source_ports) < packets
    return ProbePlan(flavour, source, target, match.dscp, one_at_a_time)


def _plan_beyond(first: Hop, path: PathSpec, token: bytes, destination: str) -> ProbePlan:
    if first.kind.is_edge or not first.kind.has_namespace:
        raise Unsupported(f"{first.name} is a {first.kind}: only a SAP can send")
    if path.match != Match():
        raise Unsupported("what a match picks is not sent over several VIMs")
    if not destination:
        raise Unsupported(f"the path goes on at {path.hops[-1].name}, and nobody says whereto")
    told = ipaddress.ip_address(destination)
    source = next((one for one in _addresses(first, first.egress_cp, "") if one.version == told.version), None)
    if source is None:
        raise Unsupported(f"{first.name} has no address of the kind of {destination}")
    return ProbePlan(Echo(told.version, token), source, told)


def _addresses(hop: Hop, cp_id: str, cidr: str) -> list[Address]:
    """A hop's own that the match takes; Unsupported where there is none."""
    found = ports.addresses_of(naming.namespace_name(hop.resource_id), naming.interface_name(cp_id))
    own = [interface.ip for interface in found]
    if not own:
        raise Unsupported(f"{hop.name} has no address of its own")
    if not cidr:
        return own
    network = ipaddress.ip_network(cidr)
    taken = [one for one in own if one.version == network.version and one in network]
    if not taken:
        raise Unsupported(f"the path takes only what {cidr} names, and {hop.name} has no address in it")
    return taken


def _free_ports(hop: Hop, protocol: int, token: bytes) -> Sequence[int]:
    """Ephemeral ports that nobody in the namespace uses, beginning at a place that the token chooses."""
    name = _TABLES[protocol]

    def used() -> set[int]:
        with open(f"/proc/thread-self/net/{name}") as lines:
            next(lines)
            return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}

    taken = netns.inside(naming.namespace_name(hop.resource_id), used)
    start = int.from_bytes(token[-2:], "big") % len(_EPHEMERAL)
    ordered = (*_EPHEMERAL[start:], *_EPHEMERAL[:start])
    return [port for port in ordered if port not in taken]
