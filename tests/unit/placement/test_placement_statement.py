"""The stated problem is read strictly, and what is wrong is named by its path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vnfm.model.problem import ProblemError
from vnfm.placement.solution_io import parse_solution, solution_dict
from vnfm.placement.statement import NodeKind, RuleKind, Scope
from vnfm.placement.statement_io import parse_chain, parse_instance


def small() -> dict[str, Any]:
    def kind(isolation: int, shared: bool) -> dict[str, Any]:
        return {"cpu": 10, "mem": 20, "start": 300, "lat": 5, "cost": 7, "isolation": isolation, "own_kernel": False,
                "own_os": False, "sriov": True, "gpu": True, "pin": True, "shared_kernel": shared}  # fmt: skip

    cell = {"cpu": 8000, "mem": 16384, "hugepages": 1024, "vfs": 4, "gpus": 0}
    node = {"kind": "server", "site": "s0", "zone": "z0", "rack": "r0", "trust": 1, "tenant": None,
            "runtimes": ["container", "vm"], "cells": [cell, cell], "price": 1, "on_cost": 50, "active": False,
            "parent": None}  # fmt: skip
    worker = {**node, "id": "w0", "kind": "worker", "runtimes": ["nested"], "cells": [cell], "parent": "n0"}
    vnf = {"cpu": 1000, "mem": 512, "hugepages": 0, "vfs": 0, "gpus": 0, "numa_strict": False, "pin": False,
           "isolation": 1, "own_kernel": False, "own_os": False, "trust": 0, "max_start": None,
           "artefacts": ["container"], "sites": None, "zones": ["z0"], "licence": "fw"}  # fmt: skip
    return {
        "format": "vnf-placement-bench/1",
        "name": "small",
        "family": "test",
        "seed": 1,
        "catalogue": {"container": kind(1, True), "nested": kind(2, True), "vm": kind(4, False)},
        "nodes": [{**node, "id": "n0"}, {**node, "id": "n1"}, worker],
        "switches": ["t0"],
        "links": [
            {"id": "l0", "a": "n0", "b": "t0", "bw": 1000, "lat": 10},
            {"id": "l1", "a": "n1", "b": "t0", "bw": 1000, "lat": 10},
        ],
        "licences": [{"id": "fw", "site": "s0", "count": 3}],
        "weights": {"bw_hop": 2},
        "chains": [
            {
                "id": "c0", "tenant": "a", "value": 1000, "arrive": None, "leave": None,
                "ends": [{"id": "in", "at": "t0"}],
                "vnfs": [{**vnf, "id": "v0"}, {**vnf, "id": "v1"}],
                "vlinks": [{"id": "e0", "a": "in", "b": "v0", "bw": 10, "max_lat": None},
                           {"id": "e1", "a": "v0", "b": "v1", "bw": 10, "max_lat": 100}],
                "paths": [{"vlinks": ["e0", "e1"], "max_lat": 200}],
                "rules": [{"kind": "anti-affinity", "scope": "server", "vnfs": ["v0", "v1"]}],
            }
        ],
    }  # fmt: skip


def test_an_instance_is_read_with_its_units() -> None:
    instance = parse_instance(small())
    assert instance.catalogue["vm"].isolation == 4
    assert [n.kind for n in instance.nodes] == [NodeKind.SERVER, NodeKind.SERVER, NodeKind.WORKER]
    assert instance.nodes[0].cells[1].hugepages_mib == 1024
    assert instance.nodes[2].parent == "n0"
    assert instance.bandwidth_hop_cost == 2
    chain = instance.chains[0]
    assert chain.vnfs[0].zones == ("z0",)
    assert chain.vnfs[0].sites is None
    assert chain.vlinks[1].max_latency_us == 100
    assert chain.paths[0].max_latency_us == 200
    assert (chain.rules[0].kind, chain.rules[0].scope) == (RuleKind.ANTI_AFFINITY, Scope.SERVER)


def test_a_node_may_have_values_of_its_own_and_open_workers() -> None:
    data = small()
    data["worker_sizes"] = [{"id": "w.small", "cpu": 2000, "mem": 2048, "cost": 30, "start": 9000}]
    data["nodes"][0] |= {"catalogue": {"vm": {"start": 40000}}, "opens": ["w.small"], "arch": "arm64", "disk": 100}
    node = parse_instance(data).nodes[0]
    assert node.catalogue["vm"].start_ms == 40000
    assert node.catalogue["vm"].isolation == 4
    assert (node.opens, node.arch, node.disk_mib) == (("w.small",), "arm64", 100)


@pytest.mark.parametrize(
    ("where", "value", "path"),
    [
        (("nodes", 1, "cells", 0, "cpu"), -1, "nodes[1].cells[0].cpu"),
        (("nodes", 1, "cells", 0, "cpu"), 1.5, "nodes[1].cells[0].cpu"),
        (("nodes", 1, "cells"), [], "nodes[1].cells"),
        (("nodes", 1, "id"), "n0", "nodes[1].id"),
        (("nodes", 2, "parent"), "n7", "nodes[2].parent"),
        (("nodes", 2, "parent"), None, "nodes[2].parent"),
        (("nodes", 2, "parent"), "w0", "nodes[2].parent"),
        (("nodes", 0, "parent"), "n1", "nodes[0].parent"),
        (("nodes", 0, "kind"), "toaster", "nodes[0].kind"),
        (("nodes", 0, "runtimes"), ["container", "jail"], "nodes[0].runtimes[1]"),
        (("nodes", 0, "active"), 1, "nodes[0].active"),
        (("nodes",), {}, "nodes"),
        (("switches",), ["n0"], "switches[0]"),
        (("links", 0, "b"), "t9", "links[0].b"),
        (("links", 0, "b"), "n0", "links[0].b"),
        (("links", 1, "a"), "w0", "links[1].a"),
        (("links", 1, "id"), "l0", "links[1].id"),
        (("links", 1, "bw"), True, "links[1].bw"),
        (("licences", 0, "count"), -3, "licences[0].count"),
        (("weights", "bw_hop"), "2", "weights.bw_hop"),
        (("catalogue", "vm", "lat"), None, "catalogue.vm.lat"),
        (("catalogue",), [], "catalogue"),
        (("chains", 0, "ends", 0, "at"), "moon", "chains[0].ends[0].at"),
        (("chains", 0, "vnfs", 1, "id"), "v0", "chains[0].vnfs[1].id"),
        (("chains", 0, "vnfs", 1, "artefacts"), ["jail"], "chains[0].vnfs[1].artefacts[0]"),
        (("chains", 0, "vnfs", 1, "mem"), -1, "chains[0].vnfs[1].mem"),
        (("chains", 0, "vlinks", 1, "b"), "v9", "chains[0].vlinks[1].b"),
        (("chains", 0, "paths", 0, "vlinks"), ["e9"], "chains[0].paths[0].vlinks[0]"),
        (("chains", 0, "rules", 0, "scope"), "shelf", "chains[0].rules[0].scope"),
        (("chains", 0, "rules", 0, "vnfs"), ["v0", "v0"], "chains[0].rules[0].vnfs"),
        (("format",), "other/1", "format"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(where: tuple[Any, ...], value: object, path: str) -> None:
    data = json.loads(json.dumps(small()))
    at: Any = data
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = value
    with pytest.raises(ProblemError) as wrong:
        parse_instance(data)
    assert wrong.value.problem.instance == path
    assert wrong.value.problem.word == "invalid-request"


def test_parents_in_a_circle_are_refused() -> None:
    data = small()
    data["nodes"].append({**data["nodes"][2], "id": "w1", "parent": "w0"})
    data["nodes"][2]["parent"] = "w1"
    with pytest.raises(ProblemError, match=r"nodes\[2\]\.parent: .*circle"):
        parse_instance(data)


def test_a_chain_is_read_against_its_instance() -> None:
    data = small()
    instance = parse_instance({**data, "chains": []})
    assert parse_chain(data["chains"][0], instance).id == "c0"
    with pytest.raises(ProblemError, match="expected an object"):
        parse_chain([], instance)


def test_solutions_come_back_as_they_went() -> None:
    told = {
        "format": "vnf-placement-solution/1",
        "instance": "small",
        "objective": 12,
        "chains": [
            {
                "id": "c0", "accepted": True,
                "vnfs": {"v0": {"node": "n0", "realization": "vm", "cell": 1}},
                "vlinks": {"e0": ["l0", "l1"], "e1": []},
            },
            {"id": "c1", "accepted": False, "reason": {"proof": "host"}},
        ],
    }  # fmt: skip
    assert json.dumps(solution_dict(parse_solution(told))) == json.dumps(told)
