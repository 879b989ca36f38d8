"""The durable side of operations: implements vnfm.lcm.operation.Journal on the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, bindparam, delete, func, or_, select, update

from vnfm.lcm.machine import CLEAN, St
from vnfm.lcm.operation import Design, LogEntry, Operation
from vnfm.lcm.steps import Step, StepKind
from vnfm.model.codec import encode
from vnfm.model.lcm import (
    CancelMode,
    LcmOperationState,
)
from vnfm.model.problem import Problem, ProblemError, Retry, problem
from vnfm.model.resources import Handle, ProbeResult, Resource
from vnfm.store import tables as t
from vnfm.store.costs import Crossing, Start, observe, observe_hops
from vnfm.store.database import Database
from vnfm.store.group import tell
from vnfm.store.holdings import Freed, Held
from vnfm.store.outcomes import apply_outcome
from vnfm.store.prepared import document, first, write
from vnfm.store.rows import announce, operations_of
from vnfm.store.statements import (
    KEY,
    KEYS,
    change_where,
    new_row,
    new_row_unless_there,
    removal_where,
    rows_among,
    rows_where,
    value_where,
)

ID_LENGTH = 36  # of a UUID
AS_KNOWN = select(
    t.operation.c.state,
    select(func.count())
    .select_from(t.step_event)
    .where(t.step_event.c.operation_id == t.operation.c.id)
    .scalar_subquery()
    .label("lines"),
).where(t.operation.c.id == bindparam(KEY))
ONE_MORE_GRANT = update(t.chain).where(t.chain.c.id == bindparam(KEY)).values(grants=t.chain.c.grants + 1)
NOTHING: Mapping[str, Any] = {}
OPEN = (LcmOperationState.STARTING, LcmOperationState.PROCESSING, LcmOperationState.ROLLING_BACK)


class SqlJournal:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def load(self, operation_id: str) -> Operation:
        """Raises ProblemError `not-found`."""
        return await self._db.read(lambda c: load(c, operation_id))

    async def running(self) -> list[str]:
        """Ids of operations that a start has to resume, oldest first."""
        query = select(t.operation.c.id).where(t.operation.c.state.in_(OPEN)).order_by(t.operation.c.started_at)
        return await self._db.read(lambda c: list(c.scalars(query)))

    async def grant(
        self, operation: Operation, design: Design, at: datetime, entries: tuple[LogEntry, ...] = ()
    ) -> Operation:
        """STARTING -> PROCESSING with steps, reservations, and the intent of what comes first. Raises ProblemError
        `conflict` like `enter`."""

        def work(c: Connection) -> Operation:
            _expect_unchanged(c, operation)
            granted = _grant(c, operation, design, at)
            _change_chain(c, operation, _append(c, granted, entries))
            return replace(granted, log=granted.log + entries)

        return await self._db.write(work)

    async def append(self, operation: Operation, entries: tuple[LogEntry, ...]) -> Operation:
        """Add lines to the intent log and keep the record of what may exist."""
        await self._db.write(lambda c: _change_chain(c, operation, _append(c, operation, entries)))
        return replace(operation, log=operation.log + entries)

    async def enter(
        self,
        operation: Operation,
        state: LcmOperationState,
        at: datetime,
        error: Problem | None = None,
        entries: tuple[LogEntry, ...] = (),
    ) -> Operation:
        """Change the state, with everything that follows from it, after the lines that led to it. Raises ProblemError
        `conflict` where the operation is no longer as `operation` has it: of two who decide at once, one is late."""

        def work(c: Connection) -> Operation:
            _expect_unchanged(c, operation)
            chain = _append(c, operation, entries)
            return _enter(c, replace(operation, log=operation.log + entries), state, at, error, chain=chain)

        return await self._db.write(work)

    async def control(
        self, operation: Operation, state: LcmOperationState, entries: tuple[LogEntry, ...], at: datetime
    ) -> Operation:
        """Retry or rollback: the first lines of the new direction and the state change in one transaction. Raises
        ProblemError `conflict` like `enter`."""

        def work(c: Connection) -> Operation:
            _expect_unchanged(c, operation)
            _change_chain(c, operation, _append(c, operation, entries))
            c.execute(update(t.operation).where(t.operation.c.id == operation.id).values(cancel_mode=None))
            changed = replace(operation, log=operation.log + entries, cancel_mode=None)
            return _enter(c, changed, state, at, operation.error)

        return await self._db.write(work)

    async def request_cancel(self, operation: Operation, mode: CancelMode) -> None:
        """Put the wish on record (SOL003 5.5.2.13 isCancelPending). Raises ProblemError `conflict` where the operation
        has settled meanwhile."""

        def work(c: Connection) -> None:
            runs = (t.operation.c.id == operation.id) & t.operation.c.state.in_(OPEN)
            if c.execute(update(t.operation).where(runs).values(cancel_mode=mode.value)).rowcount != 1:
                raise _late(operation)

        await self._db.write(work)


def load(connection: Connection, operation_id: str) -> Operation:
    """Raises ProblemError `not-found`."""
    row = connection.execute(rows_where(t.operation.c.id), {KEY: operation_id}).mappings().first()
    if row is None:
        raise problem("not-found", f"there is no operation {operation_id}", instance=operation_id)
    return operations_of(connection, [row])[0]


def load_all(connection: Connection, ids: Sequence[str]) -> list[Operation]:
    """In the order of `ids`; those that are gone are passed over."""
    rows = connection.execute(rows_among(t.operation.c.id), {KEYS: list(ids)}).mappings().all()
    by_id = {o.id: o for o in operations_of(connection, rows)}
    return [by_id[i] for i in ids if i in by_id]


def _expect_unchanged(c: Connection, operation: Operation) -> None:
    if first(c, AS_KNOWN, {KEY: operation.id}) != (operation.state.value, len(operation.log)):
        raise _late(operation)


def _late(operation: Operation) -> ProblemError:
    return problem(
        "conflict",
        f"operation {operation.id} has changed meanwhile: look at it again with `vnfm op show {operation.id}`",
        instance=operation.id,
        retry=Retry.SAME_CALL,
    )


def _grant(c: Connection, operation: Operation, design: Design, at: datetime) -> Operation:
    _hold(c, operation, design)
    if operation.chain_id:
        values: dict[str, Any] = {}
        if design.body:
            values["body"] = design.body
        if design.plan:
            values["plan"] = design.plan
        write(c, ONE_MORE_GRANT, {KEY: operation.chain_id, **values})
    decided = {"steps": design.steps, "desired": design.desired}
    granted = _enter(c, replace(operation, steps=design.steps), LcmOperationState.PROCESSING, at, None, decided)
    return _enter(c, granted, LcmOperationState.FAILED_TEMP, at, design.held) if design.held else granted


def _hold(c: Connection, operation: Operation, design: Design) -> None:
    held = [
        {
            "resource_id": item.resource_id,
            "tenant": operation.tenant,
            "operation_id": operation.id,
            "kind": kind,
            "body": item,
        }
        for kind, items in (("host", design.reservations), ("link", design.link_reservations))
        for item in items
    ]
    if held:
        write(c, new_row(t.reservation), held)
        tell(c, Held(tuple(design.reservations), tuple(design.link_reservations)))


def _append(c: Connection, operation: Operation, entries: tuple[LogEntry, ...]) -> dict[str, Any]:
    """What follows from them for the chain's row is not written, but handed back: the row is large, and more may be."""
    if not entries:
        return {}
    lines = [
        {
            "operation_id": operation.id,
            "step": entry.step,
            "state": entry.to.value,
            "at": entry.at.isoformat(),
            "output": entry.output,
            "problem": entry.problem,
        }
        for entry in entries
    ]
    write(c, new_row(t.step_event), lines)
    _keep_records(c, operation, entries)
    return _probed(c, operation, entries)


