"""Chains of real namespaces: packets cross them, and the probe counts the ones that do."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from local_net_chains import (
    Ids,
    WireGuest,
    build_routed,
    build_steered,
    ping,
    run,
    sysctl,
)

from plugins.local.net import (
    AlreadyExistsError,
    Hop,
    HostNetwork,
    LinkSpec,
    Member,
    MemberKind,
    NotThereError,
    PathSpec,
    PortSpec,
    ResourceKind,
    Route,
    StaleGenerationError,
    State,
    Wiring,
    derive_mac,
    links,
    naming,
    netns,
)
from plugins.local.net.plan import plan_link
from plugins.local.net.tap import open_tap


def test_a_chain_of_three_routers_passes_pings_and_the_probe_counts_each_hop(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 3)
    net.allocate_path(chain.path)
    assert ping(chain.client, chain.server_ip, 5) == 5
    found = net.probe_path(chain.path.id, 20, 10)
    assert found.complete
    assert [(hop.from_, hop.to, hop.sent, hop.received) for hop in found.hops] == [
        ("client", "r0", 20, 20),
        ("r0", "r1", 20, 20),
        ("r1", "r2", 20, 20),
        ("r2", "server", 20, 20),
    ]
    assert all(hop.rtt_us >= 0 for hop in found.hops)
    assert sum(hop.rtt_us for hop in found.hops) == found.rtt_us > 0
    assert {one.state for one in net.query()} == {State.RUNNING}


def test_a_hop_that_drops_is_seen_as_the_place_where_the_packets_end(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 3)
    net.allocate_path(chain.path)
    rule = "table ip f { chain c { type filter hook forward priority 0; policy drop; }\n}\n"
    assert run(chain.routers[1], "nft", "-f", "-", text=rule).returncode == 0
    found = net.probe_path(chain.path.id, 5, 0)
    assert not found.complete
    assert [(hop.sent, hop.received) for hop in found.hops] == [(5, 5), (5, 5), (0, 0), (0, 0)]
    assert found.rtt_us == 0


def test_address_translation_in_the_middle_does_not_hide_the_packets(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 3)
    net.allocate_path(chain.path)
    rule = "table ip n { chain c { type nat hook postrouting priority 100; oifname right masquerade; }\n}\n"
    assert run(chain.routers[1], "nft", "-f", "-", text=rule).returncode == 0
    found = net.probe_path(chain.path.id, 10, 10)
    assert found.complete
    assert {(hop.sent, hop.received) for hop in found.hops} == {(10, 10)}


def test_a_fabric_is_dark_until_a_path_is_allocated_and_dark_again_after_it(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids)
    guest = WireGuest(net, chain.guests[0])
    try:
        assert ping(chain.client, chain.server_ip, 2) == 0
        net.allocate_path(chain.path)
        assert ping(chain.client, chain.server_ip, 5) == 5
        found = net.probe_path(chain.path.id, 20, 10)
        assert found.complete
        assert [(hop.from_, hop.to) for hop in found.hops] == [("client", "vm0"), ("vm0", "server")]
        assert {(hop.sent, hop.received) for hop in found.hops} == {(20, 20)}
        counted = net.count_packets(chain.chain_id)
        assert counted[chain.client, "right"][0] >= 25
        net.terminate(chain.path.id, ResourceKind.PATH)
        assert ping(chain.client, chain.server_ip, 2) == 0
    finally:
        guest.stop()


def test_a_guest_that_drops_is_told_from_the_wire_to_it(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids, guests=2)
    first, second = (WireGuest(net, guest) for guest in chain.guests)
    try:
        net.allocate_path(chain.path)
        assert net.probe_path(chain.path.id, 5, 10).complete
        second.drop = True
        found = net.probe_path(chain.path.id, 5, 0)
        assert [(hop.sent, hop.received) for hop in found.hops] == [(5, 5), (5, 5), (0, 0)]
    finally:
        first.stop()
        second.stop()


def test_a_microvm_behind_its_namespace_is_a_hop_like_any_other(net: HostNetwork, ids: Ids) -> None:
    """A KATA compute's runtime crosses each veth over to a tap by tc; the veth is where its packets are seen."""
    client, kata, server = ids("client"), ids("kata"), ids("server")
    chain = ids("chain")
    hops = [("client", client, MemberKind.SAP), ("kata", kata, MemberKind.KATA), ("server", server, MemberKind.SAP)]
    for index, ((_, left, left_kind), (_, right, right_kind)) in enumerate(pairwise(hops)):
        members = (Member(left, "right", left_kind), Member(right, "left", right_kind))
        assert net.allocate_link(LinkSpec(ids(f"link{index}"), members, chain)).wiring is Wiring.FABRIC
    net.configure_port(client, PortSpec("right", ("10.1.0.1/24",)))
    net.configure_port(server, PortSpec("left", ("10.1.0.2/24",)))
    taps = []
    for cp in ("left", "right"):
        net.configure_port(kata, PortSpec(cp, l2_transparent=True))
        taps.append(open_tap(naming.namespace_name(kata), f"tap-{cp}", "guest", 1500))
        for here, there in ((cp, f"tap-{cp}"), (f"tap-{cp}", cp)):
            match = ["u32", "match", "u8", "0", "0", "action", "mirred", "egress", "redirect", "dev", there]
            assert run(kata, "tc", "qdisc", "add", "dev", here, "ingress").returncode == 0
            added = run(kata, "tc", "filter", "add", "dev", here, "parent", "ffff:", "protocol", "all", *match)
            assert added.returncode == 0, added.stderr
    guest = WireGuest.of_taps(taps)
    path = PathSpec(
        ids("path"),
        tuple(
            Hop(node, kind, "left" if index else "", "right" if index < 2 else "", name)
            for index, (name, node, kind) in enumerate(hops)
        ),
        chain,
    )
    try:
        net.allocate_path(path)
        found = net.probe_path(path.id, 20, 10)
        assert found.complete
        assert [(hop.from_, hop.to, hop.sent, hop.received) for hop in found.hops] == [
            ("client", "kata", 20, 20),
            ("kata", "server", 20, 20),
        ]
    finally:
        guest.stop()


