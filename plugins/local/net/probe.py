"""Probe packets along a path: really sent from the first hop's namespace, really counted at every hop."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from plugins.local.net import capture, naming, netns, ports
from plugins.local.net.errors import HostRefusedError, InvalidSpecError, NotThereError
from plugins.local.net.plan import LinkPlan
from plugins.local.net.rtnl import Address
from plugins.local.net.specs import Hop, PathSpec, ProbeResult
from plugins.local.net.steering import find_port
from plugins.local.net.tally import Pass, Sighting, course, is_whole, journeys, result

GAP_SECONDS = 0.001
GRACE_SECONDS = 1.0
SCOUT_SECONDS = 0.25
PACKETS_MAX = 10_000
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1


@dataclass(frozen=True, slots=True)
class Point:
    """A device where packets of a hop are seen. Beside a VM (`mirrored`) what goes out of the device enters the VM."""

    namespace: str
    interface: str
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """What is expected at a point: (is it a reply, does it leave the hop) -> the hop's index."""

    point: Point
    expected: dict[tuple[bool, bool], int] = field(default_factory=dict)


def point_of(hop: Hop, cp_id: str, plans: Sequence[LinkPlan]) -> Point:
    """Where a hop's connection point is seen; NotThereError where it is on no link."""
    found = find_port(plans, hop.resource_id, cp_id)
    if hop.kind.has_namespace:
        interface = found[1].interface if found else naming.interface_name(cp_id)
        return Point(naming.namespace_name(hop.resource_id), interface, mirrored=False)
    if found is None:
        raise NotThereError(f"hop {hop.name}: {hop.resource_id}/{cp_id} is on no link: allocate its link first")
    return Point(found[0].carrier, found[1].far, mirrored=True)


def watches(path: PathSpec, plans: Sequence[LinkPlan]) -> list[Watch]:
    """All points of a path, each once, with what is expected there."""
    by_point: dict[Point, Watch] = {}

    def expect(hop: Hop, cp_id: str, index: int, passes: tuple[Pass, ...]) -> None:
        point = point_of(hop, cp_id, plans)
        watch = by_point.setdefault(point, Watch(point))
        watch.expected.update({passing.value: index for passing in passes})

    last = len(path.hops) - 1
    for index, hop in enumerate(path.hops):
        if index > 0:
            expect(hop, hop.ingress_cp, index, (Pass.REQUEST_IN, Pass.REPLY_OUT))
        if index < last:
            expect(hop, hop.egress_cp, index, (Pass.REQUEST_OUT, Pass.REPLY_IN))
    return list(by_point.values())


def _sender(version: int) -> socket.socket:
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    # It only sends: replies are seen by the captures, so let the kernel queue none here.
    if version == 4:
        opened.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF))
    else:
        opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, b"\xff" * 32)
    return opened


def _open_watches(found: Sequence[Watch], version: int, token: bytes) -> list[tuple[socket.socket, Watch]]:
    """A capture for each point, one visit a namespace."""
    by_namespace: dict[str, list[Watch]] = {}
    for watch in found:
        by_namespace.setdefault(watch.point.namespace, []).append(watch)
    opened: list[tuple[socket.socket, Watch]] = []

    def open_here(here: Sequence[Watch]) -> None:
        for watch in here:
            try:
                opened.append((capture.open_capture(watch.point.interface, version, token), watch))
            except OSError as error:
                where = f"{watch.point.namespace}/{watch.point.interface}"
                raise NotThereError(
                    f"port {where} cannot be watched: {error.strerror}; is its compute there?"
                ) from error

    try:
        for namespace, here in by_namespace.items():
            netns.inside(namespace, lambda here=here: open_here(here))  # type: ignore[misc]
    except BaseException:
        capture.close_all([source for source, _watch in opened])
        raise
    return opened


