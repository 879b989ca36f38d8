"""Facts about this host: what it has, what of it others use, and which realizations it can carry."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugins.local.cgroups import Hierarchy
from plugins.local.settings import Settings
from vnfm.pb.vim.v1 import vim_pb2 as pb

_KIB = 1024
_MIB = 1 << 20
_NODES = Path("/sys/devices/system/node")
# Priors, measured on two emulated-guest cores: (start_ms, hop_us, memory_bytes).
_PRIORS = {
    pb.RUNTIME_CONTAINER: (50, 5, 8 * _MIB),
    pb.RUNTIME_KATA: (400, 150, 96 * _MIB),
    pb.RUNTIME_VM: (20000, 300, 300 * _MIB),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A NUMA node."""

    number: int
    cpus: int
    memory_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """`refusals`: runtime -> why it is not offered here; a runtime that is not in it is offered."""

    settings: Settings
    cgroups: Hierarchy
    refusals: Mapping[int, str]

    def refusal(self, runtime: int) -> str:
        """Why this runtime is not offered; empty where it is."""
        return self.refusals.get(runtime, "")

    def cpu_milli(self) -> int:
        """All CPUs."""
        return 1000 * (os.cpu_count() or 1)

    def memory_available_bytes(self) -> int:
        """What could be taken now without swapping."""
        return meminfo(Path("/proc/meminfo").read_text()).get("MemAvailable", 0)

    def describe(self, our_groups: Sequence[str]) -> pb.Host:
        """The host as the contract has it. What runs in `our_groups` is not counted as others' use."""
        settings = self.settings
        disk = os.statvfs(_existing(settings.state_dir))
        host = pb.Host(
            id=settings.host_id,
            identities=identities(),
            site=settings.site,
            zone=settings.zone,
            rack=settings.rack,
            arch=platform.machine(),
            runtimes=[runtime for runtime in _PRIORS if not self.refusal(runtime)],
            cells=self._cells(our_groups),
            disk_bytes=disk.f_blocks * disk.f_frsize,
            disk_used_by_others_bytes=_used(disk) + settings.reserve_disk_bytes,
            trust=settings.trust,
            price_per_vcpu=settings.price_per_vcpu,
            active=True,
        )
        for runtime, (start_ms, hop_us, memory_bytes) in _PRIORS.items():
            reason = self.refusal(runtime)
            if reason:
                host.refusals.add(runtime=runtime, reason=reason)
            else:
                host.costs.add(runtime=runtime, start_ms=start_ms, hop_us=hop_us, memory_bytes=memory_bytes)
        return host

    def _cells(self, our_groups: Sequence[str]) -> list[pb.NumaCell]:
        memory = meminfo(Path("/proc/meminfo").read_text())
        ours = sum(self.cgroups.memory_bytes(group) for group in our_groups)
        others = max(0, memory.get("MemTotal", 0) - memory.get("MemAvailable", 0) - ours)
        cells = numa_cells(_NODES)
        if len(cells) < 2:  # then the whole says more: some hypervisors tell a node's memory wrongly
            cells = [Cell(0, os.cpu_count() or 1, memory.get("MemTotal", 0), others)]
        used = sum(cell.used_bytes for cell in cells) or 1
        huge_bytes = memory.get("HugePages_Total", 0) * memory.get("Hugepagesize", 0)
        reserve = self.settings
        return [
            pb.NumaCell(
                cpu_milli=int(1000 * cell.cpus * self.settings.cpu_allocation_ratio),
                # CPU time is shared by the millisecond: what others happen to burn now says nothing about later.
                cpu_used_by_others_milli=min(1000 * cell.cpus, reserve.reserve_cpu_milli // len(cells)),
                memory_bytes=cell.memory_bytes,
                memory_used_by_others_bytes=min(
                    cell.memory_bytes,
                    others * cell.used_bytes // used + reserve.reserve_memory_bytes // len(cells),
                ),
                hugepage_bytes=huge_bytes // len(cells),
            )
            for cell in cells
        ]


def meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo, in bytes where it says kB."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        parts = value.split()
        if parts and parts[0].isdigit():
            found[key] = int(parts[0]) * (_KIB if parts[-1] == "kB" else 1)
    return found


def numa_cells(folder: Path) -> list[Cell]:
    """The host's NUMA nodes with memory; empty where the kernel does not say."""
    cells = []
    for node in sorted(folder.glob("node[0-9]*"), key=lambda path: int(path.name[4:])):
        try:
            text = re.sub(r"^Node \d+ ", "", (node / "meminfo").read_text(), flags=re.MULTILINE)
            cpus = count_cpus((node / "cpulist").read_text())
        except OSError:
            continue
        memory = meminfo(text)
        total = memory.get("MemTotal", 0)
        if total:
            reclaimable = memory.get("FilePages", 0) + memory.get("SReclaimable", 0)
            used = max(0, total - memory.get("MemFree", 0) - reclaimable)
            cells.append(Cell(int(node.name[4:]), cpus, total, used))
    return cells


def count_cpus(cpulist: str) -> int:
    """`0-3,8` -> 5."""
    total = 0
    for part in cpulist.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            total += int(last or first) - int(first) + 1
    return total


def identities() -> list[str]:
    """By which another VIM that manages this machine can be recognised; the machine id only as a hash."""
    found = []
    uuid = _line("/sys/class/dmi/id/product_uuid")
    if uuid:
        found.append(f"smbios:{uuid.lower()}")
    machine_id = _line("/etc/machine-id")
    if machine_id:
        found.append("machine-id:" + hashlib.sha256(machine_id.encode()).hexdigest())
    return found


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _used(disk: os.statvfs_result) -> int:
    return (disk.f_blocks - disk.f_bavail) * disk.f_frsize
