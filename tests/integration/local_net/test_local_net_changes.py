"""What else may change in a chain that is in use: order, occupants, replicas; who is told apart by what; who dies."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from local_net_chains import Ids, SteadyPinger, ping, run
from local_net_live import (
    CLIENT_IP,
    CLIENT_NET,
    CONTAINER,
    SAP,
    SERVER_IP,
    SERVER_NET,
    VM,
    LiveChain,
    Vnf,
    build_live,
    replicated,
)

from plugins.local.net import (
    Hop,
    HostNetwork,
    InvalidSpecError,
    LinkSpec,
    Match,
    Member,
    MemberKind,
    NotThereError,
    PathSpec,
    PortSpec,
    Replica,
    ResourceKind,
    Route,
    State,
    naming,
    netns,
)

PATIENCE_SECONDS = 10.0  # a busy machine is slow, and slow is not lost


def _packets(net: HostNetwork, chain: LiveChain, vnf: Vnf, cp: str = "left") -> int:
    return net.count_packets(chain.chain_id).get((vnf.resource_id, cp), (0, 0))[0]


def test_a_tcp_stream_lives_on_while_a_hop_comes_and_goes(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    added = chain.add("added")
    first, second = chain.vnfs
    with _Echo(chain.server) as echo, echo.connect(chain.client) as stream:
        for number in range(6):
            stream.ask(200)
            net.allocate_path(chain.path(first, added, second) if number % 2 == 0 else chain.path(first, second))
        stream.ask(200)


def test_two_vnfs_change_places(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, VM)
    first, second = chain.vnfs
    try:
        pinger = SteadyPinger(chain.client, SERVER_IP, 1500)
        for _ in range(5):
            net.allocate_path(chain.path(second, first))
            net.allocate_path(chain.path(first, second))
        net.allocate_path(chain.path(second, first))
        assert pinger.returned() == pinger.packets
        found = net.probe_path(ids("path"), 10, 5)
        assert found.complete
        assert [hop.to for hop in found.hops] == [second.resource_id, first.resource_id, "server"]
    finally:
        chain.stop()


def test_another_takes_the_place_and_the_addresses_and_the_old_one_leaves_a_husk(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER, CONTAINER)
    first, old, third = chain.vnfs
    new = replace(old, resource_id=ids("new"))
    for cp, link_id in zip(("left", "right"), new.links, strict=True):
        net.join_link(link_id, Member(new.resource_id, cp, CONTAINER))
    chain.start(new)
    pinger = SteadyPinger(chain.client, SERVER_IP, 800)
    time.sleep(0.3)
    net.allocate_path(chain.path(first, new, third))
    chain.end(old)
    assert netns.exists(naming.namespace_name(old.resource_id))
    assert pinger.returned() == pinger.packets
    assert run(old.resource_id, "ping", "-c1", "-W1", SERVER_IP).returncode != 0
    assert {one.state for one in net.query()} == {State.RUNNING}
    assert old.resource_id not in {one.id for one in net.query()}
    net.terminate(ids("path"), ResourceKind.PATH)
    for link_id in old.links:
        net.terminate(link_id, ResourceKind.LINK)
    assert not netns.exists(naming.namespace_name(old.resource_id))


def test_who_left_a_link_comes_back_by_the_same_calls(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, VM)
    first, second = chain.vnfs
    try:
        chain.end(first)
        chain.end(second)
        for vnf in chain.vnfs:
            for cp, link_id in zip(("left", "right"), vnf.links, strict=True):
                net.join_link(link_id, Member(vnf.resource_id, cp, vnf.kind))
            chain.start(vnf)
        assert ping(chain.client, SERVER_IP) == 3
        assert {one.state for one in net.query()} == {State.RUNNING}
    finally:
        chain.stop()


@pytest.mark.parametrize("kinds", [(CONTAINER, CONTAINER), (VM, CONTAINER)], ids=["pairs", "guests"])
def test_of_two_paths_each_packet_takes_the_one_that_its_match_says(
    net: HostNetwork, ids: Ids, kinds: tuple[MemberKind, MemberKind]
) -> None:
    chain = build_live(net, ids, *kinds)
    side = chain.add("side")
    first, second = chain.vnfs
    try:
        match = Match(ip_protocol=17, destination_port=7000)
        net.allocate_path(chain.path(first, side, second, name="udp", match=match))
        with _Echo(chain.server, 7000) as picked, _Echo(chain.server, 7001) as other:
            assert picked.datagrams(chain.client, 1) == 1
            before = _packets(net, chain, side)
            assert other.datagrams(chain.client, 20) == 20
            assert ping(chain.client, SERVER_IP, 5) == 5
            assert _packets(net, chain, side) == before
            assert picked.datagrams(chain.client, 20) == 20
        counted = net.count_path_packets(chain.chain_id)
        for vnf, cp in ((first, "right"), (side, "left"), (side, "right"), (second, "left")):
            assert counted[ids("udp"), vnf.resource_id, cp][0] == 21
        assert counted[ids("path"), first.resource_id, "right"][0] >= 25
        net.terminate(ids("udp"), ResourceKind.PATH)
        assert ping(chain.client, SERVER_IP, 3) == 3
    finally:
        chain.stop()


def test_replies_follow_a_path_that_is_picked_by_dscp(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    side = chain.add("side")
    first, second = chain.vnfs
    net.allocate_path(chain.path(first, side, second, name="voice", match=Match(dscp=46)))
    with _Echo(chain.server, 7000) as echo:
        assert echo.datagrams(chain.client, 20) == 20
        assert _packets(net, chain, side) + _packets(net, chain, side, "right") == 0
        assert echo.datagrams(chain.client, 20, tos=46 << 2) == 20
    counted = net.count_path_packets(chain.chain_id)
    for vnf, cp in ((first, "right"), (side, "left"), (side, "right"), (second, "left")):
        assert counted[ids("voice"), vnf.resource_id, cp][0] == 20


def test_paths_that_send_the_same_packets_elsewhere_are_refused(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    side = chain.add("side")
    first, second = chain.vnfs
    net.allocate_path(chain.path(first, side, second))
    with pytest.raises(InvalidSpecError, match="match of its own"):
        net.allocate_path(chain.path(first, second, side, name="other"))
    with pytest.raises(NotThereError, match="is on no link"):
        net.allocate_path(chain.path(first, replace(side, resource_id=ids("nobody")).hop(), second))
    assert ping(chain.client, SERVER_IP) == 3


@pytest.mark.parametrize("kind", [CONTAINER, VM], ids=["containers", "guests"])
def test_flows_are_spread_over_replicas_and_each_keeps_its_own_both_ways_while_they_change(
    net: HostNetwork, ids: Ids, kind: MemberKind
) -> None:
    chain = build_live(net, ids, CONTAINER, kind, CONTAINER)
    first, one, third = chain.vnfs
    two, three = chain.add("two", kind), chain.add("three", kind)
    every = (one, two, three)
    try:
        with _Echo(chain.server, 7000) as echo:
            flows = echo.flows(chain.client, 24)
            alone = _used_by(net, chain, every, flows)
            assert set(alone.values()) == {one.resource_id}
            with flows.running():
                net.allocate_path(chain.path(first, replicated("mid", one), third))
                net.allocate_path(chain.path(first, replicated("mid", *every), third))
            assert flows.lost == 0
            assert _used_by(net, chain, every, flows) == alone, "a flow was torn from the only one that knew it"
            later = echo.flows(chain.client, 48)
            spread = _used_by(net, chain, every, later)
            assert min(list(spread.values()).count(vnf.resource_id) for vnf in every) >= 6
            with later.running():
                net.allocate_path(chain.path(first, replicated("mid", one, two), third))
            assert later.lost == 0
            after = _used_by(net, chain, every, later)
            stayed = {flow: at for flow, at in spread.items() if at != three.resource_id}
            assert {flow: at for flow, at in after.items() if flow in stayed} == stayed
            assert three.resource_id not in after.values()
            assert net.probe_path(ids("path"), 5, 5).hops
            flows.close()
            later.close()
    finally:
        chain.stop()
        for vnf in (two, three):
            if vnf.guest:
                vnf.guest.stop()


def _used_by(net: HostNetwork, chain: LiveChain, every: tuple[Vnf, ...], flows: _Flows) -> dict[int, str]:
    """By flow, the replica that it takes; it must be the same one there and back, and one only."""
    used = {}
    for flow in range(len(flows.sockets)):
        before = net.count_packets(chain.chain_id)
        assert flows.ask(flow, 5) == 5
        after = net.count_packets(chain.chain_id)
        rises = {
            (vnf.resource_id, cp): after.get((vnf.resource_id, cp), (0, 0))[0]
            - before.get((vnf.resource_id, cp), (0, 0))[0]
            for vnf in every
            for cp in ("left", "right")
        }
        # What comes in by one side only is no flow but a neighbour that is asked for; a few packets may be such, too.
        ids_used = {
            vnf.resource_id for vnf in every if min(rises[vnf.resource_id, cp] for cp in ("left", "right")) >= 5
        }
        if not any(rises.values()):  # on the bare wire nobody counts
            ids_used = {every[0].resource_id}
        assert len(ids_used) == 1, rises
        used[flow] = ids_used.pop()
    return used


def test_a_link_that_is_steered_from_the_start_has_members_with_networks_of_their_own(
    net: HostNetwork, ids: Ids
) -> None:
    chain = build_live(net, ids, CONTAINER, VM, steered=True)
    extra = chain.add("extra", VM)
    first, second = chain.vnfs
    try:
        assert ping(chain.client, SERVER_IP) == 3
        net.allocate_path(chain.path(first, extra, second))
        assert net.probe_path(ids("path"), 5, 5).complete
        net.allocate_path(chain.path(first, second))
    finally:
        chain.stop()
        if extra.guest:
            extra.guest.stop()


def test_replicas_may_stand_on_a_link_from_the_start_each_with_a_network_of_its_own(net: HostNetwork, ids: Ids) -> None:
    client, server, chain_id = ids("client"), ids("server"), ids("chain")
    every = (ids("one"), ids("two"))
    sides = (("left", "right", client, "10.1.0", SERVER_NET), ("right", "left", server, "10.2.0", CLIENT_NET))
    for own, end_cp, end, prefix, far in sides:
        members = (Member(end, end_cp, SAP), *(Member(one, own, CONTAINER) for one in every))
        net.allocate_link(LinkSpec(ids(f"link-{own}"), members, chain_id, steered=True))
        net.ensure_namespace(end)
        net.configure_port(end, PortSpec(end_cp, (f"{prefix}.2/24",), routes=(Route(far, f"{prefix}.1"),)))
        near = CLIENT_NET if own == "left" else SERVER_NET
        for number, one in enumerate(every):
            net.ensure_namespace(one)
            ip, via = f"{prefix}.{9 + 4 * number}/30", f"{prefix}.{10 + 4 * number}"
            net.configure_port(one, PortSpec(own, (ip,), routes=(Route(near, via),)))
            netns.inside(naming.namespace_name(one), lambda: netns.write_sysctl("net/ipv4/ip_forward", "1"))
    replicas = tuple(Replica(one, CONTAINER) for one in every)
    hops = (
        Hop(client, SAP, "", "right", "client"),
        Hop(every[0], CONTAINER, "left", "right", "mid", replicas),
        Hop(server, SAP, "left", "", "server"),
    )
    net.allocate_path(PathSpec(ids("path"), hops, chain_id))
    with _Echo(server, 7000) as echo:
        flows = echo.flows(client, 32)
        assert sum(flows.ask(flow, 1) for flow in range(32)) == 32
        flows.close()
    counted = net.count_packets(chain_id)
    assert min(counted[one, "left"][0] for one in every) >= 4
    assert [counted[one, "left"][0] for one in every] == pytest.approx(
        [counted[one, "right"][0] for one in every], abs=2
    )
    assert run(client, "ping", "-c1", "-W1", "10.1.0.13").returncode == 0, "a replica's own address leads to it"


def test_what_speaks_ipv6_is_refused_where_it_would_have_to_be_translated(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    first, second = chain.vnfs
    added = chain.add("added")
    net.configure_port(added.resource_id, replace(added.left, ips=(*added.left.ips, "fd00::1/64")))
    with pytest.raises(InvalidSpecError, match="only IPv4"):
        net.allocate_path(chain.path(first, added, second))
    assert ping(chain.client, SERVER_IP) == 3


def test_a_vnf_that_passes_frames_as_they_are_is_inserted_between_two_that_do_not(net: HostNetwork, ids: Ids) -> None:
    chain = build_live(net, ids, CONTAINER, CONTAINER)
    first, second = chain.vnfs
    bump = ids("bump")
    for cp in ("left", "right"):
        net.join_link(chain.link_ids[1], Member(bump, cp, CONTAINER))
        net.configure_port(bump, PortSpec(cp, l2_transparent=True))
    lines = "link add br0 type bridge\nlink set left master br0\nlink set right master br0\nlink set br0 up\n"
    assert run(bump, "ip", "-batch", "-", text=lines).returncode == 0
    between = replace(first.hop("bump"), resource_id=bump)
    third = chain.add("third")
    pinger = SteadyPinger(chain.client, SERVER_IP, 1000)
    for vnfs in ((first, between, second), (first, second), (first, third, between, second), (first, second)):
        net.allocate_path(chain.path(*vnfs))
        time.sleep(0.2)
    assert pinger.returned() == pinger.packets
    net.remove_namespace(bump)


def test_late_members_go_with_their_link_and_a_link_of_many_takes_more(net: HostNetwork, ids: Ids) -> None:
    members = tuple(Member(ids(name), "eth0", CONTAINER) for name in "abc")
    net.allocate_link(LinkSpec(ids("lan"), members))
    net.join_link(ids("lan"), Member(ids("d"), "eth0", CONTAINER))
    for number, name in enumerate("abcd"):
        net.configure_port(ids(name), PortSpec("eth0", (f"10.5.0.{number + 1}/24",)))
    assert ping(ids("d"), "10.5.0.1") == 3
    net.leave_link(ids("lan"), ids("d"))
    net.allocate_link(LinkSpec(ids("lan"), members))
    assert {one.state for one in net.query()} == {State.RUNNING}
    with pytest.raises(NotThereError):
        net.join_link(ids("nothing"), members[0])
    net.leave_link(ids("nothing"), ids("d"))
    pair = (Member(ids("x"), "eth0", CONTAINER), Member(ids("y"), "eth0", SAP))
    net.allocate_link(LinkSpec(ids("pair"), pair, ids("chain")))
    net.join_link(ids("pair"), Member(ids("z"), "eth0", CONTAINER))
    net.terminate(ids("pair"), ResourceKind.LINK)
    assert not netns.exists(naming.namespace_name(ids("z")))


# -- traffic


class _Echo:
    """UDP (or TCP, port 0) echo in a namespace."""

    def __init__(self, resource_id: str, port: int = 0) -> None:
        self._name = naming.namespace_name(resource_id)
        self.port = port or 7777
        self._kind = socket.SOCK_DGRAM if port else socket.SOCK_STREAM

    def __enter__(self) -> _Echo:
        self._socket = netns.inside(self._name, lambda: socket.socket(socket.AF_INET, self._kind))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("0.0.0.0", self.port))
        if self._kind == socket.SOCK_STREAM:
            self._socket.listen()
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _run(self) -> None:
        try:
            if self._kind == socket.SOCK_STREAM:
                accepted, _ = self._socket.accept()
                while data := accepted.recv(65536):
                    accepted.sendall(data)
            while self._kind == socket.SOCK_DGRAM:
                data, sender = self._socket.recvfrom(2048)
                self._socket.sendto(data, sender)
        except OSError:
            return

    def connect(self, resource_id: str) -> _Stream:
        name = naming.namespace_name(resource_id)
        return _Stream(netns.inside(name, lambda: socket.create_connection((SERVER_IP, self.port), 5)))

    def flows(self, resource_id: str, count: int) -> _Flows:
        return _Flows(resource_id, count, self.port)

    def datagrams(self, resource_id: str, count: int, tos: int = 0) -> int:
        """How many of so many came back, as one flow."""
        flows = _Flows(resource_id, 1, self.port, tos)
        try:
            return flows.ask(0, count)
        finally:
            flows.close()


class _Stream:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, times: int) -> None:
        """Everything comes back, in order, without a pause of a second."""
        self._socket.settimeout(1)
        for number in range(times):
            sent = number.to_bytes(4, "big") * 500
            self._socket.sendall(sent)
            got = b""
            while len(got) < len(sent):
                got += self._socket.recv(65536)
            assert got == sent


class _Flows:
    """UDP flows of one client, each from a port of its own."""

    def __init__(self, resource_id: str, count: int, port: int, tos: int = 0) -> None:
        name = naming.namespace_name(resource_id)
        self.lost = 0
        self.sockets = []
        self._numbers = itertools.count()
        for _ in range(count):
            one = netns.inside(name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            one.bind((CLIENT_IP, 0))
            one.connect((SERVER_IP, port))
            one.settimeout(PATIENCE_SECONDS)
            self.sockets.append(one)

    def ask(self, flow: int, times: int) -> int:
        """How many of so many questions were answered; each has its number, so that a late answer counts for none."""
        came = 0
        for _ in range(times):
            number = next(self._numbers).to_bytes(4, "big")
            self.sockets[flow].send(number)
            with suppress(TimeoutError):
                while self.sockets[flow].recv(64) != number:
                    pass
                came += 1
        return came

    def running(self) -> _Running:
        return _Running(self)

    def close(self) -> None:
        for one in self.sockets:
            one.close()


class _Running:
    """Every flow is in use for as long as the block runs."""

    def __init__(self, flows: _Flows) -> None:
        self._flows = flows
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.is_set():
            for flow in range(len(self._flows.sockets)):
                self._flows.lost += 1 - self._flows.ask(flow, 1)
            time.sleep(0.01)

    def __enter__(self) -> None:
        self._thread.start()
        time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)
