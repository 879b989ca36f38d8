"""A chain whose halves meet by a network outside: frames cross by VXLAN and by flat networks, and are counted on both
sides."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from local_net_chains import Ids, SteadyPinger, ping, run, sysctl, terminate_all
from local_net_deaths import deaths
from local_net_outside import CONTAINER, SAP, Side, Spread, build_spread, edge, ip, join, two_places

from plugins.local.net import (
    Encap,
    Hop,
    HostNetwork,
    LinkSpec,
    Member,
    NotThereError,
    Outside,
    Remote,
    ResourceKind,
    SegmentTakenError,
    State,
    naming,
    segments,
)
from plugins.local.netpart import NetPart
from vnfm.pb.vim.v1 import vim_pb2 as pb

PACKETS = 10
Make = Callable[[Outside], Outside]
UNICAST = Outside("under", "eth0", (Encap.VXLAN,))
WAYS: dict[str, Outside] = {
    "VXLAN, unicast": UNICAST,
    "VXLAN, a port of its own": replace(UNICAST, udp_port=14789),
    "VXLAN, group": replace(UNICAST, udp_port=14789, group="239.1.1.1"),
    "flat, a bridge": Outside("phys", "br-out", (Encap.FLAT,)),
    "flat, an interface": Outside("phys", "eth0", (Encap.FLAT,)),
    "VLAN": Outside("phys", "eth0", (Encap.VLAN,), vlan_ids=(100, 199)),
}


@pytest.fixture
def places(ids: Ids) -> Iterator[tuple[str, str]]:
    with two_places(ids.unique) as names:
        yield names


@pytest.fixture
def sides(tmp_path: Path, ids: Ids, places: tuple[str, str]) -> Iterator[Callable[[Outside], tuple[Side, Side]]]:
    """Makes both sides of a network outside; in the end nothing of theirs is left."""
    made: list[Side] = []

    def make(outside: Outside) -> tuple[Side, Side]:
        for number, name in enumerate(places, 1):
            address = f"192.0.2.{number}" if outside.encaps[0] is Encap.VXLAN else ""
            here = replace(outside, namespace=name, address=address)
            made.append(Side.of(ids, tmp_path / name[-1], here))
        return made[0], made[1]

    yield make
    for side in made:
        terminate_all(side.net)
        assert side.net.query() == []
        assert [path.name for path in side.run_dir.rglob("*") if path.is_file()] == []
    assert ids.namespaces_left() == []


def assert_crosses(spread: Spread) -> None:
    """Packets of the first side's probe, counted by both."""
    token = os.urandom(16)
    counter = spread.b.net.count_probe(spread.paths[1].id, token)
    try:
        sent = spread.a.net.probe_path(spread.paths[0].id, PACKETS, 10, token, spread.server_ip)
        assert sent.complete, sent
        seen = counter.counts(sent.first_sequence, PACKETS)
    finally:
        counter.close()
    assert seen.complete, seen
    assert [(h.from_, h.to, h.sent, h.received) for h in sent.hops][:1] == [("client", "r0", PACKETS, PACKETS)]
    assert [(h.to, h.sent, h.received) for h in seen.hops] == [("r1", PACKETS, PACKETS), ("server", PACKETS, PACKETS)]
    assert sent.rtt_us > seen.rtt_us > 0


@pytest.mark.parametrize("way", WAYS)
def test_halves_of_a_chain_meet_outside(sides: Callable[[Outside], tuple[Side, Side]], way: str) -> None:
    outside = WAYS[way]
    if reason := segments.refusal(replace(outside, interface="lo", address="127.0.0.1"), outside.encaps[0]):
        pytest.skip(reason)
    spread = build_spread(*sides(outside))
    assert_crosses(spread)
    assert ping(spread.nodes[0], spread.server_ip) == 3
    whole = run(
        spread.nodes[0], "ping", "-n", "-q", "-c", "3", "-i", "0.01", "-M", "do", "-s", "1372", spread.server_ip
    )
    assert " 3 received" in whole.stdout, "what fills the link's MTU of 1400 bytes does not cross"
    states = [one.state for side in (spread.a, spread.b) for one in side.net.query()]
    assert set(states) == {State.RUNNING}


