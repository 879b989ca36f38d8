"""What becomes of what runs if hosts go or come, what had better be moved, and that each word of it is so when done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from foresight_bench import KNOWN, SIGHT, Cloud, server, star, where
from lcm_samples import OPERATION

from vnfm.lcm.changing import Renewal, change
from vnfm.lcm.foresight.moving import Gauge, Moved, moved
from vnfm.lcm.foresight.replacing import Wish, replacement
from vnfm.lcm.foresight.running import Running
from vnfm.lcm.foresight.supposing import Outcome, outlook
from vnfm.lcm.foresight.telling import outlook_document, replacement_document, tidied_document
from vnfm.lcm.foresight.tidying import bettered, tidied
from vnfm.lcm.planning import lane_demands
from vnfm.lcm.realizing import expected
from vnfm.lcm.recipes.computes import Lane, LaneIds, compute_steps
from vnfm.model.chain import ChainVnf
from vnfm.model.change import Place
from vnfm.model.lcm import InstantiationState, VnfInstance
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.realization import NOTHING_STANDS
from vnfm.placement.amounts import amounts_of, cells_of, total
from vnfm.placement.engine import place
from vnfm.placement.headroom import FILLER
from vnfm.placement.inventory import Cell, Reservation
from vnfm.placement.plan import Plan
from vnfm.placement.request import Request
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import More, Supposition, closed, detached, supposed


def nobody_is_overcommitted(snapshot: Snapshot) -> bool:
    for host in snapshot.hosts:
        mine = [
            r for r in snapshot.reservations if (r.vim, r.host) == host.key and not r.resource_id.startswith(FILLER)
        ]
        cpu_milli, memory_mib = total(amounts_of(r) for r in mine)[:2]
        cells = cells_of([host])
        if cpu_milli > sum(c.cpu_milli for c in cells) or memory_mib > sum(c.memory_mib for c in cells):
            return False
    return True


def look(cloud: Cloud, asked: Supposition):  # type: ignore[no-untyped-def]
    return outlook(cloud.chains, cloud.snapshot, supposed(cloud.snapshot, asked), SIGHT)


# ---- what if ----


def test_of_a_drained_host_only_its_vnfs_move_and_the_others_of_the_chain_stay() -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("edge")]))
    cloud.add("c", "fw", "rt", on="h1", ends="edge")
    cloud.add("d", "fw", on="h2", ends="edge")
    seen = look(cloud, Supposition(drain=("h1",)))
    (fate,) = seen.fates
    assert fate.outcome is Outcome.MOVED
    assert {s.alias for s in fate.shifts} == {"fw", "rt"}
    assert all(s.after.host != "h1" for s in fate.shifts)
    assert not any(r.host == "h1" for r in seen.snapshot.reservations if not r.resource_id.startswith(FILLER))
    assert nobody_is_overcommitted(seen.snapshot)
    assert where(cloud.chains[0]) == {"fw": "h1", "rt": "h1"}  # nothing was touched


def test_vnfs_that_share_room_are_refused_where_only_one_of_them_fits() -> None:
    cloud = Cloud(star([server("h1"), server("h2", 2_000), server("edge", 1_000)]))
    for name in ("c", "d"):
        cloud.add(name, "fw", on="h1", ends="edge")
    seen = look(cloud, Supposition(fail_hosts=("h1",)))
    assert sorted(f.outcome for f in seen.fates) == [Outcome.HEALED, Outcome.LOST]
    lost = next(f for f in seen.fates if f.no)
    assert lost.no
    assert lost.no.proof in ("host", "capacity")
    assert "2 CPU" in lost.no.detail
    document = outlook_document(Supposition(fail_hosts=("h1",)), cloud.snapshot, supposed(cloud.snapshot, Supposition(
        fail_hosts=("h1",))), seen, (), None)  # fmt: skip
    assert document["summary"]["lost"] == 1
    told = next(c for c in document["chains"] if c["outcome"] == "LOST")
    assert set(told["refused"]) == {"proof", "detail", "minimal_change"}


def test_a_chain_whose_end_is_on_the_host_would_have_to_be_created_anew() -> None:
    cloud = Cloud(star([server("h1"), server("h2")]))
    cloud.add("c", "fw", on="h1")
    (fate,) = look(cloud, Supposition(drain=("h1",))).fates
    assert fate.outcome is Outcome.RECREATED
    assert set(fate.ends) == {"client", "server"}
    assert "ends cannot be moved" in fate.why
    assert [s.after.host for s in fate.shifts] == ["h2"]


def test_what_cannot_be_moved_while_it_runs_is_planned_anew_and_says_why() -> None:
    """The new one has to come beside the old one's neighbours: within 20 us of an end that is far from what is left."""
    far = server("far", zone="z2", vim="n")
    cloud = Cloud(star([server("h1"), far]))
    cloud.add("c", "fw", on="h1", ends="far", extra="")
    fates = look(cloud, Supposition(drain=("h1",))).fates
    assert [f.outcome for f in fates] == [Outcome.RECREATED]
    assert "while it runs is refused" in fates[0].why


