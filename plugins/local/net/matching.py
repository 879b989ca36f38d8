"""Matches as nft's text, there and mirrored, and which of several goes first: pure functions."""

from __future__ import annotations

import ipaddress

from plugins.local.net.errors import InvalidSpecError
from plugins.local.net.specs import Match

WITH_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}
_PORT_MAX, _DSCP_MAX, _PROTOCOL_MAX = 65535, 63, 255

# A flow as a set keeps it: five fields where there are ports, else three. Fragments count as having none.
KEY5 = "ip saddr . ip daddr . meta l4proto . th sport . th dport"
KEY5_BACK = "ip daddr . ip saddr . meta l4proto . th dport . th sport"
KEY3 = "ip saddr . ip daddr . ip protocol"
KEY3_BACK = "ip daddr . ip saddr . ip protocol"
HAS_PORTS = f"ip frag-off & 0x3fff == 0 meta l4proto {{ {', '.join(WITH_PORTS.values())} }}"
FLOWS5 = "type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service"
FLOWS3 = "type ipv4_addr . ipv4_addr . inet_proto"


def key5(*, forward: bool) -> str:
    """The flow of a packet with ports, named as on its way forward."""
    return KEY5 if forward else KEY5_BACK


def key3(*, forward: bool) -> str:
    """The flow of any other packet, named as on its way forward."""
    return KEY3 if forward else KEY3_BACK


def check(match: Match) -> None:
    """InvalidSpecError naming the first field that has no sense."""
    for name, cidr in (("source_cidr", match.source_cidr), ("destination_cidr", match.destination_cidr)):
        if cidr:
            _network(name, cidr)
    for name, value, highest in (
        ("ip_protocol", match.ip_protocol, _PROTOCOL_MAX),
        ("source_port", match.source_port, _PORT_MAX),
        ("destination_port", match.destination_port, _PORT_MAX),
        ("dscp", match.dscp, _DSCP_MAX),
    ):
        if not 0 <= value <= highest:
            raise InvalidSpecError(f"match.{name}: expected 0-{highest}, got {value}")
    if (match.source_port or match.destination_port) and match.ip_protocol not in WITH_PORTS:
        known = ", ".join(f"{number} ({name})" for number, name in WITH_PORTS.items())
        raise InvalidSpecError(f"match.ip_protocol: a port needs one of {known}, got {match.ip_protocol}")


def _network(name: str, cidr: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise InvalidSpecError(f"match.{name}: expected an IPv4 network such as 10.1.0.0/16; {error}") from error


def text(match: Match, *, forward: bool) -> str:
    """The match as nft reads it, with a blank behind it; empty for what takes all. Backward: mirrored."""
    source, destination = ("saddr", "daddr") if forward else ("daddr", "saddr")
    from_port, to_port = ("sport", "dport") if forward else ("dport", "sport")
    parts = []
    if match.source_cidr:
        parts.append(f"ip {source} {_network('source_cidr', match.source_cidr)}")
    if match.destination_cidr:
        parts.append(f"ip {destination} {_network('destination_cidr', match.destination_cidr)}")
    if match.ip_protocol:
        parts.append(f"ip protocol {int(match.ip_protocol)}")
    if match.source_port or match.destination_port:
        # A later fragment has payload where ports would stand.
        parts.append("ip frag-off & 0x1fff == 0")
    if match.source_port:
        parts.append(f"th {from_port} {int(match.source_port)}")
    if match.destination_port:
        parts.append(f"th {to_port} {int(match.destination_port)}")
    if match.dscp:
        parts.append(f"ip dscp {int(match.dscp)}")
    return "".join(f"{part} " for part in parts)


def rank(match: Match) -> tuple[int, int]:
    """Sorts the more specific match first: by how many fields it names, then by the length of its prefixes."""
    fields = (
        match.source_cidr,
        match.destination_cidr,
        match.ip_protocol,
        match.source_port,
        match.destination_port,
        match.dscp,
    )
    bits = sum(int(cidr.partition("/")[2] or 32) for cidr in (match.source_cidr, match.destination_cidr) if cidr)
    return -sum(1 for value in fields if value), -bits
