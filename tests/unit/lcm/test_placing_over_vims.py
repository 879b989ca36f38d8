"""A chain stays in one VIM where one holds it whole, and spreads only over VIMs that can join its links."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vnfm.lcm.borders import assign, ties, why_not
from vnfm.lcm.placing import Ground, Spread, place_over
from vnfm.lcm.shapes import graph_of
from vnfm.model.chain import ChainEnd, ChainVnf, ForwardingPath, Match, PathHop, ServiceChain
from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.resources import Encap, Reach
from vnfm.placement.inventory import Cell, Host
from vnfm.placement.plan import Refusal
from vnfm.placement.request import Demand, End, Link, PathBound, Request
from vnfm.placement.snapshot import Snapshot

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


def demands_of_two_kinds(*vims: str) -> Request:
    """fw runs as a container only and rt as a microVM only, on one link."""
    fw = Demand("fw", "fw", "v", "default", 100, GIB, 0, Needs(), frozenset({Runtime.CONTAINER}))
    rt = demand("rt", Isolation.KERNEL)
    if vims:
        fw, rt = (replace(d, vims=frozenset({vim})) for d, vim in zip((fw, rt), vims, strict=True))
    return Request("default", (fw, rt), links=(Link("l", "fw", "rt", bandwidth_bps=1_000_000),))


APART = Snapshot.of(1, (host("a", Runtime.CONTAINER), host("b", Runtime.KATA)))


def reach(vim: str, *encaps: Encap, network: str = "core", **more: Any) -> Reach:
    return Reach(vim, network, encaps, **more)


def test_where_no_vim_holds_all_and_none_can_join_the_refusal_says_so() -> None:
    refusal = place_over(demands_of_two_kinds(), APART)
    assert isinstance(refusal, Refusal)
    assert "only over several VIMs" in refusal.detail
    assert "no network in common" in refusal.detail
    ground = Ground((reach("a", network="x"), reach("b", network="y")))
    told = place_over(demands_of_two_kinds(), APART, ground)
    assert isinstance(told, Refusal)
    assert "a reaches x; b reaches y" in told.detail


def test_a_chain_spreads_where_both_vims_reach_a_network() -> None:
    reaches = (reach("a", Encap.FLAT, Encap.VXLAN, mtu_bytes=1450, one_way_us=30), reach("b", Encap.VXLAN, Encap.FLAT))
    made = place_over(demands_of_two_kinds(), APART, Ground(reaches))
    assert isinstance(made, Spread)
    assert [(a.id, a.vim) for a in made.plan.assignments] == [("fw", "a"), ("rt", "b")]
    tie = made.ties["l"]
    assert (tie.encap, tie.network, tie.leads, tie.mtu_bytes, tie.one_way_us) == (Encap.VXLAN, "core", "a", 1450, 30)


def test_who_chooses_the_segment_leads() -> None:
    (tie,) = ties((reach("a", Encap.VXLAN), reach("b", Encap.VXLAN, chooses=True)), "a", "b")
    assert tie.leads == "b"
    both = (reach("a", Encap.VXLAN, chooses=True), reach("b", Encap.VXLAN, chooses=True))
    assert ties(both, "a", "b") == ()
    assert "both choose the segment" in why_not(both, "a", "b")


def test_what_is_configured_but_not_offered_is_named() -> None:
    refused = reach("a", refused={"VLAN": "this kernel makes no VLAN devices"})
    told = why_not((refused, reach("b", Encap.VLAN)), "a", "b")
    assert "a offers nothing, b offers VLAN; a: VLAN this kernel makes no VLAN devices" in told


def test_a_flat_network_ties_one_link_and_a_narrow_one_not_all() -> None:
    flat = (reach("a", Encap.FLAT), reach("b", Encap.FLAT))
    assert isinstance(assign(flat, [("l1", "a", "b", 0)]), dict)
    assert "one link only" in str(assign(flat, [("l1", "a", "b", 0), ("l2", "b", "a", 0)]))
    narrow = (reach("a", Encap.VXLAN, bandwidth_bps=10), reach("b", Encap.VXLAN, bandwidth_bps=7))
    assert isinstance(assign(narrow, [("l1", "a", "b", 5)]), dict)
    assert "free" in str(assign(narrow, [("l1", "a", "b", 5), ("l2", "a", "b", 5)]))


def test_what_others_hold_of_a_network_is_not_free_again() -> None:
    """A flat network is held whole, of others the bandwidth."""
    reaches = (reach("a", Encap.FLAT), reach("b", Encap.FLAT))
    first = place_over(demands_of_two_kinds(), APART, Ground(reaches))
    assert isinstance(first, Spread)
    (held_by_others,) = first.plan.link_reservations
    assert held_by_others.edges[-1] == "joined:core/FLAT"
    second = place_over(
        demands_of_two_kinds(), APART.holding((), (replace(held_by_others, resource_id="other"),)), Ground(reaches)
    )
    assert isinstance(second, Refusal)
    assert "one link only" in second.detail
    narrow = (reach("a", Encap.VXLAN, bandwidth_bps=1_500_000), reach("b", Encap.VXLAN))
    third = place_over(demands_of_two_kinds(), APART, Ground(narrow))
    assert isinstance(third, Spread)
    taken = tuple(replace(r, resource_id="other") for r in third.plan.link_reservations)
    fourth = place_over(demands_of_two_kinds(), APART.holding((), taken), Ground(narrow))
    assert isinstance(fourth, Refusal)
    assert "1 Mbit/s free" in fourth.detail


def test_a_told_latency_counts_against_the_chains_bound() -> None:
    reaches = (reach("a", Encap.VXLAN, one_way_us=300), reach("b", Encap.VXLAN, one_way_us=400))
    apart = Snapshot.of(1, APART.hosts, reaches=reaches)
    for most, fits in ((2_000, True), (600, False)):
        request = replace(demands_of_two_kinds(), paths=(PathBound("p", ("l",), most),))
        made = place_over(request, apart, Ground(reaches))
        assert isinstance(made, Spread) is fits
        if isinstance(made, Spread):
            assert made.plan.links[0].latency_us is not None
            assert 700 <= made.plan.links[0].latency_us < 2_000


def test_a_link_that_cannot_cross_keeps_the_chain_whole() -> None:
    reaches = (reach("a", Encap.VXLAN), reach("b", Encap.VXLAN))
    refusal = place_over(demands_of_two_kinds(), APART, Ground(reaches, whole={"l": "link l is steered"}))
    assert isinstance(refusal, Refusal)
    assert "link l is steered" in refusal.detail
    together = (("VNF x: its own link i", frozenset({"fw", "rt"})),)
    refusal = place_over(demands_of_two_kinds(), APART, Ground(reaches, together=together))
    assert isinstance(refusal, Refusal)
    assert "its own link i" in refusal.detail


def test_vims_of_one_machine_may_share_a_chain() -> None:
    """Both know the same server; who is held to which VIM says where the border is."""
    both = frozenset({Runtime.CONTAINER, Runtime.KATA})
    one = (Host(f"host-{v}", v, (Cell(8000, 16 * GIB),), both, identities=frozenset({"smbios:1"})) for v in ("a", "b"))
    reaches = (reach("a", Encap.VXLAN), reach("b", Encap.VXLAN))
    made = place_over(demands_of_two_kinds("a", "b"), Snapshot.of(1, one), Ground(reaches))
    assert isinstance(made, Spread)
    assert [a.vim for a in made.plan.assignments] == ["a", "b"]


def test_an_end_goes_where_ends_can_be_made() -> None:
    request = replace(demands_of_two_kinds("a", "b"), ends=(End("e"),))
    request = replace(request, links=(*request.links, Link("m", "rt", "e")))
    reaches = (reach("a", Encap.VXLAN), reach("b", Encap.VXLAN))
    offers = {"a": frozenset({"SAP"}), "b": frozenset[str]()}
    made = place_over(request, APART, Ground(reaches, capabilities=offers))
    assert isinstance(made, Spread)
    assert [(e.vim, e.host) for e in made.plan.ends] == [("a", "host-a")]
    assert set(made.ties) == {"l", "m"}


def test_ends_stand_beside_a_whole_chain_elsewhere() -> None:
    """A cloud that makes no ends holds all VNFs: both ends are made at a VIM that it can join links with."""
    request = Request("default", (demand("rt", Isolation.KERNEL),), ends=(End("c"), End("s")))
    request = replace(request, links=(Link("l", "c", "rt"), Link("m", "rt", "s")))
    reaches = (reach("a", Encap.VXLAN), reach("b", Encap.VXLAN))
    ground = Ground(reaches, capabilities={"a": frozenset({"SAP"}), "b": frozenset[str]()})
    made = place_over(request, APART, ground)
    assert isinstance(made, Spread)
    assert [(e.id, e.vim, e.host) for e in made.plan.ends] == [("c", "a", "host-a"), ("s", "a", "host-a")]
    assert set(made.ties) == {"l", "m"}
    apart = place_over(request, APART, replace(ground, reaches=()))
    assert isinstance(apart, Refusal)
    assert "makes no ends of chains" in apart.detail


def test_a_match_by_vlan_is_refused_by_its_field() -> None:
    path = ForwardingPath("web", (PathHop("c"), PathHop("fw"), PathHop("s")), Match(vlan=80))
    ends = (ChainEnd("c", "10.1.0.0/24"), ChainEnd("s", "10.9.0.0/24"))
    chain = ServiceChain("t", ends, (ChainVnf("fw", "fw"),), (path,))
    with pytest.raises(ProblemError, match=r"paths\.web\.match\.vlan") as refused:
        graph_of(chain, {})
    assert refused.value.problem.word == "unsupported"
