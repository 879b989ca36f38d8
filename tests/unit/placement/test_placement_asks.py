"""What a descriptor, a chain or an operator may ask for beside realizations: racks, prices, licences, workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
    request,
    worker,
)

from vnfm.model.needs import Needs, Trait
from vnfm.model.resources import Licence
from vnfm.model.vdu import Container, ImageFormat, SwImage, Vdu
from vnfm.placement.demand import demand_of
from vnfm.placement.engine import place
from vnfm.placement.explain import explain
from vnfm.placement.inventory import ObservedCost, RuntimeCost, WorkerSize
from vnfm.placement.plan import OpenedWorker, Plan, Price, Proof, Refusal
from vnfm.placement.request import Demand, End, Rule, RuleKind, Scope
from vnfm.placement.snapshot import Snapshot

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
    assert told["vnfs"][0]["price"] == {
        "per_vcpu": 2.0,
        "cpus": 2.0,
        "switch_on": 0.0,
        "open_worker": 0.0,
    }


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


# ---- hosts with costs of their own ----


def test_a_vm_goes_where_hardware_helps_it_where_it_has_to_start_soon() -> None:
    slow = {**COSTS, Runtime.VM: RuntimeCost(start_ms=30_000, memory_bytes=300 * MIB, hop_us=300)}
    emulated, accelerated = host("a", costs=slow), host("b", price_per_vcpu=9.0)
    vm = demand(own_os=True)
    assert one(replace(vm, needs=replace(vm.needs, max_startup_ms=5_000)), emulated, accelerated).host == "b"
    assert one(replace(vm, needs=replace(vm.needs, max_hop_us=100)), emulated, accelerated).host == "b"
    no = refused(request(replace(vm, needs=replace(vm.needs, max_startup_ms=5_000))), cloud(emulated))
    assert no.minimal_change == "raise the start-up bound of fw to 30000 ms"


# ---- architectures ----


def test_a_realization_whose_image_is_for_other_cpus_is_out_on_that_host() -> None:
    both = demand(arches=((Runtime.CONTAINER, "aarch64"), (Runtime.KATA, "aarch64"), (Runtime.VM, "x86_64")))
    assert one(both, host(arch="x86_64")).runtime is Runtime.VM
    assert one(both, host(arch="arm64")).runtime is Runtime.CONTAINER
    assert one(both, host("a", arch="x86_64"), host("b", arch="aarch64")).host == "b"
    no = refused(request(replace(both, artefacts=CONTAINERS)), cloud(host(arch="x86_64")))
    assert "the container image for vdu is for aarch64: host edge-1 is x86_64" in no.detail


def test_the_architecture_of_images_is_asked_by_runtime() -> None:
    image = SwImage("i", "1", ImageFormat.OCI_ARCHIVE, "F/i.tar", arch="aarch64")
    disk = replace(image, format=ImageFormat.QCOW2, arch="x86_64")
    vdu = Vdu("v", "v", "", 100, MIB, 0, Needs(), disk_image=disk, containers=(Container("c", image),))
    asked = demand_of(vdu, demand_id="d", alias="v", tenant="t")
    assert [asked.image_arch(r) for r in (Runtime.CONTAINER, Runtime.KATA, Runtime.VM)] == [
        "aarch64",
        "aarch64",
        "x86_64",
    ]


# ---- kinds of work ----


@pytest.mark.parametrize(
    ("traits", "runtime"),
    [
        ({Trait.STATE}, Runtime.VM),
        ({Trait.PACKETS}, Runtime.VM),
        ({Trait.SCALING}, Runtime.CONTAINER),
        ({Trait.LIFETIME}, Runtime.CONTAINER),
        ({Trait.STATE, Trait.SCALING}, Runtime.CONTAINER),  # one against one: the lighter
        ({Trait.STATE, Trait.PACKETS, Trait.SCALING}, Runtime.VM),
        ({Trait.CONTAINER}, Runtime.CONTAINER),
    ],
)
def test_what_kind_of_work_it_does_speaks_for_a_realization(traits: set[Trait], runtime: Runtime) -> None:
    assert one(demand(traits=frozenset(traits))).runtime is runtime


def test_isolated_and_handled_like_a_container_is_a_microvm() -> None:
    got = one(demand(own_kernel=True, traits=frozenset({Trait.CONTAINER})))
    assert got.runtime is Runtime.KATA
    assert "is handled like a container (workload handling: container), which speaks for a container or a microVM" in (
        got.reasons
    )


def test_managed_with_a_cluster_is_a_container_in_a_worker_vm() -> None:
    got = one(demand(traits=frozenset({Trait.CLUSTER})), host("s1"), worker("w", "s1"))
    assert (got.host, got.nested) == ("w", True)


def test_a_kind_of_work_never_leaves_a_vnf_without_a_place_nor_turns_a_filter() -> None:
    got = one(demand(artefacts={Runtime.CONTAINER}, traits=frozenset({Trait.STATE})))
    assert got.runtime is Runtime.CONTAINER
    assert any(r.startswith("a wish was dropped: keeps state (workload state: kept)") for r in got.reasons)
    assert one(demand(isolation=Isolation.MACHINE, traits=frozenset({Trait.SCALING, Trait.LIFETIME}))).runtime is (
        Runtime.VM
    )


def test_more_isolation_than_is_asked_gains_nothing() -> None:
    bare = host("dear", price_per_vcpu=9.0, runtimes=frozenset({Runtime.CONTAINER}))
    assert one(demand(isolation=Isolation.TENANT), bare, host("cheap", runtimes=frozenset({Runtime.VM}))).host == "dear"


# ---- workers on demand ----

SMALL = WorkerSize("small", 4_000, 4 * GIB, overhead_memory_bytes=300 * MIB, start_ms=9_000, price=3.0)
NESTED = demand("fw", artefacts={Runtime.CONTAINER}, isolation=Isolation.NESTED)


def _servers(*names: str, size: WorkerSize = SMALL, **changes: Any) -> Snapshot:
    return cloud(*(host(name, opens=(size,), **changes) for name in names))


def test_a_worker_vm_is_opened_where_a_container_has_to_be_behind_one() -> None:
    plan = planned(request(NESTED), _servers("s1"))
    got = plan.assignments[0]
    assert (got.runtime, got.nested, got.host, got.host_path) == (
        Runtime.CONTAINER,
        True,
        "s1:small-1",
        ("s1", "s1:small-1"),
    )
    assert got.worker == OpenedWorker("s1", SMALL, opens=True)
    assert got.price.open_worker == 3.0
    assert any("worker VM s1:small-1 (size small: 4 CPU, 4096 MiB) is opened on host s1" in r for r in got.reasons)
    told = explain(plan)["vnfs"][0]
    assert told["worker"] == {
        "host": "s1", "size": "small", "cpu_milli": 4_000, "memory_bytes": 4 * GIB, "opens": True,
    }  # fmt: skip


def test_a_container_that_need_not_be_behind_a_vm_opens_none() -> None:
    assert one(FW, host("s1", opens=(SMALL,))).host == "s1"


def test_a_worker_that_stands_is_taken_before_one_is_opened() -> None:
    hosts = (host("s1", opens=(SMALL,), runtimes=frozenset({Runtime.VM})), worker("w", "s1"))
    assert one(NESTED, *hosts).host == "w"


def test_a_worker_that_was_opened_is_shared_within_the_tenant_and_closed_with_its_last() -> None:
    snapshot = _servers("s1", "s2")
    first = planned(request(NESTED), snapshot)
    held = snapshot.holding(first.reservations)
    second = planned(request(replace(NESTED, id="b")), held).assignments[0]
    assert second.host == first.assignments[0].host
    assert second.worker == OpenedWorker("s1", SMALL, opens=False)
    assert second.price.open_worker == 0.0
    other = planned(request(replace(NESTED, id="c", tenant="red"), tenant="red"), held).assignments[0]
    assert other.host == "s2:small-1"
    again = planned(request(NESTED), held.releasing(["fw-0"]))
    assert again.assignments[0].worker == OpenedWorker("s1", SMALL, opens=True)


def test_an_open_worker_takes_its_room_of_the_server_and_gives_it_back() -> None:
    snapshot = _servers("s1", cpu=6_000)
    held = snapshot.holding(planned(request(NESTED), snapshot).reservations)
    wide = demand("vm", artefacts={Runtime.VM}, cpu_milli=3_000)
    no = refused(request(wide), held)
    assert "needs 3 CPU: host s1 has 2 CPU free" in no.detail
    assert planned(request(wide), held.releasing(["fw-0"]))
    full = snapshot.holding(planned(request(wide), snapshot).reservations)
    no = refused(request(NESTED), full)
    assert "worker VM s1:small-1 cannot be opened: needs 4 CPU: host s1 has 3 CPU free" in no.detail


def test_as_many_workers_as_the_vim_allows_are_opened_and_containers_of_a_chain_are_apart_in_them() -> None:
    two = replace(SMALL, cpu_milli=1_000, most=2)
    asked = request(NESTED, replace(NESTED, id="b"))
    plan = planned(asked, _servers("s1", size=two))
    assert {a.host for a in plan.assignments} == {"s1:small-1", "s1:small-2"}
    assert sum(a.price.open_worker for a in plan.assignments) == 6.0
    assert refused(replace(asked, rules=(_apart(Scope.NFVI_NODE, "fw-0", "b"),)), _servers("s1", size=two))
    assert refused(asked, _servers("s1", size=replace(two, most=1)))


def test_the_start_of_the_worker_counts_for_what_is_put_in_it() -> None:
    fast = replace(NESTED, needs=replace(NESTED.needs, max_startup_ms=5_000))
    no = refused(request(fast), _servers("s1"))
    assert "takes 9060 ms on host s1:small-1" in no.detail
    seen = ObservedCost("local", "s1:small-1", Runtime.CONTAINER, start_ms=40, hop_us=3)
    snapshot = _servers("s1").with_observed([seen])
    assert isinstance(place(request(fast), snapshot), Refusal)  # it was open already when that was seen
    assert snapshot.by_key["local", "s1:small-1"].costs[Runtime.CONTAINER].hop_us == 3


def test_the_disk_of_a_worker_is_its_own_and_the_servers() -> None:
    size = replace(SMALL, disk_bytes=10 * GIB)
    small = _servers("s1", size=size, disk_bytes=20 * GIB)
    assert refused(request(replace(NESTED, disk_bytes=11 * GIB)), small)
    assert planned(request(replace(NESTED, disk_bytes=10 * GIB)), small)
    assert refused(request(NESTED), _servers("s1", size=size, disk_bytes=9 * GIB))


def test_what_is_held_in_workers_leaves_what_a_new_desk_would_have() -> None:
    snapshot = _servers("s1", "s2", size=replace(SMALL, most=2))
    asked = [replace(NESTED, id=f"n{i}", tenant=t) for i, t in enumerate("abcab")]
    held = snapshot
    for d in asked[:4]:
        held = held.holding(planned(request(d, tenant=d.tenant), held).reservations)
    held = held.releasing(["n1", "n2"])
    fresh = Snapshot.of(1, snapshot.hosts, reservations=held.reservations)
    last = request(asked[4], tenant="b")
    assert planned(last, held) == planned(last, fresh)
    empty = held.releasing(["n0", "n3"])
    assert planned(last, empty) == planned(last, snapshot)
