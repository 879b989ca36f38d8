"""Values to messages, as people and programs see them (docs/surface.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2

from vnfm.api.errors import problem_out
from vnfm.api.liveness import Live, heal_document, heal_facts, health_document, replicas, vnfc_documents
from vnfm.lcm.machine import St, out_of_reach, progress_percent
from vnfm.lcm.operation import LogEntry, Operation
from vnfm.lcm.steps import Step
from vnfm.model.lcm import LcmOperationState, LcmOperationType, VnfInstance
from vnfm.model.package import Finding, VnfPackage
from vnfm.model.problem import Problem
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.store.orders import ChainRecord

RUNNING = (LcmOperationState.STARTING, LcmOperationState.PROCESSING, LcmOperationState.ROLLING_BACK)


def struct(document: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON document for the wire."""
    message = struct_pb2.Struct()
    message.update(dict(document))
    return message


def package_message(package: VnfPackage, error: Problem | None = None) -> pb.Package:
    """SOL003 10.5.2.2."""
    message = pb.Package(
        id=package.id,
        vnfd_id=package.vnfd_id,
        provider=package.provider,
        product=package.product,
        version=package.version,
        onboarding_state=package.onboarding_state.value,
        operational_state=package.operational_state.value,
        usage_state=package.usage_state.value,
        findings=[finding_message(f) for f in package.findings],
        software_version=package.software_version,
        checksum_sha256=package.checksum_sha256,
    )
    if error:
        message.error.CopyFrom(problem_out(error))
    return message


def finding_message(finding: Finding) -> pb.Finding:
    """One thing noticed."""
    return pb.Finding(
        severity=finding.severity.value,
        code=finding.code,
        file=finding.file,
        line=finding.line,
        column=finding.column,
        message=finding.message,
        hint=finding.hint,
    )


def instance_message(instance: VnfInstance, live: Live) -> pb.VnfInstance:
    """SOL003 5.5.2.2, and how it does."""
    body = {
        "id": instance.id,
        "vnf_instance_name": instance.name,
        "vnfd_id": instance.vnfd_id,
        "vnf_pkg_id": instance.package_id,
        "chain_id": instance.chain_id,
        "alias": instance.alias,
        "instantiation_state": instance.instantiation_state.value,
        "instantiated_vnf_info": {
            "flavour_id": instance.flavour_id,
            "vnf_state": instance.vnf_state.value if instance.vnf_state else None,
            "vnfc_resource_info": vnfc_documents(instance, live),
            "scale_status": [{"aspect_id": k, "scale_level": n} for k, n in sorted(instance.scale_levels.items())],
        },
        "isolation": instance.isolation.name.lower() if instance.isolation is not None else None,
        "health": health_document(instance, live),
        "last_heal": heal_document(live.last_heal),
    }
    return pb.VnfInstance(
        id=instance.id,
        name=instance.name,
        vnfd_id=instance.vnfd_id,
        instantiation_state=instance.instantiation_state.value,
        vnf_state=instance.vnf_state.value if instance.vnf_state else "",
        body=struct(body),
    )


def operation_message(operation: Operation, words: Mapping[str, str] | None = None) -> pb.VnfLcmOpOcc:
    """SOL003 5.5.2.13."""
    return _occurrence(
        operation, operation.id, operation.type.value, operation.target, operation.steps, words or {}, ""
    )


def lane_messages(operation: Operation, words: Mapping[str, str] | None = None) -> list[pb.VnfLcmOpOcc]:
    """The occurrences of the VNFs in a chain's operation: one a lane, its id OPERATION:ALIAS."""
    kinds = {
        LcmOperationType.CHAIN_CREATE: LcmOperationType.INSTANTIATE,
        LcmOperationType.CHAIN_TERMINATE: LcmOperationType.TERMINATE,
    }
    kind = kinds.get(operation.type)
    if kind is None:
        return []
    return [
        _occurrence(
            operation,
            f"{operation.id}:{lane}",
            kind.value,
            f"{operation.target}/{lane}",
            tuple(s for s in operation.steps if s.lane == lane),
            words or {},
            operation.id,
        )
        for lane in sorted(operation.subjects.values())
        if lane
    ]


def _occurrence(
    operation: Operation,
    occurrence_id: str,
    kind: str,
    target: str,
    steps: Sequence[Step],
    words: Mapping[str, str],
    parent: str,
) -> pb.VnfLcmOpOcc:
    keys = {s.key for s in steps}
    log = [e for e in operation.log if e.step in keys]
    status = {k: v for k, v in _status(operation).items() if k in keys}
    done = {e.step: e.at for e in operation.log if e.to is St.DONE}
    message = pb.VnfLcmOpOcc(
        id=occurrence_id,
        operation=kind,
        state=operation.state.value,
        progress_percent=progress_percent(operation.state, status),
        target=target,
        steps=[_step(s, status[s.key], log, words, done) for s in steps],
        affected=struct({**_affected(steps, status), **_heal(operation)}),
        is_cancel_pending=operation.cancel_mode is not None and operation.state in RUNNING,
        parent_id=parent,
    )
    message.started_at.FromDatetime(operation.started_at)
    message.state_entered_at.FromDatetime(operation.state_entered_at)
    if operation.error:
        message.error.CopyFrom(problem_out(operation.error))
    return message


