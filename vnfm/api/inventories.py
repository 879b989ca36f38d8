"""Inventories as people and programs see them (docs/surface.md, "vim inventory"), in pieces of any number of hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from vnfm.model.placement import Runtime
from vnfm.model.resources import Licence, Reach
from vnfm.placement.amounts import worker_held
from vnfm.placement.inventory import FabricEdge, Host, ObservedCost, Reservation, ZoneLatency
from vnfm.placement.snapshot import Snapshot, workers_of
from vnfm.store.holdings import Holdings
from vnfm.vim.inventory import InventoryStore

T = TypeVar("T")
PIECE = 500
Document = dict[str, Any]
"""JSON values."""


@dataclass(frozen=True, slots=True)
class InventoryView:
    """One VIM's inventory as it was when asked for, less what we hold, with costs as observed."""

    vim: str
    version: int
    hosts: tuple[Host, ...]  # by id
    fabric: tuple[FabricEdge, ...]
    latencies: tuple[ZoneLatency, ...]
    licences: tuple[Licence, ...]
    reaches: tuple[Reach, ...]
    held: Mapping[str, Sequence[Reservation]]  # by host
    held_bps: Mapping[str, int] = field(repr=False)  # by edge
    servers: Mapping[str, str] = field(default_factory=dict, repr=False)  # worker VM that is open -> its server

    @classmethod
    def of(cls, inventory: InventoryStore, holdings: Holdings) -> InventoryView:
        """Takes what is whole; what is told meanwhile comes into the next view."""
        vim = inventory.vim
        held: dict[str, list[Reservation]] = {}
        servers: dict[str, str] = {}
        for reservation in holdings.reservations:
            if reservation.vim == vim:
                held.setdefault(reservation.host, []).append(reservation)
        for host in inventory.hosts:
            for worker in workers_of(host) if host.opens else ():
                if worker.id in held:
                    held.setdefault(host.id, []).append(worker_held(worker))
                    servers[worker.id] = host.id
        held_bps: Counter[str] = Counter()
        for link in holdings.link_reservations:
            for edge in link.edges:
                held_bps[edge] += link.bandwidth_bps
        return cls(
            vim=vim,
            version=inventory.version,
            hosts=_observed(vim, inventory.hosts, holdings.observed),
            fabric=inventory.fabric,
            latencies=inventory.latencies,
            licences=inventory.licences,
            reaches=inventory.reaches,
            held=held,
            held_bps=held_bps,
            servers=servers,
        )

    def head(self) -> Document:
        """All but the long lists."""
        networks = [_network(reach) for reach in self.reaches]
        return {"vim": self.vim, "version": self.version, "summary": self.summary(), "networks": networks}

    def pieces(self) -> Iterator[Document]:
        """The lists, `PIECE` entries at a time."""
        yield from _cut("hosts", self.hosts, self._host)
        yield from _cut("links", self.fabric, self._link)
        yield from _cut("latencies", self.latencies, _latency)
        yield from _cut("licences", self.licences, self._licence)

    def whole(self) -> Document:
        """All in one."""
        made: Document = {**self.head(), "hosts": [], "links": [], "latencies": [], "licences": []}
        for piece in self.pieces():
            for name, entries in piece.items():
                made[name] += entries
        return made

    def summary(self) -> Document:
        """How much there is of what. What worker VMs take of their servers is free only where they leave it free."""
        servers = [h for h in self.hosts if not h.parent]
        names = {h.id for h in self.hosts}
        ends = {end for edge in self.fabric for end in (edge.a, edge.b)}
        return {
            "hosts": len(self.hosts),
            "servers": len(servers),
            "workers": len(self.hosts) - len(servers),
            "active": sum(h.active for h in servers),
            "dedicated": sum(bool(h.only_tenant) for h in self.hosts),
            "sites": _sites(self.hosts),
            "zones": len({(h.site, h.zone) for h in servers}),
            "racks": len({(h.site, h.zone, h.rack) for h in servers if h.rack}),
            "switches": len(ends - names),
            "links": len(self.fabric),
            "licences": len(self.licences),
            "runtimes": dict(sorted(Counter(r.value for h in self.hosts for r in h.runtimes).items())),
            **self._amounts(servers),
        }

    def _amounts(self, servers: Sequence[Host]) -> Document:
        total = [sum(amounts) for amounts in zip(*map(_total, servers), strict=True)] or [0] * len(_AMOUNTS)
        free = [sum(amounts) for amounts in zip(*map(self._free, self.hosts), strict=True)] or [0] * len(_AMOUNTS)
        cpu, *others = zip(_AMOUNTS, total, free, strict=True)
        return {
            "cpu": {"total_milli": cpu[1], "free_milli": cpu[2]},
            **{name: {"total": all_, "free": left} for name, all_, left in others},
        }

    def _host(self, host: Host) -> Document:
        document = host_document(host, self.held.get(host.id, ()))
        document["workers"] = [_worker(w, self.held.get(w.id, ())) for w in workers_of(host)]
        return document

    def _licence(self, licence: Licence) -> Document:
        sites = {h.id: h.site for h in self.hosts}
        taken = sum(
            r.licence_count
            for host, held in self.held.items()
            for r in held
            if r.licence == licence.id and sites.get(self.servers.get(host, host), "") == licence.site
        )
        return {
            "id": licence.id,
            "site": licence.site,
            "count": licence.count,
            "free": max(0, licence.count - taken),
        }

    def _free(self, host: Host) -> tuple[int, ...]:
        return _free(host, self.held.get(host.id, ()))

    def _link(self, edge: FabricEdge) -> Document:
        told = edge.bandwidth_bps or None
        return {
            "a": edge.a,
            "b": edge.b,
            "bandwidth_bps": {"total": told, "free": max(0, told - self.held_bps.get(edge.id, 0)) if told else None},
            "latency_us": edge.one_way_us,
        }


