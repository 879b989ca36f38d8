"""Ports on the chain's links for VNFCs that come later: the old one's, as they are, or blocks of their own. Pure.

Whoever takes another's position takes its addresses and routes, so that nobody else has to change. Whoever is put in
between, or beside another instance, gets a block out of the network of the neighbour's link: everyone's routes lead
there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vnfm.graph.servicegraph import Attachment
from vnfm.lcm.blocks import free_blocks, no_block
from vnfm.lcm.moving import rerouted
from vnfm.lcm.recipes.chain_create import chain_port
from vnfm.lcm.recipes.computes import Lane
from vnfm.lcm.routes import PathLayout, Position, Spot, routes
from vnfm.lcm.slots import Fresh, Slots
from vnfm.model.problem import ProblemError, problem
from vnfm.model.realization import LinkThere, Realization, VnfcThere
from vnfm.model.resources import PortSpec

PortKey = tuple[str, str, int]  # alias, CPD, index


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is asked: the lanes, the paths with their ports, and how the path hops were named before."""

    lanes: Mapping[str, Lane]
    paths: tuple[PathLayout, ...]
    before: Realization

    def ports_of(self, alias: str) -> tuple[Attachment, ...]:
        """The ports by which a VNF is entered and left, the way in before the way out."""
        found = (p for path in self.paths for at in path.positions if at.name == alias for p in (at.ingress, at.egress))
        return tuple(dict.fromkeys(p for p in found if p))

    def positions(self) -> Iterable[Position]:
        """Of all paths."""
        return (p for path in self.paths for p in path.positions)

    def cpd(self, port: Attachment) -> str:
        """The CPD behind a VNF's port."""
        return self.lanes[port.owner].cpd_of_external(port.cp).id


def late_ports(wiring: Wiring, slots: Slots, *, moved: bool = False) -> dict[PortKey, PortSpec]:
    """The chain ports of every fresh VNFC; `moved`: also those that are inherited get routes for the new order. Raises
    ProblemError `no-addresses`, `unsupported`."""
    spots, taken = spots_of(wiring, slots.kept), _taken(wiring.before)
    inherited: list[Attachment] = []
    found: dict[PortKey, PortSpec] = {}
    cut: list[tuple[Fresh, Attachment, LinkThere]] = []
    for fresh in slots.fresh:
        facing = fresh.lane.facing(wiring.positions())
        for port in wiring.ports_of(fresh.lane.alias):
            cpd = fresh.lane.cpd_of_external(port.cp)
            if cpd.vdu_id != fresh.vdu.id or (fresh.index and fresh.vdu.id != facing):
                continue
            at = replace(port, index=fresh.index)
            spec = _inherited(wiring, fresh, port)
            if spec is None:
                link = _link_for(wiring, spots, port)
                block = next(free_blocks(link.cidr, taken.setdefault(link.spec.resource_id, [])), None)
                if block is None:
                    raise no_block(link.cidr, link.key)
                taken[link.spec.resource_id] += [block.address, block.gateway]
                spots[at] = Spot(link.spec.resource_id, link.cidr, block.address.split("/")[0], block.gateway)
                found[fresh.lane.alias, cpd.id, fresh.index] = chain_port(
                    cpd, link.spec.resource_id, block.address, (), link.spec.mtu_bytes
                )
                cut.append((fresh, at, link))
            else:
                _refuse_bridge(wiring, spec.link_id, fresh.lane.alias)
                spots[at] = _spot(wiring.before, spec)
                same = replace(spec, cp_id=cpd.id, vnic_type=cpd.vnic_type, bandwidth_bps=cpd.bandwidth_bps)
                found[fresh.lane.alias, cpd.id, fresh.index] = same
                inherited.append(at)
    if cut or (moved and inherited):
        ways = routes(wiring.paths, spots)
        for at in inherited if moved else ():
            key = (at.owner, wiring.cpd(at), at.index)
            found[key] = rerouted(wiring.before, found[key], ways.get(at, ()))
        for fresh, at, _ in cut:
            key = (fresh.lane.alias, wiring.cpd(at), at.index)
            found[key] = replace(found[key], routes=ways.get(at, ()))
    return found


def spots_of(wiring: Wiring, kept: Sequence[VnfcThere]) -> dict[Attachment, Spot]:
    """Where the ports of ends and of what stays are."""
    spots: dict[Attachment, Spot] = {}
    there = {(v.alias, v.vdu_id, v.index): v for v in kept}
    counts = {(v.alias, v.vdu_id): 0 for v in kept}
    for vnfc in kept:
        counts[vnfc.alias, vnfc.vdu_id] = max(counts[vnfc.alias, vnfc.vdu_id], vnfc.index + 1)
    for port in dict.fromkeys(p for at in wiring.positions() for p in (at.ingress, at.egress) if p):
        if not port.cp:
            sap = wiring.before.sap(port.owner)
            if sap:
                spots[port] = _spot(wiring.before, sap.spec.port)
            continue
        cpd = wiring.lanes[port.owner].cpd_of_external(port.cp)
        for index in range(counts.get((port.owner, cpd.vdu_id), 0)):
            at = there.get((port.owner, cpd.vdu_id, index))
            spec = at.port(cpd.id) if at else None
            if spec and wiring.before.link(spec.link_id):
                spots[replace(port, index=index)] = _spot(wiring.before, spec)
            elif at and index == 0:
                raise problem(
                    "bad-path",
                    f"VNF {port.owner} has no port {cpd.id} on a link of the running chain; name the ports that it has "
                    "in the chain's file, or terminate the chain and create it anew",
                    instance=port.owner,
                )
    return spots


