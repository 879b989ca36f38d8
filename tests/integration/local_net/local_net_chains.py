"""Builders of small chains, a stand-in for a guest, and a pinger, for the tests beside."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from plugins.local.net import (
    Hop,
    HostNetwork,
    LinkSpec,
    Member,
    MemberKind,
    PathSpec,
    PortSpec,
    ResourceKind,
    Route,
    capture,
    naming,
    netns,
)


@dataclass
class Ids:
    """Ids with a part of their own, and the namespaces that they can stand for."""

    unique: str
    given: set[str] = field(default_factory=set)

    def __call__(self, name: str) -> str:
        made = f"{name}-{self.unique}"
        self.given.add(made)
        return made

    def namespaces_left(self) -> list[str]:
        """Namespaces of any id handed out that are still there."""
        makers = (naming.namespace_name, naming.fabric_name, naming.bridge_namespace_name)
        return [make(one) for one in self.given for make in makers if netns.path(make(one)).exists()]


def terminate_all(network: HostNetwork) -> None:
    """Terminate whatever is stamped, paths first."""
    for kind in (ResourceKind.PATH, ResourceKind.LINK, ResourceKind.NAMESPACE):
        for found in network.query():
            if found.kind is kind:
                network.terminate(found.id, kind)


def sysctl(resource_id: str, key: str, value: str) -> None:
    """What a VNF sets for itself in its namespace."""
    netns.inside(naming.namespace_name(resource_id), lambda: netns.write_sysctl(key, value))


def run(resource_id: str, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program in a resource's namespace."""
    return netns.inside(
        naming.namespace_name(resource_id),
        lambda: subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False),
    )


def ping(resource_id: str, address: str, count: int = 3) -> int:
    """How many of so many pings came back."""
    answer = run(resource_id, "ping", "-n", "-q", "-c", str(count), "-i", "0.01", "-W", "1", address)
    return int(answer.stdout.split(" received")[0].rsplit(" ", 1)[-1])


