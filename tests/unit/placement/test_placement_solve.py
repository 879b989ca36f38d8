"""The optimal path: right answers, proofs that hold, and its deadline, through the same command that people use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from format_checker import Ledger, check
from format_clouds import make

pytest.importorskip("ortools", reason="the optimal path needs OR-Tools (tools/setup_python.sh installs it)")

from vnfm.placement.optimal.books import Books, booked
from vnfm.placement.optimal.bound import chain_bounds
from vnfm.placement.optimal.cloud import Cloud
from vnfm.placement.optimal.model import Model
from vnfm.placement.optimal.process import solve
from vnfm.placement.optimal.search import Found, Search, Settings
from vnfm.placement.optimal.wire import instance_dict
from vnfm.placement.solution_io import parse_solution, solution_dict
from vnfm.placement.statement import Answer, Solution
from vnfm.placement.statement_io import parse_instance

PATIENCE_SECONDS = 60.0  # it ends as soon as the best is proved; a busy machine needs longer


def whole(raw: dict[str, Any], *, grouped: bool = True, seconds: float = 20) -> tuple[Solution, bool]:
    """The exact model of all chains on all nodes; whether it is proved."""
    instance = parse_instance(raw)
    cloud = Cloud(instance)
    model = Model(Books(cloud), instance.chains, range(len(cloud.nodes)), grouped=grouped)
    result = model.solve(seconds, threads=2, seed=1)
    answers = tuple(result.answers.get(c.id, Answer(c.id, False)) for c in instance.chains)
    objective = booked(cloud, result.answers).objective()
    return Solution(instance.name, answers, objective, round(result.bound)), result.proved and result.laid


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m vnfm.placement.solve …`"""
    line = [sys.executable, "-m", "vnfm.placement.solve", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", range(8))
def test_the_exact_model_keeps_every_constraint_and_counts_the_objective_as_the_format_does(seed: int) -> None:
    raw = make("tiny", seed)
    solution, proved = whole(raw)
    verdict = check(raw, solution_dict(solution))
    assert verdict.violations == ()
    assert verdict.objective == solution.objective
    assert proved
    assert solution.bound == solution.objective


@pytest.mark.parametrize("seed", range(4))
def test_groups_of_switches_lose_nothing_against_every_switch_by_itself(seed: int) -> None:
    raw = make("tiny", seed, chains=2)
    assert whole(raw)[0].objective == whole(raw, grouped=False)[0].objective


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_is_what_trying_everything_finds(seed: int) -> None:
    raw = make("tiny", seed, chains=1)
    keep_small(raw)
    assert whole(raw)[0].objective == best_of_all(raw)


def keep_small(raw: dict[str, Any]) -> None:
    """Two VNFs in a row and no by-pass, so that everything can be tried."""
    chain = raw["chains"][0]
    chain["vnfs"] = chain["vnfs"][:2]
    names = ["in", *(v["id"] for v in chain["vnfs"]), "out"]
    old = chain["vlinks"][0]
    chain["vlinks"] = [old | {"id": f"e{n}", "a": a, "b": b} for n, (a, b) in enumerate(pairwise(names))]
    chain["paths"] = [{"vlinks": ["e0", "e1", "e2"], "max_lat": 150}]
    chain["rules"] = [{"kind": "anti-affinity", "scope": "server", "vnfs": names[1:3]}]


def best_of_all(raw: dict[str, Any]) -> int:
    """The least objective over every node, realization and cell, on shortest paths, by the checker's word."""
    chain = raw["chains"][0]
    nodes = {n["id"]: n for n in raw["nodes"]}
    best = int(chain["value"])
    ways = [
        [
            {"node": n, "realization": r, "cell": c}
            for n in nodes
            for r in nodes[n]["runtimes"]
            for c in cells(nodes[n], v)
        ]
        for v in chain["vnfs"]
    ]
    for chosen in product(*ways):
        at = {v["id"]: place for v, place in zip(chain["vnfs"], chosen, strict=True)}
        ends = {e["id"]: e["at"] for e in chain["ends"]} | {
            v: nodes[p["node"]]["parent"] or p["node"] for v, p in at.items()
        }
        paths = {v["id"]: shortest(raw, ends[v["a"]], ends[v["b"]]) for v in chain["vlinks"]}
        ledger = Ledger(raw)
        if not ledger.add(chain, {"id": chain["id"], "accepted": True, "vnfs": at, "vlinks": paths}):
            best = min(best, ledger.cost())
    return best


def cells(node: dict[str, Any], vnf: dict[str, Any]) -> list[int | None]:
    """That a VNF may name there."""
    return list(range(len(node["cells"]))) if vnf["numa_strict"] else [None]


def shortest(raw: dict[str, Any], begin: str, end: str) -> list[str]:
    """Links of a shortest path; in these clouds none leads through a server."""
    reached: dict[str, list[str]] = {begin: []}
    queue = [begin]
    for at in queue:
        for link in raw["links"]:
            for one, other in ((link["a"], link["b"]), (link["b"], link["a"])):
                if one == at and other not in reached:
                    reached[other] = [*reached[at], link["id"]]
                    queue.append(other)
    return reached[end]


def test_a_narrow_network_is_routed_round() -> None:
    raw = make("tiny", 1)
    for link in raw["links"]:
        if "agg0" in link["id"]:
            link["bw"] = 0
    solution, _ = whole(raw)
    assert check(raw, solution_dict(solution)).violations == ()
    assert any(a.accepted for a in solution.chains)
    used = {k for a in solution.chains for path in a.vlinks.values() for k in path}
    assert not any("agg0" in k for k in used)


def dual_homed(raw: dict[str, Any]) -> None:
    """Each server on the switch of the other rack, too: the network has no bridge left."""
    for link in list(raw["links"]):
        if link["id"].endswith("-tor") and "-n" in link["a"]:
            other = link["b"].replace("-r0-", "-r9-").replace("-r1-", "-r0-").replace("-r9-", "-r1-")
            raw["links"].append(link | {"id": link["id"] + "-2", "b": other, "lat": 3})


def ring_of_sites(raw: dict[str, Any]) -> None:
    """Two more gateways in a ring with the first, and an end at one of them."""
    raw["switches"] += ["far1", "far2"]
    far = {"bw": 1_000, "lat": 30}
    for n, (a, b) in enumerate((("s0-gw", "far1"), ("far1", "far2"), ("far2", "s0-gw"))):
        raw["links"].append({"id": f"ring{n}", "a": a, "b": b} | far)
    for chain in raw["chains"]:
        chain["ends"][1]["at"] = "far1"


def an_island(raw: dict[str, Any]) -> None:
    """The second rack is cut off from everything else."""
    raw["links"] = [k for k in raw["links"] if not (k["a"].endswith("r1-tor") and "agg" in k["b"])]


def a_server_between(raw: dict[str, Any]) -> None:
    """A server joins a further switch, where chains end, to the rest: nothing may pass through it."""
    raw["switches"].append("behind")
    raw["links"].append({"id": "back", "a": raw["nodes"][0]["id"], "b": "behind", "bw": 10_000, "lat": 1})
    for chain in raw["chains"]:
        chain["ends"][1]["at"] = "behind"


@pytest.mark.parametrize("change", [dual_homed, ring_of_sites, an_island, a_server_between])
@pytest.mark.parametrize("seed", [1, 3])
def test_networks_that_are_no_tree(change: Any, seed: int) -> None:
    raw = make("tiny", seed, chains=2)
    change(raw)
    grouped, proved = whole(raw)
    single, _ = whole(raw, grouped=False)
    for solution in (grouped, single):
        verdict = check(raw, solution_dict(solution))
        assert verdict.violations == ()
        assert verdict.objective == solution.objective
    assert proved
    assert grouped.objective == single.objective


@pytest.mark.parametrize("family", ["tiny", "small", "tight", "small2"])
def test_the_bound_without_a_solver_is_below_the_optimum(family: str) -> None:
    raw = make(family, 2, chains=3)
    bound = sum(chain_bounds(Cloud(parse_instance(raw))).values())
    solution, _ = whole(raw, seconds=10)
    assert 0 < bound <= (solution.bound or 0)


def test_neighbourhoods_alone_find_placements_for_chains_that_nobody_placed_before() -> None:
    raw = make("dc100", 0, chains=10)
    told: list[Found] = []
    # by processor time: on a busy machine six seconds may be nothing
    settings = Settings(time.process_time, time.process_time() + 8, 1, 2, told.append)
    search = Search(Cloud(parse_instance(raw)), settings)
    search.insertions(settings.until)
    search.neighbourhoods(settings.until)
    answers = tuple(search.best.get(c["id"], Answer(c["id"], False)) for c in raw["chains"])
    verdict = check(raw, solution_dict(Solution(raw["name"], answers)))
    assert verdict.violations == ()
    assert verdict.objective == search.objective < sum(c["value"] for c in raw["chains"]) / 3
    assert [f.objective for f in told] == sorted((f.objective for f in told), reverse=True)


def test_an_instance_goes_to_the_worker_and_comes_back_as_it_was() -> None:
    instance = parse_instance(make("small2", 3))
    assert parse_instance(json.loads(json.dumps(instance_dict(instance)))) == instance


def test_a_batch_without_chains_or_without_nodes() -> None:
    empty = make("tiny", 0, chains=0)
    assert solve(parse_instance(empty), PATIENCE_SECONDS).objective == 0
    nowhere = make("tiny", 0) | {"nodes": [], "links": []}
    solution = solve(parse_instance(nowhere), PATIENCE_SECONDS)
    assert solution.objective == solution.bound == sum(c["value"] for c in nowhere["chains"])


def test_workers_that_might_be_opened_are_left_closed_and_the_bound_still_holds() -> None:
    raw = make("small", 2)
    raw["worker_sizes"] = [{"id": "w", "cpu": 8_000, "mem": 16_384, "runtimes": ["nested"], "cost": 10}]
    for node in raw["nodes"]:
        node["opens"] = ["w"] if node["kind"] == "server" and "vm" in node["runtimes"] else []
    solution = solve(parse_instance(raw), 8.0)
    verdict = check(raw, solution_dict(solution))
    assert verdict.violations == ()
    assert not any(p.opened for a in solution.chains for p in a.vnfs.values())
    assert verdict.objective == solution.objective
    assert solution.objective is not None
    assert solution.bound is not None
    assert solution.bound <= solution.objective


def test_the_command_writes_a_right_solution_and_says_how_near_it_is(tmp_path: Path) -> None:
    raw = make("tiny", 4)
    (tmp_path / "i.json").write_text(json.dumps(raw))
    done = command(tmp_path / "i.json", "--time", PATIENCE_SECONDS, "-o", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "s.json").read_text())
    verdict = check(raw, written)
    assert verdict.violations == ()
    assert written["objective"] == verdict.objective == written["bound"]
    assert written["gap"] == 0
    assert parse_solution(written).objective == verdict.objective


