"""A chain stays in one VIM as long as links cannot span VIMs; classifiers are refused before anything is built."""

from __future__ import annotations

import pytest

from vnfm.lcm.placing import Ground, Spread, place_over
from vnfm.lcm.planning import graph_of
from vnfm.model.chain import ChainEnd, ChainVnf, ForwardingPath, Match, PathHop, ServiceChain
from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import Cell, Demand, Host, Plan, Refusal, Request

GIB = 1 << 30


def host(vim: str, *runtimes: Runtime) -> Host:
    return Host(f"host-{vim}", vim, (Cell(8000, 16 * GIB),), frozenset(runtimes))


def demand(alias: str, level: Isolation) -> Demand:
    both = frozenset({Runtime.CONTAINER, Runtime.KATA})
    return Demand(alias, alias, "v", "default", 100, GIB, 0, Needs(isolation=level), both)


REQUEST = Request("default", (demand("fw", Isolation.TENANT), demand("rt", Isolation.KERNEL)))


def test_a_plan_that_would_spread_is_made_in_the_one_vim_that_holds_all() -> None:
    # `a` alone would be lightest for fw, but has nothing for rt
    hosts = (host("a", Runtime.CONTAINER), host("b", Runtime.KATA, Runtime.CONTAINER))
    plan = place_over(REQUEST, Snapshot.of(1, hosts))
    assert isinstance(plan, Spread)
    assert {a.vim for a in plan.plan.assignments} == {"b"}


def test_where_no_vim_holds_all_the_refusal_says_so() -> None:
    only_container, only_kata = host("a", Runtime.CONTAINER), host("b", Runtime.KATA)
    fw = Demand("fw", "fw", "v", "default", 100, GIB, 0, Needs(), frozenset({Runtime.CONTAINER}))
    split = Request("default", (fw, demand("rt", Isolation.KERNEL)))
    refusal = place_over(split, Snapshot.of(1, (only_container, only_kata)))
    assert isinstance(refusal, Refusal)
    assert "several VIMs" in refusal.detail


def test_a_match_by_vlan_is_refused_by_its_field() -> None:
    path = ForwardingPath("web", (PathHop("c"), PathHop("fw"), PathHop("s")), Match(vlan=80))
    ends = (ChainEnd("c", "10.1.0.0/24"), ChainEnd("s", "10.9.0.0/24"))
    chain = ServiceChain("t", ends, (ChainVnf("fw", "fw"),), (path,))
    with pytest.raises(ProblemError, match=r"paths\.web\.match\.vlan") as refused:
        graph_of(chain, {})
    assert refused.value.problem.word == "unsupported"
