"""Hops come, go, change places while packets run: none is lost, and each goes where its path says."""

from __future__ import annotations

import pytest
from local_net_chains import Ids, SteadyPinger, ping, run
from local_net_live import CONTAINER, SERVER_IP, VM, build_live

from plugins.local.net import HostNetwork, MemberKind, ResourceKind, State, naming

ROUNDS = 20
MIXES = {
    "container-container": (CONTAINER, CONTAINER, CONTAINER),
    "container-guest": (CONTAINER, VM, CONTAINER),
    "guest-guest": (VM, VM, VM),
    "container-guest-between": (CONTAINER, CONTAINER, VM),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES.keys())
def test_a_hop_comes_and_goes_twenty_times_under_500_pings_a_second_and_none_is_lost(
    net: HostNetwork, ids: Ids, mix: tuple[MemberKind, MemberKind, MemberKind]
) -> None:
    chain = build_live(net, ids, *mix[:2])
    added = chain.add("added", mix[2])
    first, second = chain.vnfs
    try:
        assert ping(chain.client, SERVER_IP) == 3
        switches = []
        pinger = SteadyPinger(chain.client, SERVER_IP, 4000)
        for _ in range(ROUNDS):
            switches.append(net.allocate_path(chain.path(first, added, second)))
            switches.append(net.allocate_path(chain.path(first, second)))
        assert pinger.returned() == pinger.packets
        print(f"switch_us: {sorted(one.switch_us for one in switches)}")
        net.allocate_path(chain.path(first, added, second))
        found = net.probe_path(ids("path"), 10, 5)
        assert found.complete
        assert [hop.to for hop in found.hops] == [first.resource_id, added.resource_id, second.resource_id, "server"]
        assert {one.state for one in net.query()} == {State.RUNNING}
        net.allocate_path(chain.path(first, second))
        chain.end(added)
        assert ping(chain.client, SERVER_IP) == 3
        assert {one.state for one in net.query()} == {State.RUNNING}
    finally:
        chain.stop()
        if added.guest:
            added.guest.stop()


def test_back_on_its_wire_a_pair_has_no_trace_of_the_patch(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    first, second = chain.vnfs
    added = chain.add("added")
    before = _interfaces(first.resource_id)
    net.allocate_path(chain.path(first, added, second))
    assert _interfaces(first.resource_id) == before | {naming.patch_name("right")}
    net.allocate_path(chain.path(first, second))
    assert _interfaces(first.resource_id) == before
    assert "clsact" not in run(first.resource_id, "tc", "qdisc").stdout
    net.terminate(ids("path"), ResourceKind.PATH)
    assert ping(chain.client, SERVER_IP) == 3


def _interfaces(resource_id: str) -> set[str]:
    return {line.split()[1].partition("@")[0].rstrip(":") for line in _lines(resource_id)}


def _lines(resource_id: str) -> list[str]:
    return run(resource_id, "ip", "-o", "link").stdout.splitlines()
