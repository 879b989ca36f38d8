"""CHAIN_CREATE: images -> links -> ends and VNFCs, all in parallel -> paths -> probes.

A link between VIMs has a piece in each, which are joined once both are there; a path has a piece in each VIM that it
comes through. A lane a VNF. COMPLETED means that probe packets crossed every hop of every path and came back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vnfm.graph.servicegraph import Attachment
from vnfm.lcm.borders import Placed, Tie, cut, piece_name, pieces_of
from vnfm.lcm.layout import ChainLayout, LinkLayout
from vnfm.lcm.recipes.computes import Lane, LaneIds, compute_steps
from vnfm.lcm.recipes.images import image_steps
from vnfm.lcm.routes import Position
from vnfm.lcm.steps import JoinOrder, PathPiece, PiecesOfLink, ProbeOrder, Step, StepKind, mint
from vnfm.model.chain import ServiceChain
from vnfm.model.connectivity import Cpd
from vnfm.model.placement import Runtime
from vnfm.model.resources import HopSpec, LinkMember, LinkSpec, PathSpec, PortSpec, Route, SapSpec, Segment
from vnfm.placement.plan import Assignment, Plan, PlannedEnd

MTU_BYTES = 1500
PROBE_PACKETS = 5
PATIENCE_S = 60.0
SWITCH_PATIENCE_S = 15.0  # where nothing was built, so that nothing may still be booting
GUEST_PATIENCE_S = 180.0  # a guest without an agent may still be booting


class Member(NamedTuple):
    """Who is at a port of a link, and the VIM that it is in."""

    at: LinkMember
    vim: str


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """All that the recipe needs to know."""

    operation_id: str
    chain: ServiceChain
    layout: ChainLayout
    lanes: Mapping[str, Lane]  # by alias
    plan: Plan
    generation: int = 0  # of the chain's paths: a base, to which starts are added
    ties: Mapping[str, Tie] = field(default_factory=dict)  # of links between VIMs, by key
    members: Mapping[Attachment, Member] = field(init=False, repr=False, compare=False)  # of all links, by port

    def __post_init__(self) -> None:
        placed = {a.id: a for a in self.plan.assignments} | {e.id: e for e in self.plan.ends}
        ports = (port for link in self.layout.links for port in link.ports)
        object.__setattr__(self, "members", {port: _located(self, port, placed) for port in ports})

    def member(self, port: Attachment) -> Member:
        """Who is at a port, which need not be on a link: that of a further instance, say."""
        found = self.members.get(port)
        return found or _located(self, port, {a.id: a for a in self.plan.assignments})


def link_id(operation_id: str, link: LinkLayout) -> str:
    """Minted; also the link's id in the placement request, and that of the piece where it begins."""
    return mint(operation_id, "link", link.key)


def sap_id(operation_id: str, end: str) -> str:
    """Minted; also the end's id in the placement request."""
    return mint(operation_id, "sap", end)


def path_id(operation_id: str, path: str) -> str:
    """Minted, for a piece of a path by the piece's name."""
    return mint(operation_id, "path", path)


def vim_at(facts: ChainFacts, port: Attachment) -> str:
    """The VIM that a port is in."""
    return facts.member(port).vim


def _located(facts: ChainFacts, port: Attachment, placed: Mapping[str, Assignment | PlannedEnd]) -> Member:
    if not port.cp:
        end = placed[sap_id(facts.operation_id, port.owner)]
        return Member(LinkMember(end.id, port.owner, None, end.host), end.vim)
    lane = facts.lanes[port.owner]
    cpd = lane.cpd_of_external(port.cp)
    at = placed[LaneIds(facts.operation_id).compute(lane.alias, cpd.vdu_id, port.index)]
    assert isinstance(at, Assignment)
    return Member(LinkMember(at.id, cpd.id, at.runtime, at.host), at.vim)


def piece_id(facts: ChainFacts, link: LinkLayout, vim: str) -> str:
    """The id of a link, or of its piece in that VIM."""
    if vim == vim_at(facts, link.ports[0]):
        return link_id(facts.operation_id, link)
    return mint(facts.operation_id, "link", link.key, vim)


