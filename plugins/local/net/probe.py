"""Probe packets along a path: really sent from the first hop's namespace, really counted at every hop."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from plugins.local.net import capture, naming, netns
from plugins.local.net.capture import Captured
from plugins.local.net.courses import find_port
from plugins.local.net.errors import HostRefusedError, InvalidSpecError, NotThereError
from plugins.local.net.flavours import Flavour
from plugins.local.net.plan import LinkPlan
from plugins.local.net.probeplan import ProbePlan, Unsupported, plan_probe
from plugins.local.net.responder import Responder, responder_of
from plugins.local.net.specs import Hop, PathSpec, ProbeResult, Replica
from plugins.local.net.tally import Pass, Sighting, course, is_whole, journeys, result

GAP_SECONDS = 0.001
GRACE_SECONDS = 1.0
SCOUT_SECONDS = 0.25
PACKETS_MAX = 10_000
TOKEN_BYTES = capture.TOKEN_BYTES


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent: packets that bear the token, to `destination` where the path's last hop is an edge."""

    packets: int
    patience_seconds: float
    token: bytes
    destination: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A device where packets of a hop are seen. Beside a VM (`mirrored`) what goes out of the device enters the VM."""

    namespace: str
    interface: str
    mirrored: bool


@dataclass(frozen=True, slots=True)
class At:
    """Whom a point belongs to: the hop's index, the instance there, its connection point."""

    hop: int
    resource_id: str
    cp_id: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is expected at a point: (is it a reply, does it leave the hop) -> whose it is."""

    point: Point
    expected: dict[tuple[bool, bool], At] = field(default_factory=dict)


def point_of(hop: Hop, instance: Replica, cp_id: str, plans: Sequence[LinkPlan]) -> Point:
    """Where a hop's connection point is seen; NotThereError where it is on no link."""
    found = find_port(plans, instance.resource_id, cp_id)
    if instance.kind.has_namespace:
        interface = found[1].interface if found else naming.interface_name(cp_id)
        return Point(naming.namespace_name(instance.resource_id), interface, mirrored=False)
    if found is None:
        raise NotThereError(f"hop {hop.name}: {instance.resource_id}/{cp_id} is on no link: allocate its link first")
    return Point(found[0].carrier, found[1].far, mirrored=True)


def watches(path: PathSpec, plans: Sequence[LinkPlan]) -> list[Watch]:
    """All points of a path, each once, with what is expected there."""
    by_point: dict[Point, Watch] = {}

    def expect(hop: Hop, cp_id: str, index: int, passes: tuple[Pass, ...]) -> None:
        for instance in hop.instances:
            point = point_of(hop, instance, cp_id, plans)
            watch = by_point.setdefault(point, Watch(point))
            watch.expected.update({passing.value: At(index, instance.resource_id, cp_id) for passing in passes})

    last = len(path.hops) - 1
    for index, hop in enumerate(path.hops):
        if hop.kind.is_edge:
            continue
        if index > 0:
            expect(hop, hop.ingress_cp, index, (Pass.REQUEST_IN, Pass.REPLY_OUT))
        if index < last:
            expect(hop, hop.egress_cp, index, (Pass.REQUEST_OUT, Pass.REPLY_IN))
    return list(by_point.values())


def edges_of(path: PathSpec) -> frozenset[int]:
    """The hops at which nothing can be seen, by index."""
    return frozenset(index for index, hop in enumerate(path.hops) if hop.kind.is_edge)


def _sender(plan: ProbePlan) -> socket.socket:
    """It only sends: replies are seen by the captures, so the kernel queues none here."""
    family = socket.AF_INET if plan.flavour.version == 4 else socket.AF_INET6
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    opened = socket.socket(family, kind, plan.flavour.protocol)
    try:
        capture.attach_filter(opened, capture.NOTHING)
        if plan.dscp:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, plan.dscp << 2)
        opened.bind((str(plan.source), 0))
    except OSError:
        opened.close()
        raise
    return opened


def open_watches(found: Sequence[Watch], flavour: Flavour) -> list[tuple[socket.socket, Watch]]:
    """A capture for each point, one visit a namespace."""
    program = flavour.program()
    by_namespace: dict[str, list[Watch]] = {}
    for watch in found:
        by_namespace.setdefault(watch.point.namespace, []).append(watch)
    opened: list[tuple[socket.socket, Watch]] = []

    def open_here(here: Sequence[Watch]) -> None:
        for watch in here:
            try:
                opened.append((capture.open_capture(watch.point.interface, program), watch))
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


def sighting(flavour: Flavour, caught: Captured, watch: Watch) -> Sighting | None:
    """What a caught packet says; None for one that is not looked for there."""
    read = flavour.read(caught.packet)
    if read is None:
        return None
    is_reply, sequence = read
    leaves_hop = caught.outgoing != watch.point.mirrored
    at = watch.expected.get((is_reply, leaves_hop))
    if at is None:
        return None
    return Sighting(at.hop, Pass((is_reply, leaves_hop)), sequence, caught.time_ns, at.resource_id, at.cp_id)


