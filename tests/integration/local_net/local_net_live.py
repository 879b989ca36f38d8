"""Builders of chains that change while they are in use: VNFs that route, as containers and as guests behind taps."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from dataclasses import dataclass, field, replace

from local_net_chains import Ids

from plugins.local.net import (
    Hop,
    HostNetwork,
    LinkSpec,
    Match,
    Member,
    MemberKind,
    PathSpec,
    PortSpec,
    Replica,
    Route,
    naming,
    netns,
)
from plugins.local.net.links import remove_namespace
from plugins.local.net.tap import open_tap

CLIENT_NET, SERVER_NET = "10.1.0.0/24", "10.2.0.0/24"
CLIENT_IP, SERVER_IP = "10.1.0.2", "10.2.0.2"
CONTAINER, VM, SAP = MemberKind.CONTAINER, MemberKind.VM, MemberKind.SAP


class RouterGuest:
    """Stands in for a VM that routes: a kernel of its own behind two taps, here a namespace that nobody configures
    but the guest itself. A thread carries frames between the taps of the host and those inside, as a hypervisor does.
    """

    def __init__(self, net: HostNetwork, resource_id: str, specs: tuple[PortSpec, ...]) -> None:
        self.name = f"guest-{resource_id}"
        netns.ensure(self.name)
        pairs = []
        for spec in specs:
            outside = net.open_tap(resource_id, spec.cp_id, spec)
            inside = open_tap(self.name, spec.cp_id, "guest", 1500)
            pairs += [(outside, inside), (inside, outside)]
            mac = spec.mac or net.guest_mac(resource_id, spec.cp_id)
            lines = [f"link set {spec.cp_id} address {mac}", *(f"addr add {ip} dev {spec.cp_id}" for ip in spec.ips)]
            lines += [f"route add {route.destination} via {route.via} dev {spec.cp_id}" for route in spec.routes]
            subprocess.run(["ip", "-n", self.name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        netns.inside(self.name, lambda: netns.write_sysctl("net/ipv4/ip_forward", "1"))
        self._other = dict(pairs)
        self._wake_out, self._wake_in = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (*self._other, self._wake_out):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _event in poll.poll():
                if descriptor == self._wake_out:
                    return
                try:
                    os.write(self._other[descriptor], os.read(descriptor, 70000))
                except OSError:
                    return  # the link was terminated under the guest

    def stop(self) -> None:
        """Die as a qemu that is killed."""
        os.write(self._wake_in, b"x")
        self._thread.join()
        for descriptor in (*self._other, self._wake_in, self._wake_out):
            os.close(descriptor)
        remove_namespace(self.name)


@dataclass
class Vnf:
    """A VNF of a live chain with its two ports."""

    resource_id: str
    kind: MemberKind
    left: PortSpec
    right: PortSpec
    links: tuple[str, str]
    guest: RouterGuest | None = None

    def hop(self, name: str = "") -> Hop:
        return Hop(self.resource_id, self.kind, "left", "right", name or self.resource_id)


@dataclass
class LiveChain:
    """client - VNFs that route - server, each with its own addresses; what is added stands on a link that is there."""

    net: HostNetwork
    ids: Ids
    chain_id: str
    client: str
    server: str
    vnfs: list[Vnf] = field(default_factory=list)
    link_ids: list[str] = field(default_factory=list)
    generation: int = 0
    blocks: int = 0

    def start(self, vnf: Vnf) -> Vnf:
        """What a compute does once its links are there."""
        if vnf.kind is VM:
            vnf.guest = RouterGuest(self.net, vnf.resource_id, (vnf.left, vnf.right))
        else:
            self.net.ensure_namespace(vnf.resource_id)
            for spec in (vnf.left, vnf.right):
                self.net.configure_port(vnf.resource_id, spec)
            name = naming.namespace_name(vnf.resource_id)
            netns.inside(name, lambda: netns.write_sysctl("net/ipv4/ip_forward", "1"))
        return vnf

    def add(self, name: str, kind: MemberKind = CONTAINER, link: int = 1) -> Vnf:
        """A further VNF that joins a link late, with networks of its own within the link's."""
        resource_id, link_id = self.ids(name), self.link_ids[link]
        prefix = _link_prefix(link, len(self.link_ids))
        left, right = 8 + 8 * self.blocks, 12 + 8 * self.blocks
        self.blocks += 1
        vnf = Vnf(
            resource_id,
            kind,
            PortSpec("left", (f"{prefix}.{left + 1}/30",), routes=(Route(CLIENT_NET, f"{prefix}.{left + 2}"),)),
            PortSpec("right", (f"{prefix}.{right + 1}/30",), routes=(Route(SERVER_NET, f"{prefix}.{right + 2}"),)),
            (link_id, link_id),
        )
        for cp in ("left", "right"):
            self.net.join_link(link_id, Member(resource_id, cp, kind))
        return self.start(vnf)

    def end(self, vnf: Vnf) -> None:
        """Terminate a VNF as its compute would."""
        if vnf.guest:
            vnf.guest.stop()
            vnf.guest = None
        else:
            self.net.remove_namespace(vnf.resource_id)
        for link_id in set(vnf.links):
            self.net.leave_link(link_id, vnf.resource_id)

    def hops(self, *vnfs: Vnf | Hop) -> tuple[Hop, ...]:
        between = [one if isinstance(one, Hop) else one.hop() for one in vnfs]
        return (Hop(self.client, SAP, "", "right", "client"), *between, Hop(self.server, SAP, "left", "", "server"))

    def path(self, *vnfs: Vnf | Hop, name: str = "path", match: Match = Match()) -> PathSpec:  # noqa: B008 - frozen
        self.generation += 1
        return PathSpec(self.ids(name), self.hops(*vnfs), self.chain_id, self.generation, match=match)

    def stop(self) -> None:
        for vnf in self.vnfs:
            if vnf.guest:
                vnf.guest.stop()
                vnf.guest = None


