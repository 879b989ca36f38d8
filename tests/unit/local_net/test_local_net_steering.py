"""From hops to courses, from courses to rules, and from what is there to what is wanted in one transaction."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.local.net import Hop, InvalidSpecError, LinkSpec, Match, Member, MemberKind, NotThereError, PathSpec
from plugins.local.net import Replica as R
from plugins.local.net.courses import Layout, PathState, Turn, find_port, layout
from plugins.local.net.facts import PortFacts
from plugins.local.net.naming import answer_mac, derive_mac, fabric_name, port_name
from plugins.local.net.plan import LinkPlan, plans_of
from plugins.local.net.ruleset import Chain, Found, Mark, Ruleset, amiss, leaving, mark_of, parse, transaction
from plugins.local.net.steering import check_conflicts, path_counter, wanted

FABRIC = fabric_name("chain")
SAP, CONTAINER, VM = MemberKind.SAP, MemberKind.CONTAINER, MemberKind.VM


def _link(name: str, *members: Member, late: tuple[Member, ...] = (), chain: str = "chain") -> list[LinkPlan]:
    return list(plans_of(LinkSpec(name, members, chain, late=late)))


CLIENT, SERVER = Member("client", "right", SAP), Member("server", "left", SAP)
FW_LEFT, FW_RIGHT = Member("fw", "left", CONTAINER), Member("fw", "right", CONTAINER)
GW_LEFT, GW_RIGHT = Member("gw", "left", VM), Member("gw", "right", VM)
NEW = (Member("new", "left", VM), Member("new", "right", VM))
LINKS = [
    *_link("l1", CLIENT, FW_LEFT, late=NEW),
    *_link("l2", FW_RIGHT, GW_LEFT),
    *_link("l3", GW_RIGHT, SERVER),
]
HOPS = (
    Hop("client", SAP, "", "right", "client"),
    Hop("fw", CONTAINER, "left", "right", "fw"),
    Hop("gw", VM, "left", "right", "gw"),
    Hop("server", SAP, "left", "", "server"),
)
PATH = PathSpec("p1", HOPS, "chain")
NEW_HOP = Hop("new", VM, "left", "right", "new")
LONGER = replace(PATH, hops=(HOPS[0], NEW_HOP, *HOPS[1:]))
EVERY = (CLIENT, FW_LEFT, FW_RIGHT, GW_LEFT, GW_RIGHT, SERVER, *NEW)
FACTS = {
    port_name(one.resource_id, one.cp_id): PortFacts(derive_mac(one.resource_id, one.cp_id), (f"10.0.0.{number}",))
    for number, one in enumerate(EVERY, 1)
}
PRESENT = {name: 100 + number for number, name in enumerate(sorted(FACTS))}


def _name(member: Member) -> str:
    return port_name(member.resource_id, member.cp_id)


def _layout(*paths: PathSpec, strict: bool = True, facts: dict[str, PortFacts] = FACTS) -> Layout:
    return layout([PathState(path) for path in paths], LINKS, facts, FABRIC, lambda _id: strict)


def _targets(found: Layout) -> dict[str, list[str]]:
    return {course.port: [one.port for one in course.targets] for course in found.courses}


def test_a_pair_keeps_its_wire_and_neighbours_of_guests_are_joined_without_translation() -> None:
    found = _layout(PATH)
    assert _targets(found) == {
        _name(FW_RIGHT): [_name(GW_LEFT)],
        _name(GW_LEFT): [_name(FW_RIGHT)],
        _name(GW_RIGHT): [_name(SERVER)],
        _name(SERVER): [_name(GW_RIGHT)],
    }
    assert not found.patched
    assert all(course.asker is None and course.targets[0].mac == "" for course in found.courses)


def test_where_one_stands_between_the_ends_of_a_pair_both_are_patched_and_translated() -> None:
    found = _layout(LONGER)
    assert set(found.patched) == {_name(CLIENT), _name(FW_LEFT)}
    course = next(one for one in found.courses if one.port == _name(CLIENT))
    assert course.targets[0].port == _name(NEW[0])
    assert course.targets[0].mac == derive_mac("new", "left")
    assert course.asker is not None
    assert course.asker.answer == derive_mac("fw", "left"), "it will meet its own neighbour again"
    late = next(one for one in found.courses if one.port == _name(NEW[0]))
    assert late.asker is not None
    assert late.asker.answer == answer_mac("new", "left")


def test_a_path_over_the_wire_of_an_end_that_another_path_has_patched_leaves_the_wire_too() -> None:
    voice = replace(LONGER, id="voice", match=Match(dscp=46))
    found = _layout(PATH, voice)
    assert set(found.patched) == {_name(CLIENT), _name(FW_LEFT)}
    picked = {(one.path_id, one.targets[0].port) for one in found.courses if one.port == _name(CLIENT)}
    assert picked == {("p1", _name(FW_LEFT)), ("voice", _name(NEW[0]))}


def test_the_ends_of_a_wire_can_take_the_fabric_which_then_leads_where_the_wire_led() -> None:
    """So they leave the wire, and come back to it, one by one, and no frame goes astray meanwhile."""
    ends = {_name(CLIENT), _name(FW_LEFT)}
    found = layout([PathState(PATH)], LINKS, FACTS, FABRIC, beside=ends)
    assert found.patched.keys() == ends
    targets = _targets(found)
    assert targets[_name(CLIENT)] == [_name(FW_LEFT)]
    assert targets[_name(FW_LEFT)] == [_name(CLIENT)]
    assert not any(course.asker for course in found.courses), "made for each other: nothing is translated"
    assert layout([PathState(PATH)], LINKS, FACTS, FABRIC, beside={_name(one) for one in NEW}).patched == {}


def test_two_on_a_steered_link_are_translated_unless_their_addresses_are_made_for_each_other() -> None:
    left, right = Member("a", "right", SAP), Member("b", "left", SAP)
    links = list(plans_of(LinkSpec("steered", (left, right), "chain", steered=True)))
    path = PathSpec("p", (Hop("a", SAP, "", "right", "a"), Hop("b", SAP, "left", "", "b")), "chain")

    def is_translated(*networks: str) -> bool:
        facts = {
            _name(one): PortFacts(derive_mac("x", "y"), (f"10.0.0.{number}",), networks=(network,))
            for number, (one, network) in enumerate(zip((left, right), networks, strict=True), 1)
        }
        return any(course.asker for course in layout([PathState(path)], links, facts, FABRIC).courses)

    assert is_translated("10.0.0.1/32", "10.0.0.2/32")
    assert not is_translated("10.0.0.0/30", "10.0.0.0/30")


def test_a_path_with_a_match_is_counted_even_where_a_wire_would_do() -> None:
    assert set(_layout(replace(PATH, match=Match(ip_protocol=6))).patched) == {_name(CLIENT), _name(FW_LEFT)}


def test_beyond_a_hop_that_passes_frames_the_next_one_that_speaks_is_meant() -> None:
    facts = {name: known for name, known in FACTS.items() if name not in (_name(NEW[0]), _name(NEW[1]))}
    found = _layout(replace(LONGER, hops=(HOPS[0], NEW_HOP, HOPS[1])), facts=facts)
    assert all(course.asker is None and course.targets[0].mac == "" for course in found.courses), "one link's own two"
    far = replace(PATH, hops=(HOPS[0], NEW_HOP, HOPS[2], HOPS[3]))
    found = _layout(far, facts=facts)
    into_bump = next(one for one in found.courses if one.port == _name(CLIENT))
    assert into_bump.targets[0].mac == derive_mac("gw", "left")
    out_of_bump = next(one for one in found.courses if one.port == _name(NEW[1]))
    assert out_of_bump.asker is not None
    assert out_of_bump.asker.mac == derive_mac("client", "right")


def test_what_cannot_be_joined_is_said_of_a_strict_path_and_left_out_of_another() -> None:
    strange = replace(PATH, hops=(*HOPS[:3], replace(HOPS[3], resource_id="nobody")))
    with pytest.raises(NotThereError, match="hop server: nobody/left is on no link"):
        _layout(strange)
    assert len(_layout(strange, strict=False).courses) == 2
    foreign = [*LINKS[:3], *_link("l3", GW_RIGHT, SERVER, chain="foreign")]
    with pytest.raises(NotThereError, match="cannot be steered within this chain"):
        layout([PathState(PATH)], foreign, FACTS, FABRIC, lambda _id: True)
    six = {**FACTS, _name(NEW[0]): replace(FACTS[_name(NEW[0])], has_ipv6=True)}
    with pytest.raises(InvalidSpecError, match="only IPv4"):
        _layout(LONGER, facts=six)


def test_two_paths_that_send_the_same_packets_elsewhere_are_refused_unless_a_match_tells_them_apart() -> None:
    other = replace(LONGER, id="p2")
    with pytest.raises(InvalidSpecError, match="path p2: port"):
        check_conflicts(_layout(PATH, other), "p2")
    check_conflicts(_layout(PATH, replace(other, match=Match(dscp=46))), "p2")
    check_conflicts(_layout(PATH, replace(PATH, id="p2")), "p2")
    one_armed = replace(PATH, hops=(HOPS[0], replace(NEW_HOP, egress_cp="left"), HOPS[1]))
    with pytest.raises(InvalidSpecError, match="both ways"):
        check_conflicts(_layout(one_armed), "p1")


def test_find_port_knows_who_is_on_no_link() -> None:
    assert find_port(LINKS, "gw", "left") is not None
    assert find_port(LINKS, "gw", "middle") is None


# -- rules


def test_the_usual_port_has_one_rule() -> None:
    chains = wanted(_layout(PATH), PRESENT).chains
    port, to = _name(FW_RIGHT), _name(GW_LEFT)
    assert chains[port] == Chain((f"counter name {port} fwd to {to}",), port)


def test_a_translated_port_has_one_rule_for_what_runs_and_one_for_who_asks() -> None:
    chains = wanted(_layout(LONGER), PRESENT).chains
    port, to = _name(CLIENT), _name(NEW[0])
    mac = derive_mac("new", "left")
    assert chains[port].rules == (
        f"counter name {port} meta protocol ip ether daddr set {mac} fwd to {to}",
        f"meta protocol arp goto a{port[1:]}",
    )
    (answer,) = chains["a" + port[1:]].rules
    assert answer.startswith("arp operation request arp daddr ip != { 10.0.0.1 } arp saddr ip set arp daddr ip ")
    assert answer.endswith(f"fwd to {port}")


def test_the_more_specific_match_goes_first_and_replies_are_mirrored() -> None:
    web = replace(LONGER, id="web", match=Match("10.0.0.0/24", "", 6, 0, 80))
    rules = wanted(_layout(PATH, web), PRESENT).chains[_name(CLIENT)].rules
    counters = [re.search(r"counter name (\S+)", rule)[1] for rule in rules if "counter" in rule]  # type: ignore[index]
    port = _name(CLIENT)
    assert counters == [port, path_counter(port, "web"), path_counter(port, "p1")]
    assert "ip saddr 10.0.0.0/24 ip protocol 6 ip frag-off & 0x1fff == 0 th dport 80 " in rules[2]
    back = wanted(_layout(PATH, web), PRESENT).chains[_name(FW_LEFT)].rules
    assert "ip daddr 10.0.0.0/24 ip protocol 6 ip frag-off & 0x1fff == 0 th sport 80 " in back[2]


def test_flows_of_a_path_by_dscp_are_kept_on_the_way_and_looked_up_on_the_way_back() -> None:
    voice = replace(LONGER, id="voice", match=Match(dscp=46))
    made = wanted(_layout(PATH, voice), PRESENT)
    there, back = made.chains[_name(CLIENT)].rules, made.chains[_name(FW_LEFT)].rules
    name = next(name for name in made.sets if name.startswith("d"))
    assert any(rule.startswith("ip dscp 46 ") and f"update @{name}" in rule for rule in there)
    assert any(f"th dport . th sport @{name} counter" in rule for rule in back)


def test_echo_replies_follow_the_mark_they_bear_and_no_memory() -> None:
    """Two pings between the same ends differ by nothing that a memory of flows could keep."""
    voice = replace(LONGER, id="voice", match=Match(dscp=46))
    found = wanted(_layout(PATH, voice), PRESENT)
    kept = [rule for chain in found.chains.values() for rule in chain.rules if "ip saddr . ip protocol @" in rule]
    assert kept
    assert all(re.search(r"meta l4proto != \{[^}]*icmp", rule) for rule in kept)


def test_a_port_that_is_not_there_is_left_out() -> None:
    present = {name: index for name, index in PRESENT.items() if name != _name(GW_LEFT)}
    assert set(wanted(_layout(PATH), present).chains) == {_name(GW_RIGHT), _name(SERVER)}


def test_learning_replicas_get_no_buckets_and_leaving_ones_keep_their_flows() -> None:
    hop = replace(NEW_HOP, replicas=(R("new", VM), R("more", VM)))
    more = tuple(Member("more", cp, VM) for cp in ("left", "right"))
    links = [*_link("l1", CLIENT, FW_LEFT, late=(*NEW, *more)), *LINKS[2:]]
    facts = {**FACTS, **{_name(one): PortFacts(derive_mac("more", one.cp_id), (f"10.9.{one.cp_id}",)) for one in more}}
    present = {**PRESENT, **{_name(one): 500 + number for number, one in enumerate(more)}}
    spec = replace(PATH, hops=(HOPS[0], hop, *HOPS[1:]))

    def choice(turn: Turn, path: PathSpec = spec) -> str:
        found = layout([PathState(path, {"new": turn})], links, facts, FABRIC)
        chains = wanted(found, present).chains
        entry = re.search(r"goto (b\w+)", chains[_name(CLIENT)].rules[-1])
        assert entry
        return "\n".join(chains["c" + entry[1][1:]].rules)

    def owners(text: str) -> set[str]:
        return set(re.findall(r"goto k(\w+)", text.partition("symhash")[2]))

    assert [len(owners(choice(turn))) for turn in (Turn(), Turn(("new",)))] == [2, 1]
    gone = replace(spec, hops=(HOPS[0], NEW_HOP, *HOPS[1:]))
    draining = choice(Turn(leaving=(R("more", VM),)), gone)
    assert draining.partition("symhash")[0].count("goto k") == 2
    assert len(owners(draining)) == 1


# -- transactions


def _apply(found: Found, text: str, wanted_: Ruleset, indexes: dict[str, int]) -> Found:
    """What nft would make of a transaction; it refuses what the kernel would refuse."""
    exists, chains, bases = found.exists, dict(found.chains), set(found.bases)
    sets, counters, maps = set(found.sets), dict(found.counters), set(found.maps)
    goto: dict[str, set[str]] = {name: set() for name in chains}
    for line in text.splitlines():
        verb, what, _family, table, *rest = line.split()
        assert table == "vnfm"
        if what == "table":
            exists = True
        elif what == "counter":
            counters.update({rest[0]: (0, 0)}) if verb == "add" else counters.pop(rest[0])
        elif what == "set":
            sets.add(rest[0]) if verb == "add" else sets.remove(rest[0])
        elif what == "map":
            maps.remove(rest[0])
        elif (verb, what) == ("add", "chain"):
            assert rest[0] not in chains, "a chain twice"
            chains[rest[0]], goto[rest[0]] = Mark(), set()
            if "hook" in line:
                bases.add(rest[0])
        elif (verb, what) == ("flush", "chain"):
            goto[rest[0]] = set()
            chains[rest[0]] = replace(chains[rest[0]], digest="")
        elif (verb, what) == ("delete", "chain"):
            assert not any(rest[0] in used for used in goto.values()), "a chain that is gone to"
            del chains[rest[0]], goto[rest[0]]
            bases.discard(rest[0])
        else:
            assert (verb, what) == ("add", "rule")
            for used in re.findall(r"goto (\w+)", line):
                assert used in chains, "goes to no chain"
                goto[rest[0]].add(used)
            assert all(name in counters for name in re.findall(r"counter name (\w+)", line))
            chains[rest[0]] = mark_of(wanted_.chains[rest[0]], indexes)
    return Found(exists, chains, frozenset(bases), frozenset(sets), counters, frozenset(maps))


PORTS = [port_name(f"r{index}", "x") for index in range(5)]
HELPERS = ["a" + port[1:] for port in PORTS[:3]]


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    helpers = draw(st.sets(st.sampled_from(HELPERS)))
    chains = {name: Chain((f"fwd to {draw(st.sampled_from(PORTS))}",)) for name in helpers}
    some_helpers = st.sets(st.sampled_from(sorted(helpers))) if helpers else st.just(set())
    for port in draw(st.sets(st.sampled_from(PORTS))):
        to = draw(st.sampled_from(PORTS))
        more = [f"meta protocol arp goto {name}" for name in sorted(draw(some_helpers))]
        chains[port] = Chain((f"counter name {port} fwd to {to}", *more), port)
    counters = frozenset(name for name, chain in chains.items() if chain.device)
    sets = draw(st.sets(st.sampled_from(["f" + "0" * 12, "g" + "0" * 12])))
    return Ruleset(chains, dict.fromkeys(sets, "type x"), counters)


indexes = st.fixed_dictionaries({port: st.integers(2, 4) for port in PORTS})


@given(rulesets(), indexes, rulesets(), indexes, st.booleans())
def test_any_transaction_leads_from_what_is_there_to_what_is_wanted(
    old: Ruleset, then: dict[str, int], new: Ruleset, now: dict[str, int], keep_all: bool
) -> None:
    before = _apply(Found(), transaction(Found(), old, then), old, then)
    text = transaction(before, new, now, keep_all=keep_all)
    after = _apply(before, text, new, now)
    assert not amiss(after, new, now)
    if keep_all:
        assert before.chains.keys() <= after.chains.keys()
        after = _apply(after, transaction(after, new, now), new, now)
    assert after.chains.keys() == new.chains.keys()
    assert after.sets == new.sets.keys()
    assert transaction(after, new, now) == ""
    same = {n for n in old.chains if n in new.chains and mark_of(old.chains[n], then) == mark_of(new.chains[n], now)}
    assert not [name for name in same if re.search(rf"(chain|rule) netdev vnfm {name}\b", text)], "was left alone"


def test_what_left_the_paths_but_is_there_is_leaving() -> None:
    a, b, c = PORTS[:3]
    found = Found(True, {a: Mark(1, "x"), b: Mark(2, "x"), c: Mark(3, "x")}, frozenset((a, b, c)))
    assert leaving(found, Ruleset({a: Chain((), a)}), {a: 1, b: 2}) == {b}


def test_a_table_of_an_earlier_release_is_turned_into_one_of_this() -> None:
    a, b = PORTS[:2]
    listing = {
        "nftables": [
            {"map": {"name": "next"}},
            {"counter": {"name": a, "packets": 7, "bytes": 70}},
            {"chain": {"name": a, "hook": "ingress"}},
            {"rule": {"chain": a, "expr": []}},
        ]
    }
    found = parse(listing)
    assert (found.counters, found.maps, found.chains[a]) == ({a: (7, 70)}, frozenset({"next"}), Mark())
    new = Ruleset({a: Chain((f"fwd to {b}",), a)})
    lines = transaction(found, new, {a: 1, b: 2}).splitlines()
    assert f"delete chain netdev vnfm {a}" in lines
    assert lines[-2:] == ["delete map netdev vnfm next", f"delete counter netdev vnfm {a}"]


def test_a_chain_with_rules_missing_is_made_anew() -> None:
    a, b = PORTS[:2]
    chain = Chain((f"counter name {a} fwd to {b}", "meta protocol arp drop"), a)
    mark = mark_of(chain, {a: 1, b: 2})
    rules = [{"rule": {"chain": a, "comment": f"{mark.hook}/{mark.digest}/2"}}, {"rule": {"chain": a}}]
    whole = parse({"nftables": [{"chain": {"name": a, "hook": "ingress"}}, *rules]})
    assert not amiss(whole, Ruleset({a: chain}), {a: 1, b: 2})
    less = parse({"nftables": [{"chain": {"name": a, "hook": "ingress"}}, rules[0]]})
    assert amiss(less, Ruleset({a: chain}), {a: 1, b: 2}) == {a}
    assert amiss(whole, Ruleset({a: chain}), {a: 1, b: 3}) == {a}, "the device behind was made anew"


@pytest.mark.parametrize("bad", ['fwd to x" ; flush ruleset', "fwd to x\nflush ruleset", "x; flush ruleset"])
def test_nothing_but_rules_gets_into_a_transaction(bad: str) -> None:
    with pytest.raises(InvalidSpecError):
        transaction(Found(), Ruleset({PORTS[0]: Chain((bad,), PORTS[0])}), {})
    with pytest.raises(InvalidSpecError):
        transaction(Found(), Ruleset({bad: Chain(("drop",))}), {})
