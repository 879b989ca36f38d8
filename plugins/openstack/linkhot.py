"""Links and paths as HOT. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from plugins.openstack.corrections import VERSION
from plugins.openstack.translate import Hot
from vnfm.pb.vim.v1 import vim_pb2 as pb

_ENCAP = {
    pb.Segment.VLAN: "vlan",
    pb.Segment.VXLAN: "vxlan",
    pb.Segment.GENEVE: "geneve",
    pb.Segment.FLAT: "flat",
}
ENCAP_OF = {word: encap for encap, word in _ENCAP.items()}
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def link(name: str, cidrs: Sequence[str], mtu_bytes: int, segment: pb.Segment, physical_network: str) -> Hot:
    """A network, a subnet for each range of addresses, and a group that admits all traffic of its members."""
    specs = provider(segment, physical_network)
    if mtu_bytes:
        specs["mtu"] = mtu_bytes
    properties: dict[str, object] = {"name": name, **({"value_specs": specs} if specs else {})}
    resources: dict[str, object] = {
        "network": {"type": "OS::Neutron::Net", "properties": properties},
        "group": {"type": "OS::Neutron::SecurityGroup", "properties": {"name": name, "rules": _all_traffic()}},
    }
    for number, cidr in enumerate(cidrs):
        there = subnet(cidr, f"{name}-{number}")
        there["network"] = {"get_resource": "network"}
        resources[f"subnet{number}"] = {"type": "OS::Neutron::Subnet", "properties": there}
    return _hot(resources, ["network", "group"])


def subnets(cidrs: Sequence[str], made: Mapping[str, Any]) -> dict[str, str]:
    """The native subnets by their ranges, of what `link` has become; empty where its names do not say."""
    found = {cidr: str(made.get(f"subnet{number}") or "") for number, cidr in enumerate(cidrs)}
    return found if all(found.values()) else {}


def provider(segment: pb.Segment, physical_network: str) -> dict[str, object]:
    """The provider attributes of a segment, `physical_network` being Neutron's name of where it is. Without a segment
    links are flat on the physical network, if there is one, else what the cloud gives its tenants."""
    if segment.encap == pb.Segment.ENCAP_UNSPECIFIED:
        if not physical_network:
            return {}
        return {"provider:network_type": "flat", "provider:physical_network": physical_network}
    if segment.encap in (pb.Segment.VXLAN, pb.Segment.GENEVE):
        if not segment.id:
            return {}  # which segment a tenant's network has only the cloud can say
        return {"provider:network_type": _ENCAP[segment.encap], "provider:segmentation_id": segment.id}
    specs: dict[str, object] = {
        "provider:network_type": _ENCAP[segment.encap],
        "provider:physical_network": physical_network,
    }
    if segment.id and segment.encap == pb.Segment.VLAN:
        specs["provider:segmentation_id"] = segment.id
    return specs


def subnet(cidr: str, name: str) -> dict[str, object]:
    """No gateway: routes are told port by port. The DHCP service gets the last address, so that it is known beforehand,
    and nobody else is given one by chance; where a network is too small for that there is no DHCP."""
    network = ipaddress.ip_network(cidr)
    dhcp = dhcp_address(network)
    found: dict[str, object] = {
        "name": name,
        "cidr": cidr,
        "ip_version": network.version,
        "gateway_ip": "",
        "enable_dhcp": bool(dhcp),
    }
    if dhcp:
        found["allocation_pools"] = [{"start": dhcp, "end": dhcp}]
    return found


def dhcp_address(network: Network) -> str:
    """The DHCP service's; empty where there is no room for one."""
    if network.version != 4 or network.num_addresses < 16:
        return ""
    return str(network.network_address + network.num_addresses - 2)


def _all_traffic() -> list[dict[str, str]]:
    return [{"direction": way, "ethertype": kind} for way in ("ingress", "egress") for kind in ("IPv4", "IPv6")]


def path(port_ids: Sequence[str], steering: Mapping[str, object] | None = None) -> Hot:
    """A note of the ports that let others' packets pass, and what steers where the cloud does."""
    return {**_hot(steering or {}, []), "outputs": {"ports": {"value": list(port_ids)}}}


def _hot(resources: Mapping[str, object], outputs: Sequence[str]) -> Hot:
    return {
        "heat_template_version": VERSION,
        "resources": dict(resources),
        "outputs": {name: {"value": {"get_resource": name}} for name in outputs},
    }
