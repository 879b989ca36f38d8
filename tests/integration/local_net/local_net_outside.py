"""Two sides of this host that know of each other by a network outside only, each with a namespace to reach it from."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from local_net_chains import Ids, sysctl

from plugins.local.net import (
    EDGE_CP,
    Encap,
    Hop,
    HostNetwork,
    LinkSpec,
    Member,
    MemberKind,
    Outside,
    PathSpec,
    PortSpec,
    Remote,
    Route,
    Segment,
)

SAP, CONTAINER, EDGE = MemberKind.SAP, MemberKind.CONTAINER, MemberKind.EDGE


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@contextmanager
def two_places(unique: str) -> Iterator[tuple[str, str]]:
    """Two namespaces, each with a bridge `br-out` and an interface `eth0` (192.0.2.1 and .2), joined by a wire; between
    the bridges there is another one."""
    names = (f"vnfm-t-{unique}-a", f"vnfm-t-{unique}-b")
    try:
        for number, name in enumerate(names, 1):
            ip("netns", "add", name)
            ip("-n", name, "link", "add", "br-out", "type", "bridge")
            ip("-n", name, "link", "set", "br-out", "up")
            ip("-n", name, "link", "set", "lo", "up")
            if number == 2:
                ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("-n", names[0], "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", name)
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            for device in ("eth0", "wire"):
                ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "wire", "master", "br-out")
        yield names
    finally:
        for name in names:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


@dataclass
class Side:
    """One VIM's half: an end or a router, then the edge."""

    net: HostNetwork
    ids: Ids
    run_dir: Path
    wish: Segment
    outsides: tuple[Outside, ...]

    @classmethod
    def of(cls, ids: Ids, run_dir: Path, outside: Outside) -> Side:
        wish = Segment(outside.encaps[0], outside.network)
        return cls(HostNetwork(run_dir, outsides=(outside,)), ids, run_dir, wish, (outside,))

    def again(self) -> None:
        """As after a restart."""
        self.net = HostNetwork(self.run_dir, outsides=self.outsides)

    def link(self, name: str, *members: Member, outward: bool = False) -> str:
        link_id = self.ids(name)
        spec = LinkSpec(link_id, members, self.ids(f"chain-{self.run_dir.name}"), 1400)
        if outward:
            spec = replace(spec, segment=self.net.free_segment(link_id, self.wish))
        self.net.allocate_link(spec)
        return link_id

    def port(self, owner: str, cp: str, address: str, *routes: tuple[str, str]) -> None:
        self.net.configure_port(owner, PortSpec(cp, (address,), routes=tuple(Route(*r) for r in routes)))

    def path(self, name: str, hops: tuple[Hop, ...], generation: int = 1) -> PathSpec:
        return PathSpec(self.ids(name), hops, self.ids(f"chain-{self.run_dir.name}"), generation)


def edge(link_id: str) -> Hop:
    return Hop(link_id, EDGE, EDGE_CP, EDGE_CP, f"edge {link_id[:8]}")


@dataclass
class Spread:
    """client - r0 | r1 - server, cut between the routers."""

    a: Side
    b: Side
    paths: tuple[PathSpec, PathSpec]
    links: tuple[str, str]
    nodes: tuple[str, str, str, str]
    server_ip: str = "10.222.0.2"


def build_spread(a: Side, b: Side) -> Spread:
    """Both halves with their links, the border's joined, the paths in force."""
    ids = a.ids
    client, r0, r1, server = nodes = (ids("client"), ids("r0"), ids("r1"), ids("server"))
    for side, own in ((a, (client, r0)), (b, (r1, server))):
        for node in own:
            side.net.ensure_namespace(node)
    a.link("left", Member(client, "right", SAP), Member(r0, "left", CONTAINER))
    here = a.link("here", Member(r0, "right", CONTAINER), outward=True)
    there = b.link("there", Member(r1, "left", CONTAINER), outward=True)
    b.link("right", Member(r1, "right", CONTAINER), Member(server, "left", SAP))
    a.port(client, "right", "10.220.0.1/30", ("0.0.0.0/0", "10.220.0.2"))
    a.port(r0, "left", "10.220.0.2/30")
    a.port(r0, "right", "10.221.0.1/30", ("0.0.0.0/0", "10.221.0.2"))
    b.port(r1, "left", "10.221.0.2/30", ("0.0.0.0/0", "10.221.0.1"))
    b.port(r1, "right", "10.222.0.1/30")
    b.port(server, "left", "10.222.0.2/30", ("0.0.0.0/0", "10.222.0.1"))
    for router in (r0, r1):
        sysctl(router, "net/ipv4/ip_forward", "1")
    join(a, here, b, there)
    first = a.path(
        "path-a",
        (Hop(client, SAP, "", "right", "client"), Hop(r0, CONTAINER, "left", "right", "r0"), edge(here)),
    )
    second = b.path(
        "path-b",
        (edge(there), Hop(r1, CONTAINER, "left", "right", "r1"), Hop(server, SAP, "left", "", "server")),
    )
    a.net.allocate_path(first)
    b.net.allocate_path(second)
    return Spread(a, b, (first, second), (here, there), nodes)


def join(a: Side, here: str, b: Side, there: str) -> Segment:
    """Both by the segment that `a` chose."""
    spec, other = a.net.link(here), b.net.link(there)
    assert spec
    assert spec.segment
    assert other
    segment = spec.segment

    def of(side: Side) -> tuple[Remote, ...]:
        outside = side.outsides[0]
        return () if segment.group or segment.encap is not Encap.VXLAN else (Remote(outside.address, outside.udp_port),)

    a.net.extend_link(here, segment, of(b))
    b.net.extend_link(there, replace(segment, udp_port=segment.udp_port if segment.group else 0), of(a))
    return segment
