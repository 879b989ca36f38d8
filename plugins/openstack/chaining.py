"""Paths by networking-sfc, where the cloud has it: port pairs, groups, flow classifiers and port chains as HOT. Pure,
but for asking the cloud.

Traffic comes to the first VNF of the path's piece as it does without: by its link. What leaves that VNF is classified
at its port (drivers insist on a source port) and led through all that follow; the way back is a chain of its own, from
the last VNF's port. So a piece with one VNF needs none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.openstack.cloud import Cloud
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import unimplemented

EXTENSIONS = frozenset({"sfc", "flow_classifier"})
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of a VNF on the path: the Neutron ports by which packets come and go."""

    ingress: str
    egress: str


@dataclass(frozen=True, slots=True)
class Way:
    """A path's VNFs in order, each with its instances."""

    groups: tuple[tuple[Member, ...], ...]

    def back(self) -> Way:
        """The same, from the other end."""
        return Way(tuple(tuple(Member(m.egress, m.ingress) for m in group) for group in reversed(self.groups)))


async def offered(cloud: Cloud) -> bool:
    """Whether Neutron has the extensions. Raises PluginError."""
    answer = await cloud.get("network", "/extensions")
    return {str(one["alias"]) for one in answer["extensions"]} >= EXTENSIONS


def resources(way: Way, match: pb.Classifier, *, symmetric: bool) -> dict[str, object]:
    """For the path's stack; nothing where there is no way from VNF to VNF. Raises PluginError for a match that
    classifiers have no word for."""
    if len(way.groups) < 2:
        return {}
    found = _one_way("there", way, classifier(match))
    if symmetric:
        found |= _one_way("back", way.back(), classifier(mirrored(match)))
    return found


def _one_way(name: str, way: Way, match: Mapping[str, object]) -> dict[str, object]:
    first, *others = way.groups
    found: dict[str, object] = {}
    sources = [f"{name}_flow{number}" for number in range(len(first))]
    for source, member in zip(sources, first, strict=True):
        found[source] = _resource("FlowClassifier", {**match, "logical_source_port": member.egress})
    groups = []
    for number, group in enumerate(others, 1):
        pairs = [f"{name}_pair{number}_{replica}" for replica in range(len(group))]
        for pair, member in zip(pairs, group, strict=True):
            found[pair] = _resource("PortPair", {"ingress": member.ingress, "egress": member.egress})
        groups.append(f"{name}_group{number}")
        found[groups[-1]] = _resource("PortPairGroup", {"port_pairs": _all(pairs)})
    found[f"{name}_chain"] = _resource(
        "PortChain", {"port_pair_groups": _all(groups), "flow_classifiers": _all(sources)}
    )
    return found


def classifier(match: pb.Classifier) -> dict[str, object]:
    """A flow classifier's properties; an empty match takes everything of its IP version."""
    if match.vlan or match.dscp:
        raise unimplemented("a match by VLAN or DSCP (networking-sfc's classifiers know neither)", "CAPABILITY_STEER")
    if match.ip_protocol and match.ip_protocol not in _PROTOCOLS:
        raise unimplemented(f"a match by IP protocol {match.ip_protocol} (only {_words()})", "CAPABILITY_STEER")
    found: dict[str, object] = {"ethertype": "IPv6" if _version(match) == 6 else "IPv4"}
    if match.ip_protocol:
        found["protocol"] = _PROTOCOLS[match.ip_protocol]
    sides = (
        ("source", match.source_cidr, match.source_port),
        ("destination", match.destination_cidr, match.destination_port),
    )
    for side, cidr, port in sides:
        if cidr:
            found[f"{side}_ip_prefix"] = cidr
        if port:
            found |= {f"{side}_port_range_min": port, f"{side}_port_range_max": port}
    return found


def mirrored(match: pb.Classifier) -> pb.Classifier:
    """Of the way back."""
    turned = pb.Classifier()
    turned.CopyFrom(match)
    turned.source_cidr, turned.destination_cidr = match.destination_cidr, match.source_cidr
    turned.source_port, turned.destination_port = match.destination_port, match.source_port
    return turned


def member_of(ports: Sequence[Mapping[str, Any]], hop: pb.Hop) -> Member | None:
    """By the names of a server's ports; None where packets come and go by one port, or by one that is not there."""
    ids = {str(port["name"]): str(port["id"]) for port in ports}
    ingress, egress = ids.get(hop.ingress_cp_id, ""), ids.get(hop.egress_cp_id, "")
    return Member(ingress, egress) if ingress and egress and ingress != egress else None


def _version(match: pb.Classifier) -> int:
    cidr = match.source_cidr or match.destination_cidr
    return ipaddress.ip_network(cidr, strict=False).version if cidr else 4


def _words() -> str:
    return ", ".join(f"{number} ({word})" for number, word in _PROTOCOLS.items())


def _all(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"get_resource": name} for name in names]


def _resource(kind: str, properties: Mapping[str, object]) -> dict[str, object]:
    return {"type": f"OS::Neutron::{kind}", "properties": dict(properties)}
