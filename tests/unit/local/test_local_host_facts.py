"""What is read off the host: control groups, memory, NUMA, limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.local import cgroups, host, memory, mounts
from plugins.local.cgroups import Limits, Mode
from plugins.local.runtimes import crun

V1 = """cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n"


def test_version_one_knows_its_controllers() -> None:
    found = cgroups.detect(V1)
    assert found.mode is Mode.V1
    assert found.mounts["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert found.missing() == []


def test_hybrid_whose_cgroup2_owns_controllers_hides_it_from_crun(tmp_path: Path) -> None:
    listing = tmp_path / "controllers"
    listing.write_text("hugetlb\n")
    found = cgroups.detect(V1 + UNIFIED, listing)
    assert found.mode is Mode.HYBRID
    hiding = crun(found, tmp_path)
    assert hiding.hidden == Path("/sys/fs/cgroup/unified")
    argv = hiding.start_argv("c")
    assert argv[0] == "unshare"
    assert "/sys/fs/cgroup/unified" in argv
    listing.write_text("")
    plain = crun(cgroups.detect(V1 + UNIFIED, listing), tmp_path)
    assert plain.hidden is None
    assert plain.start_argv("c")[0] == "crun"


def test_version_two_lacks_what_is_not_delegated(tmp_path: Path) -> None:
    listing = tmp_path / "controllers"
    listing.write_text("cpu memory\n")
    found = cgroups.detect("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", listing)
    assert found.mode is Mode.V2
    assert found.missing() == ["pids"]


def test_version_two_limits_are_written_in_its_words(tmp_path: Path) -> None:
    tree = cgroups.Hierarchy(Mode.V2, dict.fromkeys(("memory", "cpu", "pids"), tmp_path))
    tree.create("vnfm/x/one", Limits(1 << 20, 250, 7))
    group = tmp_path / "vnfm" / "x" / "one"
    written = {name: (group / name).read_text() for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")}
    assert written == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "cpu.max": "25000 100000",
        "pids.max": "7",
    }


def test_meminfo_is_in_bytes() -> None:
    assert host.meminfo("MemTotal:  2 kB\nHugePages_Total:  3\nOdd line\n") == {"MemTotal": 2048, "HugePages_Total": 3}


@pytest.mark.parametrize(("text", "cpus"), [("0-3,8", 5), ("0", 1), ("", 0), ("2-2,4-5\n", 3)])
def test_cpu_lists(text: str, cpus: int) -> None:
    assert host.count_cpus(text) == cpus


def test_numa_nodes_are_counted_with_what_is_used(tmp_path: Path) -> None:
    for number, free in ((0, 40), (1, 90)):
        node = tmp_path / f"node{number}"
        node.mkdir()
        prefix = f"Node {number} "
        lines = (f"MemTotal: 100 kB\n{prefix}MemFree: {free} kB\n{prefix}FilePages: 10 kB\n",)
        (node / "meminfo").write_text(prefix + lines[0])
        (node / "cpulist").write_text("0-1\n")
    cells = host.numa_cells(tmp_path)
    assert [(cell.cpus, cell.memory_bytes, cell.used_bytes) for cell in cells] == [
        (2, 102400, 51200),
        (2, 102400, 0),
    ]


def test_mappings_with_code_are_not_taken_for_guest_memory() -> None:
    text = "7f00-7f10 rw-p 0 00:00 0\nPss: 4 kB\n8000-9000 rwxp 0 00:00 0\nPss:  8 kB\n"
    assert memory.parse_smaps(text) == [(0x10, "rw-p", 4096), (0x1000, "rwxp", 8192)]


def test_mounts_below_a_folder_deepest_first() -> None:
    text = "1 0 0:1 / /run/a rw - x x x\n2 0 0:1 / /run/a/b\\040c rw - x x x\n3 0 0:1 / /run/ab rw - x x x\n"
    assert mounts.mounts_below(Path("/run/a"), text.replace("\\040", "\\040")) == [Path("/run/a/b c"), Path("/run/a")]