def _key_of_piece(facts: ChainFacts, link: LinkLayout, vim: str) -> str:
    return f"link {link.key}" if vim == vim_at(facts, link.ports[0]) else f"link {link.key}@{vim}"


def chain_create(facts: ChainFacts) -> tuple[Step, ...]:
    """The steps, in an order that respects their needs."""
    images = image_steps(facts.lanes.values(), facts.plan)
    image_keys = tuple(s.key for s in images)
    links = [s for link in facts.layout.links for s in _link_steps(facts, link, image_keys)]
    joins = [s for link in facts.layout.links if link.key in facts.ties for s in _join_steps(facts, link)]
    saps = _sap_steps(facts, links)
    computes: list[Step] = []
    for lane in facts.lanes.values():
        computes += compute_steps(lane, facts.plan, LaneIds(facts.operation_id), _ports(facts, lane), image_keys)
    paths = _path_steps(facts, [*saps, *computes, *joins])
    return (*images, *links, *joins, *saps, *computes, *paths, *_probe_steps(facts, paths))


def _link_steps(facts: ChainFacts, link: LinkLayout, needs: tuple[str, ...]) -> list[Step]:
    """One, or where the link leads into another VIM one for each of its pieces."""
    tie = facts.ties.get(link.key)
    steps = []
    for vim in dict.fromkeys(vim_at(facts, p) for p in link.ports):
        key = _key_of_piece(facts, link, vim)
        spec = LinkSpec(
            resource_id=piece_id(facts, link, vim),
            mtu_bytes=mtu_of(tie),
            cidrs=(link.cidr,),
            members=tuple(facts.member(p).at for p in link.ports if vim_at(facts, p) == vim),
            steered=link.steered,
            segment=Segment(tie.encap, tie.network) if tie else None,
            leads=tie is not None and tie.leads == vim,
        )
        steps.append(Step(key=key, kind=StepKind.LINK, title=key, vim=vim, needs=needs, link=spec))
    return steps


def mtu_of(tie: Tie | None) -> int:
    """Of a link; where it is joined over VIMs, what the narrower of them carries."""
    return min(MTU_BYTES, tie.mtu_bytes) if tie and tie.mtu_bytes else MTU_BYTES


def _join_steps(facts: ChainFacts, link: LinkLayout) -> list[Step]:
    """The pieces of a link, each joined with the others: the VIM that leads has said by then which segment it is."""
    tie = facts.ties[link.key]
    of = {vim: piece_id(facts, link, vim) for vim in dict.fromkeys(vim_at(facts, p) for p in link.ports)}
    needs = tuple(_key_of_piece(facts, link, vim) for vim in of)
    pieces = PiecesOfLink(of[tie.leads], tuple(i for vim, i in of.items() if vim != tie.leads))
    return [join_step(f"{link.key}@{vim}", vim, JoinOrder(made, pieces), needs) for vim, made in of.items()]


def join_step(name: str, vim: str, order: JoinOrder, needs: tuple[str, ...]) -> Step:
    """A piece of a link, joined with the other ones."""
    return Step(f"join {name}", StepKind.JOIN, f"join {name}", vim, needs, join=order)


