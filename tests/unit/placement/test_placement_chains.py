"""Chains placed jointly: the vCPE and its flips, rules that look through nesting, links, and refusals that help."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import replace

import pytest
from placement_builders import (
    COSTS,
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
    refused_with_change,
    request,
    worker,
)

from vnfm.model.problem import ProblemError
from vnfm.placement.engine import place
from vnfm.placement.explain import explain
from vnfm.placement.inventory import Cell, FabricEdge, ZoneLatency
from vnfm.placement.plan import Plan, Proof, Refusal
from vnfm.placement.request import Demand, End, Link, PathBound, Request, Rule, RuleKind, Scope
from vnfm.placement.snapshot import Snapshot

CONTAINERS = frozenset({Runtime.CONTAINER, Runtime.KATA})
FW = demand("fw", artefacts=CONTAINERS, isolation=Isolation.TENANT, max_hop_us=100)
RT = demand("rt", artefacts=CONTAINERS, isolation=Isolation.KERNEL)
GW = demand("gw", artefacts={Runtime.VM}, own_os=True)


def _runtimes(asked: Request, snapshot: Snapshot) -> dict[str, Runtime]:
    return {a.alias: a.runtime for a in planned(asked, snapshot).assignments}


def _with(d: Demand, **needs: object) -> Demand:
    return replace(d, needs=replace(d.needs, **needs))  # type: ignore[arg-type]


def _apart(*ids: str, scope: Scope = Scope.NFVI_NODE) -> Rule:
    return Rule("apart", RuleKind.ANTI_AFFINITY, scope, tuple((i,) for i in ids))


def _applied(asked: Request, snapshot: Snapshot) -> Refusal:
    """The refusal, after its change was made and the changed request was really admitted."""
    no, change = refused_with_change(asked, snapshot)
    assert change is not None, no
    assert change.text == no.minimal_change
    assert isinstance(place(change.request, change.snapshot(snapshot)), Plan)
    return no


# ---- the vCPE ----


def test_the_vcpe_gets_a_container_a_microvm_and_a_vm() -> None:
    assert _runtimes(chain(FW, RT, GW), cloud()) == {
        "fw": Runtime.CONTAINER,
        "rt": Runtime.KATA,
        "gw": Runtime.VM,
    }


def test_rt_lowered_to_a_shared_kernel_becomes_a_container() -> None:
    shared = _with(RT, isolation=Isolation.TENANT)
    assert _runtimes(chain(FW, shared, GW), cloud())["rt"] is Runtime.CONTAINER


def test_fw_raised_to_a_kernel_of_its_own_becomes_a_microvm() -> None:
    assert _runtimes(chain(_with(FW, isolation=Isolation.KERNEL), RT, GW), cloud())["fw"] is Runtime.KATA


def test_a_need_that_no_realization_meets_is_refused_with_the_smallest_change() -> None:
    no = _applied(chain(FW, _with(RT, isolation=Isolation.MACHINE), GW), cloud())
    assert (no.proof, no.demand_id, no.minimal_change) == (
        Proof.REALIZATION,
        "rt-0",
        "lower isolation of rt to kernel",
    )
    assert no.detail.startswith("no realization for VNF rt: CONTAINER: needs a machine of its own")


def test_two_impossible_vnfs_get_two_changes_in_one_text() -> None:
    no = _applied(chain(_with(FW, max_hop_us=1), _with(RT, isolation=Isolation.MACHINE)), cloud())
    assert no.minimal_change == "raise the per-hop bound of fw to 5 us, and lower isolation of rt to kernel"


def test_a_latency_bound_that_cannot_be_met_names_the_least_that_can() -> None:
    no = _applied(chain(FW, RT, GW, latency_us=100), cloud())  # 2 x 5 + 2 x 70 + 2 x 80
    assert (no.proof, no.minimal_change) == (Proof.LATENCY, "raise latency bound of path main to 310 us")
    assert planned(chain(FW, RT, GW, latency_us=310), cloud())


def test_memory_that_is_short_is_told_to_the_mebibyte() -> None:
    small = cloud(host(memory=1 * GIB))  # 3 x 256 and 4 + 250 + 300 of the realizations
    no = _applied(chain(FW, RT, GW), small)
    assert (no.proof, no.minimal_change) == (Proof.CAPACITY, "298 MiB more memory on host edge-1")


def test_where_cpu_and_memory_are_short_both_are_told() -> None:
    no = _applied(chain(FW, RT), cloud(host(cpu=500, memory=64 * MIB)))
    assert no.minimal_change == "1.5 more CPU and 702 MiB more memory on host edge-1"


def test_a_rule_that_one_server_cannot_keep_is_named() -> None:
    no = _applied(chain(FW, RT, rules=(_apart("fw-0", "rt-0"),)), cloud())
    assert (no.proof, no.minimal_change) == (Proof.RULES, "drop rule apart (NFVI_NODE)")


def test_a_host_that_offers_too_little_is_asked_to_offer_more() -> None:
    bare = cloud(host(runtimes=frozenset({Runtime.CONTAINER})))
    no = _applied(chain(FW, replace(GW, artefacts=frozenset({Runtime.VM}))), bare)
    assert (no.proof, no.minimal_change) == (Proof.HOST, "offer VM on host edge-1")


def test_an_empty_inventory_is_no_crash() -> None:
    no = refused(chain(FW), Snapshot.of(1, ()))
    assert (no.proof, no.detail, no.minimal_change) == (
        Proof.HOST,
        "no host for VNF fw: the inventory is empty",
        "not found",
    )


# ---- nesting and several VIMs ----


def test_anti_affinity_sees_the_server_below_two_worker_vms() -> None:
    s1 = (host("s1", runtimes=frozenset()), worker("w1", "s1"), worker("w2", "s1"))
    asked = request(replace(FW, id="a"), replace(FW, id="b"), rules=(_apart("a", "b"),))
    assert refused(asked, cloud(*s1)).proof is Proof.RULES
    plan = planned(asked, cloud(*s1, host("s2", runtimes=frozenset()), worker("w3", "s2")))
    assert {a.host_path[0] for a in plan.assignments} == {"s1", "s2"}


def test_a_kubernetes_node_that_is_another_vims_vm_is_one_machine() -> None:
    hypervisor = host("compute-1", vim="nova", runtimes=frozenset({Runtime.VM}))
    guest = worker("server-7", "compute-1", vim="nova", runtimes=frozenset(), identities=frozenset({"smbios:7"}))
    node = host("node-a", vim="k8s", runtimes=frozenset({Runtime.CONTAINER}), identities=frozenset({"smbios:7"}))
    c, v = demand("c", artefacts={Runtime.CONTAINER}), demand("v", artefacts={Runtime.VM})
    plan = planned(request(c, v), cloud(hypervisor, guest, node))
    assert plan.assignments[0].host_path == ("compute-1", "node-a")
    assert plan.assignments[0].nested
    assert refused(request(c, v, rules=(_apart("c-0", "v-0"),)), cloud(hypervisor, guest, node)).proof is Proof.RULES


def test_one_machine_in_two_vims_is_not_filled_twice() -> None:
    both = [host("m", vim=v, cpu=1_500, identities=frozenset({"machine-id:1"})) for v in ("k8s", "nova")]
    assert refused(request(replace(FW, id="a"), replace(FW, id="b")), cloud(*both)).proof is Proof.CAPACITY


def test_vms_on_a_server_that_nobody_tells_still_share_it() -> None:
    asked = request(replace(FW, id="a"), replace(FW, id="b"), rules=(_apart("a", "b"),))
    assert refused(asked, cloud(worker("w1", "gone"), worker("w2", "gone"))).proof is Proof.RULES


def test_a_circle_of_parents_does_not_hang() -> None:
    got = one(demand(), host("a", parent="b"), host("b", parent="a"))
    assert (got.host, got.host_path) == ("b", ("b",))


@pytest.mark.parametrize(("scope", "fits"), [(Scope.ZONE, True), (Scope.NFVI_POP, False), (Scope.ZONE_GROUP, False)])
def test_scopes_are_server_zone_and_site(scope: Scope, fits: bool) -> None:
    hosts = (host("a", site="x", zone="1"), host("b", site="x", zone="2"))
    asked = request(FW, RT, rules=(_apart("fw-0", "rt-0", scope=scope),))
    assert isinstance(place(asked, cloud(*hosts)), Plan) is fits


def test_zones_of_one_name_in_two_vims_without_sites_are_two() -> None:
    hosts = (host("a", vim="v1", zone="nova"), host("b", vim="v2", zone="nova"))
    assert planned(request(FW, RT, rules=(_apart("fw-0", "rt-0", scope=Scope.ZONE),)), cloud(*hosts))


def test_affinity_keeps_together_even_where_the_first_choice_is_too_small() -> None:
    hosts = (host("a", cpu=1_000, price_per_vcpu=1.0), host("b", price_per_vcpu=9.0))
    together = Rule("together", RuleKind.AFFINITY, Scope.NFVI_NODE, (("fw-0",), ("rt-0",)))
    plan = planned(request(FW, RT, rules=(together,)), cloud(*hosts))
    assert [a.host for a in plan.assignments] == ["b", "b"]
    assert "rule together: kept together with rt (scope NFVI_NODE)" in plan.assignments[0].reasons


def test_vnfcs_of_one_group_may_share_what_two_groups_may_not() -> None:
    a1, a2, b = replace(FW, id="a1"), replace(FW, id="a2"), replace(RT, id="b")
    rule = Rule("vnfs", RuleKind.ANTI_AFFINITY, Scope.NFVI_NODE, (("a1", "a2"), ("b",)))
    hosts = {x.id: x.host for x in planned(request(a1, a2, b, rules=(rule,)), cloud(host("x"), host("y"))).assignments}
    assert hosts["a1"] == hosts["a2"] != hosts["b"]


def test_a_rule_holds_against_what_stands_already() -> None:
    stays = End("old", "local", "a", Runtime.CONTAINER)
    plan = planned(request(FW, ends=(stays,), rules=(_apart("fw-0", "old"),)), cloud(host("a"), host("b")))
    assert plan.assignments[0].host == "b"


# ---- links ----


def _star(bandwidth_bps: int = 10**10) -> tuple[FabricEdge, ...]:
    return tuple(FabricEdge("local", name, "tor", bandwidth_bps, 10) for name in ("a", "b", "c"))


def test_the_latency_of_a_link_is_the_way_and_both_ends() -> None:
    asked = chain(FW, ends=(End("client", "local", "a"), End("server", "local", "b")), latency_us=30)
    plan = planned(asked, cloud(host("a"), host("b"), host("c"), fabric=_star()))
    assert sorted(x.latency_us for x in plan.links if x.latency_us is not None) == [5, 25]
    assert plan.assignments[0].host in ("a", "b")


def test_an_end_without_a_host_settles_on_its_neighbours_server() -> None:
    plan = planned(chain(_with(FW, isolation=Isolation.NESTED)), cloud(host("s1"), worker("w1", "s1")))
    assert [(e.id, e.vim, e.host) for e in plan.ends] == [("client", "local", "s1"), ("server", "local", "s1")]
    assert [x.latency_us for x in plan.links] == [5, 5]


def test_zone_latencies_serve_where_no_fabric_is_told() -> None:
    hosts = (host("a", zone="z1", cpu=1_000), host("b", zone="z2"))
    told = [ZoneLatency("z2", "z1", 400)]
    plan = planned(chain(FW, RT, rules=(_apart("fw-0", "rt-0"),)), cloud(*hosts, latencies=told))
    assert plan.links[1].latency_us == 400 + 5 + 70


def test_a_bound_over_a_way_that_nobody_knows_is_not_taken_for_met() -> None:
    asked = chain(FW, RT, rules=(_apart("fw-0", "rt-0"),))
    assert planned(asked, cloud(host("a"), host("b"))).links[1].latency_us is None
    bounded = replace(asked, paths=(PathBound("main", ("l0", "l1", "l2"), 10**6),))
    no = refused(bounded, cloud(host("a"), host("b")))
    assert no.proof is Proof.LATENCY
    assert "does not tell the latency" in no.detail


def test_bandwidth_is_shared_by_the_links_over_an_edge_and_released_again() -> None:
    snapshot = cloud(host("a", cpu=1_000), host("b", cpu=1_000), fabric=_star(10**9)[:2])
    asked = replace(chain(FW, RT), links=(Link("x", "fw-0", "rt-0", bandwidth_bps=600_000_000),), ends=())
    plan = planned(asked, snapshot)
    assert len(plan.links[0].edges) == 2
    held = snapshot.holding((), plan.link_reservations)
    no = _applied(asked, held)
    assert (no.proof, no.minimal_change) == (Proof.BANDWIDTH, "lower bandwidth of link x to 400 Mbit/s")
    assert held.releasing(["x"]) == snapshot


def test_traffic_finds_another_way_when_the_first_is_full() -> None:
    edges = (
        FabricEdge("local", "a", "t1", 10**8, 1),
        FabricEdge("local", "b", "t1", 10**8, 1),
        FabricEdge("local", "a", "t2", 10**10, 50),
        FabricEdge("local", "b", "t2", 10**10, 50),
    )
    asked = replace(chain(FW, RT), links=(Link("x", "fw-0", "rt-0", bandwidth_bps=10**9),), ends=())
    plan = planned(asked, cloud(host("a", cpu=1_000), host("b", cpu=1_000), fabric=edges))
    assert plan.links[0].latency_us == 100 + 5 + 70


def test_no_traffic_passes_through_a_third_server() -> None:
    edges = (FabricEdge("local", "a", "c", 10**9, 1), FabricEdge("local", "c", "b", 10**9, 1))
    asked = replace(chain(FW, RT, rules=(_apart("fw-0", "rt-0"),)), ends=(), links=(Link("x", "fw-0", "rt-0"),))
    small = host("c", runtimes=frozenset())
    assert planned(asked, cloud(host("a"), host("b"), small, fabric=edges)).links[0].latency_us is None


# ---- the whole ----


def test_a_server_in_use_is_taken_before_one_has_to_be_switched_on() -> None:
    got = one(demand(), host("a", active=False), host("b", price_per_vcpu=3.0))
    assert got.host == "b"
    assert got.runner_up is not None
    assert got.runner_up.because == "would do, but host a would have to be switched on"


def test_explain_has_the_shape_of_chain_plan() -> None:
    snapshot = cloud(host(), host("edge-2"), latencies=[ZoneLatency("", "", 50)])
    told = explain(planned(chain(FW, RT, GW, latency_us=5_000), snapshot), chain="vcpe")
    assert json.loads(json.dumps(told)) == told
    assert (told["chain"], told["feasible"], told["refused"]) == ("vcpe", True, None)
    assert {
        "alias", "vnfd_id", "runtime", "nested", "host", "host_path", "vim", "reasons", "rejected", "runner_up",
    } <= set(told["vnfs"][0])  # fmt: skip
    assert told["vnfs"][0]["runner_up"]["host"] == "edge-2"
    assert told["vnfs"][1]["rejected"][0] == {
        "runtime": "CONTAINER",
        "nested": False,
        "host": "edge-1",
        "reason": "needs a kernel of its own (isolation level kernel): CONTAINER shares the host's",
    }
    assert [set(x) for x in told["links"]] == [{"id", "latency_us", "bandwidth_bps"}] * 4


def test_explain_tells_a_refusal_without_vnfs() -> None:
    told = explain(refused(chain(_with(FW, max_hop_us=1)), cloud()), chain="vcpe")
    assert (told["feasible"], told["vnfs"]) == (False, [])
    assert told["refused"]["minimal_change"] == "raise the per-hop bound of fw to 5 us"
    assert told["refused"]["filters"] == {"nodes": 1, "per-hop latency": 1, "left": 0}


def test_a_vnf_of_several_vnfcs_is_one_entry() -> None:
    told = explain(planned(request(replace(FW, id="a"), replace(FW, id="b"), RT), cloud()))
    assert [(v["alias"], [c["id"] for c in v["vnfcs"]]) for v in told["vnfs"]] == [("fw", ["a", "b"]), ("rt", ["rt-0"])]


def test_snapshot_request_and_plan_travel_to_another_process() -> None:
    asked, snapshot = chain(FW, RT, GW), cloud()
    plan = planned(asked, snapshot)
    assert pickle.loads(pickle.dumps((asked, snapshot, plan))) == (asked, snapshot, plan)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (request(FW, FW), "used by two"),
        (request(FW, links=(Link("x", "fw-0", "ghost"),)), "'ghost'"),
        (request(FW, paths=(PathBound("p", ("x",), 1),)), "no link"),
        (request(FW, ends=(End("e", "local", "nowhere"),)), "'nowhere'"),
    ],
)
def test_a_request_that_contradicts_itself_is_named(bad: Request, says: str) -> None:
    with pytest.raises(ProblemError, match=says):
        place(bad, cloud())


def test_two_hosts_of_one_name_are_named() -> None:
    with pytest.raises(ProblemError, match="told twice"):
        cloud(host("a"), host("a"))


def test_a_chain_of_twelve_over_three_hundred_unlike_hosts_stays_quick() -> None:
    hosts = [
        host(f"h{i:03}", cells=(Cell(2_000 + i * 13, 4 * GIB + i * MIB),), zone=f"z{i % 6}", price_per_vcpu=i % 11)
        for i in range(300)
    ]
    told = [ZoneLatency(f"z{a}", f"z{b}", 20 if a == b else 400) for a in range(6) for b in range(6)]
    levels = [Isolation.NONE, Isolation.KERNEL, Isolation.MACHINE]
    asked = chain(*(demand(f"v{i:02}", isolation=levels[i % 3]) for i in range(12)), latency_us=3_000)
    started = time.perf_counter()
    plan = planned(asked, cloud(*hosts, latencies=told))
    assert time.perf_counter() - started < 10
    assert sum(x.latency_us or 0 for x in plan.links) <= 3_000


def test_a_hopeless_chain_is_refused_in_bounded_time() -> None:
    hosts = [host(f"h{i:03}", cpu=1_000 + i, costs=COSTS) for i in range(40)]
    asked = chain(*(demand(f"v{i:02}", cpu_milli=900) for i in range(41)))
    started = time.perf_counter()
    no = refused(asked, cloud(*hosts))
    assert time.perf_counter() - started < 60
    assert no.proof in (Proof.CAPACITY, Proof.NOT_PROVED)
