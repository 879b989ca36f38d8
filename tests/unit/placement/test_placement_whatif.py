"""Snapshots with hosts drained, lost or added: who is meant, what goes with whom, what is left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.placement.engine import place
from vnfm.placement.headroom import filling, headroom, used_by_others
from vnfm.placement.inventory import Cell, FabricEdge, Host, Reservation
from vnfm.placement.naming import host_named
from vnfm.placement.plan import Plan, Refusal
from vnfm.placement.request import Demand, Request
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import More, Supposition, only, supposed

GIB = 1 << 30


def host(name: str, vim: str = "a", zone: str = "z1", site: str = "s1", **more: object) -> Host:
    made = Host(name, vim, (Cell(8_000, 16 * GIB),), frozenset({Runtime.CONTAINER}), zone=zone, site=site)
    for key, value in more.items():
        object.__setattr__(made, key, value)
    return made


def held(name: str, on: str, cpu_milli: int = 1_000, memory_bytes: int = GIB, vim: str = "a") -> Reservation:
    return Reservation(name, vim, on, "t", Runtime.CONTAINER, Isolation.TENANT, cpu_milli, memory_bytes)


def cloud(
    hosts: Sequence[Host], fabric: Sequence[FabricEdge] = (), reservations: Sequence[Reservation] = ()
) -> Snapshot:
    return Snapshot.of(1, hosts, fabric=fabric, reservations=reservations)


def asked(cpu_milli: int = 1_000) -> Request:
    runs = frozenset({Runtime.CONTAINER})
    return Request("t", (Demand("d", "fw", "v", "t", cpu_milli, GIB, 0, Needs(isolation=Isolation.TENANT), runs),))


def test_a_drained_host_keeps_what_it_runs_and_takes_nothing() -> None:
    now = cloud([host("h1"), host("h2")], reservations=[held("x", "h1")])
    then = supposed(now, Supposition(drain=("h1",)))
    assert then.drained == {("a", "h1")}
    assert any(r.resource_id == "x" for r in then.snapshot.reservations)
    plan = place(asked(), then.snapshot)
    assert isinstance(plan, Plan)
    assert [a.host for a in plan.assignments] == ["h2"]
    both = supposed(now, Supposition(drain=("h1", "h2")))
    refusal = place(asked(), both.snapshot)
    assert isinstance(refusal, Refusal)
    assert "it is drained" in refusal.detail
    assert now == cloud([host("h1"), host("h2")], reservations=[held("x", "h1")])  # what stands is not touched


def test_workers_and_other_names_of_a_machine_go_with_it() -> None:
    ids = frozenset({"smbios:1"})
    hosts = [host("h1", identities=ids), host("w1", parent="h1"), host("k", vim="b", identities=ids), host("h2")]
    then = supposed(cloud(hosts), Supposition(fail_hosts=("h1",)))
    assert then.failed == {("a", "h1"), ("a", "w1"), ("b", "k")}
    assert [h.key for h in then.snapshot.hosts] == [("a", "h2")]
    assert supposed(cloud(hosts), Supposition(drain=("b/k",))).drained == then.failed


def test_a_vim_takes_only_its_own_names_of_machines_along() -> None:
    ids = frozenset({"smbios:1"})
    hosts = [host("h1", identities=ids), host("k", vim="b", identities=ids)]
    assert supposed(cloud(hosts), Supposition(fail_vims=("a",))).failed == {("a", "h1")}


def test_switches_fail_with_the_hosts_nearest_to_them_and_others_stay() -> None:
    """Two racks of one site and one of another; the core joins the sites by way of each site's spine."""
    hosts = [host("h1", zone="z1"), host("h2", zone="z2"), host("far", zone="z3", site="s2")]
    pairs = [("h1", "tor1"), ("h2", "tor2"), ("tor1", "spine1"), ("tor2", "spine1"), ("spine1", "spine2"),
             ("far", "tor3"), ("tor3", "spine2")]  # fmt: skip
    fabric = [FabricEdge("a", x, y, 10**9, 1) for x, y in pairs]
    rack = supposed(cloud(hosts, fabric), Supposition(fail_zones=("z1",))).snapshot
    assert {(e.a, e.b) for e in rack.fabric} == set(pairs) - {("h1", "tor1"), ("tor1", "spine1")}
    site = supposed(cloud(hosts, fabric), Supposition(fail_sites=("s1",))).snapshot
    assert {(e.a, e.b) for e in site.fabric} == {("far", "tor3"), ("tor3", "spine2")}