def _sap_steps(facts: ChainFacts, links: Iterable[Step]) -> list[Step]:
    by_key = {s.key: s for s in links}
    # ends of connections agree on what the narrowest link carries, so that nothing has to be told them on the way
    narrowest = min(mtu_of(tie) for tie in (None, *facts.ties.values()))
    steps = []
    for link in facts.layout.links:
        for port in (p for p in link.ports if not p.cp):
            end = next(e for e in facts.plan.ends if e.id == sap_id(facts.operation_id, port.owner))
            need = by_key[_key_of_piece(facts, link, end.vim)]
            assert need.link
            spec = PortSpec(
                cp_id=port.owner,
                link_id=need.link.resource_id,
                ips=(link.addresses[port],),
                mtu_bytes=narrowest,
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
            vim = vim_at(facts, port)
            spec = chain_port(cpd, piece_id(facts, link, vim), address, routes, mtu_of(facts.ties.get(link.key)))
            ports[cpd.id, port.index] = (spec, _key_of_piece(facts, link, vim))
    return ports


def chain_port(cpd: Cpd, link: str, address: str, routes: tuple[Route, ...], mtu_bytes: int = MTU_BYTES) -> PortSpec:
    """A VNF's port on a link of the chain, by the link's id; its MTU is at most the link's."""
    return PortSpec(
        cp_id=cpd.id,
        link_id=link,
        ips=() if cpd.l2_transparent else (address,),
        mtu_bytes=min(cpd.mtu_bytes or mtu_bytes, mtu_bytes) if mtu_bytes < MTU_BYTES else cpd.mtu_bytes or mtu_bytes,
        vnic_type=cpd.vnic_type,
        bandwidth_bps=cpd.bandwidth_bps,
        routes=routes,
        l2_transparent=cpd.l2_transparent,
        vlan=cpd.vlan_id,
    )


def _path_steps(facts: ChainFacts, built: Iterable[Step]) -> list[Step]:
    made = {s.join.link_id if s.join else s.allocates: s for s in built}
    steps = []
    for path in facts.layout.paths:
        for number, (vim, hops) in enumerate(cut([_placed(facts, position) for position in path.positions])):
            name = piece_name(path.name, number)
            spec = PathSpec(path_id(facts.operation_id, name), hops, path.match, generation=facts.generation)
            needs = tuple(dict.fromkeys(made[i].key for h in hops for i in h.replicas or (h.resource_id,)))
            steps.append(path_step(name, vim, spec, needs))
    return steps


def _placed(facts: ChainFacts, position: Position) -> Placed:
    at = position.ingress or position.egress
    assert at
    vim = vim_at(facts, at)

    def link(port: Attachment | None) -> str:
        found = facts.layout.link_of(port) if port else None
        return piece_id(facts, found, vim) if found else ""

    return Placed(_hop(facts, position), vim, link(position.ingress), link(position.egress))


def path_step(name: str, vim: str, spec: PathSpec, needs: tuple[str, ...], former: PathSpec | None = None) -> Step:
    """A path, or another way of one that stands."""
    return Step(f"path {name}", StepKind.PATH, f"path {name}", vim, needs, path=spec, former=former)


def _hop(facts: ChainFacts, position: Position) -> HopSpec:
    at = position.ingress or position.egress
    assert at
    members = [facts.member(at).at]
    lane = facts.lanes.get(position.name)
    if lane and (vdu := lane.facing(p for path in facts.layout.paths for p in path.positions)):
        members = [facts.member(replace(at, index=n)).at for n in range(lane.counts.get(vdu, 1))]
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
    return facts.member(port).at.cp_id


def _probe_steps(facts: ChainFacts, paths: Iterable[Step]) -> list[Step]:
    guests = any(a.runtime is not Runtime.CONTAINER for a in facts.plan.assignments)
    patience_s = GUEST_PATIENCE_S if guests else PATIENCE_S
    steps = {s.key.removeprefix("path "): s for s in paths}
    found = []
    for path in facts.layout.paths:
        pieces = [steps[name] for name in pieces_of(path.name, steps)]
        last = path.positions[-1].ingress
        link = facts.layout.link_of(last) if last else None
        address = link.addresses[last] if link and last else ""
        made = [PathPiece(s.vim, s.allocates) for s in pieces]
        found.append(probe_step(path.name, made, tuple(s.key for s in pieces), patience_s, address))
    return found


def probe_step(
    name: str, pieces: Sequence[PathPiece], needs: tuple[str, ...], patience_s: float, destination: str
) -> Step:
    """Packets along a path by its pieces, to the address (with prefix length) of its last end; `patience_s`: how long
    those that it leads through may take to forward them."""
    first, *beyond = pieces
    target = destination.split("/")[0] if beyond else ""
    return Step(
        key=f"probe {name}",
        kind=StepKind.PROBE,
        title=f"probe path {name}",
        vim=first.vim,
        needs=needs,
        probe=ProbeOrder(first.path_id, PROBE_PACKETS, patience_s, tuple(beyond), target),
    )
