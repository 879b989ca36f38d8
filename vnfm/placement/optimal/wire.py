"""An instance in the format's words, for the process that solves it; `statement_io` reads it back."""

from __future__ import annotations

from typing import Any

from vnfm.placement.statement import (
    INSTANCE_FORMAT,
    Cell,
    Chain,
    Instance,
    Link,
    Node,
    Realization,
    Vnf,
    WorkerSize,
)


def instance_dict(instance: Instance) -> dict[str, Any]:
    """All of it, the keys beyond the format only where they say something."""
    out: dict[str, Any] = {
        "format": INSTANCE_FORMAT,
        "name": instance.name,
        "family": instance.family,
        "seed": instance.seed,
        "catalogue": {name: _realization(r) for name, r in instance.catalogue.items()},
        "nodes": [_node(n) for n in instance.nodes],
        "switches": list(instance.switches),
        "links": [
            {"id": x.id, "a": x.a, "b": x.b, "bw": x.bandwidth_mbps, "lat": x.latency_us} for x in instance.links
        ],
        "licences": [{"id": x.id, "site": x.site, "count": x.count} for x in instance.licences],
        "weights": {"bw_hop": instance.bandwidth_hop_cost},
        "chains": [chain_dict(c) for c in instance.chains],
    }
    if instance.worker_sizes:
        out["worker_sizes"] = [_worker_size(s) for s in instance.worker_sizes]
    if instance.bound is not None:
        out["bound"] = instance.bound
    return out


def chain_dict(chain: Chain) -> dict[str, Any]:
    """A request."""
    return {
        "id": chain.id,
        "tenant": chain.tenant,
        "value": chain.value,
        "arrive": chain.arrive,
        "leave": chain.leave,
        "ends": [{"id": e.id, "at": e.at} for e in chain.ends],
        "vnfs": [_vnf(v) for v in chain.vnfs],
        "vlinks": [
            {"id": v.id, "a": v.a, "b": v.b, "bw": v.bandwidth_mbps, "max_lat": v.max_latency_us} for v in chain.vlinks
        ],
        "paths": [{"vlinks": list(p.vlinks), "max_lat": p.max_latency_us} for p in chain.paths],
        "rules": [{"kind": r.kind.value, "scope": r.scope.value, "vnfs": list(r.vnfs)} for r in chain.rules],
    }


def _realization(kind: Realization) -> dict[str, Any]:
    return {
        "cpu": kind.cpu_milli,
        "mem": kind.memory_mib,
        "start": kind.start_ms,
        "lat": kind.latency_us,
        "cost": kind.cost,
        "isolation": kind.isolation,
        "own_kernel": kind.own_kernel,
        "own_os": kind.own_os,
        "sriov": kind.sriov,
        "gpu": kind.gpu,
        "pin": kind.pin,
        "shared_kernel": kind.shared_kernel,
    }


def _cell(cell: Cell) -> dict[str, int]:
    return {
        "cpu": cell.cpu_milli,
        "mem": cell.memory_mib,
        "hugepages": cell.hugepages_mib,
        "vfs": cell.vfs,
        "gpus": cell.gpus,
    }


def _node(node: Node) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": node.id,
        "kind": node.kind.value,
        "site": node.site,
        "zone": node.zone,
        "rack": node.rack,
        "trust": node.trust,
        "tenant": node.tenant,
        "runtimes": list(node.runtimes),
        "cells": [_cell(c) for c in node.cells],
        "price": node.price,
        "on_cost": node.on_cost,
        "active": node.active,
        "parent": node.parent,
    }
    if node.arch:
        out["arch"] = node.arch
    if node.disk_mib is not None:
        out["disk"] = node.disk_mib
    if node.catalogue:
        out["catalogue"] = {name: _realization(r) for name, r in node.catalogue.items()}
    if node.opens:
        out["opens"] = list(node.opens)
    return out


def _link(link: Link) -> dict[str, Any]:
    return {"id": link.id, "a": link.a, "b": link.b, "bw": link.bandwidth_mbps, "lat": link.latency_us}


def _worker_size(size: WorkerSize) -> dict[str, Any]:
    return {
        "id": size.id,
        "cpu": size.cpu_milli,
        "mem": size.memory_mib,
        "hugepages": size.hugepages_mib,
        "realization": size.realization,
        "runtimes": list(size.runtimes),
        "start": size.start_ms,
        "cost": size.cost,
    }


def _vnf(vnf: Vnf) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": vnf.id,
        "cpu": vnf.cpu_milli,
        "mem": vnf.memory_mib,
        "hugepages": vnf.hugepages_mib,
        "vfs": vnf.vfs,
        "gpus": vnf.gpus,
        "numa_strict": vnf.numa_strict,
        "pin": vnf.pin,
        "isolation": vnf.isolation,
        "own_kernel": vnf.own_kernel,
        "own_os": vnf.own_os,
        "trust": vnf.trust,
        "max_start": vnf.max_start_ms,
        "artefacts": list(vnf.artefacts),
        "sites": None if vnf.sites is None else list(vnf.sites),
        "zones": None if vnf.zones is None else list(vnf.zones),
        "licence": vnf.licence,
    }
    if vnf.arch:
        out["arch"] = dict(vnf.arch)
    if vnf.disk_mib:
        out["disk"] = vnf.disk_mib
    if vnf.max_hop_us is not None:
        out["hop_us"] = vnf.max_hop_us
    return out
