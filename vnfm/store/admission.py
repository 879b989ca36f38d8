"""What an order has to pass before it is an operation, and the rows that it begins with: all in its own transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError

from vnfm.lcm.operation import Operation
from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState, LcmOperationType
from vnfm.model.problem import problem
from vnfm.store import tables as t
from vnfm.store.journal import load
from vnfm.store.prepared import write
from vnfm.store.rows import announce
from vnfm.store.statements import KEY, KEYS, new_row, value_where

WAYS_OUT = (
    "`vnfm op retry {0}` goes on, `vnfm op rollback {0}` takes back what was done, "
    "`vnfm op fail {0}` gives up, so that what is there can be terminated"
)
OPEN_ON = (
    select(t.operation.c.id, t.operation.c.operation, t.operation.c.state)
    .join(t.op_subject, t.op_subject.c.operation_id == t.operation.c.id)
    .where(t.op_subject.c.open, t.op_subject.c.subject_id.in_(bindparam(KEYS, expanding=True)))
)
OF_A_VNF = (LcmOperationType.HEAL, LcmOperationType.SCALE, LcmOperationType.MODIFY_INFO)


@dataclass(frozen=True, slots=True)
class NewInstance:
    """A VNF instance that an order brings along."""

    id: str
    name: str
    alias: str
    vnfd_id: str
    package_id: str
    flavour_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """An operation to be. `subjects` maps instance ids (and the chain's) to lanes; the store finds them itself for
    changes of chains and for HEAL, SCALE and MODIFY_INFO. `params`: see vnfm.lcm.changes."""

    operation_id: str
    tenant: str
    type: LcmOperationType
    target: str
    target_id: str
    subjects: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    params: Mapping[str, Any] | None = None


def chain_exists(name: str) -> Exception:
    """A chain's name is unique in its tenant."""
    return problem(
        "already-exists",
        f"there is a chain {name!r} already: give another name with --name, or terminate and delete that one",
        instance=name,
    )


def insert_instance(
    c: Connection, tenant: str, instance: NewInstance, chain_id: str, request_id: str, at: datetime
) -> None:
    """A row of vnf_instance, NOT_INSTANTIATED."""
    insert_instances(c, tenant, [instance], chain_id, request_id, at)


def insert_instances(
    c: Connection, tenant: str, instances: Sequence[NewInstance], chain_id: str, request_id: str, at: datetime
) -> None:
    """Several of them."""
    rows: list[dict[str, Any]] = [
        {
            "id": instance.id,
            "tenant": tenant,
            "name": instance.name,
            "alias": instance.alias,
            "chain_id": chain_id,
            "vnfd_id": instance.vnfd_id,
            "package_id": instance.package_id,
            "flavour_id": instance.flavour_id,
            "instantiation_state": InstantiationState.NOT_INSTANTIATED.value,
            "vnfcs": [],
            "request_id": request_id or None,
            "created_at": at.isoformat(),
        }
        for instance in instances
    ]
    if rows:
        write(c, new_row(t.vnf_instance), rows)


def insert_operation(
    c: Connection, order: Order, at: datetime, state: LcmOperationState = LcmOperationState.STARTING
) -> Operation:
    """The operation with its locks and its notification. Raises ProblemError `conflict`."""
    row: dict[str, Any] = {
        "id": order.operation_id,
        "tenant": order.tenant,
        "operation": order.type.value,
        "state": state.value,
        "target": order.target,
        "target_id": order.target_id,
        "request_id": order.request_id or None,
        "params": dict(order.params or {}),
        "steps": [],
        "started_at": at.isoformat(),
        "state_entered_at": at.isoformat(),
    }
    write(c, new_row(t.operation), row)
    locked = [
        {"operation_id": order.operation_id, "subject_id": subject, "lane": lane, "open": True}
        for subject, lane in order.subjects.items()
    ]
    try:
        if locked:
            write(c, new_row(t.op_subject), locked)
    except IntegrityError as error:
        raise problem(
            "conflict",
            f"{order.target} has another operation open; see `vnfm op list`",
            instance=order.target_id,
        ) from error
    announce(
        c,
        order.tenant,
        at,
        "VnfLcmOperationOccurrenceNotification",
        {
            "vnf_lcm_op_occ_id": order.operation_id,
            "operation": order.type.value,
            "operation_state": state.value,
            "target": order.target,
            "notification_status": "START",
        },
    )
    return Operation(
        id=order.operation_id,
        tenant=order.tenant,
        type=order.type,
        state=state,
        target=order.target,
        target_id=order.target_id,
        started_at=at,
        state_entered_at=at,
        subjects=dict(order.subjects),
        params=json.loads(json.dumps(dict(order.params or {}))),  # as it is read again
    )


def refuse_while_open(c: Connection, order: Order) -> None:
    """One open operation a subject: says which, and how to end it. Raises ProblemError `conflict`."""
    other = c.execute(OPEN_ON, {KEYS: list(order.subjects)}).first()
    if other is None:
        return
    ways = WAYS_OUT if other.state == LcmOperationState.FAILED_TEMP else "`vnfm op cancel {0}` stops it"
    raise problem(
        "conflict",
        f"{other.operation} of {order.target} is open in {other.state}: {ways.format(other.id[:8])}",
        instance=other.id,
    )


def check_state(c: Connection, order: Order) -> None:
    """In the order's own transaction: of two that are ordered at once, the second sees what the first did. Raises
    ProblemError `conflict`."""
    chain_id = str((order.params or {}).get("chain_id", ""))
    if order.type is LcmOperationType.CHAIN_TERMINATE:
        _expect(order, _chain_state(c, order.target_id), (ChainState.INSTANTIATED, ChainState.FAILED))
    elif order.type in (LcmOperationType.CHAIN_UPDATE, LcmOperationType.CHAIN_SCALE):
        _expect(order, _chain_state(c, order.target_id), (ChainState.INSTANTIATED,))
    elif order.type in (LcmOperationType.HEAL, LcmOperationType.SCALE, LcmOperationType.TERMINATE):
        _expect(order, _instance_state(c, order.target_id), (InstantiationState.INSTANTIATED,))
        if chain_id:
            _expect(order, _chain_state(c, chain_id), (ChainState.INSTANTIATED,))
    elif order.type is LcmOperationType.INSTANTIATE:
        _expect(order, _instance_state(c, order.target_id), (InstantiationState.NOT_INSTANTIATED,))


def _expect(order: Order, state: str | None, admitted: tuple[str, ...]) -> None:
    if state not in admitted:
        raise problem(
            "conflict",
            f"{order.target} is {state or 'gone'}: {order.type} is possible in {' or '.join(admitted)} only",
            instance=order.target_id,
        )


def _chain_state(c: Connection, chain_id: str) -> str | None:
    found: str | None = c.scalar(value_where(t.chain.c.state, t.chain.c.id), {KEY: chain_id})
    return found


def _instance_state(c: Connection, instance_id: str) -> str | None:
    query = value_where(t.vnf_instance.c.instantiation_state, t.vnf_instance.c.id)
    found: str | None = c.scalar(query, {KEY: instance_id})
    return found


def of_a_vnf(c: Connection, order: Order) -> Order:
    """HEAL, SCALE and MODIFY_INFO of a VNF in a chain lock the chain, too: nobody else changes what they look at."""
    if order.type not in OF_A_VNF:
        return order
    query = select(t.vnf_instance.c.name, t.vnf_instance.c.alias, t.vnf_instance.c.chain_id).where(
        t.vnf_instance.c.id == order.target_id, t.vnf_instance.c.tenant == order.tenant
    )
    row = c.execute(query).first()
    if row is None:
        raise problem("not-found", f"there is no VNF instance {order.target_id}", instance=order.target_id)
    wanted = (order.params or {}).get("vnfcs", ())
    others = _owners(c, order.target_id, row.chain_id, wanted)
    if not row.chain_id:
        return replace(order, subjects={order.target_id: row.name})
    params = {**(order.params or {}), "chain_id": row.chain_id}
    return replace(order, subjects={**others, order.target_id: row.alias, row.chain_id: ""}, params=params)


def _owners(c: Connection, instance_id: str, chain_id: str, wanted: Sequence[str]) -> dict[str, str]:
    """The VNFs that have one of these VNFCs, by id, with their aliases: the instance itself, or any of its chain.
    Raises ProblemError `conflict` where one is gone: what ended a moment ago may have replaced it."""
    if not wanted:
        return {}
    mine = t.vnf_instance.c.chain_id == chain_id if chain_id else t.vnf_instance.c.id == instance_id
    query = select(t.vnf_instance.c.id, t.vnf_instance.c.alias, t.vnf_instance.c.vnfcs).where(mine)
    rows = [(r.id, r.alias, {v["id"] for v in r.vnfcs}) for r in c.execute(query)]
    if gone := set(wanted) - {v for _, _, vnfcs in rows for v in vnfcs}:
        raise problem("conflict", f"vnfcs: there is no VNFC {min(gone)} any more", instance=instance_id)
    return {i: alias for i, alias, vnfcs in rows if vnfcs & set(wanted)}


def requested(c: Connection, order: Order) -> Operation | None:
    """The occurrence that the same request id began earlier. Raises ProblemError `conflict` for another request."""
    if not order.request_id:
        return None
    query = select(t.operation.c.id).where(
        t.operation.c.tenant == order.tenant, t.operation.c.request_id == order.request_id
    )
    if not (known := c.scalar(query)):
        return None
    operation = load(c, known)
    if operation.type is not order.type or operation.target != order.target:
        raise problem(
            "conflict",
            f"request id {order.request_id!r} was used for {operation.type} of {operation.target}",
            instance=operation.id,
        )
    return operation
