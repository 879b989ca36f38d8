"""What heat-translator drops or gets wrong, put right: each a small pure function from HOT to HOT.

heat-translator 3.5 knows a server with some flavor out of a table of its own, an image that it makes up, and ports
with a network. It has no word for flavors' extra specs, vnic types, security, routes, zones, groups, trunks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plugins.openstack.translate import SERVER, Hot, port_name
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import invalid

VERSION = "2018-08-31"
METADATA = "169.254.169.254"
_VNIC = {pb.Port.DIRECT: "direct", pb.Port.MACVTAP: "macvtap", pb.Port.VHOST_USER: "normal"}
GROUP = "server_group"
_WITH_PORTS = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "33", "132", "136"})
_MOST_PORT = 65535
META_ID, META_MANAGER, META_WANTED = "vnfm_resource_id", "vnfm_manager_id", "vnfm_wanted"


@dataclass(frozen=True, slots=True)
class Wire:
    """Where a port goes: the network, the subnet of each address, the group that admits traffic, and the address of the
    DHCP service, by which metadata are reached; empty where there is none."""

    network_id: str
    subnet_ids: tuple[str, ...] = ()
    group_id: str = ""
    dhcp: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the cloud has for a request."""

    image_id: str
    flavor_id: str
    wires: tuple[Wire, ...]
    zone: str = ""  # zone, or zone:host
    group_id: str = ""
    volume_ids: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def corrected(hot: Hot, request: pb.AllocateComputeRequest, facts: Facts) -> Hot:
    """All of them, in order."""
    hot = version_is_text(hot)
    hot = sized(hot, facts.flavor_id)
    hot = booted_from(hot, facts.image_id)
    hot = named(hot, request, facts.metadata)
    hot = told(hot, request.user_data)
    hot = driven(hot, facts.wires)
    hot = placed(hot, facts.zone, facts.group_id)
    for number, (port, wire) in enumerate(zip(request.ports, facts.wires, strict=True)):
        hot = wired(hot, number, port, wire)
        hot = admitting(hot, number, port)
    hot = trunked(hot, request.ports)
    hot = attached(hot, request.volumes, facts.volume_ids)
    hot = unwired(hot, len(request.ports))
    return with_outputs(hot, len(request.ports), facts.group_id)


def version_is_text(hot: Hot) -> Hot:
    """YAML makes a date of an unquoted version, which JSON has no word for; and newer words need a newer version."""
    return {**hot, "heat_template_version": VERSION}


def sized(hot: Hot, flavor_id: str) -> Hot:
    """The flavor by id: with exact sizes (512 MB is not 488 MiB) and all extra specs."""
    return _server(hot, flavor=flavor_id)


def booted_from(hot: Hot, image_id: str) -> Hot:
    """The image by id, not one that is guessed from an operating system's name."""
    return _server(hot, image=image_id)


def named(hot: Hot, request: pb.AllocateComputeRequest, metadata: Mapping[str, str]) -> Hot:
    """The guest's host name, and the stamp's key as metadata."""
    return _server(hot, name=request.name or request.resource_id, metadata=dict(metadata))


def driven(hot: Hot, wires: Sequence[Wire]) -> Hot:
    """A config drive for a guest that no DHCP service tells its addresses, routes and metadata on some port."""
    return hot if wires and all(wire.dhcp for wire in wires) else _server(hot, config_drive=True)


def told(hot: Hot, user_data: bytes) -> Hot:
    """User data as they are: heat-translator's SOFTWARE_CONFIG would wrap them for an agent that is not there."""
    try:
        text = user_data.decode()
    except UnicodeDecodeError as error:
        raise invalid("user_data", f"Heat takes text only: {error}") from error
    hot = _server(hot, user_data_format="RAW")
    return _server(hot, user_data=text) if text else hot


def placed(hot: Hot, zone: str, group_id: str) -> Hot:
    """The zone, or zone and host, that placement chose; the server group that keeps apart or together."""
    if zone:
        hot = _server(hot, availability_zone=zone)
    return _server(hot, scheduler_hints={"group": group_id}) if group_id else hot


def wired(hot: Hot, number: int, port: pb.Port, wire: Wire) -> Hot:
    """One port: its network, addresses, MAC, vnic type, security and the routes that DHCP tells the guest."""
    properties: dict[str, object] = {"network": wire.network_id, "name": port.cp_id}
    if port.ips:
        properties["fixed_ips"] = [
            {"subnet": subnet_id, "ip_address": ip.partition("/")[0]}
            for ip, subnet_id in zip(port.ips, wire.subnet_ids, strict=True)
        ]
    else:
        properties["no_fixed_ips"] = True
    if port.mac:
        properties["mac_address"] = port.mac.lower()
    if port.vnic in _VNIC:
        properties["binding:vnic_type"] = _VNIC[port.vnic]
    properties.update(security(port, wire.group_id))
    if port.shared_ips and not port.l2_transparent:
        properties["allowed_address_pairs"] = [{"ip_address": address} for address in port.shared_ips]
    if options := route_options(port, wire.dhcp):
        properties["value_specs"] = {"extra_dhcp_opts": options}
    return _resource(hot, port_name(number), "OS::Neutron::Port", properties)


