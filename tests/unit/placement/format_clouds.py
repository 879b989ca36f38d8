"""Instances of the placement format, made from a family's name and a seed: the same seed gives the same bytes.

Data centres are Clos networks: servers hang on the switch of their rack, racks on two aggregation switches of their
zone, zones on the cores of their site; sites are joined through gateways, where the ends of chains sit too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any

Instance = dict[str, Any]
Chain = dict[str, Any]

_FIELDS = ("cpu", "mem", "start", "lat", "cost", "isolation")
_FIELDS += ("own_kernel", "own_os", "sriov", "gpu", "pin", "shared_kernel")
CATALOGUE = {
    name: dict(zip(_FIELDS, values, strict=True))
    for name, values in {
        "container": (20, 8, 300, 10, 100, 1, False, False, True, True, True, True),
        "nested": (40, 16, 500, 45, 150, 2, False, False, False, False, False, True),
        "kata": (100, 192, 1_500, 35, 300, 3, True, False, True, False, True, False),
        "vm": (150, 320, 25_000, 50, 600, 4, True, True, True, True, True, False),
    }.items()
}
SERVER_RUNTIMES = (["container", "kata", "vm"], ["container", "vm"], ["container", "kata"], ["container"], ["vm"])
TENANTS = ("blue", "green", "red", "white")
LICENCES = ("dpi-suite", "epc-core")
RULES = (
    (2, "anti-affinity", "server"),
    (2, "affinity", "server"),
    (1, "anti-affinity", "rack"),
    (2, "affinity", "zone"),
)


@dataclass(frozen=True)
class Family:
    """Sizes and moods of a kind of instance; `fill` is the share of a server that others use already."""

    sites: int = 1
    zones: int = 1
    racks: int = 2
    servers: int = 4
    workers: float = 0.25
    fill: tuple[float, float] = (0.1, 0.6)
    chains: int = 4
    vnfs: tuple[int, int] = (3, 4)
    rules: float = 0.5
    uplink: int = 40_000
    access: int = 10_000


FAMILIES = {
    "tiny": Family(chains=3),
    "small": Family(zones=2, racks=2, servers=3, chains=6, vnfs=(3, 5)),
    "tight": Family(racks=3, servers=3, fill=(0.72, 0.98), chains=8, vnfs=(3, 5), access=3_000, uplink=5_000),
    "small2": Family(sites=2, zones=2, racks=1, servers=5, chains=7, vnfs=(3, 6)),
    "mid": Family(sites=2, zones=1, racks=2, servers=5, fill=(0.0, 0.5), chains=11, vnfs=(3, 8)),
    "dc100": Family(sites=2, zones=2, racks=3, servers=9, chains=40, vnfs=(3, 8)),
    "dc1k": Family(sites=2, zones=5, racks=5, servers=20, workers=0.115, chains=300, vnfs=(3, 8)),
    "dc10k": Family(sites=4, zones=5, racks=20, servers=25, workers=0.115, chains=300, vnfs=(3, 8)),
}


def make(family: str, seed: int, *, chains: int | None = None) -> Instance:
    """An instance; `chains` overrides how many it asks for."""
    shape = FAMILIES[family]
    dice = random.Random(f"{family}/{seed}")
    instance = _empty(f"{family}-{seed}", family, seed)
    _fabric(instance, shape, dice)
    sites = [f"s{n}" for n in range(shape.sites)]
    for name in LICENCES:
        instance["licences"] += [
            {"id": name, "site": s, "count": dice.randint(1, 2 + shape.chains // 2)} for s in sites
        ]
    count = shape.chains if chains is None else chains
    instance["chains"] = [_chain(f"c{n}", shape, dice, sites) for n in range(count)]
    return instance


def requests(family: str, seed: int, count: int, vnfs: tuple[int, int] | None = None) -> Iterator[Chain]:
    """A stream of chains for the family's clouds; `vnfs` overrides how long they are."""
    shape = FAMILIES[family] if vnfs is None else replace(FAMILIES[family], vnfs=vnfs)
    dice = random.Random(f"{family}/{seed}/stream")
    sites = [f"s{n}" for n in range(shape.sites)]
    for number in range(count):
        yield _chain(f"q{number}", shape, dice, sites)


