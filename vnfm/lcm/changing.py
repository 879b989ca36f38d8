"""From what stands and what is wanted to what has to be done: slots, ports, placement of what is new, steps. Pure.

What stays is where it is: it takes part in the placement as an end that cannot be moved, so that rules and latency
bounds hold for the chain as a whole. Who is new is in the VIM of the links that it joins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vnfm.graph.servicegraph import Attachment
from vnfm.lcm.latecomers import PortKey, Wiring, late_ports, spots_of
from vnfm.lcm.moving import misled
from vnfm.lcm.offers import BALANCE, STEER, UNTOLD, Capabilities, need
from vnfm.lcm.planning import port_name, refused, ways_of
from vnfm.lcm.recipes.change import ChangeFacts, change_steps
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.routes import PathLayout
from vnfm.lcm.slots import Slots, sort_out, together
from vnfm.lcm.steps import Step
from vnfm.model.chain import ServiceChain
from vnfm.model.change import Place
from vnfm.model.placement import Runtime
from vnfm.model.problem import Retry, problem
from vnfm.model.realization import Realization, VnfcThere
from vnfm.model.resources import PortSpec
from vnfm.placement.demand import demand_of, rule_of_chain, rule_of_vnfd
from vnfm.placement.engine import place
from vnfm.placement.inventory import HostKey
from vnfm.placement.plan import Plan, Refusal
from vnfm.placement.request import Demand, End, Link, PathBound, Request, Rule
from vnfm.placement.snapshot import Snapshot

GENERATIONS = 1_000_000  # that one operation may use up


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chain, or a VNF that stands alone (no `chain` and `paths` then), as it is to be. `grants`: how many operations
    were granted on it before."""

    tenant: str
    before: Realization
    lanes: Mapping[str, Lane]
    vnfd_ids: Mapping[str, str]  # by alias
    paths: tuple[PathLayout, ...] = ()
    chain: ServiceChain | None = None
    grants: int = 0


@dataclass(frozen=True, slots=True)
class Renewal:
    """VNFCs, by resource id, that are made anew although they are wanted. `dead`: what they hold does not count any
    more, they had best come back where they were, and their links are mended. `moved`: VNFs are in another order; those
    whose routes lead astray then are made anew, too. `places`: where those that are made anew go."""

    vnfcs: frozenset[str] = frozenset()
    dead: bool = False
    moved: bool = False
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """What is to be done."""

    steps: tuple[Step, ...]
    plan: Plan
    slots: Slots
    ports: Mapping[PortKey, PortSpec]


def change(
    wanted: Wanted,
    renewal: Renewal,
    snapshot: Snapshot,
    *,
    operation_id: str,
    absent: Mapping[str, str],
    capabilities: Capabilities = UNTOLD,
    told: bool = True,
) -> Changed:
    """Raises ProblemError for what cannot be changed while it runs, `no-placement` where there is no room. `told`: with
    the plan's reasons."""
    before = wanted.before
    anew = together(before, renewal.vnfcs)
    slots = sort_out(before, wanted.lanes, anew, operation_id)
    wiring = Wiring(wanted.lanes, wanted.paths, before)
    _check_steerable(wanted)
    if renewal.moved:
        astray = misled(wanted.paths, wanted.lanes, slots.kept, spots_of(wiring, slots.kept))
        slots = sort_out(before, wanted.lanes, anew | together(before, astray), operation_id)
    ports = late_ports(wiring, slots, moved=renewal.moved)
    if renewal.dead:
        snapshot = snapshot.releasing(v.resource_id for v in slots.gone)
    vims = _vims(wanted, slots, ports)
    request = _request(wanted, slots, vims, snapshot)
    preferred = _where_they_were(slots) if renewal.dead else _where_they_go(slots, renewal.places)
    plan = _placed(request, snapshot, preferred, absent, told)
    if renewal.places:
        _check_places(plan, preferred)
    facts = ChangeFacts(
        operation_id=operation_id,
        wiring=wiring,
        slots=slots,
        ports=ports,
        plan=plan,
        generation=first_generation(wanted.grants),
        mend=renewal.dead,
    )
    steps = change_steps(facts)
    _check_offers(wanted, steps, capabilities)
    if not steps:
        raise problem("bad-request", "nothing has to be done: everything stands as it is wanted")
    return Changed(steps, plan, slots, ports)


def first_generation(grants: int) -> int:
    """The base of the paths' generations for the next operation on a chain: above all that were used before."""
    return (grants + 1) * GENERATIONS


