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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
        "loose file": frozenset(_loose_files()),
    }


@dataclass(frozen=True)
class Left:
    """What is there now and was not before, as "kind name": surely ours, or possibly another's on this host."""

    ours: list[str]
    others: list[str]


class Witness:
    """Looks at the host before, on the way and after. Ids seen on the way tell ours from others' things."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._before = footprint(state)
        self._namespaces: set[int] = set()
        self._ids: set[str] = set()

    @property
    def kinds(self) -> list[str]:
        """What is looked for."""
        return list(self._before)

    def look(self) -> None:
        """Remember what stands at this moment: the ids on the stamps, the namespaces one could hide in."""
        self._ids |= stamped_ids(self._state)
        self._namespaces |= _inodes(sorted(_named(self._ids, _namespaces())))

    def left_over(self, patience_s: float = 10.0) -> Left:
        """What is left; things that vanish within the patience do not count."""
        end = time.monotonic() + patience_s
        while True:
            self.look()
            left = self._left()
            if not left.ours or time.monotonic() > end:
                return left
            time.sleep(0.3)

    def _left(self) -> Left:
        now = footprint(self._state)
        fresh = {kind: sorted(names - self._before[kind]) for kind, names in now.items()}
        hidden = inhabitants(self._namespaces - _inodes(_namespaces()))
        ours = [f"process {pid} in a removed namespace" for pid in hidden]
        others = []
        for kind, names in fresh.items():
            known = _ours(kind, names, self._ids)
            ours += [f"{kind} {name}" for name in names if name in known]
            others += [f"{kind} {name}" for name in names if name not in known]
        return Left(ours, others)


def _ours(kind: str, names: Sequence[str], ids: set[str]) -> set[str]:
    """Those of `names` that carry an id of ours, or that only we can have made."""
    if kind == "network namespace":
        return _named(ids, names)
    if kind == "control group":
        keys = _keys(ids)
        return {name for name in names if keys & set(Path(name).parts)}
    if kind == "link":
        return {name for name in names if ids & set(name.split())}
    return set() if kind == "loose file" else set(names)


def _named(ids: set[str], names: Sequence[str]) -> set[str]:
    """Those network namespaces that bear the name of one of the ids."""
    if not ids or not names:
        return set()
    from plugins.local.net import naming

    makers = (naming.namespace_name, naming.fabric_name, naming.bridge_namespace_name)
    return {make(i) for make in makers for i in ids} & set(names)


def _keys(ids: set[str]) -> set[str]:
    """What computes' control groups are called."""
    if not ids:
        return set()
    from plugins.local.stamps import key_of

    return {key_of(i) for i in ids}


def _namespaces() -> list[str]:
    return [n.name for n in NETNS.iterdir() if n.name.startswith("vnfm-")] if NETNS.is_dir() else []


def _inodes(names: Sequence[str]) -> set[int]:
    """What tells network namespaces apart, also after their names are gone."""
    found = set()
    for name in names:
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
                yield f"{device.name} {alias.strip()}".strip()


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


def managers_of(state: Path) -> list[int]:
    """Those of them that are `vnfm serve` itself."""
    found = []
    for pid, _ in processes_of(state):
        with suppress(OSError):
            if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


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
    """Stamps and other run files below the state folder."""
    for run in state.glob("**/run"):
        yield from (str(p) for p in run.rglob("*") if not p.is_dir() and p.suffix != ".sock")


def _loose_files() -> Iterator[str]:
    """Where temporary things go; no telling whose they are."""
    for pattern in map(Path, LOOSE_FILES):
        yield from (str(path) for path in pattern.parent.glob(pattern.name))


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
    if ids:
        swept += [*_sweep_cgroups(ids), *(f"network namespace {name}" for name in _sweep_namespaces(ids))]
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
    ours = sorted(_named(ids, _namespaces()))
    for name in ours:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return ours


def _sweep_cgroups(ids: set[str]) -> list[str]:
    keys = _keys(ids)
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