def _change_chain(c: Connection, operation: Operation, values: Mapping[str, Any]) -> None:
    if values:
        write(c, change_where(t.chain.c.id), {KEY: operation.chain_id, **values})


def _keep_records(c: Connection, operation: Operation, entries: tuple[LogEntry, ...]) -> None:
    """The record of what may exist, by the lines that were just written: kinds of change one after the other, as far as
    they are about different resources."""
    steps = {s.key: s for s in operation.steps if s.kind is not StepKind.PUT_IMAGE}
    told = [(steps[e.step], e) for e in entries if e.step in steps]
    if len({e.step for _, e in told}) < len(told):  # one step twice: what is last has to stay
        for each in told:
            _keep(c, operation, [each])
    else:
        _keep(c, operation, told)


def _keep(c: Connection, operation: Operation, told: Sequence[tuple[Step, LogEntry]]) -> None:
    fresh = [_resource_row(operation, s) for s, e in told if s.allocates and s.resource_kind and e.to is St.STARTED]
    if fresh:
        write(c, new_row_unless_there(t.resource, c.dialect.name), fresh)
    _exist(c, [(s, e.output.resource) for s, e in told if s.allocates and e.to is St.DONE and e.output])
    for step, entry in told:
        if step.allocates:
            if entry.to in CLEAN and step.makes:
                # its capacity stays ours till the operation ends: a retry may go forward again
                _forget(c, step.makes)
        elif step.removal and entry.to is St.DONE:
            _forget(c, step.removal.resource_id)
            _free(c, delete(t.reservation).where(_held_for(step.removal.resource_id)))


def _free(c: Connection, removal: Delete) -> None:
    rows = c.execute(removal.returning(t.reservation.c.resource_id, t.reservation.c.kind)).all()
    if rows:
        tell(c, Freed(tuple((r.resource_id, r.kind) for r in rows)))


def record_probe(c: Connection, chain_id: str, path: str, at: datetime, probe: dict[str, Any]) -> None:
    """What a probe of a path counted, kept with the chain: the latest of each path, and the latest of all."""
    body = _body(c, chain_id)
    if body is not None:
        write(c, change_where(t.chain.c.id), {KEY: chain_id, "body": _with_probe(body, path, at, probe)})


