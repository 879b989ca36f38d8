"""A service as a graph: VNFs with their VDUs, connection points and virtual links, ends, and the links of the paths.

Nodes of the networkx graph, by the attribute `kind`:

| kind   | key                      | stands for                                              |
|--------|--------------------------|---------------------------------------------------------|
| vnf    | ("vnf", alias)           | a VNF of the chain                                      |
| vdu    | ("vdu", alias, id)       | a VDU; `instances` at the level chosen                  |
| cp     | ("cp", alias, id)        | a CP of a VDU                                           |
| vl     | ("vl", alias, id)        | an internal virtual link                                |
| ext    | ("ext", alias, id)       | an external CP                                          |
| end    | ("end", name)            | a Sap                                                   |
| link   | ("link", id)             | a link of the chain between external CPs and ends       |

Edges: vnf-vdu, vdu-cp, cp-vl, cp-ext, vl-ext, vnf-ext, ext-link, end-link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vnfm.model.chain import ChainEnd, ForwardingPath
from vnfm.model.connectivity import Cpd, ExtCpd, VirtualLinkDesc
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour, Vnfd

if TYPE_CHECKING:  # imported where it is used: 10 MiB, and a tenth of a second of every start
    import networkx as nx

Key = tuple[str, ...]
Graph: TypeAlias = "nx.Graph[Key]"


@dataclass(frozen=True, slots=True, order=True)
class Attachment:
    """Where a link is tied on: an external CP of a VNF, or an end (`cp` is empty then). Graphs know the first instance
    of a VDU only; `index` counts further ones where they are addressed."""

    owner: str  # a VNF's alias or an end's name
    cp: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A link of the chain. It has two members, unless several paths or a one-armed VNF share it."""

    id: str
    members: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """One step of a path: traffic leaves `source` and enters `target` over the link."""

    link_id: str
    source: Attachment
    target: Attachment


@dataclass(frozen=True, slots=True)
class VnfMember:
    """A VNF of the service with what was chosen for it. `instances` counts the instances of each VDU."""

    alias: str
    vnfd: Vnfd
    flavour: Flavour
    level_id: str
    instances: Mapping[str, int]

    def vdus(self) -> tuple[tuple[Vdu, int], ...]:
        """The VDUs with their number of instances."""
        return tuple((vdu, self.instances[vdu.id]) for vdu in self.flavour.vdus)

    def cps(self, vdu_id: str) -> tuple[Cpd, ...]:
        """A VDU's CPs in their order."""
        return tuple(sorted((c for c in self.flavour.cps if c.vdu_id == vdu_id), key=_place))

    def external_cps(self) -> tuple[ExtCpd, ...]:
        """The external CPs in the order of the CPs behind them."""
        order = {cp.id: _place(cp) for cp in self.flavour.cps}
        return tuple(
            sorted(self.flavour.external_cps, key=lambda e: (*order.get(self._behind(e), (1 << 30, "")), e.id))
        )

    def _behind(self, external: ExtCpd) -> str:
        """The CP that an external CP stands for; with an internal link between, the first CP on it."""
        if external.cpd_id:
            return external.cpd_id
        on_link = [c for c in self.flavour.cps if external.virtual_link and c.virtual_link == external.virtual_link]
        return min(on_link, key=_place).id if on_link else ""

    def inner_cp(self, external_id: str) -> Cpd | None:
        """The CP of a VDU behind an external CP; None where the descriptor names none."""
        external = next((e for e in self.flavour.external_cps if e.id == external_id), None)
        behind = self._behind(external) if external else ""
        return next((c for c in self.flavour.cps if c.id == behind), None)

    def link_members(self) -> tuple[tuple[VirtualLinkDesc, tuple[Cpd, ...]], ...]:
        """The internal virtual links with the CPs on them."""
        return tuple(
            (link, tuple(sorted((c for c in self.flavour.cps if c.virtual_link == link.id), key=_place)))
            for link in self.flavour.virtual_links
        )


def _place(cp: Cpd) -> tuple[int, str]:
    return cp.order, cp.id


@dataclass(frozen=True, slots=True)
class ServiceGraph:
    """A service whose parts are all known and fit together. `graph` is not to be changed."""

    name: str
    vnfs: tuple[VnfMember, ...]
    ends: tuple[ChainEnd, ...]
    paths: tuple[ForwardingPath, ...]
    links: tuple[ChainLink, ...]
    crossings_by_path: Mapping[str, tuple[Crossing, ...]]
    graph: Graph

    def vnf(self, alias: str) -> VnfMember:
        """The VNF of that alias; KeyError where there is none."""
        return self._data(("vnf", alias))["member"]  # type: ignore[no-any-return]

    def crossings(self, path: str = "") -> tuple[Crossing, ...]:
        """The links of a path in the order in which traffic takes them; of the first path for an empty name."""
        return self.crossings_by_path[path or self.paths[0].name]

    def link(self, link_id: str) -> ChainLink:
        """The link of that id; KeyError where there is none."""
        return self._data(("link", link_id))["link"]  # type: ignore[no-any-return]

    def links_of(self, owner: str) -> tuple[ChainLink, ...]:
        """The chain's links at a VNF or an end, in the order of the links."""
        return tuple(link for link in self.links if any(m.owner == owner for m in link.members))

    def link_at(self, owner: str, cp: str = "") -> ChainLink | None:
        """The link at an external CP or an end; None where no path leads there."""
        key: Key = ("ext", owner, cp) if cp else ("end", owner)
        found = [n for n in self.graph.neighbors(key) if n[0] == "link"] if key in self.graph else []
        return self.link(found[0][1]) if found else None

    def neighbours(self, alias: str) -> tuple[str, ...]:
        """The VNFs and ends that share a link with this one."""
        members = (m.owner for link in self.links_of(alias) for m in link.members)
        return tuple(dict.fromkeys(owner for owner in members if owner != alias))

    def vdus(self) -> Iterator[tuple[VnfMember, Vdu, int]]:
        """Each VDU of the service with its VNF and its number of instances."""
        return ((vnf, vdu, count) for vnf in self.vnfs for vdu, count in vnf.vdus())

    def between(self, start: str, stop: str) -> tuple[str, ...]:
        """The VNFs that the shortest way over the chain's links takes from one end to another, both left out."""
        import networkx as nx

        kinds = {"vnf", "ext", "link", "end"}
        chain = self.graph.subgraph(n for n in self.graph if n[0] in kinds)
        way = nx.shortest_path(chain, ("end", start), ("end", stop))
        return tuple(key[1] for key in way if key[0] == "vnf")

    def _data(self, key: Key) -> dict[str, Any]:
        return self.graph.nodes[key]
