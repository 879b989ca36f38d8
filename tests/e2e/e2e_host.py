"""What a manager leaves traces of on this host, looked at from outside and told from other managers' things.

Ours is what bears an id that the manager ever minted (all of them stand in its database before anything is made), what
lies below its state folder, what lives in its control groups or network namespaces, and what was started by it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from plugins.local.net import naming
from plugins.local.settings import Settings

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NETNS = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")
IDLE_FILES = re.compile(  # what a stopped manager keeps: its records, what it knows of the host, its log
    r"lock|vnfm\.sqlite(-wal|-shm)?|blobs(/.*)?|vim|vim/[^/]+|vim/[^/]+/plugin\.log|vim/[^/]+/data"
    r"|vim/[^/]+/data/accelerator\.json|vim/[^/]+/data/images(/.*)?|vim/[^/]+/sock|vim/[^/]+/plugin\.pid"
)


@dataclass(frozen=True)
class Standing:
    """What is there now, by kind."""

    namespaces: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    cgroups: frozenset[str] = frozenset()
    mounts: frozenset[str] = frozenset()
    processes: frozenset[str] = frozenset()
    run_files: frozenset[str] = frozenset()
    loose_files: frozenset[str] = frozenset()

    def told(self) -> list[str]:
        """Each thing as "kind name"."""
        return sorted(f"{kind}: {name}" for kind, names in vars(self).items() for name in names)


@dataclass
class Witness:
    """Looks at the host on behalf of one manager. `run_dir` holds the local VIM's stamps, `temp` is its TMPDIR."""

    state: Path
    run_dir: Path
    temp: Path
    _inodes: set[int] = field(default_factory=set)

    def standing(self, *, but: frozenset[int] = frozenset()) -> Standing:
        """All that is ours at this moment; processes in `but` (the manager's own) are passed over."""
        names = self.namespaces()
        self._inodes |= {inode for name in names if (inode := _inode(NETNS / name))}
        return Standing(
            namespaces=names,
            links=frozenset(self._links()),
            tables=frozenset(self._tables()),
            cgroups=frozenset(str(p) for p in self.cgroups()),
            mounts=frozenset(str(p) for p in mounts_below(self.state, self.run_dir)),
            processes=frozenset(describe(pid) for pid in self.processes() if pid not in but),
            run_files=frozenset(str(p) for p in self.run_dir.rglob("*") if not p.is_dir()),
            loose_files=frozenset(str(p) for p in self.temp.rglob("*")) if self.temp.exists() else frozenset(),
        )

    def nothing_stands(self, *, but: frozenset[int] = frozenset(), patience_s: float = 15.0) -> list[str]:
        """What is still there after the patience; [] where all is gone."""
        left: list[str] = []

        def gone() -> bool:
            nonlocal left
            left = self.standing(but=but).told()
            return not left

        wait_until(gone, patience_s)
        return left

    def strange_files(self) -> list[str]:
        """Files in the state folder that a stopped manager has no use for."""
        found = (str(p.relative_to(self.state)) for p in self.state.rglob("*"))
        return sorted(name for name in found if not IDLE_FILES.fullmatch(name))

    def ids(self) -> set[str]:
        """Every id that ever stood in the manager's database."""
        database = self.state / "vnfm.sqlite"
        if not database.exists():
            return set()
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
            names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
            rows = (row for name in names for row in connection.execute(f'select * from "{name}"'))
            return {found for row in rows for cell in row if isinstance(cell, str) for found in UUID.findall(cell)}

    def namespaces(self) -> frozenset[str]:
        """Names of namespaces on the host that belong to one of our ids."""
        makers = (naming.namespace_name, naming.fabric_name, naming.bridge_namespace_name)
        scope = Settings(self.run_dir, self.run_dir, "-").scope
        ours = {make(i) for one in self.ids() for i in (one, f"{one}.{scope}") for make in makers}
        return frozenset(name for name in _names(NETNS) if name in ours)

    def cgroups(self) -> Iterator[Path]:
        """Groups of ours in every hierarchy."""
        for top in self._cgroup_tops():
            yield from (Path(folder) for folder, _, _ in os.walk(top))

    def _cgroup_tops(self) -> list[Path]:
        """The group above all computes' groups, in each hierarchy that has it."""
        ours = Path(Settings(self.run_dir, self.run_dir, "-").cgroup_of("a")).parent
        return [root / ours for root in (CGROUPS, *_children(CGROUPS)) if (root / ours).is_dir()]

    def computes_in_cgroups(self) -> set[str]:
        """Which computes have a control group."""
        return {p.name for top in self._cgroup_tops() for p in _children(top) if p.is_dir()}

    def computes_stamped(self) -> set[str]:
        """Which computes have a stamp."""
        return {p.name for p in _children(self.run_dir / "computes")}

    def inhabitants(self, resource_id: str) -> list[int]:
        """Processes in the compute's control groups."""
        found: set[int] = set()
        for top in self._cgroup_tops():
            for procs in (top / resource_id).rglob("cgroup.procs"):
                with suppress(OSError):
                    found.update(int(pid) for pid in procs.read_text().split())
        return sorted(found)

    def processes(self) -> set[int]:
        """Processes that name our folders, sit in them, were started on them, or live in our groups or namespaces."""
        needles = [os.fsencode(str(p)) for p in (self.state, self.run_dir)]
        base = Settings(self.run_dir, self.run_dir, "-").cgroup_of("a").removesuffix("a").encode()
        family = _family(os.getpid())
        found = set()
        for pid in (int(n) for n in _names(Path("/proc")) if n.isdigit()):
            if pid not in family and _belongs(Path(f"/proc/{pid}"), needles, base, self._inodes):
                found.add(pid)
        return found

    def _links(self) -> Iterator[str]:
        ids = self.ids()
        for device in Path("/sys/class/net").iterdir():
            with suppress(OSError):
                alias = (device / "ifalias").read_text().split()
                if ids & set(alias):
                    yield device.name

    def _tables(self) -> Iterator[str]:
        nft = shutil.which("nft", path=f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}")
        if nft is None:
            return
        done = subprocess.run([nft, "-j", "list", "ruleset"], capture_output=True, text=True, check=False)
        ids = self.ids()
        for entry in json.loads(done.stdout or "{}").get("nftables", []):
            if ids & set(UUID.findall(json.dumps(entry))):
                yield json.dumps(entry)[:200]


