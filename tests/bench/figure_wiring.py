"""Wiring a chain of eight containers: the network library against `ip -batch`, in turns."""

from __future__ import annotations

import statistics

from bench_host import Workspace
from bench_manager import BenchError
from bench_rows import Bound, Row, Say, compared
from hand_wired import reachable, unwire, veth_chain
from net_chains import LibraryChains

NAME = "wiring_8"
BOUND = Bound(2.0, 1.3)
ROWS = ((NAME, "ms", BOUND),)
HOPS = 8
ROUNDS = 15


def figure(space: Workspace, quick: bool, say: Say) -> list[Row]:
    """Namespaces, links, addresses, routes; ours with stamps and the path, too. No forwarding, no rules."""
    library = LibraryChains(space, "wiring")
    ours: list[float] = []
    theirs: list[float] = []
    parts: dict[str, list[float]] = {}
    for number in range(3 if quick else ROUNDS):
        wired = veth_chain(space, HOPS, f"w{number}")
        theirs.append(wired.seconds * 1e3)
        alive = number or reachable(f"/run/netns/{wired.client}")
        unwire(wired)
        built = library.build(HOPS, steered=False)
        ours.append(built.seconds * 1e3)
        alive = alive and (number or reachable(f"/run/netns/{built.client}"))
        library.remove()
        if not alive:
            raise BenchError("a wired chain does not answer pings")
        for part, seconds in built.parts.items():
            parts.setdefault(part, []).append(seconds * 1e3)
    told = ", ".join(f"{part} {statistics.median(v):.1f}" for part, v in parts.items())
    say(f"{NAME}: {statistics.median(ours):.1f} ms ({told}), ip -batch {statistics.median(theirs):.1f} ms")
    note = f"of it: {told} ms; least {min(ours):.1f} against {min(theirs):.1f}"
    return [compared(NAME, "ms", BOUND, ours, theirs, note)]
