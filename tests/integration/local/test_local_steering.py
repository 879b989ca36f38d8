"""Through the plugin: VNFs come into live chains of containers, microVMs and VMs and go again, and nothing is lost."""

from __future__ import annotations

import re
import subprocess

import grpc
import pytest
from local_harness import Plugin, last

from plugins.local.net import namespace_name
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

CONTAINER, KATA, VM = pb.RUNTIME_CONTAINER, pb.RUNTIME_KATA, pb.RUNTIME_VM
CLIENT_NET, SERVER_NET, SERVER_IP = "10.1.0.0/24", "10.2.0.0/24", "10.2.0.2"


def _port(cp: str, link: str, ip: str, *routes: tuple[str, str]) -> pb.Port:
    port = pb.Port(cp_id=cp, link=Handle(resource_id=link), ips=[ip])
    for destination, via in routes:
        port.routes.add(destination=destination, via=via)
    return port


def _vnf(plugin: Plugin, image: str, resource_id: str, runtime: int, *ports: pb.Port) -> None:
    if runtime == VM:
        request = plugin.vm(resource_id, image)
        request.ports.extend(ports)
    else:
        request = plugin.container(
            resource_id,
            image,
            "sleep",
            "1000",
            runtime=runtime,
            memory_bytes=128 << 20,
            sysctls={"net.ipv4.ip_forward": "1"},
            linux_capabilities=["CAP_NET_ADMIN"],
            ports=list(ports),
        )
    plugin.allocate(request)


def _path(plugin: Plugin, generation: int, *vnfs: str, **more: object) -> pb.AllocatePathRequest:
    request = pb.AllocatePathRequest(
        resource_id="path",
        owner=plugin.owner(),
        symmetric=True,
        generation=generation,
        **more,  # type: ignore[arg-type]
    )
    request.hops.add(sap=Handle(resource_id="client"), name="client")
    for vnf in vnfs:
        request.hops.add(compute=Handle(resource_id=vnf), ingress_cp_id="left", egress_cp_id="right", name=vnf)
    request.hops.add(sap=Handle(resource_id="server"), name="server")
    return request


def _allocate(plugin: Plugin, request: pb.AllocatePathRequest) -> pb.Resource:
    return last(plugin.network.AllocatePath(request, timeout=60))


def _chain(plugin: Plugin, images: dict[int, str], first: int, second: int) -> None:
    plugin.link("l0", ("client", "right", pb.RUNTIME_UNSPECIFIED), ("first", "left", first))
    plugin.link("l1", ("first", "right", first), ("second", "left", second))
    plugin.link("l2", ("second", "right", second), ("server", "left", pb.RUNTIME_UNSPECIFIED))
    plugin.sap("client", _port("right", "l0", "10.1.0.2/24", ("0.0.0.0/0", "10.1.0.1")))
    plugin.sap("server", _port("left", "l2", "10.2.0.2/24", ("0.0.0.0/0", "10.2.0.1")))
    left, right = _port("left", "l0", "10.1.0.1/24"), _port("right", "l1", "100.64.1.1/26", (SERVER_NET, "100.64.1.2"))
    _vnf(plugin, images[first], "first", first, left, right)
    left, right = _port("left", "l1", "100.64.1.2/26", (CLIENT_NET, "100.64.1.1")), _port("right", "l2", "10.2.0.1/24")
    _vnf(plugin, images[second], "second", second, left, right)
    _allocate(plugin, _path(plugin, 1, "first", "second"))


def _added(plugin: Plugin, images: dict[int, str], runtime: int) -> None:
    left = _port("left", "l1", "100.64.1.9/30", (CLIENT_NET, "100.64.1.10"))
    right = _port("right", "l1", "100.64.1.13/30", (SERVER_NET, "100.64.1.14"))
    _vnf(plugin, images[runtime], "added", runtime, left, right)