def _check_offers(wanted: Wanted, steps: Sequence[Step], capabilities: Capabilities) -> None:
    about = f"chain {wanted.chain.name}" if wanted.chain else "VNF"
    for step in steps:
        if step.path:
            need(capabilities, step.vim, STEER, about)
            if any(hop.replicas for hop in step.path.hops):
                need(capabilities, step.vim, BALANCE, about)


def _check_steerable(wanted: Wanted) -> None:
    if wanted.chain is None:
        return
    for end in wanted.chain.ends:
        if ":" in end.cidr:
            raise problem(
                "unsupported",
                f"ends.{end.name}.cidr: is {end.cidr}, and only IPv4 chains can be changed while they run; terminate "
                "the chain and create it anew",
                instance=wanted.chain.name,
            )


def _vims(wanted: Wanted, slots: Slots, ports: Mapping[PortKey, PortSpec]) -> dict[str, str]:
    """The VIM of each fresh VNFC, by resource id: that of the links which it joins, else where its VNF is. Raises
    ProblemError `unsupported` where these are several, `conflict` where nothing stands."""
    before = wanted.before
    everywhere = sorted({v.vim for v in before.vnfcs} | {s.vim for s in before.saps})
    if not everywhere:
        raise problem("conflict", "nothing stands that could be changed: terminate it")
    found = {}
    for fresh in slots.fresh:
        alias = fresh.lane.alias
        joined = [spec for (owner, _, index), spec in ports.items() if (owner, index) == (alias, fresh.index)]
        beside = {link.vim for spec in joined if (link := before.link(spec.link_id))}
        beside |= {v.vim for v in before.vnfcs if v.instance_id == fresh.lane.instance_id and v.alias == alias}
        if len(beside) > 1:
            raise problem(
                "unsupported",
                f"VNF {alias} would stand where the chain goes from one VIM into another "
                f"({', '.join(sorted(beside))}): that cannot be changed while it runs; put it elsewhere, or create "
                "the chain anew",
                instance=alias,
            )
        found[fresh.resource_id] = next(iter(beside), everywhere[0])
    return found


def _where_they_were(slots: Slots) -> dict[str, tuple[HostKey, Runtime]]:
    return {f.resource_id: ((f.old.vim, f.old.spec.host), f.old.spec.runtime) for f in slots.fresh if f.old is not None}


def _where_they_go(slots: Slots, places: Sequence[Place]) -> dict[str, tuple[HostKey, Runtime]]:
    named = {(p.alias, p.vdu_id, p.index): ((p.vim, p.host), p.runtime) for p in places}
    return {f.resource_id: named[f.key] for f in slots.fresh if f.key in named}


def _check_places(plan: Plan, places: Mapping[str, tuple[HostKey, Runtime]]) -> None:
    """What was told to go somewhere goes there or nowhere."""
    for made in plan.assignments:
        wanted = places.get(made.id)
        if wanted is None:
            raise problem(
                "bad-value", f"replace.places: VNFC {made.alias}/{made.vdu} is made anew, too; name its place"
            )
        key, runtime = wanted
        if (made.vim, made.host) != key or made.runtime is not runtime:
            raise problem(
                "no-placement",
                f"host {key[1]} of VIM {key[0]} does not take {made.alias}/{made.vdu} as {runtime} (any more); what is "
                "free has changed: plan it anew",
                title="No placement",
                retry=Retry.NEW_PLACEMENT,
            )


def _placed(
    request: Request,
    snapshot: Snapshot,
    preferred: Mapping[str, tuple[HostKey, Runtime]],
    absent: Mapping[str, str],
    told: bool,
) -> Plan:
    """Without anything to place, bounds on latency are looked at all the same."""
    if not request.demands and not request.paths:
        return Plan(snapshot.version, ())
    outcome = place(request, snapshot, preferred=preferred, told=told)
    if isinstance(outcome, Refusal):
        raise refused(outcome, absent)
    if not request.demands:
        _check_bounds(request, outcome)
    return outcome


def _check_bounds(request: Request, plan: Plan) -> None:
    latency = {x.id: x.latency_us for x in plan.links}
    for bound in request.paths:
        parts = [latency[i] for i in bound.links]
        total = sum(p for p in parts if p is not None)
        if None not in parts and total > bound.max_latency_us:
            raise problem(
                "no-placement",
                f"path {bound.id} would take {total} us, {bound.max_latency_us} us are allowed",
                title="No placement",
            )


# ---- the request ----


def standing_request(wanted: Wanted, snapshot: Snapshot) -> Request:
    """What stands, as a request that has nothing left to place."""
    return _request(wanted, sort_out(wanted.before, wanted.lanes, frozenset(), ""), {}, snapshot)


