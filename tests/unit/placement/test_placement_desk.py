"""The estate that is kept between decisions: it follows what is held, whatever comes and goes."""

from __future__ import annotations

import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from placement_builders import ALL, GIB, MIB, Isolation, Runtime, chain, cloud, demand, host, planned, request, worker

from vnfm.placement.desk import desk_of
from vnfm.placement.engine import place
from vnfm.placement.inventory import Cell, FabricEdge, LinkReservation, ObservedCost, Reservation, ZoneLatency
from vnfm.placement.plan import Plan
from vnfm.placement.request import End, Link
from vnfm.placement.snapshot import Since, Snapshot

RICH = tuple(Cell(8_000, 16 * GIB, hugepage_bytes=GIB, vfs=4) for _ in range(2))
EDGES = (
    *(FabricEdge("local", f"s{i}", f"t{i // 2}", 10**9, 5) for i in range(4)),
    FabricEdge("local", "t0", "t1", 10**9, 5),
)


def _cloud() -> Snapshot:
    hosts = [host(f"s{i}", cells=RICH, active=i < 2) for i in range(4)]
    return cloud(*hosts, worker("w0", "s0"), worker("w3", "s3"), fabric=EDGES)


def _held(name: str, dice: random.Random, most: int) -> Reservation:
    runtime = dice.choice(list(Runtime))
    where = dice.choice(["s0", "s1", "s2", "s3", "w0", "w3", "gone"])
    cell = dice.choice([None, 0, 1]) if where.startswith("s") else None
    level = dice.choice([Isolation.NONE, Isolation.TENANT])
    cpu, memory = dice.randrange(most), dice.randrange(most) * MIB + dice.randrange(3)
    return Reservation(name, "local", where, dice.choice("ab"), runtime, level, cpu, memory, vfs=1, cell=cell)


def _laid(name: str, dice: random.Random) -> LinkReservation:
    edges = dice.sample([e.id for e in EDGES], 2)
    return LinkReservation(name, tuple(edges), dice.randrange(3) * 100_000_000)


def _state(snapshot: Snapshot) -> list[object]:
    desk = desk_of(snapshot)
    book = desk.book
    kernels = [[book.may_share(n, book.tenant(t), s) for t in "abc" for s in (1, 2)] for n in range(len(book.left[0]))]
    held = {machine: desk.held_on(machine) for machine in sorted(desk.atlas.node_of)}
    return [book.left, book.cell_left, book.free.tolist(), book.bandwidth, book.on_left, kernels, held]


@pytest.mark.parametrize("most", [600, 30_000], ids=["there is room", "more is held than is there"])
@pytest.mark.parametrize("seed", range(8))
def test_what_comes_and_goes_leaves_what_a_new_desk_would_have(seed: int, most: int) -> None:
    dice = random.Random(seed)
    snapshot = _cloud()
    held: dict[str, Reservation] = {}
    laid: dict[str, LinkReservation] = {}
    for step in range(30):
        name = f"r{dice.randrange(12)}"
        if held.pop(name, None) is None or dice.random() < 0.3:
            held[name] = _held(name, dice, most)
        if laid.pop(name, None) is None:
            laid[name] = _laid(name, dice)
        now = snapshot.releasing([f"r{i}" for i in range(12)]).holding(held.values(), laid.values())
        assert now.kept is snapshot.kept
        if step % 5 == 4:
            fresh = Snapshot.of(1, now.hosts, fabric=EDGES, reservations=held.values(), link_reservations=laid.values())
            if most < 1_000:
                assert _state(now) == _state(fresh)
            else:  # what is short is clipped in the order of coming; what is free is the same
                mine, other = _state(now), _state(fresh)
                assert mine[-1] == other[-1]
            assert place(chain(demand("x"), demand("y")), now) == place(chain(demand("x"), demand("y")), fresh)


@pytest.mark.parametrize("most", [600, 30_000], ids=["there is room", "more is held than is there"])
@pytest.mark.parametrize("seed", range(8))
def test_who_is_told_the_differences_has_what_a_new_desk_would_have(seed: int, most: int) -> None:
    dice = random.Random(seed)
    base = _cloud()
    held: dict[str, Reservation] = {}
    laid: dict[str, LinkReservation] = {}
    before: Snapshot | None = None
    for _ in range(40):
        gone: list[Reservation | LinkReservation] = []
        fresh: list[Reservation | LinkReservation] = []
        name = f"r{dice.randrange(8)}"
        if (was := held.pop(name, None)) is not None:
            gone.append(was)
        if was is None or dice.random() < 0.4:
            held[name] = _held(name, dice, most)
            fresh.append(held[name])
        if (lay := laid.pop(name, None)) is not None:
            gone.append(lay)
        else:
            laid[name] = _laid(name, dice)
            fresh.append(laid[name])
        since = before and Since(before.reservations, before.link_reservations, tuple(gone), tuple(fresh))
        now = replace(base, reservations=tuple(held.values()), link_reservations=tuple(laid.values()), since=since)
        if dice.random() < 0.8:  # who missed one compares everything
            mine, other = (
                _state(now),
                _state(Snapshot.of(1, base.hosts, fabric=EDGES).holding(held.values(), laid.values())),
            )
            assert (mine if most < 1_000 else mine[-1]) == (other if most < 1_000 else other[-1])
            assert _state(now) == mine
        before = now


