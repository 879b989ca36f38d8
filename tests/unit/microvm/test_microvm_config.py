"""config.json, sizes, qemu's arguments, control groups."""

from __future__ import annotations

import json
import struct
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from plugins.microvm import cgroup, qemu
from plugins.microvm.bundle import Resources, load_bundle
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.process import parse_process, variant
from plugins.microvm.protocol import Tag
from plugins.microvm.spec import create_request, sysctls
from plugins.microvm.store import folder_of

NETWORK = {"type": "network", "path": "/run/netns/x"}


def write(folder: Path, **changes: Any) -> Path:
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"]},
        "linux": {"namespaces": [NETWORK]},
    }
    linux = changes.pop("linux", {})
    config.update(changes)
    config["linux"] = {**config["linux"], **linux}
    (folder / "rootfs").mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def fields(data: bytes) -> list[tuple[Tag, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, length = struct.unpack_from("<BI", data, at)
        found.append((Tag(tag), data[at + 5 : at + 5 + length]))
        at += 5 + length
    return found


def test_a_plain_bundle(tmp_path: Path) -> None:
    bundle = load_bundle(write(tmp_path, hostname="vnf", linux={"resources": {"memory": {"limit": -1}}}))
    assert bundle.netns == Path("/run/netns/x")
    assert bundle.hostname == "vnf"
    assert bundle.resources.memory_limit is None
    assert bundle.process.capabilities is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": {"args": ["sh"], "terminal": True}}, "terminals are not supported"),
        ({"hooks": {"prestart": [{"path": "/bin/x"}]}}, "hooks"),
        ({"annotations": {"io.kubernetes.cri.container-type": "container"}}, "several containers"),
        ({"linux": {"namespaces": [NETWORK, {"type": "user"}]}}, "user namespaces"),
        ({"linux": {"namespaces": [NETWORK, {"type": "ipc", "path": "/proc/1/ns/ipc"}]}}, "ipc namespace"),
        ({"linux": {"namespaces": []}}, "network"),
        ({"linux": {"devices": [{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}]}}, "/dev/sda"),
        ({"process": {}}, "process.args"),
        ({"process": {"args": ["x"], "cwd": "tmp"}}, "not an absolute path"),
        ({"process": {"args": ["x"], "capabilities": {"bounding": ["CAP_FLY"]}}}, "CAP_FLY"),
        ({"root": {"path": "nowhere"}}, "not a folder"),
    ],
)
def test_what_cannot_be_given_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RuntimeFailure, match=words):
        load_bundle(write(tmp_path, **changes))


def test_what_the_guest_kernel_stands_in_for_is_told(tmp_path: Path) -> None:
    bundle = load_bundle(write(tmp_path, linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}))
    assert any("seccomp" in warning for warning in bundle.warnings)


def test_process_for_the_agent() -> None:
    process = parse_process(
        {
            "args": ["a", "b"],
            "env": ["X=1"],
            "cwd": "/w",
            "user": {"uid": 3, "gid": 4, "additionalGids": [5]},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 2**64 - 1}],
            "noNewPrivileges": True,
        }
    )
    found = fields(process.encode(9))
    assert (Tag.PROCESS, struct.pack("<I", 9)) in found
    assert [data for tag, data in found if tag is Tag.ARG] == [b"a", b"b"]
    assert (Tag.USER, struct.pack("<III", 3, 4, 0o22)) in found
    assert (Tag.GROUP, struct.pack("<I", 5)) in found
    assert (Tag.CAPS, struct.pack("<5Q", 1 | 1 << 13, 0, 0, 0, 0)) in found
    assert (Tag.RLIMIT, struct.pack("<IQQ", 7, 10, 2**64 - 1)) in found
    assert (Tag.NO_NEW_PRIVS, b"") in found


def test_exec_variant() -> None:
    base = parse_process({"args": ["a"], "env": ["A=1"], "cwd": "/w"})
    changed = variant(base, ("b",), None, ("B=2",), "7:8")
    assert (changed.args, changed.env, changed.cwd, changed.uid, changed.gid) == (("b",), ("A=1", "B=2"), "/w", 7, 8)
    with pytest.raises(RuntimeFailure, match="numbers"):
        variant(base, ("b",), None, (), "daemon")


def test_mounts(tmp_path: Path) -> None:
    (tmp_path / "resolv").write_text("nameserver 192.0.2.1\n")
    mounts = [
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "rprivate"]},
        {"destination": "/etc/resolv.conf", "type": "bind", "source": "resolv", "options": ["rbind", "ro"]},
    ]
    found = fields(create_request(load_bundle(write(tmp_path, mounts=mounts)), 1))
    assert found[0] == (Tag.MOUNT, struct.pack("<Q", 2) + b"/dev\0tmpfs\0tmpfs\0mode=755\0")
    assert found[1][0] is Tag.FILE
    assert found[1][1].endswith(b"/etc/resolv.conf\0nameserver 192.0.2.1\n")


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/d", "type": "bind", "source": "rootfs", "options": ["rbind", "rw"]},
        {"destination": "/d", "type": "bind", "source": "/nowhere", "options": ["bind"]},
        {"destination": "/d", "type": "nfs", "source": "host:/x"},
    ],
)
def test_mounts_that_cannot_be(tmp_path: Path, mount: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure, match="mounts: /d"):
        create_request(load_bundle(write(tmp_path, mounts=[mount])), 1)


