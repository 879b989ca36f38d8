"""Documents for people: a chain's ends, links and plan, as they stand or will stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vnfm.lcm.recipes.chain_create import ChainFacts, link_id, sap_id
from vnfm.lcm.recipes.computes import Lane
from vnfm.model.realization import Realization
from vnfm.placement.explain import explain
from vnfm.placement.plan import Plan


def created_body(facts: ChainFacts, document: Mapping[str, Any]) -> dict[str, Any]:
    """What `chain show` tells of the ends and links of a chain that is being created."""
    told = {entry["id"]: entry for entry in document["links"]}
    ends = []
    for end in facts.chain.ends:
        resource_id = sap_id(facts.operation_id, end.name)
        at = next(e for e in facts.plan.ends if e.id == resource_id)
        address = next(a for link in facts.layout.links for p, a in link.addresses.items() if p.owner == end.name)
        ends.append(
            {
                "name": end.name,
                "cidr": end.cidr,
                "address": address,
                "vim": at.vim,
                "host": at.host,
                "resource_id": resource_id,
            }
        )
    links = [
        {
            "id": link.key,
            "cidr": link.cidr,
            "resource_id": link_id(facts.operation_id, link),
            "ports": [{"name": p.owner, "cp": p.cp, "address": a} for p, a in link.addresses.items()],
            "latency_us": told.get(link.key, {}).get("latency_us"),
            "bandwidth_bps": told.get(link.key, {}).get("bandwidth_bps"),
            "segment": told.get(link.key, {}).get("segment"),
        }
        for link in facts.layout.links
    ]
    return {"ends": ends, "links": links}


def changed_links(
    after: Realization, lanes: Mapping[str, Lane], before: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The links with everyone who is on them after a change; what was measured of a link is kept."""
    pieces = {key: [x for x in after.links if not x.alias and x.key.partition("@")[0] == key] for key in _keys(after)}
    names = {v.resource_id: v.alias for v in after.vnfcs} | {s.spec.resource_id: s.spec.name for s in after.saps}
    known = {entry["resource_id"]: entry for entry in before}
    told = []
    for key, (link, *others) in pieces.items():
        ports = []
        for owner, port in (p for piece in (link, *others) for p in after.ports(piece.spec.resource_id)):
            name = names[owner]
            cp = _external(lanes[name], port.cp_id) if name in lanes else ""
            ports.append({"name": name, "cp": cp, "address": port.ips[0] if port.ips else ""})
        old = known.get(link.spec.resource_id, {})
        told.append(
            {
                "id": key,
                "cidr": link.cidr,
                "resource_id": link.spec.resource_id,
                "ports": ports,
                "latency_us": old.get("latency_us"),
                "bandwidth_bps": old.get("bandwidth_bps"),
                "segment": old.get("segment"),
            }
        )
    return told


def _keys(after: Realization) -> list[str]:
    """Of the chain's links; the pieces of one in further VIMs are named after it."""
    return list(dict.fromkeys(x.key.partition("@")[0] for x in after.links if not x.alias))


def _external(lane: Lane, cpd_id: str) -> str:
    return next((e.id for e in lane.flavour.external_cps if e.cpd_id == cpd_id), cpd_id)


def changed_plan(before: Mapping[str, Any], plan: Plan, after: Realization, aliases: Sequence[str]) -> dict[str, Any]:
    """The plan as it was told, with what was placed anew in the place of what it stands for."""
    fresh = {v["alias"]: v for v in explain(plan)["vnfs"]}
    old = {v["alias"]: v for v in before.get("vnfs", ())}
    stands = {v.resource_id for v in after.vnfcs}
    vnfs = []
    for alias in aliases:
        entry, new = old.get(alias), fresh.get(alias)
        if entry is None and new is None:
            continue
        kept = [v for v in (entry or {}).get("vnfcs", ()) if v["id"] in stands]
        first = new if new is not None and not kept else entry or {}
        vnfs.append({**first, "vnfcs": [*kept, *(new["vnfcs"] if new else ())]})
    return {**before, "vnfs": vnfs}
