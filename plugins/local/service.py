"""The plugin as the kit sees it: asynchronous at the rim, the blocking work in threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

import grpc
import structlog

from plugins.local import runtimes
from plugins.local.counts import Count
from plugins.local.health import Health
from plugins.local.images.errors import ImageRefused
from plugins.local.images.store import Draft
from plugins.local.observation import Observation
from plugins.local.parts import Parts, make_parts
from plugins.local.process import CommandFailed
from plugins.local.settings import CONFIG_SCHEMA, parse
from plugins.local.stamps import LogKeeper
from plugins.local.subject import Subject
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Plugin, Report, Stamped
from vnfm.pluginkit.problems import PluginError, not_found, not_ready

P = ParamSpec("P")
T = TypeVar("T")
ALL_RUNTIMES = (pb.RUNTIME_CONTAINER, pb.RUNTIME_KATA, pb.RUNTIME_VM)
_INVENTORY_SECONDS = 5.0
_NOTEWORTHY_BYTES = 256 << 20
_THREADS = 64
_DEFAULT_GRACE_SECONDS = 2.0
_CAPABILITIES = (
    pb.CAPABILITY_PAUSE,
    pb.CAPABILITY_STEER,
    pb.CAPABILITY_BALANCE,
    pb.CAPABILITY_JOIN_VXLAN,
    pb.CAPABILITY_JOIN_VLAN,
    pb.CAPABILITY_JOIN_FLAT,
)
log = structlog.get_logger("plugins.local")


class LocalVim:
    """All handlers; one object, since every part needs the same few things."""

    def __init__(self) -> None:
        self._parts: Parts | None = None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="work")
        self._tasks: list[asyncio.Task[None]] = []
        observation = Observation(self._thread, lambda: self._at.sampler)
        self.plugin = Plugin(
            runtimes=ALL_RUNTIMES,
            configure=self.configure,
            resources=self,
            images=self,
            compute=self,
            links=self,
            saps=self,
            paths=self,
            probe=self,
            count=self,
            join=self,
            stats=observation,
            capture=observation,
            commands=self,
            capabilities=_CAPABILITIES,
            config_schema=CONFIG_SCHEMA,
            close=self.close,
        )
        self._health: Health | None = None

    # -- life

    async def configure(self, config: Mapping[str, object], secrets: Mapping[str, str]) -> None:
        """Takes the configuration, and begins to watch what earlier processes left running."""
        settings = parse(config)
        parts = await self._thread(make_parts, settings)
        await self._end_tasks()
        self._parts = parts
        subject = Subject(parts.computes, parts.net, parts.network)
        self._health = Health(subject, parts.sampler.ports.view, self.plugin.changes.publish, self._thread)
        self._health.start()
        for stamped in await self._thread(self._all):
            await self._health.follow(stamped)
        await self._publish_inventory()
        keepers = (self._keep_inventory(), self._keep_logs_short(), self._prepare_guests())
        self._tasks = [asyncio.create_task(keeper) for keeper in keepers]

    async def close(self) -> None:
        """Lets go; what runs goes on."""
        await self._end_tasks()
        if self._parts is not None:
            await self._thread(self._parts.computes.stamps.forget_empty)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _end_tasks(self) -> None:
        if self._health is not None:
            await self._health.close()
            self._health = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _at(self) -> Parts:
        if self._parts is None:
            raise not_ready("Configure was not called: call it first, then the same call")
        return self._parts

    async def _thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a worker thread, seen to its end even when the caller leaves: no work goes on unseen."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            with suppress(Exception):
                await future
            raise

    async def _cancellable(self, work: Callable[[threading.Event], T]) -> T:
        """The same for long work, which looks at the event when the caller has left."""
        cancel = threading.Event()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work, cancel)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.set()
            with suppress(Exception):
                await future
            raise

    # -- inventory

    async def _publish_inventory(self) -> tuple[pb.Host, list[pb.Reach]]:
        at = self._at
        host, reaches = await self._thread(lambda: (at.facts.describe(at.computes.cgroups_of_all()), at.reaches()))
        await self.plugin.inventory.publish([host], reaches=reaches)
        return host, reaches

    async def _keep_inventory(self) -> None:
        last, known = await self._publish_inventory()
        while True:
            await asyncio.sleep(_INVENTORY_SECONDS)
            at = self._at
            host = await self._thread(lambda at=at: at.facts.describe(at.computes.cgroups_of_all()))  # type: ignore[misc]
            reaches = await self._thread(at.reaches)
            if noteworthy(last, host) or reaches != known:
                await self.plugin.inventory.publish([host], reaches=reaches)
                last, known = host, reaches

    async def _prepare_guests(self) -> None:
        """What is made once for all guests is made before the first one waits for it."""
        at = self._at
        if at.facts.refusal(pb.RUNTIME_KATA) == "" and not at.settings.microvm_command:
            with suppress(CommandFailed):
                await self._thread(runtimes.prepare_microvm)

    async def _keep_logs_short(self) -> None:
        keeper, pause_seconds = LogKeeper(self._at.computes.stamps), 0.0
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = await self._thread(keeper.shorten)

    # -- resources

    def _all(self) -> list[Stamped]:
        at = self._at
        return [*(at.computes.stamped(stamp) for stamp in at.computes.stamps.all()), *at.net.find_all()]

    def _find(self, resource_id: str) -> Stamped | None:
        return self._at.computes.find(resource_id) or self._at.net.find(resource_id)

    def _judged(self, stamped: Stamped) -> Stamped:
        return stamped if self._health is None else self._health.judged(stamped)

    async def _follow(self, resource_id: str) -> None:
        """What happens to it by itself, from now on, the manager hears of at once."""
        stamped = await self._thread(self._find, resource_id)
        if stamped is not None and self._health is not None:
            await self._health.follow(stamped)

    def _forget(self, resource_id: str) -> None:
        if self._health is not None:
            self._health.forget(resource_id)

    async def find(self, manager_id: str, resource_id: str) -> Stamped | None:
        """What bears this manager's stamp and this id."""
        found = await self._thread(self._find, resource_id)
        mine = found is not None and found.resource.owner.manager_id == manager_id
        return self._judged(found) if mine and found is not None else None

    async def find_all(self, manager_id: str) -> Sequence[Stamped]:
        """Everything that bears this manager's stamp."""
        every = await self._thread(self._all)
        return [self._judged(stamped) for stamped in every if stamped.resource.owner.manager_id == manager_id]

    async def terminate(self, request: pb.TerminateRequest, found: Stamped | None, report: Report) -> None:
        """Removes it, and what is left of it."""
        resource_id, at = request.handle.resource_id, self._at
        self._forget(resource_id)
        at.sampler.ports.forget(resource_id)
        if found is None or found.resource.kind == pb.KIND_COMPUTE:
            grace = _seconds(request.grace) if request.HasField("grace") else _DEFAULT_GRACE_SECONDS
            manager_id = request.owner.manager_id
            await self._thread(at.computes.terminate, resource_id, manager_id, grace, request.force)
        if found is not None and found.resource.kind != pb.KIND_COMPUTE:
            if found.resource.kind == pb.KIND_LINK:
                await self._thread(self._refuse_used_link, resource_id)
            await self._thread(at.net.terminate, resource_id, found.resource.kind)

    def _refuse_used_link(self, link_id: str) -> None:
        users = [*self._at.computes.uses_link(link_id), *self._at.net.link_in_use(link_id)]
        if users:
            raise not_ready(f"{', '.join(users[:3])} still use the link: terminate them first", instance=link_id)

    # -- images

    async def stat_image(self, sha256: str) -> int | None:
        """Its size as it was sent."""
        image = await self._thread(self._at.images.get, sha256)
        return None if image is None else image.size_bytes

    async def begin_image(self, sha256: str, image_format: str, total_bytes: int) -> _Sink:
        """A place to write it to."""
        try:
            draft = await self._thread(self._at.images.begin, sha256, image_format, total_bytes)
        except ImageRefused as refused:
            raise _refused(refused, sha256) from refused
        return _Sink(self, draft, sha256)

    async def delete_image(self, sha256: str) -> None:
        """Refused while something runs from it."""
        users = await self._thread(self._at.computes.uses_image, sha256)
        if users:
            raise not_ready(f"{len(users)} computes run from it ({', '.join(users[:3])}): terminate them first")
        await self._thread(self._at.images.delete, sha256)

    # -- compute

    async def allocate_compute(
        self, request: pb.AllocateComputeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Builds it in a thread; two a core at once."""
        at, loop = self._at, asyncio.get_running_loop()

        def tell(percent: int, message: str) -> None:
            loop.call_soon_threadsafe(report, percent, message)

        def built() -> None:  # what is left is to watch it for a moment: the next one may be built meanwhile
            loop.call_soon_threadsafe(place.close)

        self._forget(request.resource_id)
        await at.building.acquire()
        place = contextlib.ExitStack()
        place.callback(at.building.release)
        with place:
            made = await self._cancellable(lambda stop: at.computes.allocate(request, spec_digest, tell, stop, built))
        await self._follow(request.resource_id)
        return made

    async def operate_compute(self, request: pb.OperateComputeRequest, found: Stamped, report: Report) -> pb.Resource:
        """Start, stop, reboot, pause, resume."""
        at = self._at
        grace = _seconds(request.grace) if request.HasField("grace") else _DEFAULT_GRACE_SECONDS
        self._forget(request.handle.resource_id)
        try:
            return await self._cancellable(lambda stop: at.computes.operate(request, grace, stop))
        finally:
            await self._follow(request.handle.resource_id)

    # -- network

    async def allocate_link(
        self, request: pb.AllocateLinkRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """A link with its ports."""
        return await self._thread(self._at.net.allocate_link, request, spec_digest)

    async def allocate_sap(
        self, request: pb.AllocateSapRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """A chain's end."""
        made = await self._thread(self._at.net.allocate_sap, request, spec_digest)
        await self._follow(request.resource_id)
        return made

    async def allocate_path(
        self, request: pb.AllocatePathRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Steering."""
        loop = asyncio.get_running_loop()

        def tell(message: str) -> None:
            loop.call_soon_threadsafe(report, 99, message)

        return await self._thread(self._at.net.allocate_path, request, spec_digest, tell)

    async def probe_path(self, request: pb.ProbePathRequest, found: Stamped) -> pb.ProbePathResponse:
        """Packets that are counted."""
        return await self._thread(self._at.net.probe, request)

    async def join_link(self, request: pb.JoinLinkRequest, found: Stamped, report: Report) -> pb.Resource:
        """The link goes on in other VIMs."""
        return await self._thread(self._at.net.join_link, request, found.resource)

    async def begin_count(self, begin: pb.CountProbeRequest.Begin, found: Stamped) -> Count:
        """Of packets that another VIM sends."""
        return Count(self._thread, await self._thread(self._at.net.begin_count, begin))

    # -- commands

    async def exec_command(
        self, start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]
    ) -> AsyncIterator[pb.ExecOutput]:
        """Inside a compute, or in a SAP's network namespace."""
        resource_id = start.compute.resource_id
        found = await self._thread(self._find, resource_id)
        if found is None or found.resource.kind not in (pb.KIND_COMPUTE, pb.KIND_SAP):
            raise not_found("compute or SAP", resource_id)
        async for output in self._at.runner.run(start, found.resource, inputs):
            yield output


class _Sink:
    """An image on its way in, written by worker threads."""

    def __init__(self, vim: LocalVim, draft: Draft, sha256: str) -> None:
        self._vim = vim
        self._draft = draft
        self._sha256 = sha256

    async def write(self, data: bytes) -> None:
        """The next bytes."""
        await self._vim._thread(self._draft.write, data)

    async def commit(self) -> None:
        """Verified: unpack it and make it visible."""
        try:
            await self._vim._thread(self._draft.commit)
        except ImageRefused as refused:
            raise _refused(refused, self._sha256) from refused

    async def discard(self) -> None:
        """No trace."""
        await self._vim._thread(self._draft.discard)


def _refused(refused: ImageRefused, sha256: str) -> PluginError:
    return PluginError(refused.word, refused.detail, grpc.StatusCode.INVALID_ARGUMENT, instance=sha256)


def _seconds(duration: object) -> float:
    return float(getattr(duration, "seconds", 0)) + getattr(duration, "nanos", 0) / 1e9


def noteworthy(old: pb.Host, new: pb.Host) -> bool:
    """Whether a placement could be another one now; small movements of memory are not told."""
    moved = [
        abs(before.memory_used_by_others_bytes - after.memory_used_by_others_bytes)
        for before, after in zip(old.cells, new.cells, strict=False)
    ]
    moved.append(abs(old.disk_used_by_others_bytes - new.disk_used_by_others_bytes))
    same = (list(old.runtimes), len(old.cells)) == (list(new.runtimes), len(new.cells))
    return not same or max(moved) > _NOTEWORTHY_BYTES
