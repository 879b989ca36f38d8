"""An instance by indices, and what of it a VNF may use: the static side of the exact model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import gt
from typing import NamedTuple

from vnfm.placement.statement import Chain, Instance, Node, NodeKind, Realization, Scope, Vnf

RESOURCES = 6  # cpu_milli, memory_mib, hugepages_mib, vfs, gpus, disk_mib
CELL_RESOURCES = 5  # all but the disk
UNLIMITED = 2**40
Amounts = tuple[int, ...]


class Option(NamedTuple):
    """A way to run a VNF: node, realization, NUMA cell; `cost` without switching its server on."""

    node: int
    realization: str
    cell: int | None
    cost: int
    latency_us: int
    takes: Amounts
    shares: bool


@dataclass(frozen=True, slots=True)
class Wire:
    """A link by indices of vertices."""

    id: str
    a: int
    b: int
    bandwidth_mbps: int
    latency_us: int


@dataclass(frozen=True, slots=True)
class _Alike:
    """What is known of VNFs that have equal options: by node, and by what a node offers (and its architecture)."""

    options: dict[int, tuple[Option, ...]]
    ways: dict[object, list[Option]]


class Cloud:
    """Nodes, vertices and links of an instance by index. Vertices are the servers, by their node's index, and behind
    them the switches."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.nodes = instance.nodes
        self.node_index = {n.id: i for i, n in enumerate(self.nodes)}
        self.root = [self._root(i) for i in range(len(self.nodes))]
        self.capacity: list[Amounts] = [_capacity(n) for n in self.nodes]
        self.cells: list[tuple[Amounts, ...]] = [
            tuple((c.cpu_milli, c.memory_mib, c.hugepages_mib, c.vfs, c.gpus) for c in n.cells) for n in self.nodes
        ]
        self.first_switch = len(self.nodes)
        names = {n.id: i for i, n in enumerate(self.nodes)}
        names |= {s: self.first_switch + i for i, s in enumerate(instance.switches)}
        self.wires = [Wire(x.id, names[x.a], names[x.b], x.bandwidth_mbps, x.latency_us) for x in instance.links]
        self.wire_index = {w.id: i for i, w in enumerate(self.wires)}
        self.around: dict[int, list[int]] = defaultdict(list)
        for i, wire in enumerate(self.wires):
            self.around[wire.a].append(i)
            self.around[wire.b].append(i)
        self.names = names
        self.tokens: dict[tuple[str, str], int] = defaultdict(int)
        for licence in instance.licences:
            self.tokens[licence.id, licence.site] += licence.count
        self.guests_of: dict[int, list[int]] = defaultdict(list)
        for i, server in enumerate(self.root):
            self.guests_of[server].append(i)
        self.in_rack: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(self.nodes):
            self.in_rack[node.rack].append(i)
        self.opens = any(n.opens for n in self.nodes)
        self._alike: dict[tuple[object, ...], _Alike] = {}

    def _root(self, index: int) -> int:
        node = self.nodes[index]
        while node.kind is NodeKind.WORKER and node.parent is not None:
            index = self.node_index[node.parent]
            node = self.nodes[index]
        return index

    def vertex(self, name: str) -> int:
        """Of a node or switch; a worker's is its server's."""
        index = self.names[name]
        return self.root[index] if index < self.first_switch else index

    def is_server(self, vertex: int) -> bool:
        """Or a switch."""
        return vertex < self.first_switch

    def domain(self, scope: Scope, node: int) -> object:
        """What must be equal, or differ, under a rule of that scope."""
        server = self.root[node]
        if scope is Scope.SERVER:
            return server
        return place_name(self.nodes[server], scope)

    def options(self, vnf: Vnf, tenant: str, nodes: Iterable[int]) -> list[Option]:
        """Every way that is not worse than another on the same node and cell in all respects."""
        alike = self._alike.setdefault(_class_of(vnf, tenant), _Alike({}, {}))
        out: list[Option] = []
        for node in nodes:
            if (here := alike.options.get(node)) is None:
                here = alike.options[node] = tuple(self._options_at(vnf, tenant, node, alike))
            out += here
        return out

    def _options_at(self, vnf: Vnf, tenant: str, index: int, alike: _Alike) -> list[Option]:
        node = self.nodes[index]
        if not _admits(node, vnf, tenant):
            return []
        key = index if node.catalogue else (node.runtimes, node.arch)
        if (ways := alike.ways.get(key)) is None:
            ways = alike.ways[key] = self._ways(vnf, node)
        price, capacity = node.price * vnf.cpu_milli, self.capacity[index]
        out = []
        for way in ways:
            if any(map(gt, way.takes, capacity)):
                continue
            option = way._replace(node=index, cost=way.cost + price)
            if not vnf.numa_strict:
                out.append(option)
                continue
            for number, cell in enumerate(self.cells[index]):
                if not any(map(gt, way.takes, cell)):
                    out.append(option._replace(cell=number))
        return out

    def _ways(self, vnf: Vnf, node: Node) -> list[Option]:
        """On nodes that offer the same, without their price: what one lacks in room, a worse one lacks, too."""
        ways = []
        for name in node.runtimes:
            kind = node.catalogue.get(name) or self.instance.catalogue[name]
            if name in vnf.artefacts and _suits(kind, vnf, node):
                ways.append(Option(-1, name, None, kind.cost, kind.latency_us, _takes(vnf, kind), kind.shared_kernel))
        return [w for i, w in enumerate(ways) if not any(_better(o, w, j < i) for j, o in enumerate(ways) if j != i)]

    def option(self, vnf: Vnf, node: int, realization: str, cell: int | None) -> Option:
        """The option of a decision that was taken elsewhere, whether it is allowed or not."""
        on = self.nodes[node]
        kind = on.catalogue.get(realization) or self.instance.catalogue[realization]
        cost = kind.cost + on.price * vnf.cpu_milli
        return Option(node, realization, cell, cost, kind.latency_us, _takes(vnf, kind), kind.shared_kernel)


