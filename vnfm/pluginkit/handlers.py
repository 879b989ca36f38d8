"""What a plugin's author writes: small async handlers, grouped by what a VIM can do.

One object may be all the parts or each may be its own; nothing is found by name, a Plugin lists its parts. A part
that is left out is a capability that is not offered, and the kit answers UNIMPLEMENTED for it.

Before a handler is called the kit has checked the request's fields, the fence and the capabilities, has joined equal
calls in flight, has refused an id that is taken by another spec, and has answered at once where a usable object is
there already. So `found` in an allocate handler is None (nothing there), a half-built or failed object (go on from
there, or clear it away and build anew), or for a path the one to be replaced. Calls about one resource_id never run
at the same time; those about different ones do.

A handler may be cancelled at any await (the last caller left, Terminate came in, the plugin stops). What it has
built by then must bear the stamp, so that it is found again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.publish import InventoryPublisher, ResourcePublisher

Report = Callable[[int, str], None]
"""`report(percent, message)`: progress of a long call, sent to everyone who waits for it."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A native object as its stamp describes it.

    `resource.owner` is the owner as stamped (all six fields), `resource.state` what the object is now; RUNNING and
    STOPPED count as usable, all else as half-built. `spec_digest` is what the allocate handler was given;
    `generation` only matters for paths, `members` only for links: the resource_ids that AllocateLink named. Where it is
    empty anything may join; else the kit refuses further members unless CAPABILITY_STEER is offered.
    """

    resource: pb.Resource
    spec_digest: str
    generation: int = 0
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame as it crossed a port: nanoseconds since the epoch, the bytes from the Ethernet header on, and how long
    it was where `data` does not hold all of it (0: it does)."""

    at_ns: int
    data: bytes
    wire_bytes: int = 0


class ResourcePart(Protocol):
    """Finding and removing: every plugin."""

    async def find(self, manager_id: str, resource_id: str) -> Stamped | None:
        """The object that bears this manager's stamp and this id, half-built ones included; None where there is none.

        Native objects without the stamp are not seen, whatever their names.
        """
        ...

    async def find_all(self, manager_id: str) -> Sequence[Stamped]:
        """Everything that bears this manager's stamp."""
        ...

    async def terminate(self, request: pb.TerminateRequest, found: Stamped | None, report: Report) -> None:
        """Remove it, and whatever is left of it where `found` is None; nothing there is success.

        `request.grace` bounds how long it may take to stop by itself, `request.force` says not to ask.
        Raises `timed_out` where the object resists, `not_ready` where something still uses it.
        """
        ...


class ImageSink(Protocol):
    """Where one image is being written to; the kit counts and verifies."""

    async def write(self, data: bytes) -> None:
        """The next bytes, in order."""
        ...

    async def commit(self) -> None:
        """All is there and the digest matches: make it visible under its sha256, atomically."""
        ...

    async def discard(self) -> None:
        """It came to nothing (also after a failed commit): leave no trace."""
        ...


class ImagePart(Protocol):
    """Images by the SHA-256 of their bytes: every plugin."""

    async def stat_image(self, sha256: str) -> int | None:
        """Its size in bytes; None where it is not there."""
        ...

    async def begin_image(self, sha256: str, image_format: str, total_bytes: int) -> ImageSink:
        """Make ready for an image that is not there yet."""
        ...

    async def delete_image(self, sha256: str) -> None:
        """Success where it is not there; raises `not_ready` while something runs from it."""
        ...