def test_a_bump_in_the_wire_made_by_a_container_is_counted_too(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    bump = chain.routers[0]
    net.configure_port(chain.client, PortSpec("right", ("10.1.0.1/24", "fd00::1/64")))
    net.configure_port(chain.server, PortSpec("left", ("10.1.0.2/24", "fd00::2/64")))
    for cp in ("left", "right"):
        net.configure_port(bump, PortSpec(cp, l2_transparent=True))
    lines = "link add br0 type bridge\nlink set left master br0\nlink set right master br0\nlink set br0 up\n"
    assert run(bump, "ip", "-batch", "-", text=lines).returncode == 0
    net.allocate_path(chain.path)
    found = net.probe_path(chain.path.id, 10, 10)
    assert found.complete
    assert {(hop.sent, hop.received) for hop in found.hops} == {(10, 10)}


def test_a_chain_of_ipv6_alone_is_probed_as_well(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    router = chain.routers[0]
    sysctl(router, "net/ipv6/conf/all/forwarding", "1")
    net.configure_port(chain.client, PortSpec("right", ("fd00:1::1/64",), routes=(Route("::/0", "fd00:1::2"),)))
    net.configure_port(router, PortSpec("left", ("fd00:1::2/64",)))
    net.configure_port(router, PortSpec("right", ("fd00:2::1/64",)))
    net.configure_port(chain.server, PortSpec("left", ("fd00:2::2/64",), routes=(Route("::/0", "fd00:2::1"),)))
    net.allocate_path(chain.path)
    found = net.probe_path(chain.path.id, 10, 10)
    assert found.complete
    assert {(hop.sent, hop.received) for hop in found.hops} == {(10, 10)}


def test_where_nobody_can_answer_the_probe_says_why(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    net.allocate_path(chain.path)
    net.configure_port(chain.server, PortSpec("left"))
    assert "server has no address" in net.probe_path(chain.path.id, 1, 0).unsupported


def test_live_traffic_does_not_reach_the_probes_sockets(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    net.allocate_path(chain.path)
    name = naming.namespace_name(chain.client)
    flood = netns.inside(
        name,
        lambda: subprocess.Popen(["ping", "-n", "-q", "-f", "-c", "20000", chain.server_ip], stdout=subprocess.DEVNULL),
    )
    try:
        found = net.probe_path(chain.path.id, 50, 10)
    finally:
        flood.kill()
        flood.wait()
    assert found.complete
    assert {(hop.sent, hop.received) for hop in found.hops} == {(50, 50)}


def test_a_guest_that_starts_again_finds_its_place_in_the_path(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids)
    guest = WireGuest(net, chain.guests[0])
    net.allocate_path(chain.path)
    assert ping(chain.client, chain.server_ip) == 3
    guest.stop()
    assert ping(chain.client, chain.server_ip, 2) == 0
    path = next(one for one in net.query() if one.kind is ResourceKind.PATH)
    assert path.state is State.FAILED
    assert "missing" in path.reason
    guest = WireGuest(net, chain.guests[0])
    try:
        assert ping(chain.client, chain.server_ip) == 3
        assert {one.state for one in net.query()} == {State.RUNNING}
    finally:
        guest.stop()


def test_a_probe_waits_for_a_guest_that_is_still_booting(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids)
    guest = WireGuest(net, chain.guests[0])
    guest.drop = True
    net.allocate_path(chain.path)
    booted = threading.Timer(1.0, lambda: setattr(guest, "drop", False))
    booted.start()
    try:
        assert net.probe_path(chain.path.id, 10, 20).complete
    finally:
        booted.cancel()
        guest.stop()


def test_a_path_needs_its_hops_and_a_generation_that_rises(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids)
    with pytest.raises(NotThereError, match="hop vm0"):
        net.allocate_path(chain.path)
    guest = WireGuest(net, chain.guests[0])
    try:
        newer = PathSpec(chain.path.id, chain.path.hops, chain.chain_id, generation=3)
        net.allocate_path(newer)
        net.allocate_path(newer)
        with pytest.raises(StaleGenerationError, match="generation 3"):
            net.allocate_path(chain.path)
        with pytest.raises(StaleGenerationError, match="must rise"):
            net.allocate_path(PathSpec(chain.path.id, tuple(reversed(_swapped(chain.path))), chain.chain_id, 3))
    finally:
        guest.stop()
    with pytest.raises(NotThereError) as caught:
        net.probe_path("nobody", 1, 0)
    assert caught.value.word == "not-found"


def _swapped(path: PathSpec) -> list[Hop]:
    return [Hop(hop.resource_id, hop.kind, hop.egress_cp, hop.ingress_cp, hop.name) for hop in path.hops]


def test_a_link_of_three_is_a_bridge_and_a_vm_can_stand_on_it(net: HostNetwork, ids: Ids) -> None:
    nodes = [ids("a"), ids("b"), ids("c")]
    members = (
        *(Member(node, "eth0", MemberKind.CONTAINER) for node in nodes),
        Member(ids("vm"), "left", MemberKind.VM),
        Member(ids("vm"), "right", MemberKind.VM),
    )
    spec = LinkSpec(ids("lan"), members, mtu_bytes=1400)
    assert net.allocate_link(spec).wiring is Wiring.BRIDGE
    assert net.allocate_link(spec).wiring is Wiring.BRIDGE
    for index, node in enumerate(nodes):
        net.configure_port(node, PortSpec("eth0", (f"10.5.0.{index + 1}/24", f"fd00:5::{index + 1}/64")))
    assert ping(nodes[0], "10.5.0.2") == 3
    assert ping(nodes[1], "10.5.0.3") == 3
    assert ping(nodes[2], "fd00:5::1") == 3
    tap = net.open_tap(ids("vm"), "left")
    shown = netns.inside(naming.bridge_namespace_name(spec.id), lambda: _read("/proc/thread-self/net/dev"))
    assert naming.port_name(ids("vm"), "left") in shown
    os.close(tap)


def test_a_bridge_built_for_fewer_lets_go_of_the_others(net: HostNetwork, ids: Ids) -> None:
    members = tuple(Member(ids(name), "eth0", MemberKind.CONTAINER) for name in "abcd")
    spec = LinkSpec(ids("lan"), members)
    net.allocate_link(spec)
    links.build(plan_link(replace(spec, members=members[:3])), lambda _step: None)
    shown = run(ids("d"), "ip", "-o", "link").stdout
    assert "eth0" not in shown
    assert "eth0" in run(ids("c"), "ip", "-o", "link").stdout


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def test_a_port_is_configured_anew_without_rests_of_the_old(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    node = chain.routers[0]
    run(node, "ip", "route", "add", "192.0.2.0/24", "dev", "right")  # the VNF's own route: not ours to touch
    spec = PortSpec(
        "right",
        ("10.99.0.1/24",),
        mac="02:00:00:00:99:01",
        mtu_bytes=1300,
        routes=(Route("10.98.0.0/16", "10.97.0.1"), Route("10.97.0.1/32")),
    )
    net.configure_port(node, spec)
    net.configure_port(node, spec)
    addresses = run(node, "ip", "-o", "addr", "show", "dev", "right").stdout
    assert "10.99.0.1/24" in addresses
    assert "10.211.0.1" not in addresses
    shown = run(node, "ip", "route").stdout
    assert "10.98.0.0/16 via 10.97.0.1 dev right" in shown
    assert "192.0.2.0/24" in shown
    assert "default" not in shown
    link = run(node, "ip", "link", "show", "right").stdout
    assert "02:00:00:00:99:01" in link
    assert "mtu 1300" in link
    assert derive_mac(node, "left") in run(node, "ip", "link", "show", "left").stdout


def test_a_name_that_is_taken_and_an_id_with_another_wiring_are_refused(net: HostNetwork, ids: Ids) -> None:
    one, other, third = ids("one"), ids("other"), ids("third")
    pair = (Member(one, "a", MemberKind.CONTAINER), Member(other, "a", MemberKind.CONTAINER))
    net.allocate_link(LinkSpec(ids("link"), pair))
    with pytest.raises(AlreadyExistsError, match="another wiring"):
        net.allocate_link(LinkSpec(ids("link"), pair, mtu_bytes=9000))
    taken = (pair[0], Member(third, "a", MemberKind.CONTAINER))
    with pytest.raises(AlreadyExistsError, match="another link"):
        net.allocate_link(LinkSpec(ids("second"), taken))
    assert next(found for found in net.query() if found.id == ids("link")).state is State.RUNNING
    net.terminate(ids("second"), ResourceKind.LINK)
    assert next(found for found in net.query() if found.id == ids("link")).state is State.RUNNING


def test_what_was_lost_is_seen_as_failed_and_made_again_by_the_same_call(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    run(chain.client, "ip", "link", "del", "right")
    failed = [one for one in net.query() if one.state is State.FAILED]
    assert [one.id for one in failed] == [ids("link0")]
    assert "missing" in failed[0].reason
    members = (Member(chain.client, "right", MemberKind.SAP), Member(chain.routers[0], "left", MemberKind.CONTAINER))
    net.allocate_link(LinkSpec(ids("link0"), members, ids("chain")))
    assert {one.state for one in net.query()} == {State.RUNNING}


def test_a_namespace_with_a_process_inside_can_be_removed(net: HostNetwork, ids: Ids) -> None:
    chain = build_routed(net, ids, 1)
    name = naming.namespace_name(chain.routers[0])
    for neighbour in (chain.client, chain.server):
        net.remove_namespace(neighbour)
    sleeper = netns.inside(name, lambda: subprocess.Popen(["sleep", "60"]))
    try:
        net.remove_namespace(chain.routers[0])
        assert not netns.path(name).exists()
        assert "right" not in run(chain.client, "ip", "-o", "link").stdout
        net.remove_namespace(chain.routers[0])
    finally:
        sleeper.kill()
        sleeper.wait()


def test_terminating_what_nobody_knows_succeeds(net: HostNetwork, ids: Ids) -> None:
    for kind in ResourceKind:
        net.terminate(ids("nobody"), kind)
    with pytest.raises(NotThereError):
        net.configure_port(ids("nobody"), PortSpec("eth0"))
    with pytest.raises(NotThereError):
        net.open_tap(ids("nobody"), "eth0")


def test_a_namespace_that_is_not_ours_is_left_alone(net: HostNetwork, ids: Ids) -> None:
    foreign = naming.namespace_name(ids("foreign"))
    netns.ensure(foreign)
    try:
        net.remove_namespace(ids("foreign"))
        assert netns.exists(foreign)
    finally:
        netns.remove(foreign)
