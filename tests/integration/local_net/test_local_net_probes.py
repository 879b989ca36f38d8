"""Probes of paths with a match: packets such as it picks, counted at every hop, and the trace of one."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from local_net_chains import Ids, Routed, build_routed, ping, run
from local_net_live import CONTAINER, VM, build_live, replicated

from plugins.local.net import HostNetwork, Match, ProbeResult, naming, netns

MATCHES = {
    "any": Match(),
    "icmp": Match(ip_protocol=1),
    "dscp": Match(dscp=46),
    "udp": Match(ip_protocol=17, destination_port=5060),
    "udp, any port": Match(ip_protocol=17),
    "tcp": Match(ip_protocol=6, destination_port=80),
    "tcp, one flow": Match(ip_protocol=6, source_port=4711, destination_port=80),
    "cidrs": Match(source_cidr="10.210.0.0/16", destination_cidr="10.211.0.2/32"),
    "all": Match("10.210.0.0/24", "10.211.0.0/24", 17, 4000, 5060, 10),
}
PACKETS = 10


def with_match(net: HostNetwork, ids: Ids, match: Match, routers: int = 2) -> Routed:
    """The match's path by all routers, all else by the last one alone."""
    routed = build_routed(net, ids, routers)
    hops = routed.path.hops
    if match != Match():
        net.allocate_path(replace(routed.path, id=ids("rest"), hops=(hops[0], *hops[-2:])))
    net.allocate_path(replace(routed.path, match=match))
    return routed


def assert_all_counted(found: ProbeResult, hops: int) -> None:
    assert found.unsupported == ""
    assert found.complete, found
    assert [(hop.sent, hop.received) for hop in found.hops] == [(PACKETS, PACKETS)] * (hops - 1)


@pytest.mark.parametrize("name", MATCHES)
def test_the_packets_are_such_as_the_match_picks(net: HostNetwork, ids: Ids, name: str) -> None:
    routed = with_match(net, ids, MATCHES[name])
    found = net.probe_path(routed.path.id, PACKETS, 5)
    assert_all_counted(found, len(routed.nodes))
    print(f"{name}: {found.rtt_us} us")


def test_what_the_match_does_not_pick_goes_elsewhere(net: HostNetwork, ids: Ids) -> None:
    """So what the probe counts at the first router was picked."""
    routed = with_match(net, ids, Match(ip_protocol=17, destination_port=5060))
    assert ping(routed.client, routed.server_ip) == 3
    first = next(one for one in net.path_counts([routed.path.id]) if one.resource_id == routed.routers[0])
    assert_all_counted(net.probe_path(ids("rest"), PACKETS, 5), len(routed.nodes) - 1)
    assert first.packets == 0
    assert_all_counted(net.probe_path(routed.path.id, PACKETS, 5), len(routed.nodes))


def test_the_trace_follows_one_packet_there_and_back(net: HostNetwork, ids: Ids) -> None:
    routed = with_match(net, ids, Match(dscp=10), routers=1)
    passings = net.probe_path(routed.path.id, PACKETS, 5).passings
    client, (router,), server = routed.client, routed.routers, routed.server
    assert [(one.resource_id, one.cp_id, one.reply, one.leaving) for one in passings] == [
        (client, "right", False, True),
        (router, "left", False, False),
        (router, "right", False, True),
        (server, "left", False, False),
        (server, "left", True, True),
        (router, "right", True, False),
        (router, "left", True, True),
        (client, "right", True, False),
    ]
    assert [one.hop for one in passings][:4] == ["client", "r0", "r0", "server"]
    times = [one.at_ns for one in passings]
    assert times[0] == 0
    assert times == sorted(times)
    assert times[-1] < 1_000_000_000


def test_a_trace_ends_where_the_packet_did(net: HostNetwork, ids: Ids) -> None:
    routed = with_match(net, ids, Match(ip_protocol=6, destination_port=80), routers=1)
    run(routed.routers[0], "sysctl", "-w", "net.ipv4.ip_forward=0")
    found = net.probe_path(routed.path.id, 2, 0)
    assert not found.complete
    assert [(one.hop, one.leaving) for one in found.passings] == [("client", True), ("r0", False)]


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_server_on_the_port_does_not_hide_the_answer(net: HostNetwork, ids: Ids, kind: str) -> None:
    match = Match(ip_protocol=17 if kind == "udp" else 6, destination_port=8053)
    routed = with_match(net, ids, match)

    def serve() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        opened.bind(("0.0.0.0", 8053))
        if kind == "tcp":
            opened.listen(5)
        return opened

    with netns.inside(naming.namespace_name(routed.server), serve):
        assert_all_counted(net.probe_path(routed.path.id, PACKETS, 5), len(routed.nodes))
    if kind == "tcp":
        half_open = run(routed.server, "ss", "-Htan", "state", "syn-recv").stdout
        assert half_open == "", "the near kernel has ended what the probe began"


def test_a_match_that_no_packet_of_the_ends_can_meet_is_said_so(net: HostNetwork, ids: Ids) -> None:
    routed = with_match(net, ids, Match(source_cidr="10.99.0.0/16"))
    found = net.probe_path(routed.path.id, PACKETS, 1)
    assert "10.99.0.0/16" in found.unsupported
    net.allocate_path(replace(routed.path, match=Match(ip_protocol=47), generation=2))
    assert "47" in net.probe_path(routed.path.id, PACKETS, 1).unsupported


def seen_by(net: HostNetwork, path_id: str, hop: str, rounds: int) -> set[str]:
    """Which of a hop's replicas the traces of some probes met."""
    found = set()
    for _ in range(rounds):
        probed = net.probe_path(path_id, PACKETS, 5)
        assert_all_counted(probed, 3)
        met = {one.resource_id for one in probed.passings if one.hop == hop}
        assert len(met) == 1, "there and back by the same replica"
        found |= met
    return found


@pytest.mark.parametrize(
    "match", [Match(), Match(ip_protocol=17, destination_port=5060), Match(ip_protocol=6, dscp=10)]
)
def test_any_replica_counts_for_its_hop_and_the_trace_says_which(net: HostNetwork, ids: Ids, match: Match) -> None:
    chain = build_live(net, ids, CONTAINER)
    try:
        chain.vnfs += [chain.add("second"), chain.add("guest", VM)]
        every = {vnf.resource_id for vnf in chain.vnfs}
        path = chain.path(replicated("vnf", *chain.vnfs), name="shared" if match != Match() else "path", match=match)
        net.allocate_path(path)
        found = seen_by(net, path.id, "vnf", 1 if match == Match() else 8)
        assert found <= every
        assert len(found) > 1 or match == Match(), "flows are spread"
    finally:
        chain.stop()


def test_a_late_hop_is_counted_and_one_that_left_is_not(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, VM)
    try:
        first, second = chain.vnfs
        late = chain.add("late")
        net.allocate_path(chain.path(first, late, second))
        probed = net.probe_path(ids("path"), PACKETS, 5)
        assert_all_counted(probed, 5)
        assert [hop.to for hop in probed.hops] == [first.resource_id, late.resource_id, second.resource_id, "server"]
        net.allocate_path(chain.path(second))
        assert_all_counted(net.probe_path(ids("path"), PACKETS, 5), 3)
        counted = {(one.resource_id, one.cp_id): one.packets for one in net.path_counts([ids("path")])}
        assert counted[second.resource_id, "left"] >= PACKETS
    finally:
        chain.stop()
