"""Hosts and what joins them, from an inventory's messages to model values."""

from __future__ import annotations

from collections.abc import Mapping

from vnfm.model.placement import Runtime
from vnfm.model.resources import Licence, Reach
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.placement.inventory import Cell, FabricEdge, Hardware, Host, RuntimeCost, WorkerSize, ZoneLatency
from vnfm.vim.convert import ENCAP_IN, RUNTIME_IN

MOST_WORKERS = 16  # of one size on one host that are looked at
_Cost = tuple[pb.Runtime.ValueType, int, int, int, bool]


class HostReader:
    """Hosts of one VIM's inventory. Servers come in kinds: what many hosts have in common is kept once.

    `hardware` is what the plugin's capabilities hand on to CONTAINER and VM; `opens`: it opens worker VMs on demand.
    """

    def __init__(self, vim: str, hardware: frozenset[Hardware], *, opens: bool = False) -> None:
        self.vim = vim
        self.hardware = hardware
        self.opens = opens
        self._offers: dict[
            tuple[pb.Runtime.ValueType, ...], tuple[frozenset[Runtime], Mapping[Runtime, frozenset[Hardware]]]
        ] = {}
        self._costs: dict[tuple[_Cost, ...], Mapping[Runtime, RuntimeCost]] = {}
        self._refusals: dict[tuple[tuple[pb.Runtime.ValueType, str], ...], Mapping[Runtime, str]] = {}
        self._cells: dict[tuple[int, ...], Cell] = {}
        self._words: dict[str, str] = {}

    def read(self, m: pb.Host) -> Host:
        """One host."""
        runtimes, hardware = self._offer(tuple(m.runtimes))
        word = self._words.setdefault
        site, zone, rack, arch = m.site, m.zone, m.rack, m.arch
        return Host(
            id=m.id,
            vim=self.vim,
            cells=tuple([self._cell(c) for c in m.cells]),
            runtimes=runtimes,
            parent=m.parent_id,
            identities=frozenset(m.identities),
            site=word(site, site),
            zone=word(zone, zone),
            rack=word(rack, rack),
            arch=word(arch, arch),
            refusals=self._refused(tuple([(r.runtime, r.reason) for r in m.refusals])),
            costs=self._costing(
                tuple([(c.runtime, c.start_ms, c.memory_bytes, c.hop_us, c.measured) for c in m.costs])
            ),
            hardware=hardware,
            disk_bytes=m.disk_bytes or None,
            disk_used_by_others_bytes=m.disk_used_by_others_bytes,
            trust=m.trust,
            only_tenant=m.only_tenant,
            price_per_vcpu=m.price_per_vcpu,
            active=m.active,
            on_cost=m.on_cost,
            opens=tuple(map(_worker_size, m.worker_sizes)) if self.opens and m.can_open_workers else (),
        )

    def _offer(
        self, told: tuple[pb.Runtime.ValueType, ...]
    ) -> tuple[frozenset[Runtime], Mapping[Runtime, frozenset[Hardware]]]:
        known = self._offers.get(told)
        if known is None:
            runtimes = frozenset(RUNTIME_IN[r] for r in told if r in RUNTIME_IN)
            known = runtimes, {r: self.hardware for r in runtimes if r is not Runtime.KATA}
            self._offers[told] = known
        return known

    def _refused(self, told: tuple[tuple[pb.Runtime.ValueType, str], ...]) -> Mapping[Runtime, str]:
        known = self._refusals.get(told)
        if known is None:
            known = self._refusals[told] = {RUNTIME_IN[r]: why for r, why in told if r in RUNTIME_IN}
        return known

    def _costing(self, told: tuple[_Cost, ...]) -> Mapping[Runtime, RuntimeCost]:
        known = self._costs.get(told)
        if known is None:
            known = {RUNTIME_IN[c[0]]: RuntimeCost(*c[1:]) for c in told if c[0] in RUNTIME_IN}
            self._costs[told] = known
        return known

    def _cell(self, c: pb.NumaCell) -> Cell:
        told = (
            c.cpu_milli,
            c.memory_bytes,
            c.cpu_used_by_others_milli,
            c.memory_used_by_others_bytes,
            c.hugepage_bytes,
            c.vfs,
            c.gpus,
        )
        known = self._cells.get(told)
        if known is None:
            known = self._cells[told] = Cell(*told)
        return known


def _worker_size(m: pb.WorkerSize) -> WorkerSize:
    c = m.container
    return WorkerSize(
        id=m.id,
        cpu_milli=m.cpu_milli,
        memory_bytes=m.memory_bytes,
        disk_bytes=m.disk_bytes,
        overhead_memory_bytes=m.overhead_memory_bytes,
        start_ms=m.start_ms,
        cost=RuntimeCost(c.start_ms, c.memory_bytes, c.hop_us, c.measured) if m.HasField("container") else None,
        price=m.price,
        most=max(1, min(m.most, MOST_WORKERS)),
    )


def latency_in(vim: str, m: pb.Latency) -> ZoneLatency:
    """A latency between zones."""
    return ZoneLatency(m.zone_a, m.zone_b, m.one_way_us, vim)


def fabric_in(vim: str, m: pb.Fabric) -> FabricEdge:
    """An edge of the network between hosts."""
    return FabricEdge(vim, m.a, m.b, m.bandwidth_bps, m.one_way_us)


def licence_in(vim: str, m: pb.Licence) -> Licence:
    """Software of which only so many may run."""
    return Licence(vim, m.id, m.site, m.count)


def reach_in(vim: str, m: pb.Reach) -> Reach:
    """A network by which links can go on in other VIMs."""
    refused = {str(ENCAP_IN[r.encap]): r.reason for r in m.refused if r.encap in ENCAP_IN}
    encaps = tuple(ENCAP_IN[e] for e in m.encaps if e in ENCAP_IN)
    return Reach(vim, m.network, encaps, m.chooses, m.mtu_bytes, m.one_way_us, m.bandwidth_bps, refused)
