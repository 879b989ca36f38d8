"""A manager's core on a real database and a real mock plugin, with faults planted into single steps."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from vnfm.graph.chainfile import read_chain
from vnfm.lcm import control
from vnfm.lcm.actions import ACTIONS, Act, Action, Context
from vnfm.lcm.granting import Granting
from vnfm.lcm.operation import Operation, StepOutput
from vnfm.lcm.runner import Runner
from vnfm.lcm.steps import Step, StepKind
from vnfm.model.connectivity import Cpd, ExtCpd, VirtualLinkDesc
from vnfm.model.lcm import CancelMode, LcmOperationState, LcmOperationType
from vnfm.model.needs import Isolation, Needs
from vnfm.model.policies import ScalingAspect
from vnfm.model.problem import problem
from vnfm.model.vdu import Container, ImageFormat, SwImage, Vdu
from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.pb.common.v1 import common_pb2 as cpb
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.store.blobs import BlobStore
from vnfm.store.database import Database, sqlite_url
from vnfm.store.facts import StoredFacts
from vnfm.store.journal import SqlJournal
from vnfm.store.orders import NewInstance, Order, OrderStore
from vnfm.store.packages import PackageStore
from vnfm.store.resources import ResourceStore
from vnfm.vim.connection import VimSettings
from vnfm.vim.registry import VimRegistry

TENANT = "default"
SETTLE_S = 30.0
CHAIN = """
chain: NAME
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: fw}, rt: {vnfd: rt}}
path: [client, fw, rt, server]
"""


class Mode(StrEnum):
    """What goes wrong with a step, once."""

    FAILS = "fails"
    FAILS_HALF_DONE = "fails after its effect"
    CRASH_BEFORE = "manager dies before the call"
    CRASH_AFTER = "manager dies after the call"
    TWICE = "runs twice"
    CANCEL = "is cancelled gracefully"
    CANCEL_NOW = "is cancelled forcefully"


MISFORTUNES = [m for m in Mode if m not in (Mode.CANCEL, Mode.CANCEL_NOW)]


@dataclass(slots=True)
class Fault:
    """Planted into one step, in one direction; spent when it has struck."""

    step: str
    mode: Mode
    undo: bool = False
    spent: bool = False


class Faults:
    """Wraps the actions; `died` is set when a crash was struck."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)
        self.died = asyncio.Event()
        self.cancel: Callable[[CancelMode], Awaitable[None]] | None = None
        self.cancels: list[asyncio.Task[None]] = []

    def actions(self) -> Mapping[StepKind, Action]:
        """The real ones, with the faults in."""
        return {k: Action(self._wrap(a.do, False), self._wrap(a.undo, True)) for k, a in ACTIONS.items()}

    def _wrap(self, act: Act, undo: bool) -> Act:
        async def wrapped(step: Step, ctx: Context) -> StepOutput:
            fault = next((f for f in self.faults if not f.spent and f.step == step.key and f.undo == undo), None)
            if fault is None:
                return await act(step, ctx)
            fault.spent = True
            return await self._strike(fault, act, step, ctx)

        return wrapped

    async def _strike(self, fault: Fault, act: Act, step: Step, ctx: Context) -> StepOutput:
        match fault.mode:
            case Mode.FAILS:
                raise problem("planted", f"{step.key} fails")
            case Mode.FAILS_HALF_DONE:
                await act(step, ctx)
                raise problem("planted", f"{step.key} fails half done")
            case Mode.CRASH_BEFORE:
                return await self._die()
            case Mode.CRASH_AFTER:
                await act(step, ctx)
                return await self._die()
            case Mode.TWICE:
                await act(step, ctx)
                return await act(step, ctx)
            case Mode.CANCEL:
                await self._ask(CancelMode.GRACEFUL)
                return await act(step, ctx)
            case Mode.CANCEL_NOW:
                await act(step, ctx)  # what it did is there, and nobody hears of it
                self.cancels.append(asyncio.create_task(self._ask(CancelMode.FORCEFUL)))
                await asyncio.Event().wait()
                raise AssertionError("unreachable")

    async def _ask(self, mode: CancelMode) -> None:
        assert self.cancel
        await self.cancel(mode)

    async def _die(self) -> StepOutput:
        self.died.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def vnfd(vnfd_id: str, level: Isolation, image: SwImage) -> Vnfd:
    """A VNF of two VDUs with a link between them, so that internal links are walked too."""
    container = Container("c", image, cpu_milli=10, memory_bytes=16 << 20)
    front = Vdu("front", "front", "", 10, 16 << 20, 0, Needs(isolation=level), containers=(container,))
    back = Vdu("back", "back", "", 10, 16 << 20, 0, Needs(isolation=level), containers=(container,))
    flavour = Flavour(
        "default",
        vdus=(front, back),
        cps=(
            Cpd("left", "front", "", 0),
            Cpd("right", "front", "", 1),
            Cpd("in", "front", "vl", 2),
            Cpd("b", "back", "vl", 0),
        ),
        virtual_links=(VirtualLinkDesc("vl"),),
        external_cps=(ExtCpd("left", "left"), ExtCpd("right", "right")),
    )
    return Vnfd(vnfd_id, "tests", vnfd_id, "1", "1", (flavour,))


