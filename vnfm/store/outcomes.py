"""What follows from the end of an operation: chain, instances, reservations and what stands, in its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update

from vnfm.lcm.changes import isolation_of
from vnfm.lcm.machine import St
from vnfm.lcm.operation import Desired, Operation
from vnfm.lcm.outcome import outcome
from vnfm.lcm.realizing import realized, switched
from vnfm.model.chain import ServiceChain
from vnfm.model.codec import decode, encode
from vnfm.model.lcm import CREATIONS, InstantiationState, LcmOperationState, LcmOperationType, Vnfc, VnfState
from vnfm.model.realization import NOTHING_STANDS, Realization
from vnfm.model.resources import Handle, Resource
from vnfm.store import realizations
from vnfm.store import tables as t
from vnfm.store.group import tell
from vnfm.store.holdings import Freed
from vnfm.store.prepared import document, every, write
from vnfm.store.statements import KEY, KEYS, change_where, rows_where, value_where

_Known = tuple[Handle, tuple[str, ...]]
ID_LENGTH = 36  # of a UUID
_UNFOUNDED = (
    delete(t.reservation)
    .where(
        t.reservation.c.operation_id == bindparam(KEY),
        ~exists().where(t.resource.c.id == func.substr(t.reservation.c.resource_id, 1, ID_LENGTH)),
    )
    .returning(t.reservation.c.resource_id, t.reservation.c.kind)
)
_HANDLES = select(t.resource.c.id, t.resource.c.handle, t.resource.c.addresses).where(
    t.resource.c.id.in_(bindparam(KEYS, expanding=True))
)
REMOVALS = (LcmOperationType.CHAIN_TERMINATE, LcmOperationType.TERMINATE)


def apply_outcome(c: Connection, operation: Operation, chain: Mapping[str, Any]) -> None:
    """`operation` has just entered a final state; `chain`: what else changes in its chain's row."""
    _free_capacity(c, operation)
    if operation.type is LcmOperationType.MODIFY_INFO:
        if operation.state is LcmOperationState.COMPLETED:
            _modify(c, operation)
        return
    result = outcome(operation.type, operation.state)
    chain_id = operation.chain_id
    instances = [s for s in operation.subjects if s != chain_id]
    if result.forget:
        c.execute(delete(t.chain).where(t.chain.c.id == chain_id))
        c.execute(delete(t.vnf_instance).where(t.vnf_instance.c.id.in_(instances)))
        return
    state = {"state": result.chain.value} if result.chain else {}
    standing = _stands(c, operation, {**state, **chain})
    serves = operation.state is LcmOperationState.COMPLETED or (
        operation.state is LcmOperationState.FAILED and switched(operation.steps, operation.status)
    )
    forgotten = _forget_instances(c, operation, serves)
    if serves:
        _apply_desired(c, operation)
    left = [i for i in instances if i not in forgotten]
    if result.instances is InstantiationState.NOT_INSTANTIATED:
        c.execute(
            update(t.vnf_instance)
            .where(t.vnf_instance.c.id.in_(left))
            .values(instantiation_state=result.instances.value, vnf_state=None, vnfcs=[], scale_levels={})
        )
    elif operation.type in CREATIONS and result.instances is None:
        return
    elif operation.type not in REMOVALS:
        _record_vnfcs(c, operation, standing, left)


def _free_capacity(c: Connection, operation: Operation) -> None:
    """Capacity whose resource never came to be, or is gone, is free again."""
    if rows := every(c, _UNFOUNDED, {KEY: operation.id}):
        tell(c, Freed(tuple((str(resource_id), str(kind)) for resource_id, kind in rows)))


def _stands(c: Connection, operation: Operation, also: Mapping[str, Any]) -> Realization:
    """What stands from now on, kept with the chain or the VNF; `also`: what else changes in its row."""
    table = t.chain if operation.chain_id else t.vnf_instance
    subject = operation.chain_id or operation.target_id
    before = NOTHING_STANDS
    if operation.type not in CREATIONS:
        row = c.execute(rows_where(table.c.id), {KEY: subject}).mappings().first()
        if row is None:
            return NOTHING_STANDS
        before = realizations.of_chain(c, row) if operation.chain_id else realizations.of_instance(c, row)
    standing = realized(before, operation)
    write(c, change_where(table.c.id), {KEY: subject, "realization": standing, **also})
    return standing


