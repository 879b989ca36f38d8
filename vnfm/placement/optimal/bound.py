"""A lower bound of the objective that needs no solver: each chain by itself, in the empty cloud, its best at every VNF.

A chain costs at least its value or what its VNFs cost where each is cheapest, whichever is less; and traffic from an
end outside reaches a server only over as many links as lie between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from vnfm.placement.optimal.cloud import RESOURCES, Cloud
from vnfm.placement.statement import Chain, Realization, Vnf

Mask = NDArray[np.bool_]


def chain_bounds(cloud: Cloud) -> dict[str, int]:
    """By chain: what it costs at least, accepted or not."""
    cheapest = Cheapest(cloud)
    near: dict[int, int] = {}
    out = {}
    for chain in cloud.instance.chains:
        total = sum(cheapest.of(v, chain.tenant, chain.value) for v in chain.vnfs)
        total += cloud.instance.bandwidth_hop_cost * _far(cloud, chain, near)
        out[chain.id] = min(chain.value, total)
    return out


def _far(cloud: Cloud, chain: Chain, near: dict[int, int]) -> int:
    """Mbit/s times links that no placement spares."""
    ends = {e.id: cloud.vertex(e.at) for e in chain.ends}
    total = 0
    for vlink in chain.vlinks:
        outside = [ends[x] for x in (vlink.a, vlink.b) if x in ends]
        if len(outside) == 1:
            if outside[0] not in near:
                near[outside[0]] = _hops_to_a_server(cloud, outside[0])
            total += vlink.bandwidth_mbps * near[outside[0]]
    return total


def _hops_to_a_server(cloud: Cloud, vertex: int) -> int:
    seen, ring, hops = {vertex}, [vertex], 0
    while ring:
        if any(cloud.is_server(v) for v in ring):
            return hops
        hops += 1
        ahead = []
        for at in ring:
            for i in cloud.around[at]:
                wire = cloud.wires[i]
                other = wire.b if wire.a == at else wire.a
                if other not in seen:
                    seen.add(other)
                    ahead.append(other)
        ring = ahead
    return 0


class Cheapest:
    """What a VNF costs at least, over all nodes at once."""

    def __init__(self, cloud: Cloud) -> None:
        nodes = cloud.nodes
        self._instance = cloud.instance
        self._price = np.array([n.price for n in nodes], dtype=np.int64)
        self._trust = np.array([n.trust for n in nodes], dtype=np.int64)
        self._capacity = np.array(cloud.capacity, dtype=np.int64).reshape(-1, RESOURCES)
        self._tenants = _codes([n.tenant for n in nodes])
        self._sites = _codes([n.site for n in nodes])
        self._zones = _codes([n.zone for n in nodes])
        self._own = any(n.catalogue for n in nodes)
        names = cloud.instance.catalogue
        self._offers = {r: np.array([r in n.runtimes for n in nodes], dtype=bool) for r in names}
        if any(n.opens for n in nodes):  # what a worker may be opened for may run there, and at no cost for it
            opening = np.array([bool(n.opens) for n in nodes], dtype=bool)
            for size in cloud.instance.worker_sizes:
                for name in size.runtimes:
                    self._offers[name] = self._offers[name] | opening
        self._known: dict[tuple[object, ...], int] = {}

    def of(self, vnf: Vnf, tenant: str, least: int) -> int:
        """Its least cost; `least` where it cannot be anywhere."""
        key: tuple[object, ...] = (
            tenant,
            least,
            vnf.cpu_milli,
            vnf.memory_mib,
            vnf.hugepages_mib,
            vnf.vfs,
            vnf.gpus,
            vnf.artefacts,
        )
        key += (vnf.isolation, vnf.own_kernel, vnf.own_os, vnf.pin, vnf.trust, vnf.max_start_ms, vnf.sites, vnf.zones)
        if key not in self._known:
            self._known[key] = self._least(vnf, tenant, least)
        return self._known[key]

    def _least(self, vnf: Vnf, tenant: str, least: int) -> int:
        open_ = (self._trust >= vnf.trust) & (self._tenants((None, tenant).__contains__))
        if vnf.sites is not None:
            open_ &= self._sites(vnf.sites.__contains__)
        if vnf.zones is not None:
            open_ &= self._zones(vnf.zones.__contains__)
        takes = (vnf.cpu_milli, vnf.memory_mib, vnf.hugepages_mib, vnf.vfs, vnf.gpus)
        for i, amount in enumerate(takes):
            if amount:
                open_ &= self._capacity[:, i] >= amount
        costs = []
        for name in vnf.artefacts:
            kind = self._instance.catalogue[name]
            here = open_ & self._offers[name]
            if (self._own or _suits(kind, vnf)) and here.any():
                costs.append((0 if self._own else kind.cost) + vnf.cpu_milli * int(self._price[here].min()))
        return min(costs, default=least)


def _suits(kind: Realization, vnf: Vnf) -> bool:
    return (
        kind.isolation >= vnf.isolation
        and (kind.own_kernel or not vnf.own_kernel)
        and (kind.own_os or not vnf.own_os)
        and (kind.sriov or not vnf.vfs)
        and (kind.gpu or not vnf.gpus)
        and (kind.pin or not vnf.pin)
        and (vnf.max_start_ms is None or kind.start_ms <= vnf.max_start_ms)
    )


def _codes(names: list[str | None] | list[str]) -> Callable[[Callable[[object], bool]], Mask]:
    """A way to ask for the nodes whose name passes a test, which is made once a name."""
    index: Mapping[str | None, int] = {name: i for i, name in enumerate(dict.fromkeys(names))}
    codes = np.array([index[name] for name in names], dtype=np.int64)

    def where(passes: Callable[[object], bool]) -> Mask:
        table = np.array([passes(name) for name in index], dtype=bool)
        return np.asarray(table[codes], dtype=bool)

    return where
