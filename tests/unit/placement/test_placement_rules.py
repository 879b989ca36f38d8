"""One story for each row of the table from needs to realizations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from placement_builders import (
    ALL,
    COSTS,
    GIB,
    MIB,
    Isolation,
    Runtime,
    cloud,
    demand,
    host,
    one,
    planned,
    refused,
    request,
    why_not,
    worker,
)

from vnfm.placement.inventory import Cell, Hardware, ObservedCost, Reservation, RuntimeCost
from vnfm.placement.rules import TABLE

CONTAINERS = frozenset({Runtime.CONTAINER, Runtime.KATA})


def test_every_row_has_a_name_of_its_own_and_a_change_says_what_it_changes() -> None:
    assert len({r.name for r in TABLE}) == len(TABLE)
    assert all(bool(r.change) == (r.changed is not None) for r in TABLE)


def test_says_nothing_gets_the_lightest() -> None:
    got = one(demand())
    assert got.runtime is Runtime.CONTAINER
    assert "heavier than CONTAINER: +246 MiB, +2340 ms start-up, +65 us per hop" in why_not(got, Runtime.KATA)
    assert got.runner_up is not None
    assert got.runner_up.runtime is Runtime.KATA


def test_a_slow_start_that_was_measured_once_does_not_turn_the_order() -> None:
    slow = {**COSTS, Runtime.CONTAINER: RuntimeCost(start_ms=900_000, memory_bytes=9 * GIB, hop_us=10_000)}
    assert one(demand(), host(costs=slow)).runtime is Runtime.CONTAINER


@pytest.mark.parametrize(
    ("level", "runtime"),
    [
        (Isolation.NONE, Runtime.CONTAINER),
        (Isolation.TENANT, Runtime.CONTAINER),
        (Isolation.NESTED, Runtime.KATA),
        (Isolation.KERNEL, Runtime.KATA),
        (Isolation.MACHINE, Runtime.VM),
    ],
)
def test_each_isolation_level_gets_the_lightest_realization_that_gives_it(level: Isolation, runtime: Runtime) -> None:
    got = one(demand(isolation=level))
    assert got.runtime is runtime
    assert level is Isolation.NONE or any(f"isolation level {level.name.lower()}" in r for r in got.reasons)


def test_own_kernel_by_isolation_reads_like_this() -> None:
    got = one(demand("rt", isolation=Isolation.KERNEL))
    assert (
        why_not(got, Runtime.CONTAINER)
        == "needs a kernel of its own (isolation level kernel): CONTAINER shares the host's"
    )


def test_level_nested_is_met_by_a_container_in_a_worker_vm() -> None:
    got = one(demand(isolation=Isolation.NESTED), host("s1"), worker("w1", "s1"))
    assert (got.host, got.runtime, got.nested, got.host_path) == ("w1", Runtime.CONTAINER, True, ("s1", "w1"))
    assert any("s1 > w1" in r for r in got.reasons)


def test_a_container_on_the_server_is_lighter_than_one_in_a_worker_vm() -> None:
    assert one(demand(), host("s1"), worker("a-worker", "s1")).host == "s1"


def test_own_kernel_is_met_by_a_microvm() -> None:
    got = one(demand(own_kernel=True))
    assert got.runtime is Runtime.KATA
    assert "operating_system kernel: own" in why_not(got, Runtime.CONTAINER)


def test_own_os_needs_a_vm() -> None:
    got = one(demand(own_os=True, own_kernel=True))
    assert got.runtime is Runtime.VM
    assert "only a VM does" in why_not(got, Runtime.KATA)


def test_start_up_bound_keeps_the_vm_out_and_says_by_how_much() -> None:
    no = refused(request(demand("gw", max_startup_ms=1_000, own_os=True)), cloud())
    assert "must start within 1000 ms: VM takes 3500 ms on host edge-1, measured" in no.detail
    assert no.minimal_change == "raise the start-up bound of gw to 3500 ms"


def test_what_was_observed_counts_more_than_what_the_plugin_told() -> None:
    asked = request(demand("rt", isolation=Isolation.KERNEL, max_startup_ms=1_000))
    told = cloud()
    assert "2400 ms" in refused(asked, told).detail
    seen = told.with_observed([ObservedCost("local", "edge-1", Runtime.KATA, start_ms=480)])
    got = planned(asked, seen).assignments[0]
    assert got.runtime is Runtime.KATA
    assert "KATA meets the 1000 ms start-up bound (480 ms on host edge-1, observed)" in got.reasons
    assert seen.hosts[0].costs[Runtime.KATA].hop_us == COSTS[Runtime.KATA].hop_us


def test_a_cost_that_nobody_told_is_called_assumed() -> None:
    got = one(demand(max_hop_us=50), host(costs={}))
    assert "CONTAINER meets the 50 us per-hop bound (5 us on host edge-1, assumed)" in got.reasons


def test_per_hop_bound_keeps_guests_out() -> None:
    got = one(demand(max_hop_us=50))
    assert "CONTAINER meets the 50 us per-hop bound (5 us on host edge-1, measured)" in got.reasons
    assert why_not(got, Runtime.KATA) == "may add 50 us per hop: KATA adds 70 us on host edge-1, measured"


def test_image_formats_decide_what_is_possible() -> None:
    got = one(demand(artefacts={Runtime.VM}))
    assert got.runtime is Runtime.VM
    assert why_not(got, Runtime.CONTAINER) == "the package has no container image for vdu, which CONTAINER needs"


def test_a_runtime_that_is_not_offered_says_why() -> None:
    bare = host(runtimes=frozenset({Runtime.CONTAINER}), refusals={Runtime.KATA: "no /dev/kvm and no qemu"})
    no = refused(request(demand(isolation=Isolation.KERNEL, artefacts=CONTAINERS)), cloud(bare))
    assert "KATA is not offered on host edge-1: no /dev/kvm and no qemu" in no.detail


@pytest.mark.parametrize(
    ("need", "cell"),
    [
        ({"sriov_ports": 2}, {"vfs": 8}),
        ({"gpus": 1}, {"gpus": 2}),
        ({"hugepage_bytes": 128 * MIB}, {"hugepage_bytes": GIB}),
        ({"cpu_pinned": True}, {}),
    ],
)
def test_hardware_is_never_handed_to_a_nested_container_nor_to_a_microvm_that_does_not_take_it(
    need: dict[str, int], cell: dict[str, int]
) -> None:
    rich = (Cell(8_000, 16 * GIB, **cell),)
    server, inside = host("s1", cells=rich), worker("w1", "s1", cells=rich)
    assert one(demand(**need), server, inside).host == "s1"
    no = refused(request(demand("fw", isolation=Isolation.NESTED, artefacts=CONTAINERS, **need)), cloud(server, inside))
    assert "CONTAINER in a worker VM on host w1" in no.detail
    takes = replace(server, hardware={Runtime.KATA: frozenset(Hardware)})
    assert one(demand(isolation=Isolation.KERNEL, artefacts=CONTAINERS, **need), takes).runtime is Runtime.KATA


def test_architecture_is_compared_by_its_usual_names() -> None:
    hosts = (host("a", arch="aarch64"), host("b", arch="x86_64"))
    got = one(demand(arch="amd64"), *hosts)
    assert got.host == "b"
    assert any(r.reason == "needs CPU architecture amd64: host a is aarch64" for r in got.rejected)


def test_trust_level_chooses_the_host() -> None:
    got = one(demand(min_trust=2), host("a"), host("b", trust=3))
    assert got.host == "b"
    assert "host b has trust level 3 (asked for: 2)" in got.reasons


def test_a_host_of_another_tenant_is_taboo() -> None:
    assert one(demand(), host("a", only_tenant="red"), host("b", only_tenant="blue")).host == "b"


def test_a_grants_vims_sites_and_zones_hold() -> None:
    hosts = (host("a", zone="z1", site="x"), host("b", zone="z2", site="y"), host("c", vim="far"))
    assert one(demand(zones=frozenset({"z2"})), *hosts).host == "b"
    assert one(demand(sites=frozenset({"x"})), *hosts).host == "a"
    assert one(demand(vims=frozenset({"far"})), *hosts).host == "c"


def test_a_wish_is_kept_where_some_placement_meets_it() -> None:
    got = one(demand(isolation=Isolation.KERNEL, wishes=frozenset({"isolation"})))
    assert got.runtime is Runtime.KATA
    assert "would do, but drops the wish for isolation" in why_not(got, Runtime.CONTAINER)


def test_a_wish_that_nothing_meets_is_dropped_with_a_text() -> None:
    got = one(demand(artefacts=CONTAINERS, max_startup_ms=10, wishes=frozenset({"latency"})))
    assert got.runtime is Runtime.CONTAINER
    assert any(r.startswith("a wish was dropped: must start within 10 ms") for r in got.reasons)


def _held(tenant: str, isolation: Isolation, where: str = "edge-1") -> Reservation:
    return Reservation("other", "local", where, tenant, Runtime.CONTAINER, isolation, 100, MIB)


def test_a_tenants_container_never_shares_a_kernel_with_another_tenants() -> None:
    taken = cloud(host(), reservations=[_held("red", Isolation.NONE)])
    only_containers = demand(isolation=Isolation.TENANT, artefacts={Runtime.CONTAINER})
    assert "may share a kernel within tenant blue only" in refused(request(only_containers), taken).detail
    assert planned(request(demand(isolation=Isolation.TENANT)), taken).assignments[0].runtime is Runtime.KATA
    assert planned(request(demand()), taken).assignments[0].runtime is Runtime.CONTAINER


def test_nor_does_a_careless_container_join_a_tenant_that_keeps_to_itself() -> None:
    taken = cloud(host(), reservations=[_held("red", Isolation.TENANT)])
    no = refused(request(demand(artefacts={Runtime.CONTAINER})), taken)
    assert "shares its kernel with nobody" in no.detail
    assert planned(request(demand(tenant="red"), tenant="red"), taken).assignments[0].runtime is Runtime.CONTAINER


def test_a_worker_vm_has_a_kernel_of_its_own() -> None:
    taken = cloud(host("s1"), worker("w1", "s1"), reservations=[_held("red", Isolation.TENANT, "s1")])
    assert planned(request(demand(artefacts={Runtime.CONTAINER})), taken).assignments[0].host == "w1"


def test_a_wish_for_isolation_gives_way_where_the_kernel_is_shared_already() -> None:
    taken = cloud(host(), reservations=[_held("red", Isolation.NONE)])
    wish = demand(isolation=Isolation.TENANT, wishes=frozenset({"isolation"}), artefacts={Runtime.CONTAINER})
    plan = planned(request(wish), taken)
    assert plan.reservations[0].isolation is Isolation.NONE
    assert any(r.startswith("a wish was dropped") for r in plan.assignments[0].reasons)


def test_huge_pages_are_no_ordinary_memory() -> None:
    rich = host(cells=(Cell(8_000, 64 * MIB, hugepage_bytes=GIB),))
    plan = planned(request(demand(memory_bytes=GIB, hugepage_bytes=GIB)), cloud(rich))
    assert (plan.reservations[0].memory_bytes, plan.reservations[0].hugepage_bytes) == (4 * MIB, GIB)


def test_numa_strict_fits_into_one_cell_or_nowhere() -> None:
    two = host(cells=(Cell(2_000, 4 * GIB), Cell(3_000, 4 * GIB)))
    assert one(demand(cpu_milli=4_000), two).cell is None
    assert one(demand(cpu_milli=3_000, numa_strict=True), two).cell == 1
    assert "NUMA cell" in refused(request(demand(cpu_milli=4_000, numa_strict=True)), cloud(two)).detail


def test_rejections_stay_readable_over_many_hosts() -> None:
    got = one(demand(isolation=Isolation.KERNEL), *(host(f"h{i:03}", trust=i % 7) for i in range(100)))
    containers = [r for r in got.rejected if r.runtime is Runtime.CONTAINER]
    assert [(r.host, r.reason) for r in containers[1:]] == [("*", "99 more hosts: 99 isolation")]
    assert containers[0].host == got.host
    assert {r.runtime for r in got.rejected} == ALL
