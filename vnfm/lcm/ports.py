"""What the core asks of the world. Adapters satisfy these structurally; the composition root proves it to mypy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from vnfm.model.resources import (
    CaptureOrder,
    ComputeSpec,
    Handle,
    Licence,
    LinkEnd,
    LinkSpec,
    Owner,
    PathSpec,
    ProbeResult,
    Reach,
    Resource,
    SapSpec,
    StatsSample,
)
from vnfm.placement.inventory import FabricEdge, Host, ZoneLatency

Say = Callable[[str], None]
"""Takes a plugin's latest word on a call that is running."""


class Counting(Protocol):
    """A count that has begun."""

    async def counts(self, first_sequence: int, packets: int, trace: bool) -> ProbeResult:
        """What was seen of those packets; asked once, last."""
        ...


class Vim(Protocol):
    """One VIM. Every method raises ProblemError; every allocate is idempotent by its resource id."""

    async def put_image(self, sha256: str, image_format: str, blob: Path, say: Say) -> None:
        """Make the image present on the VIM; nothing is sent where it is there already."""
        ...

    async def allocate_link(self, spec: LinkSpec, owner: Owner, say: Say) -> Resource: ...

    async def join_link(self, link: Handle, ends: Sequence[LinkEnd], owner: Owner, say: Say) -> Resource:
        """Have the link go on in other VIMs, whose ends these are; all have one segment."""
        ...

    async def allocate_sap(self, spec: SapSpec, owner: Owner, handles: Mapping[str, Handle], say: Say) -> Resource: ...

    async def allocate_compute(
        self, spec: ComputeSpec, owner: Owner, handles: Mapping[str, Handle], say: Say
    ) -> Resource: ...

    async def allocate_path(
        self, spec: PathSpec, owner: Owner, handles: Mapping[str, Handle], say: Say
    ) -> Resource: ...

    async def probe_path(
        self,
        path: Handle,
        owner: Owner,
        packets: int,
        patience_s: float,
        trace: bool = False,
        token: bytes = b"",
        destination: str = "",
    ) -> ProbeResult:
        """`destination` and a token are for a path that goes on in other VIMs."""
        ...

    def count_probe(self, path: Handle, owner: Owner, token: bytes) -> AbstractAsyncContextManager[Counting]:
        """Count the packets of a probe that another VIM sends; while it is entered nothing is missed. Raises
        ProblemError `not-offered`."""
        ...

    async def query_resources(self, resource_ids: Sequence[str]) -> tuple[Resource, ...]:
        """Those of ours that are there."""
        ...

    def watch_resources(self) -> AsyncGenerator[Resource | None, None]:
        """Every compute of ours, then None, then each change as it happens, until the VIM is lost. What is no compute
        may come as well."""
        ...

    def watch_stats(
        self, owner: Owner, resource_ids: Sequence[str], interval_ms: int, count: int
    ) -> AsyncGenerator[StatsSample, None]: ...

    def capture(self, at: Handle, owner: Owner, order: CaptureOrder) -> AsyncGenerator[bytes, None]: ...

    async def terminate(self, handle: Handle, owner: Owner, say: Say, grace_s: float = 0.0) -> None:
        """Success also where nothing of that id is there."""
        ...


@dataclass(frozen=True, slots=True)
class JoinedInventory:
    """The hosts of all VIMs and the networks between; `absent` says which VIMs could not be asked, and why.
    `capabilities` are what each VIM's plugin offers besides the obligatory, such as STEER; a VIM that is not among them
    has not said."""

    version: int
    hosts: tuple[Host, ...]
    latencies: tuple[ZoneLatency, ...] = ()
    fabric: tuple[FabricEdge, ...] = ()
    licences: tuple[Licence, ...] = ()
    reaches: tuple[Reach, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Vims(Protocol):
    """All VIMs of this manager."""

    def get(self, name: str) -> Vim:
        """Raises ProblemError `vim-unknown`."""
        ...

    async def inventory(self) -> JoinedInventory:
        """What all VIMs have. Waits a while for those that are starting; those that stay away are left out."""
        ...


class Blobs(Protocol):
    """Content-addressed files."""

    def path(self, sha256: str) -> Path: ...


Clock = Callable[[], datetime]
"""Now, with a time zone."""
