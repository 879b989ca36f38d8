"""Chains, VNF instances and the operations ordered on them: each order is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from vnfm.graph.edit import edited, touched
from vnfm.lcm.changes import change_params
from vnfm.lcm.operation import Operation
from vnfm.model.chain import ServiceChain
from vnfm.model.change import ChainChange, Insert, Remove, Swap
from vnfm.model.codec import decode
from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState, VnfInstance
from vnfm.model.problem import problem
from vnfm.model.realization import NOTHING_STANDS, Realization
from vnfm.store import realizations
from vnfm.store import tables as t
from vnfm.store.admission import (
    NewInstance,
    Order,
    chain_exists,
    check_state,
    insert_instance,
    insert_instances,
    insert_operation,
    of_a_vnf,
    refuse_while_open,
    requested,
)
from vnfm.store.database import Database
from vnfm.store.journal import load_all, record_probe
from vnfm.store.prepared import first, write
from vnfm.store.refs import find
from vnfm.store.rows import announce, instance_of, operations_of
from vnfm.store.statements import KEY, new_row

__all__ = ["ChainRecord", "NewInstance", "Order", "OrderStore"]

NAMED = select(t.chain.c.id).where(t.chain.c.tenant == bindparam("wanted_tenant"), t.chain.c.name == bindparam(KEY))
PAGE = 50  # operations read at once
MOST_CREATED = 10_000  # chains that wait for their grant and are kept in memory


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
    realization: Realization = NOTHING_STANDS
    grants: int = 0  # of operations on it so far


class OrderStore:
    """Rows of chain, vnf_instance, operation, op_subject."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._created: dict[str, tuple[ChainRecord, list[VnfInstance]]] = {}  # until they are granted

    # ---- chains ----

    async def create_chain(
        self, order: Order, descriptor: ServiceChain, instances: Sequence[NewInstance], at: datetime
    ) -> Operation:
        """Chain, instances and operation at once. Raises ProblemError `already-exists` for a name in use."""

        def work(c: Connection) -> Operation:
            if known := requested(c, order):
                return known
            if first(c, NAMED, {"wanted_tenant": order.tenant, KEY: order.target}):
                raise chain_exists(order.target)
            row = {
                "id": order.target_id,
                "tenant": order.tenant,
                "name": order.target,
                "state": ChainState.NOT_INSTANTIATED.value,
                "descriptor": descriptor,
                "body": {},
                "created_at": at.isoformat(),
            }
            write(c, new_row(t.chain), row)
            insert_instances(c, order.tenant, instances, order.target_id, "", at)
            return insert_operation(c, order, at)

        operation = await self._db.write(work)
        if operation.id == order.operation_id:
            while len(self._created) >= MOST_CREATED:
                del self._created[next(iter(self._created))]
            state = ChainState.NOT_INSTANTIATED
            record = ChainRecord(
                order.target_id, order.tenant, order.target, state, descriptor, {}, {}, at, order.operation_id
            )
            self._created[order.target_id] = record, [_fresh(order, i) for i in instances]
        return operation

    async def chain_with_vnfs(self, tenant: str, chain_id: str) -> tuple[ChainRecord, list[VnfInstance]]:
        """Of one moment. What was created just now is known without a look, once: its operation alone may change it."""
        created = self._created.pop(chain_id, None)
        if created is not None and created[0].tenant == tenant:
            return created

        def work(c: Connection) -> tuple[ChainRecord, list[VnfInstance]]:
            mine = (t.vnf_instance.c.tenant == tenant) & (t.vnf_instance.c.chain_id == chain_id)
            rows = c.execute(select(t.vnf_instance).where(mine).order_by(t.vnf_instance.c.created_at)).mappings().all()
            chain = _chain(c, find(c, t.chain, tenant, chain_id, (t.chain.c.name,), "chain"))
            return chain, [instance_of(r) for r in rows]

        return await self._db.read(work)

    async def change_chain(
        self, order: Order, change: ChainChange, at: datetime, instance: NewInstance | None = None
    ) -> Operation:
        """Order a change of a running chain; `instance` is the VNF that an insert or a swap brings along. Subjects and
        params are found here. Raises ProblemError like `edited`, `conflict` while another operation is open or the
        chain is not INSTANTIATED."""

        def work(c: Connection) -> Operation:
            if known := requested(c, order):
                return known
            check_state(c, order)
            row = c.execute(select(t.chain).where(t.chain.c.id == order.target_id)).mappings().one()
            edited(decode(ServiceChain, row["descriptor"]), change)
            of_chain = t.vnf_instance.c.chain_id == order.target_id
            members = {r["id"]: r["alias"] for r in c.execute(select(t.vnf_instance).where(of_chain)).mappings()}
            params = change_params(change)
            if isinstance(change, Remove | Swap):
                params["old_instance_id"] = next(i for i, alias in members.items() if alias == touched(change))
            if isinstance(change, Insert | Swap):
                assert instance
                params["new_instance_id"] = instance.id
                members[instance.id] = instance.alias
            made = replace(order, subjects={order.target_id: "", **members}, params=params)
            refuse_while_open(c, made)
            if instance is not None and "new_instance_id" in params:
                insert_instance(c, order.tenant, instance, order.target_id, "", at)
            return insert_operation(c, made, at)

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
            insert_instance(c, tenant, instance, "", request_id, at)
            announce(c, tenant, at, "VnfIdentifierCreationNotification", {"vnf_instance_id": instance.id})
            return instance_of(_instance_row(c, tenant, instance.id))

        return await self._db.write(work)

    async def vnf(self, tenant: str, ref: str) -> VnfInstance:
        """By id, name, or a beginning of the id."""
        return await self._db.read(lambda c: instance_of(_instance_row(c, tenant, ref)))

    async def realization(self, tenant: str, ref: str) -> Realization:
        """What stands of a VNF that stands alone."""
        return await self._db.read(lambda c: realizations.of_instance(c, _instance_row(c, tenant, ref)))

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
            if known := requested(c, order):
                return known
            made = of_a_vnf(c, order)
            refuse_while_open(c, made)
            check_state(c, made)
            if flavour_id:
                c.execute(
                    update(t.vnf_instance).where(t.vnf_instance.c.id == order.target_id).values(flavour_id=flavour_id)
                )
            return insert_operation(c, made, at)

        return await self._db.write(work)

    async def modify(self, order: Order, at: datetime) -> Operation:
        """MODIFY_INFO: it begins in PROCESSING, since nothing is granted (SOL003 5.4.1.2); drive it and it is
        COMPLETED. Raises ProblemError `conflict` while another is open, `bad-value` for another name of a VNF in a
        chain."""

        def work(c: Connection) -> Operation:
            if known := requested(c, order):
                return known
            made = of_a_vnf(c, order)
            refuse_while_open(c, made)
            params = made.params or {}
            if params.get("name") and params.get("chain_id"):
                raise problem(
                    "bad-value", f"name: {order.target} is called by its chain and alias", instance=order.target_id
                )
            return insert_operation(c, made, at, LcmOperationState.PROCESSING)

        return await self._db.write(work)

    async def operation(self, tenant: str, ref: str) -> Operation:
        """By id or a beginning of it."""
        return await self._db.read(lambda c: operations_of(c, [find(c, t.operation, tenant, ref, (), "operation")])[0])

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


def _fresh(order: Order, made: NewInstance) -> VnfInstance:
    return VnfInstance(
        id=made.id,
        tenant=order.tenant,
        name=made.name,
        vnfd_id=made.vnfd_id,
        package_id=made.package_id,
        flavour_id=made.flavour_id,
        chain_id=order.target_id,
        instantiation_state=InstantiationState.NOT_INSTANTIATED,
        vnf_state=None,
        vnfcs=(),
        alias=made.alias,
    )


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
        realization=realizations.of_chain(c, row),
        grants=row["grants"],
    )


def _open(c: Connection, subject_id: str) -> str | None:
    query = select(t.op_subject.c.operation_id).where(t.op_subject.c.subject_id == subject_id, t.op_subject.c.open)
    found: str | None = c.scalar(query)
    return found


def _instance_row(c: Connection, tenant: str, ref: str) -> Any:
    return find(c, t.vnf_instance, tenant, ref, (t.vnf_instance.c.name,), "VNF instance")
