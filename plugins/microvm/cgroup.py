"""The container's control group on the host: the relay and qemu live in it.

Version 1 (also beside an unused version 2, "hybrid") takes the folder in every hierarchy, as runc does; version 2 alone
takes one folder.  Folders that we make carry a mark, so that whoever leaves last removes the empty parents, too.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plugins.microvm.bundle import Resources
from plugins.microvm.errors import RuntimeFailure

MEMORY_OVERHEAD = 160 << 20
"""Added to the memory limit for qemu itself and the relay; see the README for how it was measured."""
PIDS_OVERHEAD = 64
"""Added to the limit of tasks for qemu's threads and the relay; the limit itself is kept inside the guest."""

_MARK = "trusted.vnfm.microvm"
_DEFAULT_PARENT = "/vnfm-microvm"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted cgroup hierarchy; version 2 has no controllers named here."""

    mountpoint: Path
    controllers: frozenset[str]
    version: int


def hierarchies(mountinfo: str) -> tuple[Hierarchy, ...]:
    """The hierarchies to use, from the text of /proc/self/mountinfo: all of version 1, else the one of version 2."""
    first: dict[frozenset[str], Hierarchy] = {}
    second: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        mountpoint = Path(fields[4].encode().decode("unicode_escape"))
        if kind[0] == "cgroup2":
            second.append(Hierarchy(mountpoint, frozenset(), 2))
        elif kind[0] == "cgroup":
            names = frozenset(kind[2].split(",")) - {"rw", "ro", "xattr", "clone_children"}
            first.setdefault(names, Hierarchy(mountpoint, names, 1))
    return tuple(first.values()) or tuple(second[:1])


def group_path(given: str, container: str) -> PurePosixPath:
    """The cgroup's path below each mount point, from OCI's cgroupsPath (also in systemd's slice:prefix:name form)."""
    if not given:
        return PurePosixPath(_DEFAULT_PARENT) / container
    if given.count(":") == 2:
        slice_name, prefix, name = given.split(":")
        return PurePosixPath("/", *_slices(slice_name or "system.slice"), f"{prefix}-{name}.scope" if prefix else name)
    path = PurePosixPath("/" + given.strip("/"))
    if ".." in path.parts or len(path.parts) < 2:
        raise RuntimeFailure(f"linux.cgroupsPath {given!r} is not usable")
    return path


def _slices(name: str) -> list[str]:
    """systemd nests a-b.slice in a.slice."""
    parts = name.removesuffix(".slice").split("-")
    return ["-".join(parts[: i + 1]) + ".slice" for i in range(len(parts))]


def folders(path: PurePosixPath) -> tuple[Path, ...]:
    """The container's folder in each hierarchy of this host."""
    mounted = hierarchies(Path("/proc/self/mountinfo").read_text())
    return tuple(hierarchy.mountpoint / path.relative_to("/") for hierarchy in mounted)


def create(path: PurePosixPath, resources: Resources, guest_memory: int) -> tuple[Path, ...]:
    """Make the folders and set the limits."""
    mounted = hierarchies(Path("/proc/self/mountinfo").read_text())
    for hierarchy in mounted:
        _make(hierarchy, path)
    for hierarchy in mounted:
        folder = hierarchy.mountpoint / path.relative_to("/")
        for name, value in limits(hierarchy, resources, guest_memory).items():
            try:
                (folder / name).write_text(value)
            except OSError as error:
                raise RuntimeFailure(f"cgroup {path}: {name} = {value}: {error.strerror}") from error
    return tuple(hierarchy.mountpoint / path.relative_to("/") for hierarchy in mounted)


def limits(hierarchy: Hierarchy, resources: Resources, guest_memory: int) -> dict[str, str]:
    """What to write where, in this order."""
    memory = None
    if resources.memory_limit is not None:
        memory = max(resources.memory_limit, guest_memory) + MEMORY_OVERHEAD
    pids = resources.pids_limit + PIDS_OVERHEAD if resources.pids_limit is not None else None
    period = resources.cpu_period or 100000
    wanted: dict[str, object | None]
    if hierarchy.version == 2:
        wanted = {
            "memory.max": memory,
            "pids.max": pids,
            "cpu.max": f"{resources.cpu_quota} {period}" if resources.cpu_quota else None,
            "cpu.weight": _weight(resources.cpu_shares) if resources.cpu_shares else None,
            "cpuset.cpus": resources.cpus,
            "cpuset.mems": resources.mems,
        }
        return {name: str(value) for name, value in wanted.items() if value is not None}
    wanted = {
        "memory.memory.limit_in_bytes": memory,
        "pids.pids.max": pids,
        "cpu.cpu.cfs_period_us": period if resources.cpu_quota else resources.cpu_period,
        "cpu.cpu.cfs_quota_us": resources.cpu_quota,
        "cpu.cpu.shares": resources.cpu_shares,
        "cpuset.cpuset.cpus": resources.cpus,
        "cpuset.cpuset.mems": resources.mems,
    }
    split = {name.partition(".")[::2]: value for name, value in wanted.items()}
    return {
        file: str(value)
        for (controller, file), value in split.items()
        if value is not None and controller in hierarchy.controllers
    }


def _weight(shares: int) -> int:
    """cpu.shares (2 to 262144) on version 2's scale (1 to 10000), as runc and crun map it."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _make(hierarchy: Hierarchy, path: PurePosixPath) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            folder = hierarchy.mountpoint
            for part in path.relative_to("/").parts:
                _make_one(hierarchy, folder, folder / part)
                folder = folder / part
            return
        except FileNotFoundError as error:
            # Another container's delete took an empty parent away under our feet.
            if attempt == _ATTEMPTS - 1:
                raise RuntimeFailure(f"cgroup {path}: {error.strerror}") from error
        except OSError as error:
            raise RuntimeFailure(f"cgroup {path}: {error.strerror}") from error


def _make_one(hierarchy: Hierarchy, parent: Path, folder: Path) -> None:
    if hierarchy.version == 2:
        _delegate(parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        # Without extended attributes (not the rule) parents are left behind; that is no reason not to start.
        with contextlib.suppress(OSError):
            os.setxattr(folder, _MARK, b"1")
    if "cpuset" in hierarchy.controllers:
        # Nothing may run in a fresh cpuset before it has CPUs and memory nodes.  Whoever made the folder may be about
        # to fill it in as well.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (folder / name).read_text().strip():
                (folder / name).write_text((parent / name).read_text())


def _delegate(folder: Path) -> None:
    """Version 2: let the children of a folder have the controllers that it has."""
    for name in (folder / "cgroup.controllers").read_text().split():
        if name in ("cpu", "cpuset", "memory", "pids"):
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{name}")


def members(path: PurePosixPath) -> list[int]:
    """Processes in the container's cgroup."""
    for folder in folders(path):
        with contextlib.suppress(OSError):
            return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    return []


def remove(path: PurePosixPath, patience: float = 5.0) -> None:
    """Remove the folders, and the parents that we made once they are empty; what has gone already is no error."""
    end = time.monotonic() + patience
    for folder in folders(path):
        while folder.exists():
            try:
                folder.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:
                # A process that was killed leaves its cgroup a moment later.
                if time.monotonic() > end:
                    raise RuntimeFailure(f"cgroup {folder}: {error.strerror}") from error
                time.sleep(0.01)
        for parent in list(folder.parents)[: len(path.parts) - 2]:
            if not _marked(parent):
                break
            with contextlib.suppress(OSError):
                parent.rmdir()


def _marked(folder: Path) -> bool:
    try:
        return os.getxattr(folder, _MARK) == b"1"
    except OSError:
        return False
