"""Small hosts, demands and requests for the placement stories; every default is an ordinary one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.placement.changes import Change
from vnfm.placement.engine import place
from vnfm.placement.inventory import Cell, Host, RuntimeCost
from vnfm.placement.plan import Assignment, Plan, Refusal
from vnfm.placement.refuse import refusal_and_change
from vnfm.placement.request import Demand, End, Link, PathBound, Request
from vnfm.placement.seek import solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.task import task_of

GIB = 1 << 30
MIB = 1 << 20
ALL = frozenset(Runtime)
COSTS = {
    Runtime.CONTAINER: RuntimeCost(start_ms=60, memory_bytes=4 * MIB, hop_us=5, measured=True),
    Runtime.KATA: RuntimeCost(start_ms=2_400, memory_bytes=250 * MIB, hop_us=70, measured=True),
    Runtime.VM: RuntimeCost(start_ms=3_500, memory_bytes=300 * MIB, hop_us=80, measured=True),
}


def host(name: str = "edge-1", **changes: Any) -> Host:
    """A server of 8 CPUs and 16 GiB that offers everything, unless told otherwise."""
    cells = changes.pop("cells", (Cell(changes.pop("cpu", 8_000), changes.pop("memory", 16 * GIB)),))
    return Host(**{"id": name, "vim": "local", "cells": cells, "runtimes": ALL, "costs": COSTS, **changes})


def worker(name: str, parent: str, **changes: Any) -> Host:
    """A VM on `parent` that runs containers."""
    return host(name, **{"parent": parent, "runtimes": frozenset({Runtime.CONTAINER}), **changes})


def demand(alias: str = "fw", *, artefacts: Iterable[Runtime] = ALL, **changes: Any) -> Demand:
    """A VNFC of 1 CPU and 256 MiB with images for all runtimes; words of Needs go into its needs."""
    needs = Needs(**{k: changes.pop(k) for k in list(changes) if k in Needs.__dataclass_fields__})
    values = {
        "id": f"{alias}-0",
        "alias": alias,
        "vdu": "vdu",
        "tenant": "blue",
        "cpu_milli": 1_000,
        "memory_bytes": 256 * MIB,
        "disk_bytes": 0,
        "needs": needs,
        "artefacts": frozenset(artefacts),
        "vnfd_id": f"vnfd-{alias}",
    }
    return Demand(**{**values, **changes})


def request(*demands: Demand, **changes: Any) -> Request:
    """These demands, not linked."""
    return Request(**{"tenant": "blue", "demands": demands, **changes})


def chain(
    *demands: Demand, latency_us: int | None = None, ends: Sequence[End] | None = None, **changes: Any
) -> Request:
    """client - demands - server, one link between neighbours, one path over all of them."""
    both = ends or (End("client"), End("server"))
    names = [both[0].id, *(d.id for d in demands), both[1].id]
    links = tuple(Link(f"l{i}", a, b) for i, (a, b) in enumerate(pairwise(names)))
    paths = () if latency_us is None else (PathBound("main", tuple(x.id for x in links), latency_us),)
    return request(*demands, **{"links": links, "paths": paths, "ends": tuple(both), **changes})


def cloud(*hosts: Host, **changes: Any) -> Snapshot:
    """A snapshot of these hosts."""
    return Snapshot.of(1, hosts or (host(),), **changes)


def planned(asked: Request, snapshot: Snapshot) -> Plan:
    """The plan; fails with the refusal's words where there is none."""
    outcome = place(asked, snapshot)
    assert isinstance(outcome, Plan), f"{outcome.proof}: {outcome.detail} ({outcome.minimal_change})"
    return outcome


def refused(asked: Request, snapshot: Snapshot) -> Refusal:
    """The refusal; fails where there is a plan."""
    outcome = place(asked, snapshot)
    assert isinstance(outcome, Refusal), [(a.alias, a.host, a.runtime) for a in outcome.assignments]
    return outcome


def refused_with_change(asked: Request, snapshot: Snapshot) -> tuple[Refusal, Change | None]:
    """The refusal, and what it tells of as it would be made."""
    with snapshot.kept.lock:
        task = task_of(asked, snapshot)
        sought = solve(task) if all(task.openings[d.id].ways for d in task.demands) else None
        assert sought is None or sought.draft is None
        return refusal_and_change(task, sought)


def one(asked: Demand, *hosts: Host, **changes: Any) -> Assignment:
    """Where a single demand goes."""
    return planned(request(asked), cloud(*hosts, **changes)).assignments[0]


def why_not(assignment: Assignment, runtime: Runtime) -> str:
    """The first reason against a runtime."""
    return next(r.reason for r in assignment.rejected if r.runtime is runtime)


__all__ = ["ALL", "COSTS", "GIB", "MIB", "Isolation", "Runtime"]