def _spot(before: Realization, spec: PortSpec) -> Spot:
    """A port with a network smaller than its link's has a gateway of its own, which its routes name."""
    link = before.link(spec.link_id)
    assert link
    address, _, bits = spec.ips[0].partition("/") if spec.ips else ("", "", "")
    whole = link.cidr.partition("/")[2]
    own = spec.routes[0].via if spec.routes and bits != whole else ""
    return Spot(spec.link_id, link.cidr, address, own)


def _taken(before: Realization) -> dict[str, list[str]]:
    """Addresses and gateways in use, by link."""
    taken: dict[str, list[str]] = {}
    ports = [port for link in before.links for _, port in before.ports(link.spec.resource_id)]
    for port in (*ports, *(p for left in before.leftovers for p in left.ports)):
        taken.setdefault(port.link_id, []).extend([*port.ips, *(r.via for r in port.routes)])
    return taken


def _inherited(wiring: Wiring, fresh: Fresh, port: Attachment) -> PortSpec | None:
    """The port of the VNFC whose position this one takes: its own former, or that of the VNF that was there before,
    whose way in becomes this one's way in and whose way out its way out."""
    if fresh.old:
        old = fresh.old.port(wiring.cpd(port))
        return old if old and wiring.before.link(old.link_id) else None
    for path in wiring.paths:
        at = next((p for p in path.positions if p.name == fresh.lane.alias), None)
        there = wiring.before.path(path.name)
        hop = next((h for h in there.spec.hops if h.name == fresh.lane.alias), None) if there else None
        if at is None or hop is None or port not in (at.ingress, at.egress):
            continue
        ids = hop.replicas or (hop.resource_id,)
        former = wiring.before.vnfc(ids[fresh.index]) if fresh.index < len(ids) else None
        if former is None or former.instance_id == fresh.lane.instance_id:
            return None
        if at.one_armed or hop.ingress_cp == hop.egress_cp:
            raise one_armed(fresh.lane.alias)
        return former.port(hop.ingress_cp if port == at.ingress else hop.egress_cp)
    return None


def _link_for(wiring: Wiring, spots: Mapping[Attachment, Spot], port: Attachment) -> LinkThere:
    """The link of this VNF's first instance; of one that is put in between, the neighbour's on that side."""
    alias = port.owner
    first = spots.get(port)
    if first is None:
        for path in wiring.paths:
            at = next((n for n, p in enumerate(path.positions) if p.name == alias), None)
            if at is None or port not in (path.positions[at].ingress, path.positions[at].egress):
                continue
            if path.positions[at].one_armed:
                raise one_armed(alias)
            beside = (
                path.positions[at - 1].egress if port == path.positions[at].ingress else path.positions[at + 1].ingress
            )
            first = spots.get(beside) if beside else None
            break
    link = wiring.before.link(first.link) if first else None
    if link is None:
        raise problem("bad-path", f"nothing stands beside VNF {alias} that it could be joined to", instance=alias)
    _refuse_bridge(wiring, link.spec.resource_id, alias)
    if link.spec.segment:
        raise problem(
            "unsupported",
            f"link {link.key.partition('@')[0]} leads into another VIM: VNF {alias} cannot join it beside those "
            "that are on it while the chain runs; put it into the chain elsewhere, or create the chain anew",
            instance=alias,
        )
    if wiring.lanes[alias].cpd_of_external(port.cp).l2_transparent:
        raise problem(
            "unsupported",
            f"VNF {alias}: its port {port.cp} is a bump in the wire without addresses, and cannot be put into a "
            "running chain; create a chain with it",
            instance=alias,
        )
    return link


def _refuse_bridge(wiring: Wiring, link_id: str, alias: str) -> None:
    link = wiring.before.link(link_id)
    if link and len(link.spec.members) > 2 and not link.spec.steered:
        raise problem(
            "unsupported",
            f"link {link.key} is a bridge, since a VNF on it has one port only: VNF {alias} cannot join it while the "
            "chain runs; terminate the chain and create it anew",
            instance=alias,
        )


def one_armed(alias: str) -> ProblemError:
    """A VNF with one port cannot take part in a live change."""
    return problem(
        "unsupported",
        f"VNF {alias} is entered and left by one port: such a VNF can be part of a chain from its creation on only",
        instance=alias,
    )
