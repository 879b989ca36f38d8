"""What leads outside: external CPs, and substitution mappings (SOL001 6.8.8, 6.11; TOSCA simple profile 3.8.8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from vnfm.model.connectivity import Cpd, CpKind, ExtCpd
from vnfm.tosca.addresses import address_specs
from vnfm.tosca.asks import every_pair
from vnfm.tosca.kinds import CP, LINK, VDU_CP
from vnfm.tosca.network import leads_outside, targets
from vnfm.tosca.notes import Place
from vnfm.tosca.template import Template
from vnfm.tosca.yamldoc import Map, Seq


def read_external(template: Template, cps: Sequence[Cpd]) -> tuple[ExtCpd, ...]:
    """External CPs: each VnfExtCp, each CP that substitution mappings expose, and without any mapping each CP that is
    on no internal link."""
    found: dict[str, ExtCpd] = {}
    for node in template.nodes_of(CP):
        if not leads_outside(template, node):
            continue
        links = targets(template, node, "internal_virtual_link", LINK, "VnfVirtualLink")
        link = links[0] if links else ""
        behind = [cp.id for cp in cps if link and cp.virtual_link == link]
        behind = behind or [a.target for a in template.asks(node) if template.is_node(a.target, VDU_CP)]
        properties = template.properties(node)
        found[node.name] = ExtCpd(
            node.name,
            behind[0] if len(behind) == 1 else "",
            link,
            layer_protocols=properties.texts("layer_protocols"),
            addresses=address_specs(properties),
        )
    by_id = {cp.id: cp for cp in cps}
    mapped = list(mappings_of(template))
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


def mappings_of(template: Template) -> Iterator[tuple[str, str, Place]]:
    """(requirement, node, place) of each requirement in substitution_mappings, in any of its notations."""
    mappings = template.topology.sub("substitution_mappings")
    raw: Any = mappings.get("requirements") or mappings.sub("properties").get("requirements")  # some indent it too far
    holders = [m for m in raw if isinstance(m, Map)] if isinstance(raw, Seq) else [raw] if isinstance(raw, Map) else []
    for holder in holders:
        for name, _, _ in holder.duplicates:
            template.notes.warn(
                "mapping-duplicate",
                f"substitution_mappings: {name} comes again; each one counts",
                holder.place(name),
                "write a list, with `- ` before each",
            )
        for name, value, at in every_pair(holder):
            if isinstance(value, Map):  # TOSCA 1.3: {mapping: [node, requirement]}
                value = value.get("mapping", value.get("node"))
            if isinstance(value, str):
                yield str(name), value, at
            elif isinstance(value, Seq) and value and isinstance(value[0], str):
                yield str(name), value[0], at
            elif isinstance(value, Seq):
                yield from ((str(name), v[0], at) for v in value if isinstance(v, Seq) and v and isinstance(v[0], str))