def place_name(node: Node, scope: Scope) -> str:
    """The name of the node's rack, zone or site."""
    if scope is Scope.RACK:
        return node.rack
    return node.zone if scope is Scope.ZONE else node.site


def cpu_asked(chain: Chain) -> int:
    """How large a chain is, for ordering: its CPUs."""
    return sum(v.cpu_milli for v in chain.vnfs)


def _capacity(node: Node) -> Amounts:
    cells = node.cells
    return (
        sum(c.cpu_milli for c in cells),
        sum(c.memory_mib for c in cells),
        sum(c.hugepages_mib for c in cells),
        sum(c.vfs for c in cells),
        sum(c.gpus for c in cells),
        UNLIMITED if node.disk_mib is None else node.disk_mib,
    )


def _takes(vnf: Vnf, kind: Realization) -> Amounts:
    return (
        vnf.cpu_milli + kind.cpu_milli,
        vnf.memory_mib + kind.memory_mib,
        vnf.hugepages_mib,
        vnf.vfs,
        vnf.gpus,
        vnf.disk_mib,
    )


def _admits(node: Node, vnf: Vnf, tenant: str) -> bool:
    return (
        node.trust >= vnf.trust
        and node.tenant in (None, tenant)
        and (vnf.sites is None or node.site in vnf.sites)
        and (vnf.zones is None or node.zone in vnf.zones)
    )


def _suits(kind: Realization, vnf: Vnf, node: Node) -> bool:
    arch = vnf.arch.get(kind.name, "")
    return (
        kind.isolation >= vnf.isolation
        and (kind.own_kernel or not vnf.own_kernel)
        and (kind.own_os or not vnf.own_os)
        and (kind.sriov or not vnf.vfs)
        and (kind.gpu or not vnf.gpus)
        and (kind.pin or not vnf.pin)
        and (vnf.max_start_ms is None or kind.start_ms <= vnf.max_start_ms)
        and (vnf.max_hop_us is None or kind.latency_us <= vnf.max_hop_us)
        and (not arch or not node.arch or arch == node.arch)
    )


def _better(one: Option, other: Option, first: bool) -> bool:
    """At least as good in every respect; of equal ones the first counts as better."""
    mine = (one.cost, one.latency_us, *one.takes, one.shares)
    its = (other.cost, other.latency_us, *other.takes, other.shares)
    return all(m <= i for m, i in zip(mine, its, strict=True)) and (mine != its or first)


def _class_of(vnf: Vnf, tenant: str) -> tuple[object, ...]:
    """Equal for VNFs that have equal options."""
    return (
        tenant,
        (vnf.cpu_milli, vnf.memory_mib, vnf.hugepages_mib, vnf.vfs, vnf.gpus, vnf.disk_mib),
        (vnf.artefacts, vnf.numa_strict, vnf.pin, vnf.isolation, vnf.own_kernel, vnf.own_os),
        (vnf.trust, vnf.max_start_ms, vnf.max_hop_us, vnf.sites, vnf.zones),
        tuple(sorted(vnf.arch.items())),
    )