class Prober:
    """Sends rounds of packets and gathers what is seen of them."""

    def __init__(
        self,
        sender: socket.socket,
        sources: Sequence[tuple[socket.socket, Watch]],
        plan: ProbePlan,
        path: PathSpec,
        responder: Responder | None = None,
    ) -> None:
        self._sender = sender
        self._plan = plan
        self._course = course(len(path.hops), edges_of(path))
        self._last = len(path.hops) - 1
        self._responder = responder
        self._sequence = 0
        self.first_sequence = 0  # of the last round
        self._sightings: list[Sighting] = []
        self._selector = selectors.DefaultSelector()
        for source, watch in sources:
            self._selector.register(source, selectors.EVENT_READ, watch)
        if responder is not None and responder.listening is not None:
            self._selector.register(responder.listening, selectors.EVENT_READ)

    def close(self) -> None:
        """Let go of the selector; the sockets are their opener's."""
        self._selector.close()

    def round(self, packets: int, grace_seconds: float) -> list[Sighting]:
        """Send so many packets and gather until all came back or the grace after the last one is over."""
        first = self.first_sequence = self._sequence
        self._sightings = []
        for sent in range(1, packets + 1):
            self._send()
            self._gather(time.monotonic() + GAP_SECONDS, first)
            if self._plan.one_at_a_time:
                self._wait(time.monotonic() + grace_seconds, first, sent)
        self._wait(time.monotonic() + grace_seconds, first, packets)
        return self._sightings

    def _wait(self, deadline: float, first: int, packets: int) -> None:
        while time.monotonic() < deadline and not self._is_over(packets):
            self._gather(min(deadline, time.monotonic() + 0.01), first)

    def _send(self) -> None:
        message = self._plan.flavour.request(self._sequence)
        self._sequence += 1
        try:
            self._sender.sendto(message, (str(self._plan.destination), 0))
        except OSError:
            return  # no route, or refused by the first hop's own rules: not seen leaving, so not counted as sent

    def _gather(self, until: float, first: int) -> None:
        while (left := until - time.monotonic()) > 0:
            for key, _events in self._selector.select(left):
                if key.data is None:
                    assert self._responder is not None
                    self._responder.answer_all()
                else:
                    self._drain(key.fileobj, key.data, first)  # type: ignore[arg-type]

    def _drain(self, source: socket.socket, watch: Watch, first: int) -> None:
        while True:
            try:
                caught = capture.read_capture(source)
            except OSError:
                return  # the device went away under the probe: the round will miss what it should have seen
            if caught is None:
                return
            self._note(caught, watch, first)

    def _note(self, caught: Captured, watch: Watch, first: int) -> None:
        seen = sighting(self._plan.flavour, caught, watch)
        if seen is None or not first <= seen.sequence < self._sequence:
            return
        self._sightings.append(seen)
        if self._responder is not None and seen.hop == self._last and seen.passing is Pass.REQUEST_IN:
            self._responder.answer_packet(caught.packet)

    def _is_over(self, packets: int) -> bool:
        found = journeys(self._sightings)
        return len(found) == packets and all(is_whole(journey, self._course) for journey in found.values())


@contextmanager
def _prober(path: PathSpec, plans: Sequence[LinkPlan], plan: ProbePlan) -> Iterator[Prober]:
    near, far = (naming.namespace_name(path.hops[at].resource_id) for at in (0, -1))
    sources = open_watches(watches(path, plans), plan.flavour)
    try:
        with netns.inside(near, lambda: _sender(plan)) as sender, responder_of(far, plan) as responder:
            prober = Prober(sender, sources, plan, path, responder)
            try:
                yield prober
            finally:
                prober.close()
    finally:
        capture.close_all([source for source, _watch in sources])


def run(path: PathSpec, plans: Sequence[LinkPlan], order: Order) -> ProbeResult:
    """Rounds of packets until one is complete or the patience is over; the last round's counts.

    While nothing comes back (guests boot) single scouts go ahead of a round. The last round may outlast the patience
    by its own length. `unsupported` says why no proof is possible.
    """
    packets = order.packets
    if not 1 <= packets <= PACKETS_MAX:
        raise InvalidSpecError(f"packets: expected 1-{PACKETS_MAX}, got {packets}")
    names = [hop.name for hop in path.hops]
    deadline = time.monotonic() + order.patience_seconds
    try:
        plan = plan_probe(path, packets, order.token, order.destination)
        with _prober(path, plans, plan) as prober:
            while True:
                _scout(prober, deadline)
                found = result(names, packets, prober.round(packets, GRACE_SECONDS), edges_of(path))
                found = replace(found, first_sequence=prober.first_sequence)
                if found.complete or time.monotonic() >= deadline:
                    return found
    except Unsupported as reason:
        return ProbeResult((), complete=False, unsupported=str(reason))
    except OSError as error:
        raise HostRefusedError(f"path {path.id} cannot be probed: {error.strerror}") from error


def _scout(prober: Prober, deadline: float) -> None:
    """Send single packets until one comes back or the deadline is over."""
    while time.monotonic() < deadline:
        seen = prober.round(1, SCOUT_SECONDS)
        if any(sighting.hop == 0 and sighting.passing is Pass.REPLY_IN for sighting in seen):
            return
