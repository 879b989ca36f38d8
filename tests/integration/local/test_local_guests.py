"""microVMs and VMs, and a chain that crosses all three realizations."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path
from signal import SIGKILL

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from local_harness import MIB, Plugin, Watch, problem_of

from plugins.local.stamps import StampFolder
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb


def test_a_microvm_lives_like_a_container_with_a_kernel_of_its_own(plugin: Plugin, box: str) -> None:
    request = plugin.container("k1", box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    made = plugin.allocate(request)
    print(f"KATA start_ms={made.start_ms} overhead_bytes={made.overhead_memory_bytes}")
    exit_code, out, _ = plugin.run("k1", "sh", "-c", "cat /proc/version; hostname; cat; exit 5", stdin=b"in\n")
    assert exit_code == 5
    assert out.splitlines()[1:] == [b"box", b"in"]
    assert out.splitlines()[0] != Path("/proc/version").read_bytes().strip()
    watch = Watch(plugin)
    stamp = StampFolder(plugin.run_dir).read("k1")
    assert stamp is not None
    stamp.refs()["main"].send(SIGKILL)
    watch.until("k1", pb.STATE_FAILED, 5)
    watch.close()


def test_a_microvm_survives_the_plugin_and_a_broken_allocation_is_mended(
    plugin: Plugin, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clone would be up before the plugin can be killed.
    monkeypatch.setenv("VNFM_MICROVM_TEMPLATES", "off")
    plugin.kill()
    plugin.start()
    request = plugin.container("k1", box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    plugin.ids.add("k1")
    call = plugin.compute.AllocateCompute(request, timeout=60)
    next(iter(call))
    time.sleep(0.7)
    plugin.kill()
    plugin.start()
    assert plugin.query("k1")[0].state == pb.STATE_BUILDING
    assert plugin.allocate(request).state == pb.STATE_RUNNING
    plugin.kill()
    plugin.start()
    assert plugin.run("k1", "echo", "alive")[1] == b"alive\n"


def test_init_containers_come_before_a_microvm_too(plugin: Plugin, box: str) -> None:
    request = plugin.container("k1", box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    request.init_containers.add(name="prepare", image_sha256=box, command=["sh", "-c", "echo refused; exit 7"])
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(request)
    assert "7" in problem_of(caught.value).detail
    assert "refused" in problem_of(caught.value).detail


def test_a_vm_boots_answers_survives_the_plugin_and_goes(plugin: Plugin, gateway: str) -> None:
    made = plugin.allocate(plugin.vm("v1", gateway), timeout=200)
    print(f"VM start_ms={made.start_ms} overhead_bytes={made.overhead_memory_bytes}")
    exit_code, out, _ = plugin.run("v1", "sh", "-c", "hostname; cat; exit 6", stdin=b"in\n")
    assert (exit_code, out) == (6, b"machine\nin\n")
    plugin.kill()
    plugin.start()
    assert plugin.query("v1")[0].handle == made.handle
    assert plugin.run("v1", "hostname")[1] == b"machine\n"
    watch = Watch(plugin)
    watch.until("v1", pb.STATE_RUNNING, 5)
    stamp = StampFolder(plugin.run_dir).read("v1")
    assert stamp is not None
    stamp.refs()["vm"].send(SIGKILL)
    assert "qemu" in watch.until("v1", pb.STATE_FAILED, 5).reason
    watch.close()


def test_a_vm_stops_by_its_power_button_and_keeps_its_disk(plugin: Plugin, gateway: str) -> None:
    plugin.allocate(plugin.vm("v1", gateway), timeout=200)
    ops = pb.OperateComputeRequest
    assert plugin.operate("v1", ops.PAUSE).state == pb.STATE_STOPPED
    assert plugin.operate("v1", ops.RESUME).state == pb.STATE_RUNNING
    assert plugin.operate("v1", ops.STOP).state == pb.STATE_STOPPED
    assert plugin.operate("v1", ops.START, timeout=200).state == pb.STATE_RUNNING
    assert plugin.run("v1", "hostname")[1] == b"machine\n"


def test_a_vm_whose_allocation_was_broken_off_is_built_anew(plugin: Plugin, gateway: str) -> None:
    request = plugin.vm("v1", gateway)
    plugin.ids.add("v1")
    call = plugin.compute.AllocateCompute(request, timeout=60)
    next(iter(call))
    time.sleep(1.0)
    plugin.kill()
    plugin.start()
    assert plugin.allocate(request, timeout=200).state == pb.STATE_RUNNING
    pids = {pid for group in plugin.groups("v1", "vm") for pid in (group / "cgroup.procs").read_text().split()}
    assert len(pids) == 1, "one qemu, not two"


def test_packets_cross_a_container_a_microvm_and_a_vm(plugin: Plugin, box: str, gateway: str) -> None:
    kinds = {"fw": pb.RUNTIME_CONTAINER, "rt": pb.RUNTIME_KATA, "gw": pb.RUNTIME_VM, "client": 0, "server": 0}
    order = ["client", "fw", "rt", "gw", "server"]
    plugin.ids |= set(order)
    for number in range(1, 5):
        left, right = order[number - 1], order[number]
        plugin.link(f"l{number}", (left, "out", kinds[left]), (right, "in", kinds[right]))
    common = {"sysctls": {"net.ipv4.ip_forward": "1"}, "linux_capabilities": ["CAP_NET_ADMIN"]}
    requests = [
        plugin.container("fw", box, "sleep", "1000", **common),
        plugin.container("rt", box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB, **common),
        plugin.vm("gw", gateway),
    ]
    for number, request in enumerate(requests, 1):
        back = [pb.Route(destination=f"10.61.{n}.0/24", via=f"10.61.{number}.1") for n in range(1, number)]
        ahead = [pb.Route(destination=f"10.61.{n}.0/24", via=f"10.61.{number + 1}.2") for n in range(number + 2, 5)]
        request.ports.append(port("in", number, f"10.61.{number}.2/24", back))
        request.ports.append(port("out", number + 1, f"10.61.{number + 1}.1/24", ahead))
    calls = [plugin.compute.AllocateCompute(request, timeout=200) for request in requests]
    everywhere = "10.61.0.0/16"
    plugin.sap("client", port("out", 1, "10.61.1.1/24", [pb.Route(destination=everywhere, via="10.61.1.2")]))
    plugin.sap("server", port("in", 4, "10.61.4.2/24", [pb.Route(destination=everywhere, via="10.61.4.1")]))
    for call in calls:
        made = [progress.done for progress in call if progress.HasField("done")]
        assert made[0].state == pb.STATE_RUNNING
        print(f"{made[0].handle.native_id}: start_ms={made[0].start_ms}")
    path = pb.AllocatePathRequest(resource_id="path1", owner=plugin.owner(), symmetric=True, generation=1)
    path.hops.add(sap=Handle(resource_id="client"), egress_cp_id="out", name="client")
    for name in ("fw", "rt", "gw"):
        path.hops.add(compute=Handle(resource_id=name), ingress_cp_id="in", egress_cp_id="out", name=name)
    path.hops.add(sap=Handle(resource_id="server"), ingress_cp_id="in", name="server")
    list(plugin.network.AllocatePath(path, timeout=60))
    probe = plugin.network.ProbePath(
        pb.ProbePathRequest(
            path=Handle(resource_id="path1"), packets=10, patience=Duration(seconds=60), owner=plugin.owner()
        ),
        timeout=100,
    )
    assert probe.complete, probe
    assert [getattr(hop, "from") for hop in probe.hops] == order[:-1]
    assert all(hop.sent == hop.received == 10 for hop in probe.hops)
    print(f"rtt_us end to end {probe.rtt_us}; by hop {[hop.rtt_us for hop in probe.hops]}")
    assert plugin.run("client", "busybox", "ping", "-c", "3", "-W", "5", "10.61.4.2")[0] == 0


def port(cp_id: str, link: int, ip: str, routes: list[pb.Route]) -> pb.Port:
    return pb.Port(cp_id=cp_id, link=Handle(resource_id=f"l{link}"), ips=[ip], routes=routes)


def test_a_qcow2_that_names_another_file_is_refused(plugin: Plugin, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_bytes(b"\0" * MIB)
    for name, options in {
        "backing": ["-b", str(secret), "-F", "raw"],
        "external": ["-o", f"data_file={folder / 'data'},data_file_raw=on"],
    }.items():
        image = folder / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(image), "1M"], check=True)
        with pytest.raises(grpc.RpcError) as caught:
            plugin.put_image(image.read_bytes(), "qcow2")
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert name in problem_of(caught.value).detail
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        assert not plugin.images.StatImage(pb.StatImageRequest(sha256=digest)).present
        image.unlink()
    assert [path.name for path in (folder / "state" / "images").iterdir()] == []


def test_the_cpu_limit_holds_once_a_guest_is_up(plugin: Plugin, box: str) -> None:
    request = plugin.container("k1", box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    request.cpu_milli = 300
    plugin.allocate(request)
    quotas = []
    for group in plugin.groups("k1"):
        for name in ("cpu.cfs_quota_us", "cpu.max"):
            if (group / name).exists():
                quotas.append((group / name).read_text().split()[0])
    assert quotas == ["30000"]


def test_a_vm_without_an_agent_runs_but_takes_no_commands(plugin: Plugin) -> None:
    plugin.stop()
    plugin.config["guest_seconds"] = 1
    plugin.start()
    image = plugin.put_image(b"\0" * MIB, "raw")  # boots into nothing, as an appliance without our agent would look
    request = plugin.vm("v1", image, memory_mib=64)
    request.boot.format = "raw"
    assert plugin.allocate(request).state == pb.STATE_RUNNING
    with pytest.raises(grpc.RpcError) as caught:
        plugin.run("v1", "hostname")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "vnfm.agent.0" in problem_of(caught.value).detail
