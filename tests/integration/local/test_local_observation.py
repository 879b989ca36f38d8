"""Counters and captures of containers, microVMs and VMs: what crosses a port, as its VNF sees it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from local_harness import MIB, Plugin, own, problem_of

from plugins.local.net import namespace_name
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

USER = own("user")
VNF = own("vnf")
FAR = own("far")
BUSY = own("busy")
L1 = own("l1")
L2 = own("l2")
PATH1 = own("path1")
PINGS = 20
KINDS = {"CONTAINER": pb.RUNTIME_CONTAINER, "KATA": pb.RUNTIME_KATA, "VM": pb.RUNTIME_VM}


@dataclass(frozen=True)
class Caught:
    """One record of a pcap file."""

    at: float
    data: bytes
    wire_bytes: int

    @property
    def is_echo_request(self) -> bool:
        return self.data[12:14] == b"\x08\x00" and self.data[23] == 1 and self.data[34] == 8

    @property
    def is_echo_reply(self) -> bool:
        return self.data[12:14] == b"\x08\x00" and self.data[23] == 1 and self.data[34] == 0


def read_pcap(content: bytes) -> list[Caught]:
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", content)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 1)
    found, at = [], 24
    while at < len(content):
        seconds, micros, length, wire = struct.unpack_from("<4I", content, at)
        found.append(Caught(seconds + micros / 1e6, content[at + 16 : at + 16 + length], wire))
        at += 16 + length
    assert at == len(content), "the last record is whole"
    return found


class Capturing:
    """Capture under way; `file` once it has ended or is closed."""

    def __init__(self, plugin: Plugin, resource_id: str, cp_id: str = "", **bounds: object) -> None:
        at = Handle(resource_id=resource_id)
        request = pb.CaptureRequest(at=at, owner=plugin.owner(), cp_id=cp_id, **bounds)  # type: ignore[arg-type]
        self._call = plugin.observation.Capture(request)
        self._content = next(self._call).pcap

    def file(self) -> bytes:
        return self._content + b"".join(chunk.pcap for chunk in self._call)

    def close(self) -> None:
        self._call.cancel()


def ping(plugin: Plugin, where: str, address: str, count: int = PINGS, size: int = 56) -> None:
    code, out, err = plugin.run(
        where, "busybox", "ping", "-c", str(count), "-i", "0.05", "-s", str(size), "-W", "5", address
    )
    assert code == 0, out + err


def sample(plugin: Plugin, *resource_ids: str) -> pb.StatsSample:
    request = pb.WatchStatsRequest(owner=Owner(manager_id=plugin.manager), resource_ids=resource_ids, count=1)
    return next(plugin.observation.WatchStats(request))


def port_of(found: pb.StatsSample, resource_id: str, cp_id: str) -> pb.PortStats:
    return next(port for port in found.ports if (port.resource_id, port.cp_id) == (resource_id, cp_id))


def chain(plugin: Plugin, kind: int, box: str, gateway: str) -> None:
    """`user`, then a VNF `vnf` that answers on 10.79.0.2, then `far`, with a path along them."""
    plugin.ids |= {USER, VNF, FAR}
    plugin.link(L1, (USER, "eth0", 0), (VNF, "left", kind))
    plugin.link(L2, (VNF, "right", kind), (FAR, "eth0", 0))
    request = plugin.vm(VNF, gateway) if kind == pb.RUNTIME_VM else plugin.container(VNF, box, "sleep", "1000")
    request.runtime = kind  # type: ignore[assignment]
    request.memory_bytes = max(request.memory_bytes, 128 * MIB)
    for container in request.containers:
        container.sysctls["net.ipv4.ip_forward"] = "1"
    request.ports.add(cp_id="left", link=Handle(resource_id=L1), ips=["10.79.0.2/24"])
    request.ports.add(cp_id="right", link=Handle(resource_id=L2), ips=["10.80.0.1/24"])
    plugin.allocate(request, timeout=200)
    for name, link, ip, via in ((USER, L1, "10.79.0.1", "10.79.0.2"), (FAR, L2, "10.80.0.2", "10.80.0.1")):
        route = pb.Route(destination="10.0.0.0/8", via=via)
        plugin.sap(name, pb.Port(cp_id="eth0", link=Handle(resource_id=link), ips=[f"{ip}/24"], routes=[route]))
    path = pb.AllocatePathRequest(resource_id=PATH1, owner=plugin.owner(), symmetric=True, generation=1)
    path.hops.add(sap=Handle(resource_id=USER), egress_cp_id="eth0", name=USER)
    path.hops.add(compute=Handle(resource_id=VNF), ingress_cp_id="left", egress_cp_id="right", name=VNF)
    path.hops.add(sap=Handle(resource_id=FAR), ingress_cp_id="eth0", name=FAR)
    list(plugin.network.AllocatePath(path))
    ping(plugin, USER, "10.79.0.2", 1)


@pytest.fixture(params=["CONTAINER", "KATA", "VM"])
def kind(request: pytest.FixtureRequest, plugin: Plugin, box: str) -> int:
    gateway = ""
    if request.param == "VM":
        gateway = plugin.put_image(request.getfixturevalue("gateway_image"), "qcow2")
    chain(plugin, KINDS[request.param], box, gateway)
    return KINDS[request.param]


def test_packets_into_and_out_of_a_vnf_are_counted_and_caught(plugin: Plugin, kind: int, folder: Path) -> None:
    before = sample(plugin)
    captures = [Capturing(plugin, VNF, "left", duration=Duration(seconds=20)), Capturing(plugin, USER)]
    began = time.time()
    ping(plugin, USER, "10.79.0.2")
    after = sample(plugin)
    time.sleep(0.5)
    captures[1].close()
    vnf, was = port_of(after, VNF, "left"), port_of(before, VNF, "left")
    user, user_was = port_of(after, USER, "eth0"), port_of(before, USER, "eth0")
    assert PINGS <= vnf.in_packets - was.in_packets <= PINGS + 4
    assert PINGS <= vnf.out_packets - was.out_packets <= PINGS + 4
    assert vnf.in_bytes - was.in_bytes >= PINGS * 98
    assert PINGS <= user.out_packets - user_was.out_packets <= PINGS + 4
    assert vnf.in_dropped == was.in_dropped
    taken = {(one.path_id, one.resource_id, one.cp_id): one for one in after.paths}
    if kind != pb.RUNTIME_CONTAINER:  # a pair's own wire counts for no path
        user_out, vnf_out = taken[PATH1, USER, "eth0"], taken[PATH1, VNF, "left"]
        assert user_out.packets >= PINGS
        assert vnf_out.bytes >= PINGS * 98
    used = next(one for one in after.computes if one.resource_id == VNF)
    assert used.cpu_ns > 0
    assert 100_000 < used.memory_bytes < used.memory_limit_bytes
    assert used.processes == (1 if kind == pb.RUNTIME_CONTAINER else 0)
    content = captures[0].file()
    found = read_pcap(content)
    requests, replies = [one for one in found if one.is_echo_request], [one for one in found if one.is_echo_reply]
    assert (len(requests), len(replies)) == (PINGS, PINGS)
    assert all(began - 1 < one.at < began + 30 for one in found)
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert all(one.at < other.at for one, other in zip(requests, replies, strict=True))
    if shutil.which("tcpdump"):
        (folder / "out.pcap").write_bytes(content)
        done = subprocess.run(
            ["tcpdump", "-nr", str(folder / "out.pcap"), "icmp"], capture_output=True, text=True, check=True
        )
        assert len(done.stdout.splitlines()) == 2 * PINGS
        assert "10.79.0.1 > 10.79.0.2: ICMP echo request" in done.stdout


def test_a_trace_names_each_port_there_and_back(plugin: Plugin, kind: int) -> None:
    request = pb.ProbePathRequest(path=Handle(resource_id=PATH1), owner=plugin.owner(), packets=5, trace=True)
    request.patience.seconds = 20
    found = plugin.network.ProbePath(request, timeout=60)
    assert found.complete, found
    assert [(one.resource_id, one.cp_id, one.reply, one.leaving) for one in found.passings] == [
        (USER, "eth0", False, True),
        (VNF, "left", False, False),
        (VNF, "right", False, True),
        (FAR, "eth0", False, False),
        (FAR, "eth0", True, True),
        (VNF, "right", True, False),
        (VNF, "left", True, True),
        (USER, "eth0", True, False),
    ]
    request.trace = False
    assert not plugin.network.ProbePath(request, timeout=60).passings


def test_counters_rise_at_the_asked_interval_until_the_count_is_reached(plugin: Plugin, box: str) -> None:
    plugin.allocate(plugin.container(BUSY, box, "sh", "-c", "while true; do true; done"))
    request = pb.WatchStatsRequest(owner=Owner(manager_id=plugin.manager), interval_ms=200, count=5)
    samples = list(plugin.observation.WatchStats(request))
    times = [one.at.ToNanoseconds() / 1e9 for one in samples]
    cpu = [next(c.cpu_ns for c in one.computes if c.resource_id == BUSY) for one in samples]
    assert len(samples) == 5
    assert 0.7 < times[-1] - times[0] < 2
    assert cpu == sorted(cpu)
    share = (cpu[-1] - cpu[0]) / 1e9 / (times[-1] - times[0])
    assert 0.2 < share < 0.7, "500 of 1000 milli-CPU"


def test_a_capture_keeps_its_bounds_and_ends(plugin: Plugin, box: str) -> None:
    chain(plugin, pb.RUNTIME_CONTAINER, box, "")
    snapped = Capturing(plugin, VNF, "left", snap_bytes=60, max_packets=10)
    ping(plugin, USER, "10.79.0.2", 10, size=1000)
    found = read_pcap(snapped.file())
    assert len(found) == 10
    assert {(len(one.data), one.wire_bytes) for one in found if one.is_echo_request} == {(60, 1042)}
    began = time.monotonic()
    timed = Capturing(plugin, VNF, "left", duration=Duration(seconds=1))
    assert read_pcap(timed.file()) == []
    assert 0.8 < time.monotonic() - began < 3


def test_a_port_that_is_not_there_is_not_found(plugin: Plugin, box: str) -> None:
    chain(plugin, pb.RUNTIME_CONTAINER, box, "")
    for resource_id, cp_id in ((VNF, "up"), ("nobody", "")):
        with pytest.raises(grpc.RpcError) as caught:
            Capturing(plugin, resource_id, cp_id)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert problem_of(caught.value).detail


def test_nothing_is_lost_at_a_moderate_rate(plugin: Plugin, box: str) -> None:
    """Packets of 1400 bytes, some thousand a second, for some seconds; each bears its number."""
    chain(plugin, pb.RUNTIME_CONTAINER, box, "")
    count = 30_000
    capture = Capturing(plugin, VNF, "left", duration=Duration(seconds=60), max_packets=count)
    blast = (
        "import socket,struct,time\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        f"for n in range({count + 200}):\n"
        "    s.sendto(struct.pack('!I',n)+bytes(1396),('10.79.0.2',9))\n"
        "    if n % 100 == 0: time.sleep(0.01)\n"
    )
    began = time.monotonic()
    subprocess.run(
        ["ip", "netns", "exec", namespace_name(USER), "python3", "-c", blast], check=True, capture_output=True
    )
    seconds = time.monotonic() - began
    found = read_pcap(capture.file())
    numbers = [struct.unpack_from("!I", one.data, 42)[0] for one in found if one.wire_bytes == 1442]
    print(f"{count} packets at {count / seconds:.0f} a second: {len(numbers)} caught in order")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) > 0.95 * count, "the rest are answers: nobody listens on that port"


def test_a_capture_that_nobody_wants_any_more_lets_go(plugin: Plugin, box: str) -> None:
    chain(plugin, pb.RUNTIME_CONTAINER, box, "")
    before = sockets(plugin)
    captures = [Capturing(plugin, VNF, "left") for _ in range(3)]
    assert sockets(plugin) >= before + 3
    for one in captures:
        one.close()
    deadline = time.monotonic() + 5
    while sockets(plugin) > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sockets(plugin: Plugin) -> int:
    """How many the plugin has open."""
    found = 0
    for fd in Path(f"/proc/{plugin.process.pid}/fd").iterdir():
        with suppress(OSError):
            found += str(fd.readlink()).startswith("socket:")
    return found