class Prober:
    """Sends rounds of packets and gathers what is seen of them."""

    def __init__(
        self,
        sender: socket.socket,
        sources: Sequence[tuple[socket.socket, Watch]],
        destination: Address,
        token: bytes,
        hops: int,
    ) -> None:
        self._sender = sender
        self._destination = destination
        self._token = token
        self._course = course(hops)
        self._sequence = 0
        self._sightings: list[Sighting] = []
        self._selector = selectors.DefaultSelector()
        for source, watch in sources:
            self._selector.register(source, selectors.EVENT_READ, watch)

    def close(self) -> None:
        """Let go of the selector; the sockets are their opener's."""
        self._selector.close()

    def round(self, packets: int, grace_seconds: float) -> list[Sighting]:
        """Send so many packets and gather until all came back or the grace after the last one is over."""
        first = self._sequence
        self._sightings = []
        for _ in range(packets):
            self._send()
            self._gather(time.monotonic() + GAP_SECONDS, first)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and not self._is_over(packets):
            self._gather(min(deadline, time.monotonic() + 0.01), first)
        return self._sightings

    def _send(self) -> None:
        message = capture.echo_request(self._destination.version, self._token, self._sequence)
        self._sequence += 1
        try:
            self._sender.sendto(message, (str(self._destination), 0))
        except OSError:
            return  # no route, or refused by the first hop's own rules: not seen leaving, so not counted as sent

    def _gather(self, until: float, first: int) -> None:
        while (left := until - time.monotonic()) > 0:
            for key, _events in self._selector.select(left):
                self._drain(key.fileobj, key.data, first)  # type: ignore[arg-type]

    def _drain(self, source: socket.socket, watch: Watch, first: int) -> None:
        while True:
            try:
                caught = capture.read_capture(source, self._destination.version)
            except OSError:
                return  # the device went away under the probe: the round will miss what it should have seen
            if caught is None:
                return
            leaves_hop = caught.outgoing != watch.point.mirrored
            hop = watch.expected.get((caught.is_reply, leaves_hop))
            if hop is not None and caught.sequence >= first:
                passing = Pass((caught.is_reply, leaves_hop))
                self._sightings.append(Sighting(hop, passing, caught.sequence, caught.time_ns))

    def _is_over(self, packets: int) -> bool:
        found = journeys(self._sightings)
        return len(found) == packets and all(is_whole(journey, self._course) for journey in found.values())


def _destination(path: PathSpec) -> Address | None:
    """The last hop's address on its ingress, IPv4 before IPv6."""
    last = path.hops[-1]
    found = ports.addresses_of(naming.namespace_name(last.resource_id), naming.interface_name(last.ingress_cp))
    return min((interface.ip for interface in found), key=lambda address: address.version, default=None)


@contextmanager
def _prober(path: PathSpec, plans: Sequence[LinkPlan], destination: Address, token: bytes) -> Iterator[Prober]:
    version = destination.version
    sources = _open_watches(watches(path, plans), version, token)
    try:
        with netns.inside(naming.namespace_name(path.hops[0].resource_id), lambda: _sender(version)) as sender:
            prober = Prober(sender, sources, destination, token, len(path.hops))
            try:
                yield prober
            finally:
                prober.close()
    finally:
        capture.close_all([source for source, _watch in sources])


def run(
    path: PathSpec,
    plans: Sequence[LinkPlan],
    packets: int,
    patience_seconds: float,
    random_bytes: Callable[[int], bytes],
) -> ProbeResult:
    """Rounds of `packets` until one is complete or the patience is over; the last round's counts.

    While nothing comes back (guests boot) single scouts go ahead of a round. The last round may outlast the patience
    by its own length. `unsupported` says why no proof is possible.
    """
    if not 1 <= packets <= PACKETS_MAX:
        raise InvalidSpecError(f"packets: expected 1-{PACKETS_MAX}, got {packets}")
    names = [hop.name for hop in path.hops]
    for hop in (path.hops[0], path.hops[-1]):
        if not hop.kind.has_namespace:
            return ProbeResult(
                (), complete=False, unsupported=f"{hop.name} is a {hop.kind}: only a SAP can send and answer"
            )
    destination = _destination(path)
    if destination is None:
        return ProbeResult((), complete=False, unsupported=f"{names[-1]} has no address to send to")
    deadline = time.monotonic() + patience_seconds
    try:
        with _prober(path, plans, destination, random_bytes(capture.TOKEN_BYTES)) as prober:
            while True:
                _scout(prober, deadline)
                found = result(names, packets, prober.round(packets, GRACE_SECONDS))
                if found.complete or time.monotonic() >= deadline:
                    return found
    except OSError as error:
        raise HostRefusedError(f"path {path.id} cannot be probed: {error.strerror}") from error


def _scout(prober: Prober, deadline: float) -> None:
    """Send single packets until one comes back or the deadline is over."""
    while time.monotonic() < deadline:
        seen = prober.round(1, SCOUT_SECONDS)
        if any(sighting.hop == 0 and sighting.passing is Pass.REPLY_IN for sighting in seen):
            return
