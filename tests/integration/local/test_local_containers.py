"""A container's life on the real host."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from local_harness import HOST, MIB, Plugin, Watch, problem_of

from plugins.local.stamps import StampFolder
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb


def test_it_starts_answers_commands_and_goes(plugin: Plugin, box: str) -> None:
    made = plugin.allocate(plugin.container("c1", box, "sleep", "1000", env={"COLOUR": "blue"}))
    assert made.state == pb.STATE_RUNNING
    assert 0 < made.start_ms < 5000
    print(f"CONTAINER start_ms={made.start_ms} overhead_bytes={made.overhead_memory_bytes}")
    exit_code, out, err = plugin.run(
        "c1", "sh", "-c", "cat; echo $COLOUR; hostname; echo no >&2; exit 3", stdin=b"in\n"
    )
    assert (exit_code, out, err) == (3, b"in\nblue\nbox\n", b"no\n")
    assert plugin.terminate("c1").state == pb.STATE_ABSENT
    assert plugin.query() == []


def test_files_sysctls_and_capabilities_are_as_asked(plugin: Plugin, box: str) -> None:
    plugin.allocate(
        plugin.container(
            "c1",
            box,
            "sleep",
            "1000",
            files={"/etc/app/conf": b"key=value\n"},
            sysctls={"net.ipv4.ip_forward": "1"},
            linux_capabilities=["CAP_NET_ADMIN"],
        )
    )
    assert plugin.run("c1", "cat", "/etc/app/conf", "/proc/sys/net/ipv4/ip_forward")[1] == b"key=value\n1\n"
    assert plugin.run("c1", "sh", "-c", "echo x > /etc/app/conf")[0] != 0, "files are read-only"
    assert plugin.run("c1", "ip", "link", "set", "lo", "mtu", "1400")[0] == 0
    held = plugin.run("c1", "grep", "CapEff", "/proc/self/status")[1]
    assert int(held.split()[1], 16) & (1 << 21) == 0, "no CAP_SYS_ADMIN"
    assert plugin.run("c1", "sh", "-c", "echo works > /dev/null")[0] == 0


def test_the_root_is_writable_and_its_own(plugin: Plugin, box: str) -> None:
    for name in ("c1", "c2"):
        plugin.allocate(plugin.container(name, box, "sleep", "1000"))
    assert plugin.run("c1", "sh", "-c", "echo mine > /root/note")[0] == 0
    assert plugin.run("c2", "cat", "/root/note")[0] != 0
    image = plugin.folder / "state" / "images" / box / "rootfs"
    assert not (image / "root" / "note").exists()


def test_several_containers_share_the_network_and_init_containers_come_first(plugin: Plugin, box: str) -> None:
    request = plugin.container("c1", box, "sleep", "1000")
    request.containers.add(name="side", image_sha256=box, command=["sleep", "1000"])
    request.init_containers.add(name="prepare", image_sha256=box, command=["ip", "link", "set", "lo", "mtu", "1234"])
    request.init_containers[0].linux_capabilities.append("CAP_NET_ADMIN")
    plugin.allocate(request)
    for name in ("main", "side"):
        assert b"1234" in plugin.run("c1", "cat", "/sys/class/net/lo/mtu", container=name)[1]


def test_a_failing_init_container_stops_it_all(plugin: Plugin, box: str) -> None:
    request = plugin.container("c1", box, "sleep", "1000")
    request.init_containers.add(name="prepare", image_sha256=box, command=["sh", "-c", "echo no database; exit 4"])
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(request)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "no database" in problem_of(caught.value).detail
    assert "4" in problem_of(caught.value).detail


def test_what_dies_at_once_says_its_last_words(plugin: Plugin, box: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(plugin.container("c1", box, "sh", "-c", "echo cannot find my licence; exit 1"))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "cannot find my licence" in problem_of(caught.value).detail


def test_a_command_that_is_not_there_is_named(plugin: Plugin, box: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(plugin.container("c1", box, "/no/such/program"))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "/no/such/program" in problem_of(caught.value).detail


def test_capabilities_that_lead_out_of_a_container_are_refused(plugin: Plugin, box: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(plugin.container("c1", box, "sleep", "1", linux_capabilities=["CAP_SYS_ADMIN"]))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "CAP_SYS_ADMIN" in problem_of(caught.value).detail
    assert plugin.query() == []


def test_a_memory_hog_dies_inside_its_own_limit(plugin: Plugin, box: str) -> None:
    watch = Watch(plugin)
    eat = "sleep 0.5; tail /dev/zero; echo survived; sleep 1000"
    plugin.allocate(plugin.container("hog", box, "sh", "-c", f"exec sh -c '{eat}'", memory_bytes=16 * MIB))
    plugin.allocate(plugin.container("neighbour", box, "sleep", "1000"))
    deadline = time.monotonic() + 20
    while not kills(plugin, "hog"):
        assert time.monotonic() < deadline, "the hog was not killed"
        time.sleep(0.05)
    assert plugin.run("neighbour", "echo", "fine")[1] == b"fine\n"
    watch.close()


def kills(plugin: Plugin, resource_id: str) -> int:
    """How often the kernel killed something for the container's memory limit."""
    counts = []
    for group in plugin.groups(resource_id, "0"):
        for name in ("memory.oom_control", "memory.events"):
            if (group / name).exists():
                lines = (group / name).read_text().splitlines()
                counts += [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return max(counts, default=0)


def test_a_fork_bomb_meets_the_limit(folder: Path, box: str, plugin: Plugin) -> None:
    plugin.stop()
    plugin.config["pids_limit"] = 20
    plugin.start()
    plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    script = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all"
    _, out, err = plugin.run("c1", "sh", "-c", script)
    assert b"fork" in err or b"Resource temporarily unavailable" in err
    assert b"all" not in out


def test_killed_payload_is_told_at_once(plugin: Plugin, box: str) -> None:
    plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    watch = Watch(plugin)
    watch.until("c1", pb.STATE_RUNNING, 5)
    stamp = StampFolder(plugin.run_dir).read("c1")
    assert stamp is not None
    began = time.monotonic()
    from signal import SIGKILL

    stamp.refs()["main"].send(SIGKILL)
    told = watch.until("c1", pb.STATE_FAILED, 5)
    assert time.monotonic() - began < 1
    assert "main" in told.reason
    watch.close()


def test_stop_start_pause_and_reboot(plugin: Plugin, box: str) -> None:
    plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    plugin.run("c1", "sh", "-c", "echo kept > /root/note")
    ops = pb.OperateComputeRequest
    assert plugin.operate("c1", ops.STOP).state == pb.STATE_STOPPED
    with pytest.raises(grpc.RpcError) as caught:
        plugin.run("c1", "true")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert plugin.operate("c1", ops.START).state == pb.STATE_RUNNING
    assert plugin.run("c1", "cat", "/root/note")[1] == b"kept\n"
    assert plugin.operate("c1", ops.PAUSE).state == pb.STATE_STOPPED
    assert plugin.operate("c1", ops.RESUME).state == pb.STATE_RUNNING
    assert plugin.operate("c1", ops.REBOOT).state == pb.STATE_RUNNING
    assert plugin.run("c1", "true")[0] == 0


def test_another_managers_object_is_neither_seen_nor_touched(plugin: Plugin, box: str) -> None:
    plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    plugin.manager, mine = "m2", plugin.manager
    assert plugin.query() == []
    plugin.terminate("c1")
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(plugin.container("c1", box, "sleep", "1000"))
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    plugin.manager = mine
    assert plugin.run("c1", "echo", "alive")[1] == b"alive\n"


def test_a_sap_runs_commands_in_its_namespace(plugin: Plugin) -> None:
    plugin.ids |= {"left", "right"}
    plugin.link("l1", ("left", "eth0", 0), ("right", "eth0", 0))
    for name, ip in (("left", "10.77.0.1/24"), ("right", "10.77.0.2/24")):
        port = pb.Port(cp_id="eth0", link=Handle(resource_id="l1"), ips=[ip])
        assert plugin.sap(name, port).state == pb.STATE_RUNNING
    assert plugin.run("left", "busybox", "ping", "-c", "1", "-W", "2", "10.77.0.2")[0] == 0
    assert b"10.77.0.1" in plugin.run("left", "ip", "-4", "addr", "show", "eth0")[1]


def test_more_than_the_host_has_asks_for_another_placement(plugin: Plugin, box: str) -> None:
    request = plugin.container("c1", box, "sleep", "1", memory_bytes=1 << 45)
    with pytest.raises(grpc.RpcError) as caught:
        plugin.allocate(request)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert problem_of(caught.value).retry == 3
    assert plugin.query() == []
    assert HOST in [
        h.id for chunk in [next(plugin.inventory.WatchInventory(pb.WatchInventoryRequest()))] for h in chunk.hosts
    ]