def mounts_below(*folders: Path) -> list[Path]:
    """Mount points below the folders (the folders themselves may be mounted by a test)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if any(folder in point.parents for folder in folders):
            found.append(point)
    return found


def command_line(pid: int) -> list[str]:
    """A process's arguments; [] where it is gone."""
    with suppress(OSError):
        return [os.fsdecode(a) for a in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if a]
    return []


def parent(pid: int) -> int:
    """Its parent's pid; 0 where it is gone."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def describe(pid: int) -> str:
    """A process for a message."""
    return f"{pid} {' '.join(command_line(pid))[:160]}"


def wait_until(true: Callable[[], object], timeout_s: float, every_s: float = 0.05) -> bool:
    """Whether it came true in time; looked at once at least."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True


def _belongs(proc: Path, needles: list[bytes], base: bytes, namespaces: set[int]) -> bool:
    with suppress(OSError):
        if proc.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False  # it has ended; its parent has not asked yet
    for name in ("cmdline", "environ"):
        with suppress(OSError):
            content = (proc / name).read_bytes()
            if any(needle in content for needle in needles):
                return True
    with suppress(OSError):
        if base in (proc / "cgroup").read_bytes():
            return True
    with suppress(OSError):
        cwd = os.fsencode(os.readlink(proc / "cwd"))
        if any(cwd.startswith(needle) for needle in needles):
            return True
    return _inode(proc / "ns/net") in namespaces


def _inode(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_ino
    return 0


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return []


def _children(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder)]


def _family(pid: int) -> set[int]:
    family = set()
    while pid > 0:
        family.add(pid)
        pid = parent(pid)
    return family


def interfaces(namespace: str) -> list[str]:
    """Names of a namespace's interfaces but lo."""
    argv = ["ip", "-n", namespace, "-j", "link", "show"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [device["ifname"] for device in json.loads(done.stdout) if device["ifname"] != "lo"]
