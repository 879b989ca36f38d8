"""Counting: control groups of all versions, ports from either side, counters that only rise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plugins.local.cgroups import Hierarchy, Limits, Mode, Usage
from plugins.local.net.counters import PortCount, PortCounters
from plugins.local.net.devices import DeviceView, Seen
from plugins.local.net.observe import Place

LIMIT, UNLIMITED = 1 << 26, 9223372036854771712


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize(("limit", "told"), [(LIMIT, LIMIT), (UNLIMITED, 0)])
def test_usage_by_version_1(tmp_path: Path, limit: int, told: int) -> None:
    mounts = {name: tmp_path / name for name in ("memory", "cpu", "cpuacct", "pids")}
    stat = "cache 5000\ninactive_file 1\ntotal_inactive_file 4000\n"
    write(tmp_path / "memory/vnfm/c1", memory__usage_in_bytes="10000", memory__limit_in_bytes=str(limit),
          memory__stat=stat)  # fmt: skip
    write(tmp_path / "cpuacct/vnfm/c1", cpuacct__usage="777")
    write(tmp_path / "pids/vnfm/c1", cgroup__procs="")
    write(tmp_path / "pids/vnfm/c1/0", cgroup__procs="12\n13\n")
    write(tmp_path / "pids/vnfm/c1/1", cgroup__procs="14\n")
    found = Hierarchy(Mode.V1, mounts).usage("vnfm/c1")
    assert found == Usage(cpu_ns=777, memory_bytes=6000, memory_limit_bytes=told, processes=3)


def test_usage_by_version_2(tmp_path: Path) -> None:
    write(tmp_path / "vnfm/c1", memory__current="10000", memory__max="max", memory__stat="inactive_file 4000\n",
          cpu__stat="usage_usec 5\nuser_usec 3\n", cgroup__procs="")  # fmt: skip
    write(tmp_path / "vnfm/c1/0", cgroup__procs="12\n")
    hierarchy = Hierarchy(Mode.V2, dict.fromkeys(("memory", "cpu", "pids"), tmp_path))
    assert hierarchy.usage("vnfm/c1") == Usage(5000, 6000, 0, 1)
    (tmp_path / "vnfm/c1/memory.max").write_text(f"{LIMIT}\n")
    found = hierarchy.usage("vnfm/c1")
    assert found is not None
    assert found.memory_limit_bytes == LIMIT
    assert hierarchy.usage("vnfm/nobody") is None


class Devices(DeviceView):
    """One namespace, as the test has it."""

    def __init__(self, *seen: Seen) -> None:
        super().__init__()
        self.seen = list(seen)

    def devices(self, namespace: str, *, counters: bool = False) -> dict[str, Seen] | None:
        assert counters
        return {one.name: one for one in self.seen}


DEVICE = Seen(7, "left", True, "", rx_packets=1, tx_packets=2, rx_bytes=10, tx_bytes=20, rx_dropped=3, tx_dropped=4)


def test_into_the_vnf_is_what_a_container_receives_and_what_a_tap_sends() -> None:
    counters = PortCounters(Devices(DEVICE))
    container = Place("left", (("ns", "left"),))
    assert counters.read({"c1": [container]}) == [PortCount("c1", "left", 1, 10, 3, 2, 20, 4)]
    assert counters.read({"v1": [replace(container, mirrored=True)]}) == [PortCount("v1", "left", 2, 20, 4, 1, 10, 3)]
    assert counters.read({"c1": [Place("right", (("ns", "right"),))]}) == [], "what is not there is left out"


def test_counters_rise_over_patches_and_devices_made_anew() -> None:
    view = Devices(DEVICE)
    counters = PortCounters(view)
    place = Place("left", (("ns", "left"),), patch="left~p")

    def in_packets() -> int:
        return counters.read({"c1": [place]})[0].in_packets

    assert in_packets() == 1
    view.seen = [DEVICE, replace(DEVICE, index=8, name="left~p", rx_packets=5)]
    assert in_packets() == 6
    view.seen = [replace(DEVICE, rx_packets=2)]
    assert in_packets() == 7, "what a patch had counted is kept when it goes"
    view.seen = [replace(DEVICE, index=9, rx_packets=1)]
    assert in_packets() == 8
    view.seen = [replace(DEVICE, index=9, rx_packets=1), replace(DEVICE, index=10, name="left~p", rx_packets=1)]
    assert in_packets() == 9
    counters.forget("c1")
    assert in_packets() == 2, "another of the same id begins anew"


def test_computes_together_weigh_more_than_a_process_and_each_keeps_its_own_share(tmp_path: Path) -> None:
    mounts = {name: tmp_path / name for name in ("memory", "cpu", "cpuacct", "pids")}
    hierarchy = Hierarchy(Mode.V1, mounts)
    hierarchy.create("vnfm/mine/c1", Limits(memory_bytes=LIMIT, cpu_milli=500, pids=7))
    hierarchy.create("vnfm/mine/c1/vm", Limits())
    shares = {
        str(path.parent.relative_to(tmp_path / "cpu")): int(path.read_text())
        for path in (tmp_path / "cpu").rglob("cpu.shares")
    }
    assert shares["vnfm/mine/c1"] == 512
    assert shares["vnfm"] == shares["vnfm/mine"] > 2048
    assert (tmp_path / "cpu/vnfm/mine/c1/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "pids/vnfm/mine/c1/pids.max").read_text() == "7"
    assert (tmp_path / "cpuacct/vnfm/mine/c1").is_dir()