def security(port: pb.Port, group_id: str) -> dict[str, object]:
    """A bump in the wire passes others' frames, so nothing may be filtered there; else the link's own group admits."""
    if port.l2_transparent:
        return {"port_security_enabled": False, "security_groups": []}
    return {"security_groups": [group_id]} if group_id else {}


def admitting(hot: Hot, number: int, port: pb.Port) -> Hot:
    """A port with rules of its own has a group of its own, in place of its link's, which admits everything. Where no
    rule is for a way, everything goes that way: Neutron says so by itself of what leaves."""
    if not port.admits or port.l2_transparent:
        return hot
    rules = [traffic_rule(rule) for rule in port.admits]
    if all(rule.egress for rule in port.admits):
        rules += [{"direction": "ingress", "ethertype": kind} for kind in ("IPv4", "IPv6")]
    group = f"group{number}"
    hot = _resource(hot, group, "OS::Neutron::SecurityGroup", {"rules": rules})
    properties = {"security_groups": [{"get_resource": group}]}
    return _resource(hot, port_name(number), "OS::Neutron::Port", properties)


def traffic_rule(rule: pb.TrafficRule) -> dict[str, object]:
    """In Neutron's words. Only some protocols have ports; every port is said by none."""
    found: dict[str, object] = {
        "direction": "egress" if rule.egress else "ingress",
        "ethertype": "IPv6" if rule.ipv6 else "IPv4",
    }
    if rule.protocol:
        found["protocol"] = rule.protocol
    every = rule.port_min <= 1 and rule.port_max in (0, _MOST_PORT)
    if rule.protocol in _WITH_PORTS and not every:
        found |= {"port_range_min": max(1, rule.port_min), "port_range_max": rule.port_max}
    return found


def route_options(port: pb.Port, dhcp: str = "") -> list[dict[str, object]]:
    """The port's routes as DHCP options (RFC 3442), for this port alone; a default route stands in both. They take the
    place of Neutron's own, which leads to the metadata."""
    found: list[dict[str, object]] = []
    routes = [route for route in port.routes if route.via and ipaddress.ip_network(route.destination).version == 4]
    if routes:
        metadata = [f"{METADATA}/32,{dhcp}"] if dhcp else []
        words = ",".join([*(f"{route.destination},{route.via}" for route in routes), *metadata])
        found.append({"opt_name": "classless-static-route", "opt_value": words, "ip_version": 4})
    for route in routes:
        if route.destination == "0.0.0.0/0":
            found.append({"opt_name": "router", "opt_value": route.via, "ip_version": 4})
    return found


def trunked(hot: Hot, ports: Sequence[pb.Port]) -> Hot:
    """Ports with a VLAN are sub-ports of a trunk on the first that has none, and no NICs of the server."""
    tagged = [number for number, port in enumerate(ports) if port.vlan_sub_port]
    if not tagged:
        return hot
    parents = [number for number, port in enumerate(ports) if not port.vlan_sub_port]
    if not parents:
        raise invalid("ports", "a sub-port (vlan_sub_port) needs a port without one that carries the trunk")
    sub_ports = [
        {
            "port": {"get_resource": port_name(number)},
            "segmentation_id": ports[number].vlan_sub_port,
            "segmentation_type": "vlan",
        }
        for number in tagged
    ]
    properties = {"port": {"get_resource": port_name(parents[0])}, "sub_ports": sub_ports}
    hot = _resource(hot, "trunk", "OS::Neutron::Trunk", properties)
    hot["resources"][SERVER]["depends_on"] = ["trunk"]
    return _server(hot, networks=[{"port": {"get_resource": port_name(number)}} for number in parents])


def attached(hot: Hot, mounts: Sequence[pb.VolumeMount], volume_ids: Sequence[str]) -> Hot:
    """The server's volumes, in order. A path below /dev/ names the device; where a guest mounts it is the guest's."""
    for number, (mount, volume_id) in enumerate(zip(mounts, volume_ids, strict=True)):
        properties: dict[str, object] = {"instance_uuid": {"get_resource": SERVER}, "volume_id": volume_id}
        if mount.path.startswith("/dev/"):
            properties["mountpoint"] = mount.path
        hot = _resource(hot, f"attachment{number}", "OS::Cinder::VolumeAttachment", properties)
    return hot


def unwired(hot: Hot, ports: int) -> Hot:
    """Who has no port gets none: Nova would look for some network by itself."""
    return hot if ports else _server(hot, networks=[{"allocate_network": "none"}])


def with_outputs(hot: Hot, ports: int, group_id: str = "") -> Hot:
    """By what we find the native objects again, and the group that goes with its last server."""
    outputs: dict[str, object] = {SERVER: {"value": {"get_resource": SERVER}}}
    outputs.update({port_name(n): {"value": {"get_resource": port_name(n)}} for n in range(ports)})
    if group_id:
        outputs[GROUP] = {"value": group_id}
    return {**hot, "outputs": outputs}


def _server(hot: Hot, **properties: object) -> Hot:
    return _resource(hot, SERVER, "OS::Nova::Server", properties)


def _resource(hot: Hot, name: str, kind: str, properties: Mapping[str, object]) -> Hot:
    resources = dict(hot.get("resources", {}))
    before = resources.get(name, {"type": kind})
    resources[name] = {**before, "properties": {**before.get("properties", {}), **properties}}
    return {**hot, "resources": resources}
