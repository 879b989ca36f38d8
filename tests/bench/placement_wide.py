"""Virtual networks on wide-area networks, the setting of the Virne benchmark (arXiv 2507.19234), made anew.

Each site of a wide-area network is a server behind a switch of its own. Requests come by a Poisson process, stay for a
while that is exponential around 500, have two to ten nodes, each on another server, and half of all possible links.
What is measured is how many are accepted. The best published acceptance: 78.1 % (Waxman, 100 nodes), 60.4 % (GEANT) and
58.9 % (BRAIN).
"""

from __future__ import annotations

import gc
import heapq
import json
import math
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from format_checker import Ledger
from placement_rows import Bound, Row, Say, row

from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.placer import Placer
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement_io import parse_chain, parse_instance

TOPOLOGIES = Path(__file__).parent / "placement_topologies.json"
REQUESTS = 1_000
LINKS = 500  # of the random network
STAY = 500.0
WIDE = 10**6  # between a server and its switch: never what is short
SETTINGS = {  # arrivals a unit of time; must and goal of the acceptance in percent
    "wx100": (0.16, Bound(96, 97, "higher")),
    "geant": (0.016, Bound(80, 84, "higher")),
    "brain": (0.004, Bound(80, 82, "higher")),
}
Edges = list[tuple[int, int]]


def joined(count: int, edges: Edges) -> bool:
    """Whether everything hangs together."""
    around: dict[int, list[int]] = {i: [] for i in range(count)}
    for a, b in edges:
        around[a].append(b)
        around[b].append(a)
    seen, queue = {0}, [0]
    for at in queue:
        for then in around[at]:
            if then not in seen:
                seen.add(then)
                queue.append(then)
    return len(seen) == count


def waxman(dice: random.Random, count: int = 100, alpha: float = 0.2, beta: float = 0.5) -> Edges:
    """A random network in the plane in which near points are joined rather, with about as many links as published."""
    while True:
        points = [(dice.random(), dice.random()) for _ in range(count)]
        longest = max(math.dist(a, b) for a in points for b in points)
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
        edges = [
            (i, j)
            for i, j in pairs
            if dice.random() < beta * math.exp(-math.dist(points[i], points[j]) / (alpha * longest))
        ]
        if abs(len(edges) - LINKS) <= LINKS // 50 and joined(count, edges):
            return edges


def network(name: str, dice: random.Random) -> dict[str, Any]:
    """The instance without requests."""
    if name == "wx100":
        count, edges = 100, waxman(dice)
    else:
        kept = json.loads(TOPOLOGIES.read_text())[name]
        count, edges = kept["nodes"], kept["edges"]
    plain = dict.fromkeys(("cpu", "mem", "start", "lat", "cost", "isolation"), 0)
    flags = dict.fromkeys(("own_kernel", "own_os", "sriov", "gpu", "pin", "shared_kernel"), False)
    cell = {"mem": 0, "hugepages": 0, "vfs": 0, "gpus": 0}
    node = {"kind": "server", "site": "s", "zone": "z", "trust": 0, "tenant": None, "runtimes": ["container"]}
    node |= {"price": 0, "on_cost": 0, "active": True, "parent": None}
    nodes = [
        {"id": f"n{i}", **node, "rack": f"r{i}", "cells": [cell | {"cpu": dice.randint(50, 100)}]} for i in range(count)
    ]
    links = [{"id": f"u{i}", "a": f"n{i}", "b": f"x{i}", "bw": WIDE, "lat": 0} for i in range(count)]
    for k, (a, b) in enumerate(edges):
        links.append({"id": f"e{k}", "a": f"x{a}", "b": f"x{b}", "bw": dice.randint(50, 100), "lat": 0})
    return {
        "format": "vnf-placement-bench/1",
        "name": name,
        "family": "wide-area",
        "seed": 0,
        "catalogue": {"container": plain | flags},
        "nodes": nodes,
        "switches": [f"x{i}" for i in range(count)],
        "links": links,
        "licences": [],
        "weights": {"bw_hop": 1},
        "chains": [],
    }


def asked(dice: random.Random, count: int, arrivals: float) -> Iterator[tuple[float, float, dict[str, Any]]]:
    """When each request comes and goes, and the request."""
    now = 0.0
    needs = {"mem": 0, "hugepages": 0, "vfs": 0, "gpus": 0, "numa_strict": False, "pin": False, "isolation": 0}
    needs |= {"own_kernel": False, "own_os": False, "trust": 0, "max_start": None, "artefacts": ["container"]}
    needs |= {"sites": None, "zones": None, "licence": None}
    for number in range(count):
        now += dice.expovariate(arrivals)
        size, edges = dice.randint(2, 10), []
        while not edges or not joined(size, edges):
            edges = [(i, j) for i in range(size) for j in range(i + 1, size) if dice.random() < 0.5]
        names = [f"v{i}" for i in range(size)]
        vlinks = [
            {"id": f"l{k}", "a": names[a], "b": names[b], "bw": dice.randint(0, 50), "max_lat": None}
            for k, (a, b) in enumerate(edges)
        ]
        yield (
            now,
            now + dice.expovariate(1 / STAY),
            {
                "id": f"c{number}",
                "tenant": "t",
                "value": 10**6,
                "arrive": None,
                "leave": None,
                "ends": [],
                "vnfs": [{"id": v, "cpu": dice.randint(0, 20), **needs} for v in names],
                "vlinks": vlinks,
                "paths": [],
                "rules": [{"kind": "anti-affinity", "scope": "server", "vnfs": names}],
            },
        )


def accepted(name: str, seed: int, count: int) -> tuple[float, list[float]]:
    """Share accepted in percent, and seconds of processor time of each call."""
    dice = random.Random(f"{name}/{seed}")
    raw = network(name, dice)
    instance = parse_instance(raw)
    placer, ledger = Placer(Book(build_estate(instance))), Ledger(raw)
    leaving: list[tuple[float, str]] = []
    times, taken = [], 0
    gc.collect()
    gc.freeze()
    for now, until, chain in asked(dice, count, SETTINGS[name][0]):
        while leaving and leaving[0][0] <= now:
            gone = heapq.heappop(leaving)[1]
            placer.release(gone)
            ledger.remove(gone)
        request = parse_chain(chain, instance)
        begun = time.thread_time()
        answer = placer.place(request)
        times.append(time.thread_time() - begun)
        if answer.accepted:
            taken += 1
            found = ledger.add(chain, answer_dict(answer))
            assert not found, found
            heapq.heappush(leaving, (until, chain["id"]))
    gc.unfreeze()
    return 100 * taken / count, times


def acceptance(rounds: int, large: int, say: Say) -> list[Row]:
    """Of each network; and the tail of all calls of the slowest one."""
    rows, tails = [], {}
    for name, (_, bound) in SETTINGS.items():
        shares, slow = [], []
        for seed in range(3):
            share, times = accepted(name, seed, REQUESTS)
            shares.append(share)
            slow.append(statistics.quantiles(times, n=100)[98] * 1e3)
        tails[name] = statistics.median(slow)
        note = f"{len(shares)} × {REQUESTS} requests, p99 {tails[name]:.1f} ms"
        say(f"{name}: {statistics.median(shares):.1f} %, {note}")
        rows.append(row(f"wide_{name}", "%", bound, shares, note=note))
    slowest = max(tails, key=lambda name: tails[name])
    note = f"of {slowest}, refusals included"
    return [*rows, row("wide_p99", "ms", Bound(80, 30, "lower"), [tails[slowest]], note=note)]
