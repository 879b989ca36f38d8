"""API messages -> the documented JSON shapes. Structs come in their shape already; whole numbers stay whole."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2, timestamp_pb2

from vnfm.cli.errors import problem_dict
from vnfm.pb.nfvo.v1 import nfvo_pb2

Json = dict[str, Any]


def plain(value: struct_pb2.Value) -> Any:
    """A Struct's value in Python's own types; a number without a fraction is an int."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return body(value.struct_value)
    if kind == "list_value":
        return [plain(v) for v in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    return None


def body(struct: struct_pb2.Struct) -> Json:
    """A Struct as a dict. Struct is a map on the wire: keys are sorted so that output is the same every time."""
    return {key: plain(struct.fields[key]) for key in sorted(struct.fields)}


def time_text(stamp: timestamp_pb2.Timestamp) -> str | None:
    """RFC 3339, or null where it was never set."""
    return stamp.ToJsonString() if stamp.seconds or stamp.nanos else None


def package(message: nfvo_pb2.Package) -> Json:
    """SOL003 10.5.2.2 VnfPkgInfo."""
    return {
        "id": message.id,
        "vnfd_id": message.vnfd_id,
        "provider": message.provider,
        "product": message.product,
        "version": message.version,
        "software_version": message.software_version,
        "onboarding_state": message.onboarding_state,
        "operational_state": message.operational_state,
        "usage_state": message.usage_state,
        "checksum_sha256": message.checksum_sha256,
        "error": problem_dict(message.error) if message.HasField("error") else None,
        "findings": [finding(f) for f in message.findings],
    }


def finding(message: nfvo_pb2.Finding) -> Json:
    """One thing noticed in a package."""
    return {
        "severity": message.severity,
        "code": message.code,
        "file": message.file,
        "line": message.line,
        "column": message.column,
        "message": message.message,
        "hint": message.hint,
    }


def operation(message: nfvo_pb2.VnfLcmOpOcc) -> Json:
    """SOL003 5.5.2.13 VnfLcmOpOcc with its steps; a HEAL says why, and how long nothing flowed."""
    affected = body(message.affected)
    heal: Json = affected.pop("heal", {})
    return {
        "id": message.id,
        "operation": message.operation,
        "state": message.state,
        "progress_percent": message.progress_percent,
        "target": message.target,
        "started_at": time_text(message.started_at),
        "state_entered_at": time_text(message.state_entered_at),
        "is_cancel_pending": message.is_cancel_pending,
        "parent_id": message.parent_id or None,
        "error": problem_dict(message.error) if message.HasField("error") else None,
        "steps": [
            {"name": s.name, "state": s.state, "seconds": round(s.seconds, 3), "detail": s.detail}
            for s in message.steps
        ],
        "affected": affected,
        **{key: heal.get(key) for key in ("cause", "died_at", "outage_ms") if heal},
    }


def plan(message: nfvo_pb2.ChainPlan) -> Json:
    """`chain plan`; a plan that is not feasible also says so as a problem, as every exit with 1 does."""
    return {"chain": message.chain, "feasible": message.feasible} | body(message.body)


def chain(message: nfvo_pb2.Chain) -> Json:
    """`chain show`."""
    return {"name": message.name, "id": message.id, "state": message.state} | body(message.body)


def vnf(message: nfvo_pb2.VnfInstance) -> Json:
    """SOL003 5.5.2.2 VnfInstance."""
    head = {
        "id": message.id,
        "name": message.name,
        "vnfd_id": message.vnfd_id,
        "instantiation_state": message.instantiation_state,
        "vnf_state": message.vnf_state or None,
    }
    return head | body(message.body)


def vim(message: nfvo_pb2.Vim) -> Json:
    """A VIM connection and its plugin."""
    return {
        "name": message.name,
        "kind": message.kind,
        "state": message.state,
        "plugin_version": message.plugin_version,
        "runtimes": list(message.runtimes),
        "capabilities": list(message.capabilities),
        "restarts": message.restarts,
        "detail": message.detail,
    }


def event(message: nfvo_pb2.Event) -> Json:
    """A notification with the cursor to go on from."""
    return {
        "cursor": message.cursor,
        "at": time_text(message.at),
        "type": message.type,
        "body": body(message.body),
    }
