"""From a chain as ordered to a plan: graph -> layout -> demands -> placement. Pure; for dry runs and grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vnfm.graph.build import build_graph
from vnfm.graph.servicegraph import Attachment, ServiceGraph
from vnfm.lcm.layout import ChainLayout, LinkLayout, PathLayout, Position, lay_out
from vnfm.lcm.placing import place_together
from vnfm.lcm.recipes.chain_create import ChainFacts, link_id, sap_id
from vnfm.lcm.recipes.computes import Lane, LaneIds
from vnfm.model.chain import ChainVnf, ServiceChain
from vnfm.model.problem import ProblemError, problem
from vnfm.model.vnfd import Isolation, Vdu, Vnfd
from vnfm.placement.demand import demand_of, rule_of_chain, rule_of_vnfd
from vnfm.placement.explain import explain
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import Demand, End, Link, PathBound, Plan, Refusal, Request, Rule


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What planning needs of an onboarded package."""

    package_id: str
    vnfd: Vnfd
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Planned:
    """What was decided, and the document that people see."""

    facts: ChainFacts | None
    outcome: Plan | Refusal
    document: Mapping[str, Any]
    layout: ChainLayout


def plan_chain(
    chain: ServiceChain,
    packages: Mapping[str, PackageFacts],
    snapshot: Snapshot,
    *,
    operation_id: str,
    tenant: str,
    instance_ids: Mapping[str, str],
    absent: Mapping[str, str],
) -> Planned:
    """Ids are minted from `operation_id`; a dry run takes any. Raises ProblemError for what is wrong with the chain
    itself; a plan that cannot be is a Refusal in the answer."""
    graph = graph_of(chain, packages)
    lanes = _lanes(chain, graph, packages, instance_ids)
    layout = lay_out(chain.ends, graph.links, _paths(graph))
    request = _request(chain, lanes, layout, operation_id, tenant)
    outcome = place_together(request, snapshot)
    document = {**explain(outcome, chain=chain.name), "absent_vims": dict(absent)}
    if isinstance(outcome, Refusal):
        document["refused"] = {**document["refused"], "detail": outcome.detail + _away(absent)}
        return Planned(None, outcome, document, layout)
    document = _told(document, chain, lanes, layout, operation_id)
    return Planned(ChainFacts(operation_id, chain, layout, lanes, outcome), outcome, document, layout)


def graph_of(chain: ServiceChain, packages: Mapping[str, PackageFacts]) -> ServiceGraph:
    """Raises ProblemError `unknown-vnfd` and what else does not fit together, `unsupported` for classifiers."""
    _check_matches(chain)
    return build_graph(chain, {vnfd_id: p.vnfd for vnfd_id, p in packages.items()})


def _check_matches(chain: ServiceChain) -> None:
    """No VIM tells flows apart yet: said before anything is built, not when the path is."""
    for path in chain.paths:
        asked = {
            "ip_protocol": path.match.ip_protocol,
            "destination_port": path.match.destination_port,
            "vlan": path.match.vlan,
            "dscp": path.match.dscp,
        }
        for name, value in asked.items():
            if value:
                raise problem(
                    "unsupported",
                    f"paths.{path.name}.match.{name}: telling flows apart by {name} is not offered; "
                    "leave it out, and all traffic takes the path",
                    instance=chain.name,
                )


def refused(outcome: Refusal, absent: Mapping[str, str]) -> ProblemError:
    """A refusal as the operation's problem."""
    return problem(
        "no-placement",
        f"{outcome.detail}; smallest change that would admit it: {outcome.minimal_change}{_away(absent)}",
        title="No placement",
    )


def _away(absent: Mapping[str, str]) -> str:
    """Which VIMs could not be asked: with one of them here the answer might be another."""
    return "".join(f"; VIM {name} could not be asked: {why}" for name, why in absent.items())


def _lanes(
    chain: ServiceChain,
    graph: ServiceGraph,
    packages: Mapping[str, PackageFacts],
    instance_ids: Mapping[str, str],
) -> dict[str, Lane]:
    lanes = {}
    for vnf in chain.vnfs:
        node = graph.vnf(vnf.alias)
        flavour = replace(node.flavour, vdus=tuple(_with_isolation(v, vnf.isolation) for v in node.flavour.vdus))
        lanes[vnf.alias] = Lane(
            alias=vnf.alias,
            instance_id=instance_ids.get(vnf.alias, ""),
            flavour=flavour,
            counts=dict(node.instances),
            blobs=packages[vnf.vnfd_id].images,
        )
    return lanes


def _with_isolation(vdu: Vdu, isolation: Isolation | None) -> Vdu:
    """The chain's own word on isolation stands in place of the VNFD's, and is a must."""
    if isolation is None:
        return vdu
    needs = replace(vdu.needs, isolation=isolation, wishes=vdu.needs.wishes - {"isolation"})
    return replace(vdu, needs=needs)


