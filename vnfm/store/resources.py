"""What may exist on VIMs, what capacity is ours, and what realizations were seen to cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BindParameter, RowMapping, bindparam, or_, select

from vnfm.lcm.operation import Design, Operation
from vnfm.model.codec import decode
from vnfm.model.resources import Handle, ResourceKind
from vnfm.store import tables as t
from vnfm.store.database import Database
from vnfm.store.holdings import HeldNow, Holdings
from vnfm.store.statements import KEY

_SUBJECT: BindParameter[str] = bindparam(KEY)
_OF_SUBJECT = select(t.resource).where(or_(t.resource.c.chain_id == _SUBJECT, t.resource.c.vnf_instance_id == _SUBJECT))


@dataclass(frozen=True, slots=True)
class KnownResource:
    """A resource on record: it may exist."""

    id: str
    vim: str
    host: str
    kind: ResourceKind
    name: str
    chain_id: str
    vnf_instance_id: str
    handle: Handle
    addresses: tuple[str, ...]


class ResourceStore:
    """Rows of resource, and what is held and seen (see holdings.py)."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._held = HeldNow(database)

    async def of_subject(self, subject_id: str) -> list[KnownResource]:
        """Everything on record of a chain or of a VNF instance."""
        return await self._db.read(
            lambda c: [_resource(r) for r in c.execute(_OF_SUBJECT, {KEY: subject_id}).mappings()]
        )

    async def known(self, resource_ids: Sequence[str]) -> dict[str, KnownResource]:
        """Those of them that are on record, with the chain and instance that they belong to."""
        query = select(t.resource).where(t.resource.c.id.in_(list(resource_ids)))
        return await self._db.read(lambda c: {r["id"]: _resource(r) for r in c.execute(query).mappings()})

    async def handles(self, operation: Operation) -> Mapping[str, Handle]:
        """Of everything that belongs to the operation's chain, or to its VNF that stands alone."""
        return {r.id: r.handle for r in await self.of_subject(operation.chain_id or operation.target_id)}

    async def holdings(self) -> Holdings:
        """What placement has to subtract, and to prefer."""
        return await self._held.holdings()

    def hold(self, design: Design) -> None:
        """What was decided just now counts from now on, though it is not on record yet."""
        self._held.hold(design.reservations, design.link_reservations)

    def forget_held(self) -> None:
        """It may not have got on record."""
        self._held.forget()

    async def count_on(self, vim: str) -> int:
        """How many resources are on record of a VIM."""
        return await self._db.read(
            lambda c: len(c.execute(select(t.resource.c.id).where(t.resource.c.vim == vim)).all())
        )


def _resource(row: RowMapping) -> KnownResource:
    return KnownResource(
        id=str(row["id"]),
        vim=str(row["vim"]),
        host=str(row["host"]),
        kind=ResourceKind(str(row["kind"])),
        name=str(row["name"]),
        chain_id=str(row["chain_id"]),
        vnf_instance_id=str(row["vnf_instance_id"]),
        handle=decode(Handle, row["handle"]),
        addresses=decode(tuple[str, ...], row["addresses"]),
    )
