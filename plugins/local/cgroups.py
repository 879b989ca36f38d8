"""Control groups of this host: version 1, hybrid or version 2, found out at run time.

Every compute has a group `<base>/<key>` with its limits; runtimes put their containers below it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_PERIOD_US = 100_000
_MIN_QUOTA_US = 1_000
_LIMITED = ("memory", "cpu", "pids")
VNF_OOM_SCORE = 500
_PARENT_LEVELS = 2
_PARENT_SHARES = min(4096 * (os.cpu_count() or 1), 102_400)  # a weight of 10,000 by version 2, which is its most
_USED = (*_LIMITED, "cpuacct")
_UNLIMITED_BYTES = 1 << 62
_NOWHERE = Path("/nonexistent")


class Mode(StrEnum):
    """How cgroups are mounted."""

    V1 = "v1"
    HYBRID = "hybrid"  # v1 controllers beside a cgroup2 mount
    V2 = "v2"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use; 0 is no limit."""

    memory_bytes: int = 0
    cpu_milli: int = 0
    pids: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group uses. Memory is counted without files that were read long ago: the kernel takes that back first.

    A limit of 0 is none.
    """

    cpu_ns: int
    memory_bytes: int
    memory_limit_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where the controllers are. `mounts`: controller -> mount point in v1; all controllers -> one in v2.

    `unified` is the cgroup2 mount of a hybrid host; `unified_owns` says that it holds controllers of its own.
    """

    mode: Mode
    mounts: Mapping[str, Path]
    unified: Path | None = None
    unified_owns: bool = False

    def folders(self, path: str) -> list[Path]:
        """The group's folder in every hierarchy, whether it exists or not."""
        found = dict.fromkeys(self.mounts.values())
        if self.unified is not None:
            found[self.unified] = None
        return [mount / path.strip("/") for mount in found]

    def missing(self) -> list[str]:
        """Controllers that limits need and that are not there."""
        return [name for name in _LIMITED if name not in self.mounts]

    def create(self, path: str, limits: Limits) -> None:
        """Makes the group and sets its limits; an existing one gets the limits anew."""
        if self.mode is Mode.V2:
            self._create_v2(path, limits)
            return
        for name in _USED:
            if name in self.mounts:
                folder = self.mounts[name] / path.strip("/")
                folder.mkdir(parents=True, exist_ok=True)
                if name in _LIMITED:
                    _limit_v1(name, folder, limits)
        if "cpu" in self.mounts:
            for parent in self._parents(self.mounts["cpu"], path):
                _set(parent / "cpu.shares", str(_PARENT_SHARES), optional=True)

    @staticmethod
    def _parents(mount: Path, path: str) -> list[Path]:
        """Of the computes' groups: what all of them together weigh against everything else on the host.

        Each keeps to its own limit. But if all of them weighed as little as one process outside, one that uses all of
        its limit would take that from its neighbours, wherever anything else is busy.
        """
        parts = path.strip("/").split("/")
        return [mount.joinpath(*parts[:depth]) for depth in range(1, min(len(parts), _PARENT_LEVELS + 1))]

    def _create_v2(self, path: str, limits: Limits) -> None:
        folder = self.mounts["memory"]
        for part in path.strip("/").split("/"):
            for name in _LIMITED:
                with suppress(OSError):  # a controller already on, or the root's own processes in the way
                    (folder / "cgroup.subtree_control").write_text(f"+{name}")
            folder = folder / part
            folder.mkdir(exist_ok=True)
        for name in _LIMITED:
            with suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{name}")
        for parent in self._parents(self.mounts["memory"], path):
            _set(parent / "cpu.weight", str(_PARENT_SHARES * 100 // 1024), optional=True)
        _set(folder / "memory.max", str(limits.memory_bytes or "max"))
        _set(folder / "memory.swap.max", "0" if limits.memory_bytes else "max", optional=True)
        # What is out of memory goes as a whole: half of it alive would be no use, and would not be healed.
        _set(folder / "memory.oom.group", "1" if limits.memory_bytes else "0", optional=True)
        quota = max(limits.cpu_milli * _PERIOD_US // 1000, _MIN_QUOTA_US) if limits.cpu_milli else "max"
        _set(folder / "cpu.max", f"{quota} {_PERIOD_US}")
        weight = max(1, min(10_000, limits.cpu_milli // 10)) if limits.cpu_milli else 100
        _set(folder / "cpu.weight", str(weight), optional=True)
        _set(folder / "pids.max", str(limits.pids or "max"))

    def enter(self, path: str, pid: int) -> None:
        """Moves a process into the group in every hierarchy where the group exists."""
        for folder in self.folders(path):
            if folder.is_dir():
                _set(folder / "cgroup.procs", str(pid))

    def processes(self, path: str) -> set[int]:
        """All pids in the group and below it."""
        found: set[int] = set()
        for folder in self.folders(path):
            for group in _groups_below(folder):
                with suppress(OSError):
                    found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
        return found

    def first_to_go(self, path: str) -> None:
        """Where the whole host runs out of memory, what is in the group goes before what manages it."""
        for pid in self.processes(path):
            with suppress(OSError):
                Path(f"/proc/{pid}/oom_score_adj").write_text(str(VNF_OOM_SCORE))

    def kill(self, path: str, timeout_seconds: float = 10) -> bool:
        """SIGKILL to everything inside, frozen or not, until it is empty; whether it is."""
        deadline = time.monotonic() + timeout_seconds
        while pids := self.processes(path):
            self._thaw(path)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _thaw(self, path: str) -> None:
        for folder in self.folders(path):
            for group in _groups_below(folder):
                for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                    if (group / name).exists():
                        _set(group / name, value, optional=True)

    def remove(self, path: str, timeout_seconds: float = 5) -> None:
        """Removes the group, what is below it, and the parents that this leaves empty (up to the mount)."""
        for folder in self.folders(path):
            deadline = time.monotonic() + timeout_seconds
            for group in reversed(list(_groups_below(folder))):
                while not _removed(group) and time.monotonic() < deadline:
                    time.sleep(0.01)
        for folder in self.folders(str(Path(path.strip("/")).parent)):
            mounts = {*self.mounts.values(), self.unified}
            while folder not in mounts and folder.is_dir() and _removed(folder):
                folder = folder.parent

    def memory_bytes(self, path: str) -> int:
        """What the group uses now, page cache included; 0 where it is not there."""
        mount = self.mounts.get("memory")
        if mount is None:
            return 0
        name = "memory.current" if self.mode is Mode.V2 else "memory.usage_in_bytes"
        return _number(mount / path.strip("/") / name)

    def usage(self, path: str) -> Usage | None:
        """What the group and all below it use now; None where it is not there. It is asked for often: no detours."""
        group = path.strip("/")
        mount = self.mounts.get("memory")
        if mount is None or not os.path.isdir(f"{mount}/{group}"):
            return None
        return self._usage_v2(f"{mount}/{group}") if self.mode is Mode.V2 else self._usage_v1(group)

    def _usage_v1(self, path: str) -> Usage:
        memory, cpu, pids = (f"{self.mounts.get(name, _NOWHERE)}/{path}" for name in ("memory", "cpuacct", "pids"))
        limit = _read_number(f"{memory}/memory.limit_in_bytes")
        used = _read_number(f"{memory}/memory.usage_in_bytes")
        return Usage(
            cpu_ns=_read_number(f"{cpu}/cpuacct.usage"),
            memory_bytes=max(0, used - _read_row(f"{memory}/memory.stat", b"total_inactive_file")),
            memory_limit_bytes=0 if limit >= _UNLIMITED_BYTES else limit,
            processes=_processes_below(pids),
        )

    @staticmethod
    def _usage_v2(folder: str) -> Usage:
        inactive = _read_row(f"{folder}/memory.stat", b"inactive_file")
        return Usage(
            cpu_ns=1000 * _read_row(f"{folder}/cpu.stat", b"usage_usec"),
            memory_bytes=max(0, _read_number(f"{folder}/memory.current") - inactive),
            memory_limit_bytes=_read_number(f"{folder}/memory.max"),
            processes=_processes_below(folder),
        )

    def out_of_memory_kills(self, path: str) -> int:
        """How often the kernel killed something in the group, or below it, for its memory limit."""
        mount = self.mounts.get("memory")
        if mount is None:
            return 0
        name = "memory.events" if self.mode is Mode.V2 else "memory.oom_control"
        total = 0
        for group in _groups_below(mount / path.strip("/")):
            with suppress(OSError):
                lines = dict(line.split(maxsplit=1) for line in (group / name).read_text().splitlines())
                count = int(lines.get("oom_kill", "0"))
                total = max(total, count) if self.mode is Mode.V2 else total + count
        return total


def detect(mounts: str, read_controllers: Path | None = None) -> Hierarchy:
    """From the text of /proc/self/mounts. A cgroup2 mount beside v1 ones is looked into for controllers of its own."""
    first: dict[str, Path] = {}
    unified: Path | None = None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        where = Path(fields[1].encode().decode("unicode_escape"))
        if fields[2] == "cgroup":
            for option in fields[3].split(","):
                if option not in ("rw", "relatime", "nosuid", "nodev", "noexec", "xattr", "ro"):
                    first.setdefault(option, where)
        elif fields[2] == "cgroup2":
            unified = unified or where
    listing = read_controllers or (unified / "cgroup.controllers" if unified is not None else None)
    owned: list[str] = []
    if listing is not None:
        with suppress(OSError):
            owned = listing.read_text().split()
    if first:
        return Hierarchy(Mode.HYBRID if unified else Mode.V1, first, unified, bool(owned))
    if unified is not None:
        return Hierarchy(Mode.V2, dict.fromkeys(owned, unified))
    return Hierarchy(Mode.NONE, {})


def detect_here() -> Hierarchy:
    """This host's."""
    return detect(Path("/proc/self/mounts").read_text())


def _limit_v1(name: str, folder: Path, limits: Limits) -> None:
    if name == "memory":
        limit = str(limits.memory_bytes or -1)
        swap = folder / "memory.memsw.limit_in_bytes"
        # The limit with swap must never be below the one without: the order depends on which way it moves.
        with suppress(OSError):
            (folder / "memory.limit_in_bytes").write_text(limit)
        _set(swap, limit, optional=True)
        _set(folder / "memory.limit_in_bytes", limit)
    elif name == "cpu":
        quota = max(limits.cpu_milli * _PERIOD_US // 1000, _MIN_QUOTA_US) if limits.cpu_milli else -1
        _set(folder / "cpu.cfs_period_us", str(_PERIOD_US))
        _set(folder / "cpu.cfs_quota_us", str(quota))
        if limits.cpu_milli:
            _set(folder / "cpu.shares", str(max(2, limits.cpu_milli * 1024 // 1000)))
    else:
        _set(folder / "pids.max", str(limits.pids or "max"))


def _set(path: Path, value: str, optional: bool = False) -> None:
    try:
        path.write_text(value)
    except OSError:
        if not optional:
            raise


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _read_number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _read_row(path: str, key: bytes) -> int:
    """The number beside a key in a table of such."""
    text = b"\n" + _read(path)
    at = text.find(b"\n" + key + b" ")
    return int(text[at + len(key) + 2 :].split(b"\n", 1)[0]) if at >= 0 else 0


def _processes_below(folder: str) -> int:
    total = _read(f"{folder}/cgroup.procs").count(b"\n")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += _processes_below(entry.path)
    return total


def _groups_below(folder: Path) -> Iterator[Path]:
    """The group and all below it, parents first. A group's folder holds dozens of files: they are not looked at."""
    if folder.is_dir():
        for path, children, _ in os.walk(folder):
            yield Path(path)
            children.sort()


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