def identical(servers: int, count: int) -> Instance:
    """Like a cluster scheduler's basic test: equal hosts, equal requests of one small function without any link."""
    instance = _empty(f"identical-{servers}", "identical", 0)
    shape = Family(zones=5, racks=max(1, servers // 250), servers=50, workers=0.0, fill=(0.0, 0.0))
    _fabric(instance, shape, random.Random(0), limit=servers)
    for node in instance["nodes"]:
        node.update(price=1, on_cost=0, active=True, tenant=None, trust=1, runtimes=["container"])
        node["cells"] = [{"cpu": 4_000, "mem": 32_768, "hugepages": 0, "vfs": 0, "gpus": 0}]
    vnf = _vnf("v0") | {"cpu": 100, "mem": 500, "artefacts": ["container"]}
    chain = {"tenant": "blue", "value": 10_000, "arrive": None, "leave": None, "ends": [], "vlinks": [], "paths": []}
    instance["chains"] = [{"id": f"c{n}", **chain, "vnfs": [vnf], "rules": []} for n in range(count)]
    return instance


def affinity(seed: int, count: int, *, ruled: bool) -> list[Chain]:
    """Chains of four small functions for `dc1k` and larger; with `ruled` each has three rules, else none."""
    dice = random.Random(f"affinity/{seed}")
    shape = replace(FAMILIES["dc1k"], vnfs=(4, 4), rules=0.0)
    chains = [_chain(f"a{n}", shape, dice, ["s0", "s1"]) for n in range(count)]
    for chain in chains:
        names = [v["id"] for v in chain["vnfs"]]
        for vnf in chain["vnfs"]:
            vnf.update(_vnf(vnf["id"]) | {"cpu": 500, "mem": 512, "artefacts": ["container", "kata", "vm"]})
        if ruled:
            chain["rules"] = [
                {"kind": "affinity", "scope": "server", "vnfs": names[:2]},
                {"kind": "anti-affinity", "scope": "server", "vnfs": names[1:]},
                {"kind": "affinity", "scope": "zone", "vnfs": names},
            ]
    return chains


def _empty(name: str, family: str, seed: int) -> Instance:
    return {
        "format": "vnf-placement-bench/1",
        "name": name,
        "family": family,
        "seed": seed,
        "catalogue": {k: dict(v) for k, v in CATALOGUE.items()},
        "nodes": [],
        "switches": [],
        "links": [],
        "licences": [],
        "weights": {"bw_hop": 2},
        "chains": [],
    }


# -- the cloud -------------------------------------------------------------------------------------------------------


def _fabric(instance: Instance, shape: Family, dice: random.Random, limit: int | None = None) -> None:
    def link(a: str, b: str, bw: int, lat: int) -> None:
        instance["links"].append({"id": f"{a}~{b}", "a": a, "b": b, "bw": bw, "lat": lat})

    for s in range(shape.sites):
        site, cores = f"s{s}", [f"s{s}-core{n}" for n in range(2)]
        instance["switches"] += [f"{site}-gw", *cores]
        for core in cores:
            link(f"{site}-gw", core, shape.uplink * 2, 20)
        for z in range(shape.zones):
            aggs = [f"{site}-z{z}-agg{n}" for n in range(2)]
            instance["switches"] += aggs
            for agg in aggs:
                for core in cores:
                    link(agg, core, shape.uplink, 10)
            for r in range(shape.racks):
                rack = f"{site}-z{z}-r{r}"
                instance["switches"].append(f"{rack}-tor")
                for agg in aggs:
                    link(f"{rack}-tor", agg, shape.uplink, 5)
                for n in range(shape.servers):
                    if limit is not None and len(instance["nodes"]) >= limit:
                        continue
                    _server(instance, shape, dice, f"{rack}-n{n}", (site, f"{site}-z{z}", rack))
                    link(f"{rack}-n{n}", f"{rack}-tor", shape.access, 2)
    for a, b in combinations(range(shape.sites), 2):
        link(f"s{a}-gw", f"s{b}-gw", shape.uplink // 2, 2_000 * (b - a))


def _server(instance: Instance, shape: Family, dice: random.Random, name: str, where: Sequence[str]) -> None:
    big = dice.random() < 0.5
    sriov, gpu, huge = dice.random() < 0.6, dice.random() < 0.3, dice.random() < 0.7
    cells = []
    for _ in range(2 if big else 1):
        free = 1 - dice.uniform(*shape.fill)
        cells.append(
            {
                "cpu": int(16_000 * free),
                "mem": int(49_152 * free),
                "hugepages": int(16_384 * free) if huge else 0,
                "vfs": dice.randint(2, 16) if sriov else 0,
                "gpus": dice.randint(1, 2) if gpu else 0,
            }
        )
    active = dice.random() < 0.6
    node = {
        "id": name,
        "kind": "server",
        **dict(zip(("site", "zone", "rack"), where, strict=True)),
        "trust": dice.choice((1, 2, 2, 3)),
        "tenant": dice.choice(TENANTS) if dice.random() < 0.05 else None,
        "runtimes": list(dice.choices(SERVER_RUNTIMES, (6, 2, 2, 1, 1))[0]),
        "cells": cells,
        "price": dice.randint(1, 3),
        "on_cost": dice.randint(2_000, 6_000),
        "active": active,
        "parent": None,
    }
    instance["nodes"].append(node)
    if dice.random() < shape.workers and "vm" in node["runtimes"]:
        _worker(instance, dice, node)


def _worker(instance: Instance, dice: random.Random, server: dict[str, Any]) -> None:
    server["active"] = True  # a guest runs on it
    cell = {"cpu": dice.choice((4_000, 8_000)), "mem": 16_384, "hugepages": 0, "vfs": 0, "gpus": 0}
    tenant = server["tenant"] or dice.choice(TENANTS)
    own = {"id": server["id"] + "-w0", "kind": "worker", "parent": server["id"], "tenant": tenant, "cells": [cell]}
    instance["nodes"].append(server | own | {"runtimes": ["nested"], "on_cost": 0, "active": True})


# -- the requests ----------------------------------------------------------------------------------------------------


def _vnf(name: str) -> dict[str, Any]:
    plain = {"cpu": 500, "mem": 512, "hugepages": 0, "vfs": 0, "gpus": 0, "numa_strict": False, "pin": False}
    needs = {"isolation": 0, "own_kernel": False, "own_os": False, "trust": 0, "max_start": None}
    return {"id": name, **plain, **needs, "artefacts": list(CATALOGUE), "sites": None, "zones": None, "licence": None}


def _needy(name: str, dice: random.Random, home: str, sites: Sequence[str]) -> dict[str, Any]:
    vnf = _vnf(name)
    vnf["cpu"], vnf["mem"] = dice.choice((250, 500, 1_000, 2_000, 4_000)), dice.choice((256, 512, 1_024, 4_096))
    mood = dice.random()
    if mood < 0.12:
        vnf.update(vfs=dice.randint(1, 2), numa_strict=True, pin=True)
        if dice.random() < 0.6:
            vnf.update(hugepages=dice.choice((1_024, 2_048)))
    elif mood < 0.16:
        vnf.update(gpus=1, artefacts=["container", "vm"])
    elif mood < 0.24:
        vnf.update(own_os=True, artefacts=["vm"])
    elif mood < 0.32:
        vnf.update(own_kernel=True)
    elif mood < 0.42:
        vnf.update(max_start=dice.choice((1_000, 2_000)))
    elif mood < 0.5:
        vnf.update(artefacts=["container", "nested"])
    vnf["isolation"] = 0 if vnf["max_start"] else dice.choices((0, 1, 2, 3), (4, 4, 1, 1))[0]
    if vnf["artefacts"] in (["container", "nested"], ["container", "vm"]):
        vnf["isolation"] = min(vnf["isolation"], 1)
    vnf["trust"] = dice.choices((0, 1, 2), (6, 3, 1))[0]
    if len(sites) > 1 and dice.random() < 0.1:
        vnf["sites"] = sorted({home, dice.choice(list(sites))})
    if dice.random() < 0.08:
        vnf["licence"] = dice.choice(LICENCES)
    return vnf


def _chain(name: str, shape: Family, dice: random.Random, sites: Sequence[str]) -> Chain:
    tenant = dice.choice(TENANTS)
    home = dice.choice(list(sites))
    vnfs = [_needy(f"v{n}", dice, home, sites) for n in range(dice.randint(*shape.vnfs))]
    away = dice.choice(list(sites)) if dice.random() < 0.2 else home
    ends = [{"id": "in", "at": f"{home}-gw"}, {"id": "out", "at": f"{away}-gw"}]
    names = ["in", *(v["id"] for v in vnfs), "out"]
    bw = dice.choice((50, 100, 200, 500, 1_000))
    pairs = list(pairwise(names))
    if len(vnfs) > 3 and dice.random() < 0.25:
        pairs.append((names[1], names[3]))  # a by-pass
    far = 2_000 * (len(sites) - 1)
    vlinks = [{"id": f"e{n}", "a": a, "b": b, "bw": bw, "max_lat": None} for n, (a, b) in enumerate(pairs)]
    if dice.random() < 0.3:
        dice.choice(vlinks)["max_lat"] = dice.choice((150, 300)) + (far if away != home else 0)
    paths = []
    if dice.random() < 0.4:
        bound = dice.choice((120, 200)) * (len(vnfs) + 1) + (far if away != home else 0)
        paths = [{"vlinks": [v["id"] for v in vlinks[: len(vnfs) + 1]], "max_lat": bound}]
    rules = []
    if dice.random() < shape.rules:
        _, kind, scope = dice.choices(RULES, [r[0] for r in RULES])[0]
        some = dice.sample([v["id"] for v in vnfs], 2 if scope == "rack" else min(len(vnfs), dice.randint(2, 3)))
        rules = [{"kind": kind, "scope": scope, "vnfs": sorted(some)}]
    value = 20_000 * len(vnfs)
    times = {"arrive": None, "leave": None}
    return {"id": name, "tenant": tenant, "value": value, **times, "ends": ends, "vnfs": vnfs, "vlinks": vlinks} | {
        "paths": paths,
        "rules": rules,
    }