def _pings(count: int) -> subprocess.Popen[str]:
    words = ["nsenter", f"--net=/run/netns/{namespace_name('client')}", "ping", "-n", "-q", "-i", "0.002"]
    return subprocess.Popen([*words, "-c", str(count), "-W", "3", SERVER_IP], stdout=subprocess.PIPE, text=True)


def _lost(pings: subprocess.Popen[str]) -> int:
    said = pings.communicate(timeout=120)[0]
    found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert found, said
    return int(found[1]) - int(found[2])


def _probe(plugin: Plugin) -> list[str]:
    request = pb.ProbePathRequest(path=Handle(resource_id="path"), packets=5, owner=plugin.owner())
    request.patience.seconds = 60
    found = plugin.network.ProbePath(request, timeout=120)
    assert found.complete, found
    return [hop.to for hop in found.hops]


@pytest.mark.parametrize(
    "mix",
    [(CONTAINER, CONTAINER, CONTAINER), (CONTAINER, KATA, CONTAINER), (KATA, KATA, KATA), (KATA, VM, CONTAINER)],
    ids=["container-container", "container-microvm", "microvm-microvm", "microvm-vm"],
)
def test_a_vnf_comes_and_goes_between_any_neighbours_and_no_ping_is_lost(
    plugin: Plugin, box: str, mix: tuple[int, int, int], request: pytest.FixtureRequest
) -> None:
    images = {CONTAINER: box, KATA: box, VM: request.getfixturevalue("gateway") if VM in mix else ""}
    _chain(plugin, images, *mix[:2])
    assert _probe(plugin) == ["first", "second", "server"]
    _added(plugin, images, mix[2])
    _allocate(plugin, _path(plugin, 2, "first", "added", "second"))
    assert _probe(plugin) == ["first", "added", "second", "server"]
    pings = _pings(2000)
    for generation in range(3, 13):
        vnfs = ("first", "added", "second") if generation % 2 == 0 else ("first", "second")
        assert _allocate(plugin, _path(plugin, generation, *vnfs)).state == pb.STATE_RUNNING
    assert _lost(pings) == 0
    _allocate(plugin, _path(plugin, 13, "first", "second"))
    plugin.terminate("added")
    assert _probe(plugin) == ["first", "second", "server"]
    assert {one.state for one in plugin.query()} == {pb.STATE_RUNNING}


def test_one_that_died_is_replaced_on_its_place_and_its_neighbours_stay_whole(plugin: Plugin, box: str) -> None:
    images = {CONTAINER: box}
    _chain(plugin, images, CONTAINER, CONTAINER)
    plugin.operate("first", pb.OperateComputeRequest.STOP)
    left, right = _port("left", "l0", "10.1.0.1/24"), _port("right", "l1", "100.64.1.1/26", (SERVER_NET, "100.64.1.2"))
    _vnf(plugin, box, "again", CONTAINER, left, right)
    _allocate(plugin, _path(plugin, 2, "again", "second"))
    plugin.terminate("first")
    assert _probe(plugin) == ["again", "second", "server"]
    assert {one.state for one in plugin.query()} == {pb.STATE_RUNNING}


def test_a_match_and_replicas_are_taken_and_a_vlan_is_refused_with_the_reason(plugin: Plugin, box: str) -> None:
    images = {CONTAINER: box}
    _chain(plugin, images, CONTAINER, CONTAINER)
    _added(plugin, images, CONTAINER)
    with pytest.raises(grpc.RpcError) as refused:
        _allocate(plugin, _path(plugin, 2, "first", "second", match=pb.Classifier(vlan=5)))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "kernel" in refused.value.details()
    both = _path(plugin, 3, "first", "second", match=pb.Classifier(ip_protocol=1))
    both.hops[1].replicas.extend([Handle(resource_id="first"), Handle(resource_id="added")])
    both.hops[1].name = "mid"
    assert _allocate(plugin, both).state == pb.STATE_RUNNING
    alone = _path(plugin, 4, "first", "second")
    alone.hops[1].name = "mid"
    _allocate(plugin, alone)
    assert _probe(plugin) == ["mid", "second", "server"]
