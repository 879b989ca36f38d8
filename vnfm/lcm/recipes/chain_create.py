"""CHAIN_CREATE: images -> links -> ends and VNFCs, all in parallel -> paths -> probes.

A lane a VNF. COMPLETED means that probe packets crossed every hop of every path and came back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vnfm.graph.servicegraph import Attachment
from vnfm.lcm.layout import ChainLayout, LinkLayout
from vnfm.lcm.recipes.computes import Lane, LaneIds, compute_steps
from vnfm.lcm.recipes.images import image_steps
from vnfm.lcm.routes import Position
from vnfm.lcm.steps import ProbeOrder, Step, StepKind, mint
from vnfm.model.chain import ServiceChain
from vnfm.model.connectivity import Cpd
from vnfm.model.placement import Runtime
from vnfm.model.resources import HopSpec, LinkMember, LinkSpec, PathSpec, PortSpec, Route, SapSpec
from vnfm.placement.types import Plan

MTU_BYTES = 1500
PROBE_PACKETS = 5
PATIENCE_S = 60.0
SWITCH_PATIENCE_S = 15.0  # where nothing was built, so that nothing may still be booting
GUEST_PATIENCE_S = 180.0  # a guest without an agent may still be booting


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """All that the recipe needs to know."""

    operation_id: str
    chain: ServiceChain
    layout: ChainLayout
    lanes: Mapping[str, Lane]  # by alias
    plan: Plan
    generation: int = 0  # of the chain's paths: a base, to which starts are added


def link_id(operation_id: str, link: LinkLayout) -> str:
    """Minted; also the link's id in the placement request."""
    return mint(operation_id, "link", link.key)


def sap_id(operation_id: str, end: str) -> str:
    """Minted; also the end's id in the placement request."""
    return mint(operation_id, "sap", end)


def path_id(operation_id: str, path: str) -> str:
    """Minted."""
    return mint(operation_id, "path", path)


def chain_create(facts: ChainFacts) -> tuple[Step, ...]:
    """The steps, in an order that respects their needs."""
    images = image_steps(facts.lanes.values(), facts.plan)
    image_keys = tuple(s.key for s in images)
    links = _link_steps(facts, image_keys)
    saps = _sap_steps(facts, links)
    computes: list[Step] = []
    for lane in facts.lanes.values():
        computes += compute_steps(lane, facts.plan, LaneIds(facts.operation_id), _ports(facts, lane), image_keys)
    paths = _path_steps(facts, [*saps, *computes])
    return (*images, *links, *saps, *computes, *paths, *_probe_steps(facts, paths))


def _vim_of(facts: ChainFacts) -> str:
    """Links and paths of one chain lie in one VIM: placing.py sees to it."""
    return facts.plan.assignments[0].vim


def _link_steps(facts: ChainFacts, needs: tuple[str, ...]) -> list[Step]:
    return [
        Step(
            key=f"link {link.key}",
            kind=StepKind.LINK,
            title=f"link {link.key}",
            vim=_vim_of(facts),
            needs=needs,
            link=LinkSpec(
                resource_id=link_id(facts.operation_id, link),
                mtu_bytes=MTU_BYTES,
                cidrs=(link.cidr,),
                members=tuple(_member(facts, p) for p in link.ports),
                steered=link.steered,
            ),
        )
        for link in facts.layout.links
    ]


def _member(facts: ChainFacts, port: Attachment) -> LinkMember:
    if not port.cp:
        end = next(e for e in facts.plan.ends if e.id == sap_id(facts.operation_id, port.owner))
        return LinkMember(end.id, port.owner, None, end.host)
    lane = facts.lanes[port.owner]
    cpd = lane.cpd_of_external(port.cp)
    resource_id = LaneIds(facts.operation_id).compute(lane.alias, cpd.vdu_id, port.index)
    assignment = facts.plan.assignment(resource_id)
    assert assignment
    return LinkMember(resource_id, cpd.id, assignment.runtime, assignment.host)


