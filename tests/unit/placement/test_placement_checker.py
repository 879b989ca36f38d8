"""The checker finds each broken constraint of the format, and nothing where nothing is broken."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from format_checker import Ledger, Verdict, check
from format_clouds import FAMILIES, affinity, identical, make, requests

CELL = {"cpu": 4_000, "mem": 8_000, "hugepages": 1_024, "vfs": 2, "gpus": 0}


def node(name: str, **changes: Any) -> dict[str, Any]:
    """A server of two cells in rack r0, unless told otherwise."""
    where = {"site": "s0", "zone": "z0", "rack": "r0", "trust": 1, "tenant": None, "parent": None}
    cost = {"price": 2, "on_cost": 700, "active": True}
    server = {"id": name, "kind": "server", "runtimes": ["container", "vm"], "cells": [dict(CELL), dict(CELL)]}
    return {**server, **where, **cost, **changes}


@pytest.fixture
def cloud() -> tuple[dict[str, Any], dict[str, Any]]:
    """Three servers and a worker behind a switch, a chain in - v0 - v1 - out, and an answer that breaks nothing."""
    instance = make("tiny", 0, chains=0)
    nodes = [node("n0"), node("n1", active=False), node("n2", rack="r1", zone="z1", site="s1", price=5)]
    nodes.append(
        node("w", kind="worker", parent="n0", runtimes=["nested"], tenant="blue", cells=[dict(CELL)], on_cost=0)
    )
    links = [{"id": f"l{n}", "a": f"n{n}", "b": "tor", "bw": 1_000, "lat": 5} for n in range(3)]
    links.append({"id": "up", "a": "tor", "b": "gw", "bw": 1_000, "lat": 20})
    template = make("tiny", 0, chains=1)["chains"][0]["vnfs"][0]
    plain = {"cpu": 1_000, "mem": 512, "hugepages": 0, "vfs": 0, "gpus": 0, "numa_strict": False, "pin": False}
    open_ = {"isolation": 0, "own_kernel": False, "own_os": False, "trust": 0, "max_start": None, "sites": None}
    vnf = template | plain | open_ | {"zones": None, "licence": None, "artefacts": ["container", "nested", "vm"]}
    chain = {
        "id": "c",
        "tenant": "blue",
        "value": 9_000,
        "arrive": None,
        "leave": None,
        "ends": [{"id": "in", "at": "gw"}, {"id": "out", "at": "gw"}],
        "vnfs": [vnf | {"id": "v0"}, vnf | {"id": "v1"}],
        "vlinks": [
            {"id": f"e{n}", "a": a, "b": b, "bw": 100, "max_lat": None}
            for n, (a, b) in enumerate((("in", "v0"), ("v0", "v1"), ("v1", "out")))
        ],
        "paths": [],
        "rules": [],
    }
    instance.update(nodes=nodes, switches=["tor", "gw"], links=links, chains=[chain])
    instance["licences"] = [{"id": "lic", "site": "s0", "count": 1}]
    at = {"realization": "container", "cell": None}
    answer = {
        "id": "c",
        "accepted": True,
        "vnfs": {"v0": {"node": "n0", **at}, "v1": {"node": "n1", **at}},
        "vlinks": {"e0": ["up", "l0"], "e1": ["l0", "l1"], "e2": ["l1", "up"]},
    }
    return instance, {"format": "vnf-placement-solution/1", "instance": instance["name"], "chains": [answer]}


def kinds(instance: dict[str, Any], solution: dict[str, Any]) -> set[str]:
    """Of what is broken."""
    return check(instance, solution).kinds


Cloud = tuple[dict[str, Any], dict[str, Any]]


def test_a_right_answer_breaks_nothing_and_costs_what_the_format_says(cloud: Cloud) -> None:
    verdict = check(*cloud)
    assert verdict.violations == ()
    assert verdict.objective == 700 + 2 * (100 + 2 * 1_000) + 2 * 100 * 6


def test_a_refused_chain_costs_its_value(cloud: Cloud) -> None:
    instance, solution = cloud
    solution["chains"] = [{"id": "c", "accepted": False, "reason": "none"}]
    assert check(instance, solution) == Verdict((), 9_000)


@pytest.mark.parametrize(
    ("changes", "node_changes"),
    [
        ({"isolation": 2}, {}),
        ({"own_kernel": True}, {}),
        ({"own_os": True}, {}),
        ({"max_start": 10}, {}),
        ({"artefacts": ["vm"]}, {}),
        ({"trust": 2}, {}),
        ({"sites": ["s1"]}, {}),
        ({"zones": ["z1"]}, {}),
        ({}, {"tenant": "green"}),
        ({}, {"runtimes": ["vm"]}),
    ],
)
def test_a_realization_that_is_not_allowed(cloud: Cloud, changes: Any, node_changes: Any) -> None:
    instance, solution = cloud
    instance["chains"][0]["vnfs"][0].update(changes)
    instance["nodes"][0].update(node_changes)
    assert kinds(instance, solution) == {"realization"}


@pytest.mark.parametrize(("need", "ability"), [({"vfs": 1}, "sriov"), ({"gpus": 1}, "gpu"), ({"pin": True}, "pin")])
def test_an_ability_that_the_realization_lacks(cloud: Cloud, need: Any, ability: str) -> None:
    instance, solution = cloud
    instance["nodes"][0]["cells"][0]["gpus"] = 1
    instance["chains"][0]["vnfs"][0].update(need)
    assert kinds(instance, solution) == set()
    instance["catalogue"]["container"][ability] = False
    assert kinds(instance, solution) == {"realization"}


def test_overhead_counts_towards_capacity(cloud: Cloud) -> None:
    instance, solution = cloud
    instance["chains"][0]["vnfs"][0]["cpu"] = 7_980
    assert kinds(instance, solution) == set()
    instance["chains"][0]["vnfs"][0]["cpu"] += 1
    assert kinds(instance, solution) == {"capacity"}


def test_a_strict_function_fits_in_its_cell_and_others_float_round_it(cloud: Cloud) -> None:
    instance, solution = cloud
    first, second = instance["chains"][0]["vnfs"]
    answer = solution["chains"][0]
    first.update(cpu=3_980, numa_strict=True)
    answer["vnfs"]["v0"]["cell"] = 1
    assert kinds(instance, solution) == set()
    first["cpu"] += 1
    assert kinds(instance, solution) == {"capacity"}
    first["cpu"] -= 1
    second.update(cpu=500, numa_strict=True)
    answer["vnfs"]["v1"].update(node="n0", cell=1)
    answer["vlinks"] = {"e0": ["up", "l0"], "e1": [], "e2": ["l0", "up"]}
    assert kinds(instance, solution) == {"capacity"}
    answer["vnfs"]["v1"]["cell"] = 0
    assert kinds(instance, solution) == set()


def test_a_strict_function_names_a_cell_and_no_other_does(cloud: Cloud) -> None:
    instance, solution = cloud
    solution["chains"][0]["vnfs"]["v0"]["cell"] = 0
    assert kinds(instance, solution) == {"form"}
    instance["chains"][0]["vnfs"][0]["numa_strict"] = True
    assert kinds(instance, solution) == set()
    solution["chains"][0]["vnfs"]["v0"]["cell"] = 2
    assert kinds(instance, solution) == {"form"}


def test_a_careful_tenant_shares_its_kernel_with_no_other(cloud: Cloud) -> None:
    instance, solution = cloud
    other, answer = deepcopy(instance["chains"][0]), deepcopy(solution["chains"][0])
    other.update(id="d", tenant="green")
    answer["id"] = "d"
    instance["chains"].append(other)
    solution["chains"].append(answer)
    assert kinds(instance, solution) == set()
    other["vnfs"][0]["isolation"] = 1
    assert kinds(instance, solution) == {"kernel"}
    for at in answer["vnfs"].values():
        at["realization"] = "vm"
    assert kinds(instance, solution) == set()


@pytest.mark.parametrize(
    "path",
    [
        ["up", "l1"],
        ["up"],
        [],
        ["up", "up", "up", "l0"],
        ["l0", "up"],
    ],
)
def test_a_path_that_does_not_join_its_ends(cloud: Cloud, path: list[str]) -> None:
    instance, solution = cloud
    solution["chains"][0]["vlinks"]["e0"] = path
    assert "path" in kinds(instance, solution)


def test_a_path_through_a_third_server(cloud: Cloud) -> None:
    instance, solution = cloud
    instance["links"] += [{"id": "x", "a": "n0", "b": "n2", "bw": 999, "lat": 1}]
    solution["chains"][0]["vlinks"]["e0"] = ["up", "l2", "x"]
    assert kinds(instance, solution) == {"path"}


def test_bandwidth_is_shared_by_both_directions(cloud: Cloud) -> None:
    instance, solution = cloud
    instance["links"][3]["bw"] = 200
    assert kinds(instance, solution) == set()
    instance["links"][3]["bw"] = 199
    assert kinds(instance, solution) == {"bandwidth"}


def test_latency_counts_the_realizations_of_both_ends(cloud: Cloud) -> None:
    instance, solution = cloud
    chain = instance["chains"][0]
    chain["vlinks"][1]["max_lat"] = 5 + 5 + 2 * 10
    chain["paths"] = [{"vlinks": ["e0", "e1", "e2"], "max_lat": 25 + 10 + 25 + 4 * 10}]
    assert kinds(instance, solution) == set()
    chain["vlinks"][1]["max_lat"] -= 1
    assert kinds(instance, solution) == {"latency"}
    chain["vlinks"][1]["max_lat"] += 1
    chain["paths"][0]["max_lat"] -= 1
    assert kinds(instance, solution) == {"latency"}


@pytest.mark.parametrize(
    ("kind", "scope", "broken"),
    [
        ("affinity", "server", True),
        ("anti-affinity", "server", False),
        ("affinity", "rack", False),
        ("anti-affinity", "rack", True),
        ("affinity", "zone", False),
        ("anti-affinity", "site", True),
    ],
)
def test_rules_at_every_scope(cloud: Cloud, kind: str, scope: str, broken: bool) -> None:
    instance, solution = cloud
    instance["chains"][0]["rules"] = [{"kind": kind, "scope": scope, "vnfs": ["v0", "v1"]}]
    assert kinds(instance, solution) == ({"rule"} if broken else set())


def test_a_worker_is_its_server(cloud: Cloud) -> None:
    instance, solution = cloud
    answer = solution["chains"][0]
    answer["vnfs"]["v1"].update(node="w", realization="nested")
    answer["vlinks"] = {"e0": ["up", "l0"], "e1": [], "e2": ["l0", "up"]}
    assert kinds(instance, solution) == set()
    instance["chains"][0]["rules"] = [{"kind": "anti-affinity", "scope": "server", "vnfs": ["v0", "v1"]}]
    assert kinds(instance, solution) == {"rule"}


def test_licences_are_counted_by_site(cloud: Cloud) -> None:
    instance, solution = cloud
    first, second = instance["chains"][0]["vnfs"]
    first["licence"] = "lic"
    assert kinds(instance, solution) == set()
    second["licence"] = "lic"
    assert kinds(instance, solution) == {"licence"}
    first["licence"], second["licence"] = None, "other"
    assert kinds(instance, solution) == {"licence"}


def test_answers_that_are_not_of_the_instance(cloud: Cloud) -> None:
    instance, solution = cloud
    answer = solution["chains"][0]
    assert kinds(instance, {**solution, "instance": "other"}) == {"form"}
    assert kinds(instance, {**solution, "chains": []}) == {"form"}
    assert kinds(instance, {**solution, "chains": [answer, answer]}) == {"form"}
    for part, key in (("vnfs", "v0"), ("vlinks", "e0")):
        lacking = deepcopy(answer)
        del lacking[part][key]
        assert kinds(instance, {**solution, "chains": [lacking]}) == {"form"}
    for change in ({"node": "ghost"}, {"realization": "ghost"}):
        ghost = deepcopy(answer)
        ghost["vnfs"]["v0"].update(change)
        assert kinds(instance, {**solution, "chains": [ghost]}) == {"form"}


def test_removing_undoes_adding(cloud: Cloud) -> None:
    instance, solution = cloud
    ledger = Ledger(instance)
    for _ in range(20):  # would not fit twenty times
        assert ledger.add(instance["chains"][0], solution["chains"][0]) == []
        assert ledger.cost() > 0
        ledger.remove("c")
    assert ledger.cost() == 0
    assert not any(n for used in ledger.whole.values() for n in used.values())


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "dc10k"])
def test_a_seed_always_gives_the_same_instance(family: str) -> None:
    one, two, other = (json.dumps(make(family, seed)) for seed in (1, 1, 2))
    assert one == two != other
    assert list(requests(family, 1, 5)) == list(requests(family, 1, 5))


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "dc10k"])
def test_instances_name_only_what_they_have(family: str) -> None:
    instance = make(family, 3)
    ids = [x["id"] for part in ("nodes", "links", "chains") for x in instance[part]] + instance["switches"]
    assert len(ids) == len(set(ids))
    vertices = {n["id"] for n in instance["nodes"] if n["kind"] == "server"} | set(instance["switches"])
    assert all(k["a"] in vertices and k["b"] in vertices for k in instance["links"])
    assert all(e["at"] in vertices for c in instance["chains"] for e in c["ends"])
    assert any(n["kind"] == "worker" for n in instance["nodes"])


def test_the_larger_clouds_have_the_size_of_their_names() -> None:
    assert sum(n["kind"] == "server" for n in make("dc1k", 0)["nodes"]) == 1_000
    assert len(identical(500, 3)["nodes"]) == 500
    ruled, plain = affinity(0, 5, ruled=True), affinity(0, 5, ruled=False)
    assert [c["vnfs"] for c in ruled] == [c["vnfs"] for c in plain]
    assert all(len(c["rules"]) == 3 for c in ruled)
