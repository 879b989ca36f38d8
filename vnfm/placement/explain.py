"""A plan or a refusal as JSON-ready values: what `vnfm chain plan` prints."""

from __future__ import annotations

from typing import Any

from vnfm.model.placement import Runtime
from vnfm.placement.plan import Assignment, Plan, Refusal


def explain(outcome: Plan | Refusal, *, chain: str = "") -> dict[str, Any]:
    """`{"chain", "feasible", "vnfs", "links", "refused"}`; one entry of `vnfs` a VNF, in the plan's order.

    A VNF of several VNFCs is told in full by its first; `vnfcs` says of each where and how it runs, and why. `chosen`,
    `realizations`, `filters`, `score` and `runner_up` are as `vnfm placement explain` tells them of the format's VNFs.
    """
    if isinstance(outcome, Refusal):
        refused = {
            **outcome.facts,
            "proof": str(outcome.proof),
            "detail": outcome.detail,
            "minimal_change": outcome.minimal_change,
        }
        return {"chain": chain, "feasible": False, "vnfs": [], "links": [], "refused": refused}
    by_alias: dict[str, list[Assignment]] = {}
    for assignment in outcome.assignments:
        by_alias.setdefault(assignment.alias, []).append(assignment)
    return {
        "chain": chain,
        "feasible": True,
        "vnfs": [
            {"alias": alias, "vnfd_id": group[0].vnfd_id, **_entry(group[0]), "vnfcs": [_vnfc(a) for a in group]}
            for alias, group in by_alias.items()
        ],
        "links": [{"id": x.id, "latency_us": x.latency_us, "bandwidth_bps": x.bandwidth_bps} for x in outcome.links],
        "refused": None,
    }


def word_of(realized: tuple[Runtime, bool]) -> str:
    """How documents name a realization: a runtime, or NESTED for a container in a worker VM."""
    return "NESTED" if realized == (Runtime.CONTAINER, True) else str(realized[0])


def _vnfc(a: Assignment) -> dict[str, Any]:
    return {"id": a.id, "vdu_id": a.vdu, **_where(a)}


def _where(a: Assignment) -> dict[str, Any]:
    return {
        "runtime": str(a.runtime),
        "nested": a.nested,
        "host": a.host,
        "host_path": list(a.host_path),
        "vim": a.vim,
        "numa_cell": a.cell,
        "price": {
            "per_vcpu": a.price.per_vcpu,
            "cpus": a.price.cpus,
            "switch_on": a.price.switch_on,
            "open_worker": a.price.open_worker,
        },
        "worker": None
        if a.worker is None
        else {
            "host": a.worker.host,
            "size": a.worker.size.id,
            "cpu_milli": a.worker.size.cpu_milli,
            "memory_bytes": a.worker.size.memory_bytes,
            "opens": a.worker.opens,
        },
        "reasons": list(a.reasons),
    }


def _entry(a: Assignment) -> dict[str, Any]:
    realization = word_of((a.runtime, a.nested))
    return {
        **_where(a),
        "chosen": {"node": a.host, "realization": realization, "cell": a.cell},
        "realizations": dict(a.realizations),
        "filters": dict(a.filters),
        "score": dict(a.score),
        "rejected": [
            {"runtime": str(r.runtime), "nested": r.nested, "host": r.host, "reason": r.reason} for r in a.rejected
        ],
        "runner_up": None
        if a.runner_up is None
        else {
            "runtime": str(a.runner_up.runtime),
            "nested": a.runner_up.nested,
            "host": a.runner_up.host,
            "node": a.runner_up.host,
            "vim": a.runner_up.vim,
            "realization": word_of((a.runner_up.runtime, a.runner_up.nested)),
            "delta": a.runner_up.delta,
            "because": a.runner_up.because,
        },
        "refused": None,
    }