def test_what_is_joined_again_stays_and_what_was_lost_is_mended(
    sides: Callable[[Outside], tuple[Side, Side]],
) -> None:
    spread = build_spread(*sides(UNICAST))
    spread.a.again()
    pinger = SteadyPinger(spread.nodes[0], spread.server_ip, 200)
    join(spread.a, spread.links[0], spread.b, spread.links[1])
    assert pinger.returned() == 200
    fabric = naming.fabric_name(spread.paths[0].chain_id)
    ip("-n", fabric, "link", "delete", naming.port_name(spread.links[0], "edge"))
    (link,) = (one for one in spread.a.net.query([spread.links[0]]))
    assert link.state is State.FAILED
    assert "is missing" in link.reason
    join(spread.a, spread.links[0], spread.b, spread.links[1])
    assert_crosses(spread)


@pytest.mark.parametrize("way", ["VXLAN, unicast", "flat, a bridge", "flat, an interface"])
def test_whoever_dies_while_joining_is_followed_by_one_who_ends_it(
    sides: Callable[[Outside], tuple[Side, Side]], ids: Ids, way: str
) -> None:
    """And whoever dies while it is taken away, too: the fixture looks that nothing is left."""
    a, _ = sides(WAYS[way])
    owner = ids("n")
    a.net.ensure_namespace(owner)
    link = a.link("l", Member(owner, "x", CONTAINER), outward=True)
    spec = a.net.link(link)
    assert spec
    segment = spec.segment
    assert segment
    remotes = () if segment.encap is Encap.FLAT else (Remote("192.0.2.2"),)
    for _ in deaths(a.run_dir, lambda net: net.extend_link(link, segment, remotes), a.outsides):
        a.again()
    assert [one.state for one in a.net.query([link])] == [State.RUNNING]
    for _ in deaths(a.run_dir, lambda net: net.terminate(link, ResourceKind.LINK), a.outsides):
        a.again()
    assert a.net.query([link]) == []


def test_a_router_beside_the_border_is_replaced_under_traffic(
    sides: Callable[[Outside], tuple[Side, Side]], ids: Ids
) -> None:
    """The other side knows nothing of it: its neighbour's MAC is another one from now on."""
    spread = build_spread(*sides(UNICAST))
    a, here, new = spread.a, spread.links[0], ids("r9")
    a.net.ensure_namespace(new)
    left = ids("left")
    a.net.join_link(left, Member(new, "left", CONTAINER))
    a.net.join_link(here, Member(new, "right", CONTAINER))
    a.port(new, "left", "10.220.0.2/30")
    a.port(new, "right", "10.221.0.1/30", ("0.0.0.0/0", "10.221.0.2"))
    sysctl(new, "net/ipv4/ip_forward", "1")
    pinger = SteadyPinger(spread.nodes[0], spread.server_ip, 300)
    hops = (spread.paths[0].hops[0], Hop(new, CONTAINER, "left", "right", "r9"), edge(here))
    a.net.allocate_path(replace(spread.paths[0], hops=hops, generation=2))
    assert pinger.returned() == 300
    a.net.leave_link(left, spread.nodes[1])
    a.net.leave_link(here, spread.nodes[1])
    a.net.terminate(spread.nodes[1], ResourceKind.NAMESPACE)
    assert ping(spread.nodes[0], spread.server_ip) == 3


