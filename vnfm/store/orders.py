"""Chains, VNF instances and the operations ordered on them: each order is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from vnfm.lcm.operation import Operation
from vnfm.model.chain import ServiceChain
from vnfm.model.codec import decode, encode
from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState, LcmOperationType, VnfInstance
from vnfm.model.problem import problem
from vnfm.store import tables as t
from vnfm.store.database import Database
from vnfm.store.journal import load, load_all, record_probe
from vnfm.store.refs import find
from vnfm.store.rows import announce, instance_of

PAGE = 50  # operations read at once
WAYS_OUT = (
    "`vnfm op retry {0}` goes on, `vnfm op rollback {0}` takes back what was done, "
    "`vnfm op fail {0}` gives up, so that what is there can be terminated"
)


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """A chain as kept. `plan` and `body` are documents as people see them."""

    id: str
    tenant: str
    name: str
    state: ChainState
    descriptor: ServiceChain
    plan: Mapping[str, Any]
    body: Mapping[str, Any]
    created_at: datetime
    operation_id: str = ""  # of the open operation, if any


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
    """An operation to be. `subjects` maps instance ids (and the chain's) to lanes."""

    operation_id: str
    tenant: str
    type: LcmOperationType
    target: str
    target_id: str
    subjects: Mapping[str, str]
    request_id: str = ""
    params: Mapping[str, Any] | None = None


class OrderStore:
    """Rows of chain, vnf_instance, operation, op_subject."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ---- chains ----

    async def create_chain(
        self, order: Order, descriptor: ServiceChain, instances: Sequence[NewInstance], at: datetime
    ) -> Operation:
        """Chain, instances and operation at once. Raises ProblemError `already-exists` for a name in use."""

        def work(c: Connection) -> Operation:
            if known := _requested(c, order):
                return known
            taken = select(t.chain.c.id).where(t.chain.c.tenant == order.tenant, t.chain.c.name == order.target)
            if c.scalar(taken):
                raise chain_exists(order.target)
            c.execute(
                insert(t.chain).values(
                    id=order.target_id,
                    tenant=order.tenant,
                    name=order.target,
                    state=ChainState.NOT_INSTANTIATED.value,
                    descriptor=encode(descriptor),
                    body={},
                    created_at=at.isoformat(),
                )
            )
            for instance in instances:
                _insert_instance(c, order.tenant, instance, order.target_id, "", at)
            return _insert_operation(c, order, at)

        return await self._db.write(work)

    async def chain(self, tenant: str, ref: str) -> ChainRecord:
        """By name, id, or a beginning of the id."""
        return await self._db.read(lambda c: _chain(c, find(c, t.chain, tenant, ref, (t.chain.c.name,), "chain")))

    async def chains(self, tenant: str) -> list[ChainRecord]:
        """All chains of the tenant, oldest first."""
        query = select(t.chain).where(t.chain.c.tenant == tenant).order_by(t.chain.c.created_at)
        return await self._db.read(lambda c: [_chain(c, r) for r in c.execute(query).mappings().all()])

    async def delete_chain(self, tenant: str, ref: str, at: datetime) -> None:
        """Raises ProblemError `conflict` unless NOT_INSTANTIATED and without an open operation."""

        def work(c: Connection) -> None:
            chain = _chain(c, find(c, t.chain, tenant, ref, (t.chain.c.name,), "chain"))
            if chain.operation_id:
                raise problem(
                    "conflict",
                    f"an operation on chain {chain.name} is open: `vnfm op show {chain.operation_id[:8]}`",
                    instance=chain.id,
                )
            if chain.state is not ChainState.NOT_INSTANTIATED:
                raise problem(
                    "conflict",
                    f"chain {chain.name} is {chain.state}: `vnfm chain terminate {chain.name}` first",
                    instance=chain.id,
                )
            c.execute(delete(t.vnf_instance).where(t.vnf_instance.c.chain_id == chain.id))
            c.execute(delete(t.chain).where(t.chain.c.id == chain.id))
            announce(c, tenant, at, "NsIdentifierDeletionNotification", {"chain_id": chain.id, "name": chain.name})

        await self._db.write(work)

    async def record_probe(self, chain_id: str, path: str, at: datetime, probe: dict[str, Any]) -> None:
        """Keep what a probe of a path counted."""
        await self._db.write(lambda c: record_probe(c, chain_id, path, at, probe))

    # ---- VNF instances ----

    async def create_vnf(self, tenant: str, instance: NewInstance, request_id: str, at: datetime) -> VnfInstance:
        """A VNF identifier (SOL003 5.4.2). The same request id again gives the same instance."""

        def work(c: Connection) -> VnfInstance:
            if request_id:
                known = c.execute(
                    select(t.vnf_instance).where(
                        t.vnf_instance.c.tenant == tenant, t.vnf_instance.c.request_id == request_id
                    )
                ).mappings()
                if row := known.first():
                    if row["vnfd_id"] != instance.vnfd_id:
                        raise problem(
                            "conflict",
                            f"request id {request_id!r} was used for a VNF of VNFD {row['vnfd_id']}",
                            instance=row["id"],
                        )
                    return instance_of(row)
            _insert_instance(c, tenant, instance, "", request_id, at)
            announce(c, tenant, at, "VnfIdentifierCreationNotification", {"vnf_instance_id": instance.id})
            return instance_of(_instance_row(c, tenant, instance.id))

        return await self._db.write(work)

    async def vnf(self, tenant: str, ref: str) -> VnfInstance:
        """By id, name, or a beginning of the id."""
        return await self._db.read(lambda c: instance_of(_instance_row(c, tenant, ref)))

    async def vnfs(self, tenant: str, chain_id: str | None = None) -> list[VnfInstance]:
        """The tenant's instances, or those of one chain."""
        query = select(t.vnf_instance).where(t.vnf_instance.c.tenant == tenant).order_by(t.vnf_instance.c.created_at)
        if chain_id is not None:
            query = query.where(t.vnf_instance.c.chain_id == chain_id)
        return await self._db.read(lambda c: [instance_of(r) for r in c.execute(query).mappings()])

    async def delete_vnf(self, tenant: str, ref: str, at: datetime) -> None:
        """Raises ProblemError `conflict` unless NOT_INSTANTIATED, alone and without an open operation."""

        def work(c: Connection) -> None:
            instance = instance_of(_instance_row(c, tenant, ref))
            if instance.chain_id:
                raise problem("conflict", f"VNF {instance.name} belongs to a chain", instance=instance.id)
            if instance.instantiation_state is not InstantiationState.NOT_INSTANTIATED or _open(c, instance.id):
                raise problem(
                    "conflict",
                    f"VNF {instance.name} is {instance.instantiation_state}: terminate it first",
                    instance=instance.id,
                )
            c.execute(delete(t.vnf_instance).where(t.vnf_instance.c.id == instance.id))
            announce(c, tenant, at, "VnfIdentifierDeletionNotification", {"vnf_instance_id": instance.id})

        await self._db.write(work)

    # ---- operations ----

    async def order(self, order: Order, at: datetime, flavour_id: str = "") -> Operation:
        """Put an operation on record in STARTING. Raises ProblemError `conflict` while another is open, and where the
        target's state does not admit it."""

        def work(c: Connection) -> Operation:
            if known := _requested(c, order):
                return known
            _refuse_while_open(c, order)
            _check_state(c, order)
            if flavour_id:
                c.execute(
                    update(t.vnf_instance).where(t.vnf_instance.c.id == order.target_id).values(flavour_id=flavour_id)
                )
            return _insert_operation(c, order, at)

        return await self._db.write(work)

    async def operation(self, tenant: str, ref: str) -> Operation:
        """By id or a beginning of it."""
        return await self._db.read(lambda c: load(c, find(c, t.operation, tenant, ref, (), "operation")["id"]))

    async def operations(self, tenant: str) -> AsyncIterator[Operation]:
        """All of the tenant, newest first; read page by page, so that a long past is never in memory at once."""
        query = select(t.operation.c.id).where(t.operation.c.tenant == tenant)
        order = (t.operation.c.started_at.desc(), t.operation.c.id)
        ids = await self._db.read(lambda c: list(c.scalars(query.order_by(*order))))
        for begin in range(0, len(ids), PAGE):
            page = ids[begin : begin + PAGE]
            for operation in await self._db.read(partial(load_all, ids=page)):
                yield operation

    # ---- events ----

    async def prune_events(self, before: datetime) -> int:
        """Drop notifications older than that, but for the newest: cursors never go back. Answers with their number."""
        newest = select(func.max(t.outbox.c.cursor)).scalar_subquery()
        old = (t.outbox.c.at < before.isoformat()) & (t.outbox.c.cursor < newest)
        return await self._db.write(lambda c: c.execute(delete(t.outbox).where(old)).rowcount)

    async def events(self, tenant: str, after: int, limit: int = 500) -> list[dict[str, Any]]:
        """Notifications after a cursor."""
        query = (
            select(t.outbox)
            .where(t.outbox.c.tenant == tenant, t.outbox.c.cursor > after)
            .order_by(t.outbox.c.cursor)
            .limit(limit)
        )
        return await self._db.read(lambda c: [dict(r) for r in c.execute(query).mappings()])


def chain_exists(name: str) -> Exception:
    """A chain's name is unique in its tenant."""
    return problem(
        "already-exists",
        f"there is a chain {name!r} already: give another name with --name, or terminate and delete that one",
        instance=name,
    )


def _insert_instance(
    c: Connection, tenant: str, instance: NewInstance, chain_id: str, request_id: str, at: datetime
) -> None:
    c.execute(
        insert(t.vnf_instance).values(
            id=instance.id,
            tenant=tenant,
            name=instance.name,
            alias=instance.alias,
            chain_id=chain_id,
            vnfd_id=instance.vnfd_id,
            package_id=instance.package_id,
            flavour_id=instance.flavour_id,
            instantiation_state=InstantiationState.NOT_INSTANTIATED.value,
            vnfcs=[],
            request_id=request_id or None,
            created_at=at.isoformat(),
        )
    )


def _insert_operation(c: Connection, order: Order, at: datetime) -> Operation:
    c.execute(
        insert(t.operation).values(
            id=order.operation_id,
            tenant=order.tenant,
            operation=order.type.value,
            state=LcmOperationState.STARTING.value,
            target=order.target,
            target_id=order.target_id,
            request_id=order.request_id or None,
            params=dict(order.params or {}),
            steps=[],
            started_at=at.isoformat(),
            state_entered_at=at.isoformat(),
        )
    )
    for subject, lane in order.subjects.items():
        try:
            c.execute(
                insert(t.op_subject).values(operation_id=order.operation_id, subject_id=subject, lane=lane, open=True)
            )
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
            "operation_state": LcmOperationState.STARTING.value,
            "target": order.target,
            "notification_status": "START",
        },
    )
    return load(c, order.operation_id)


