"""Which VNFCs a change leaves alone, which it makes, and which go: desired against what stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vnfm.lcm.recipes.computes import Lane, LaneIds
from vnfm.model.realization import Realization, VnfcThere
from vnfm.model.vdu import Vdu

SlotKey = tuple[str, str, int]  # alias, VDU, index


@dataclass(frozen=True, slots=True)
class Fresh:
    """A VNFC that is to be made; `old` is the one whose position it takes, if any."""

    lane: Lane
    vdu: Vdu
    index: int
    resource_id: str
    old: VnfcThere | None = None

    @property
    def key(self) -> SlotKey:
        """Its place among the VNFCs of the chain."""
        return self.lane.alias, self.vdu.id, self.index


@dataclass(frozen=True, slots=True)
class Slots:
    """All VNFCs of what is desired are either kept or fresh."""

    kept: tuple[VnfcThere, ...]
    fresh: tuple[Fresh, ...]
    gone: tuple[VnfcThere, ...]

    @property
    def ids(self) -> dict[SlotKey, str]:
        """The resource id of each VNFC that is there afterwards."""
        kept = {(v.alias, v.vdu_id, v.index): v.resource_id for v in self.kept}
        return kept | {f.key: f.resource_id for f in self.fresh}


def sort_out(before: Realization, lanes: Mapping[str, Lane], anew: frozenset[str], operation_id: str) -> Slots:
    """`anew` are VNFCs, by resource id, that are made anew although they are wanted; so is every VNFC of a VNF whose
    instance is another one than before."""
    there = {(v.alias, v.vdu_id, v.index): v for v in before.vnfcs}
    ids = LaneIds(operation_id)
    kept: list[VnfcThere] = []
    fresh: list[Fresh] = []
    for lane in lanes.values():
        for vdu in lane.flavour.vdus:
            for index in range(lane.counts.get(vdu.id, 1)):
                now = there.get((lane.alias, vdu.id, index))
                mine = now if now and now.instance_id == lane.instance_id else None
                if mine and mine.resource_id not in anew:
                    kept.append(mine)
                else:
                    fresh.append(Fresh(lane, vdu, index, ids.compute(lane.alias, vdu.id, index), mine))
    stay = {v.resource_id for v in kept}
    return Slots(tuple(kept), tuple(fresh), tuple(v for v in before.vnfcs if v.resource_id not in stay))


def together(before: Realization, ids: Iterable[str]) -> frozenset[str]:
    """With every VNFC that shares a link of its VNF with one of them, directly or by way of others: such a link has no
    path that could be switched, so that its VNFCs are made anew as one."""
    group = set(ids)
    inner = [x.spec.resource_id for x in before.links if x.alias]
    members = {link: {owner for owner, _ in before.ports(link)} for link in inner}
    while True:
        more = {o for owners in members.values() if owners & group for o in owners} - group
        if not more:
            return frozenset(group)
        group |= more
