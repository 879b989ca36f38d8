"""One VNF gone wild: its limits hold, its neighbours' packets are not slower for it, and the host stays alive."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from local_harness import MIB, Plugin, own
from local_images import busybox_rootfs, file, tar

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

USER = own("user")
VNF = own("vnf")
FAR = own("far")
WILD = own("wild")
KATA = own("kata")
L1 = own("l1")
L2 = own("l2")
PATH1 = own("path1")
GONE_WILD = {
    "fork bomb": "exec /bin/bomb",
    "memory hog": "while true; do tail /dev/zero; done",
    "busy loop": "for i in 1 2 3 4 5 6 7 8; do while true; do :; done & done; wait",
    "log storm": "exec yes a line of no interest whatsoever",
}
KINDS = {"CONTAINER": pb.RUNTIME_CONTAINER, "KATA": pb.RUNTIME_KATA}
RATIO = 1.5
SLACK_MS = 0.05  # what a timer's tick makes of tens of microseconds is no neighbour's fault
ROUNDS, PINGS = 6, 100


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """busybox, and a bomb whose every process goes on for ever (a shell ends where it cannot fork)."""
    folder = tmp_path_factory.mktemp("bomb")
    (folder / "bomb.c").write_text("#include <unistd.h>\nint main(void) { for (;;) fork(); }\n")
    argv = ["gcc", "-static", "-O1", "-o", str(folder / "bomb"), str(folder / "bomb.c")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"apt-get install -y gcc libc6-dev: {done.stderr[-200:]}")
    bomb = file("bin/bomb", (folder / "bomb").read_bytes(), 0o755)
    with tarfile.open(fileobj=io.BytesIO(busybox_rootfs())) as archive:
        kept = [
            (info, stream.read() if (stream := archive.extractfile(info)) else b"") if info.isfile() else (info, b"")
            for info in archive
        ]
    return tar([*kept, bomb])


@pytest.fixture
def box(plugin: Plugin, rootfs: bytes) -> str:
    return plugin.put_image(rootfs, "rootfs-tar")


def wild(plugin: Plugin, box: str, what: str, kind: int) -> pb.AllocateComputeRequest:
    script = f"sleep 1; exec 2>/dev/null; {GONE_WILD[what]}"
    # A bomb with little memory ends at once, by that limit.
    memory_bytes = 512 * MIB if what == "fork bomb" else 96 * MIB
    request = plugin.container(WILD, box, "sh", "-c", script, runtime=kind, memory_bytes=memory_bytes)
    plugin.allocate(request)
    return request


def neighbours(plugin: Plugin, box: str, kind: int) -> None:
    """`user` - a VNF that forwards - `far`, along a path."""
    plugin.ids |= {USER, VNF, FAR}
    plugin.link(L1, (USER, "eth0", 0), (VNF, "left", kind))
    plugin.link(L2, (VNF, "right", kind), (FAR, "eth0", 0))
    request = plugin.container(VNF, box, "sleep", "1000", runtime=kind, sysctls={"net.ipv4.ip_forward": "1"})
    request.memory_bytes = 96 * MIB
    request.ports.add(cp_id="left", link=Handle(resource_id=L1), ips=["10.83.0.2/24"])
    request.ports.add(cp_id="right", link=Handle(resource_id=L2), ips=["10.84.0.1/24"])
    plugin.allocate(request)
    for name, link, ip, via in ((USER, L1, "10.83.0.1", "10.83.0.2"), (FAR, L2, "10.84.0.2", "10.84.0.1")):
        route = pb.Route(destination="0.0.0.0/0", via=via)
        plugin.sap(name, pb.Port(cp_id="eth0", link=Handle(resource_id=link), ips=[f"{ip}/24"], routes=[route]))
    path = pb.AllocatePathRequest(resource_id=PATH1, owner=plugin.owner(), symmetric=True, generation=1)
    path.hops.add(sap=Handle(resource_id=USER), egress_cp_id="eth0", name=USER)
    path.hops.add(compute=Handle(resource_id=VNF), ingress_cp_id="left", egress_cp_id="right", name=VNF)
    path.hops.add(sap=Handle(resource_id=FAR), ingress_cp_id="eth0", name=FAR)
    list(plugin.network.AllocatePath(path))


def round_trips_ms(plugin: Plugin) -> list[float]:
    code, out, err = plugin.run(USER, "ping", "-n", "-i", "0.005", "-c", str(PINGS), "-W", "2", "10.84.0.2")
    found = [float(value) for value in re.findall(rb"time=([0-9.]+) ms", out)]
    assert len(found) > 0.9 * PINGS, out[-300:] + err
    assert code == 0
    return found


def pids_of(plugin: Plugin, resource_id: str) -> set[int]:
    return {
        int(pid)
        for group in plugin.groups(resource_id)
        for folder in [group, *group.rglob("*")]
        if folder.is_dir()
        for pid in (folder / "cgroup.procs").read_text().split()
    }


@contextmanager
def held(plugin: Plugin, resource_id: str, kind: int) -> Iterator[None]:
    """The wild one stands still for a while."""
    ops = pb.OperateComputeRequest
    if kind == pb.RUNTIME_CONTAINER:
        plugin.operate(resource_id, ops.PAUSE)
    else:
        for pid in pids_of(plugin, resource_id):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if kind == pb.RUNTIME_CONTAINER:
            plugin.operate(resource_id, ops.RESUME)
        else:
            for pid in pids_of(plugin, resource_id):
                os.kill(pid, signal.SIGCONT)


def compared(plugin: Plugin, kind: int) -> tuple[float, float]:
    """Median round trips in ms beside the wild one held and at large, turn by turn."""
    calm: list[float] = []
    stormy: list[float] = []
    for _ in range(ROUNDS):
        with held(plugin, WILD, kind):
            time.sleep(0.2)
            calm += round_trips_ms(plugin)
        time.sleep(0.5)
        stormy += round_trips_ms(plugin)
    return median(calm), median(stormy)


def usage(plugin: Plugin, resource_id: str) -> pb.ComputeStats:
    request = pb.WatchStatsRequest(owner=plugin.owner(), count=1, resource_ids=[resource_id])
    request.owner.CopyFrom(type(request.owner)(manager_id=plugin.manager))
    return next(plugin.observation.WatchStats(request)).computes[0]


def answers_within(plugin: Plugin, seconds: float) -> None:
    began = time.monotonic()
    plugin.query()
    assert time.monotonic() - began < seconds, "the plugin itself is starved"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["fork bomb", "memory hog", "busy loop"])
def test_what_goes_wild_keeps_its_limits(plugin: Plugin, box: str, what: str, kind: str) -> None:
    request = wild(plugin, box, what, KINDS[kind])
    time.sleep(4)
    before, began = usage(plugin, WILD), time.monotonic()
    time.sleep(3)
    after, seconds = usage(plugin, WILD), time.monotonic() - began
    share = (after.cpu_ns - before.cpu_ns) / 1e9 / seconds
    print(f"{what} as {kind}: {share:.2f} CPU, {after.memory_bytes // MIB} MiB, {after.processes} processes")
    assert share < 1.25 * request.cpu_milli / 1000
    assert after.memory_bytes <= after.memory_limit_bytes
    if kind == "CONTAINER":
        assert after.memory_limit_bytes == request.memory_bytes
        assert after.processes <= 1024
    assert share > 0.25 * request.cpu_milli / 1000, "it is wild indeed"
    answers_within(plugin, 3)
    plugin.terminate(WILD)
    assert plugin.query(WILD) == []


def test_a_storm_of_output_stays_bounded(plugin: Plugin, box: str) -> None:
    wild(plugin, box, "log storm", pb.RUNTIME_CONTAINER)
    log = plugin.run_dir / "computes" / WILD / "0" / "output.log"
    sizes = []
    for _ in range(60):
        sizes.append(log.stat().st_size)
        time.sleep(0.05)
    print(f"output: at most {max(sizes) // MIB} MiB")
    assert max(sizes) < 192 * MIB
    answers_within(plugin, 3)


def test_neither_vnf_is_spared_before_the_plugin_when_the_host_runs_out_of_memory(plugin: Plugin, box: str) -> None:
    wild(plugin, box, "busy loop", pb.RUNTIME_CONTAINER)
    request = plugin.container(KATA, box, "sleep", "1000", runtime=pb.RUNTIME_KATA, memory_bytes=128 * MIB)
    plugin.allocate(request)

    def badness(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    for name in (WILD, KATA):
        assert all(badness(pid) > badness(plugin.process.pid) for pid in pids_of(plugin, name))


@pytest.mark.long
@pytest.mark.parametrize("neighbour", KINDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["fork bomb", "memory hog", "busy loop"])
def test_neighbours_round_trips_stay_within_one_and_a_half(
    plugin: Plugin, box: str, what: str, kind: str, neighbour: str
) -> None:
    neighbours(plugin, box, KINDS[neighbour])
    wild(plugin, box, what, KINDS[kind])
    time.sleep(4)
    calm, stormy = compared(plugin, KINDS[kind])
    print(f"{what} as {kind} beside {neighbour}: {calm:.3f} -> {stormy:.3f} ms, {stormy / calm:.2f}x")
    answers_within(plugin, 3)
    assert stormy <= RATIO * calm + SLACK_MS
