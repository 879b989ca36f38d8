"""Chains wired by hand: what `ip -batch` and nft can do on this host with nobody in between.

client - hop1 ... hopN - server, a namespace each. Link i joins node i and i+1 in 10.210.i.0/30, the last one in
10.211.0.0/30, so that two routes a hop are enough: a summary to the left, the default to the right.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench_host import Workspace, run_checked

SERVER = "10.211.0.2"


@dataclass(frozen=True)
class Wired:
    """A chain that stands: the namespaces of its ends, and all of them."""

    client: str
    server: str
    namespaces: tuple[str, ...]
    seconds: float


def subnet(link: int, hops: int) -> str:
    """The first three numbers of a link's addresses."""
    return "10.211.0" if link == hops else f"10.210.{link}"


def names(space: Workspace, hops: int, tag: str) -> list[str]:
    """Of the namespaces in order."""
    return [space.netns(f"{tag}-{name}") for name in ("cl", *(f"h{i}" for i in range(1, hops + 1)), "sv")]


def _inside(nodes: list[str], hops: int) -> dict[str, list[str]]:
    """Lines for `ip -batch` within each namespace."""
    lines = {name: ["link set lo up"] for name in nodes}
    for i in range(hops + 1):
        left, right, net = nodes[i], nodes[i + 1], subnet(i, hops)
        lines[left] += [f"addr add {net}.1/30 dev right", "link set right up", f"route add default via {net}.2"]
        lines[right] += [f"addr add {net}.2/30 dev left", "link set left up"]
        if i:
            lines[right].append(f"route add 10.210.0.0/16 via {net}.1")
    return lines


def _run(nodes: list[str], outside: list[str], inside: dict[str, list[str]]) -> float:
    begun = time.perf_counter()
    made = [f"netns add {name}" for name in nodes]
    run_checked("ip", "-batch", "-", text="\n".join(made + outside) + "\n")
    for name, lines in inside.items():
        run_checked("ip", "-n", name, "-batch", "-", text="\n".join(lines) + "\n")
    return time.perf_counter() - begun


def _forwarding(nodes: list[str]) -> None:
    for name in nodes[1:-1]:
        set_forwarding(name)


def set_forwarding(namespace: str) -> None:
    """What each hop sets for itself."""
    words = ["nsenter", f"--net=/run/netns/{namespace}", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
    subprocess.run(words, check=True)


def veth_chain(space: Workspace, hops: int, tag: str) -> Wired:
    """One veth pair a link; `seconds` is for namespaces, links, addresses and routes."""
    nodes = names(space, hops, tag)
    pairs = [f"link add right netns {nodes[i]} type veth peer name left netns {nodes[i + 1]}" for i in range(hops + 1)]
    seconds = _run(nodes, pairs, _inside(nodes, hops))
    _forwarding(nodes)
    return Wired(nodes[0], nodes[-1], tuple(nodes), seconds)


def fabric_chain(space: Workspace, hops: int, tag: str) -> Wired:
    """All ports in one more namespace, where a map leads from each to its neighbour's."""
    nodes, fabric = names(space, hops, tag), space.netns(f"{tag}-fab")
    ports, up, elements = [], ["link set lo up"], []
    for i in range(hops + 1):
        ports += [
            f"link add right netns {nodes[i]} type veth peer name a{i} netns {fabric}",
            f"link add left netns {nodes[i + 1]} type veth peer name b{i} netns {fabric}",
        ]
        up += [f"link set a{i} up", f"link set b{i} up"]
        elements += [f"a{i} : b{i}", f"b{i} : a{i}"]
    seconds = _run([*nodes, fabric], ports, {fabric: up, **_inside(nodes, hops)})
    devices = ", ".join(f"a{i}, b{i}" for i in range(hops + 1))
    rules = (
        "table netdev steer { map next { typeof meta iif : meta oif; }\n"
        f"chain in {{ type filter hook ingress devices = {{ {devices} }} priority 0; "
        "fwd to meta iif map @next; }\n}\n"
        f"add element netdev steer next {{ {', '.join(elements)} }}\n"
    )
    run_checked("nsenter", f"--net=/run/netns/{fabric}", "nft", "-f", "-", text=rules)
    _forwarding(nodes)
    return Wired(nodes[0], nodes[-1], (*nodes, fabric), seconds)


def unwire(wired: Wired) -> None:
    """Away with it, and wait until the kernel has let go: what is left of it would slow the next one down."""
    run_checked("ip", "-batch", "-", text="".join(f"netns del {name}\n" for name in wired.namespaces))
    settle()


def settle() -> None:
    """Namespaces are taken apart in the background, one after another; a new one with a veth waits for that."""
    probe = f"vbs{os.getpid()}"
    run_checked("ip", "netns", "add", probe)
    run_checked("ip", "netns", "del", probe)
    time.sleep(0.1)


def reachable(namespace_path: Path | str, address: str = SERVER) -> bool:
    """Whether a ping comes back, within a little while."""
    words = ["nsenter", f"--net={namespace_path}", "ping", "-n", "-q", "-c", "3", "-i", "0.05", "-W", "2", address]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