def _network(reach: Reach) -> Document:
    """By what links can be joined with those of other VIMs, and what is not offered for which reason."""
    return {
        "network": reach.network,
        "encaps": [str(e) for e in reach.encaps],
        "chooses": reach.chooses,
        "mtu_bytes": reach.mtu_bytes or None,
        "latency_us": reach.one_way_us or None,
        "bandwidth_bps": reach.bandwidth_bps or None,
        "refused": dict(reach.refused),
    }


_AMOUNTS = ("cpu", "memory_bytes", "hugepage_bytes", "vfs", "gpus")


def _total(host: Host) -> tuple[int, ...]:
    cells = host.cells
    return (
        sum(c.cpu_milli for c in cells),
        sum(c.memory_bytes for c in cells),
        sum(c.hugepage_bytes for c in cells),
        sum(c.vfs for c in cells),
        sum(c.gpus for c in cells),
    )


def _free(host: Host, held: Sequence[Reservation]) -> tuple[int, ...]:
    cpu, memory, huge, vfs, gpus = _total(host)
    return (
        max(0, cpu - sum(c.cpu_used_by_others_milli for c in host.cells) - sum(r.cpu_milli for r in held)),
        max(0, memory - sum(c.memory_used_by_others_bytes for c in host.cells) - sum(r.memory_bytes for r in held)),
        max(0, huge - sum(r.hugepage_bytes for r in held)),
        max(0, vfs - sum(r.vfs for r in held)),
        max(0, gpus - sum(r.gpus for r in held)),
    )


def host_document(host: Host, held: Sequence[Reservation]) -> Document:
    """One host; `free` is less what others use and what we hold."""
    total, free = _total(host), _free(host, held)
    disk_free = None
    if host.disk_bytes is not None:
        disk_free = max(0, host.disk_bytes - host.disk_used_by_others_bytes - sum(r.disk_bytes for r in held))
    return {
        "id": host.id,
        "parent": host.parent or None,
        "site": host.site,
        "zone": host.zone,
        "rack": host.rack,
        "arch": host.arch,
        "runtimes": sorted(r.value for r in host.runtimes),
        "refusals": {r.value: why for r, why in host.refusals.items()},
        "cpu": {"total_milli": total[0], "free_milli": free[0], "cells": len(host.cells)},
        **{name: {"total": total[at], "free": free[at]} for at, name in enumerate(_AMOUNTS) if at},
        "disk_bytes": {"total": host.disk_bytes, "free": disk_free},
        "numa": [
            {
                "cpu_milli": c.cpu_milli - c.cpu_used_by_others_milli,
                "memory_bytes": c.memory_bytes - c.memory_used_by_others_bytes,
                "hugepage_bytes": c.hugepage_bytes,
                "vfs": c.vfs,
                "gpus": c.gpus,
            }
            for c in host.cells
        ],
        "trust": host.trust,
        "only_tenant": host.only_tenant or None,
        "price_per_vcpu": host.price_per_vcpu,
        "active": host.active,
        "on_cost": host.on_cost,
        "measured": {
            r.value: {
                "start_ms": c.start_ms,
                "memory_bytes": c.memory_bytes,
                "hop_latency_us": c.hop_us,
                "observed": sorted(c.observed),
            }
            for r, c in host.costs.items()
        },
        "identities": sorted(host.identities),
    }


def _worker(worker: Host, held: Sequence[Reservation]) -> Document:
    """A worker VM that may be opened; `open`: something is in it."""
    size, free = worker.worker, _free(worker, held)
    assert size
    return {
        "id": worker.id,
        "size": size.id,
        "open": bool(held),
        "cpu": {"total_milli": size.cpu_milli, "free_milli": free[0]},
        "memory_bytes": {"total": size.memory_bytes, "free": free[1]},
        "start_ms": worker.costs[Runtime.CONTAINER].start_ms,
        "price": size.price,
    }


def _sites(hosts: Sequence[Host]) -> list[Document]:
    zones: dict[str, set[str]] = {}
    servers, workers = Counter[str](), Counter[str]()
    for host in hosts:
        zones.setdefault(host.site, set()).add(host.zone)
        (workers if host.parent else servers)[host.site] += 1
    return [
        {"site": site, "zones": len(zones[site]), "servers": servers[site], "workers": workers[site]}
        for site in sorted(zones)
    ]


def _latency(latency: ZoneLatency) -> Document:
    return {"zone_a": latency.zone_a, "zone_b": latency.zone_b, "latency_us": latency.one_way_us}


def _cut(name: str, entries: Sequence[T], document: Callable[[T], Document]) -> Iterator[Document]:
    left = iter(entries)
    while piece := list(islice(left, PIECE)):
        yield {name: [document(entry) for entry in piece]}


def _observed(vim: str, hosts: Sequence[Host], costs: Sequence[ObservedCost]) -> tuple[Host, ...]:
    """By id; what we saw ourselves goes before what the plugin said. Only the hosts that it is about are looked at."""
    seen = [cost for cost in costs if cost.vim == vim]
    about = {cost.host for cost in seen}
    known = {
        h.id: h for h in Snapshot.of(0, [h for h in hosts if h.id in about]).with_observed(seen).hosts if h.id in about
    }
    return tuple(sorted((known.get(h.id, h) for h in hosts), key=lambda h: h.id))
