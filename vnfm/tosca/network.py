"""Connection points, virtual links and what leads outside (SOL001 6.8.2, 6.8.7 to 6.8.11, 6.11 substitution)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace

from vnfm.model.connectivity import Bitrate, Cpd, CpKind, VirtualLinkDesc
from vnfm.tosca.addresses import address_specs
from vnfm.tosca.kinds import CP, EXT_CP, LINK, OS_CONTAINER, UNIT, VDU_CP, VDU_SUB_CP, VDUS, VIP_CP, VIRTUAL_CP
from vnfm.tosca.notes import Place
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import NODE
from vnfm.tosca.view import View

MAX_VLAN = 4094

_SHARED = (VIRTUAL_CP, VIP_CP)
VNIC_TYPES = (
    "normal",
    "virtio",
    "macvtap",
    "direct",
    "baremetal",
    "virtio-forwarder",
    "direct-physical",
    "smart-nic",
)


def read_links(template: Template) -> tuple[VirtualLinkDesc, ...]:
    """Every internal virtual link, in its order."""
    return tuple(_link(node, template.properties(node)) for node in template.nodes_of(LINK))


def read_cps(template: Template, links: Sequence[VirtualLinkDesc]) -> tuple[Cpd, ...]:
    """Every CP inside the VNF, in its order, with the position among its VDU's CPs."""
    mtu = {link.id: link.mtu_bytes for link in links}
    plain = [n for n in template.nodes_of(CP) if not template.is_node(n.name, *_SHARED, EXT_CP)]
    own = [_vdu_cp(template, node, mtu) for node in plain if not leads_outside(template, node)]
    cps = _in_trunks(template, _ordered(template, own))
    bound = {cp.id: cp.vdu_id for cp in cps}
    for kind, base in ((CpKind.VIRTUAL, VIRTUAL_CP), (CpKind.VIP, VIP_CP)):
        cps += [_shared_cp(template, node, kind, bound) for node in template.nodes_of(base)]
    return tuple(cps)


def leads_outside(template: Template, node: Entity) -> bool:
    """Whether a CP is an external one: by its type or, where that is the general one, by what it asks for."""
    if template.is_node(node.name, EXT_CP):
        return True
    if template.is_node(node.name, VDU_CP, *_SHARED):
        return False
    asked = {ask.name for ask in template.asks(node)}
    return not asked & {"virtualbinding"} and bool(asked & {"externalvirtuallink", "internalvirtuallink"})


def _link(node: Entity, properties: View) -> VirtualLinkDesc:
    profile = properties.sub("vl_profile")
    cidrs, gateways, mtu, dhcp = [], [], 0, None
    own = ("associated_layer_protocol", "l2_protocol_data", "l3_protocol_data")
    for entry in profile.entries("virtual_link_protocol_data", *own):
        layer3 = entry.sub("l3_protocol_data")
        if "cidr" in layer3 and (cidr := _cidr(layer3)):
            cidrs.append(cidr)
        if "gateway_ip" in layer3:
            gateways.append(layer3.text("gateway_ip"))
        if "dhcp_enabled" in layer3:
            dhcp = layer3.flag("dhcp_enabled")
        mtu = entry.sub("l2_protocol_data").whole("mtu") or mtu
    for layer3 in [
        *profile.entries("l3_protocol_data", "cidr", "ip_version"),
        profile,
        properties,
    ]:  # as other profiles have it
        if not cidrs and "cidr" in layer3 and (cidr := _cidr(layer3)):
            cidrs.append(cidr)
    least, most, plain = (_rates(profile, prefix) for prefix in ("min_", "max_", ""))
    if 0 < most.root_bps < least.root_bps or 0 < most.leaf_bps < least.leaf_bps:
        profile.notes.warn(
            "value-range",
            f"{profile.path}: min_bitrate_requirements are above max_bitrate_requirements",
            profile.at("min_bitrate_requirements"),
            "lower the minimum, or raise the maximum",
        )
    qos, connectivity = profile.sub("qos"), properties.sub("connectivity_type")
    return VirtualLinkDesc(
        id=node.name,
        cidrs=tuple(cidrs),
        mtu_bytes=mtu,
        max_latency_us=qos.time_us("latency"),
        bandwidth_bps=least.root_bps or most.root_bps or plain.root_bps,
        layer_protocols=_protocols(connectivity) or ("ipv4",),
        description=properties.text("description"),
        flow_pattern=connectivity.text("flow_pattern"),
        min_bitrate=least,
        max_bitrate=most,
        max_jitter_us=qos.time_us("packet_delay_variation"),
        max_loss=_ratio(qos, "packet_loss_ratio"),
        priority=qos.whole("priority") if "priority" in qos else None,
        gateways=tuple(gateways),
        dhcp=dhcp,
    )


def _protocols(holder: View) -> tuple[str, ...]:
    """`layer_protocols`; drafts had one `layer_protocol`."""
    return holder.texts("layer_protocols") or holder.texts("layer_protocol")


def _rates(profile: View, prefix: str) -> Bitrate:
    former = f"{prefix}bit_rate_requirements"  # of drafts
    return bitrate(profile.sub(former if former in profile else f"{prefix}bitrate_requirements"))


