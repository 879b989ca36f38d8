"""What the watch over VNFCs needs of the store: which have to be there, which were healed, and orders to heal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from vnfm.lcm.changes import heal_params
from vnfm.lcm.healing import Condition, Expected, HealOrder, PastHeal
from vnfm.lcm.operation import Operation
from vnfm.model.lcm import InstantiationState, LcmOperationState, LcmOperationType
from vnfm.model.problem import ProblemError
from vnfm.store import tables as t
from vnfm.store.database import Database
from vnfm.store.journal import load
from vnfm.store.orders import Order, OrderStore
from vnfm.store.rows import announce, instance_of

HEALS_READ = 50  # of one VNF, the newest: more than any limit of tries


class WatchedStore:
    """Implements vnfm.vim.watching.Ledger."""

    def __init__(self, database: Database, orders: OrderStore, new_id: Callable[[], str]) -> None:
        self._db = database
        self._orders = orders
        self._new_id = new_id

    async def expected(self, subject_ids: Sequence[str] | None = None) -> list[Expected]:
        """The VNFCs of all VNFs that are INSTANTIATED, or of those instances and chains."""
        query = select(t.vnf_instance).where(
            t.vnf_instance.c.instantiation_state == InstantiationState.INSTANTIATED.value
        )
        if subject_ids is not None:
            ids = list(subject_ids)
            query = query.where(or_(t.vnf_instance.c.id.in_(ids), t.vnf_instance.c.chain_id.in_(ids)))
        return await self._db.read(lambda c: [e for r in c.execute(query).mappings() for e in _expected(r)])

    async def open_subjects(self) -> list[str]:
        """Chains and VNFs on which an operation is open."""
        query = select(t.op_subject.c.subject_id).where(t.op_subject.c.open)
        return await self._db.read(lambda c: list(c.scalars(query)))

    async def open_heal(self, subject_id: str) -> Operation | None:
        """The HEAL that is open on a chain or VNF."""
        query = (
            select(t.operation.c.id)
            .join(t.op_subject, t.op_subject.c.operation_id == t.operation.c.id)
            .where(
                t.op_subject.c.subject_id == subject_id,
                t.op_subject.c.open,
                t.operation.c.operation == LcmOperationType.HEAL.value,
            )
        )

        def work(c: Connection) -> Operation | None:
            found = c.scalar(query)
            return load(c, found) if found else None

        return await self._db.read(work)

    async def past_heals(self, vnf_instance_ids: Sequence[str]) -> list[PastHeal]:
        """The newest HEALs of these VNFs that have ended."""
        query = (
            select(t.operation)
            .join(t.op_subject, t.op_subject.c.operation_id == t.operation.c.id)
            .where(
                t.op_subject.c.subject_id.in_(list(vnf_instance_ids)),
                t.operation.c.operation == LcmOperationType.HEAL.value,
                ~t.op_subject.c.open,
            )
            .order_by(t.operation.c.started_at.desc())
            .limit(HEALS_READ * len(vnf_instance_ids))
        )

        def work(c: Connection) -> list[PastHeal]:
            return list({r["id"]: _past_heal(r) for r in c.execute(query).mappings()}.values())

        return await self._db.read(work)

    async def last_heal(self, subject_id: str) -> Operation | None:
        """The newest HEAL of a chain or a VNF."""
        query = (
            select(t.operation.c.id)
            .join(t.op_subject, t.op_subject.c.operation_id == t.operation.c.id)
            .where(t.op_subject.c.subject_id == subject_id, t.operation.c.operation == LcmOperationType.HEAL.value)
            .order_by(t.operation.c.started_at.desc())
            .limit(1)
        )

        def work(c: Connection) -> Operation | None:
            found = c.scalar(query)
            return load(c, found) if found else None

        return await self._db.read(work)

    async def order_heal(self, order: HealOrder, at: datetime) -> Operation | None:
        """None where another operation is open, or the VNF is no longer what it was."""
        params = heal_params(order.vnfcs, order.cause, order.died_at, order.positions, order.give_up)
        made = Order(
            self._new_id(), order.tenant, LcmOperationType.HEAL, order.vnf, order.vnf_instance_id, params=params
        )
        try:
            return await self._orders.order(made, at)
        except ProblemError as error:
            if error.problem.word in ("conflict", "not-found"):
                return None
            raise

    async def announce(self, vnfc: Expected, condition: Condition, at: datetime) -> None:
        """A VNFC is dead, or well again."""
        body = {
            "vnf_instance_id": vnfc.vnf_instance_id,
            "vnf_instance_name": vnfc.vnf,
            "chain_id": vnfc.chain_id,
            "vnfc_id": vnfc.vnfc_id,
            "vdu_id": vnfc.vdu_id,
            "vim": vnfc.vim,
            "state": condition.health.value,
            "reason": condition.reason,
            "since": condition.since.isoformat() if condition.since else None,
        }
        await self._db.write(lambda c: announce(c, vnfc.tenant, at, "VnfcStateChangeNotification", body))


def _expected(row: Any) -> list[Expected]:
    instance = instance_of(row)
    counts: dict[str, int] = {}
    found = []
    for vnfc in instance.vnfcs:
        number = counts[vnfc.vdu_id] = counts.get(vnfc.vdu_id, -1) + 1
        position = f"{instance.id}/{vnfc.vdu_id}/{number}"
        found.append(
            Expected(
                vnfc.id,
                vnfc.vdu_id,
                vnfc.vim,
                instance.tenant,
                instance.id,
                instance.name,
                instance.chain_id,
                position,
            )
        )
    return found


def _past_heal(row: Any) -> PastHeal:
    state = LcmOperationState(row["state"])
    cancelled = "cancelled" in ((row["error"] or {}).get("type") or "")
    return PastHeal(
        operation_id=row["id"],
        state=state,
        state_entered_at=datetime.fromisoformat(row["state_entered_at"]),
        vnfcs=tuple(row["params"].get("vnfcs", ())),
        positions=tuple(row["params"].get("positions", ())),
        refused=state is LcmOperationState.ROLLED_BACK and not row["steps"] and not cancelled,
        held=bool(row["params"].get("give_up")),
    )
