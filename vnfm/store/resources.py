"""What may exist on VIMs, what capacity is ours, and what realizations were seen to cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

from sqlalchemy import BindParameter, Connection, RowMapping, bindparam, or_, select

from vnfm.lcm.operation import Operation
from vnfm.model.codec import decode
from vnfm.model.resources import Handle, ResourceKind
from vnfm.placement.types import LinkReservation, ObservedCost, Reservation
from vnfm.store import tables as t
from vnfm.store.costs import observed
from vnfm.store.database import Database
from vnfm.store.statements import KEY

T = TypeVar("T")
_SUBJECT: BindParameter[str] = bindparam(KEY)
_OF_SUBJECT = select(t.resource).where(or_(t.resource.c.chain_id == _SUBJECT, t.resource.c.vnf_instance_id == _SUBJECT))
_RESERVATIONS = select(t.reservation)


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


@dataclass(frozen=True, slots=True)
class Holdings:
    """What we hold of the VIMs' capacity."""

    reservations: tuple[Reservation, ...]
    link_reservations: tuple[LinkReservation, ...]
    observed: tuple[ObservedCost, ...]


class _Decoded(Generic[T]):
    """Values by their row's key, decoded anew only where the row has changed: every decision asks for all of them."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._known: dict[str, tuple[Any, T]] = {}
        self._lock = Lock()  # two readers

    def take(self, key: str, body: Any) -> T:
        known = self._known.get(key)
        if known is not None and known[0] == body:
            return known[1]
        value = decode(self._kind, body)
        with self._lock:
            self._known[key] = (body, value)
        return value

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all others."""
        with self._lock:
            for gone in self._known.keys() - set(keys):
                del self._known[gone]


class ResourceStore:
    """Rows of resource, reservation, observed_cost."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._host_reservations = _Decoded(Reservation)
        self._link_reservations = _Decoded(LinkReservation)

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

        def work(c: Connection) -> Holdings:
            rows = c.execute(_RESERVATIONS).mappings().all()
            hosts = tuple(
                self._host_reservations.take(r["resource_id"], r["body"]) for r in rows if r["kind"] == "host"
            )
            links = tuple(
                self._link_reservations.take(r["resource_id"], r["body"]) for r in rows if r["kind"] == "link"
            )
            self._host_reservations.keep(h.resource_id for h in hosts)
            self._link_reservations.keep(h.resource_id for h in links)
            return Holdings(hosts, links, observed(c))

        return await self._db.read(work)

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
