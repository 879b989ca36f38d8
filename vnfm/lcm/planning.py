"""From a chain as ordered to a plan: graph -> layout -> demands -> placement. Pure; for dry runs and grants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vnfm.graph.servicegraph import Attachment
from vnfm.lcm.borders import Tie
from vnfm.lcm.layout import ChainLayout, PathLayout
from vnfm.lcm.offers import BALANCE, STEER, UNTOLD, Capabilities, need
from vnfm.lcm.placing import Ground, Spread, place_over
from vnfm.lcm.recipes.chain_create import ChainFacts, link_id, sap_id, vim_at
from vnfm.lcm.recipes.computes import Lane, LaneIds
from vnfm.lcm.shapes import PackageFacts, shape_of
from vnfm.model.chain import ChainVnf, ServiceChain
from vnfm.model.problem import ProblemError, problem
from vnfm.model.resources import Reach
from vnfm.placement.demand import demand_of, rule_of_chain, rule_of_vnfd
from vnfm.placement.explain import explain
from vnfm.placement.plan import Plan, Refusal
from vnfm.placement.request import Demand, End, Link, PathBound, Request, Rule
from vnfm.placement.snapshot import Snapshot


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
    capabilities: Capabilities = UNTOLD,
    reaches: Sequence[Reach] = (),
    told: bool = True,
) -> Planned:
    """Ids are minted from `operation_id`; a dry run takes any. Raises ProblemError for what is wrong with the chain
    itself; a plan that cannot be is a Refusal in the answer. `told`: with the plan's reasons."""
    shape = shape_of(chain, packages)
    lanes, layout = shape.lanes_with(instance_ids), shape.layout
    request = _request(chain, lanes, layout, operation_id, tenant)
    ground = Ground(reaches, _uncut(layout, operation_id), kept_together(lanes, operation_id), capabilities)
    made = place_over(request, snapshot, ground, told=told)
    outcome = made.plan if isinstance(made, Spread) else made
    document = {**explain(outcome, chain=chain.name), "absent_vims": dict(absent)}
    if isinstance(outcome, Refusal):
        document["refused"] = {**document["refused"], "detail": outcome.detail + _away(absent)}
        return Planned(None, outcome, document, layout)
    assert isinstance(made, Spread)
    keys = {link_id(operation_id, link): link.key for link in layout.links}
    facts = ChainFacts(operation_id, chain, layout, lanes, outcome, ties={keys[i]: tie for i, tie in made.ties.items()})
    _check_offers(facts, capabilities)
    document = _told(document, facts)
    return Planned(facts, outcome, document, layout)


def _uncut(layout: ChainLayout, operation_id: str) -> dict[str, str]:
    """Links that cannot lead from one VIM into another, by the ids that placement calls them by, and why."""
    found = {}
    for path in layout.paths:
        for a, b in (pair for crossing in path.crossings for pair in _pairs(layout, *crossing)):
            link = layout.link_of(a)
            assert link
            if link.steered or len(link.ports) != 2:
                why = "is steered (paths fork, match or balance there)" if link.steered else "has more than two ports"
                found[_segment(operation_id, layout, a, b)] = f"link {link.key} {why}, and cannot be joined over VIMs"
    return found


def kept_together(lanes: Mapping[str, Lane], operation_id: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """VNFCs that share a link of their VNF, which lies in one VIM."""
    ids, found = LaneIds(operation_id), []
    for lane in lanes.values():
        for link in lane.flavour.virtual_links:
            vdus = {c.vdu_id for c in lane.flavour.cps if c.virtual_link == link.id}
            group = frozenset(ids.compute(lane.alias, v, n) for v in vdus for n in range(lane.counts.get(v, 1)))
            found.append((f"VNF {lane.alias}: its own link {link.id} cannot be joined over VIMs", group))
    return tuple(found)


def _check_offers(facts: ChainFacts, capabilities: Capabilities) -> None:
    for link in facts.layout.links:
        vim = vim_at(facts, link.ports[0])
        if any(p.index for p in link.ports):
            need(capabilities, vim, BALANCE, f"link {link.key}")
        if link.steered:
            need(capabilities, vim, STEER, f"link {link.key}")


class NoPlacement(ProblemError):
    """`no-placement`, with the refusal that it tells of."""

    def __init__(self, told: ProblemError, refusal: Refusal) -> None:
        super().__init__(told.problem)
        self.refusal = refusal


def refused(outcome: Refusal, absent: Mapping[str, str]) -> NoPlacement:
    """A refusal as the operation's problem."""
    told = problem(
        "no-placement",
        f"{outcome.detail}; smallest change that would admit it: {outcome.minimal_change}{_away(absent)}",
        title="No placement",
    )
    return NoPlacement(told, outcome)


def _away(absent: Mapping[str, str]) -> str:
    """Which VIMs could not be asked: with one of them here the answer might be another."""
    return "".join(f"; VIM {name} could not be asked: {why}" for name, why in absent.items())


def _request(
    chain: ServiceChain, lanes: Mapping[str, Lane], layout: ChainLayout, operation_id: str, tenant: str
) -> Request:
    demands = [d for vnf in chain.vnfs for d in lane_demands(lanes[vnf.alias], vnf, operation_id, tenant)]
    ends = [End(sap_id(operation_id, e.name), name=e.name) for e in chain.ends]
    return Request(
        tenant=tenant,
        demands=tuple(demands),
        links=_links(lanes, layout, operation_id),
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
            sites=vnf.sites,
            zones=vnf.zones,
            vims=(vnf.vim,) if vnf.vim else (),
        )
        for vdu in lane.flavour.vdus
        for index in range(lane.counts.get(vdu.id, 1))
    ]


