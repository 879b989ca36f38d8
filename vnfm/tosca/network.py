"""Connection points, virtual links and what leads outside (SOL001 6.8.2, 6.8.7 to 6.8.11, 6.11 substitution)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from vnfm.model.vnfd import Bitrate, Cpd, CpKind, ExtCpd, VirtualLinkDesc
from vnfm.tosca.addresses import address_specs
from vnfm.tosca.notes import Place
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.vdus import COMPUTE, UNIT
from vnfm.tosca.view import View
from vnfm.tosca.yamldoc import Map, Seq

VDU_CP = "tosca.nodes.nfv.VduCp"
VDU_SUB_CP = "tosca.nodes.nfv.VduSubCp"
VIRTUAL_CP = "tosca.nodes.nfv.VirtualCp"
VIP_CP = "tosca.nodes.nfv.VipCp"
EXT_CP = "tosca.nodes.nfv.VnfExtCp"
LINK = "tosca.nodes.nfv.VnfVirtualLink"
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
    """Every CP of a VDU, in its order, with the position among its VDU's CPs."""
    mtu = {link.id: link.mtu_bytes for link in links}
    bound_cps = (_vdu_cp(template, node, mtu) for node in template.nodes_of(VDU_CP))
    cps = _in_trunks(template, _ordered(template, [cp for cp in bound_cps if cp is not None]))
    bound = {cp.id: cp.vdu_id for cp in cps}
    for kind, base in ((CpKind.VIRTUAL, VIRTUAL_CP), (CpKind.VIP, VIP_CP)):
        cps += [_shared_cp(template, node, kind, bound) for node in template.nodes_of(base)]
    return tuple(cps)


def read_external(template: Template, cps: Sequence[Cpd]) -> tuple[ExtCpd, ...]:
    """External CPs: each VnfExtCp, each CP that substitution mappings expose, and without any mapping each CP that is
    on no internal link."""
    found: dict[str, ExtCpd] = {}
    for node in template.nodes_of(EXT_CP):
        targets = _targets(template, node, "internal_virtual_link", (LINK,))
        link = targets[0] if targets else ""
        behind = [cp.id for cp in cps if link and cp.virtual_link == link]
        properties = template.properties(node)
        found[node.name] = ExtCpd(
            node.name,
            behind[0] if len(behind) == 1 else "",
            link,
            layer_protocols=properties.texts("layer_protocols"),
            addresses=address_specs(properties),
        )
    by_id = {cp.id: cp for cp in cps}
    mapped = list(_mappings(template))
    for requirement, target, at in mapped:
        if target in by_id:
            found.setdefault(target, ExtCpd(target, target, by_id[target].virtual_link))
            found[target] = replace(found[target], requirement=requirement)
        elif target in found:
            found[target] = replace(found[target], requirement=requirement)
        elif target not in template.nodes:
            template.notes.warn(
                "mapping-unknown",
                f"substitution_mappings: {requirement} names {target}, which is no node",
                at,
                "name a connection point of this template, or leave the requirement out",
            )
    if not mapped:
        for cp in cps:
            if not cp.virtual_link and cp.kind in (CpKind.VDU, CpKind.VIRTUAL):
                found.setdefault(cp.id, ExtCpd(cp.id, cp.id, implied=True))
    return tuple(found.values())


