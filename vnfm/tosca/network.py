"""Connection points, virtual links and what leads outside (SOL001 6.8.2, 6.8.7 to 6.8.11, 6.11 substitution)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from vnfm.model.vnfd import Cpd, CpKind, ExtCpd, VirtualLinkDesc
from vnfm.tosca.notes import Place
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.vdus import COMPUTE, UNIT
from vnfm.tosca.view import View
from vnfm.tosca.yamldoc import Map, Seq

VDU_CP = "tosca.nodes.nfv.VduCp"
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
    cps = _ordered(template, [cp for cp in bound_cps if cp is not None])
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
        found[node.name] = ExtCpd(node.name, behind[0] if len(behind) == 1 else "", link)
    by_id = {cp.id: cp for cp in cps}
    mapped = list(_mappings(template))
    for requirement, target, at in mapped:
        if target in by_id:
            found.setdefault(target, ExtCpd(target, target, by_id[target].virtual_link))
            found[target] = replace(found[target], requirement=requirement)
        elif target in found:
            found[target] = replace(found[target], requirement=requirement)
        elif target not in template.nodes:
            template.notes.error(
                "mapping-unknown", f"substitution_mappings: {requirement} names {target}, which is no node", at
            )
    if not mapped:
        for cp in cps:
            if not cp.virtual_link and cp.kind is not CpKind.VIP:
                found.setdefault(cp.id, ExtCpd(cp.id, cp.id))
    return tuple(found.values())


def _link(node: Entity, properties: View) -> VirtualLinkDesc:
    profile = properties.sub("vl_profile")
    cidrs, mtu = [], 0
    for _, entry in profile.children("virtual_link_protocol_data"):
        layer3 = entry.sub("l3_protocol_data")
        if "cidr" in layer3 and (cidr := _cidr(layer3)):
            cidrs.append(cidr)
        mtu = entry.sub("l2_protocol_data").whole("mtu") or mtu
    rates = [profile.sub(k) for k in ("min_bitrate_requirements", "max_bitrate_requirements", "bitrate_requirements")]
    return VirtualLinkDesc(
        id=node.name,
        cidrs=tuple(cidrs),
        mtu_bytes=mtu,
        max_latency_us=profile.sub("qos").time_us("latency"),
        bandwidth_bps=next((r.rate_bps("root") for r in rates if "root" in r), 0),
        layer_protocols=properties.sub("connectivity_type").texts("layer_protocols") or ("ipv4",),
    )


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
    if not bindings:
        if not template.requirements(node, "virtual_binding"):
            template.notes.error(
                "cp-unbound", f"{node.name} is bound to no VDU", node.body.place(), "add a requirement virtual_binding"
            )
        return None
    links = _targets(template, node, "virtual_link", (LINK,), "cp-link", "VnfVirtualLink")
    if len(links) > 1:
        template.notes.error("cp-link", f"{node.name} is on {len(links)} virtual links, at most one", node.body.place())
    link = links[0] if links else ""
    properties = template.properties(node)
    return Cpd(
        id=node.name,
        vdu_id=bindings[0],
        virtual_link=link,
        order=properties.whole("order", -1),
        vnic_type=_vnic_type(properties),
        bandwidth_bps=properties.rate_bps("bitrate_requirement"),
        mtu_bytes=_interface_number(properties, "mtu") or mtu.get(link, 0),
        layer_protocols=properties.texts("layer_protocols") or ("ipv4",),
        l2_transparent=_interface_flag(properties, "l2_transparent"),
    )


def _shared_cp(template: Template, node: Entity, kind: CpKind, bound: dict[str, str]) -> Cpd:
    """A VirtualCp or a VipCp: what it stands for gives the VDU."""
    properties = template.properties(node)
    targets = [name for name, _ in template.requirements(node, "target")]
    vdu = next((t if template.is_node(t, COMPUTE, UNIT) else bound.get(t, "") for t in targets), "")
    links = _targets(template, node, "virtual_link", (LINK,), "cp-link", "VnfVirtualLink")
    return Cpd(
        id=node.name,
        vdu_id=vdu,
        virtual_link=links[0] if links else "",
        order=properties.whole("virtual_cp_order"),
        kind=kind,
        layer_protocols=properties.texts("layer_protocols") or ("ipv4",),
    )


def _targets(
    template: Template, node: Entity, requirement: str, bases: tuple[str, ...], code: str = "target", what: str = ""
) -> list[str]:
    found = []
    for name, at in template.requirements(node, requirement):
        if template.is_node(name, *bases):
            found.append(name)
        elif name not in template.nodes:
            template.notes.error("target-unknown", f"{node.name}: {requirement} names {name}, which is no node", at)
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
    if word not in VNIC_TYPES:
        properties.notes.error(
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
    raw: Any = template.topology.sub("substitution_mappings").get("requirements")
    holders = [m for m in raw if isinstance(m, Map)] if isinstance(raw, Seq) else [raw] if isinstance(raw, Map) else []
    for holder in holders:
        for name, value in holder.items():
            at = holder.place(name)
            if isinstance(value, str):
                yield str(name), value, at
            elif isinstance(value, Seq) and value and isinstance(value[0], str):
                yield str(name), value[0], at
            elif isinstance(value, Seq):
                yield from ((str(name), v[0], at) for v in value if isinstance(v, Seq) and v and isinstance(v[0], str))
