"""A database of its own, with what the stories of this room order on it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Table, select

from vnfm.lcm.operation import Design, LogEntry, Operation
from vnfm.lcm.steps import Step, StepKind, mint
from vnfm.model.chain import ChainEnd, ChainVnf, ForwardingPath, PathHop, ServiceChain
from vnfm.model.lcm import LcmOperationType
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.resources import LinkSpec
from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.placement.inventory import Reservation
from vnfm.store import tables as t
from vnfm.store.database import Database, sqlite_url
from vnfm.store.journal import SqlJournal
from vnfm.store.orders import NewInstance, Order, OrderStore
from vnfm.store.packages import PackageStore
from vnfm.store.resources import ResourceStore

T = TypeVar("T")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHAIN = ServiceChain(
    "c",
    (ChainEnd("client", "10.1.0.0/24"), ChainEnd("server", "10.9.0.0/24")),
    (ChainVnf("fw", "fw"),),
    (ForwardingPath("default", (PathHop("client"), PathHop("fw"), PathHop("server"))),),
)


def new() -> str:
    return str(uuid.uuid4())


def vnfd(vnfd_id: str) -> Vnfd:
    return Vnfd(vnfd_id, "tests", vnfd_id, "1", "1", (Flavour("default"),))


class Bench:
    """The stores of one database."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.database = Database(sqlite_url(folder))
        self.database.migrate()
        self.journal = SqlJournal(self.database)
        self.orders = OrderStore(self.database)
        self.packages = PackageStore(self.database)
        self.resources = ResourceStore(self.database)

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        return await self.database.read(lambda c: [dict(r) for r in c.execute(select(table)).mappings()])

    async def vnf(self, tenant: str = "t", instance_id: str = "", vnfd_id: str = "v", request_id: str = "") -> str:
        made = NewInstance(instance_id or new(), "vnf", "", vnfd_id, "pkg", "")
        return (await self.orders.create_vnf(tenant, made, request_id, NOW)).id

    async def order(
        self,
        instance: str,
        kind: LcmOperationType = LcmOperationType.INSTANTIATE,
        tenant: str = "t",
        request_id: str = "",
        at: datetime = NOW,
    ) -> Operation:
        made = Order(new(), tenant, kind, "vnf", instance, {instance: "vnf"}, request_id)
        return await self.orders.order(made, at)

    async def granted(self) -> Operation:
        """An INSTANTIATE in PROCESSING with one link to be made and capacity held for it."""
        operation = await self.order(await self.vnf())
        spec = LinkSpec(mint(operation.id, "a"), 1500, ("10.0.0.0/29",), ())
        step = Step("a", StepKind.LINK, "link a", "m", vnf_instance_id=operation.target_id, link=spec)
        held = Reservation(step.allocates, "m", "h", "t", Runtime.CONTAINER, Isolation.NONE, 10, 1)
        return await self.journal.grant(operation, Design((step,), (held,)), NOW)

    async def chain(self, tenant: str = "t", name: str = "c", request_id: str = "") -> Operation:
        chain_id, instance = new(), NewInstance(new(), f"{name}/fw", "fw", "fw", "pkg", "")
        order = Order(
            new(),
            tenant,
            LcmOperationType.CHAIN_CREATE,
            name,
            chain_id,
            {chain_id: "", instance.id: "fw"},
            request_id,
        )
        return await self.orders.create_chain(order, CHAIN, [instance], NOW)

    async def package(self, tenant: str = "t", vnfd_id: str = "v", blob: str = "b" * 64) -> str:
        made = await self.packages.create(new(), tenant, "", NOW)
        await self.packages.uploading(tenant, made.id, "strict")
        await self.packages.processing(tenant, made.id, blob)
        await self.packages.onboarded(tenant, made.id, vnfd(vnfd_id), {"Files/i": "i" * 64}, (), NOW)
        return made.id


def entry(operation: Operation, state: Any, **more: Any) -> LogEntry:
    return LogEntry(operation.steps[0].key, state, NOW, **more)


async def outbox(bench: Bench) -> list[dict[str, Any]]:
    return await bench.rows(t.outbox)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder)
    try:
        yield bench
    finally:
        bench.database.close()


def played(folder: Path, story: Callable[[Bench], Awaitable[T]]) -> T:
    """Run a story on a database in `folder`."""

    async def main() -> T:
        async with opened(folder) as bench:
            return await story(bench)

    return asyncio.run(main())