def test_added_servers_are_like_their_model_but_empty_and_wired_as_it_is() -> None:
    model = host("h1", cells=(Cell(8_000, 16 * GIB, 5_000, GIB),), identities=frozenset({"smbios:1"}))
    now = cloud([model, host("new-1")], [FabricEdge("a", "h1", "tor", 10**9, 2)], [held("x", "h1")])
    then = supposed(now, Supposition(add=(More(2, "h1"),)))
    assert set(then.like) == {("a", "new-1'"), ("a", "new-2")}
    for key in then.like:
        made = then.snapshot.by_key[key]
        assert not used_by_others(made)
        assert not made.identities
        assert (made.cells[0].cpu_milli, made.zone) == (8_000, "z1")
        assert FabricEdge("a", made.id, "tor", 10**9, 2) in then.snapshot.fabric
    assert place(asked(8_000), now) != place(asked(8_000), then.snapshot)


def test_without_a_model_the_most_frequent_kind_of_server_is_added() -> None:
    hosts = [host("big", cells=(Cell(64_000, 16 * GIB),)), host("h1"), host("h2"), host("w", parent="h1")]
    assert set(supposed(cloud(hosts), Supposition(add=(More(1),))).like.values()) == {("a", "h1")}


@pytest.mark.parametrize(
    ("wrong", "word", "says"),
    [
        (Supposition(drain=("x",)), "not-found", "drain: no VIM tells a host 'x'"),
        (Supposition(drain=("twin",)), "ambiguous", "a/twin, b/twin"),
        (Supposition(fail_zones=("zone",)), "ambiguous", "s1/zone, s2/zone"),
        (Supposition(fail_zones=("",)), "not-found", "fail_zones"),
        (Supposition(fail_sites=("x",)), "not-found", "there are: s1, s2"),
        (Supposition(fail_vims=("x",)), "not-found", "there are: a, b"),
        (Supposition(add=(More(0),)), "bad-value", "expected 1 to"),
        (Supposition(add=(More(1, "w"),)), "bad-value", "worker VM"),
    ],
)
def test_who_is_not_there_or_not_one_is_refused_by_name(wrong: Supposition, word: str, says: str) -> None:
    hosts = [host("twin", zone="zone"), host("twin", vim="b", zone="zone", site="s2"), host("w", parent="twin")]
    with pytest.raises(ProblemError, match=says) as refused:
        supposed(cloud(hosts), wrong)
    assert refused.value.problem.word == word


def test_a_host_with_a_slash_in_its_id_is_found_by_its_id() -> None:
    assert host_named(cloud([host("rack/1"), host("1", vim="rack")]), "rack/1", "drain") == ("a", "rack/1")


def test_what_is_filled_has_nothing_left_and_is_filled_again_after_something_went() -> None:
    now = cloud([host("h1")], reservations=[held("x", "h1", 3_000, 2 * GIB + 1)])
    full = now.holding(filling(now, [("a", "h1")]))
    assert isinstance(place(asked(1), full), Refusal)
    freed = full.releasing(["x"])
    assert isinstance(place(asked(3_000), freed), Plan)
    assert isinstance(place(asked(1), freed.holding(filling(freed, [("a", "h1")]))), Refusal)


def test_a_part_of_a_cloud_has_its_hosts_and_the_network_without_the_others() -> None:
    fabric = [FabricEdge("a", x, "tor", 10**9, 1) for x in ("h1", "h2")]
    part = only(cloud([host("h1"), host("h2")], fabric, [held("x", "h1"), held("y", "h2")]), [("a", "h1")])
    assert [h.id for h in part.hosts] == ["h1"]
    assert [r.resource_id for r in part.reservations] == ["x"]
    assert part.fabric == (fabric[0],)


def test_a_plan_without_reasons_is_the_same_plan() -> None:
    now = cloud([host("h1", cells=(Cell(500, GIB),)), host("h2")], reservations=[held("x", "h2")])
    told, untold = place(asked(), now), place(asked(), now, told=False)
    assert isinstance(told, Plan)
    assert isinstance(untold, Plan)
    assert told.reservations == untold.reservations
    assert told.assignments[0].reasons
    assert untold.assignments[0].reasons == ()


def test_headroom_counts_machines_once_and_leaves_out_who_is_away() -> None:
    ids = frozenset({"smbios:1"})
    hosts = [host("h1", identities=ids), host("k", vim="b", identities=ids), host("h2", cells=(Cell(4_000, GIB),))]
    now = cloud(hosts, reservations=[held("x", "h1")])
    room = headroom(now)
    assert (room.servers, room.ours) == (2, 1)
    assert (room.total[0], room.free[0], room.largest[0]) == (12_000, 11_000, 7_000)
    gone = supposed(now, Supposition(drain=("h1",)))
    left = headroom(gone.snapshot, gone.away)
    assert (left.servers, left.ours, left.free[0]) == (1, 0, 4_000)
