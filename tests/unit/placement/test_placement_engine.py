"""What the engine promises, on made-up clouds and against a checker that knows only the format."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

import format_checker
import format_clouds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnfm.model.problem import ProblemError
from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.placer import Effort, Placer, cost_of
from vnfm.placement.refusals import proof_of
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement_io import parse_chain, parse_instance

Json = dict[str, Any]
SEEDS = st.integers(0, 10**6)
FAMILIES = st.sampled_from(["tiny", "small", "tight", "small2", "mid", "dc100"])


def placer_of(cloud: Json, effort: Effort | None = None) -> Placer:
    return Placer(Book(build_estate(parse_instance(cloud))), effort)


def cloud_and_chains(family: str, seed: int, count: int) -> tuple[Json, list[Json]]:
    return format_clouds.make(family, seed, chains=0), list(format_clouds.requests(family, seed, count))


def state_of(book: Book) -> list[object]:
    return [
        book.free.tolist(),
        book.free_narrow.tolist(),
        book.cell_free.tolist(),
        book.cell_narrow.tolist(),
        book.left,
        book.cell_left,
        book.bandwidth,
        book.up_left.tolist(),
        book.licences,
        book.sharer.tolist(),
        book.guarded.tolist(),
        book.on_left,
        book.on_wide.tolist(),
    ]


def run(cloud: Json, chains: list[Json]) -> list[Json]:
    placer = placer_of(cloud)
    instance = placer.book.estate.instance
    return [answer_dict(placer.place(parse_chain(c, instance))) for c in chains]


@settings(max_examples=25, deadline=None)
@given(FAMILIES, SEEDS, st.randoms(use_true_random=False))
def test_no_answer_breaks_a_constraint_whatever_comes_and_goes(family: str, seed: int, dice: random.Random) -> None:
    cloud, chains = cloud_and_chains(family, seed, 25)
    placer, ledger = placer_of(cloud), format_checker.Ledger(cloud)
    instance = placer.book.estate.instance
    placed: list[str] = []
    for chain in chains:
        answer = placer.place(parse_chain(chain, instance))
        if answer.accepted:
            assert ledger.add(chain, answer_dict(answer)) == []
            placed.append(chain["id"])
        if placed and dice.random() < 0.3:
            gone = placed.pop(dice.randrange(len(placed)))
            placer.release(gone)
            ledger.remove(gone)
    assert (placer.book.free >= 0).all()
    assert (placer.book.cell_free >= 0).all()
    assert min(placer.book.bandwidth) >= 0


@settings(max_examples=25, deadline=None)
@given(FAMILIES, SEEDS, st.randoms(use_true_random=False))
def test_release_undoes_place_exactly(family: str, seed: int, dice: random.Random) -> None:
    cloud, chains = cloud_and_chains(family, seed, 12)
    placer = placer_of(cloud)
    instance = placer.book.estate.instance
    before = deepcopy(state_of(placer.book))
    placed = [c["id"] for c in chains if placer.place(parse_chain(c, instance)).accepted]
    dice.shuffle(placed)
    for chain in placed:
        placer.release(chain)
    assert state_of(placer.book) == before
    fresh = placer_of(cloud)
    for chain in chains:
        parsed = parse_chain(chain, instance)
        assert answer_dict(placer.place(parsed)) == answer_dict(fresh.place(parsed))


@settings(max_examples=20, deadline=None)
@given(FAMILIES, SEEDS, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_told_does_not_matter(family: str, seed: int, dice: random.Random) -> None:
    cloud, chains = cloud_and_chains(family, seed, 8)
    first = run(cloud, chains)
    for name in ("nodes", "switches", "links", "licences"):
        dice.shuffle(cloud[name])
    for link in cloud["links"]:
        if dice.random() < 0.5:
            link["a"], link["b"] = link["b"], link["a"]
    assert json.dumps(run(cloud, chains)) == json.dumps(first)


@settings(max_examples=20, deadline=None)
@given(FAMILIES, SEEDS, st.randoms(use_true_random=False))
def test_the_names_of_hosts_do_not_matter(family: str, seed: int, dice: random.Random) -> None:
    cloud, chains = cloud_and_chains(family, seed, 1)
    names = [n["id"] for n in cloud["nodes"]]
    others = [f"host-{i}" for i in range(len(names))]
    dice.shuffle(others)
    renamed = dict(zip(names, others, strict=True))
    told = json.loads(json.dumps(cloud))
    for node in told["nodes"]:
        node["id"] = renamed[node["id"]]
        node["parent"] = renamed.get(node["parent"])
    for link in told["links"]:
        link["a"], link["b"] = renamed.get(link["a"], link["a"]), renamed.get(link["b"], link["b"])
    costs = []
    for stated in (cloud, told):
        placer = placer_of(stated)
        found = placer.find(parse_chain(chains[0], placer.book.estate.instance))
        costs.append(None if found.draft is None else cost_of(found.ask, found.draft, placer.book))
    assert costs[0] == costs[1]


@settings(max_examples=15, deadline=None)
@given(FAMILIES, SEEDS)
def test_the_same_input_gives_the_same_bytes(family: str, seed: int) -> None:
    cloud, chains = cloud_and_chains(family, seed, 10)
    assert json.dumps(run(cloud, chains)) == json.dumps(run(cloud, chains))


@settings(max_examples=25, deadline=None)
@given(FAMILIES, SEEDS)
def test_nothing_is_proved_impossible_that_is_found(family: str, seed: int) -> None:
    cloud, chains = cloud_and_chains(family, seed, 20)
    placer = placer_of(cloud, Effort((12,), prove=False))
    for chain in chains:
        found = placer.find(parse_chain(chain, placer.book.estate.instance))
        if found.draft is not None:
            assert proof_of(found.ask, placer.book, placer.horizon, steps=2_000) is None
            placer.book.commit(chain["id"], found.draft, found.version)


@settings(max_examples=20, deadline=None)
@given(FAMILIES, SEEDS)
def test_what_is_told_of_a_cost_is_what_it_costs(family: str, seed: int) -> None:
    cloud, chains = cloud_and_chains(family, seed, 6)
    placer, ledger = placer_of(cloud), format_checker.Ledger(cloud)
    for chain in chains:
        parsed = parse_chain(chain, placer.book.estate.instance)
        told = placer.explain(parsed)
        before = ledger.cost()
        answer = placer.place(parsed)
        assert told["accepted"] == answer.accepted
        if answer.accepted:
            assert ledger.add(chain, answer_dict(answer)) == []
            assert told["cost"] == ledger.cost() - before
            vnfs = told["vnfs"]
            assert isinstance(vnfs, list)
            scores = [sum(v["score"].values()) for v in vnfs]
            between_ends = [x for x in chain["vlinks"] if {x["a"], x["b"]} <= {"in", "out"}]
            assert between_ends or sum(scores) == told["cost"]


def test_a_draft_on_an_old_version_is_checked_again() -> None:
    cloud, _ = cloud_and_chains("tiny", 1, 0)
    for node in cloud["nodes"]:
        node["cells"] = [{"cpu": 1_000, "mem": 4_096, "hugepages": 0, "vfs": 0, "gpus": 0}]
        node.update(tenant=None, runtimes=["container"] if node["kind"] == "server" else ["nested"])
    vnf = {"id": "v", "cpu": 600, "mem": 100, "artefacts": ["container"]}
    placer = placer_of(cloud)
    instance = placer.book.estate.instance
    first, second = (placer.find(parse_chain({"id": name, "vnfs": [vnf]}, instance)) for name in ("a", "b"))
    assert first.draft is not None
    assert second.draft is not None
    placer.book.commit("a", first.draft, first.version)
    with pytest.raises(ProblemError, match="gone since"):
        placer.book.commit("b", second.draft, second.version)
    with pytest.raises(ProblemError, match="placed already"):
        placer.book.commit("a", first.draft)
    with pytest.raises(ProblemError, match="no chain b"):
        placer.release("b")


@pytest.mark.parametrize(
    ("change", "proof", "told"),
    [
        ({"vnfs": [{"own_os": True, "artefacts": ["container"]}]}, "realization", "no operating system of its own"),
        ({"vnfs": [{"cpu": 900_000}]}, "host", "insufficient cpu"),
        ({"vnfs": [{"licence": "dpi-suite"}]}, "licence", "token of dpi-suite"),
        ({"vlinks": [{"max_lat": 3}]}, "latency", "3 are allowed"),
        ({"vlinks": [{"bw": 10**7}]}, "bandwidth", "Mbit/s"),
        ({"vnfs": [{}, {}], "rules": [("anti-affinity", "site")]}, "rules", "must not share a site"),
        ({"vnfs": [{"cpu": 10_000}] * 3, "rules": [("affinity", "server")]}, "rules", "together"),
    ],
)
def test_a_refusal_says_what_was_proved(change: Json, proof: str, told: str) -> None:
    cloud, _ = cloud_and_chains("tiny", 5, 0)
    cloud["licences"] = []
    vnfs = [{"id": f"v{i}", "cpu": 500, "mem": 256, "artefacts": list(cloud["catalogue"])} | v
            for i, v in enumerate(change.get("vnfs", [{}]))]  # fmt: skip
    vlink = {"id": "e", "a": "in", "b": "v0", "bw": 10}
    rules = [{"kind": k, "scope": s, "vnfs": [v["id"] for v in vnfs]} for k, s in change.get("rules", [])]
    chain = {
        "id": "c",
        "ends": [{"id": "in", "at": "s0-gw"}],
        "vnfs": vnfs,
        "vlinks": [vlink | v for v in change.get("vlinks", [{}])],
        "rules": rules,
    }
    placer = placer_of(cloud)
    answer = placer.place(parse_chain(chain, placer.book.estate.instance))
    assert not answer.accepted
    assert answer.reason is not None
    assert answer.reason["proof"] == proof
    assert told in str(answer.reason["detail"])
    assert answer.reason["minimal_change"]


def opening_cloud(*, cpu: int = 10_000) -> Json:
    cloud, _ = cloud_and_chains("tiny", 1, 0)
    cloud["nodes"] = [n for n in cloud["nodes"] if n["kind"] == "server"]
    cloud["worker_sizes"] = [{"id": "w4", "cpu": 4_000, "mem": 4_096, "start": 20_000, "cost": 70}]
    for node in cloud["nodes"]:
        node["cells"] = [{"cpu": cpu, "mem": 16_384, "hugepages": 0, "vfs": 0, "gpus": 0}]
        node.update(tenant=None, runtimes=["container", "vm"], opens=["w4"], trust=3, price=1, on_cost=0, active=True)
    return cloud


def behind_a_vm(name: str, **more: object) -> Json:
    return {"id": name, "vnfs": [{"id": "v", "cpu": 1_500, "mem": 64, "artefacts": ["nested"], "isolation": 2} | more]}


def test_a_worker_is_opened_where_containers_need_one_and_closed_behind_the_last() -> None:
    cloud = opening_cloud()
    placer = placer_of(cloud)
    instance = placer.book.estate.instance
    untouched = deepcopy(state_of(placer.book))
    first = placer.place(parse_chain(behind_a_vm("a"), instance))
    second = placer.place(parse_chain(behind_a_vm("b"), instance))
    third = placer.place(parse_chain(behind_a_vm("c"), instance))
    places = [answer.vnfs["v"] for answer in (first, second, third)]
    assert [p.opened for p in places] == ["w4"] * 3
    assert places[0].worker == places[1].worker
    assert places[2].worker != places[0].worker  # 2 * 1,540 mCPU of its 4,000 are gone
    index = placer.book.estate.index[places[0].node]
    assert placer.book.left[0][index] == 10_000 - 4_000 - cloud["catalogue"]["vm"]["cpu"]
    placer.release("a")
    assert placer.book.left[0][index] == 10_000 - 4_000 - cloud["catalogue"]["vm"]["cpu"]
    placer.release("c")
    placer.release("b")
    assert state_of(placer.book) == untouched


def test_a_worker_is_not_opened_where_its_server_has_no_room_or_it_would_start_too_late() -> None:
    placer = placer_of(opening_cloud(cpu=4_000))
    instance = placer.book.estate.instance
    assert not placer.place(parse_chain(behind_a_vm("a"), instance)).accepted
    placer = placer_of(opening_cloud())
    instance = placer.book.estate.instance
    late = placer.place(parse_chain(behind_a_vm("a", max_start=5_000), instance))
    assert late.reason is not None
    assert late.reason["minimal_change"] == "v: start bound >= 20500 ms"


def test_a_server_never_holds_more_than_it_has_beside_the_workers_opened_on_it() -> None:
    cloud = opening_cloud()
    placer = placer_of(cloud)
    instance, book = placer.book.estate.instance, placer.book
    plain = {"id": "p", "vnfs": [{"id": "v", "cpu": 2_000, "mem": 64, "artefacts": ["container"]}]}
    for turn in range(40):
        placer.place(parse_chain(behind_a_vm(f"n{turn}"), instance))
        placer.place(parse_chain(plain | {"id": f"p{turn}"}, instance))
        assert (book.free >= 0).all()
    told = placer.explain(parse_chain(behind_a_vm("x"), instance))
    assert told["accepted"] is False
    for chain in list(book.held)[::2]:
        placer.release(chain)
        assert (book.free >= 0).all()
