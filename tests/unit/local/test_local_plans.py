"""Pure parts: bundles, qemu's command line, the config drive, settings, keys."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from plugins.local import bundle, configdrive, qemu
from plugins.local.images.errors import ImageRefused
from plugins.local.images.qcow2 import check_disk
from plugins.local.images.tree import clean_name
from plugins.local.settings import CONFIG_SCHEMA, parse
from plugins.local.stamps import key_of
from vnfm.pluginkit.problems import PluginError


def plan(**more: object) -> bundle.ContainerPlan:
    fields: dict[str, object] = {
        "hostname": "fw",
        "args": ("/sbin/vnf",),
        "env": ("A=1", "A=2"),
        "working_dir": "/",
        "user": (0, 0, ()),
        "netns": "/run/netns/x",
        "cgroup_path": "/vnfm/x/y/0",
        **more,
    }
    return bundle.ContainerPlan(**fields)  # type: ignore[arg-type]


def test_a_bundle_has_limits_its_namespace_and_few_capabilities() -> None:
    config = bundle.config_json(plan(memory_bytes=1 << 20, cpu_milli=250, pids=9, capabilities=("CAP_NET_ADMIN",)))
    resources = config["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 20, "swap": 1 << 20}
    assert (resources["cpu"]["quota"], resources["pids"]["limit"]) == (25000, 9)
    assert {"type": "network", "path": "/run/netns/x"} in config["linux"]["namespaces"]
    held = config["process"]["capabilities"]["effective"]
    assert "CAP_NET_ADMIN" in held
    assert "CAP_SYS_ADMIN" not in held
    assert config["process"]["env"][-1] == "A=2"
    assert config["process"]["env"].count("A=1") == 0
    assert config["process"]["noNewPrivileges"] is True


def test_only_a_shared_kernel_needs_the_system_call_filter() -> None:
    assert "seccomp" in bundle.config_json(plan())["linux"]
    assert "seccomp" not in bundle.config_json(plan(own_kernel=True))["linux"]


def test_no_capability_that_leads_out_is_given_with_a_shared_kernel() -> None:
    assert not {"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_PTRACE", "CAP_MKNOD"} & bundle.SHARED_KERNEL_CAPABILITIES
    assert bundle.SHARED_KERNEL_CAPABILITIES < bundle.OWN_KERNEL_CAPABILITIES


def test_files_are_bound_read_only() -> None:
    mounts = bundle.config_json(plan(files=(("/etc/conf", "/host/1"),)))["mounts"]
    assert mounts[-1]["source"] == "/host/1"
    assert "ro" in mounts[-1]["options"]


def test_qemu_gets_taps_as_descriptors_and_no_right_to_spawn() -> None:
    nics = (qemu.VmNic(7, "02:00:00:00:00:01", 1400),)
    argv = qemu.command_line(qemu.VmPlan("gw", 2, 256 << 20, "", nics, "tcg", True))
    joined = " ".join(argv)
    assert "tap,id=n0,fd=7" in joined
    assert "mac=02:00:00:00:00:01,romfile=,host_mtu=1400" in joined
    assert "spawn=deny" in joined
    assert "format=qcow2,file=disk.qcow2" in joined
    assert qemu.vcpus_of(1500) == 2


def test_a_config_drive_says_it_in_lines_and_in_openstacks_words() -> None:
    nic = configdrive.DriveNic("02:00:00:00:00:01", "lan", 1400, ("10.1.0.1/24",), (("0.0.0.0/0", "10.1.0.254"),))
    files = configdrive.contents("id1", "gw", [nic], b"#!/bin/sh\n")
    assert files["vnfm/network"].decode().splitlines() == [
        "hostname gw",
        "nic 02:00:00:00:00:01 lan 1400 10.1.0.1/24",
        "route 0.0.0.0/0 via 10.1.0.254 dev lan",
    ]
    network = json.loads(files["openstack/latest/network_data.json"])["networks"][0]
    assert (network["ip_address"], network["netmask"]) == ("10.1.0.1", "255.255.255.0")
    assert network["routes"][0]["gateway"] == "10.1.0.254"
    assert files["openstack/latest/user_data"] == b"#!/bin/sh\n"


def qcow2(path: Path, *, backing: int = 0, features: int = 0, size: int = 1 << 20, version: int = 3) -> Path:
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, size).ljust(72, b"\0")
    path.write_bytes(head + features.to_bytes(8, "big") + bytes(64))
    return path


def test_a_self_contained_qcow2_is_taken_with_its_virtual_size(tmp_path: Path) -> None:
    assert check_disk(qcow2(tmp_path / "d"), "qcow2", 1 << 30) == 1 << 20


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"backing": 104}, "backing file"),
        ({"features": 4}, "external data file"),
        ({"version": 9}, "version 9"),
        ({"size": 1 << 60}, "expected 1 to"),
    ],
)
def test_other_qcow2_are_refused(tmp_path: Path, more: dict[str, int], words: str) -> None:
    with pytest.raises(ImageRefused, match=words):
        check_disk(qcow2(tmp_path / "d", **more), "qcow2", 1 << 30)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a\0b", "x" * 5000])
def test_hostile_names(name: str) -> None:
    with pytest.raises(ImageRefused):
        clean_name(name)


def test_plain_ids_are_their_own_keys_and_others_never_paths() -> None:
    assert key_of("8c1f-22") == "8c1f-22"
    assert "/" not in key_of("../../x")
    assert key_of("a.b") != key_of("a:b")


def test_settings_have_defaults_and_name_a_bad_field() -> None:
    found = parse({"state_dir": "/var/lib/x", "reserve": {"memory_bytes": 5}})
    assert (found.run_dir, found.reserve_memory_bytes) == (Path("/var/lib/x/run"), 5)
    other = parse({"state_dir": "/var/lib/y"})
    assert found.cgroup_of("one") != other.cgroup_of("one"), "two plugins on one host never share a group"
    with pytest.raises(PluginError, match=r"config\.state_dir"):
        parse({"state_dir": "relative/path"})
    assert CONFIG_SCHEMA["required"] == ["state_dir"]
