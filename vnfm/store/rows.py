"""Rows to values and back, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping

from vnfm.lcm.machine import St
from vnfm.lcm.operation import LogEntry, Operation, StepOutput
from vnfm.lcm.steps import Step
from vnfm.model.codec import decode, encode
from vnfm.model.lcm import (
    CancelMode,
    InstantiationState,
    LcmOperationState,
    LcmOperationType,
    Vnfc,
    VnfInstance,
    VnfState,
)
from vnfm.model.needs import Isolation
from vnfm.model.package import Finding, OnboardingState, OperationalState, UsageState, VnfPackage
from vnfm.model.problem import Problem
from vnfm.store import tables as t
from vnfm.store.prepared import write
from vnfm.store.statements import KEYS, new_row, rows_among


def problem_or_none(data: Any) -> Problem | None:
    """A stored problem."""
    return decode(Problem, data) if data else None


def operations_of(connection: Connection, rows: Sequence[RowMapping]) -> list[Operation]:
    """Operations with their steps, logs and subjects: two queries for however many."""
    ids = [r["id"] for r in rows]
    logs: dict[str, list[LogEntry]] = {i: [] for i in ids}
    lines = rows_among(t.step_event.c.operation_id, t.step_event.c.seq)
    for line in connection.execute(lines, {KEYS: ids}).mappings():
        logs[line["operation_id"]].append(log_entry_of(line))
    subjects: dict[str, dict[str, str]] = {i: {} for i in ids}
    for subject in connection.execute(rows_among(t.op_subject.c.operation_id), {KEYS: ids}).mappings():
        subjects[subject["operation_id"]][subject["subject_id"]] = subject["lane"]
    return [_operation_of(r, tuple(logs[r["id"]]), subjects[r["id"]]) for r in rows]


def _operation_of(row: RowMapping, log: tuple[LogEntry, ...], subjects: Mapping[str, str]) -> Operation:
    return Operation(
        id=row["id"],
        tenant=row["tenant"],
        type=LcmOperationType(row["operation"]),
        state=LcmOperationState(row["state"]),
        target=row["target"],
        target_id=row["target_id"],
        started_at=datetime.fromisoformat(row["started_at"]),
        state_entered_at=datetime.fromisoformat(row["state_entered_at"]),
        steps=decode(tuple[Step, ...], row["steps"]),
        log=log,
        subjects=subjects,
        params=row["params"],
        cancel_mode=CancelMode(row["cancel_mode"]) if row["cancel_mode"] else None,
        error=problem_or_none(row["error"]),
    )


def log_entry_of(row: RowMapping) -> LogEntry:
    """One line of the intent log."""
    return LogEntry(
        row["step"],
        St(row["state"]),
        datetime.fromisoformat(row["at"]),
        decode(StepOutput, row["output"]) if row["output"] else None,
        problem_or_none(row["problem"]),
    )


def instance_of(row: RowMapping) -> VnfInstance:
    """A VNF instance."""
    return VnfInstance(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        vnfd_id=row["vnfd_id"],
        package_id=row["package_id"],
        flavour_id=row["flavour_id"],
        chain_id=row["chain_id"],
        instantiation_state=InstantiationState(row["instantiation_state"]),
        vnf_state=VnfState(row["vnf_state"]) if row["vnf_state"] else None,
        vnfcs=decode(tuple[Vnfc, ...], row["vnfcs"]),
        alias=row["alias"],
        isolation=None if row["isolation"] is None else Isolation(row["isolation"]),
        scale_levels=row["scale_levels"],
    )


def package_of(row: RowMapping, in_use: bool) -> VnfPackage:
    """A package; its usage follows from the instances."""
    vnfd = row["vnfd"] or {}
    return VnfPackage(
        id=row["id"],
        tenant=row["tenant"],
        onboarding_state=OnboardingState(row["onboarding_state"]),
        operational_state=OperationalState(row["operational_state"]),
        usage_state=UsageState.IN_USE if in_use else UsageState.NOT_IN_USE,
        vnfd_id=row["vnfd_id"],
        provider=vnfd.get("provider", ""),
        product=vnfd.get("product", ""),
        version=vnfd.get("version", ""),
        software_version=vnfd.get("software_version", ""),
        checksum_sha256=row["blob_sha256"],
        findings=decode(tuple[Finding, ...], row["findings"]),
    )


def announce(connection: Connection, tenant: str, at: datetime, kind: str, *bodies: dict[str, Any]) -> None:
    """Put notifications into the outbox, in the caller's transaction."""
    rows = [{"tenant": tenant, "at": at.isoformat(), "type": kind, "body": body} for body in bodies]
    write(connection, new_row(t.outbox), rows)


def encoded(value: object) -> Any:
    """JSON for a column."""
    return encode(value)
