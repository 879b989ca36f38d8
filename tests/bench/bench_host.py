"""A folder for one run, and the certainty that nothing of the run outlives it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from plugins.local.net import HostNetwork, ResourceKind
from plugins.local.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BASE = Path("/var/tmp")
PREFIX = "vnfm-bench-"
NETNS = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")
SHM = Path("/dev/shm")


class Workspace:
    """Where a run keeps everything; its name tells whose it is, so that the next run can clear up after a dead one.

    Names of a run: the folder, namespaces `vb<PID>-*`, control groups `vnfm-bench-<PID>/*`, and what managers below the
    folder have stamped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = int(folder.name.removeprefix(PREFIX).partition("-")[0])

    @classmethod
    def make(cls) -> Workspace:
        """For this process; what dead runs left is cleared first."""
        for old in BASE.glob(f"{PREFIX}*"):
            with contextlib.suppress(ValueError):
                space = cls(old)
                if not Path(f"/proc/{space.pid}").exists():
                    space.sweep()
        space = cls(Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=BASE)))
        os.environ["VNFM_BENCH_RUN"] = str(space.folder)  # by this our processes are known, whatever becomes of them
        os.environ["VNFM_MICROVM_TEMPLATES"] = str(space.templates)
        return space

    @property
    def templates(self) -> Path:
        """Saved guests of the microVM runtime: in memory, and large."""
        return SHM / self.folder.name

    @property
    def cgroup(self) -> str:
        """Above all groups that are made by hand."""
        return f"{PREFIX}{self.pid}"

    def netns(self, name: str) -> str:
        """A namespace's name."""
        return f"vb{self.pid}-{name}"

    def run_dirs(self) -> list[Path]:
        """Stamps of local VIMs and network libraries below the folder."""
        return [*self.folder.glob("*/state/vim/*/data/run"), *self.folder.glob("net*/run")]

    def standing(self) -> list[str]:
        """What is still there on the host, as text."""
        found = [f"namespace {p.name}" for p in self._namespaces()]
        found += [f"cgroup {p}" for p in self._cgroup_tops() if any(c.is_dir() for c in p.iterdir())]
        found += [f"process {pid} {_command_line(pid)[:120]}" for pid in self._processes()]
        found += [f"mount {p}" for p in self._mounts()]
        for run_dir in self.run_dirs():
            found += [f"{o.kind} {o.id}" for o in HostNetwork(run_dir).query()]
        return found

    def sweep(self) -> None:
        """Everything away by force, whatever state it is in; the folder too."""
        tops = self._cgroup_tops()
        end = time.monotonic() + 10
        while (pids := self._processes()) and time.monotonic() < end:
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for run_dir in self.run_dirs():
            network = HostNetwork(run_dir)
            for kind in (ResourceKind.PATH, ResourceKind.LINK, ResourceKind.NAMESPACE):
                for seen in network.query():
                    if seen.kind is kind:
                        network.terminate(seen.id, kind)
        for path in self._namespaces():
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)
        for point in sorted(self._mounts(), key=lambda p: -len(str(p))):
            subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)
        for top in tops:
            _remove_groups(top)
        shutil.rmtree(self.templates, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _namespaces(self) -> list[Path]:
        return sorted(NETNS.glob(f"vb{self.pid}-*"))

    def _cgroup_tops(self) -> list[Path]:
        names = [self.cgroup]
        names += [str(Path(Settings(run, run, "-").cgroup_of("a")).parent) for run in self.run_dirs()]
        roots = [CGROUPS, *(p for p in CGROUPS.iterdir() if p.is_dir())]
        return [root / name for root in roots for name in names if (root / name).is_dir()]

    def _processes(self) -> list[int]:
        """Those that name our folder in arguments or environment, or live in our control groups; not ourselves."""
        found = set()
        for top in self._cgroup_tops():
            for procs in top.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found |= {int(p) for p in procs.read_text().split()}
        needle = os.fsencode(str(self.folder))
        for pid in (int(n) for n in os.listdir("/proc") if n.isdigit()):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    if needle in Path(f"/proc/{pid}/{name}").read_bytes() and not _zombie(pid):
                        found.add(pid)
        return sorted(found - {os.getpid(), os.getppid()})

    def _mounts(self) -> list[Path]:
        points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return [Path(p) for p in points if p.startswith(f"{self.folder}/")]


@contextlib.contextmanager
def workspace() -> Iterator[Workspace]:
    """A run's folder; Ctrl-C and TERM end the run, and what they interrupt is cleared up before the process ends."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    space = Workspace.make()
    try:
        yield space
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        space.sweep()


def load() -> str:
    """The host's load, for the notes."""
    return f"{os.getloadavg()[0]:.2f}"


def pss_bytes(pid: int) -> int:
    """A process's proportional share of memory; 0 where it is gone."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        if found := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE):
            return int(found[1]) << 10
    return 0


def with_children(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in tasks.read_text().split():
                found += with_children(int(child))
    return found


def cpu_seconds(pid: int) -> tuple[float, float]:
    """(own, of its ended children)."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return (int(fields[11]) + int(fields[12])) / ticks, (int(fields[13]) + int(fields[14])) / ticks
    return 0.0, 0.0


def run_checked(*argv: str, text: str = "", timeout_s: float = 120) -> str:
    """A command that has to succeed; its stdout."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv[:6])}: {done.returncode}: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout


def python_environment() -> dict[str, str]:
    """So that a child runs this checkout's code."""
    paths = (os.environ.get("PYTHONPATH", ""), str(ROOT))
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def python() -> str:
    """The interpreter."""
    return sys.executable


def _zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _remove_groups(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        for _ in range(40):
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.025)