def test_a_zone_that_fails_takes_all_its_hosts_along() -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("h3", zone="z2"), server("edge", zone="z2")]))
    cloud.add("c", "fw", on="h1", ends="edge")
    cloud.add("d", "rt", on="h2", ends="edge")
    cloud.add("e", "rt", on="h3", ends="edge")
    fates = look(cloud, Supposition(fail_zones=("z1",))).fates
    assert {f.running.name: f.outcome for f in fates} == {"c": Outcome.HEALED, "d": Outcome.HEALED}
    assert all(s.after.host in ("h3", "edge") for f in fates for s in f.shifts)


def test_the_same_question_twice_gives_the_same_answer() -> None:
    cloud = Cloud(star([server(f"h{n}") for n in range(4)]))
    for n in range(6):
        cloud.add(f"c{n}", "fw", "nat", ends="h3")
    asked = Supposition(drain=("h0", "h1"))

    def told() -> object:
        then = supposed(cloud.snapshot, asked)
        return outlook_document(asked, cloud.snapshot, then, look(cloud, asked), (), None)

    assert told() == told()


def test_a_chain_whose_package_is_gone_is_told_apart_and_the_others_are_looked_at() -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("edge")]))
    cloud.add("c", "fw", on="h1", ends="edge")
    cloud.chains.append(replace(cloud.add("d", "fw", on="h1", ends="edge"), packages={}))
    del cloud.chains[1]
    seen = look(cloud, Supposition(drain=("h1",)))
    assert [f.running.name for f in seen.fates] == ["c"]
    assert [one.name for one, _ in seen.untold] == ["d"]


def test_added_hosts_are_told_to_be_better_only_for_who_would_go_there() -> None:
    cloud = Cloud(star([server("h1", price=5.0), server("cheap", 1_000, price=0.5), server("edge", 1_000)]))
    cloud.add("c", "fw", on="h1", ends="edge")
    assert not bettered(cloud.chains, detached(cloud.snapshot), SIGHT, 5, frozenset({("m", "new-1")})).moves
    then = supposed(cloud.snapshot, Supposition(add=(More(1, "cheap"),)))
    grown = replace(then.snapshot.by_key["m", "new-1"], cells=(Cell(8_000, 64 << 30),))
    found = bettered(cloud.chains, then.snapshot.with_hosts([grown]), SIGHT, 5, frozenset(then.like))
    (move,) = found.moves
    assert [s.after.host for s in move.shifts] == ["new-1"]
    assert move.before
    assert move.after
    assert move.before.price - move.after.price == pytest.approx(9.0)


def alone(cloud: Cloud) -> Running:
    """A VNF that stands alone on h1, put there as INSTANTIATE does it."""
    instance = VnfInstance("i", "t", "solo", "fw", "pkg-fw", "", "", InstantiationState.INSTANTIATED, None, ())
    lane = Lane("solo", "i", KNOWN["fw"].vnfd.flavours[0], {"front": 1}, KNOWN["fw"].images)
    demands = lane_demands(lane, ChainVnf("solo", "fw"), OPERATION, "t")
    only_h1 = closed(cloud.snapshot, {h.key for h in cloud.snapshot.hosts if h.id != "h1"}, "test")
    plan = place(Request("t", tuple(demands)), only_h1)
    assert isinstance(plan, Plan)
    cloud.snapshot = cloud.snapshot.holding(plan.reservations)
    stands = expected(NOTHING_STANDS, compute_steps(lane, plan, LaneIds(OPERATION), {}, ()))
    one = Running("t", (instance,), KNOWN, stands)
    cloud.chains.append(one)
    return one


def test_a_vnf_that_stands_alone_is_healed_but_not_moved() -> None:
    cloud = Cloud(star([server("h1"), server("h2")]))
    one = alone(cloud)
    (lost,) = look(cloud, Supposition(fail_hosts=("h1",))).fates
    assert (lost.outcome, [s.after.host for s in lost.shifts]) == (Outcome.HEALED, ["h2"])
    asked = Supposition(drain=("h1",))
    seen = look(cloud, asked)
    (drained,) = seen.fates
    assert (drained.outcome, [s.after.host for s in drained.shifts]) == (Outcome.RECREATED, ["h2"])
    told = outlook_document(asked, cloud.snapshot, supposed(cloud.snapshot, asked), seen, (), None)
    assert told["chains"][0]["command"] == "vnfm vnf terminate solo; vnfm vnf instantiate solo"
    assert not tidied([one], cloud.snapshot, SIGHT, 20).moves
    with pytest.raises(ProblemError, match="stands alone"):
        replacement(one, ["solo"], Wish(), cloud.snapshot, SIGHT)


