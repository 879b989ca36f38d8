"""What is told of a plan or refusal is so: counts add up, the next best is next, a proof names what is in the way."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import format_clouds
import pytest
from hypothesis import HealthCheck, given, settings
from placement_builders import (
    ALL,
    GIB,
    MIB,
    Isolation,
    Runtime,
    chain,
    cloud,
    demand,
    host,
    one,
    planned,
    refused,
    request,
    worker,
)
from test_placement_properties import clouds, demands, requests

from vnfm.cli import render_chain
from vnfm.placement.alternatives import without
from vnfm.placement.book import NOTHING, Book
from vnfm.placement.engine import place
from vnfm.placement.estate import build_estate
from vnfm.placement.explain import explain
from vnfm.placement.inventory import Cell, FabricEdge, ObservedCost, Reservation
from vnfm.placement.placer import Placer
from vnfm.placement.plan import Plan, Proof, Refusal
from vnfm.placement.request import Demand, Link, Request, Rule, RuleKind, Scope
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.sorts import Sorts
from vnfm.placement.statement_io import parse_chain, parse_instance

ordinary = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CONTAINERS = frozenset({Runtime.CONTAINER, Runtime.KATA})
FW = demand("fw", artefacts=CONTAINERS, isolation=Isolation.TENANT)


def _apart(*ids: str, scope: Scope = Scope.NFVI_NODE) -> Rule:
    return Rule("apart", RuleKind.ANTI_AFFINITY, scope, tuple((i,) for i in ids))


def _racks(count: int, of: int, bandwidth_bps: int = 10**10) -> tuple[FabricEdge, ...]:
    up = [FabricEdge("local", f"h{i:02}", f"t{i // of}", bandwidth_bps, 5) for i in range(count)]
    return (*up, *(FabricEdge("local", f"t{r}", "spine", bandwidth_bps, 5) for r in range(count // of)))


# ---- hosts counted ----


@ordinary
@given(requests(), clouds())
def test_every_host_is_counted_once(asked: Request, snapshot: Snapshot) -> None:
    outcome = place(asked, snapshot)
    told = [a.filters for a in outcome.assignments] if isinstance(outcome, Plan) else [outcome.facts.get("filters")]
    for filters in told:
        if isinstance(filters, dict):
            assert filters["nodes"] == len(snapshot.hosts)
            assert sum(n for cause, n in filters.items() if cause != "nodes") == len(snapshot.hosts)
    if isinstance(outcome, Plan):
        assert all(a.filters["left"] >= 1 for a in outcome.assignments)


@ordinary
@given(demands("v"), clouds())
def test_the_hosts_left_are_those_that_would_take_it(asked: Demand, snapshot: Snapshot) -> None:
    outcome = place(request(asked), snapshot)
    open_to = {
        h.key
        for h in snapshot.hosts
        for runtime in Runtime
        for plan in [place(request(asked), snapshot, preferred={asked.id: (h.key, runtime)})]
        if isinstance(plan, Plan) and (plan.assignments[0].vim, plan.assignments[0].host) == h.key
        if plan.assignments[0].runtime is runtime
    }
    if isinstance(outcome, Plan):
        assert outcome.assignments[0].filters["left"] == len(open_to)
    else:
        assert not open_to


def test_of_many_hosts_the_causes_are_counted_and_only_the_chosen_one_is_named() -> None:
    hosts = [host(f"h{i:03}", trust=i % 4, cpu=500 if i >= 60 else 8_000) for i in range(100)]
    got = one(replace(FW, needs=replace(FW.needs, min_trust=2)), *hosts)
    assert got.filters == {"nodes": 100, "trust": 50, "insufficient CPU": 20, "left": 30}
    assert Counter(r.host for r in got.rejected) == {got.host: 2, "*": 3}
    assert {r.reason for r in got.rejected if r.host == "*" and r.runtime is Runtime.CONTAINER} == {
        "99 more hosts: 50 trust, 29 not the best, 20 insufficient CPU"
    }
    assert got.realizations["KATA"].startswith("would do, but is heavier than CONTAINER")
    assert got.realizations["VM"] == "all 100 hosts: the package has no disk image for vdu, which VM needs"


def test_a_container_in_a_worker_vm_is_told_of_where_the_chosen_host_cannot_have_it() -> None:
    got = one(FW, host("s1"), worker("w1", "s1"))
    assert got.realizations["NESTED"].startswith("would do, but is heavier than CONTAINER")
    far = one(
        replace(FW, needs=replace(FW.needs, sriov_ports=1)),
        replace(host("s1"), cells=(Cell(8_000, 16 * GIB, vfs=2),)),
        worker("w1", "s1"),
    )
    assert "on host w1 has no virtual function" in far.realizations["NESTED"]


# ---- the next best ----


@ordinary
@given(demands("v"), clouds())
def test_without_the_chosen_host_the_plan_costs_what_the_next_best_was_told_to(asked: Demand, base: Snapshot) -> None:
    plan = place(request(asked), base)
    if not isinstance(plan, Plan):
        return
    got = plan.assignments[0]
    second = got.runner_up
    if second is None or (second.vim, second.host) == (got.vim, got.host):
        return
    taken = {got.host}
    closed = [replace(h, runtimes=frozenset()) if h.id in taken else h for h in base.hosts]
    then = place(request(asked), base.with_hosts(closed))
    assert isinstance(then, Plan)
    assert sum(then.assignments[0].score.values()) - sum(got.score.values()) == second.delta


def test_what_is_nearer_is_next_and_says_how_much_farther_it_is() -> None:
    hosts = [host(f"h{i:02}", cpu=1_000 if i == 0 else 8_000) for i in range(12)]
    asked = chain(FW, demand("rt", artefacts=CONTAINERS))
    link = Link("x", "fw-0", "rt-0", bandwidth_bps=100_000_000)
    plan = planned(replace(asked, links=(link,), ends=()), cloud(*hosts, fabric=_racks(12, 4)))
    second = plan.assignments[0].runner_up
    assert second is not None
    assert second.because.startswith("would do, but links are 2 hops")
    assert second.delta == 200


# ---- proofs ----


def test_too_few_zones_for_all_that_must_be_apart_is_proved() -> None:
    hosts = [host(f"h{i}", zone=f"z{i % 3}") for i in range(12)]
    vnfs = [replace(FW, id=f"v{i}", alias=f"v{i}") for i in range(4)]
    rule = _apart(*(v.id for v in vnfs), scope=Scope.ZONE)
    no = refused(chain(*vnfs, rules=(rule,)), cloud(*hosts))
    assert (no.proof, no.facts["vnfs"]) == (Proof.RULES, ["v0", "v1", "v2", "v3"])
    assert no.detail == (
        "rule apart (scope ZONE): v0, v1, v2, v3 must not share a zone, and there are too few that they fit on"
    )


def test_those_apart_are_at_least_an_uplink_each_away_from_each_other() -> None:
    hosts = [host(f"h{i:02}") for i in range(12)]
    vnfs = [replace(FW, id=f"v{i}", alias=f"v{i}") for i in range(3)]
    asked = chain(*vnfs, latency_us=40, rules=(_apart(*(v.id for v in vnfs)),))
    no = refused(asked, cloud(*hosts, fabric=_racks(12, 4)))  # 6 ends of 5 us, twice two uplinks of 5 us
    assert (no.proof, no.facts["least_us"], no.minimal_change) == (
        Proof.LATENCY,
        50,
        "raise latency bound of path main to 50 us",
    )


def test_a_raised_bound_is_one_that_is_kept_where_latencies_are_told() -> None:
    told = [host(f"h{i:02}", price_per_vcpu=1.0) for i in range(10)]
    cheap = [host(f"c{i}", vim=f"v{i}") for i in range(2)]  # cheap, and nobody tells how far apart
    asked = chain(FW, demand("rt"), latency_us=20, rules=(_apart("fw-0", "rt-0"),))
    no = refused(asked, cloud(*told, *cheap, fabric=_racks(10, 5)))
    assert no.minimal_change == "raise latency bound of path main to 30 us"


def test_what_has_to_leave_a_server_does_not_fit_through_its_uplink() -> None:
    hosts = [host(f"h{i:02}") for i in range(12)]
    asked = replace(
        chain(FW, demand("rt"), rules=(_apart("fw-0", "rt-0"),)),
        links=(Link("x", "fw-0", "rt-0", bandwidth_bps=3 * 10**9),),
        ends=(),
    )
    no = refused(asked, cloud(*hosts, fabric=_racks(12, 4, bandwidth_bps=10**9)))
    assert (no.proof, no.minimal_change) == (Proof.BANDWIDTH, "lower bandwidth of link x to 1000 Mbit/s")


def test_a_refused_host_is_told_with_counts_and_the_host_that_lacks_least() -> None:
    hosts = [host(f"h{i:03}", cpu=1_000 + 10 * i, trust=i % 2) for i in range(100)]
    no = refused(request(demand("big", cpu_milli=4_000, min_trust=1)), cloud(*hosts))
    assert no.facts == {"vnf": "big", "filters": {"nodes": 100, "trust": 50, "insufficient CPU": 50, "left": 0}}
    assert "50 hosts: needs 4 CPU: host h099 has 1.99 CPU free" in no.detail
    assert no.minimal_change == "2.1 more CPU on host h099"


def test_nothing_stays_of_a_change_that_was_tried_out() -> None:
    snapshot = cloud(host("a", cpu=1_000), host("b", memory=GIB))
    small, wide = request(demand("s")), request(demand("w", cpu_milli=9_000))
    before = planned(small, snapshot)
    no = refused(wide, snapshot)
    assert isinstance(no, Refusal)
    assert planned(small, snapshot) == before
    assert refused(wide, snapshot) == no


# ---- for people ----


def test_people_are_told_counts_and_not_lists() -> None:
    from rich.console import Console

    hosts = [host(f"h{i:03}", trust=i % 4, runtimes=ALL if i % 5 else CONTAINERS) for i in range(200)]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_chain.plan(explain(planned(chain(FW, demand("gw", own_os=True)), cloud(*hosts)), chain="c")))
    text = console.export_text()
    assert "hosts: 200 - 40 no realization = 160 left" in " ".join(text.split())
    assert len(text.splitlines()) < 45


# ---- what is kept ----


def test_a_cost_that_was_seen_moves_one_host_to_another_sort() -> None:
    snapshot = cloud(*(host(f"h{i}") for i in range(5)), worker("w", "h0"))
    assert planned(request(FW), snapshot)
    seen = snapshot.with_observed([ObservedCost("local", "h3", Runtime.CONTAINER, start_ms=7)])
    kept = seen.kept.made["sorts"]
    fresh = Sorts(seen.hosts, [seen.nested(h.key) for h in seen.hosts])
    assert sorted(x.tolist() for x in kept.members() if len(x)) == sorted(x.tolist() for x in fresh.members())
    held = [Reservation("r", "local", "h3", "blue", Runtime.VM, Isolation.NONE, 8_000, MIB)]
    assert planned(request(FW), seen.holding(held)) == planned(
        request(FW), Snapshot.of(1, seen.hosts, reservations=held)
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_draft_without_all_of_its_vnfs_takes_nothing(seed: int) -> None:
    raw = format_clouds.make("small", seed, chains=0)
    placer = Placer(Book(build_estate(parse_instance(raw))))
    for asked in format_clouds.requests("small", seed, 4):
        found = placer.find(parse_chain(asked, placer.book.estate.instance))
        if found.draft is None:
            continue
        rest = without(found.ask, placer.book, found.draft, tuple(found.draft.seats))
        assert not rest.used
        assert not rest.seats
        assert not rest.shares
        assert not any(rest.licences.values())
        assert all(amounts == NOTHING for amounts in rest.cell_used.values())
        assert {i for i in rest.routes if max(found.ask.wires[i].a, found.ask.wires[i].b) >= 0} == set()
