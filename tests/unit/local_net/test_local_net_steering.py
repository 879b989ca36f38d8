"""From hops to the fabric's map, and from what is there to what is wanted in one transaction."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.local.net import Hop, InvalidSpecError, LinkSpec, Member, MemberKind, NotThereError, PathSpec
from plugins.local.net.naming import fabric_name, port_name
from plugins.local.net.plan import LinkPlan, plan_link
from plugins.local.net.steering import Found, find_port, leaving, merged, parse_table, steering, transaction

FABRIC = fabric_name("chain")
SAP, CONTAINER, VM = MemberKind.SAP, MemberKind.CONTAINER, MemberKind.VM


def _link(name: str, one: Member, other: Member, chain: str = "chain") -> LinkPlan:
    return plan_link(LinkSpec(name, (one, other), chain))


LINKS = [
    _link("l1", Member("client", "right", SAP), Member("fw", "left", CONTAINER)),
    _link("l2", Member("fw", "right", CONTAINER), Member("gw", "left", VM)),
    _link("l3", Member("gw", "right", VM), Member("server", "left", SAP)),
    _link("l4", Member("new", "left", VM), Member("new", "right", VM)),
]
HOPS = (
    Hop("client", SAP, "", "right", "client"),
    Hop("fw", CONTAINER, "left", "right", "fw"),
    Hop("gw", VM, "left", "right", "gw"),
    Hop("server", SAP, "left", "", "server"),
)
PATH = PathSpec("p1", HOPS, "chain")


def test_only_neighbours_of_guests_are_steered_and_both_ways() -> None:
    fw, gw_left, gw_right = port_name("fw", "right"), port_name("gw", "left"), port_name("gw", "right")
    server = port_name("server", "left")
    assert steering(PATH, LINKS, FABRIC) == {fw: gw_left, gw_left: fw, gw_right: server, server: gw_right}


def test_a_new_hop_stands_between_neighbours_of_different_links() -> None:
    new = Hop("new", VM, "left", "right", "new")
    wanted = steering(replace(PATH, hops=(*HOPS[:3], new, HOPS[3])), LINKS, FABRIC)
    assert wanted[port_name("gw", "right")] == port_name("new", "left")
    assert wanted[port_name("server", "left")] == port_name("new", "right")


def test_a_hop_without_a_link_or_in_another_chain_is_not_there() -> None:
    with pytest.raises(NotThereError, match="hop fw: fw/right is on no link"):
        steering(PATH, LINKS[:1], FABRIC)
    with pytest.raises(NotThereError, match="cannot be steered within this chain"):
        steering(PATH, [LINKS[0], LINKS[1], _link("l3", *_members(LINKS[2]), chain="foreign")], FABRIC)
    skipping = replace(PATH, hops=(HOPS[0], HOPS[2], HOPS[3]))
    with pytest.raises(NotThereError, match="hops client and gw are on different links"):
        steering(skipping, LINKS, FABRIC)


def _members(plan: LinkPlan) -> tuple[Member, Member]:
    one, other = (port.member for port in plan.ports)
    return one, other


def test_two_paths_that_pull_a_port_apart_are_refused() -> None:
    a, b, c = (port_name(name, "x") for name in "abc")
    assert merged([("p1", {a: b}), ("p2", {a: b, c: a})]) == {a: b, c: a}
    with pytest.raises(InvalidSpecError, match="path p2"):
        merged([("p1", {a: b}), ("p2", {a: c})])


def test_find_port_knows_who_is_on_no_link() -> None:
    assert find_port(LINKS, "gw", "left") is not None
    assert find_port(LINKS, "gw", "middle") is None


def _apply(found: Found, text: str) -> Found:
    """What nft would make of a transaction, as far as it is used here; it refuses what the kernel would refuse."""
    exists, chains, counters, elements = found.exists, set(found.chains), set(found.counters), dict(found.elements)
    for line in text.splitlines():
        verb, what, _family, table, *rest = line.split()
        assert table == "vnfm"
        if (verb, what) == ("add", "table"):
            exists = True
        elif (verb, what) == ("add", "counter"):
            counters.add(rest[0])
        elif (verb, what) == ("delete", "counter"):
            assert rest[0] not in chains, "a counter in use"
            counters.remove(rest[0])
        elif (verb, what) == ("add", "chain"):
            assert rest[0] not in chains, "a chain twice"
            chains.add(rest[0])
        elif (verb, what) == ("delete", "chain"):
            chains.remove(rest[0])
        elif what == "element":
            for port, to in re.findall(r"(\w+) : (\w+)", line):
                if verb == "delete":
                    assert elements.pop(port) == to
                else:
                    assert port not in elements, "an element twice"
                    elements[port] = to
        else:
            assert what in ("map", "rule")
    return Found(exists, frozenset(chains), frozenset(counters), elements)


PORTS = [port_name(f"r{index}", "x") for index in range(6)]
maps = st.dictionaries(st.sampled_from(PORTS), st.sampled_from(PORTS))
lost = st.dictionaries(st.sampled_from(["17", "18"]), st.sampled_from([*PORTS, "19"]))


@given(maps, lost, maps, st.frozensets(st.sampled_from(PORTS)))
def test_any_transaction_leads_from_what_is_there_to_what_is_wanted(
    old: dict[str, str], gone: dict[str, str], wanted: dict[str, str], more: frozenset[str]
) -> None:
    chains = frozenset(old) | more
    found = Found(True, chains, chains, old | gone)
    ports = frozenset(wanted) | frozenset(wanted.values())
    text = transaction(found, wanted, ports)
    after = _apply(found, text)
    assert after.elements == wanted
    assert after.chains == set(wanted)
    assert after.counters <= ports
    assert transaction(after, wanted, ports) == ""
    touched = re.findall(r"(p\w{12}) : ", text)
    assert not [port for port in touched if old.get(port) == wanted.get(port)], "an element that stays was touched"


def test_a_port_made_anew_is_hooked_in_again_and_the_others_are_left_alone() -> None:
    a, b = sorted(PORTS[:2])
    found = Found(True, frozenset({a, b}), frozenset({a, b}), {a: "17", "17": a})
    lines = transaction(found, {a: b, b: a}, frozenset({a, b})).splitlines()
    assert f"delete chain netdev vnfm {b}" in lines
    assert f"delete chain netdev vnfm {a}" not in lines
    assert lines[0] == f"delete element netdev vnfm next {{ 17 : {a}, {a} : 17 }}"
    assert lines[-1] == f"add element netdev vnfm next {{ {a} : {b}, {b} : {a} }}"


def test_the_first_transaction_is_text_that_old_nft_reads() -> None:
    a, b = PORTS[:2]
    assert transaction(Found(), {a: b}, frozenset({a, b})).splitlines() == [
        "add table netdev vnfm",
        "add map netdev vnfm next { typeof meta iif : meta oif; }",
        f"add counter netdev vnfm {a}",
        f"add chain netdev vnfm {a} {{ type filter hook ingress device {a} priority 0; policy drop; }}",
        f"add rule netdev vnfm {a} counter name {a} fwd to meta iif map @next",
        f"add element netdev vnfm next {{ {a} : {b} }}",
    ]


def test_what_leaves_the_path_drains_while_its_ports_are_there() -> None:
    a, b, c, d = PORTS[:4]
    found = Found(True, elements={a: b, c: d, d: "17"})
    assert leaving(found, {a: c}, frozenset({a, b, c, d})) == {c: d}


def test_no_name_but_a_ports_gets_into_a_transaction() -> None:
    with pytest.raises(InvalidSpecError):
        transaction(Found(), {"x; flush ruleset": PORTS[0]}, frozenset())


def test_a_listing_is_read_with_the_indexes_of_lost_devices() -> None:
    listing = {
        "nftables": [
            {"metainfo": {}},
            {"counter": {"name": PORTS[0], "packets": 1}},
            {"map": {"name": "next", "elem": [["3", PORTS[0]], [PORTS[0], "3"]]}},
            {"chain": {"name": PORTS[0]}},
        ]
    }
    found = parse_table(listing)
    assert found == Found(True, frozenset(PORTS[:1]), frozenset(PORTS[:1]), {"3": PORTS[0], PORTS[0]: "3"})
    assert parse_table({"nftables": [{"map": {"name": "next"}}]}).elements == {}
