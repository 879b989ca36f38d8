"""Instances and chains from parsed JSON, checked field by field.

What is wrong raises ProblemError `invalid-request` whose `instance` is the path of the field (`nodes[3].parent`).
Names of sites, zones and licences that nothing else names are no error: nothing is there, so nothing fits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from vnfm.model.problem import ProblemError, problem
from vnfm.placement.fields import (
    LIMIT,
    Json,
    Misfit,
    different,
    each,
    flag,
    mapping,
    maybe_text,
    maybe_texts,
    maybe_whole,
    misfit,
    text,
    texts,
    whole,
)
from vnfm.placement.statement import (
    INSTANCE_FORMAT,
    Cell,
    Chain,
    End,
    Instance,
    Licence,
    Link,
    Node,
    NodeKind,
    PathBound,
    Realization,
    Rule,
    RuleKind,
    Scope,
    VirtualLink,
    Vnf,
    WorkerSize,
)

T = TypeVar("T")
KINDS = {k.value: k for k in NodeKind}
RULE_KINDS = {k.value: k for k in RuleKind}
SCOPES = {s.value: s for s in Scope}


def parse_instance(data: object) -> Instance:
    """An instance of the format. Raises ProblemError `invalid-request` naming the field."""
    return told(lambda: _instance(mapping(data)))


def parse_chain(data: object, known: Instance | Known) -> Chain:
    """A chain asked of an instance (or what is known of it). Raises ProblemError `invalid-request` naming the field."""
    names = known_of(known) if isinstance(known, Instance) else known
    return told(lambda: _chain(data, names.catalogue, names.places))


@dataclass(frozen=True, slots=True)
class Known:
    """What a chain may name: realizations, and places of ends (servers, workers for their server, switches)."""

    catalogue: Mapping[str, Realization]
    places: frozenset[str]


def known_of(instance: Instance) -> Known:
    """What chains of that instance may name."""
    return Known(instance.catalogue, frozenset(n.id for n in instance.nodes) | frozenset(instance.switches))


def told(read: Callable[[], T]) -> T:
    """What `read` returns; its Misfit as the one error form."""
    try:
        return read()
    except Misfit as wrong:
        raise invalid(wrong.path, wrong.text) from None


def invalid(path: str, detail: str) -> ProblemError:
    """The problem of a field that cannot be what it is."""
    return problem("invalid-request", f"{path}: {detail}" if path else detail, instance=path)


# ---- what there is ----


def _instance(data: Json) -> Instance:
    if data.get("format", INSTANCE_FORMAT) != INSTANCE_FORMAT:
        misfit("format", repr(INSTANCE_FORMAT), data["format"])
    catalogue = _catalogue(data.get("catalogue"), {}, "catalogue")
    sizes = each(data, "worker_sizes", lambda x: _worker_size(mapping(x), catalogue))
    size_ids = frozenset(s.id for s in sizes)
    nodes = each(data, "nodes", lambda x: _node(mapping(x), catalogue, size_ids), required=True)
    switches = texts(data, "switches") if data.get("switches") is not None else ()
    node_ids = _nodes_checked(nodes)
    different(switches, "switches", "", node_ids)
    vertices = frozenset(n.id for n in nodes if n.kind is NodeKind.SERVER) | frozenset(switches)
    links = each(data, "links", lambda x: _link(mapping(x), vertices))
    different((x.id for x in links), "links")
    places = node_ids | frozenset(switches)
    chains = each(data, "chains", lambda x: _chain(x, catalogue, places))
    different((c.id for c in chains), "chains")
    weights = mapping(data.get("weights") or {}, "weights")
    try:
        hop_cost = whole(weights, "bw_hop", 0)
    except Misfit as wrong:
        raise wrong.within("weights") from None
    return Instance(
        name=text(data, "name", ""),
        family=text(data, "family", ""),
        seed=_seed(data.get("seed")),
        catalogue=catalogue,
        nodes=nodes,
        switches=switches,
        links=links,
        licences=each(data, "licences", lambda x: _licence(mapping(x))),
        bandwidth_hop_cost=hop_cost,
        chains=chains,
        worker_sizes=sizes,
        bound=maybe_whole(data, "bound"),
    )


def _seed(value: object) -> int:
    if value is None:
        return 0
    if type(value) is not int:
        misfit("seed", "a whole number", value)
    return value


def _catalogue(data: object, common: Mapping[str, Realization], name: str) -> dict[str, Realization]:
    out: dict[str, Realization] = {}
    for key, item in mapping(data, name).items():
        try:
            out[key] = _realization(key, mapping(item), common.get(key, Realization(key)))
        except Misfit as wrong:
            raise wrong.within(f"{name}.{key}") from None
    return out


def _realization(name: str, data: Json, base: Realization) -> Realization:
    def given(key: str, default: bool) -> bool:
        return flag(data, key) if key in data else default

    return Realization(
        name,
        cpu_milli=whole(data, "cpu", base.cpu_milli),
        memory_mib=whole(data, "mem", base.memory_mib),
        start_ms=whole(data, "start", base.start_ms),
        latency_us=whole(data, "lat", base.latency_us),
        cost=whole(data, "cost", base.cost),
        isolation=whole(data, "isolation", base.isolation),
        own_kernel=given("own_kernel", base.own_kernel),
        own_os=given("own_os", base.own_os),
        sriov=given("sriov", base.sriov),
        gpu=given("gpu", base.gpu),
        pin=given("pin", base.pin),
        shared_kernel=given("shared_kernel", base.shared_kernel),
    )


def _worker_size(data: Json, catalogue: Mapping[str, Realization]) -> WorkerSize:
    realization = text(data, "realization", "vm")
    if realization not in catalogue:
        misfit("realization", "a known realization", realization)
    return WorkerSize(
        id=text(data, "id"),
        cpu_milli=whole(data, "cpu"),
        memory_mib=whole(data, "mem"),
        hugepages_mib=whole(data, "hugepages", 0),
        realization=realization,
        runtimes=texts(data, "runtimes", catalogue, "realization") if "runtimes" in data else ("nested",),
        start_ms=whole(data, "start", 0),
        cost=whole(data, "cost", 0),
    )


def _cell(data: object) -> Cell:
    cell = mapping(data)
    cpu, memory, huge = cell.get("cpu"), cell.get("mem"), cell.get("hugepages", 0)
    vfs, gpus = cell.get("vfs", 0), cell.get("gpus", 0)
    if (
        type(cpu) is type(memory) is type(huge) is type(vfs) is type(gpus) is int
        and min(cpu, memory, huge, vfs, gpus) >= 0
        and max(cpu, memory, huge, vfs, gpus) <= LIMIT
    ):
        return Cell(cpu, memory, huge, vfs, gpus)
    return Cell(  # which names the field that is wrong
        whole(cell, "cpu"),
        whole(cell, "mem"),
        whole(cell, "hugepages", 0),
        whole(cell, "vfs", 0),
        whole(cell, "gpus", 0),
    )


def _node(data: Json, catalogue: Mapping[str, Realization], sizes: Collection[str]) -> Node:
    kind = KINDS.get(data.get("kind", ""))
    if kind is None:
        misfit("kind", "server or worker", data.get("kind"))
    cells = each(data, "cells", _cell, required=True)
    if not 1 <= len(cells) <= 16:
        misfit("cells", "1 to 16 NUMA cells", f"{len(cells)} of them")
    active = data.get("active", True)
    if type(active) is not bool:
        misfit("active", "true or false", active)
    return Node(
        id=text(data, "id"),
        kind=kind,
        cells=cells,
        runtimes=texts(data, "runtimes", catalogue, "realization"),
        site=text(data, "site", ""),
        zone=text(data, "zone", ""),
        rack=text(data, "rack", ""),
        trust=whole(data, "trust", 0),
        tenant=maybe_text(data, "tenant"),
        price=whole(data, "price", 0),
        on_cost=whole(data, "on_cost", 0),
        active=active,
        parent=maybe_text(data, "parent"),
        arch=text(data, "arch", ""),
        disk_mib=maybe_whole(data, "disk"),
        catalogue=_catalogue(data["catalogue"], catalogue, "catalogue") if data.get("catalogue") else {},
        opens=texts(data, "opens", sizes, "worker size") if data.get("opens") else (),
    )


def _nodes_checked(nodes: tuple[Node, ...]) -> frozenset[str]:
    different((n.id for n in nodes), "nodes")
    by_id = {n.id: n for n in nodes}
    for i, node in enumerate(nodes):
        if node.kind is NodeKind.SERVER:
            if node.parent is not None:
                misfit(f"nodes[{i}].parent", "null, for a server stands on nothing", node.parent)
            continue
        seen = {node.id}
        above = node
        while above.kind is NodeKind.WORKER:
            if above.parent is None or above.parent not in by_id:
                where = next(j for j, n in enumerate(nodes) if n is above)
                misfit(f"nodes[{where}].parent", "the id of a node of this instance", above.parent)
            if above.parent in seen:
                misfit(f"nodes[{i}].parent", "a server in the end, but the parents go in a circle", node.parent)
            seen.add(above.parent)
            above = by_id[above.parent]
    return frozenset(by_id)


def _link(data: Json, vertices: Collection[str]) -> Link:
    link = Link(text(data, "id"), text(data, "a"), text(data, "b"), whole(data, "bw"), whole(data, "lat", 0))
    for name, end in (("a", link.a), ("b", link.b)):
        if end not in vertices:
            misfit(name, "the id of a server or switch", end)
    if link.a == link.b:
        misfit("b", "another vertex than a", link.b)
    return link


def _licence(data: Json) -> Licence:
    return Licence(text(data, "id"), text(data, "site", ""), whole(data, "count"))


# ---- what is asked ----


def _chain(raw: object, catalogue: Mapping[str, Realization], places: Collection[str]) -> Chain:
    data = mapping(raw)
    vnfs = each(data, "vnfs", lambda x: _vnf(mapping(x), catalogue), required=True)
    ends = each(data, "ends", lambda x: _end(mapping(x), places))
    vnf_ids = [v.id for v in vnfs]
    different(vnf_ids, "vnfs")
    different((e.id for e in ends), "ends", seen=vnf_ids)
    points = frozenset(vnf_ids) | frozenset(e.id for e in ends)
    vlinks = each(data, "vlinks", lambda x: _vlink(mapping(x), points))
    vlink_ids = frozenset(x.id for x in vlinks)
    different((x.id for x in vlinks), "vlinks")
    return Chain(
        id=text(data, "id"),
        tenant=text(data, "tenant", ""),
        value=whole(data, "value", 0),
        arrive=maybe_whole(data, "arrive"),
        leave=maybe_whole(data, "leave"),
        ends=ends,
        vnfs=vnfs,
        vlinks=vlinks,
        paths=each(data, "paths", lambda x: _path(mapping(x), vlink_ids)),
        rules=each(data, "rules", lambda x: _rule(mapping(x), frozenset(vnf_ids))),
    )


def _end(data: Json, places: Collection[str]) -> End:
    at = text(data, "at")
    if at not in places:
        misfit("at", "the id of a node or switch", at)
    return End(text(data, "id"), at)


def _vnf(data: Json, catalogue: Mapping[str, Realization]) -> Vnf:
    arch = mapping(data.get("arch") or {}, "arch")
    for key, value in arch.items():
        if type(value) is not str or key not in catalogue:
            misfit(f"arch.{key}", "the architecture of a known realization's artefact", value)
    return Vnf(
        id=text(data, "id"),
        cpu_milli=whole(data, "cpu"),
        memory_mib=whole(data, "mem"),
        hugepages_mib=whole(data, "hugepages", 0),
        vfs=whole(data, "vfs", 0),
        gpus=whole(data, "gpus", 0),
        numa_strict=flag(data, "numa_strict"),
        pin=flag(data, "pin"),
        isolation=whole(data, "isolation", 0),
        own_kernel=flag(data, "own_kernel"),
        own_os=flag(data, "own_os"),
        trust=whole(data, "trust", 0),
        max_start_ms=maybe_whole(data, "max_start"),
        artefacts=texts(data, "artefacts", catalogue, "realization"),
        sites=maybe_texts(data, "sites"),
        zones=maybe_texts(data, "zones"),
        licence=maybe_text(data, "licence"),
        arch=dict(arch),
        disk_mib=whole(data, "disk", 0),
        max_hop_us=maybe_whole(data, "hop_us"),
    )


def _vlink(data: Json, points: Collection[str]) -> VirtualLink:
    link = VirtualLink(
        text(data, "id"), text(data, "a"), text(data, "b"), whole(data, "bw", 0), maybe_whole(data, "max_lat")
    )
    for name, end in (("a", link.a), ("b", link.b)):
        if end not in points:
            misfit(name, "the id of a VNF or end of this chain", end)
    return link


def _path(data: Json, vlinks: Collection[str]) -> PathBound:
    return PathBound(texts(data, "vlinks", vlinks, "virtual link"), whole(data, "max_lat"))


def _rule(data: Json, vnfs: Collection[str]) -> Rule:
    kind, scope = RULE_KINDS.get(data.get("kind", "")), SCOPES.get(data.get("scope", ""))
    if kind is None:
        misfit("kind", "affinity or anti-affinity", data.get("kind"))
    if scope is None:
        misfit("scope", "server, rack, zone or site", data.get("scope"))
    return Rule(kind, scope, texts(data, "vnfs", vnfs, "VNF of this chain"))
