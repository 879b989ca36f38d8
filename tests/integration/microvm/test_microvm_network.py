"""client -- microVM -- server, over real interfaces."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.microvm.conftest import Bundler, Runtime, sh

ADMIN = ["CAP_NET_ADMIN", "CAP_NET_RAW"]


@dataclass(frozen=True)
class World:
    """A router's namespace between two neighbours'."""

    client: str
    router: str
    server: str


def ip(namespace: str, *lines: str) -> None:
    sh("ip", "-n", namespace, "-batch", "-", input="\n".join(lines) + "\n")


@pytest.fixture
def world(namespaces: Callable[[str], str]) -> World:
    made = World(namespaces("c"), namespaces("r"), namespaces("s"))
    ip(made.router, f"link add left mtu 1450 type veth peer name e mtu 1450 netns {made.client}")
    ip(made.router, f"link add right type veth peer name e netns {made.server}")
    ip(made.client, "addr add 10.1.0.1/24 dev e", "link set e up", "route add default via 10.1.0.2")
    ip(made.server, "addr add 10.2.0.1/24 dev e", "addr add fd00:2::1/64 dev e nodad", "link set e up")
    ip(made.server, "route add default via 10.2.0.2")
    ip(
        made.router,
        "addr add 10.1.0.2/24 dev left",
        "addr add 10.2.0.2/24 dev right",
        "addr add fd00:2::2/64 dev right nodad",
        "addr add 10.99.0.1/32 dev lo",
        "link set left up",
        "link set right up",
        "route add default via 10.2.0.1",
        "route add 10.50.0.0/16 via 172.16.0.1 dev right onlink",
        "route add 10.60.0.0/16 dev left scope link metric 50",
        "route add unreachable 10.70.0.0/16",
        "route add 10.80.0.0/16 nexthop via 10.1.0.1 weight 1 nexthop via 10.2.0.1 weight 2",
        "route add 10.90.0.0/16 via 10.2.0.1 table 100",
        "neigh add 10.2.0.77 lladdr 02:00:00:00:00:77 dev right nud permanent",
    )
    sh("ip", "-n", made.router, "-6", "route", "add", "fd00:9::/64", "via", "fd00:2::1")
    return made


def listing(namespace: str, *words: str) -> str:
    return sh("ip", "-n", namespace, *words).stdout


def taps(namespace: str) -> list[str]:
    """The runtime's taps."""
    names = [link["ifname"] for link in json.loads(listing(namespace, "-j", "link"))]
    return [name for name in names if re.fullmatch(r"mvt\d+", name)]


def ping(namespace: str, address: str, count: int = 3) -> int:
    """How many answers came."""
    done = sh("ip", "netns", "exec", namespace, "ping", "-c", str(count), "-i", "0.2", "-W", "2", address, check=False)
    return sum("bytes from" in line for line in done.stdout.splitlines())


def test_the_guest_has_the_namespaces_network(runtime: Runtime, bundle: Bundler, world: World) -> None:
    runtime.up(bundle(netns=world.router, sysctl={"net.ipv4.ip_forward": "1"}), "net")
    host = {link["ifname"]: link for link in json.loads(listing(world.router, "-j", "link"))}
    seen = runtime.exec("net", "ip addr; ip route; ip -6 route; ip neigh; ip route show table 100").stdout
    assert f"link/ether {host['left']['address']}" in seen
    assert "left: " in seen
    assert "mtu 1450" in seen
    for words in (
        "inet 10.1.0.2/24",
        "inet6 fd00:2::2/64",
        "inet 10.99.0.1/32",
        "default via 10.2.0.1 dev right",
        "10.1.0.0/24 dev left scope link",
        "10.50.0.0/16 via 172.16.0.1 dev right onlink",
        "10.60.0.0/16 dev left scope link  metric 50",
        "unreachable 10.70.0.0/16",
        "10.80.0.0/16",
        "10.90.0.0/16 via 10.2.0.1 dev right",
        "fd00:9::/64 via fd00:2::1 dev right",
        "10.2.0.77 dev right lladdr 02:00:00:00:00:77",
    ):
        assert words in seen, (words, seen)


def test_packets_cross_and_only_the_guest_answers(runtime: Runtime, bundle: Bundler, world: World) -> None:
    runtime.up(bundle(netns=world.router, sysctl={"net.ipv4.ip_forward": "1"}), "router")
    assert ping(world.client, "10.2.0.1") == 3
    assert ping(world.client, "10.99.0.1") == 3
    assert ping(world.server, "fd00:2::2") == 3
    guest = runtime.state("router")["vnfm"]["guestPid"]
    arping = ["ip", "netns", "exec", world.client, "busybox", "arping", "-c", "2", "-w", "4", "-I", "e", "10.1.0.2"]
    assert "Received 2 response" in sh(*arping, check=False).stdout
    # The host's interface has the address, too: with the guest held, nobody may answer for it.
    os.kill(guest, signal.SIGSTOP)
    try:
        assert "Received 0 response" in sh(*arping, check=False).stdout
        assert ping(world.client, "10.1.0.2", count=1) == 0
    finally:
        os.kill(guest, signal.SIGCONT)
    assert ping(world.client, "10.2.0.1") == 3
    assert len(taps(world.router)) == 2
    runtime("delete", "--force", "router")
    assert taps(world.router) == []
    assert "clsact" not in sh("tc", "-n", world.router, "qdisc", "show").stdout
    # With the guest gone the namespace speaks for itself again.
    assert ping(world.client, "10.1.0.2", count=1) == 1