def test_the_estate_is_made_once_for_what_the_vims_tell() -> None:
    snapshot = _cloud()
    plan = planned(chain(demand("x")), snapshot)
    after = snapshot.holding(plan.reservations, plan.link_reservations)
    assert desk_of(after) is desk_of(snapshot)
    assert desk_of(snapshot.with_hosts([host("s0", cpu=1)])) is not desk_of(snapshot)


def test_decisions_in_several_threads_do_not_disturb_each_other() -> None:
    snapshot = _cloud()
    taken = {"s0": 16_000, "w0": 8_000}
    full = snapshot.holding(
        Reservation(name, "local", name, "b", Runtime.VM, Isolation.NONE, cpu, MIB) for name, cpu in taken.items()
    )
    asked = chain(demand("x"), demand("y"))
    alone = [place(asked, snapshot), place(asked, full)]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: place(asked, (snapshot, full)[i % 2]), range(24)))
    assert together == alone * 12


def test_a_snapshot_travels_without_its_estate() -> None:
    snapshot = _cloud()
    planned(chain(demand("x")), snapshot)
    other = pickle.loads(pickle.dumps(snapshot))
    assert other == snapshot
    assert not other.kept.made


def test_a_machine_of_two_vims_is_one_node_and_links_hold_over_several_vims() -> None:
    one = {"identities": frozenset({"smbios:1"}), "runtimes": frozenset({Runtime.VM})}
    hosts = (host("m", vim="k8s", cpu=2_000, **{**one, "runtimes": ALL}), host("m", vim="nova", cpu=2_000, **one))
    far = host("n", vim="far", zone="z", cpu=1_000)
    snapshot = cloud(*hosts, far, latencies=[ZoneLatency("", "z", 700)])
    assert desk_of(snapshot).atlas.estate.size == 2
    asked = request(
        demand("a", vims=frozenset({"far"})),
        demand("b", vims=frozenset({"nova"}), artefacts={Runtime.VM}),
        links=(Link("x", "a-0", "b-0"), Link("y", "b-0", "c"), Link("z", "c", "a-0")),
        ends=(End("c", "k8s", "m"),),
    )
    plan = planned(asked, snapshot)
    assert [(a.vim, a.host) for a in plan.assignments] == [("far", "n"), ("nova", "m")]
    assert [x.latency_us for x in plan.links] == [700 + 5 + 80, 80, 700 + 5]


def test_a_large_cloud_by_zones_and_one_by_fabric_tell_the_latencies_that_the_vims_tell() -> None:
    hosts = [host(f"h{i:02}", zone=f"z{i % 3}", cpu=1_000) for i in range(30)]
    told = [ZoneLatency(f"z{a}", f"z{b}", 21 if a == b else 301 + 10 * a * b) for a in range(3) for b in range(3)]
    ends = (End("in", "local", "h00"), End("out", "local", "h01"))
    asked = chain(demand("x", zones=frozenset({"z0"})), demand("y", zones=frozenset({"z2"})), ends=ends)
    plan = planned(asked, cloud(*hosts, latencies=told))
    at = {a.alias: a.host for a in plan.assignments}
    assert [x.latency_us for x in plan.links] == [5 if at["x"] == "h00" else 26, 301 + 10, 321 + 5]
    loose = planned(asked, cloud(*hosts, latencies=told, fabric=[FabricEdge("local", h.id, "t", 0, 7) for h in hosts]))
    assert [x.latency_us for x in loose.links][1] == 14 + 10
    assert isinstance(place(asked, cloud(*hosts, latencies=told, fabric=EDGES[:1])), Plan)


def test_a_cost_that_was_seen_is_judged_anew_on_the_same_estate() -> None:
    snapshot = _cloud()
    asked = request(demand("x", max_startup_ms=1_000, artefacts={Runtime.KATA}))
    assert not isinstance(place(asked, snapshot), Plan)
    seen = snapshot.with_observed([ObservedCost("local", "s1", Runtime.KATA, start_ms=500)])
    assert [a.host for a in planned(asked, seen).assignments] == ["s1"]
    assert desk_of(seen).atlas is desk_of(snapshot).atlas