def _link(node: Entity, properties: View) -> VirtualLinkDesc:
    profile = properties.sub("vl_profile")
    cidrs, gateways, mtu, dhcp = [], [], 0, None
    for _, entry in profile.children("virtual_link_protocol_data"):
        layer3 = entry.sub("l3_protocol_data")
        if "cidr" in layer3 and (cidr := _cidr(layer3)):
            cidrs.append(cidr)
        if "gateway_ip" in layer3:
            gateways.append(layer3.text("gateway_ip"))
        if "dhcp_enabled" in layer3:
            dhcp = layer3.flag("dhcp_enabled")
        mtu = entry.sub("l2_protocol_data").whole("mtu") or mtu
    least, most, plain = (bitrate(profile.sub(f"{k}bitrate_requirements")) for k in ("min_", "max_", ""))
    qos, connectivity = profile.sub("qos"), properties.sub("connectivity_type")
    return VirtualLinkDesc(
        id=node.name,
        cidrs=tuple(cidrs),
        mtu_bytes=mtu,
        max_latency_us=qos.time_us("latency"),
        bandwidth_bps=least.root_bps or most.root_bps or plain.root_bps,
        layer_protocols=connectivity.texts("layer_protocols") or ("ipv4",),
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
        layer3.notes.error(
            "value-cidr", f"{layer3.path}.cidr: {text!r} is no network", layer3.at("cidr"), "such as 10.0.0.0/24"
        )
        return ""


def _vdu_cp(template: Template, node: Entity, mtu: dict[str, int]) -> Cpd | None:
    bindings = _targets(template, node, "virtual_binding", (COMPUTE, UNIT), "cp-binding", "VDU")
    trunk = next((name for name, _ in template.requirements(node, "trunk_binding")), "")
    if not bindings and not trunk:
        if not template.requirements(node, "virtual_binding"):
            template.notes.error(
                "cp-unbound", f"{node.name} is bound to no VDU", node.body.place(), "add a requirement virtual_binding"
            )
        return None
    if len(set(bindings)) > 1:
        template.notes.error("cp-binding", f"{node.name} is bound to {len(bindings)} VDUs", node.body.place())
    links = _targets(template, node, "virtual_link", (LINK,), "cp-link", "VnfVirtualLink")
    if len(links) > 1:
        template.notes.error("cp-link", f"{node.name} is on {len(links)} virtual links, at most one", node.body.place())
    link = links[0] if links else ""
    properties = template.properties(node)
    return Cpd(
        id=node.name,
        vdu_id=bindings[0] if bindings else "",
        virtual_link=link,
        order=properties.whole("order", -1),
        kind=CpKind.SUB if template.is_node(node.name, VDU_SUB_CP) else CpKind.VDU,
        vnic_type=_vnic_type(properties),
        bandwidth_bps=properties.rate_bps("bitrate_requirement"),
        mtu_bytes=_interface_number(properties, "mtu") or mtu.get(link, 0),
        layer_protocols=properties.texts("layer_protocols") or ("ipv4",),
        l2_transparent=_interface_flag(properties, "l2_transparent"),
        role=properties.text("role"),
        description=properties.text("description"),
        trunk=properties.flag("trunk_mode"),
        trunk_cp=trunk,
        addresses=address_specs(properties),
    )


def _in_trunks(template: Template, cps: list[Cpd]) -> list[Cpd]:
    """A CP in a trunk is of the VDU that the trunk is of."""
    owner = {cp.id: cp.vdu_id for cp in cps}
    found = []
    for cp in cps:
        if cp.trunk_cp and not owner.get(cp.trunk_cp):
            template.notes.error(
                "cp-trunk",
                f"{cp.id}: trunk_binding names {cp.trunk_cp}, which is no connection point of a VDU",
                template.nodes[cp.id].body.place("requirements"),
            )
        found.append(replace(cp, vdu_id=cp.vdu_id or owner.get(cp.trunk_cp, "")))
    return found


def _shared_cp(template: Template, node: Entity, kind: CpKind, bound: dict[str, str]) -> Cpd:
    """A VirtualCp or a VipCp: what it stands for gives the VDU."""
    properties = template.properties(node)
    targets = template.requirements(node, "target")
    for name, at in targets:
        if name not in template.nodes:
            template.notes.error("target-unknown", f"{node.name}: target names {name}, which is no node", at)
    vdu = next((t if template.is_node(t, COMPUTE, UNIT) else bound.get(t, "") for t, _ in targets), "")
    links = _targets(template, node, "virtual_link", (LINK,), "cp-link", "VnfVirtualLink")
    return Cpd(
        id=node.name,
        vdu_id=vdu,
        virtual_link=links[0] if links else "",
        order=properties.whole("virtual_cp_order"),
        kind=kind,
        layer_protocols=properties.texts("layer_protocols") or ("ipv4",),
        role=properties.text("role"),
        description=properties.text("description"),
        targets=tuple(name for name, _ in targets),
        vip_function=properties.text("vip_function"),
        addresses=address_specs(properties),
    )


def _targets(
    template: Template, node: Entity, requirement: str, bases: tuple[str, ...], code: str = "target", what: str = ""
) -> list[str]:
    found = []
    for name, at in template.requirements(node, requirement):
        if template.is_node(name, *bases):
            found.append(name)
        elif name not in template.nodes:
            note = template.notes.error if requirement == "virtual_binding" else template.notes.warn
            note("target-unknown", f"{node.name}: {requirement} names {name}, which is no node", at)
        elif what:
            template.notes.error(code, f"{node.name}: {requirement} leads to {name}, which is no {what}", at)
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
    for _, entry in properties.children("virtual_network_interface_requirements"):
        for key, value in entry.mapping("network_interface_requirements").items():
            if name == key.lower().replace(" ", "_"):
                return value.strip().lower()
    return ""


def _interface_flag(properties: View, name: str) -> bool:
    return _interface(properties, name) in ("true", "yes", "1", "on")


def _interface_number(properties: View, name: str) -> int:
    value = _interface(properties, name)
    return int(value) if value.isdecimal() and len(value) < 6 else 0


def _mappings(template: Template) -> Iterator[tuple[str, str, Place]]:
    """(requirement, node, place) of each requirement in substitution_mappings, in any of its notations."""
    mappings = template.topology.sub("substitution_mappings")
    raw: Any = mappings.get("requirements") or mappings.sub("properties").get("requirements")  # some indent it too far
    holders = [m for m in raw if isinstance(m, Map)] if isinstance(raw, Seq) else [raw] if isinstance(raw, Map) else []
    for holder in holders:
        for name, value in holder.items():
            at = holder.place(name)
            if isinstance(value, Map):  # TOSCA 1.3: {mapping: [node, requirement]}
                value = value.get("mapping")
            if isinstance(value, str):
                yield str(name), value, at
            elif isinstance(value, Seq) and value and isinstance(value[0], str):
                yield str(name), value[0], at
            elif isinstance(value, Seq):
                yield from ((str(name), v[0], at) for v in value if isinstance(v, Seq) and v and isinstance(v[0], str))
