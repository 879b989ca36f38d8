"""What a descriptor, a chain or an operator may ask for beside realizations: racks, prices, licences, workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from placement_builders import Isolation, Runtime, chain, cloud, demand, host, one, planned, refused, request, worker

from vnfm.model.resources import Licence
from vnfm.placement.engine import place
from vnfm.placement.explain import explain
from vnfm.placement.types import Demand, End, Plan, Price, Proof, Rule, RuleKind, Scope

CONTAINERS = frozenset({Runtime.CONTAINER, Runtime.KATA})
FW = demand("fw", artefacts=CONTAINERS)
RT = demand("rt", artefacts=CONTAINERS)


def _rule(kind: RuleKind, scope: Scope, *ids: str) -> Rule:
    return Rule("r", kind, scope, tuple((i,) for i in ids))


def _apart(scope: Scope, *ids: str) -> Rule:
    return _rule(RuleKind.ANTI_AFFINITY, scope, *ids)


# ---- racks ----


def test_apart_by_rack_looks_through_worker_vms() -> None:
    bare: dict[str, Any] = {"runtimes": frozenset()}
    one_rack = (
        *(host("s1", rack="r1", **bare), worker("w1", "s1")),
        *(host("s2", rack="r1", **bare), worker("w2", "s2")),
    )
    asked = request(FW, RT, rules=(_apart(Scope.RACK, "fw-0", "rt-0"),))
    assert refused(replace(asked), cloud(*one_rack)).proof is Proof.RULES
    another = (host("s3", rack="r2", **bare), worker("w3", "s3"))
    plan = planned(asked, cloud(*one_rack, *another))
    assert "s3" in {a.host_path[0] for a in plan.assignments}
    assert "rule r: kept apart from rt (scope RACK)" in plan.assignments[0].reasons


def test_together_by_rack_may_be_on_two_servers_of_it() -> None:
    hosts = (host("a", rack="r1", cpu=1_000), host("b", rack="r2"), host("c", rack="r1", cpu=1_000))
    small = request(FW, RT, rules=(_rule(RuleKind.AFFINITY, Scope.RACK, "fw-0", "rt-0"),))
    racks = {h.id: h.rack for h in hosts}
    plan = planned(replace(small, rules=(*small.rules, _apart(Scope.NFVI_NODE, "fw-0", "rt-0"))), cloud(*hosts))
    assert [racks[a.host] for a in plan.assignments] == ["r1", "r1"]


def test_a_rack_of_one_name_in_another_zone_is_another_rack() -> None:
    asked = request(FW, RT, rules=(_apart(Scope.RACK, "fw-0", "rt-0"),))
    assert planned(asked, cloud(host("a", zone="z1", rack="1"), host("b", zone="z2", rack="1")))
    assert refused(asked, cloud(host("a", zone="z1", rack="1"), host("b", zone="z1", rack="1"))).proof is Proof.RULES


def test_apart_by_rack_holds_against_what_stands_already() -> None:
    stays = End("old", "local", "a", Runtime.CONTAINER)
    hosts = (host("a", rack="r1"), host("b", rack="r1"), host("c", rack="r2", price_per_vcpu=5.0))
    plan = planned(request(FW, ends=(stays,), rules=(_apart(Scope.RACK, "fw-0", "old"),)), cloud(*hosts))
    assert plan.assignments[0].host == "c"


# ---- prices ----


def test_the_cheaper_host_is_taken_and_the_plan_says_what_it_costs() -> None:
    got = one(demand(cpu_milli=2_000), host("a", price_per_vcpu=1.5), host("b", price_per_vcpu=0.4))
    assert (got.host, got.price) == ("b", Price(per_vcpu=0.4, cpus=0.8))
    told = explain(planned(request(demand()), cloud(host(price_per_vcpu=2.0))))
    assert told["vnfs"][0]["price"] == {"per_vcpu": 2.0, "cpus": 2.0, "switch_on": 0.0}


def test_of_two_servers_that_are_off_the_one_is_switched_on_that_costs_less() -> None:
    hosts = (host("a", active=False, on_cost=30.0), host("b", active=False, on_cost=20.0))
    plan = planned(request(FW, RT), cloud(*hosts))
    assert [(a.host, a.price.switch_on) for a in plan.assignments] == [("b", 20.0), ("b", 0.0)]


def test_a_server_that_is_on_is_taken_however_little_another_costs() -> None:
    assert one(demand(), host("a", price_per_vcpu=90.0), host("b", active=False, on_cost=0.0)).host == "a"


# ---- licences ----


def _licensed(alias: str, count: int = 1, **changes: Any) -> Demand:
    return demand(alias, artefacts=CONTAINERS, licence="dpi", licence_count=count, **changes)


def test_a_licence_is_taken_where_there_is_one() -> None:
    hosts = (host("a", site="x"), host("b", site="y", price_per_vcpu=9.0))
    pools = [Licence("local", "dpi", "y", 2), Licence("local", "voice", "x", 5)]
    plan = planned(request(_licensed("fw", 2)), cloud(*hosts, licences=pools))
    assert plan.assignments[0].host == "b"
    assert (plan.reservations[0].licence, plan.reservations[0].licence_count) == ("dpi", 2)


def test_licences_that_are_held_are_not_given_twice_and_come_back() -> None:
    snapshot = cloud(host(site="x"), licences=[Licence("local", "dpi", "x", 3)])
    plan = planned(request(_licensed("fw", 2)), snapshot)
    held = snapshot.holding(plan.reservations)
    no = refused(request(_licensed("rt", 2)), held)
    assert (no.proof, no.minimal_change) == (Proof.HOST, "1 more of licence dpi at site x")
    assert "needs 2 of licence dpi: 1 are left at site x" in no.detail
    assert planned(request(_licensed("rt", 1)), held)
    assert planned(request(_licensed("rt", 2)), held.releasing(["fw-0"]))


def test_a_chain_does_not_count_one_licence_for_two() -> None:
    snapshot = cloud(host(site="x"), host("b", site="y"), licences=[Licence("local", "dpi", "x", 3)])
    assert planned(chain(_licensed("fw", 1), _licensed("rt", 2)), snapshot)
    no = refused(chain(_licensed("fw", 2), _licensed("rt", 2)), snapshot)
    assert (no.proof, no.minimal_change) == (Proof.LICENCE, "1 more of licence dpi at site x")


def test_pools_of_two_vims_at_one_site_are_one() -> None:
    hosts = (host("a", vim="v1", site="x"), host("b", vim="v2", site="x"))
    pools = [Licence("v1", "dpi", "x", 1), Licence("v2", "dpi", "x", 1)]
    assert planned(request(_licensed("fw", 2)), cloud(*hosts, licences=pools))


@pytest.mark.parametrize("site", ["", "x"])
def test_a_pool_without_a_site_is_that_of_the_vims_only_one(site: str) -> None:
    assert planned(request(_licensed("fw")), cloud(host(site=site), licences=[Licence("local", "dpi", "", 1)]))


def test_nobody_has_a_licence_that_is_not_told() -> None:
    no = refused(request(_licensed("fw")), cloud())
    assert (no.proof, no.minimal_change) == (Proof.HOST, "1 more of licence dpi in VIM local")
    assert isinstance(place(request(replace(FW, needs=replace(FW.needs, isolation=Isolation.TENANT))), cloud()), Plan)