# ---- defragmentation ----


def scattered() -> Cloud:
    """Three servers in use where one would do, and an end's own."""
    cloud = Cloud(star([server("h1"), server("h2"), server("h3"), server("h4"), server("edge", 1_000)]))
    cloud.add("c", "fw", on="h1", ends="edge")
    cloud.add("d", "fw", on="h2", ends="edge")
    cloud.add("e", "fw", "rt", on="h3", ends="edge")
    return cloud


def test_servers_are_emptied_into_those_in_use_and_never_into_empty_ones() -> None:
    cloud = scattered()
    found = tidied(cloud.chains, cloud.snapshot, SIGHT, 20)
    assert {s for m in found.moves for s in m.empties} == {("m", "h1"), ("m", "h2")}
    assert {h for one in found.running for h in where(one).values()} == {"h3"}
    assert nobody_is_overcommitted(found.snapshot)


def test_each_move_is_possible_when_it_is_its_turn_and_leaves_what_was_said() -> None:
    """Carried out one by one by the change that the commands start, on what is really held then."""
    cloud = scattered()
    now = cloud.snapshot
    standing: dict[str, Running] = {r.id: r for r in cloud.chains}
    for move in tidied(cloud.chains, now, SIGHT, 20).moves:
        one = standing[move.running.id]
        places = tuple(
            Place(s.alias, s.vdu_id, s.index, s.after.vim, s.after.host, s.after.runtime) for s in move.shifts
        )
        done = moved(one, Renewal(one.of({s.alias for s in move.shifts}), places=places), now, SIGHT)
        assert isinstance(done, Moved), done
        standing[one.id], now = done.running, done.snapshot
        assert Gauge.of(now).measured(done.running) == move.after
        assert not any((r.vim, r.host) in move.empties for r in now.reservations)


def test_no_more_is_moved_than_was_asked_for() -> None:
    found = tidied(scattered().chains, scattered().snapshot, SIGHT, 1)
    assert sum(len(m.shifts) for m in found.moves) == 1


def test_servers_that_nobody_else_uses_are_emptied_first_and_never_those_that_an_end_is_on() -> None:
    cloud = Cloud(star([server("h1"), replace(server("h2"), cells=(Cell(8_000, 64 << 30, 100),)), server("h3")]))
    cloud.add("c", "fw", on="h1")
    cloud.add("d", "fw", on="h2", ends="h1")
    cloud.add("e", "fw", on="h3", ends="h1")
    found = tidied(cloud.chains, cloud.snapshot, SIGHT, 20)
    assert found.pinned == 1
    assert found.moves[0].empties == (("m", "h3"),)
    assert ("m", "h1") not in {s for m in found.moves for s in m.empties}


def test_a_chain_goes_where_it_is_cheaper_and_the_saving_is_told() -> None:
    cloud = Cloud(star([replace(server("dear", price=3.0), cells=(Cell(8_000, 64 << 30, 100),)), server("edge")]))
    cloud.add("c", "fw", on="dear", ends="edge")
    found = tidied(cloud.chains, cloud.snapshot, SIGHT, 20)
    (told,) = tidied_document(cloud.snapshot, found)["moves"]
    assert told["empties"] == [{"vim": "m", "host": "dear"}]
    assert told["saved"] == {"price": 4.0, "hops": 4, "latency_us": 40}
    assert told["command"] == "vnfm placement replace c/fw --to m/edge --apply"


def test_where_nothing_is_gained_nothing_is_moved() -> None:
    cloud = Cloud(star([server("h1"), server("h2")]))
    cloud.add("c", "fw", "rt", on="h1")
    found = tidied(cloud.chains, cloud.snapshot, SIGHT, 20)
    assert not found.moves
    assert tidied_document(cloud.snapshot, found)["summary"]["vnfcs"] == 0


def test_a_chain_that_is_being_changed_is_left_alone() -> None:
    cloud = scattered()
    busy = [replace(one, busy="operation") for one in cloud.chains]
    assert not tidied(busy, cloud.snapshot, SIGHT, 20).moves


# ---- replacement ----