def _refuse_while_open(c: Connection, order: Order) -> None:
    """One open operation a subject: says which, and how to end it."""
    query = (
        select(t.operation.c.id, t.operation.c.operation, t.operation.c.state)
        .join(t.op_subject, t.op_subject.c.operation_id == t.operation.c.id)
        .where(t.op_subject.c.open, t.op_subject.c.subject_id.in_(list(order.subjects)))
    )
    other = c.execute(query).first()
    if other is None:
        return
    ways = WAYS_OUT if other.state == LcmOperationState.FAILED_TEMP else "`vnfm op cancel {0}` stops it"
    raise problem(
        "conflict",
        f"{other.operation} of {order.target} is open in {other.state}: {ways.format(other.id[:8])}",
        instance=other.id,
    )


def _check_state(c: Connection, order: Order) -> None:
    """In the order's own transaction: of two that are ordered at once, the second sees what the first did."""
    if order.type is LcmOperationType.CHAIN_TERMINATE:
        state = c.scalar(select(t.chain.c.state).where(t.chain.c.id == order.target_id))
        admitted: tuple[str, ...] = (ChainState.INSTANTIATED, ChainState.FAILED)
    elif order.type in (LcmOperationType.INSTANTIATE, LcmOperationType.TERMINATE):
        state = c.scalar(select(t.vnf_instance.c.instantiation_state).where(t.vnf_instance.c.id == order.target_id))
        begins = order.type is LcmOperationType.INSTANTIATE
        admitted = (InstantiationState.NOT_INSTANTIATED if begins else InstantiationState.INSTANTIATED,)
    else:
        return
    if state not in admitted:
        raise problem(
            "conflict",
            f"{order.target} is {state or 'gone'}: {order.type} is possible in {' or '.join(admitted)} only",
            instance=order.target_id,
        )


def _requested(c: Connection, order: Order) -> Operation | None:
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


def _chain(c: Connection, row: Any) -> ChainRecord:
    return ChainRecord(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        state=ChainState(row["state"]),
        descriptor=decode(ServiceChain, row["descriptor"]),
        plan=row["plan"] or {},
        body=row["body"],
        created_at=datetime.fromisoformat(row["created_at"]),
        operation_id=_open(c, row["id"]) or "",
    )


def _open(c: Connection, subject_id: str) -> str | None:
    query = select(t.op_subject.c.operation_id).where(t.op_subject.c.subject_id == subject_id, t.op_subject.c.open)
    found: str | None = c.scalar(query)
    return found


def _instance_row(c: Connection, tenant: str, ref: str) -> Any:
    return find(c, t.vnf_instance, tenant, ref, (t.vnf_instance.c.name,), "VNF instance")