def _forget_instances(c: Connection, operation: Operation, serves: bool) -> set[str]:
    """A VNF that an insert or a swap brought along, if it came to nothing; one that left, once it did."""
    gone = str(operation.params.get("old_instance_id" if serves else "new_instance_id", ""))
    if gone:
        c.execute(delete(t.vnf_instance).where(t.vnf_instance.c.id == gone))
    return {gone} - {""}


def _apply_desired(c: Connection, operation: Operation) -> None:
    data = document(c, value_where(t.operation.c.desired, t.operation.c.id), {KEY: operation.id})
    if data is None:
        return
    desired = decode(Desired, data)
    chain = t.chain.c.id == operation.chain_id
    if desired.chain:
        c.execute(update(t.chain).where(chain).values(descriptor=encode(desired.chain)))
    if desired.links:
        body = c.scalar(select(t.chain.c.body).where(chain)) or {}
        c.execute(update(t.chain).where(chain).values(body={**body, "links": encode(list(desired.links))}))
    if desired.plan:
        c.execute(update(t.chain).where(chain).values(plan=encode(desired.plan)))
    for instance_id, levels in desired.scale_levels.items():
        write(c, change_where(t.vnf_instance.c.id), {KEY: instance_id, "scale_levels": dict(levels)})


def _record_vnfcs(c: Connection, operation: Operation, standing: Realization, instances: list[str]) -> None:
    known = {r.handle.resource_id: (r.handle, r.addresses) for r in _made(operation)}
    if left := [v.resource_id for v in standing.vnfcs if v.resource_id not in known]:
        rows = c.execute(_HANDLES, {KEYS: left})
        known |= {r.id: (decode(Handle, r.handle), tuple(r.addresses)) for r in rows}
    found = [
        {
            KEY: instance_id,
            "instantiation_state": InstantiationState.INSTANTIATED.value,
            "vnf_state": VnfState.STARTED.value,
            "vnfcs": _vnfcs(standing, instance_id, known),
        }
        for instance_id in instances
    ]
    if found:
        write(c, change_where(t.vnf_instance.c.id), found)


def _made(operation: Operation) -> list[Resource]:
    """What the operation itself made, and has not taken back: of that the table says the same."""
    status = operation.status
    ended = {e.step: e.output.resource for e in operation.log if e.output and e.output.resource}
    return [resource for step, resource in ended.items() if status[step] is St.DONE]


def _vnfcs(standing: Realization, instance_id: str, known: Mapping[str, _Known]) -> list[Vnfc]:
    return [
        Vnfc(
            v.resource_id,
            v.vdu_id,
            v.spec.runtime,
            v.vim,
            v.spec.host,
            known[v.resource_id][0].native_id,
            known[v.resource_id][1] or tuple(ip for p in v.spec.ports for ip in p.ips),
        )
        for v in sorted(standing.of_instance(instance_id), key=lambda v: (v.vdu_id, v.index))
        if v.resource_id in known
    ]


def _modify(c: Connection, operation: Operation) -> None:
    """Stored with the instance and, for a VNF in a chain, in the chain's descriptor: what is planned by next time."""
    name, word = str(operation.params.get("name", "")), str(operation.params.get("isolation", ""))
    mine = t.vnf_instance.c.id == operation.target_id
    if name:
        c.execute(update(t.vnf_instance).where(mine).values(name=name))
    if not word:
        return
    level = isolation_of(word)
    c.execute(update(t.vnf_instance).where(mine).values(isolation=None if level is None else level.value))
    row = c.execute(select(t.chain).where(t.chain.c.id == operation.chain_id)).mappings().first()
    if row is not None:
        alias = operation.subjects[operation.target_id]
        chain = decode(ServiceChain, row["descriptor"]).held_to(alias, level)
        c.execute(update(t.chain).where(t.chain.c.id == row["id"]).values(descriptor=encode(chain)))
