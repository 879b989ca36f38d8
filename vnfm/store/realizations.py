"""What stands, as kept with a chain or with a VNF that stands alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from vnfm.lcm.realizing import realized
from vnfm.model.codec import decode
from vnfm.model.lcm import LcmOperationState, LcmOperationType
from vnfm.model.realization import NOTHING_STANDS, Realization
from vnfm.store import tables as t
from vnfm.store.rows import operations_of


def of_chain(c: Connection, row: Any) -> Realization:
    """`row` of the table chain. A chain of before realizations were kept is read out of its creation's steps."""
    if row["realization"] is not None:
        return decode(Realization, row["realization"])
    return _rebuilt(c, row["id"], LcmOperationType.CHAIN_CREATE)


def of_instance(c: Connection, row: Any) -> Realization:
    """`row` of the table vnf_instance; nothing for one in a chain."""
    if row["realization"] is not None:
        return decode(Realization, row["realization"])
    return _rebuilt(c, row["id"], LcmOperationType.INSTANTIATE)


def _rebuilt(c: Connection, target_id: str, creation: LcmOperationType) -> Realization:
    ended = (LcmOperationState.COMPLETED.value, LcmOperationState.FAILED.value)
    removal = (LcmOperationType.CHAIN_TERMINATE.value, LcmOperationType.TERMINATE.value)
    query = (
        select(t.operation)
        .where(
            t.operation.c.target_id == target_id,
            t.operation.c.operation.in_((creation.value, *removal)),
            t.operation.c.state.in_(ended),
        )
        .order_by(t.operation.c.started_at)
    )
    standing = NOTHING_STANDS
    for operation in operations_of(c, c.execute(query).mappings().all()):
        standing = realized(standing, operation)
    return standing