def test_a_vnf_goes_where_it_is_told_as_what_it_is() -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("h3")]))
    one = cloud.add("c", "fw", "nat", on="h1")
    found = replacement(one, ["nat"], Wish(to=("h3",)), cloud.snapshot, SIGHT)
    assert [(s.alias, s.after.host, s.after.runtime) for s in found.shifts] == [("nat", "h3", Runtime.KATA)]
    assert found.shifts[0].why
    assert found.shifts[0].why.reasons
    told = replacement_document(found)
    assert told["command"] == "vnfm placement replace c/nat --to m/h3 --apply"
    assert told["saved"] == {"price": 0.0, "hops": -4, "latency_us": -40}
    assert any("image" in w for w in told["warnings"])


def test_each_of_several_goes_to_its_own_host() -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("h3")]))
    one = cloud.add("c", "fw", "rt", on="h1")
    found = replacement(one, ["fw", "rt"], Wish(to=("fw=h3", "rt=m/h2")), cloud.snapshot, SIGHT)
    assert {s.alias: s.after.host for s in found.shifts} == {"fw": "h3", "rt": "h2"}


def test_what_is_to_be_avoided_is_and_who_is_best_where_it_is_stays() -> None:
    cloud = Cloud(star([server("h1"), server("h2")]))
    one = cloud.add("c", "fw", on="h1")
    assert replacement(one, ["fw"], Wish(), cloud.snapshot, SIGHT).stays
    found = replacement(one, ["fw"], Wish(avoid=("h1",)), cloud.snapshot, SIGHT)
    assert [s.after.host for s in found.shifts] == ["h2"]


def test_a_host_without_room_is_refused_with_the_proof() -> None:
    cloud = Cloud(star([server("h1"), server("h2", 1_000)]))
    one = cloud.add("c", "fw", on="h1")
    found = replacement(one, ["fw"], Wish(to=("h2",)), cloud.snapshot, SIGHT)
    assert found.no
    assert found.no.proof == "host"
    assert replacement_document(found)["refused"]["detail"] == found.no.detail


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        (Wish(to=("h1",), vim="m"), "bad-request"),
        (Wish(to=("x=h1",)), "bad-value"),
        (Wish(to=("nowhere",)), "not-found"),
        (Wish(vim="nobody"), "not-found"),
        (Wish(avoid=("nowhere",)), "not-found"),
    ],
)
def test_wishes_that_cannot_be_are_refused_by_name(wish: Wish, word: str) -> None:
    cloud = Cloud(star([server("h1"), server("h2")]))
    one = cloud.add("c", "fw", on="h1")
    with pytest.raises(ProblemError) as refused:
        replacement(one, ["fw"], wish, cloud.snapshot, SIGHT)
    assert refused.value.problem.word == word


def test_what_an_operation_is_on_is_not_planned() -> None:
    cloud = Cloud(star([server("h1"), server("h2")]))
    one = replace(cloud.add("c", "fw", on="h1"), busy="an operation")
    with pytest.raises(ProblemError, match="vnfm op show"):
        replacement(one, ["fw"], Wish(), cloud.snapshot, SIGHT)


# ---- the change that carries it out ----


def test_a_change_goes_where_it_was_planned_or_nowhere() -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("h3")]))
    one = cloud.add("c", "fw", on="h1")
    (vnfc,) = one.stands.vnfcs
    there = (Place("fw", vnfc.vdu_id, 0, "m", "h3", Runtime.CONTAINER),)

    def done(snapshot: Snapshot, places: tuple[Place, ...]) -> list[str]:
        renewal = Renewal(one.of({"fw"}), places=places)
        made = change(one.wanted, renewal, snapshot, operation_id=one.operation_id, absent={})
        return [a.host for a in made.plan.assignments]

    assert done(cloud.snapshot, there) == ["h3"]
    taken = Reservation("x", "m", "h3", "t", Runtime.CONTAINER, cloud.snapshot.reservations[0].isolation, 7_000, 1)
    with pytest.raises(ProblemError, match="does not take fw/front") as refused:
        done(cloud.snapshot.holding([taken]), there)
    assert refused.value.problem.retry == "NEW_PLACEMENT"


# ---- what is said meanwhile ----


@pytest.mark.parametrize(
    ("runs_on", "said"), [("", "nothing runs"), ("h2", "nothing that runs is touched"), ("h1", "")]
)
def test_where_there_is_nothing_to_look_at_that_is_said(runs_on: str, said: str) -> None:
    cloud = Cloud(star([server("h1"), server("h2"), server("edge")]))
    if runs_on:
        cloud.add("c", "fw", on=runs_on, ends="edge")
    words: list[tuple[int, int, str]] = []
    outlook(
        cloud.chains,
        cloud.snapshot,
        supposed(cloud.snapshot, Supposition(drain=("h1",))),
        SIGHT,
        lambda *word: words.append(word),
    )
    assert words[-1] == ((1, 1, "") if runs_on == "h1" else (0, 0, said))