def test_tcp_crosses(runtime: Runtime, bundle: Bundler, world: World, tmp_path: Path) -> None:
    runtime.up(bundle(netns=world.router, sysctl={"net.ipv4.ip_forward": "1"}), "tcp")
    peer, size = _transfer(world, 20 << 20)
    assert size == 20 << 20
    assert peer == "10.1.0.1"


def test_masquerade_in_the_guest(runtime: Runtime, bundle: Bundler, world: World, tmp_path: Path) -> None:
    nft = shutil.which("nft")
    if not nft:
        pytest.skip("nft is not installed")
    _install(tmp_path / "rootfs", Path(nft))
    made = bundle(netns=world.router, sysctl={"net.ipv4.ip_forward": "1", "net.netfilter.nf_conntrack_max": "4096"})
    runtime.up(made, "nat")
    rules = (
        "table ip nat {\n chain post {\n  type nat hook postrouting priority srcnat; policy accept;\n"
        '  oifname "right" masquerade\n }\n}\n'
        "table inet filter {\n chain transit {\n  type filter hook forward priority filter; policy accept;\n"
        "  ct state established,related counter accept\n }\n}\n"
    )
    assert runtime("exec", "nat", nft, "-f", "-", input=rules).returncode == 0
    # Without address translation the server could not answer.
    ip(world.server, "route del default")
    peer, size = _transfer(world, 1 << 20)
    assert (peer, size) == ("10.2.0.2", 1 << 20)
    assert "masquerade" in runtime("exec", "nat", nft, "list", "ruleset").stdout


def test_modules_load_on_demand(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(capabilities=ADMIN), "mod")
    script = (
        "set -e; ip link add d0 type dummy; ip link add b0 type bridge; ip link add vx0 type vxlan id 7 dstport 4789;"
        "ip link add name v5 link d0 type vlan id 5; ip tunnel add t1 mode ipip remote 10.0.0.9 local 10.0.0.8; ip link"
    )
    seen = runtime.exec("mod", script).stdout
    for name in ("d0", "b0", "vx0", "v5@d0", "t1@"):
        assert f" {name}" in seen


def test_two_guests_on_one_namespace_are_refused(runtime: Runtime, bundle: Bundler, world: World) -> None:
    runtime.up(bundle(netns=world.router), "first")
    second = runtime.create(bundle(netns=world.router), "second", check=False)
    assert second.returncode == 1
    assert "another microVM" in second.stderr
    assert ping(world.client, "10.1.0.2", count=1) == 1


def test_a_successor_is_not_cut_off_by_its_predecessors_delete(runtime: Runtime, bundle: Bundler, world: World) -> None:
    runtime.up(bundle(netns=world.router), "old")
    os.kill(runtime.state("old")["pid"], signal.SIGKILL)
    runtime.wait_for("old", "stopped")
    _gone(world)
    runtime.up(bundle(netns=world.router), "new")
    runtime("delete", "old")
    assert ping(world.client, "10.1.0.2") == 3


def test_delete_after_the_namespace_has_gone(
    runtime: Runtime, bundle: Bundler, namespaces: Callable[[str], str]
) -> None:
    name = namespaces("x")
    ip(name, "link add solo type veth peer name other")
    runtime.up(bundle(netns=name), "orphan")
    sh("ip", "netns", "del", name)
    try:
        runtime("kill", "orphan", "KILL")
        runtime.wait_for("orphan", "stopped")
        runtime("delete", "orphan")
    finally:
        sh("ip", "netns", "add", name)


def _gone(world: World) -> None:
    end = time.monotonic() + 5
    while taps(world.router):
        assert time.monotonic() < end
        time.sleep(0.05)


def _transfer(world: World, size: int) -> tuple[str, int]:
    """Send bytes from client to server; the peer's address as the server saw it, and how much came."""
    server = (
        "import socket\ns = socket.create_server(('10.2.0.1', 5001))\nprint('up', flush=True)\n"
        "c, peer = s.accept()\nn = 0\n"
        "while data := c.recv(1 << 16): n += len(data)\nprint(peer[0], n, flush=True)"
    )
    client = f"import socket\ns = socket.create_connection(('10.2.0.1', 5001), 20)\ns.sendall(bytes({size}))\ns.close()"
    listening = subprocess.Popen(
        ["ip", "netns", "exec", world.server, "python3", "-c", server], stdout=subprocess.PIPE, text=True
    )
    try:
        assert listening.stdout
        assert listening.stdout.readline() == "up\n"
        sh("ip", "netns", "exec", world.client, "python3", "-c", client)
        peer, count = listening.stdout.readline().split()
        return peer, int(count)
    finally:
        listening.kill()
        listening.wait()


def _install(rootfs: Path, program: Path) -> None:
    """Copy a program with its libraries."""
    files = [program]
    for line in sh("ldd", str(program)).stdout.splitlines():
        files += [Path(word) for word in line.split() if word.startswith("/")]
    for file in files:
        target = rootfs / str(file).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