def _request(wanted: Wanted, slots: Slots, vim_of: Mapping[str, str], snapshot: Snapshot) -> Request:
    ordered = {v.alias: v for v in wanted.chain.vnfs} if wanted.chain else {}
    fresh = [
        demand_of(
            f.vdu,
            demand_id=f.resource_id,
            alias=f.lane.alias,
            tenant=wanted.tenant,
            vnfd_id=wanted.vnfd_ids[f.lane.alias],
            vims=(vim_of[f.resource_id],),
            sites=ordered[f.lane.alias].sites if f.lane.alias in ordered else (),
            zones=ordered[f.lane.alias].zones if f.lane.alias in ordered else (),
        )
        for f in slots.fresh
    ]
    there = [_as_demand(v, wanted) for v in slots.kept]
    bound_links, bounds = _links(wanted, slots)
    return Request(
        tenant=wanted.tenant,
        demands=tuple(fresh),
        links=bound_links,
        paths=bounds,
        rules=_rules(wanted, [*there, *fresh]),
        ends=(
            *(_end(v.resource_id, v.vim, v.spec.host, v.spec.runtime, snapshot) for v in slots.kept),
            *(_end(s.spec.resource_id, s.vim, s.spec.host, None, snapshot) for s in wanted.before.saps),
        ),
    )


def _as_demand(vnfc: VnfcThere, wanted: Wanted) -> Demand:
    """For rules only: they speak of VNFCs by alias and VDU."""
    lane = wanted.lanes[vnfc.alias]
    vdu = next(v for v in lane.flavour.vdus if v.id == vnfc.vdu_id)
    return demand_of(vdu, demand_id=vnfc.resource_id, alias=vnfc.alias, tenant=wanted.tenant)


def _end(resource_id: str, vim: str, host: str, runtime: Runtime | None, snapshot: Snapshot) -> End:
    """A host that the inventory tells no longer is nowhere."""
    known = (vim, host) in snapshot.by_key
    return End(resource_id, vim if known else "", host if known else "", runtime if known else None)


def _rules(wanted: Wanted, everyone: list[Demand]) -> tuple[Rule, ...]:
    rules = [rule_of_chain(r, everyone) for r in wanted.chain.rules] if wanted.chain else []
    for lane in wanted.lanes.values():
        rules += [rule_of_vnfd(r, lane.alias, everyone) for r in lane.flavour.affinity]
    return tuple(rules)


def _links(wanted: Wanted, slots: Slots) -> tuple[tuple[Link, ...], tuple[PathBound, ...]]:
    """A link a crossing, and the paths' latency bounds over them. What a fresh VNFC's links hold of the network goes
    with it: their ids begin with its own."""
    wiring = Wiring(wanted.lanes, wanted.paths, wanted.before)
    fresh = {f.resource_id for f in slots.fresh}
    further = tuple(_further(wanted, slots))
    links: dict[str, Link] = {}
    bounds: list[PathBound] = []
    for path in wanted.paths:
        for name, crossings in ways_of(path, further):
            ids = []
            for a, b in crossings:
                left, right = _node(a, wiring, slots), _node(b, wiring, slots)
                new = [i for i in (left, right) if i in fresh]
                made = f"{(new or [left])[0]}/{port_name(a)}--{port_name(b)}"
                bandwidth = max(_bandwidth(p, wanted.lanes) for p in (a, b)) if new else 0
                links[made] = Link(made, left, right, bandwidth, name=f"{a.owner} - {b.owner}")
                ids.append(made)
            if wanted.chain and (most_us := wanted.chain.latency_bound_us(path.name)) is not None:
                bounds.append(PathBound(name, tuple(ids), most_us))
    return tuple(links.values()), tuple(bounds)


def _further(wanted: Wanted, slots: Slots) -> Iterator[Attachment]:
    """Ports of further instances."""
    positions = [p for path in wanted.paths for p in path.positions]
    for alias, vdu, index in slots.ids:
        lane = wanted.lanes[alias]
        if index and lane.facing(positions) == vdu:
            ports = (p for at in positions if at.name == alias for p in (at.ingress, at.egress) if p)
            yield from (replace(p, index=index) for p in dict.fromkeys(ports))


def _node(port: Attachment, wiring: Wiring, slots: Slots) -> str:
    if not port.cp:
        sap = wiring.before.sap(port.owner)
        assert sap
        return sap.spec.resource_id
    lane = wiring.lanes[port.owner]
    return slots.ids[lane.alias, lane.cpd_of_external(port.cp).vdu_id, port.index]


def _bandwidth(port: Attachment, lanes: Mapping[str, Lane]) -> int:
    return lanes[port.owner].cpd_of_external(port.cp).bandwidth_bps if port.cp else 0