def bitrate(requirements: View) -> Bitrate:
    """LinkBitrateRequirements (SOL001 9.3.5)."""
    return Bitrate(requirements.rate_bps("root"), requirements.rate_bps("leaf"))


def _ratio(qos: View, key: str) -> float | None:
    text = qos.text(key)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value <= 1:
        return value
    qos.notes.warn("value-range", f"{qos.path}.{key}: expected a ratio from 0 to 1, found {text!r}", qos.at(key))
    return None


def _cidr(layer3: View) -> str:
    text = layer3.text("cidr")
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        layer3.notes.warn(
            "value-cidr", f"{layer3.path}.cidr: {text!r} is no network", layer3.at("cidr"), "such as 10.0.0.0/24"
        )
        return ""


def _vdu_cp(template: Template, node: Entity, mtu: dict[str, int]) -> Cpd:
    bound, trunk = _binding(template, node)
    crossed = bool(_crossed(template, node))
    links = targets(template, node, "virtual_binding" if crossed else "virtual_link", LINK, "VnfVirtualLink")
    if len(links) > 1:
        at = node.body.place("requirements")
        template.notes.warn("cp-link", f"{node.name} is on {len(links)} virtual links; {links[0]} counts", at)
    link = links[0] if links else ""
    properties = template.properties(node)
    return Cpd(
        id=node.name,
        vdu_id=bound,
        virtual_link=link,
        order=properties.whole("order", -1),
        kind=CpKind.SUB if template.is_node(node.name, VDU_SUB_CP) else CpKind.VDU,
        vnic_type=_vnic_type(properties),
        bandwidth_bps=properties.rate_bps("bitrate_requirement"),
        mtu_bytes=_interface_number(properties, "mtu") or mtu.get(link, 0),
        layer_protocols=_protocols(properties) or ("ipv4",),
        l2_transparent=_interface_flag(properties, "l2_transparent"),
        role=properties.text("role"),
        description=properties.text("description"),
        trunk=properties.flag("trunk_mode"),
        trunk_cp=trunk,
        vlan_id=_vlan_id(properties),
        addresses=address_specs(properties),
    )


def _vlan_id(properties: View) -> int:
    """A VduSubCp's segmentation_id, where it is a VLAN's."""
    if "segmentation_id" not in properties or properties.text("segmentation_type") == "inherit":
        return 0
    number = properties.whole("segmentation_id", must=True)
    if number > MAX_VLAN:
        properties.notes.error(
            "value-vlan",
            f"{properties.path}.segmentation_id: {number} is no VLAN's",
            properties.at("segmentation_id"),
            f"expected 1 to {MAX_VLAN}",
        )
        return 0
    return number


def _binding(template: Template, node: Entity) -> tuple[str, str]:
    """The VDU that a CP is of, or else the CP in whose trunk it is."""
    asked = _crossed(template, node) or template.requirements(node, "virtual_binding")
    trunk = next((name for name, _ in template.requirements(node, "trunk_binding")), "")
    vdus: list[str] = []
    for name, at in asked:
        if template.is_node(name, *VDUS):
            vdus.append(name)
        elif name not in template.nodes and template.types.known(NODE, name):
            template.notes.warn("cp-unbound", f"{node.name} may be bound to any {name}: it has no VDU yet", at)
        elif name not in template.nodes:
            template.notes.error("target-unknown", f"{node.name}: virtual_binding names {name}, which is no node", at)
        elif found := _unit_of(template, name):
            vdus.append(found)
            template.notes.warn(
                "cp-container", f"{node.name} is bound to the container {name}; {found}, which has it, counts", at
            )
        elif template.is_node(name, VDU_CP):
            trunk = trunk or name
        else:
            template.notes.error(
                "cp-binding", f"{node.name}: virtual_binding leads to {name}, which is no VDU", at, "bind it to a VDU"
            )
    if not asked and not trunk:
        other = next((a for a in template.asks(node) if template.is_node(a.target, *VDUS)), None)
        if other is None:
            _unbound(template, node)
        else:
            vdus.append(other.target)
            template.notes.warn(
                "cp-binding",
                f"{node.name}: the requirement {other.written} was taken as virtual_binding",
                other.at,
                "call it virtual_binding",
            )
    if len(set(vdus)) > 1:
        at = node.body.place("requirements")
        template.notes.warn("cp-binding", f"{node.name} is bound to {len(vdus)} VDUs; {vdus[0]} counts", at)
    return (vdus[0] if vdus else ""), trunk


def _crossed(template: Template, node: Entity) -> list[tuple[str, Place]]:
    """Where the binding names a link and the link a VDU, what is meant as the binding."""
    binding, link = (template.requirements(node, name) for name in ("virtual_binding", "virtual_link"))
    if not any(template.is_node(name, LINK) for name, _ in binding):
        return []
    vdus = [(name, at) for name, at in link if template.is_node(name, *VDUS)]
    if vdus:
        template.notes.warn("cp-binding", f"{node.name}: virtual_binding and virtual_link are crossed", vdus[0][1])
    return vdus


