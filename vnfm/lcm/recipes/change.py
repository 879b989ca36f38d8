"""CHAIN_UPDATE, CHAIN_SCALE, SCALE, HEAL: make before break.

images -> what stands is asked for again, and joined again over VIMs (HEAL only) -> new VNFCs with the links of their
own, all in parallel -> every path that leads elsewhere is switched (the VIM drains what leaves it) -> probes -> what is
not needed any more goes, and there is no way back from then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from vnfm.lcm.borders import Placed, cut, piece_name, pieces_of
from vnfm.lcm.latecomers import PortKey, Wiring
from vnfm.lcm.recipes.chain_create import (
    GUEST_PATIENCE_S,
    PATIENCE_S,
    SWITCH_PATIENCE_S,
    join_step,
    path_id,
    path_step,
    probe_step,
)
from vnfm.lcm.recipes.computes import (
    FIRST_HOST,
    Lane,
    LaneIds,
    compute_step,
    cps_of,
    internal_links,
    internal_port,
)
from vnfm.lcm.recipes.images import image_steps
from vnfm.lcm.routes import Position
from vnfm.lcm.slots import Fresh, Slots
from vnfm.lcm.steps import JoinOrder, PathPiece, PiecesOfLink, Removal, Step, StepKind
from vnfm.model.connectivity import Cpd
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.model.realization import LinkThere, Realization, VnfcThere
from vnfm.model.resources import HopSpec, PathSpec, PortSpec, ResourceKind
from vnfm.placement.plan import Plan

KeyedPort = tuple[PortSpec, str]  # with the key of the step that makes its link, or empty


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """All that the recipe needs to know. `mend`: ask again for the links and ends of what is made anew."""

    operation_id: str
    wiring: Wiring
    slots: Slots
    ports: Mapping[PortKey, PortSpec]  # on the chain's links, of fresh VNFCs
    plan: Plan
    generation: int
    mend: bool = False

    @property
    def before(self) -> Realization:
        """What stands."""
        return self.wiring.before


def change_steps(facts: ChangeFacts) -> tuple[Step, ...]:
    """The steps, in an order that respects their needs."""
    images = image_steps(_lanes(facts), facts.plan, _present(facts.before))
    image_keys = tuple(s.key for s in images)
    kept_links, kept_saps = _mended(facts) if facts.mend else ([], [])
    joins = _joined_again(facts.before, kept_links)
    own = _own_links(facts, image_keys)
    mended = {s.allocates: s.key for s in kept_links}
    computes = [_vnfc(facts, f, own, mended, image_keys) for f in facts.slots.fresh]
    made = [*kept_saps, *computes]
    paths = _paths(facts, [*made, *joins])
    probes = _probes(facts, paths)
    return (
        *images,
        *kept_links,
        *joins,
        *own,
        *made,
        *paths,
        *probes,
        *_removals(facts, tuple(s.key for s in (*made, *probes))),
    )


def _probes(facts: ChangeFacts, paths: Sequence[Step]) -> list[Step]:
    """Of each path of which a piece is switched, from its first piece to its last."""
    steps = {s.key.removeprefix("path "): s for s in paths}
    there = {p.name: PathPiece(p.vim, p.spec.resource_id) for p in facts.before.paths}
    pieces = there | {name: PathPiece(s.vim, s.allocates) for name, s in steps.items()}
    found = []
    for path in facts.wiring.paths:
        names = pieces_of(path.name, pieces)
        needs = tuple(steps[n].key for n in names if n in steps)
        sap = facts.before.sap(path.positions[-1].name)
        if needs and sap:
            address = next(iter(sap.spec.port.ips), "")
            found.append(probe_step(path.name, [pieces[n] for n in names], needs, _patience_s(facts), address))
    return found


def _patience_s(facts: ChangeFacts) -> float:
    """Only what is new may still be booting. Where nothing is, traffic must not wait long to be led back."""
    if not facts.slots.fresh:
        return SWITCH_PATIENCE_S
    guests = any(a.runtime is not Runtime.CONTAINER for a in facts.plan.assignments)
    return GUEST_PATIENCE_S if guests else PATIENCE_S


def _lanes(facts: ChangeFacts) -> Iterable[Lane]:
    return {f.lane.alias: f.lane for f in facts.slots.fresh}.values()


def _present(before: Realization) -> frozenset[tuple[str, str]]:
    """Images that something runs from: they are at their VIM."""
    found = set()
    for vnfc in before.vnfcs:
        spec = vnfc.spec
        digests = {c.image_sha256 for c in (*spec.containers, *spec.init_containers)}
        found |= {(vnfc.vim, d) for d in digests | ({spec.boot.image_sha256} if spec.boot else set())}
    return frozenset(found)


def _mended(facts: ChangeFacts) -> tuple[list[Step], list[Step]]:
    """The chain's links that the fresh VNFCs will be on, and the ends on those: as they stand, so that what was lost of
    them is made again."""
    wanted = {p.link_id for p in facts.ports.values()}
    wanted |= {x.spec.resource_id for link in wanted for x in _pieces(facts.before, link)}
    links = [
        Step(f"keep link {x.key}", StepKind.LINK, f"link {x.key}", x.vim, keep=True, link=x.spec)
        for x in facts.before.links
        if x.spec.resource_id in wanted
    ]
    keys = {s.allocates: s.key for s in links}
    saps = [
        Step(
            f"keep end {x.spec.name}",
            StepKind.SAP,
            f"end {x.spec.name}",
            x.vim,
            (keys[x.spec.port.link_id],),
            keep=True,
            sap=x.spec,
        )
        for x in facts.before.saps
        if x.spec.port.link_id in keys
    ]
    return links, saps


def _pieces(before: Realization, link_id: str) -> list[LinkThere]:
    """A link between VIMs by its pieces; none where it lies in one."""
    link = before.link(link_id)
    if link is None or link.spec.segment is None:
        return []
    key = link.key.partition("@")[0]
    return [x for x in before.links if not x.alias and x.spec.segment and x.key.partition("@")[0] == key]


def _joined_again(before: Realization, kept: Sequence[Step]) -> list[Step]:
    """So that what was lost of the way between VIMs is made again."""
    keys = {s.allocates: s.key for s in kept}
    steps = []
    for link_id in keys:
        if pieces := _pieces(before, link_id):
            here = next(x for x in pieces if x.spec.resource_id == link_id)
            leads = next((x for x in pieces if x.spec.leads), pieces[0]).spec.resource_id
            others = tuple(x.spec.resource_id for x in pieces if x.spec.resource_id != leads)
            order = JoinOrder(link_id, PiecesOfLink(leads, others))
            name = f"{here.key.partition('@')[0]}@{here.vim}"
            steps.append(join_step(name, here.vim, order, tuple(keys[x.spec.resource_id] for x in pieces)))
    return steps


# ---- VNFs' own links ----


def _own_links(facts: ChangeFacts, needs: tuple[str, ...]) -> list[Step]:
    """New links of those VNFs of which no VNFC on the link stays; where one stays, fresh ones join it."""
    stays = _staying_links(facts)
    steps = []
    for lane in _lanes(facts):
        made = internal_links(lane, facts.plan, LaneIds(facts.operation_id), needs)
        steps += [s for s in made if (lane.alias, s.key.partition("/")[2]) not in stays]
    return steps


def _staying_links(facts: ChangeFacts) -> dict[tuple[str, str], LinkThere]:
    """By alias and VirtualLinkDesc: those with a VNFC that is kept."""
    on = {p.link_id for v in facts.slots.kept for p in v.spec.ports}
    return {(x.alias, x.key): x for x in facts.before.links if x.alias and x.spec.resource_id in on}


def _own_port(facts: ChangeFacts, fresh: Fresh, cpd: Cpd, own: Sequence[Step]) -> KeyedPort | None:
    lane = fresh.lane
    there = _staying_links(facts).get((lane.alias, cpd.virtual_link))
    if there:
        return internal_port(lane, cpd, fresh.index, there.spec.resource_id, _next_address(facts, fresh, there)), ""
    made = next((s for s in own if s.key == f"link {lane.alias}/{cpd.virtual_link}"), None)
    return (internal_port(lane, cpd, fresh.index, made.allocates), made.key) if made else None


def _next_address(facts: ChangeFacts, fresh: Fresh, link: LinkThere) -> str:
    """The lowest that is free, counted over all fresh VNFCs that join the link."""
    network = ip_network(link.cidr)
    taken = set(facts.before.addresses(link.spec.resource_id).values())
    joining = [
        (f.key, c.id)
        for f in facts.slots.fresh
        if f.lane.alias == fresh.lane.alias
        for c in cps_of(f.lane.flavour, f.vdu.id)
        if c.virtual_link == link.key
    ]
    number = next(n for n, (key, _) in enumerate(joining) if key == fresh.key)
    first = network.network_address + (FIRST_HOST if network.num_addresses > FIRST_HOST + 2 else 1)
    while first in network and first != getattr(network, "broadcast_address", None):
        if str(first) not in taken:
            if number == 0:
                return f"{first}/{network.prefixlen}"
            number -= 1
        first += 1
    raise problem(
        "no-addresses",
        f"VNF {fresh.lane.alias}: network {network} of its link {link.key} has no address left",
        instance=fresh.lane.alias,
    )


def _vnfc(
    facts: ChangeFacts, fresh: Fresh, own: Sequence[Step], mended: Mapping[str, str], needs: tuple[str, ...]
) -> Step:
    ports: list[KeyedPort] = []
    for cpd in cps_of(fresh.lane.flavour, fresh.vdu.id):
        outside = facts.ports.get((fresh.lane.alias, cpd.id, fresh.index))
        if outside:
            ports.append((outside, mended.get(outside.link_id, "")))
        elif cpd.virtual_link and (inside := _own_port(facts, fresh, cpd, own)):
            ports.append(inside)
    assignment = facts.plan.assignment(fresh.resource_id)
    assert assignment
    keys = (*needs, *(key for _, key in ports if key))
    return compute_step(fresh.lane, fresh.vdu, fresh.index, assignment, [p for p, _ in ports], keys)


# ---- paths ----


def _paths(facts: ChangeFacts, made: Sequence[Step]) -> list[Step]:
    """Those that lead elsewhere than before, or may."""
    keys = {s.join.link_id if s.join else s.allocates: s.key for s in made}
    runtimes = {v.resource_id: v.spec.runtime for v in facts.slots.kept}
    runtimes |= {a.id: a.runtime for a in facts.plan.assignments}
    steps = []
    for path in facts.wiring.paths:
        pieces = cut([_placed(facts, position, runtimes) for position in path.positions])
        _check_borders(facts, path.name, pieces)
        for number, (vim, hops) in enumerate(pieces):
            name = piece_name(path.name, number)
            there = facts.before.path(name)
            if there and there.spec.hops == hops and there.spec.match == path.match and not there.in_doubt:
                continue
            resource_id = there.spec.resource_id if there else path_id(facts.operation_id, name)
            spec = PathSpec(resource_id, hops, path.match, generation=facts.generation)
            ids = (i for h in hops for i in h.replicas or (h.resource_id,))
            needs = tuple(dict.fromkeys(keys[i] for i in ids if i in keys))
            steps.append(path_step(name, vim, spec, needs, there.spec if there else None))
    return steps


def _check_borders(facts: ChangeFacts, path: str, pieces: Sequence[tuple[str, tuple[HopSpec, ...]]]) -> None:
    """A path crosses from VIM to VIM where it did: those who stand there may be replaced, but not moved. Raises
    ProblemError `unsupported`."""
    names = pieces_of(path, [p.name for p in facts.before.paths])
    there = [p for name in names if (p := facts.before.path(name))]
    if len(pieces) == 1 and len(there) <= 1:
        return
    now = [(vim, [h.resource_id for h in hops if h.edge]) for vim, hops in pieces]
    if now != [(p.vim, [h.resource_id for h in p.spec.hops if h.edge]) for p in there]:
        way = " -> ".join(p.vim for p in there)
        raise problem(
            "unsupported",
            f"path {path} goes over VIMs ({way}): VNFs beside a border can be replaced and healed, but nothing can be "
            "inserted, removed or reordered there while the chain runs; create a chain with the new order",
            instance=path,
        )


def _placed(facts: ChangeFacts, position: Position, runtimes: Mapping[str, Runtime]) -> Placed:
    hop = _hop(facts, position, runtimes)
    sap = facts.before.sap(position.name)
    if position.name not in facts.wiring.lanes:
        assert sap
        return Placed(hop, sap.vim, sap.spec.port.link_id, sap.spec.port.link_id)
    kept = next((v for v in facts.slots.kept if v.resource_id == hop.resource_id), None)
    assignment = facts.plan.assignment(hop.resource_id)
    vim = kept.vim if kept else assignment.vim if assignment else ""

    def link(cpd: str) -> str:
        index = next(key[2] for key, made in facts.slots.ids.items() if made == hop.resource_id)
        port = kept.port(cpd) if kept else facts.ports.get((position.name, cpd, index))
        return port.link_id if port else ""

    return Placed(hop, vim, link(hop.ingress_cp), link(hop.egress_cp))


def _hop(facts: ChangeFacts, position: Position, runtimes: Mapping[str, Runtime]) -> HopSpec:
    wiring, name = facts.wiring, position.name
    lane = wiring.lanes.get(name)
    if lane is None:
        sap = wiring.before.sap(name)
        assert sap
        cp = sap.spec.port.cp_id
        return HopSpec(name, sap.spec.resource_id, None, cp if position.ingress else "", cp if position.egress else "")
    at = position.ingress or position.egress
    assert at
    facing = lane.facing(wiring.positions())
    vdu = facing or lane.cpd_of_external(at.cp).vdu_id
    ids = [facts.slots.ids[name, vdu, n] for n in range(lane.counts.get(vdu, 1) if facing else 1)]
    return HopSpec(
        name=name,
        resource_id=ids[0],
        runtime=runtimes[ids[0]],
        ingress_cp=wiring.cpd(position.ingress) if position.ingress else "",
        egress_cp=wiring.cpd(position.egress) if position.egress else "",
        replicas=tuple(ids) if len(ids) > 1 else (),
    )


# ---- what goes ----


def _removals(facts: ChangeFacts, needs: tuple[str, ...]) -> list[Step]:
    """VNFCs and what an earlier operation left over, then links that nobody is on any more."""
    steps = [_removal(_told(v), v.resource_id, ResourceKind.COMPUTE, v.vim, needs, v) for v in facts.slots.gone]
    others = [x for x in facts.before.leftovers if x.kind is not ResourceKind.LINK]
    steps += [_removal(x.name, x.resource_id, x.kind, x.vim, needs) for x in others]
    after = tuple(s.key for s in steps) or needs
    on = {p.link_id for v in facts.slots.kept for p in v.spec.ports} | {p.link_id for p in facts.ports.values()}
    on |= {s.spec.port.link_id for s in facts.before.saps}
    on |= {x.spec.resource_id for link in on for x in _pieces(facts.before, link)}
    for link in facts.before.links:
        if link.spec.resource_id not in on:
            name = f"link {link.alias}/{link.key}" if link.alias else f"link {link.key}"
            steps.append(_removal(name, link.spec.resource_id, ResourceKind.LINK, link.vim, after))
    left = [x for x in facts.before.leftovers if x.kind is ResourceKind.LINK]
    return [*steps, *(_removal(x.name, x.resource_id, x.kind, x.vim, after) for x in left)]


def _told(vnfc: VnfcThere) -> str:
    return f"{vnfc.spec.runtime} {vnfc.alias}/{vnfc.vdu_id}" + (f" #{vnfc.index}" if vnfc.index else "")


def _removal(
    name: str, resource_id: str, kind: ResourceKind, vim: str, needs: tuple[str, ...], vnfc: VnfcThere | None = None
) -> Step:
    return Step(
        key=f"remove {name} {resource_id[:8]}",
        kind=StepKind.TERMINATE,
        title=f"remove {name}",
        vim=vim,
        needs=needs,
        lane=vnfc.alias if vnfc else "",
        vnf_instance_id=vnfc.instance_id if vnfc else "",
        vdu_id=vnfc.vdu_id if vnfc else "",
        forward_only=True,
        removal=Removal(resource_id, kind),
    )
