"""Matches, buckets, who comes and who goes, and what a new generation of a path changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.local.net import (
    Hop,
    InvalidSpecError,
    LinkSpec,
    Match,
    Member,
    MemberKind,
    PathSpec,
    PortSpec,
    Replica,
    Route,
    StaleGenerationError,
    Wiring,
    facts,
    matching,
    membership,
    pathstamps,
)
from plugins.local.net.balance import BUCKETS, spread
from plugins.local.net.courses import PathState, Turn
from plugins.local.net.naming import interface_name, patch_name
from plugins.local.net.plan import link_from_stamp, link_to_stamp, plan_link, plans_of, same_wiring

CONTAINER, VM = MemberKind.CONTAINER, MemberKind.VM
names = st.sets(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=8).map(sorted)


@given(names)
def test_buckets_are_spread_evenly(owners: list[str]) -> None:
    found = spread(owners)
    shares = [found.count(owner) for owner in owners]
    assert len(found) == BUCKETS
    assert max(shares) - min(shares) <= 1


def test_few_buckets_of_others_move_when_one_comes() -> None:
    few, more = spread(["a", "b", "c"]), spread(["a", "b", "c", "d"])
    moved = [bucket for bucket in range(BUCKETS) if few[bucket] != more[bucket] and more[bucket] != "d"]
    assert len(moved) <= 8


def test_a_match_is_mirrored_on_the_way_back() -> None:
    match = Match("10.0.0.0/8", "192.0.2.0/24", 17, 5000, 53, 10)
    assert matching.text(match, forward=True) == (
        "ip saddr 10.0.0.0/8 ip daddr 192.0.2.0/24 ip protocol 17 ip frag-off & 0x1fff == 0 "
        "th sport 5000 th dport 53 ip dscp 10 "
    )
    assert matching.text(match, forward=False) == (
        "ip daddr 10.0.0.0/8 ip saddr 192.0.2.0/24 ip protocol 17 ip frag-off & 0x1fff == 0 "
        "th dport 5000 th sport 53 ip dscp 10 "
    )
    assert matching.text(Match(), forward=True) == ""


def test_more_fields_go_before_fewer_and_longer_prefixes_before_shorter() -> None:
    found = [Match(), Match("10.0.0.0/8"), Match("10.0.0.0/8", ip_protocol=6), Match("10.1.0.0/16")]
    assert sorted(found, key=matching.rank) == [found[2], found[3], found[1], found[0]]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        (Match("fd00::/8"), "match.source_cidr: expected an IPv4 network"),
        (Match(destination_cidr="10.0.0.1/8"), "match.destination_cidr"),
        (Match(destination_port=80), "match.ip_protocol: a port needs"),
        (Match(ip_protocol=17, source_port=70000), "match.source_port: expected 0-65535"),
        (Match(dscp=64), "match.dscp: expected 0-63"),
    ],
)
def test_a_match_without_sense_names_the_field(match: Match, said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        matching.check(match)


LEFT, RIGHT = Member("a", "right", CONTAINER), Member("b", "left", CONTAINER)
PAIR = LinkSpec("l", (LEFT, RIGHT), "chain")
LATE = Member("x", "left", VM)


def test_who_joins_a_pair_late_gets_a_fabric_port_and_the_pair_stays_one() -> None:
    with_late = membership.joined(PAIR, LATE)
    pair, late = plans_of(with_late)
    assert pair == plan_link(PAIR)
    assert (late.wiring, late.carrier, late.native) == (Wiring.FABRIC, pair.fabric, False)
    assert membership.joined(with_late, LATE) == with_late
    assert same_wiring(PAIR, with_late)
    assert link_from_stamp(link_to_stamp(with_late)) == with_late
    assert membership.left(with_late, "x") == PAIR


def test_who_was_meant_from_the_start_leaves_its_place_and_comes_back_to_it() -> None:
    guest = replace(PAIR, members=(LEFT, Member("b", "left", VM)))
    gone = membership.left(guest, "b")
    assert [port.member.resource_id for port in plan_link(gone).ports] == ["a"]
    assert len(plan_link(membership.left(PAIR, "b")).ports) == 2, "an end of a pair goes with the other"
    assert membership.joined(gone, Member("b", "left", VM)) == guest
    assert membership.left(gone, "b") == gone
    assert membership.ports_that_go(PAIR, "b") == []
    assert [port.member.resource_id for _plan, port in membership.ports_that_go(guest, "b")] == ["b"]


def test_ends_of_pairs_whose_other_end_is_in_use_stay() -> None:
    links = {"l": PAIR, "m": LinkSpec("m", (replace(RIGHT, cp_id="right"), Member("c", "left", CONTAINER)))}
    assert membership.ends_in_use(links, "b", lambda _id: True) == {"left", "right"}
    assert membership.ends_in_use(links, "b", lambda resource_id: resource_id == "c") == {"right"}
    assert not membership.ends_in_use(links, "b", lambda _id: False)


def test_a_steered_link_takes_any_number_of_members() -> None:
    steered = plan_link(replace(PAIR, members=(LEFT, RIGHT, LATE), steered=True))
    assert (steered.wiring, steered.native) == (Wiring.FABRIC, False)


def test_two_know_each_other_where_each_has_the_other_on_its_link_and_as_its_gateway() -> None:
    def at(ip: str, via: str = "") -> facts.PortFacts:
        routes = (Route("0.0.0.0/0", via),) if via else ()
        found = facts.facts_of("a", PortSpec("left", (ip,), routes=routes))
        assert found is not None
        return found

    assert at("10.0.0.1/30", "10.0.0.2").knows(at("10.0.0.2/24"))
    assert not at("10.0.0.1/30", "10.0.0.2").knows(at("10.0.0.5/30", "10.0.0.6"))
    assert not at("10.0.0.1/24", "10.0.0.3").knows(at("10.0.0.2/24")), "its gateway is nobody"


HOP = Hop("a", CONTAINER, "left", "right", "mid")
ONE, TWO = Replica("a", CONTAINER), Replica("b", CONTAINER)
BOTH = replace(HOP, replicas=(ONE, TWO))


def _path(hop: Hop, generation: int) -> PathSpec:
    ends = Hop("c", MemberKind.SAP, "", "right", "client"), Hop("s", MemberKind.SAP, "left", "", "server")
    return PathSpec("p", (ends[0], hop, ends[1]), "chain", generation, match=Match(dscp=3))


def test_flows_are_learnt_before_others_come_and_kept_until_those_that_leave_are_idle() -> None:
    single, several = PathState(_path(HOP, 1)), PathState(_path(BOTH, 2))
    assert pathstamps.turned(single, several.spec).turns == {"mid": Turn(owners=("a",))}
    fewer = pathstamps.turned(several, _path(HOP, 3))
    assert fewer.turns == {"mid": Turn(leaving=(TWO,))}
    assert pathstamps.turned(fewer, fewer.spec) == fewer, "the same call goes on where it was broken off"
    assert pathstamps.turned(fewer, _path(HOP, 4)).turns == fewer.turns
    assert pathstamps.turned(fewer, _path(BOTH, 4)).turns == {}


def test_one_that_is_replaced_is_not_waited_for() -> None:
    third = replace(HOP, replicas=(ONE, Replica("n", CONTAINER)))
    assert pathstamps.turned(PathState(_path(BOTH, 1)), _path(third, 2)).turns == {}
    assert pathstamps.turned(PathState(_path(HOP, 1)), _path(replace(HOP, resource_id="n"), 2)).turns == {}
    assert pathstamps.turned(None, _path(BOTH, 1)).turns == {}


def test_a_path_comes_back_out_of_its_stamp_also_of_one_of_an_earlier_release() -> None:
    state = PathState(_path(BOTH, 2), {"mid": Turn(("a",), (TWO,))})
    assert pathstamps.from_stamp(pathstamps.to_stamp(state)) == state
    stamp = pathstamps.to_stamp(PathState(_path(HOP, 1)))
    old = {**stamp, "hops": [hop[:5] for hop in stamp["hops"]]}
    del old["match"], old["turns"]
    assert pathstamps.from_stamp(old) == PathState(replace(_path(HOP, 1), match=Match()))
    assert pathstamps.from_stamp({**stamp, "match": {"colour": "red"}}) is None


def test_another_match_needs_another_generation() -> None:
    with pytest.raises(StaleGenerationError, match="must rise"):
        pathstamps.check_generation(_path(HOP, 1), replace(_path(HOP, 1), match=Match()))
    pathstamps.check_generation(_path(HOP, 1), _path(BOTH, 2))


@pytest.mark.parametrize("replicas", [(TWO,), (ONE, ONE), (ONE, TWO, TWO)])
def test_replicas_are_named_once_and_all(replicas: tuple[Replica, ...]) -> None:
    with pytest.raises(InvalidSpecError, match="replicas"):
        pathstamps.check(_path(replace(HOP, replicas=replicas), 1))


def test_facts_of_a_port_come_back_out_of_its_stamp() -> None:
    spec = PortSpec("left", ("10.0.0.1/30", "fd00::1/64"), "02:00:00:00:00:01", 1400, (Route("0.0.0.0/0", "10.0.0.2"),))
    assert facts.from_stamp(facts.to_stamp("a", spec)) == ("a", spec)
    assert facts.facts_of("a", spec) == facts.PortFacts(
        "02:00:00:00:00:01", ("10.0.0.1",), has_ipv6=True, networks=("10.0.0.0/30",), gateways=("10.0.0.2",)
    )
    assert facts.facts_of("a", replace(spec, ips=())) is None
    assert facts.gathered({"torn": {}}) == {}


@given(st.text(min_size=1, max_size=128))
def test_a_patch_has_a_name_that_the_kernel_takes_beside_the_ports(cp_id: str) -> None:
    assert len(patch_name(cp_id)) <= 15
    assert patch_name(cp_id) != interface_name(cp_id)
