"""A machine of the test's own on one of the cloud's wires: a network namespace with a cable into a bridge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


def order(*words: str) -> str:
    """Run a command that must succeed; what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


class Machine:
    """The namespace; `name` is at most 12 characters."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str) -> str:
        """Run a command in it."""
        return order("ip", "netns", "exec", self.name, *words)

    def join_vxlan(self, number: int, port: int, group: str, address: str, mtu: int) -> None:
        """An end of a VXLAN segment over the cable, with an address on it."""
        tail = ["group", group, "dstport", str(port), "dev", "cable"]
        self.run("ip", "link", "add", "segment", "mtu", str(mtu), "type", "vxlan", "id", str(number), *tail)
        self.run("ip", "address", "add", address, "dev", "segment")
        self.run("ip", "link", "set", "segment", "up")

    def pings(self, address: str, count: int = 5, payload_bytes: int = 56) -> int:
        """How many of so many pings come back, none of them fragmented."""
        words = ["ping", "-n", "-c", str(count), "-i", "0.2", "-W", "5", "-M", "do", "-s", str(payload_bytes), address]
        done = subprocess.run(["ip", "netns", "exec", self.name, *words], capture_output=True, text=True, check=False)
        return done.stdout.count("bytes from")

    def page(self, address: str, path: str) -> str:
        """What a web server answers."""
        script = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read().decode())"
        return self.run("/usr/bin/python3", "-c", script, f"http://{address}/{path}")


@contextmanager
def machine(name: str, bridge: str, address: str) -> Iterator[Machine]:
    """A machine that is plugged into `bridge` and has `address`, with its prefix length, on the cable."""
    made, plug = Machine(name), f"{name}-p"
    order("ip", "netns", "add", name)
    try:
        order("ip", "link", "add", plug, "type", "veth", "peer", "name", "cable", "netns", name)
        order("ip", "link", "set", plug, "master", bridge, "up")
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "address", "add", address, "dev", "cable")
        made.run("ip", "link", "set", "cable", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", plug], capture_output=True, check=False)
