"""Joins a chain with the VNFDs that it names into a ServiceGraph, or says all that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vnfm.graph.servicegraph import Attachment, ChainLink, Crossing, Graph, Key, ServiceGraph, VnfMember
from vnfm.model.chain import ChainVnf, ForwardingPath, PathHop, ServiceChain
from vnfm.model.problem import problem
from vnfm.model.vnfd import Flavour, Vnfd

if TYPE_CHECKING:
    import networkx as nx


def build_graph(chain: ServiceChain, vnfds: Mapping[str, Vnfd]) -> ServiceGraph:
    """The graph of a chain. `vnfds` holds at least the VNFDs that it names, by id.

    Raises ProblemError `unknown-vnfd`, `unknown-flavour`, `unknown-level`, `no-external-cp`, `unknown-cp`; the detail
    has a line for each thing found, the first gives the problem its name.
    """
    bad: list[tuple[str, str, str]] = []
    members = tuple(m for vnf in chain.vnfs if (m := _member(vnf, vnfds, bad)) is not None)
    wiring = _Wiring({m.alias: m for m in members}, bad)
    for path in chain.paths:
        wiring.add(path)
    if bad:
        word, about, _ = bad[0]
        raise problem(word, "\n".join(text for *_, text in bad), instance=f"{chain.name}#{about}")
    links = wiring.links()
    ids = {member: link.id for link in links for member in link.members}
    crossings = {
        name: tuple(Crossing(ids[source], source, target) for source, target in steps)
        for name, steps in wiring.steps.items()
    }
    graph = _graph(members)
    for end in chain.ends:
        graph.add_node(("end", end.name), kind="end", end=end)
    for link in links:
        graph.add_node(("link", link.id), kind="link", link=link)
        for at in link.members:
            graph.add_edge(("link", link.id), ("ext", at.owner, at.cp) if at.cp else ("end", at.owner))
    return ServiceGraph(chain.name, members, chain.ends, chain.paths, links, crossings, _frozen(graph))


def graph_of_vnfd(vnfd: Vnfd, flavour: str = "", level: str = "") -> ServiceGraph:
    """The graph of one VNF by itself; its alias is the product's name.

    Raises ProblemError `unknown-flavour` or `unknown-level`.
    """
    bad: list[tuple[str, str, str]] = []
    member = _member(ChainVnf(vnfd.product or vnfd.id, vnfd.id, flavour, level), {vnfd.id: vnfd}, bad)
    if member is None or bad:
        word, about, text = bad[0]
        raise problem(word, text, instance=about)
    return ServiceGraph(member.alias, (member,), (), (), (), {}, _frozen(_graph((member,))))


def instances_at(flavour: Flavour, level_id: str = "") -> Mapping[str, int] | None:
    """How many instances each VDU has at an instantiation level; at the default one for an empty id.

    None where there is no such level. A VDU of which the level says nothing has its initial number.
    """
    levels = {level.id: level for level in flavour.instantiation_levels}
    if level_id and level_id not in levels:
        return None
    defaults = [level for level in flavour.instantiation_levels if level.default]
    chosen = levels[level_id] if level_id else next(iter(defaults or flavour.instantiation_levels[:1]), None)
    counts = {vdu.id: vdu.initial_instances for vdu in flavour.vdus}
    if chosen is not None:
        for aspect in flavour.scaling_aspects:
            steps = chosen.scale_levels.get(aspect.id, 0)
            for vdu_id, deltas in aspect.step_deltas.items():
                if vdu_id in counts:
                    counts[vdu_id] += sum(deltas[:steps])
        counts |= {vdu_id: count for vdu_id, count in chosen.instances.items() if vdu_id in counts}
    return counts


def _member(vnf: ChainVnf, vnfds: Mapping[str, Vnfd], bad: list[tuple[str, str, str]]) -> VnfMember | None:
    where = f"vnfs.{vnf.alias}"
    vnfd = vnfds.get(vnf.vnfd_id)
    if vnfd is None:
        text = f"no onboarded package has the VNFD {vnf.vnfd_id!r}. {_known('Onboard it, or choose one of', vnfds)}"
        bad.append(("unknown-vnfd", where, f"{where}.vnfd: {text}"))
        return None
    flavour = vnfd.flavour(vnf.flavour_id)
    if flavour is None:
        text = f"VNFD {vnfd.id} has no flavour {vnf.flavour_id!r}. {_known('Expected', (f.id for f in vnfd.flavours))}"
        bad.append(("unknown-flavour", where, f"{where}.flavour: {text}"))
        return None
    instances = instances_at(flavour, vnf.level_id)
    if instances is None:
        known = _known("Expected", (level.id for level in flavour.instantiation_levels))
        text = f"flavour {flavour.id!r} has no instantiation level {vnf.level_id!r}. {known}"
        bad.append(("unknown-level", where, f"{where}.instantiation_level: {text}"))
        return None
    scaled = {vdu_id: count for vdu_id, count in vnf.instances.items() if vdu_id in instances}
    return VnfMember(vnf.alias, vnfd, flavour, vnf.level_id, {**instances, **scaled})


def _known(word: str, names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    return f"{word}: {', '.join(shown[:8]) or 'there is none'}{more}."


@dataclass(slots=True)
class _Wiring:
    """Finds out which external CP meets which: a CP is on one link only, so that whoever shares a CP shares a link."""

    members: Mapping[str, VnfMember]
    bad: list[tuple[str, str, str]]
    pairs: list[tuple[Attachment, Attachment]] = field(default_factory=list)
    steps: dict[str, list[tuple[Attachment, Attachment]]] = field(default_factory=dict)
    met: dict[tuple[str, str], tuple[Attachment, Attachment]] = field(default_factory=dict)

    def add(self, path: ForwardingPath) -> None:
        """Wire up a path. Neighbours that already met on an earlier path meet at the same CPs again."""
        steps = self.steps.setdefault(path.name, [])
        for number, (left, right) in enumerate(zip(path.hops, path.hops[1:], strict=False)):
            earlier = self.met.get((left.name, right.name))
            source = self._attachment(path, number, left, False, earlier[0].cp if earlier else "")
            target = self._attachment(path, number + 1, right, True, earlier[1].cp if earlier else "")
            if source is None or target is None:
                continue
            self.met.setdefault((left.name, right.name), (source, target))
            self.met.setdefault((right.name, left.name), (target, source))
            steps.append((source, target))
            self.pairs.append((source, target))

    def _attachment(
        self, path: ForwardingPath, number: int, hop: PathHop, ingress: bool, earlier: str
    ) -> Attachment | None:
        member = self.members.get(hop.name)
        if member is None:  # an end, or a VNF of which something else was already said
            return Attachment(hop.name)
        where = f"paths.{path.name}[{number}]"
        external = [e.id for e in member.external_cps()]
        if not external:
            text = f"{hop.name!r} (VNFD {member.vnfd.id}) has no external CP, so nothing can be chained to it."
            entry = ("no-external-cp", where, f"{where}: {text} Expose a CP by substitution_mappings or a VnfExtCp.")
            if entry not in self.bad:
                self.bad.append(entry)
            return None
        named = hop.ingress_cp if ingress else hop.egress_cp
        if named and named not in external:
            text = f"{hop.name!r} has no external CP {named!r}. {_known('Expected', external)}"
            self.bad.append(("unknown-cp", where, f"{where}: {text}"))
            return None
        # The VNFD's order decides: in by the first, out by the second; a one-armed VNF uses its only one.
        return Attachment(hop.name, named or earlier or external[0 if ingress else min(1, len(external) - 1)])

    def links(self) -> tuple[ChainLink, ...]:
        """The links: sets of attachments that meet, in the order of the paths."""
        import networkx as nx

        meeting: nx.Graph[Attachment] = nx.Graph(self.pairs)
        found: list[ChainLink] = []
        seen: set[Attachment] = set()
        for first, _ in self.pairs:
            if first in seen:
                continue
            members = nx.node_connected_component(meeting, first)
            seen |= members
            order = dict.fromkeys(at for pair in self.pairs for at in pair if at in members)
            found.append(ChainLink("-".join(dict.fromkeys(at.owner for at in order)), tuple(order)))
        return _unique(found)


def _unique(links: list[ChainLink]) -> tuple[ChainLink, ...]:
    """Two VNFs may share more than one link: the later ones get a number."""
    taken: dict[str, int] = {}
    result = []
    for link in links:
        taken[link.id] = taken.get(link.id, 0) + 1
        number = taken[link.id]
        result.append(link if number == 1 else ChainLink(f"{link.id}.{number}", link.members))
    return tuple(result)


def _frozen(graph: Graph) -> Graph:
    import networkx as nx

    frozen: Graph = nx.freeze(graph)
    return frozen


def _graph(members: Iterable[VnfMember]) -> Graph:
    import networkx as nx

    graph: Graph = nx.Graph()
    for member in members:
        alias, flavour = member.alias, member.flavour
        root: Key = ("vnf", alias)
        graph.add_node(root, kind="vnf", member=member)
        for vdu, count in member.vdus():
            graph.add_node(("vdu", alias, vdu.id), kind="vdu", vdu=vdu, instances=count)
            graph.add_edge(root, ("vdu", alias, vdu.id))
        for link in flavour.virtual_links:
            graph.add_node(("vl", alias, link.id), kind="vl", link=link)
        for cp in flavour.cps:
            graph.add_node(("cp", alias, cp.id), kind="cp", cp=cp)
            if cp.vdu_id in member.instances:
                graph.add_edge(("vdu", alias, cp.vdu_id), ("cp", alias, cp.id))
            if ("vl", alias, cp.virtual_link) in graph:
                graph.add_edge(("cp", alias, cp.id), ("vl", alias, cp.virtual_link))
        for external in flavour.external_cps:
            key: Key = ("ext", alias, external.id)
            graph.add_node(key, kind="ext", ext=external)
            graph.add_edge(root, key)
            if ("cp", alias, external.cpd_id) in graph:
                graph.add_edge(key, ("cp", alias, external.cpd_id))
            if ("vl", alias, external.virtual_link) in graph:
                graph.add_edge(key, ("vl", alias, external.virtual_link))
    return graph
