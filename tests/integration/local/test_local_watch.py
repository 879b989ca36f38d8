"""What goes wrong by itself is told at once, with the reason; what is well or meant is not."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import grpc
import pytest
from local_harness import MIB, Plugin, own

from plugins.local.net import interface_name, namespace_name
from plugins.local.stamps import StampFolder
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

C1 = own("c1")
K1 = own("k1")
V1 = own("v1")
HOG = own("hog")
WELL = own("well")
DEAD = own("dead")
SAP = own("sap")
L1 = own("l1")
AT_ONCE_SECONDS = 0.25  # measured: 5 ms; the rest is for a busy machine
PORT_SECONDS = 3.0
STOPPED, RUNNING, FAILED = pb.STATE_STOPPED, pb.STATE_RUNNING, pb.STATE_FAILED


class Told:
    """WatchResources, with the time at which each came."""

    def __init__(self, plugin: Plugin) -> None:
        self._queue: queue.Queue[tuple[float, pb.Resource]] = queue.Queue()
        self._call = plugin.resources.WatchResources(pb.QueryRequest(owner=Owner(manager_id=plugin.manager)))
        threading.Thread(target=self._read, daemon=True).start()
        self.listed: list[pb.Resource] = []
        while not (resource := self._queue.get(timeout=10)[1]).listed:
            self.listed.append(resource)

    def _read(self) -> None:
        try:
            for resource in self._call:
                self._queue.put((time.monotonic(), resource))
        except grpc.RpcError:
            return

    def until(self, resource_id: str, state: int, seconds: float) -> tuple[float, pb.Resource]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                at, resource = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{resource_id} was not seen {pb.State.Name(state)}") from None
            if resource.handle.resource_id == resource_id and resource.state == state:
                return at, resource

    def nothing(self, seconds: float) -> None:
        """Whatever comes by itself is wrong."""
        with pytest.raises(queue.Empty):
            print(self._queue.get(timeout=seconds))

    def within(self, seconds: float) -> list[pb.Resource]:
        """All that comes for so long."""
        time.sleep(seconds)
        came = []
        with suppress(queue.Empty):
            while True:
                came.append(self._queue.get_nowait()[1])
        return came

    def drain(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    def close(self) -> None:
        self._call.cancel()


@pytest.fixture
def told(plugin: Plugin) -> Iterator[Told]:
    found = Told(plugin)
    yield found
    found.close()


def process_of(plugin: Plugin, resource_id: str, name: str = "main") -> int:
    stamp = StampFolder(plugin.run_dir).read(resource_id)
    assert stamp is not None
    return stamp.refs()[name].pid


def qemu_below(plugin: Plugin, resource_id: str) -> int:
    """The pid of qemu among a compute's processes."""
    pids = {
        int(pid) for group in plugin.groups(resource_id, "0") for pid in (group / "cgroup.procs").read_text().split()
    }
    found = [pid for pid in pids if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]]
    assert len(found) == 1
    return found[0]


def kill(pid: int, number: int = SIGKILL) -> float:
    import os

    began = time.monotonic()
    os.kill(pid, number)
    return began


def changed_long_ago(resource: pb.Resource) -> float:
    return abs(time.time() - resource.changed_at.ToNanoseconds() / 1e9)


def test_a_container_that_is_killed_is_told_within_moments(plugin: Plugin, box: str, told: Told) -> None:
    delays = []
    for number in range(5):
        name = own(f"c{number}")
        plugin.allocate(plugin.container(name, box, "sh", "-c", "echo my last words; exec sleep 1000"))
        began = kill(process_of(plugin, name))
        at, resource = told.until(name, FAILED, 5)
        delays.append(1000 * (at - began))
        assert resource.reason == ("container main was killed by signal 9 (SIGKILL); its last lines: my last words")
        assert changed_long_ago(resource) < 1
        assert plugin.query(name)[0].reason == resource.reason, "asked later, it says the same"
    print(f"CONTAINER death -> told: {sorted(delays)} ms")
    assert sorted(delays)[2] < 1000 * AT_ONCE_SECONDS


def test_an_exit_code_is_told(plugin: Plugin, box: str, told: Told) -> None:
    plugin.allocate(plugin.container(C1, box, "sh", "-c", "sleep 1; echo out of licences; exit 7"))
    _, resource = told.until(C1, FAILED, 10)
    assert resource.reason == "container main ended with 7; its last lines: out of licences"


def test_the_memory_limit_is_told_as_such(plugin: Plugin, box: str, told: Told) -> None:
    plugin.allocate(plugin.container(HOG, box, "sh", "-c", "sleep 1; exec tail /dev/zero", memory_bytes=16 * MIB))
    _, resource = told.until(HOG, FAILED, 20)
    assert "container main was killed for its memory limit" in resource.reason


def test_what_an_operator_does_is_no_failure(plugin: Plugin, box: str, told: Told) -> None:
    plugin.allocate(plugin.container(C1, box, "sleep", "1000"))
    ops = pb.OperateComputeRequest
    for op, state in (
        (ops.PAUSE, STOPPED),
        (ops.RESUME, RUNNING),
        (ops.STOP, STOPPED),
        (ops.START, RUNNING),
        (ops.REBOOT, RUNNING),
    ):
        plugin.operate(C1, op)
        told.until(C1, state, 5)
    plugin.terminate(C1)
    told.until(C1, pb.STATE_ABSENT, 5)
    told.nothing(0.5)