def simple_vnfd(vnfd_id: str, image: SwImage) -> Vnfd:
    """A VNF of one VDU with two external CPs, which may be scaled by hop and by aspect."""
    container = Container("c", image, cpu_milli=10, memory_bytes=16 << 20)
    needs = Needs(isolation=Isolation.TENANT)
    vdu = Vdu("vdu", "vdu", "", 10, 16 << 20, 0, needs, containers=(container,), max_instances=3)
    flavour = Flavour(
        "default",
        vdus=(vdu,),
        cps=(Cpd("left", "vdu", "", 0), Cpd("right", "vdu", "", 1)),
        external_cps=(ExtCpd("left", "left"), ExtCpd("right", "right")),
        scaling_aspects=(ScalingAspect("size", 2, step_deltas={"vdu": (1, 1)}),),
    )
    return Vnfd(vnfd_id, "tests", vnfd_id, "1", "1", (flavour,))


class World:
    """Stores, a registry with one mock VIM `m`, or several that reach one network, and a runner that can die and come
    back. The last one's segments are its own choice."""

    def __init__(self, folder: Path, vims: Sequence[str] = ("m",)) -> None:
        self.database = Database(sqlite_url(folder))
        self.database.migrate()
        self.blobs = BlobStore(folder / "blobs")
        self.registry = VimRegistry(folder / "vim", "tests", 1)
        self.state_file = folder / "mock.sqlite"
        self.vims = tuple(vims)
        for vim in vims:
            file = self.state_file if vim == vims[0] else folder / f"mock-{vim}.sqlite"
            config: dict[str, Any] = {"state_file": str(file), "hosts": 2}
            if len(vims) > 1:
                core = {"network": "core", "encaps": ["VXLAN"], "mtu_bytes": 1450, "chooses": vim == vims[-1]}
                config["networks"] = [core]
            self.registry.add(VimSettings(vim, "mock", config))
        self.packages = PackageStore(self.database)
        self.orders = OrderStore(self.database)
        self.resources = ResourceStore(self.database)
        self.journal = SqlJournal(self.database)
        facts = StoredFacts(self.packages, self.orders, self.resources)
        self.granting = Granting(facts, self.registry)
        self.runner = self.new_runner(Faults())
        self.names = itertools.count()

    def new_runner(self, faults: Faults) -> Runner:
        """A manager's life."""
        return Runner(
            self.journal,
            self.registry,
            self.blobs,
            self.granting.design,
            self.resources.handles,
            clock,
            actions=faults.actions(),
            holder=self.resources,
        )

    async def onboard(self) -> None:
        """Two VNFDs: a container and a microVM."""
        sha = self.blobs.take_file(lambda part: part.write_bytes(b"an image"))
        image = SwImage("img", "1", ImageFormat.OCI_ARCHIVE, "Files/img.tar", sha, 8)
        vnfds = [vnfd("fw", Isolation.TENANT, image), vnfd("rt", Isolation.KERNEL, image)]
        for made in (*vnfds, simple_vnfd("one", image), simple_vnfd("two", image)):
            package = await self.packages.create(str(uuid.uuid4()), TENANT, "", clock())
            await self.packages.uploading(TENANT, package.id, "strict")
            await self.packages.processing(TENANT, package.id, sha)
            images = {"Files/img.tar": sha}
            await self.packages.onboarded(TENANT, package.id, made, images, (), clock())

    async def create(self, name: str = "", text: str = CHAIN) -> Operation:
        """Order a chain; nothing runs yet."""
        chain = read_chain(text.replace("NAME", name or f"chain-{next(self.names)}").encode(), "chain.yaml")
        found = await self.packages.by_vnfd(TENANT, [v.vnfd_id for v in chain.vnfs])
        instances = [
            NewInstance(
                str(uuid.uuid4()), f"{chain.name}/{v.alias}", v.alias, v.vnfd_id, found[v.vnfd_id].package.id, ""
            )
            for v in chain.vnfs
        ]
        chain_id = str(uuid.uuid4())
        subjects = {chain_id: "", **{i.id: i.alias for i in instances}}
        order = Order(str(uuid.uuid4()), TENANT, LcmOperationType.CHAIN_CREATE, chain.name, chain_id, subjects)
        return await self.orders.create_chain(order, chain, instances, clock())

    async def terminate(self, created: Operation) -> Operation:
        """Order its removal; nothing runs yet."""
        order = Order(
            str(uuid.uuid4()),
            TENANT,
            LcmOperationType.CHAIN_TERMINATE,
            created.target,
            created.target_id,
            {created.target_id: "", **{i.id: i.alias for i in await self.orders.vnfs(TENANT, created.target_id)}},
        )
        return await self.orders.order(order, clock())

    async def run(self, operation: Operation, *faults: Fault) -> Operation:
        """Drive to where it settles; a manager that dies on the way is followed by another with the faults left."""
        planted = Faults(*faults)
        self.runner = self.new_runner(planted)
        planted.cancel = partial(self._cancel, operation.id)
        self.runner.drive(operation.id)
        return await self.settled(operation, planted)

    async def _cancel(self, operation_id: str, mode: CancelMode) -> None:
        await control.cancel(self.journal, self.runner, await self.journal.load(operation_id), mode)

    async def settled(self, operation: Operation, planted: Faults) -> Operation:
        """Wait for a final state or FAILED_TEMP."""
        async with asyncio.timeout(SETTLE_S):
            while True:
                if planted.died.is_set():
                    await self.runner.close()
                    planted = Faults(*(f for f in planted.faults if not f.spent))
                    self.runner = self.new_runner(planted)
                    assert await self.runner.resume() >= 1
                now = await self.journal.load(operation.id)
                if now.state.final or now.state is LcmOperationState.FAILED_TEMP:
                    return now
                await asyncio.sleep(0.002)

    async def retry(self, operation: Operation, *faults: Fault) -> Operation:
        """The way forward."""
        return await self._control(control.retry, operation, faults)

    async def rollback(self, operation: Operation, *faults: Fault) -> Operation:
        """The way back."""
        return await self._control(control.rollback, operation, faults)

    async def _control(self, way, operation: Operation, faults: tuple[Fault, ...]) -> Operation:  # type: ignore[no-untyped-def]
        planted = Faults(*faults)
        self.runner = self.new_runner(planted)
        await way(self.journal, self.runner, await self.journal.load(operation.id), clock)
        return await self.settled(operation, planted)

    async def objects(self, chain_id: str) -> dict[str, int]:
        """What the VIMs really have of a chain: ids and how often."""
        owner = cpb.Owner(manager_id="tests", tenant=TENANT, chain_id=chain_id)
        seen: dict[str, int] = {}
        for vim in self.vims:
            channel, _ = await self.registry.get(vim).connection.channel(10)
            async for found in rpc.ResourcesStub(channel).QueryResources(pb.QueryRequest(owner=owner)):
                seen[found.handle.resource_id] = seen.get(found.handle.resource_id, 0) + 1
        return seen

    async def held(self, operation: Operation) -> int:
        """Reservations of the operation that are left."""
        await self.database.write(lambda _: None)  # what was on disk before is told to the memory before this answers
        ids = {s.allocates for s in operation.steps}
        return sum(r.resource_id in ids for r in (await self.resources.holdings()).reservations)

    async def close(self) -> None:
        """Everything away."""
        await self.runner.close()
        await self.registry.close()
        self.database.close()


def clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


@asynccontextmanager
async def world(folder: Path, vims: Sequence[str] = ("m",)) -> AsyncIterator[World]:
    """A world of its own."""
    made = World(folder, vims)
    try:
        await made.onboard()
        yield made
    finally:
        await made.close()
        shutil.rmtree(folder / "blobs", ignore_errors=True)