def _paths(graph: ServiceGraph) -> tuple[PathLayout, ...]:
    laid = []
    for path in graph.paths:
        crossings = graph.crossings(path.name)
        entered = [None, *(c.target for c in crossings)]
        left = [*(c.source for c in crossings), None]
        positions = tuple(
            Position(hop.name, ingress, egress) for hop, ingress, egress in zip(path.hops, entered, left, strict=True)
        )
        laid.append(PathLayout(path.name, positions, path.match))
    return tuple(laid)


def _request(
    chain: ServiceChain, lanes: Mapping[str, Lane], layout: ChainLayout, operation_id: str, tenant: str
) -> Request:
    demands = [d for vnf in chain.vnfs for d in lane_demands(lanes[vnf.alias], vnf, operation_id, tenant)]
    ends = [End(sap_id(operation_id, e.name)) for e in chain.ends]
    return Request(
        tenant=tenant,
        demands=tuple(demands),
        links=_links(chain, lanes, layout, operation_id),
        paths=_bounds(chain, layout, operation_id),
        rules=_rules(chain, lanes, demands),
        ends=tuple(ends),
    )


def lane_demands(lane: Lane, vnf: ChainVnf, operation_id: str, tenant: str) -> list[Demand]:
    """One a VNFC."""
    ids = LaneIds(operation_id)
    return [
        demand_of(
            vdu,
            demand_id=ids.compute(lane.alias, vdu.id, index),
            alias=lane.alias,
            tenant=tenant,
            vnfd_id=vnf.vnfd_id,
        )
        for vdu in lane.flavour.vdus
        for index in range(lane.counts.get(vdu.id, 1))
    ]


def _node(port: Attachment, lanes: Mapping[str, Lane], operation_id: str) -> str:
    if not port.cp:
        return sap_id(operation_id, port.owner)
    lane = lanes[port.owner]
    return LaneIds(operation_id).compute(lane.alias, lane.cpd_of_external(port.cp).vdu_id, 0)


def _links(chain: ServiceChain, lanes: Mapping[str, Lane], layout: ChainLayout, operation_id: str) -> tuple[Link, ...]:
    found: dict[str, Link] = {}
    for path in layout.paths:
        for before, after in zip(path.positions, path.positions[1:], strict=False):
            assert before.egress
            assert after.ingress
            link = layout.link_of(before.egress)
            assert link
            made = Link(
                id=_segment(operation_id, link, before.egress, after.ingress),
                a=_node(before.egress, lanes, operation_id),
                b=_node(after.ingress, lanes, operation_id),
                bandwidth_bps=max(_bandwidth(p, lanes) for p in (before.egress, after.ingress)),
            )
            found[made.id] = made
    return tuple(found.values())


def _segment(operation_id: str, link: LinkLayout, a: Attachment, b: Attachment) -> str:
    """What placement calls a hop: a link of several members is told pair by pair, as LINK/PAIR."""
    made = link_id(operation_id, link)
    return made if len(link.ports) == 2 else f"{made}/{a.owner}.{a.cp}--{b.owner}.{b.cp}"


def _bandwidth(port: Attachment, lanes: Mapping[str, Lane]) -> int:
    return lanes[port.owner].cpd_of_external(port.cp).bandwidth_bps if port.cp else 0


def _bounds(chain: ServiceChain, layout: ChainLayout, operation_id: str) -> tuple[PathBound, ...]:
    if chain.max_latency_us is None:
        return ()
    bounds = []
    for path in layout.paths:
        ids = []
        for before, after in zip(path.positions, path.positions[1:], strict=False):
            assert before.egress
            assert after.ingress
            link = layout.link_of(before.egress)
            assert link
            ids.append(_segment(operation_id, link, before.egress, after.ingress))
        bounds.append(PathBound(path.name, tuple(ids), chain.max_latency_us))
    return tuple(bounds)


def _rules(chain: ServiceChain, lanes: Mapping[str, Lane], demands: list[Demand]) -> tuple[Rule, ...]:
    rules = [rule_of_chain(r, demands) for r in chain.rules]
    for lane in lanes.values():
        rules += [rule_of_vnfd(r, lane.alias, demands) for r in lane.flavour.affinity]
    return tuple(rules)


def _told(
    document: Mapping[str, Any],
    chain: ServiceChain,
    lanes: Mapping[str, Lane],
    layout: ChainLayout,
    operation_id: str,
) -> dict[str, Any]:
    """Names in place of minted ids, and the word of the chain's author where it overrides the VNFD's."""
    names = {link_id(operation_id, link): link for link in layout.links}
    links = []
    for entry in document["links"]:
        made, _, pair = entry["id"].partition("/")
        link = names[made]
        links.append({**entry, "id": pair or link.key, "cidr": link.cidr})
    overridden = {v.alias: v.isolation for v in chain.vnfs if v.isolation is not None}
    vnfs = []
    for vnf in document["vnfs"]:
        level = overridden.get(vnf["alias"])
        if level is not None:
            word = f"the chain's file asks for isolation level {level.name.lower()}, in place of the VNFD's own"
            vnf = {**vnf, "reasons": [word, *vnf["reasons"]]}
        vnfs.append(vnf)
    return {**document, "links": links, "vnfs": vnfs}
