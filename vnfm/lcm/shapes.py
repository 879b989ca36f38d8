"""What follows from a chain's file and its packages alone: graph, lanes, paths, addresses. Pure.

Many chains are alike but for their names, so what was worked out last is remembered: a chain's graph is worked out when
it is ordered, and not again when it is granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from vnfm.graph.build import build_graph
from vnfm.graph.servicegraph import Attachment, ServiceGraph
from vnfm.lcm.layout import ChainLayout, PathLayout, Position, lay_out
from vnfm.lcm.recipes.computes import Lane
from vnfm.model.chain import ChainVnf, ServiceChain
from vnfm.model.needs import Isolation
from vnfm.model.problem import problem
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour, Vnfd

REMEMBERED = 64  # chains that differ in more than their names


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What planning needs of an onboarded package."""

    package_id: str
    vnfd: Vnfd
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a chain, and of all that are alike: VNFs by alias, without their instances' ids, and how they are wired."""

    lanes: Mapping[str, Lane]
    layout: ChainLayout

    def lanes_with(self, instance_ids: Mapping[str, str]) -> dict[str, Lane]:
        """The lanes, each with its VNF instance's id."""
        return {
            a: Lane(a, instance_ids.get(a, ""), x.flavour, x.counts, x.blobs) if a in instance_ids else x
            for a, x in self.lanes.items()
        }


class _Alike:
    """A chain with its packages, equal to all that give the same shape. It keeps what it tells apart by identity."""

    __slots__ = ("_key", "chain", "packages")

    def __init__(self, chain: ServiceChain, packages: Mapping[str, PackageFacts]) -> None:
        self.chain = chain
        self.packages = packages
        self._key = chain.ends, chain.paths, tuple([_asked(v, packages.get(v.vnfd_id)) for v in chain.vnfs])

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self._key == other._key


def _asked(vnf: ChainVnf, package: PackageFacts | None) -> tuple[object, ...]:
    known = (id(package.vnfd), id(package.images)) if package else ()
    counts = tuple(vnf.instances.items())
    return (vnf.alias, vnf.vnfd_id, vnf.flavour_id, vnf.level_id, vnf.isolation, counts, known)


def shape_of(chain: ServiceChain, packages: Mapping[str, PackageFacts]) -> Shape:
    """Raises ProblemError as `graph_of` and `lay_out` do."""
    _check_matches(chain)
    return _shape(_Alike(chain, packages))


@lru_cache(REMEMBERED)
def _shape(alike: _Alike) -> Shape:
    chain, packages = alike.chain, alike.packages
    graph = _graph(alike)
    lanes = lanes_of(chain, graph, packages, {})
    paths = paths_of(graph)
    return Shape(lanes, lay_out(chain.ends, graph.links, paths, counts=_replicas(paths, lanes)))


@lru_cache(REMEMBERED)
def _graph(alike: _Alike) -> ServiceGraph:
    return build_graph(alike.chain, {vnfd_id: p.vnfd for vnfd_id, p in alike.packages.items()})


def graph_of(chain: ServiceChain, packages: Mapping[str, PackageFacts]) -> ServiceGraph:
    """Raises ProblemError `unknown-vnfd` and what else does not fit together, `unsupported` for a match by VLAN."""
    _check_matches(chain)
    return replace(_graph(_Alike(chain, packages)), name=chain.name)


def _check_matches(chain: ServiceChain) -> None:
    """What no VIM can tell apart is said before anything is built, not when the path is."""
    for path in chain.paths:
        if path.match.vlan:
            raise problem(
                "unsupported",
                f"paths.{path.name}.match.vlan: telling flows apart by VLAN is not offered; leave it out",
                instance=chain.name,
            )


def lanes_of(
    chain: ServiceChain,
    graph: ServiceGraph,
    packages: Mapping[str, PackageFacts],
    instance_ids: Mapping[str, str],
) -> dict[str, Lane]:
    """By alias; each held to the chain's own word on isolation."""
    lanes = {}
    for vnf in chain.vnfs:
        node = graph.vnf(vnf.alias)
        flavour = held_to(node.flavour, vnf.isolation)
        lanes[vnf.alias] = Lane(
            alias=vnf.alias,
            instance_id=instance_ids.get(vnf.alias, ""),
            flavour=flavour,
            counts=dict(node.instances),
            blobs=packages[vnf.vnfd_id].images,
        )
    return lanes


def held_to(flavour: Flavour, isolation: Isolation | None) -> Flavour:
    """The flavour with another isolation level for all of its VDUs."""
    return replace(flavour, vdus=tuple(_with_isolation(v, isolation) for v in flavour.vdus))


def _with_isolation(vdu: Vdu, isolation: Isolation | None) -> Vdu:
    """The chain's own word on isolation stands in place of the VNFD's, and is a must."""
    if isolation is None:
        return vdu
    needs = replace(vdu.needs, isolation=isolation, wishes=vdu.needs.wishes - {"isolation"})
    return replace(vdu, needs=needs)


def _replicas(paths: Sequence[PathLayout], lanes: Mapping[str, Lane]) -> dict[Attachment, int]:
    """How many instances there are behind each port, where it is more than one."""
    counts: dict[Attachment, int] = {}
    positions = [p for path in paths for p in path.positions]
    for position in positions:
        lane = lanes.get(position.name)
        if lane and (vdu := lane.facing(positions)) and (count := lane.counts.get(vdu, 1)) > 1:
            counts |= {p: count for p in (position.ingress, position.egress) if p}
    return counts


def paths_of(graph: ServiceGraph) -> tuple[PathLayout, ...]:
    """The paths with the ports by which each VNF is entered and left."""
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