@pytest.mark.parametrize(("family", "seconds"), [("mid", 1.0), ("dc1k", 2.0)])
def test_the_command_ends_in_time_with_the_best_it_has(tmp_path: Path, family: str, seconds: float) -> None:
    raw = make(family, 1)
    (tmp_path / "i.json").write_text(json.dumps(raw))
    begun = time.monotonic()
    done = command(tmp_path / "i.json", "--time", seconds, "-o", tmp_path / "s.json")
    assert time.monotonic() - begun < seconds + 2
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "s.json").read_text())
    verdict = check(raw, written)
    assert verdict.violations == ()
    assert verdict.objective == written["objective"] >= written["bound"] >= 0  # a busy machine may find nothing by then


def test_without_the_solver_the_fast_path_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make("small", 4)
    (tmp_path / "i.json").write_text(json.dumps(raw))
    (tmp_path / "ortools").mkdir()
    (tmp_path / "ortools" / "__init__.py").write_text("raise ImportError('no ortools here')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)]))
    done = command(tmp_path / "i.json", "--time", 12, "-o", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert "no ortools here" in done.stderr
    written = json.loads((tmp_path / "s.json").read_text())
    verdict = check(raw, written)
    assert verdict.violations == ()
    assert verdict.objective == written["objective"] >= written["bound"] > 0
    assert any(c["accepted"] for c in written["chains"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw["links"][2].update(a="nowhere"), "links[2].a"),
        (lambda raw: raw["nodes"][1]["cells"][0].update(cpu=-1), "nodes[1].cells[0].cpu"),
        (lambda raw: raw["chains"][0]["vlinks"][0].update(b="ghost"), "chains[0].vlinks[0].b"),
        (lambda raw: raw["nodes"][0].update(kind="worker", parent=raw["nodes"][0]["id"]), "nodes[0].parent"),
    ],
)
def test_a_wrong_instance_is_refused_with_the_path_of_the_field(tmp_path: Path, change: Any, told: str) -> None:
    raw = make("tiny", 0)
    change(raw)
    (tmp_path / "i.json").write_text(json.dumps(raw))
    done = command(tmp_path / "i.json", "--time", 1, "-o", tmp_path / "s.json")
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s.json").exists()


def test_wrong_use_of_the_command_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text("{")
    (tmp_path / "ok.json").write_text(json.dumps(make("tiny", 0, chains=0)))
    output = tmp_path / "s.json"
    for code, arguments in (
        (1, (tmp_path / "i.json", "-o", output)),
        (2, (tmp_path / "missing.json", "-o", output)),
        (2, (tmp_path / "ok.json",)),
        (2, (tmp_path / "ok.json", "-o", output, "--time", "nan")),
        (2, (tmp_path / "ok.json", "-o", output, "--time", "-1")),
        (1, (tmp_path / "ok.json", "-o", tmp_path / "no" / "folder.json", "--time", "1")),
    ):
        done = command(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert not output.exists()