def _node(port: Attachment, lanes: Mapping[str, Lane], operation_id: str) -> str:
    if not port.cp:
        return sap_id(operation_id, port.owner)
    lane = lanes[port.owner]
    return LaneIds(operation_id).compute(lane.alias, lane.cpd_of_external(port.cp).vdu_id, port.index)


def _links(lanes: Mapping[str, Lane], layout: ChainLayout, operation_id: str) -> tuple[Link, ...]:
    """A link a crossing; with several instances of a VNF one for each, to the first instance of its neighbour."""
    found: dict[str, Link] = {}
    for path in layout.paths:
        for a, b in (pair for crossing in path.crossings for pair in _pairs(layout, *crossing)):
            made = Link(
                id=_segment(operation_id, layout, a, b),
                a=_node(a, lanes, operation_id),
                b=_node(b, lanes, operation_id),
                bandwidth_bps=max(_bandwidth(p, lanes) for p in (a, b)),
                name=f"{a.owner} - {b.owner}",
            )
            found[made.id] = made
    return tuple(found.values())


def _pairs(layout: ChainLayout, a: Attachment, b: Attachment) -> Iterator[tuple[Attachment, Attachment]]:
    link = layout.link_of(a)
    assert link
    yield a, b
    for port in link.ports:
        if port.index and replace(port, index=0) == a:
            yield port, b
        elif port.index and replace(port, index=0) == b:
            yield a, port


def _segment(operation_id: str, layout: ChainLayout, a: Attachment, b: Attachment) -> str:
    """What placement calls a hop: a link of several members is told pair by pair, as LINK/PAIR."""
    link = layout.link_of(a)
    assert link
    made = link_id(operation_id, link)
    return made if len(link.ports) == 2 else f"{made}/{port_name(a)}--{port_name(b)}"


def port_name(port: Attachment) -> str:
    """How plans call a port: `fw.left`, a further instance's `fw.left#1`."""
    return f"{port.owner}.{port.cp}" + (f"#{port.index}" if port.index else "")


def _bandwidth(port: Attachment, lanes: Mapping[str, Lane]) -> int:
    return lanes[port.owner].cpd_of_external(port.cp).bandwidth_bps if port.cp else 0


def _bounds(chain: ServiceChain, layout: ChainLayout, operation_id: str) -> tuple[PathBound, ...]:
    return tuple(
        PathBound(name, tuple(_segment(operation_id, layout, a, b) for a, b in crossings), bound)
        for path in layout.paths
        if (bound := chain.latency_bound_us(path.name)) is not None
        for name, crossings in ways_of(path, {p for link in layout.links for p in link.ports if p.index})
    )


def ways_of(
    path: PathLayout, further: Iterable[Attachment]
) -> Iterator[tuple[str, tuple[tuple[Attachment, Attachment], ...]]]:
    """The path through first instances, then for each further instance the path through that one."""
    yield path.name, path.crossings
    for owner, index in sorted({(p.owner, p.index) for p in further}):
        if any(position.name == owner for position in path.positions):
            through = tuple(
                (replace(a, index=index) if a.owner == owner else a, replace(b, index=index) if b.owner == owner else b)
                for a, b in path.crossings
            )
            yield f"{path.name} by {owner}#{index}", through


def _rules(chain: ServiceChain, lanes: Mapping[str, Lane], demands: list[Demand]) -> tuple[Rule, ...]:
    rules = [rule_of_chain(r, demands) for r in chain.rules]
    for lane in lanes.values():
        rules += [rule_of_vnfd(r, lane.alias, demands) for r in lane.flavour.affinity]
    return tuple(rules)


def _told(document: Mapping[str, Any], facts: ChainFacts) -> dict[str, Any]:
    """Names in place of minted ids, what ties a link over VIMs, and the word of the chain's author where it overrides
    the VNFD's."""
    chain = facts.chain
    names = {link_id(facts.operation_id, link): link for link in facts.layout.links}
    links = []
    for entry in document["links"]:
        made, _, pair = entry["id"].partition("/")
        link = names[made]
        links.append(
            {**entry, "id": pair or link.key, "cidr": link.cidr, "segment": _tie_told(facts.ties.get(link.key))}
        )
    overridden = {v.alias: v.isolation for v in chain.vnfs if v.isolation is not None}
    vnfs = []
    for vnf in document["vnfs"]:
        level = overridden.get(vnf["alias"])
        if level is not None:
            word = f"the chain's file asks for isolation level {level.name.lower()}, in place of the VNFD's own"
            vnf = {**vnf, "reasons": [word, *vnf["reasons"]]}
        vnfs.append(vnf)
    return {**document, "links": links, "vnfs": vnfs}


def _tie_told(tie: Tie | None) -> dict[str, Any] | None:
    """What joins a link over VIMs; None for one that stays in one."""
    if tie is None:
        return None
    return {"network": tie.network, "encap": str(tie.encap), "vims": list(tie.vims), "leads": tie.leads}
