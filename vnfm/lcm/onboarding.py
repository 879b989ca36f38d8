"""Onboarding a package: content is here -> read, verified, normalised -> ONBOARDED or ERROR; resumed after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from vnfm.lcm.ports import Clock
from vnfm.model.package import Finding, Severity, VnfPackage
from vnfm.model.problem import Problem, ProblemError, problem
from vnfm.model.vdu import SwImage
from vnfm.model.vnfd import Vnfd

log = structlog.get_logger(__name__)


class PackageReading(Protocol):
    """What the TOSCA room gives for a package."""

    @property
    def ok(self) -> bool: ...
    @property
    def findings(self) -> Sequence[Finding]: ...
    @property
    def vnfd(self) -> Vnfd | None: ...
    def extract(self, name: str, dest: Path) -> object: ...


Reader = Callable[[Path, str], PackageReading]
"""Reads a package file under a digest policy. Blocking."""


class PackageRecords(Protocol):
    """The durable side."""

    async def onboarded(
        self,
        tenant: str,
        package_id: str,
        vnfd: Vnfd,
        images: Mapping[str, str],
        findings: Sequence[Finding],
        at: datetime,
    ) -> VnfPackage: ...

    async def failed(self, tenant: str, package_id: str, error: Problem, findings: Sequence[Finding]) -> None: ...

    async def interrupted(self) -> list[tuple[str, str, str, str, str]]: ...

    async def blobs_in_use(self) -> set[str]: ...


class BlobKeeper(Protocol):
    """The content-addressed store, as onboarding needs it."""

    def path(self, sha256: str) -> Path: ...
    def take_file(self, write: Callable[[Path], object]) -> str: ...
    def delete(self, sha256: str) -> None: ...
    def all(self) -> set[str]: ...


class Onboarding:
    """Runs at most two readings at a time: each is a process of its own."""

    def __init__(self, records: PackageRecords, blobs: BlobKeeper, reader: Reader, clock: Clock) -> None:
        self._records = records
        self._blobs = blobs
        self._reader = reader
        self._clock = clock
        self._slots = asyncio.Semaphore(2)
        # from a blob's arrival to its row, nobody may sweep it away
        self._busy = 0
        self._arrivals = 0
        self._tasks: set[asyncio.Task[VnfPackage]] = set()

    async def process(self, tenant: str, package_id: str, blob_sha256: str, policy: str) -> VnfPackage:
        """PROCESSING -> ONBOARDED. On refusal the package is in ERROR, its content is gone, and ProblemError
        `package-refused` (or what else went wrong) is raised. Goes on to its end when the caller goes away."""
        task = asyncio.create_task(self._process(tenant, package_id, blob_sha256, policy), name=f"package {package_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Leave what is being read to the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[VnfPackage]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("not onboarded", task=task.get_name(), problem=str(error))

    async def _process(self, tenant: str, package_id: str, blob_sha256: str, policy: str) -> VnfPackage:
        findings: list[Finding] = []
        try:
            with self.hold():
                return await self._onboard(tenant, package_id, blob_sha256, policy, findings)
        except ProblemError as error:
            await self._records.failed(tenant, package_id, error.problem, findings)
            raise
        except Exception as error:
            log.exception("onboarding failed unexpectedly", package=package_id)
            mistake = problem("internal", f"{type(error).__name__}: {error}", instance=package_id)
            await self._records.failed(tenant, package_id, mistake.problem, findings)
            raise mistake from error
        finally:
            await self.sweep()

    async def _onboard(
        self, tenant: str, package_id: str, blob_sha256: str, policy: str, findings: list[Finding]
    ) -> VnfPackage:
        async with self._slots:
            reading = await asyncio.to_thread(self._reader, self._blobs.path(blob_sha256), policy)
            findings += reading.findings
            if not reading.ok or reading.vnfd is None:
                raise refusal(findings, package_id)
            images = await asyncio.to_thread(self._take_images, reading, reading.vnfd)
        return await self._records.onboarded(tenant, package_id, reading.vnfd, images, findings, self._clock())

    async def fail(self, tenant: str, package_id: str, error: Problem) -> None:
        """The upload itself failed."""
        await self._records.failed(tenant, package_id, error, ())

    async def resume(self) -> None:
        """Take up what a killed manager was working on: a half upload is an error, a whole one is read again."""
        for tenant, package_id, state, blob, policy in await self._records.interrupted():
            if state == "UPLOADING" or not self._blobs.path(blob).exists():
                error = problem("upload-broken", "the upload was interrupted; upload the package again").problem
                await self._records.failed(tenant, package_id, error, ())
                continue
            with contextlib.suppress(ProblemError):  # it is on record, and in the log
                await self.process(tenant, package_id, blob, policy)
        await self.sweep()

    async def sweep(self) -> None:
        """Blobs that no package needs are taken away; while one arrives nothing is, whoever brings it sweeps later."""
        arrivals = self._arrivals
        if self._busy:
            return
        needed = await self._records.blobs_in_use()
        if self._busy or arrivals != self._arrivals:
            return
        for blob in self._blobs.all() - needed:
            self._blobs.delete(blob)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """While an upload runs, nothing is swept."""
        self._busy += 1
        self._arrivals += 1
        try:
            yield
        finally:
            self._busy -= 1

    def _take_images(self, reading: PackageReading, vnfd: Vnfd) -> dict[str, str]:
        images: dict[str, str] = {}
        for image in images_of(vnfd):
            if image.sha256 and image.path not in images:
                images[image.path] = self._blobs.take_file(partial(reading.extract, image.path))
        return images


def images_of(vnfd: Vnfd) -> list[SwImage]:
    """Every image that lies in the package."""
    found = []
    for flavour in vnfd.flavours:
        for vdu in flavour.vdus:
            found += [c.image for c in (*vdu.init_containers, *vdu.containers) if c.image]
            found += [vdu.disk_image] if vdu.disk_image else []
        found += [s.image for s in flavour.storages if s.image]
    return [i for i in found if i.format != "reference"]


def refusal(findings: Sequence[Finding], package_id: str) -> ProblemError:
    """The first error is the headline; the others are counted."""
    errors = [f for f in findings if f.severity is Severity.ERROR]
    if not errors:
        return problem("package-refused", "the package has no usable VNFD", instance=package_id)
    first = errors[0]
    where = f"{first.file}:{first.line}: " if first.line else f"{first.file}: " if first.file else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    hint = f"; {first.hint}" if first.hint else ""
    return problem("package-refused", f"{where}{first.message}{hint} [{first.code}]{more}", instance=package_id)
