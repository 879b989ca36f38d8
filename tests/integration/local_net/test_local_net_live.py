"""Changing what is in use, and many calls at once."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from local_net_chains import Ids, SteadyPinger, WireGuest, build_steered, ping

from plugins.local.net import (
    Hop,
    HostNetwork,
    LinkSpec,
    Member,
    MemberKind,
    PortSpec,
    ResourceKind,
    State,
    checks,
    naming,
    netns,
)


def test_hops_come_and_go_under_500_pings_a_second_without_a_loss(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids)
    first = WireGuest(net, chain.guests[0])
    net.allocate_path(chain.path)
    added = ids("added")
    ends = (Member(added, "left", MemberKind.VM), Member(added, "right", MemberKind.VM))
    net.allocate_link(LinkSpec(ids("added-link"), ends, chain.chain_id))
    second = WireGuest(net, added)
    second.delay_seconds = 0.02  # what is inside the hop when it leaves the path must still come out
    extra = Hop(added, MemberKind.VM, "left", "right", "added")
    longer = replace(chain.path, hops=(*chain.path.hops[:2], extra, chain.path.hops[2]))
    try:
        assert ping(chain.client, chain.server_ip) == 3
        pinger = SteadyPinger(chain.client, chain.server_ip, 1500)
        generation = 1
        for path in (longer, chain.path) * 3:
            time.sleep(0.25)
            generation += 1
            net.allocate_path(replace(path, generation=generation))
        assert pinger.returned() == pinger.packets
        assert net.count_packets(chain.chain_id)[added, "left"][0] > 200
        assert net.probe_path(chain.path.id, 10, 5).complete
    finally:
        first.stop()
        second.stop()


def test_twenty_links_are_made_and_removed_side_by_side(net: HostNetwork, ids: Ids) -> None:
    """A ring, so that every namespace is wanted by two links at once; every third link is steered."""
    nodes = [ids(f"n{index}") for index in range(20)]
    specs = [
        LinkSpec(
            ids(f"link{index}"),
            (
                Member(nodes[index], "right", MemberKind.CONTAINER),
                Member(nodes[(index + 1) % 20], "left", MemberKind.CONTAINER),
            ),
            ids("chain"),
            steered=index % 3 == 0,
        )
        for index in range(20)
    ]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(net.allocate_link, specs))
        list(pool.map(net.allocate_link, specs))
        found = net.query()
        assert [one.state for one in found] == [State.RUNNING] * 20
        ports = [
            (node, PortSpec(cp, (ip,)))
            for node, cp, ip in ((nodes[1], "right", "10.6.0.1/24"), (nodes[2], "left", "10.6.0.2/24"))
        ]
        list(pool.map(lambda port: net.configure_port(*port), ports))
        assert ping(nodes[1], "10.6.0.2") == 3
        list(pool.map(lambda spec: net.terminate(spec.id, ResourceKind.LINK), specs))
    assert net.query() == []
    assert ids.namespaces_left() == []


def test_one_link_asked_for_by_many_at_once_is_made_once(net: HostNetwork, ids: Ids) -> None:
    members = (Member(ids("a"), "eth0", MemberKind.SAP), Member(ids("b"), "eth0", MemberKind.KATA))
    spec = LinkSpec(ids("link"), members, ids("chain"))
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(net.allocate_link, [spec] * 8))
    assert len(made) == 1
    assert [one.state for one in net.query()] == [State.RUNNING]


def test_the_fabric_goes_with_its_last_link_and_path(net: HostNetwork, ids: Ids) -> None:
    chain = build_steered(net, ids)
    guest = WireGuest(net, chain.guests[0])
    net.allocate_path(chain.path)
    fabric = naming.fabric_name(chain.chain_id)
    net.terminate(ids("link0"), ResourceKind.LINK)
    assert netns.exists(fabric)
    net.terminate(ids("link1"), ResourceKind.LINK)
    assert not netns.exists(fabric)
    guest.stop()
    net.terminate(chain.path.id, ResourceKind.PATH)
    assert {one.kind for one in net.query()} == {ResourceKind.NAMESPACE}


def test_the_doctor_tries_all_on_this_host_and_leaves_nothing(net: HostNetwork) -> None:
    found = {check.name: check for check in checks()}
    assert {"net-capabilities", "tun", "nft-steering", "tc-redirect", "program-ip"} <= set(found)
    assert found["nft-steering"].ok, found["nft-steering"].detail
    assert all(check.ok or check.fix or not check.required for check in found.values())
    assert not netns.exists(f"vnfm-doctor-{os.getpid()}")