def test_a_lost_port_is_told_and_so_is_its_return(plugin: Plugin, box: str, told: Told) -> None:
    plugin.ids |= {SAP, C1}
    plugin.link(L1, (SAP, "eth0", 0), (C1, "left", pb.RUNTIME_CONTAINER))
    request = plugin.container(C1, box, "sleep", "1000")
    request.ports.add(cp_id="left", link=Handle(resource_id=L1), ips=["10.78.0.2/24"])
    plugin.allocate(request)
    plugin.sap(SAP, pb.Port(cp_id="eth0", link=Handle(resource_id=L1), ips=["10.78.0.1/24"]))
    time.sleep(0.5)
    told.drain()
    where = ["ip", "-n", namespace_name(C1), "link"]
    began = time.monotonic()
    subprocess.run([*where, "set", interface_name("left"), "down"], check=True)
    at, resource = told.until(C1, FAILED, PORT_SECONDS)
    assert resource.reason == "port left is down"
    print(f"port down -> told: {1000 * (at - began):.0f} ms")
    subprocess.run([*where, "set", interface_name("left"), "up"], check=True)
    told.until(C1, RUNNING, PORT_SECONDS)
    assert plugin.query(C1)[0].state == RUNNING
    began = time.monotonic()
    subprocess.run([*where, "del", interface_name("left")], check=True)
    at, resource = told.until(C1, FAILED, PORT_SECONDS)
    assert resource.reason == "port left is gone"
    print(f"port gone -> told: {1000 * (at - began):.0f} ms")


def test_a_restarted_plugin_finds_wrong_what_is_wrong_and_nothing_else(plugin: Plugin, box: str) -> None:
    for name in (WELL, DEAD):
        plugin.allocate(plugin.container(name, box, "sleep", "1000"))
    plugin.kill()
    kill(process_of(plugin, DEAD))
    plugin.start()
    told = Told(plugin)
    states = {resource.handle.resource_id: resource for resource in told.listed}
    assert states[WELL].state == RUNNING
    assert states[DEAD].state == FAILED
    assert "container main" in states[DEAD].reason
    # What is found out while the list is made may come once more; of the others nothing does.
    again = told.within(1)
    assert {(one.handle.resource_id, one.state) for one in again} <= {(DEAD, FAILED)}
    assert len(again) <= 1
    told.close()


def test_a_microvm_that_loses_its_qemu_is_told_within_moments(plugin: Plugin, box: str, told: Told) -> None:
    request = plugin.container(K1, box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    plugin.allocate(request)
    began = kill(qemu_below(plugin, K1))
    at, resource = told.until(K1, FAILED, 5)
    print(f"KATA death -> told: {1000 * (at - began):.1f} ms: {resource.reason}")
    assert at - began < AT_ONCE_SECONDS
    assert "has lost its machine: qemu was killed by signal 9" in resource.reason


def test_a_microvms_payload_that_ends_is_told_with_its_exit_code(plugin: Plugin, box: str, told: Told) -> None:
    command = ("sh", "-c", "sleep 1; echo no route; exit 9")
    request = plugin.container(K1, box, *command, runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    plugin.allocate(request)
    _, resource = told.until(K1, FAILED, 20)
    assert resource.reason == "container main ended with 9; its last lines: no route"


def test_a_microvm_that_hangs_is_told_and_so_is_its_return(plugin: Plugin, box: str) -> None:
    plugin.stop()
    plugin.config["agent_silence_s"] = 5
    plugin.start()
    request = plugin.container(K1, box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    plugin.allocate(request)
    told = Told(plugin)
    told.nothing(8)
    pid = qemu_below(plugin, K1)
    began = kill(pid, SIGSTOP)
    at, resource = told.until(K1, FAILED, 30)
    print(f"KATA hung -> told: {at - began:.1f} s")
    assert resource.reason == "the guest has been silent for more than 5 s"
    kill(pid, SIGCONT)
    told.until(K1, RUNNING, 20)
    told.close()


def test_a_vm_that_hangs_and_one_that_dies_are_told(folder: Path, plugin: Plugin, gateway_image: bytes) -> None:
    plugin.stop()
    plugin.config["agent_silence_s"] = 6
    plugin.start()
    image = plugin.put_image(gateway_image, "qcow2")
    plugin.allocate(plugin.vm(V1, image), timeout=200)
    told = Told(plugin)
    told.nothing(10)
    pid = process_of(plugin, V1, "vm")
    began = kill(pid, SIGSTOP)
    at, resource = told.until(V1, FAILED, 40)
    print(f"VM hung -> told: {at - began:.1f} s: {resource.reason}")
    assert resource.reason == "the guest's agent has been silent for more than 6 s"
    kill(pid, SIGCONT)
    told.until(V1, RUNNING, 40)
    began = kill(pid)
    at, resource = told.until(V1, FAILED, 5)
    print(f"VM death -> told: {1000 * (at - began):.1f} ms: {resource.reason}")
    assert at - began < AT_ONCE_SECONDS
    assert resource.reason.startswith("qemu was killed by signal 9 (SIGKILL)")
    told.nothing(1)
    told.close()
