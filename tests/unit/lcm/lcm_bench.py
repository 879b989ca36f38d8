"""A runner on a real journal, with one VNF instance and steps whose actions a test scripts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from vnfm.lcm.actions import Action, Context
from vnfm.lcm.machine import St
from vnfm.lcm.operation import Design, Operation, StepOutput
from vnfm.lcm.ports import Vims
from vnfm.lcm.runner import Runner
from vnfm.lcm.steps import Step, StepKind, mint
from vnfm.model.lcm import LcmOperationState, LcmOperationType
from vnfm.model.needs import Isolation
from vnfm.model.placement import Runtime
from vnfm.model.resources import LinkSpec
from vnfm.placement.inventory import LinkReservation, Reservation
from vnfm.store.blobs import BlobStore
from vnfm.store.database import Database, sqlite_url
from vnfm.store.journal import SqlJournal
from vnfm.store.orders import NewInstance, Order, OrderStore
from vnfm.store.resources import ResourceStore

TENANT = "default"
Do = Callable[[Step, Context], Awaitable[StepOutput]]


def clock() -> datetime:
    return datetime.now(UTC)


async def fine(step: Step, ctx: Context) -> StepOutput:
    return StepOutput()


def link_step(operation: Operation, name: str, *needs: str) -> Step:
    spec = LinkSpec(mint(operation.id, name), 1500, ("10.0.0.0/29",), ())
    return Step(name, StepKind.LINK, f"link {name}", "m", needs, vnf_instance_id=operation.target_id, link=spec)


async def until(check: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(20):
        while True:
            if check():
                return
            await asyncio.sleep(0.005)


class Bench:
    """`do` and `undo` are what links do; `design` what is granted."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(sqlite_url(folder))
        self.database.migrate()
        self.journal = SqlJournal(self.database)
        self.orders = OrderStore(self.database)
        self.resources = ResourceStore(self.database)
        self.blobs = BlobStore(folder / "blobs")
        self.do: Do = fine
        self.undo: Do = fine
        self.names: tuple[tuple[str, ...], ...] = (("a",), ("b", "a"))
        self.granting: Callable[[Operation], Awaitable[Design]] = self.design
        self.runner = self.new_runner()

    def new_runner(self) -> Runner:
        actions: Mapping[StepKind, Action] = {
            StepKind.LINK: Action(lambda s, c: self.do(s, c), lambda s, c: self.undo(s, c))
        }
        vims = cast(Vims, None)  # the scripted actions ask no VIM
        return Runner(
            self.journal,
            vims,
            self.blobs,
            lambda o: self.granting(o),
            self.resources.handles,
            clock,
            actions=actions,
            holder=self.resources,
        )

    async def design(self, operation: Operation) -> Design:
        steps = tuple(link_step(operation, name, *needs) for name, *needs in self.names)
        held = tuple(
            Reservation(s.allocates, "m", "h", TENANT, Runtime.CONTAINER, Isolation.NONE, 10, 1) for s in steps
        )
        pairs = tuple(LinkReservation(f"{s.allocates}/x--y", (), 1000) for s in steps)
        return Design(steps, held, pairs)

    async def ordered(self) -> Operation:
        """An INSTANTIATE on record, of an instance of its own."""
        instance = str(uuid.uuid4())
        await self.orders.create_vnf(TENANT, NewInstance(instance, "v", "", "vnfd", "pkg", ""), "", clock())
        order = Order(str(uuid.uuid4()), TENANT, LcmOperationType.INSTANTIATE, "v", instance, {instance: "v"})
        return await self.orders.order(order, clock())

    async def until(self, operation: Operation, *states: LcmOperationState, within_s: float = 20) -> Operation:
        async with asyncio.timeout(within_s):
            while True:
                now = await self.journal.load(operation.id)
                if now.state in states:
                    return now
                await asyncio.sleep(0.005)

    async def until_step(self, operation: Operation, step: str, state: St) -> Operation:
        async with asyncio.timeout(20):
            while True:
                now = await self.journal.load(operation.id)
                if now.status.get(step) is state:
                    return now
                await asyncio.sleep(0.005)

    async def held(self, operation: Operation) -> int:
        """Reservations of the operation, on hosts and on links."""
        ids = {s.allocates for s in (await self.journal.load(operation.id)).steps}
        holdings = await self.resources.holdings()
        every: list[Any] = [*holdings.reservations, *holdings.link_reservations]
        return sum(r.resource_id[:36] in ids for r in every)

    async def close(self) -> None:
        await self.runner.close()
        self.database.close()
