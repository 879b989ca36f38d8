"""What VNFs leave traces of on a host: looked at before and after, and swept after a demo that was broken off.

The check looks at the host itself, not at the manager's records. The sweep touches only what carries the stamp of
the demo's own state folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Footprint = Mapping[str, frozenset[str]]
NETNS = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")
LOOSE_FILES = ("/run/vnfm*", "/tmp/vnfm*", "/dev/shm/vnfm*")


def footprint(state: Path) -> Footprint:
    """Everything on this host that could be ours, by kind."""
    return {
        "network namespace": frozenset(_namespaces()),
        "link": frozenset(_links()),
        "nftables table": frozenset(_tables()),
        "control group": frozenset(_cgroups()),
        "mount": frozenset(str(m) for m in mounts_below(state)),
        "process": frozenset(f"{pid} {name}" for pid, name in processes_of(state)),
        "file": frozenset(_files(state)),
    }


def left_over(before: Footprint, state: Path, namespaces: set[int], patience_s: float = 10.0) -> list[str]:
    """What is there now and was not before, as "kind name"; things that vanish within the patience do not count.

    `namespaces` are the inodes of the network namespaces that were seen meanwhile: nobody may live in one that is gone.
    """
    end = time.monotonic() + patience_s
    while True:
        now = footprint(state)
        fresh = {kind: sorted(names - before.get(kind, frozenset())) for kind, names in now.items()}
        left = [f"{kind} {name}" for kind, names in fresh.items() for name in names]
        left += [f"process {pid} in a removed namespace" for pid in inhabitants(namespaces - namespace_inodes())]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.3)


def _namespaces() -> list[str]:
    return [n.name for n in NETNS.iterdir() if n.name.startswith("vnfm-")] if NETNS.is_dir() else []


def namespace_inodes() -> set[int]:
    """What tells our named network namespaces apart, also after their names are gone."""
    found = set()
    for name in _namespaces():
        with suppress(OSError):
            found.add((NETNS / name).stat().st_ino)
    return found


def inhabitants(namespaces: set[int]) -> list[int]:
    """Processes that live in one of these network namespaces."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/net").stat().st_ino in namespaces:
                found.append(int(entry.name))
    return sorted(found)


def _links() -> Iterator[str]:
    for device in Path("/sys/class/net").iterdir():
        with suppress(OSError):
            alias = (device / "ifalias").read_text()
            if device.name.startswith("vnfm") or alias.startswith("vnfm "):
                yield device.name


def _tables() -> list[str]:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    if nft is None:
        return []
    done = subprocess.run([nft, "-j", "list", "tables"], capture_output=True, text=True, check=False)
    try:
        entries = json.loads(done.stdout)["nftables"]
    except (ValueError, KeyError):
        return []
    names = (f"{e['table']['family']} {e['table']['name']}" for e in entries if "table" in e)
    return [name for name in names if name.split()[1].startswith("vnfm")]


def _cgroups() -> Iterator[str]:
    """Groups below those named vnfm* in any hierarchy, and such a parent itself once it is empty."""
    for top in [*CGROUPS.glob("vnfm*"), *CGROUPS.glob("*/vnfm*")]:
        below = [str(Path(folder) / name) for folder, names, _ in os.walk(top) for name in names]
        yield from below or [str(top)]


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below the folder, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point == folder or folder in point.parents:
            found.append(point)
    return sorted(found, key=lambda p: len(str(p)), reverse=True)


def processes_of(state: Path) -> list[tuple[int, str]]:
    """(pid, name) of processes whose command line names the state folder; not this one nor its parents."""
    family = _family(os.getpid())
    needle = os.fsencode(str(state))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in family:
            continue
        with suppress(OSError):
            if needle in (entry / "cmdline").read_bytes():
                found.append((int(entry.name), (entry / "comm").read_text().strip()))
    return sorted(found)


def _family(pid: int) -> set[int]:
    family = {pid}
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        family.add(pid)
    return family


def _files(state: Path) -> Iterator[str]:
    """Stamps and run files below the state folder, and loose files where temporary things go."""
    for run in state.glob("**/run"):
        yield from (str(p) for p in run.rglob("*") if not p.is_dir() and p.suffix != ".sock")
    for pattern in LOOSE_FILES:
        root = Path(pattern)
        yield from (str(p) for p in root.parent.glob(root.name))


def stamped_ids(state: Path) -> set[str]:
    """Every id that the stamps below the state folder mention."""
    found: set[str] = set()
    for path in state.glob("**/run/**/*.json"):
        found.add(path.stem)
        with suppress(OSError, ValueError):
            found.update(_texts(json.loads(path.read_text())))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def sweep(state: Path) -> list[str]:
    """Take away what a broken demo left, by its stamps; what was taken away, as "kind name"."""
    swept = [f"process {pid} {name}" for pid, name in _killed(state)]
    ids = stamped_ids(state)
    swept += _sweep_cgroups(ids)
    for name in _sweep_namespaces(ids):
        swept.append(f"network namespace {name}")
    for point in mounts_below(state):
        subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)
        swept.append(f"mount {point}")
    if state.exists() and not mounts_below(state):
        shutil.rmtree(state)
        swept.append(f"folder {state}")
    return swept


def _killed(state: Path) -> list[tuple[int, str]]:
    found = processes_of(state)
    for pid, _ in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while processes_of(state) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _sweep_namespaces(ids: set[str]) -> list[str]:
    from plugins.local.net import naming

    makers = (naming.namespace_name, naming.fabric_name, naming.bridge_namespace_name)
    wanted = {make(i) for make in makers for i in ids}
    ours = sorted(wanted & set(_namespaces()))
    for name in ours:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return ours


def _sweep_cgroups(ids: set[str]) -> list[str]:
    from plugins.local.stamps import key_of

    keys = {key_of(i) for i in ids}
    swept = []
    for path in sorted((Path(p) for p in _cgroups()), key=lambda p: len(p.parts), reverse=True):
        if not keys & set(path.parts):
            continue
        for _ in range(100):
            with suppress(OSError):
                for pid in (path / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                path.rmdir()
            if not path.exists():
                swept.append(f"control group {path}")
                break
            time.sleep(0.05)
    return swept