def _link_prefix(index: int, links: int) -> str:
    return "10.1.0" if index == 0 else "10.2.0" if index == links - 1 else f"100.64.{index}"


def replicated(name: str, *vnfs: Vnf) -> Hop:
    """A hop that several VNFs share."""
    first = vnfs[0]
    every = tuple(Replica(one.resource_id, one.kind) for one in vnfs)
    return replace(first.hop(name), replicas=every if len(every) > 1 else ())


def build_live(net: HostNetwork, ids: Ids, *kinds: MemberKind, steered: bool = False) -> LiveChain:
    """A chain of as many VNFs as kinds, wired as the lightest, with its path in force. Addresses as a manager's."""
    chain = LiveChain(net, ids, ids("chain"), ids("client"), ids("server"))
    names = [chain.client, *(ids(f"v{index}") for index in range(len(kinds))), chain.server]
    every = [SAP, *kinds, SAP]
    count = len(names) - 1
    chain.link_ids = [ids(f"link{index}") for index in range(count)]
    for index, link_id in enumerate(chain.link_ids):
        left = Member(names[index], "right", every[index])
        right = Member(names[index + 1], "left", every[index + 1])
        net.allocate_link(LinkSpec(link_id, (left, right), chain.chain_id, steered=steered))
    for index, kind in enumerate(kinds):
        before, behind = _link_prefix(index, count), _link_prefix(index + 1, count)
        left_ip, left_gateway = ("1", "2") if index == 0 else ("2", "1")
        size = "24" if index == 0 else "26"
        far = "24" if index == count - 2 else "26"
        routes = () if index == 0 else (Route(CLIENT_NET, f"{before}.{left_gateway}"),)
        onward = () if index == count - 2 else (Route(SERVER_NET, f"{behind}.2"),)
        chain.vnfs.append(
            Vnf(
                names[index + 1],
                kind,
                PortSpec("left", (f"{before}.{left_ip}/{size}",), routes=routes),
                PortSpec("right", (f"{behind}.1/{far}",), routes=onward),
                (chain.link_ids[index], chain.link_ids[index + 1]),
            )
        )
    for vnf in chain.vnfs:
        chain.start(vnf)
    for name, cp, ip, via in (
        (chain.client, "right", CLIENT_IP, "10.1.0.1"),
        (chain.server, "left", SERVER_IP, "10.2.0.1"),
    ):
        net.ensure_namespace(name)
        net.configure_port(name, PortSpec(cp, (f"{ip}/24",), routes=(Route("0.0.0.0/0", via),)))
    net.allocate_path(chain.path(*chain.vnfs))
    return chain