def test_sysctl_names(tmp_path: Path) -> None:
    given = {"net.ipv4.conf.eth0/1.rp_filter": "0", "net/ipv4/conf/a.b/rp_filter": "1"}
    found = sysctls(load_bundle(write(tmp_path, linux={"sysctl": given})))
    assert found == [("net/ipv4/conf/eth0.1/rp_filter", "0"), ("net/ipv4/conf/a.b/rp_filter", "1")]


MIB = 1 << 20


def test_size_of_the_guest() -> None:
    assert qemu.size({}, None, 15 * MIB).memory_mib == 128
    assert qemu.size({}, None, 100 * MIB).memory_mib > 300
    assert qemu.size({}, 200 * MIB, 15 * MIB).memory_mib == 200
    stated = {qemu.PREFIX + "default_memory": "256", qemu.PREFIX + "default_vcpus": "2"}
    machine = qemu.size(stated | {qemu.PREFIX + "kernel_params": "a=b c"}, 200 * MIB, 15 * MIB)
    assert (machine.memory_mib, machine.vcpus, machine.kernel_params) == (256, 2, "a=b c")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_memory", "lots"),
        ("default_memory", "16"),
        ("default_vcpus", "0"),
        ("default_vcpus", "99"),
        ("kernel_params", "a\nb"),
        ("enable_template", "true"),
    ],
)
def test_bad_annotations_are_named(name: str, value: str) -> None:
    with pytest.raises(RuntimeFailure, match=name):
        qemu.size({qemu.PREFIX + name: value}, None, 15 * MIB)


def test_a_guest_gets_what_it_needs_to_boot_where_the_containers_limit_is_less() -> None:
    small, none = qemu.size({}, 32 * MIB, 15 * MIB), qemu.size({}, None, 60 * MIB)
    assert 32 < small.memory_mib < none.memory_mib
    assert qemu.size({}, 512 * MIB, 15 * MIB).memory_mib == 512


def test_a_stated_guest_memory_too_small_to_boot_is_named() -> None:
    with pytest.raises(RuntimeFailure, match=r"default_memory: 32 MiB is too little"):
        qemu.size({qemu.PREFIX + "default_memory": "32"}, None, 15 * MIB)


def test_arguments() -> None:
    machine = qemu.Machine(128, 1, "extra")
    argv = qemu.arguments(
        machine,
        accelerator="tcg",
        kernel=Path("/k"),
        initrd=Path("/i"),
        append=qemu.command_line(machine, 2596120, "tcg"),
        agent=5,
        console=6,
        nics=(qemu.Nic(7, "02:00:00:00:00:01"), qemu.Nic(8, "02:00:00:00:00:02")),
    )
    joined = " ".join(argv)
    assert "tap,id=n1,fd=8" in joined
    assert "mac=02:00:00:00:00:02" in joined
    assert "-accel tcg" in joined
    append = argv[argv.index("-append") + 1]
    assert append.endswith("tsc_early_khz=2596120 tsc=reliable extra")


def test_tsc_is_read_off_bogomips() -> None:
    assert qemu.tsc_khz("processor: 0\nbogomips\t: 5192.24\n") == 2596120
    assert qemu.tsc_khz("nothing") is None


V1 = (
    "30 1 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "31 1 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
V2 = "40 1 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_version_1_wins_over_a_hybrid_version_2() -> None:
    found = cgroup.hierarchies(V1 + V2)
    assert [(h.version, sorted(h.controllers)) for h in found] == [(1, ["memory"]), (1, ["cpu", "cpuacct"])]
    assert [h.version for h in cgroup.hierarchies(V2)] == [2]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", "/vnfm-microvm/c1"),
        ("/a/b", "/a/b"),
        ("a/b", "/a/b"),
        (
            "kubepods-burstable-pod1.slice:cri:c1",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-c1.scope",
        ),
        (":cri:c1", "/system.slice/cri-c1.scope"),
    ],
)
def test_group_path(given: str, path: str) -> None:
    assert cgroup.group_path(given, "c1") == PurePosixPath(path)


@pytest.mark.parametrize("given", ["/", "../x", "/a/../../b"])
def test_group_paths_that_lead_away(given: str) -> None:
    with pytest.raises(RuntimeFailure):
        cgroup.group_path(given, "c1")


def test_limits_of_both_versions() -> None:
    resources = Resources(memory_limit=100 * MIB, cpu_shares=1024, cpu_quota=50000, pids_limit=20)
    memory = str(128 * MIB + cgroup.MEMORY_OVERHEAD)
    first = cgroup.Hierarchy(Path("/m"), frozenset({"memory"}), 1)
    assert cgroup.limits(first, resources, 128 * MIB) == {"memory.limit_in_bytes": memory}
    second = cgroup.Hierarchy(Path("/u"), frozenset(), 2)
    assert cgroup.limits(second, resources, 128 * MIB) == {
        "memory.max": memory,
        "pids.max": str(20 + cgroup.PIDS_OVERHEAD),
        "cpu.max": "50000 100000",
        "cpu.weight": "39",
    }


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b"])
def test_names_of_containers(name: str) -> None:
    with pytest.raises(RuntimeFailure, match="invalid container id"):
        folder_of(Path("/r"), name)