def test_a_piece_may_hold_nothing_but_an_end(sides: Callable[[Outside], tuple[Side, Side]], ids: Ids) -> None:
    """As where all VNFs are in another VIM, which makes no ends."""
    a, b = sides(UNICAST)
    client, server = ids("client"), ids("server")
    a.net.ensure_namespace(client)
    b.net.ensure_namespace(server)
    here = a.link("here", Member(client, "right", SAP), outward=True)
    there = b.link("there", Member(server, "left", SAP), outward=True)
    a.port(client, "right", "10.221.0.1/30")
    b.port(server, "left", "10.221.0.2/30")
    join(a, here, b, there)
    first = a.path("path-a", (Hop(client, SAP, "", "right", "client"), edge(here)))
    second = b.path("path-b", (edge(there), Hop(server, SAP, "left", "", "server")))
    a.net.allocate_path(first)
    b.net.allocate_path(second)
    token = os.urandom(16)
    counter = b.net.count_probe(second.id, token)
    try:
        sent = a.net.probe_path(first.id, PACKETS, 10, token, "10.221.0.2")
        seen = counter.counts(sent.first_sequence, PACKETS)
    finally:
        counter.close()
    assert (sent.complete, seen.complete) == (True, True), (sent, seen)
    assert [(h.to, h.received) for h in seen.hops] == [("server", PACKETS)]


def test_a_flat_network_carries_one_link(sides: Callable[[Outside], tuple[Side, Side]], ids: Ids) -> None:
    spread = build_spread(*sides(WAYS["flat, a bridge"]))
    other = spread.a.link("other", Member(spread.nodes[1], "more", CONTAINER), outward=True)
    with pytest.raises(SegmentTakenError, match="no tags to tell links apart"):
        spread.a.net.extend_link(other, spread.a.wish, ())
    assert_crosses(spread)


def test_links_of_one_host_get_ids_of_their_own(sides: Callable[[Outside], tuple[Side, Side]], ids: Ids) -> None:
    a, _ = sides(replace(WAYS["VLAN"], vlan_ids=(100, 101)))
    chosen = []
    for number in range(2):
        owner = ids(f"n{number}")
        a.net.ensure_namespace(owner)
        spec = a.net.link(a.link(f"l{number}", Member(owner, "x", CONTAINER), outward=True))
        assert spec
        assert spec.segment
        chosen.append(spec.segment.id)
    assert sorted(chosen) == [100, 101]
    with pytest.raises(SegmentTakenError, match="all VLAN ids from 100 to 101 are taken"):
        a.net.free_segment(ids("l2"), a.wish)


def test_an_interface_that_is_not_there_is_named(sides: Callable[[Outside], tuple[Side, Side]], ids: Ids) -> None:
    a, _ = sides(replace(WAYS["flat, an interface"], interface="eth7"))
    assert "eth7 is not there" in segments.refusal(a.outsides[0], Encap.FLAT)
    owner = ids("n")
    a.net.ensure_namespace(owner)
    link = a.link("l", Member(owner, "x", CONTAINER), outward=True)
    with pytest.raises(NotThereError, match="interface eth7 is not there"):
        a.net.extend_link(link, a.wish, ())


def test_plugins_of_one_host_are_told_apart_and_what_stood_before_stays(net: HostNetwork, ids: Ids) -> None:
    """Two VIMs have pieces of one chain: each in a fabric of its own."""
    old, new = ids("old-chain"), ids("new-chain")
    member = Member(ids("n"), "x", CONTAINER)
    net.allocate_link(LinkSpec(ids("l0"), (member,), old, steered=True))
    parts = {scope: NetPart(net, "h", lambda _: None, lambda _: [], scope) for scope in ("one", "two")}
    found = {}
    for scope, part in parts.items():
        for chain in (old, new):
            request = pb.AllocateLinkRequest(resource_id=ids(f"l-{scope}-{chain[:3]}"), steered=True)
            request.members.add(resource_id=ids(f"m-{scope}-{chain[:3]}"), cp_id="x", runtime=pb.RUNTIME_CONTAINER)
            request.owner.chain_id = chain
            found[scope, chain] = part.allocate_link(request, "digest").handle.native_id
    assert found["one", old] == found["two", old] == naming.fabric_name(old)
    assert found["one", new] == naming.fabric_name(f"{new}.one")
    assert found["one", new] != found["two", new]
    ids.given |= {f"{new}.one", f"{new}.two"}