def _unbound(template: Template, node: Entity) -> None:
    """A mistake, but for a template of CPs alone, which is a part of one, and in profiles that allowed it."""
    whole = template.is_node(node.name, VDU_CP) and template.types.former(NODE, node.type) is None
    whole = whole and any(True for _ in template.nodes_of(*VDUS))
    note = template.notes.error if whole else template.notes.warn
    note("cp-unbound", f"{node.name} is bound to no VDU", node.body.place(), "add a requirement virtual_binding")


def _unit_of(template: Template, container: str) -> str:
    """The deployable unit that has a container."""
    if not template.is_node(container, OS_CONTAINER):
        return ""
    for unit in template.nodes_of(UNIT):
        names = [*template.requirements(unit, "container"), *template.requirements(unit, "init_container")]
        if any(name == container for name, _ in names):
            return unit.name
    return ""


def _in_trunks(template: Template, cps: list[Cpd]) -> list[Cpd]:
    """A CP in a trunk is of the VDU that the trunk is of."""
    owner = {cp.id: cp.vdu_id for cp in cps}
    found = []
    for cp in cps:
        if cp.trunk_cp and not owner.get(cp.trunk_cp):
            template.notes.warn(
                "cp-trunk",
                f"{cp.id}: trunk_binding names {cp.trunk_cp}, which is no connection point of a VDU",
                template.nodes[cp.id].body.place("requirements"),
            )
        found.append(replace(cp, vdu_id=cp.vdu_id or owner.get(cp.trunk_cp, "")))
    return found


def _shared_cp(template: Template, node: Entity, kind: CpKind, bound: dict[str, str]) -> Cpd:
    """A VirtualCp or a VipCp: what it stands for gives the VDU."""
    properties = template.properties(node)
    behind = template.requirements(node, "target")
    for name, at in behind:
        if name not in template.nodes:
            template.notes.warn("target-unknown", f"{node.name}: target names {name}, which is no node", at)
    vdu = next((t if template.is_node(t, *VDUS) else bound.get(t, "") for t, _ in behind), "")
    links = targets(template, node, "virtual_link", LINK, "VnfVirtualLink")
    return Cpd(
        id=node.name,
        vdu_id=vdu,
        virtual_link=links[0] if links else "",
        order=properties.whole("virtual_cp_order"),
        kind=kind,
        layer_protocols=_protocols(properties) or ("ipv4",),
        role=properties.text("role"),
        description=properties.text("description"),
        targets=tuple(name for name, _ in behind),
        vip_function=properties.text("vip_function"),
        addresses=address_specs(properties),
    )


def targets(template: Template, node: Entity, requirement: str, base: str, what: str) -> list[str]:
    """The nodes of the type `base` that a requirement leads to; another one is said and left out."""
    found = []
    for name, at in template.requirements(node, requirement):
        if template.is_node(name, base):
            found.append(name)
        elif name not in template.nodes:
            template.notes.warn("target-unknown", f"{node.name}: {requirement} names {name}, which is no node", at)
        else:
            message = f"{node.name}: {requirement} leads to {name}, which is no {what}"
            template.notes.warn("cp-link", message, at)
    return found


def _ordered(template: Template, cps: list[Cpd]) -> list[Cpd]:
    """CPs without an order get the next free position of their VDU."""
    taken: dict[str, set[int]] = {}
    for cp in cps:
        if cp.order >= 0:
            if cp.order in taken.setdefault(cp.vdu_id, set()):
                at = template.nodes[cp.id].body.sub("properties").place("order")
                template.notes.warn("cp-order", f"{cp.id}: {cp.vdu_id} has another CP of order {cp.order}", at)
            taken[cp.vdu_id].add(cp.order)
    result = []
    for cp in cps:
        if cp.order < 0:
            used = taken.setdefault(cp.vdu_id, set())
            order = next(n for n in range(len(cps) + len(used) + 1) if n not in used)
            used.add(order)
            cp = replace(cp, order=order)
        result.append(cp)
    return result


def _vnic_type(properties: View) -> str:
    word = properties.text("vnic_type", "normal").lower()
    word = {"sriov": "direct", "sr-iov": "direct", "passthrough": "direct-physical"}.get(word, word)
    if word not in VNIC_TYPES:
        properties.notes.warn(
            "value-enum",
            f"{properties.path}.vnic_type: {word!r} is none of {', '.join(VNIC_TYPES)}",
            properties.at("vnic_type"),
        )
        return "normal"
    if word == "normal" and (_interface_flag(properties, "sriov") or _interface_flag(properties, "sr-iov")):
        return "direct"
    return word


def _interface(properties: View, name: str) -> str:
    for entry in properties.entries("virtual_network_interface_requirements", "network_interface_requirements"):
        for key, value in entry.mapping("network_interface_requirements").items():
            if name == key.lower().replace(" ", "_"):
                return value.strip().lower()
    return ""


def _interface_flag(properties: View, name: str) -> bool:
    return _interface(properties, name) in ("true", "yes", "1", "on")


def _interface_number(properties: View, name: str) -> int:
    value = _interface(properties, name)
    return int(value) if value.isdecimal() and len(value) < 6 else 0
