"""Samples of counters as documents, with rates beside the totals (docs/surface.md, "stats"). Pure.

A rate is taken from two samples: it is None in the first, and where a counter began anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from vnfm.model.lcm import Vnfc, VnfInstance
from vnfm.model.resources import ComputeStats, PathStats, PortStats, StatsSample

PORT_TOTALS = tuple(f.name for f in fields(PortStats) if f.name not in ("resource_id", "cp_id"))


@dataclass(frozen=True, slots=True)
class Counted:
    """Who the resources of a chain are: names of ends and of paths by resource id."""

    ends: Mapping[str, str]
    paths: Mapping[str, str]


class Rates:
    """Remembers the totals of the sample before."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, ...], tuple[datetime, tuple[int, ...]]] = {}
        self._now: dict[tuple[str, ...], tuple[datetime, tuple[int, ...]]] = {}

    def per_second(self, key: tuple[str, ...], at: datetime, *totals: int) -> tuple[float | None, ...]:
        """How fast each total rises."""
        before = self._before.get(key)
        self._now[key] = at, totals
        seconds = (at - before[0]).total_seconds() if before else 0.0
        if before is None or seconds <= 0 or any(n < o for n, o in zip(totals, before[1], strict=True)):
            return (None,) * len(totals)
        return tuple((n - o) / seconds for n, o in zip(totals, before[1], strict=True))

    def next(self) -> None:
        """The sample is over; what was not in it is forgotten."""
        self._before, self._now = self._now, {}


def joined(samples: Iterable[StatsSample]) -> StatsSample:
    """Samples of several VIMs, taken about the same time, as one."""
    parts = list(samples)
    return StatsSample(
        max(p.at for p in parts),
        tuple(c for p in parts for c in p.computes),
        tuple(x for p in parts for x in p.ports),
        tuple(x for p in parts for x in p.paths),
    )


def vnf_stats(sample: StatsSample, instance: VnfInstance, rates: Rates) -> dict[str, Any]:
    """ "vnf stats": one sample."""
    document = {
        "vnf": instance.name,
        "vnf_instance_id": instance.id,
        "at": sample.at.isoformat(),
        "vnfcs": _vnfcs(sample, instance.vnfcs, rates),
    }
    rates.next()
    return document


def chain_stats(
    sample: StatsSample, chain: str, instances: Sequence[VnfInstance], counted: Counted, rates: Rates
) -> dict[str, Any]:
    """ "chain stats": one sample."""
    document = {
        "chain": chain,
        "at": sample.at.isoformat(),
        "vnfs": [{"alias": i.alias, "vnfcs": _vnfcs(sample, i.vnfcs, rates)} for i in instances],
        "ends": [
            {"name": name, "resource_id": resource_id, "ports": _ports(sample, resource_id, rates)}
            for resource_id, name in counted.ends.items()
        ],
        "paths": [
            {"name": name, "hops": _path(sample, path_id, _names(instances, counted), rates)}
            for path_id, name in counted.paths.items()
        ],
    }
    rates.next()
    return document


def _names(instances: Sequence[VnfInstance], counted: Counted) -> Mapping[str, str]:
    return {**{v.id: i.alias for i in instances for v in i.vnfcs}, **counted.ends}


def _vnfcs(sample: StatsSample, vnfcs: Sequence[Vnfc], rates: Rates) -> list[dict[str, Any]]:
    computes = {c.resource_id: c for c in sample.computes}
    return [
        {
            "id": v.id,
            "vdu_id": v.vdu_id,
            "runtime": v.runtime.value,
            "host": v.host,
            **_compute(sample.at, computes.get(v.id), rates),
            "ports": _ports(sample, v.id, rates),
        }
        for v in vnfcs
    ]


def _compute(at: datetime, stats: ComputeStats | None, rates: Rates) -> dict[str, Any]:
    if stats is None:  # it is not there
        names = ("cpu_ns", "cpu_milli", "memory_bytes", "memory_limit_bytes", "processes")
        return dict.fromkeys(names)
    (ns_per_second,) = rates.per_second(("cpu", stats.resource_id), at, stats.cpu_ns)
    return {
        "cpu_ns": stats.cpu_ns,
        "cpu_milli": None if ns_per_second is None else round(ns_per_second / 1e6, 1),
        "memory_bytes": stats.memory_bytes,
        "memory_limit_bytes": stats.memory_limit_bytes or None,
        "processes": stats.processes or None,
    }


def _ports(sample: StatsSample, resource_id: str, rates: Rates) -> list[dict[str, Any]]:
    mine = sorted((p for p in sample.ports if p.resource_id == resource_id), key=lambda p: p.cp_id)
    return [_port(sample.at, p, rates) for p in mine]


def _port(at: datetime, port: PortStats, rates: Rates) -> dict[str, Any]:
    flows = (port.in_packets, port.in_bytes, port.out_packets, port.out_bytes)
    in_pps, in_bytes, out_pps, out_bytes = rates.per_second(("port", port.resource_id, port.cp_id), at, *flows)
    return {
        "cp": port.cp_id,
        **{name: getattr(port, name) for name in PORT_TOTALS},
        "in_pps": _rounded(in_pps),
        "in_bps": _bits(in_bytes),
        "out_pps": _rounded(out_pps),
        "out_bps": _bits(out_bytes),
    }


def _path(sample: StatsSample, path_id: str, names: Mapping[str, str], rates: Rates) -> list[dict[str, Any]]:
    return [_hop(sample.at, p, names, rates) for p in sample.paths if p.path_id == path_id]


def _hop(at: datetime, hop: PathStats, names: Mapping[str, str], rates: Rates) -> dict[str, Any]:
    key = ("path", hop.path_id, hop.resource_id, hop.cp_id)
    pps, bytes_per_second = rates.per_second(key, at, hop.packets, hop.bytes)
    return {
        "name": names.get(hop.resource_id, ""),
        "cp": hop.cp_id,
        "resource_id": hop.resource_id,
        "packets": hop.packets,
        "bytes": hop.bytes,
        "pps": _rounded(pps),
        "bps": _bits(bytes_per_second),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _bits(bytes_per_second: float | None) -> int | None:
    return None if bytes_per_second is None else round(bytes_per_second * 8)