def _heal(operation: Operation) -> dict[str, Any]:
    return {"heal": heal_facts(operation)} if operation.type is LcmOperationType.HEAL else {}


def _status(operation: Operation) -> dict[str, St]:
    """What waits for its turn is PENDING to people, though its intent may be on record ahead of it."""
    status = operation.status
    return status | dict.fromkeys(out_of_reach(operation.steps, status), St.PENDING)


def _step(
    step: Step, state: St, log: Sequence[LogEntry], words: Mapping[str, str], done: Mapping[str, datetime]
) -> pb.StepView:
    begun = [_turn(step, e, done) for e in log if e.step == step.key and e.to in (St.STARTED, St.UNDO_STARTED)]
    ended = [e for e in log if e.step == step.key and e.to not in (St.STARTED, St.UNDO_STARTED)]
    seconds = (ended[-1].at - begun[-1]).total_seconds() if begun and ended and ended[-1].at >= begun[-1] else 0.0
    failed = ended[-1].problem if ended else None
    said = ended[-1].output.word if ended and ended[-1].output else ""
    detail = words.get(step.key, "") or (failed.detail if failed else said)
    return pb.StepView(name=step.title, state=state.value, seconds=round(seconds, 3), detail=detail)


def _turn(step: Step, entry: LogEntry, done: Mapping[str, datetime]) -> datetime:
    """When it began: not before what it needs was there, whenever its intent was put on record."""
    needs = step.needs if entry.to is St.STARTED else ()
    return max(entry.at, *(done[need] for need in needs if need in done), entry.at)


def _affected(steps: Sequence[Step], status: Mapping[str, St]) -> dict[str, Any]:
    """SOL003 5.5.2.13 resourceChanges, by kind."""
    changes: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        if step.allocates and not step.keep and status[step.key] not in (St.PENDING, St.UNDONE):
            change = "MODIFIED" if step.former else "ADDED"
            kind, resource_id = step.resource_kind, step.allocates
        elif step.removal and status[step.key] is St.DONE:
            kind, change, resource_id = step.removal.kind, "REMOVED", step.removal.resource_id
        else:
            continue
        if kind:
            name = f"affected_{kind.value.lower()}s"
            changes.setdefault(name, []).append(
                {"id": resource_id, "change_type": change, "vim": step.vim, "vnf_instance_id": step.vnf_instance_id}
            )
    return dict(changes)


def chain_message(chain: ChainRecord, instances: Sequence[VnfInstance], live: Live) -> pb.Chain:
    """docs/surface.md, "chain show"."""
    by_alias = {i.alias: i for i in instances}
    plan = {v["alias"]: v for v in chain.plan.get("vnfs", ())}
    vnfs = []
    for vnf in chain.descriptor.vnfs:
        instance = by_alias.get(vnf.alias)
        vnfs.append(
            {
                **plan.get(vnf.alias, {"alias": vnf.alias, "vnfd_id": vnf.vnfd_id}),
                "vnf_instance_id": instance.id if instance else None,
                "vnf_state": instance.vnf_state.value if instance and instance.vnf_state else None,
                "instantiation_state": instance.instantiation_state.value if instance else None,
                "health": health_document(instance, live) if instance else None,
                "replicas": replicas(chain.realization, instance) if instance else 0,
                "vnfcs": vnfc_documents(instance, live) if instance else [],
            }
        )
    body = {
        "name": chain.name,
        "id": chain.id,
        "state": chain.state.value,
        "created_at": chain.created_at.isoformat(),
        "open_operation": chain.operation_id or None,
        "ends": list(chain.body.get("ends", [])),
        "vnfs": vnfs,
        "links": list(chain.body.get("links", [])),
        "paths": [{"name": p.name, "hops": [h.name for h in p.hops]} for p in chain.descriptor.paths],
        "last_heal": heal_document(live.last_heal),
        "probe": probe_document(chain.body.get("probe")),
        "probes": {path: probe_document(probe) for path, probe in chain.body.get("probes", {}).items()},
    }
    return pb.Chain(id=chain.id, name=chain.name, state=chain.state.value, body=struct(body))


def probe_document(probe: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As documented: `from` is a word of Python's, so it is kept as `from_`."""
    if not probe:
        return None
    return {
        "at": probe["at"],
        "complete": probe.get("complete", False),
        "rtt_us": probe.get("rtt_us", 0),
        "unsupported": probe.get("unsupported", ""),
        "hops": [
            {"from": h["from_"], **{k: h.get(k, 0) for k in ("to", "sent", "received", "rtt_us")}}
            for h in probe.get("hops", [])
        ],
    }