class ComputePart(Protocol):
    """Compute: every plugin."""

    async def allocate_compute(
        self, request: pb.AllocateComputeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Build and start it; returns once it runs."""
        ...

    async def operate_compute(self, request: pb.OperateComputeRequest, found: Stamped, report: Report) -> pb.Resource:
        """Start, stop, reboot (and pause, resume with CAPABILITY_PAUSE); what it already is, is success."""
        ...


class LinkPart(Protocol):
    """Virtual links: every plugin."""

    async def allocate_link(
        self, request: pb.AllocateLinkRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Make the link; `link_end` in the result says how another VIM can join."""
        ...


class JoinPart(Protocol):
    """Links over several VIMs; name CAPABILITY_JOIN_VXLAN, _VLAN or _FLAT in Plugin.capabilities.

    A link that is to be joined is allocated with a segment; what AllocateLink answers then has a `link_end`. The
    networks by which links can be joined stand in the inventory (`reaches`).
    """

    async def join_link(self, request: pb.JoinLinkRequest, found: Stamped, report: Report) -> pb.Resource:
        """Extend the link to exactly these ends, by their segment; also called where it is joined with them already."""
        ...


class SapPart(Protocol):
    """Service access points: CAPABILITY_SAP."""

    async def allocate_sap(
        self, request: pb.AllocateSapRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Make the end of a chain, with its address."""
        ...


class PathPart(Protocol):
    """Steering: CAPABILITY_PATH.

    A path's match and further members of a link come only where CAPABILITY_STEER is offered, replicas only with
    CAPABILITY_BALANCE. Without STEER, other hops for a path that is there are yours to refuse (`unimplemented`).
    """

    async def allocate_path(
        self, request: pb.AllocatePathRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Steer along the hops; where `found` is a path, replace it in one atomic switch."""
        ...


class ProbePart(Protocol):
    """Proof that packets cross: CAPABILITY_PROBE."""

    async def probe_path(self, request: pb.ProbePathRequest, found: Stamped) -> pb.ProbePathResponse:
        """Send packets from the first SAP, such as the path's match picks, and count them at every hop.

        `request.trace` asks for passings, too; the kit puts them in order of time.
        """
        ...


class Counting(Protocol):
    """A count that has begun: nothing is missed any more."""

    async def counts(self, end: pb.CountProbeRequest.End) -> pb.ProbePathResponse:
        """What was seen of those packets, at every hop; they may just be arriving."""
        ...

    async def close(self) -> None:
        """Let go; called once, whatever happened."""
        ...


class CountPart(Protocol):
    """Counting the packets of a probe that another VIM sends along a path through several: CAPABILITY_COUNT."""

    async def begin_count(self, begin: pb.CountProbeRequest.Begin, found: Stamped) -> Counting:
        """Look for packets with this token at the hops of a piece of a path."""
        ...


class StatsPart(Protocol):
    """Counters: CAPABILITY_STATS."""

    async def read_stats(self, objects: Sequence[Stamped]) -> pb.StatsSample:
        """One sample of these computes, SAPs and paths, and of nothing else; the kit asks again every interval.

        What cannot be read now (it is stopped, or just went away) is left out. Counters only rise while the object
        lives. `at` is the kit's where it is left empty.
        """
        ...


class CapturePart(Protocol):
    """Packets at a port: CAPABILITY_CAPTURE."""

    def capture_packets(self, request: pb.CaptureRequest, found: Stamped) -> AsyncGenerator[Sequence[Packet], None]:
        """An async generator of what crosses port `request.cp_id` of `found`, a compute or SAP, in both directions.

        The first batch, which may be empty, says that from now on nothing is missed: the caller may send. Then a batch
        at least every second while packets come. The kit writes the pcap file and keeps all bounds (packets, bytes,
        snap, duration); it closes the generator when one is reached or the caller has left, so let go of what you hold
        in a `finally`. Return when the port goes away. `snap_bytes` and `max_packets` are only of use to spare work.
        Raises `not_found` where there is no such port; an empty cp_id means the only one, and is `invalid` where there
        are several.
        """
        ...


class PortPart(Protocol):
    """Ports of a running compute: CAPABILITY_PORT_HOTPLUG."""

    async def attach_port(self, request: pb.AttachPortRequest, found: Stamped, report: Report) -> pb.Resource:
        """Attach, or detach, the port; what it already is, is success."""
        ...


class ExecPart(Protocol):
    """Commands inside a compute: CAPABILITY_EXEC."""

    def exec_command(self, start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]) -> AsyncIterator[pb.ExecOutput]:
        """An async generator; `start` carries the command, `inputs` what follows it. Its last item has `exited`.

        The call names no owner, so the compute is looked for by its resource_id alone among all stamped objects;
        raises `not_found` where it is not there.
        """
        ...


class VolumePart(Protocol):
    """Volumes: CAPABILITY_VOLUME."""

    async def allocate_volume(
        self, request: pb.AllocateVolumeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Make the volume, from an image where one is named."""
        ...


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Plugin:
    """All that a plugin is. The optional parts decide which capabilities Handshake offers.

    `capabilities` adds those that are no part of their own: PAUSE, SRIOV, CPU_PINNING, HUGEPAGES, JOIN_VXLAN,
    JOIN_VLAN, JOIN_FLAT, OPEN_WORKER, STEER, BALANCE. `configure` gets the configuration (numbers without a fraction as
    int), already checked against `config_schema` (JSON Schema), and the secrets; it raises `invalid` where it has no
    sense, and publishes the first inventory. It may be called again. `close` runs when the plugin stops; what was
    realized stays. `many_calls` lets callers put many calls into one stream (CAPABILITY_CALLS); handlers see no
    difference.
    """

    runtimes: Sequence[pb.Runtime.ValueType]
    configure: Callable[[Mapping[str, object], Mapping[str, str]], Awaitable[None]]
    resources: ResourcePart
    images: ImagePart
    compute: ComputePart
    links: LinkPart
    join: JoinPart | None = None
    saps: SapPart | None = None
    paths: PathPart | None = None
    probe: ProbePart | None = None
    count: CountPart | None = None
    stats: StatsPart | None = None
    capture: CapturePart | None = None
    ports: PortPart | None = None
    commands: ExecPart | None = None
    volumes: VolumePart | None = None
    capabilities: Sequence[pb.Capability.ValueType] = ()
    config_schema: Mapping[str, object] = field(default_factory=lambda: {"type": "object"})
    inventory: InventoryPublisher = field(default_factory=InventoryPublisher)
    changes: ResourcePublisher = field(default_factory=ResourcePublisher)
    close: Callable[[], Awaitable[None]] = _nothing
    many_calls: bool = True

    def offered(self) -> frozenset[pb.Capability.ValueType]:
        """The capabilities, from the parts that are there."""
        parts: tuple[tuple[object | None, pb.Capability.ValueType], ...] = (
            (self.saps, pb.CAPABILITY_SAP),
            (self.paths, pb.CAPABILITY_PATH),
            (self.probe, pb.CAPABILITY_PROBE),
            (self.count, pb.CAPABILITY_COUNT),
            (self.stats, pb.CAPABILITY_STATS),
            (self.capture, pb.CAPABILITY_CAPTURE),
            (self.ports, pb.CAPABILITY_PORT_HOTPLUG),
            (self.commands, pb.CAPABILITY_EXEC),
            (self.volumes, pb.CAPABILITY_VOLUME),
            (self.many_calls or None, pb.CAPABILITY_CALLS),
        )
        return frozenset({pb.CAPABILITY_LINK, *self.capabilities, *(word for part, word in parts if part is not None)})
