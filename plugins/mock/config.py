"""What a mock is told by Configure, and the inventory that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.mock import script
from plugins.mock.datacentre import DataCentre, data_centre
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import invalid

MIB = 1 << 20
GIB = 1 << 30
DEFAULT_CPU_MILLI = 16_000
DEFAULT_MEMORY_BYTES = 32 * GIB
DEFAULT_DISK_BYTES = 512 * GIB
DEFAULT_TRAFFIC_PPS = 10
MOST_HOSTS = 100_000
MOST_SEED = (1 << 53) - 1  # what a number of JSON holds
_INVENTORY = ("hosts", "host", "latencies", "fabric", "licences")

RUNTIMES: Mapping[str, pb.Runtime.ValueType] = {
    "VM": pb.RUNTIME_VM,
    "KATA": pb.RUNTIME_KATA,
    "CONTAINER": pb.RUNTIME_CONTAINER,
}
PRIORS: Mapping[str, tuple[int, int, int]] = {  # start_ms, hop_us, memory_bytes
    "CONTAINER": (50, 5, 8 * MIB),
    "KATA": (2_500, 150, 160 * MIB),
    "VM": (20_000, 300, 300 * MIB),
}

ENCAPS: Mapping[str, pb.Segment.Encap.ValueType] = {
    "VXLAN": pb.Segment.VXLAN,
    "VLAN": pb.Segment.VLAN,
    "FLAT": pb.Segment.FLAT,
}
_NAME = {"type": "string", "minLength": 1}
_AMOUNT = {"type": "integer", "minimum": 0}
_COST = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"start_ms": _AMOUNT, "hop_us": _AMOUNT, "memory_bytes": _AMOUNT, "measured": {"type": "boolean"}},
}
_WORKER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "cpu_milli", "memory_bytes"],
    "properties": {
        "id": _NAME,
        "cpu_milli": {"type": "integer", "minimum": 1},
        "memory_bytes": {"type": "integer", "minimum": 1},
        "disk_bytes": _AMOUNT,
        "overhead_memory_bytes": _AMOUNT,
        "start_ms": _AMOUNT,
        "container": _COST,
        "price": {"type": "number", "minimum": 0},
        "most": {"type": "integer", "minimum": 1, "maximum": 16},
    },
}
_HOST = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": _NAME,
        "parent_id": _NAME,
        "identities": {"type": "array", "items": _NAME},
        "site": _NAME,
        "zone": _NAME,
        "rack": _NAME,
        "arch": _NAME,
        "runtimes": {"type": "array", "items": {"enum": list(RUNTIMES)}, "uniqueItems": True},
        "cells": {"type": "integer", "minimum": 1},
        "cpu_milli": _AMOUNT,
        "cpu_used_by_others_milli": _AMOUNT,
        "memory_bytes": _AMOUNT,
        "memory_used_by_others_bytes": _AMOUNT,
        "hugepage_bytes": _AMOUNT,
        "vfs": _AMOUNT,
        "gpus": _AMOUNT,
        "disk_bytes": _AMOUNT,
        "trust": {"type": "integer", "minimum": 0, "maximum": 3},
        "only_tenant": _NAME,
        "price_per_vcpu": {"type": "number", "minimum": 0},
        "active": {"type": "boolean"},
        "on_cost": {"type": "number", "minimum": 0},
        "worker_sizes": {"type": "array", "items": _WORKER},
        "costs": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(RUNTIMES, _COST),
        },
    },
}
SCHEMA: Mapping[str, object] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "script": script.SCHEMA,
        "state_file": _NAME,
        "traffic_pps": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "hosts": {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_HOSTS},
                {"type": "array", "minItems": 1, "items": {**_HOST, "required": ["id"]}},
            ]
        },
        "host": _HOST,
        "latencies": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["zone_a", "zone_b", "one_way_us"],
                "properties": {"zone_a": _NAME, "zone_b": _NAME, "one_way_us": _AMOUNT},
            },
        },
        "fabric": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["a", "b"],
                "properties": {"a": _NAME, "b": _NAME, "bandwidth_bps": _AMOUNT, "one_way_us": _AMOUNT},
            },
        },
        "licences": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "site", "count"],
                "properties": {"id": _NAME, "site": _NAME, "count": _AMOUNT},
            },
        },
        "networks": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["network", "encaps"],
                "properties": {
                    "network": _NAME,
                    "encaps": {"type": "array", "items": {"enum": list(ENCAPS)}, "uniqueItems": True},
                    "chooses": {"type": "boolean"},
                    "mtu_bytes": _AMOUNT,
                    "one_way_us": _AMOUNT,
                    "bandwidth_bps": _AMOUNT,
                },
            },
        },
        "simulate": {
            "type": "object",
            "additionalProperties": False,
            "required": ["hosts"],
            "properties": {
                "hosts": {"type": "integer", "minimum": 1, "maximum": MOST_HOSTS},
                "seed": {"type": "integer", "minimum": 0, "maximum": MOST_SEED},
                "open_workers": {"type": "boolean"},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Config:
    """One mock: its script, its hosts, the file that outlives its process (None: nothing does), and how many packets
    a second cross every port of what runs, beside those of probes."""

    rules: tuple[script.Rule, ...]
    state_file: Path | None
    hosts: tuple[pb.Host, ...]
    latencies: tuple[pb.Latency, ...]
    fabric: tuple[pb.Fabric, ...]
    licences: tuple[pb.Licence, ...] = ()
    reaches: tuple[pb.Reach, ...] = ()
    traffic_pps: int = DEFAULT_TRAFFIC_PPS


def parse(config: Mapping[str, Any], default_state: Path | None) -> Config:
    """From what SCHEMA allows. `host` holds defaults for all hosts; `hosts` is a number, or a list with their own;
    `simulate` stands in place of these and makes a data centre.

    INVALID_ARGUMENT where ids are doubled, a parent is not there, or both are told.
    """
    told = _simulated(config) if "simulate" in config else _written(config)
    state_file = config.get("state_file")
    return Config(
        rules=script.parse(config.get("script", ())),
        state_file=Path(state_file) if state_file else default_state,
        hosts=told.hosts,
        latencies=tuple(pb.Latency(**entry) for entry in config.get("latencies", ())),
        fabric=told.fabric,
        licences=told.licences,
        traffic_pps=config.get("traffic_pps", DEFAULT_TRAFFIC_PPS),
        reaches=tuple(
            pb.Reach(**{**entry, "encaps": [ENCAPS[name] for name in entry["encaps"]]})
            for entry in config.get("networks", ())
        ),
    )


def _simulated(config: Mapping[str, Any]) -> DataCentre:
    if twice := [key for key in _INVENTORY if key in config]:
        raise invalid("config/simulate", f"makes a whole data centre: leave out {', '.join(twice)}")
    wanted = config["simulate"]
    return data_centre(wanted["hosts"], wanted.get("seed", 0), open_workers=wanted.get("open_workers", False))


def _written(config: Mapping[str, Any]) -> DataCentre:
    wanted = config.get("hosts", 1)
    entries: Sequence[Mapping[str, Any]] = (
        [{"id": f"host-{number}"} for number in range(1, wanted + 1)] if isinstance(wanted, int) else wanted
    )
    defaults = {key: value for key, value in config.get("host", {}).items() if key != "id"}
    hosts = tuple(_host({**defaults, **entry}) for entry in entries)
    ids = {host.id for host in hosts}
    if len(ids) != len(hosts):
        raise invalid("config/hosts", "have one id twice")
    for host in hosts:
        if host.parent_id and host.parent_id not in ids:
            raise invalid("config/hosts", f"{host.id!r} has the parent {host.parent_id!r}, which is not there")
    return DataCentre(
        hosts,
        tuple(pb.Fabric(**entry) for entry in config.get("fabric", ())),
        tuple(pb.Licence(**entry) for entry in config.get("licences", ())),
    )


def _host(entry: Mapping[str, Any]) -> pb.Host:
    count = entry.get("cells", 1)
    names = entry.get("runtimes", list(RUNTIMES))
    return pb.Host(
        id=entry["id"],
        parent_id=entry.get("parent_id", ""),
        identities=entry.get("identities", ()),
        site=entry.get("site", "mock"),
        zone=entry.get("zone", "mock"),
        rack=entry.get("rack", ""),
        arch=entry.get("arch", "x86_64"),
        runtimes=[RUNTIMES[name] for name in names],
        cells=[
            pb.NumaCell(
                cpu_milli=entry.get("cpu_milli", DEFAULT_CPU_MILLI) // count,
                cpu_used_by_others_milli=entry.get("cpu_used_by_others_milli", 0) // count,
                memory_bytes=entry.get("memory_bytes", DEFAULT_MEMORY_BYTES) // count,
                memory_used_by_others_bytes=entry.get("memory_used_by_others_bytes", 0) // count,
                hugepage_bytes=entry.get("hugepage_bytes", 0) // count,
                vfs=entry.get("vfs", 0) // count,
                gpus=entry.get("gpus", 0) // count,
            )
            for _ in range(count)
        ],
        disk_bytes=entry.get("disk_bytes", DEFAULT_DISK_BYTES),
        trust=entry.get("trust", 0),
        only_tenant=entry.get("only_tenant", ""),
        price_per_vcpu=entry.get("price_per_vcpu", 1.0),
        active=entry.get("active", True),
        on_cost=entry.get("on_cost", 0.0),
        costs=[_cost(name, entry.get("costs", {}).get(name, {})) for name in names],
        can_open_workers=bool(entry.get("worker_sizes")),
        worker_sizes=[_worker_size(size) for size in entry.get("worker_sizes", ())],
        refusals=[
            pb.RuntimeRefusal(runtime=number, reason="the mock's configuration leaves it out")
            for name, number in RUNTIMES.items()
            if name not in names
        ],
    )


def _worker_size(entry: Mapping[str, Any]) -> pb.WorkerSize:
    plain = {key: value for key, value in entry.items() if key != "container"}
    size = pb.WorkerSize(**plain)
    if "container" in entry:
        size.container.CopyFrom(_cost("CONTAINER", entry["container"]))
    return size


def _cost(name: str, entry: Mapping[str, Any]) -> pb.Cost:
    start_ms, hop_us, memory_bytes = PRIORS[name]
    return pb.Cost(
        runtime=RUNTIMES[name],
        start_ms=entry.get("start_ms", start_ms),
        memory_bytes=entry.get("memory_bytes", memory_bytes),
        hop_us=entry.get("hop_us", hop_us),
        measured=entry.get("measured", False),
    )