def _sap_steps(facts: ChainFacts, links: Iterable[Step]) -> list[Step]:
    by_key = {s.key: s for s in links}
    steps = []
    for link in facts.layout.links:
        for port in (p for p in link.ports if not p.cp):
            end = next(e for e in facts.plan.ends if e.id == sap_id(facts.operation_id, port.owner))
            need = by_key[f"link {link.key}"]
            assert need.link
            spec = PortSpec(
                cp_id=port.owner,
                link_id=need.link.resource_id,
                ips=(link.addresses[port],),
                mtu_bytes=MTU_BYTES,
                routes=facts.layout.routes.get(port, ()),
            )
            steps.append(
                Step(
                    key=f"end {port.owner}",
                    kind=StepKind.SAP,
                    title=f"end {port.owner}",
                    vim=need.vim,
                    needs=(need.key,),
                    sap=SapSpec(end.id, port.owner, end.host, spec),
                )
            )
    return steps


def _ports(facts: ChainFacts, lane: Lane) -> dict[tuple[str, int], tuple[PortSpec, str]]:
    """By CPD id and instance: the port, and the key of the step that makes its link."""
    ports = {}
    for link in facts.layout.links:
        for port in (p for p in link.ports if p.owner == lane.alias and p.cp):
            cpd = lane.cpd_of_external(port.cp)
            address, routes = link.addresses[port], facts.layout.routes.get(port, ())
            spec = chain_port(cpd, link_id(facts.operation_id, link), address, routes)
            ports[cpd.id, port.index] = (spec, f"link {link.key}")
    return ports


def chain_port(cpd: Cpd, link: str, address: str, routes: tuple[Route, ...]) -> PortSpec:
    """A VNF's port on a link of the chain, by the link's id."""
    return PortSpec(
        cp_id=cpd.id,
        link_id=link,
        ips=() if cpd.l2_transparent else (address,),
        mtu_bytes=cpd.mtu_bytes or MTU_BYTES,
        vnic_type=cpd.vnic_type,
        bandwidth_bps=cpd.bandwidth_bps,
        routes=routes,
        l2_transparent=cpd.l2_transparent,
    )


def _path_steps(facts: ChainFacts, built: Iterable[Step]) -> list[Step]:
    made = {s.allocates: s for s in built}
    steps = []
    for path in facts.layout.paths:
        hops = tuple(_hop(facts, position) for position in path.positions)
        spec = PathSpec(path_id(facts.operation_id, path.name), hops, path.match, generation=facts.generation)
        needs = tuple(made[i].key for h in hops for i in h.replicas or (h.resource_id,))
        steps.append(path_step(path.name, _vim_of(facts), spec, needs))
    return steps


def path_step(name: str, vim: str, spec: PathSpec, needs: tuple[str, ...], former: PathSpec | None = None) -> Step:
    """A path, or another way of one that stands."""
    return Step(f"path {name}", StepKind.PATH, f"path {name}", vim, needs, path=spec, former=former)


def _hop(facts: ChainFacts, position: Position) -> HopSpec:
    at = position.ingress or position.egress
    assert at
    members = [_member(facts, at)]
    lane = facts.lanes.get(position.name)
    if lane and (vdu := lane.facing(p for path in facts.layout.paths for p in path.positions)):
        members = [_member(facts, replace(at, index=n)) for n in range(lane.counts.get(vdu, 1))]
    return HopSpec(
        name=position.name,
        resource_id=members[0].resource_id,
        runtime=members[0].runtime,
        ingress_cp=_cp(facts, position.ingress),
        egress_cp=_cp(facts, position.egress),
        replicas=tuple(m.resource_id for m in members) if len(members) > 1 else (),
    )


def _cp(facts: ChainFacts, port: Attachment | None) -> str:
    if port is None:
        return ""
    return _member(facts, port).cp_id


def _probe_steps(facts: ChainFacts, paths: Iterable[Step]) -> list[Step]:
    guests = any(a.runtime is not Runtime.CONTAINER for a in facts.plan.assignments)
    return [probe_step(step, GUEST_PATIENCE_S if guests else PATIENCE_S) for step in paths]


def probe_step(path: Step, patience_s: float) -> Step:
    """Packets along a path; `patience_s`: how long those that it leads through may take to forward them."""
    return Step(
        key=f"probe {path.title.removeprefix('path ')}",
        kind=StepKind.PROBE,
        title=f"probe {path.title}",
        vim=path.vim,
        needs=(path.key,),
        probe=ProbeOrder(path.allocates, PROBE_PACKETS, patience_s),
    )