def _body(c: Connection, chain_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = document(c, value_where(t.chain.c.body, t.chain.c.id), {KEY: chain_id})
    return found


def _with_probe(body: dict[str, Any], path: str, at: datetime, probe: dict[str, Any]) -> dict[str, Any]:
    told = {"at": at.isoformat(), **probe, "passings": []}
    return body | {"probe": told, "probes": {**body.get("probes", {}), path: told}}


def _probed(c: Connection, operation: Operation, entries: Sequence[LogEntry]) -> dict[str, Any]:
    """The chain's `body` after the probes among these lines; nothing where there are none."""
    probes = {s.key: s for s in operation.steps if s.kind is StepKind.PROBE}
    body: dict[str, Any] | None = None
    for entry in entries:
        step = probes.get(entry.step)
        if step is None or entry.to is not St.DONE or not entry.output or not entry.output.probe:
            continue
        _observe_hops(c, operation, entry.output.probe)
        body = body or _body(c, operation.chain_id)
        if body is not None:
            body = _with_probe(body, _path_name(c, operation, step), entry.at, encode(entry.output.probe))
    return {"body": body} if body is not None else {}


def _path_name(c: Connection, operation: Operation, step: Step) -> str:
    """The name of the path that a step probes."""
    path_id = step.probe.path_id if step.probe else ""
    made = next((s.title for s in operation.steps if s.path and s.allocates == path_id), "")
    title = made or c.scalar(value_where(t.resource.c.name, t.resource.c.id), {KEY: path_id})
    return (title or "").removeprefix("path ")


def _observe_hops(c: Connection, operation: Operation, probe: ProbeResult) -> None:
    """A count from a neighbour to a VNF holds the time within that VNF."""
    if not probe.complete:
        return
    computes = {s.allocates: s for s in operation.steps if s.compute}
    hops = {h.name: computes.get(h.resource_id) for s in operation.steps if s.path for h in s.path.hops}
    seen = [(hops.get(count.to), count.rtt_us) for count in probe.hops if count.rtt_us]
    observe_hops(c, [Crossing(s.vim, s.compute.host, s.compute.runtime, us) for s, us in seen if s and s.compute])


def _resource_row(operation: Operation, step: Step) -> dict[str, Any]:
    assert step.resource_kind
    return {
        "id": step.allocates,
        "tenant": operation.tenant,
        "chain_id": operation.chain_id,
        "vnf_instance_id": step.vnf_instance_id,
        "vim": step.vim,
        "host": _host(step),
        "kind": step.resource_kind.value,
        "name": step.title,
        "handle": Handle(step.allocates),
        "addresses": [],
    }


def _host(step: Step) -> str:
    spec = step.compute or step.sap
    return spec.host if spec else ""


def _exist(c: Connection, made: Sequence[tuple[Step, Resource | None]]) -> None:
    known = [
        {KEY: step.allocates, "handle": resource.handle, "addresses": resource.addresses}
        for step, resource in made
        if resource
    ]
    if known:
        write(c, change_where(t.resource.c.id), known)
    starts = [
        Start(s.vim, s.compute.host, s.compute.runtime, r.start_ms, r.overhead_memory_bytes)
        for s, r in made
        if s.compute and r and r.start_ms
    ]
    observe(c, starts)


def _forget(c: Connection, resource_id: str) -> None:
    write(c, removal_where(t.resource.c.id), {KEY: resource_id})


def _held_for(resource_id: str) -> ColumnElement[bool]:
    """Reservations of a resource; a link of several members holds one for each pair, `LINK/PAIR`."""
    key = t.reservation.c.resource_id
    return or_(key == resource_id, key.startswith(f"{resource_id}/", autoescape=True))


def _enter(
    c: Connection,
    operation: Operation,
    state: LcmOperationState,
    at: datetime,
    error: Problem | None,
    also: Mapping[str, Any] = NOTHING,
    chain: Mapping[str, Any] = NOTHING,
) -> Operation:
    """`also` and `chain`: what else changes in the rows of the operation and of its chain, each written once."""
    changed = replace(operation, state=state, state_entered_at=at, error=error)
    entered = {"state": state.value, "state_entered_at": at.isoformat(), "error": error, **also}
    write(c, change_where(t.operation.c.id), {KEY: operation.id, **entered})
    if state.final:
        write(c, change_where(t.op_subject.c.operation_id), {KEY: operation.id, "open": False})
        apply_outcome(c, changed, chain)
    else:
        _change_chain(c, operation, chain)
    notice = _notification(changed)
    lanes = [
        notice | {"vnf_instance_id": subject, "alias": lane} for subject, lane in operation.subjects.items() if lane
    ]
    announce(c, operation.tenant, at, "VnfLcmOperationOccurrenceNotification", notice, *lanes)
    return changed


def _notification(operation: Operation) -> dict[str, Any]:
    return {
        "vnf_lcm_op_occ_id": operation.id,
        "operation": operation.type.value,
        "operation_state": operation.state.value,
        "target": operation.target,
        "notification_status": "START" if operation.state is LcmOperationState.STARTING else "RESULT",
        "error": encode(operation.error) if operation.error else None,
    }