class SteadyPinger:
    """Sends an echo request every 2 ms, whatever comes back (ping(8) slows down while replies are pending)."""

    def __init__(self, resource_id: str, address: str, packets: int) -> None:
        self.packets = packets
        self._address = address
        self._token = os.urandom(capture.TOKEN_BYTES)
        self._returned: set[int] = set()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = netns.inside(
            naming.namespace_name(resource_id), lambda: socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start = time.monotonic()
        for sequence in range(self.packets):
            self._receive_until(start + sequence * 0.002)
            self._socket.sendto(capture.echo_request(4, self._token, sequence), (self._address, 0))
        deadline = time.monotonic() + 2
        while len(self._returned) < self.packets and time.monotonic() < deadline:
            self._receive_until(time.monotonic() + 0.05)

    def _receive_until(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                return
            message = self._socket.recv(2048)[20:]
            if message[0] == 0 and message[8:24] == self._token:
                self._returned.add(int.from_bytes(message[24:28], "big"))

    def returned(self) -> int:
        """Wait for the end; how many came back."""
        self._thread.join(60)
        self._socket.close()
        return len(self._returned)


@dataclass(frozen=True)
class Routed:
    """A chain client - routers - server of pairs."""

    client: str
    routers: tuple[str, ...]
    server: str
    path: PathSpec
    server_ip: str

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.client, *self.routers, self.server)


def build_routed(net: HostNetwork, ids: Ids, routers: int) -> Routed:
    """Containers in a row, each with a summary route to the left and a default one to the right."""
    nodes = [ids("client"), *(ids(f"r{index}") for index in range(routers)), ids("server")]
    kinds = [MemberKind.SAP, *[MemberKind.CONTAINER] * routers, MemberKind.SAP]
    for node in nodes:
        net.ensure_namespace(node)
    last = len(nodes) - 2
    for index in range(last + 1):
        left, right = nodes[index], nodes[index + 1]
        members = (Member(left, "right", kinds[index]), Member(right, "left", kinds[index + 1]))
        net.allocate_link(LinkSpec(ids(f"link{index}"), members, ids("chain")))
        subnet = "10.211.0" if index == last else f"10.210.{index}"
        default = Route("0.0.0.0/0", f"{subnet}.2")
        summary = (Route("10.210.0.0/16", f"{subnet}.1"),)
        net.configure_port(left, PortSpec("right", (f"{subnet}.1/30",), routes=(default,)))
        net.configure_port(right, PortSpec("left", (f"{subnet}.2/30",), routes=summary if index else ()))
    for node in nodes[1:-1]:
        sysctl(node, "net/ipv4/ip_forward", "1")
    hops = tuple(
        Hop(node, kind, "left" if index else "", "right" if index <= last else "", node.split("-")[0])
        for index, (node, kind) in enumerate(zip(nodes, kinds, strict=True))
    )
    path = PathSpec(ids("path"), hops, ids("chain"))
    return Routed(nodes[0], tuple(nodes[1:-1]), nodes[-1], path, "10.211.0.2")


class WireGuest:
    """Stands in for a VM that passes frames between its two ports as they are; `drop` makes it swallow them,
    `delay_seconds` hold each for a while. The frames' virtio-net headers are copied along.
    """

    def __init__(self, net: HostNetwork, resource_id: str, cps: tuple[str, str] = ("left", "right")) -> None:
        self._start([net.open_tap(resource_id, cp) for cp in cps])

    @classmethod
    def of_taps(cls, taps: list[int]) -> WireGuest:
        """A guest on two descriptors that become its own."""
        guest = cls.__new__(cls)
        guest._start(taps)
        return guest

    def _start(self, taps: list[int]) -> None:
        self.drop = False
        self.delay_seconds = 0.0
        self._taps = taps
        self._wake_out, self._wake_in = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        other = dict(zip(self._taps, reversed(self._taps), strict=True))
        held: deque[tuple[float, int, bytes]] = deque()
        try:
            while True:
                patience = max(0.0, held[0][0] - time.monotonic()) if held else None
                ready, _, _ = select.select([*self._taps, self._wake_out], [], [], patience)
                if self._wake_out in ready:
                    return
                for tap in ready:
                    frame = os.read(tap, 70000)
                    if not self.drop:
                        held.append((time.monotonic() + self.delay_seconds, other[tap], frame))
                while held and held[0][0] <= time.monotonic():
                    _due, tap, frame = held.popleft()
                    os.write(tap, frame)
        except OSError:
            return  # the link was terminated under the guest

    def stop(self) -> None:
        """Die as a qemu that is killed: the descriptors close and the taps are gone."""
        os.write(self._wake_in, b"x")
        self._thread.join()
        for descriptor in (*self._taps, self._wake_in, self._wake_out):
            os.close(descriptor)


@dataclass(frozen=True)
class Steered:
    """client - L2 guests - server, all in one subnet, through the fabric."""

    client: str
    guests: tuple[str, ...]
    server: str
    chain_id: str
    path: PathSpec
    server_ip: str


def build_steered(net: HostNetwork, ids: Ids, guests: int = 1) -> Steered:
    """SAPs with addresses at both ends, VMs between them; the guests themselves are the caller's to start."""
    nodes = [ids("client"), *(ids(f"vm{index}") for index in range(guests)), ids("server")]
    kinds = [MemberKind.SAP, *[MemberKind.VM] * guests, MemberKind.SAP]
    chain = ids("chain")
    for index in range(len(nodes) - 1):
        left = Member(nodes[index], "right", kinds[index])
        right = Member(nodes[index + 1], "left", kinds[index + 1])
        net.allocate_link(LinkSpec(ids(f"link{index}"), (left, right), chain))
    net.ensure_namespace(nodes[0])
    net.ensure_namespace(nodes[-1])
    net.configure_port(nodes[0], PortSpec("right", ("10.1.0.1/24",)))
    net.configure_port(nodes[-1], PortSpec("left", ("10.1.0.2/24",)))
    hops = tuple(
        Hop(node, kind, "left" if index else "", "right" if index <= guests else "", node.split("-")[0])
        for index, (node, kind) in enumerate(zip(nodes, kinds, strict=True))
    )
    path = PathSpec(ids("path"), hops, chain)
    return Steered(nodes[0], tuple(nodes[1:-1]), nodes[-1], chain, path, "10.1.0.2")
