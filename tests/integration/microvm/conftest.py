"""A real runtime on real guests: bundles, networks, and the proof that nothing is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
PREFIX = f"mvt{os.getpid()}"
APPLETS = (
    "sh ls cat echo ip ping sleep true false ps mount id "
    "hostname nc sysctl env wc dd kill chroot mkdir mknod rm grep yes head tr date od sync"
)
NEEDED = ("qemu-system-x86_64", "setpriv", "gcc", "ip", "busybox")


def _missing() -> str:
    if os.geteuid() != 0:
        return "microVM tests need root"
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"microVM tests need {', '.join(absent)}"
    if not list(Path("/boot").glob("vmlinuz-*")):
        return "microVM tests need a guest kernel in /boot (linux-image-cloud-amd64)"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.host)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def sh(*argv: str, check: bool = True, timeout: float = 60, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, **more)
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


@dataclass
class Runtime:
    """The program under test."""

    root: Path
    cache: Path
    known: list[str] = field(default_factory=list)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "plugins.microvm", "--root", str(self.root), "--cache", str(self.cache), *words]

    def __call__(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        return sh(*self.argv(*words), check=check, cwd=REPOSITORY, **more)

    def create(self, bundle: Path, name: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Create with files as standard streams, as a VIM would."""
        self.known.append(name)
        with open(bundle / "out", "wb") as out, open(bundle / "err", "wb") as err:
            done = subprocess.run(
                self.argv("create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=REPOSITORY,
                timeout=150,
                check=False,
            )
        text = (bundle / "err").read_text()
        assert not check or done.returncode == 0, text
        return subprocess.CompletedProcess(done.args, done.returncode, "", text)

    def up(self, bundle: Path, name: str) -> None:
        """Create and start."""
        self.create(bundle, name)
        self("start", name)

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("state", name).stdout)
        return found

    def exec(self, name: str, script: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return self("exec", name, "sh", "-c", script, **more)

    def wait_for(self, name: str, status: str, seconds: float = 15) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while (found := self.state(name))["status"] != status:
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


def traces() -> set[str]:
    """Everything of ours that can be seen on the host."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"VNFM_TEST_RUN={PREFIX}".encode() in (process / "environ").read_bytes()
            if marked and int(process.name) != os.getpid():
                found.add(f"process {process.name}: {(process / 'cmdline').read_bytes()[:200]!r}")
        except OSError:
            continue
    found |= {f"namespace {path}" for path in Path("/run/netns").glob(f"{PREFIX}*")}
    found |= {f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{PREFIX}*")}
    found |= {f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"{PREFIX}*")}
    mounts = Path("/proc/mounts").read_text().splitlines()
    found |= {f"mount {line}" for line in mounts if PREFIX in line}
    links = sh("ip", "-o", "link").stdout.splitlines()
    found |= {f"link {line}" for line in links if ": mvt" in line and PREFIX in line}
    return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared once; a cache given by the environment is used as it is."""
    given = os.environ.get("VNFM_MICROVM_CACHE")
    return Path(given) if given else tmp_path_factory.mktemp("microvm-cache")


@pytest.fixture(scope="session")
def templates() -> Iterator[Path]:
    """Our own folder for templates, since they stay in memory when a test is over."""
    place = Path(f"/dev/shm/{PREFIX}-templates")
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def runtime(tmp_path: Path, cache: Path, templates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setenv("VNFM_MICROVM_TEMPLATES", str(templates))
    # What our processes leave behind is known by this.
    monkeypatch.setenv("VNFM_TEST_RUN", PREFIX)
    made = Runtime(tmp_path / f"{PREFIX}-root", cache)
    yield made
    left = [name for name in made.known if (made.root / name).exists()]
    for name in left:
        made("delete", "--force", name)
    assert not made.root.exists() or list(made.root.iterdir()) == []
    end = time.monotonic() + 5
    while (found := traces()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not found


Bundler = Callable[..., Path]


def _digest(rootfs: Path) -> str:
    names = sorted(str(path.relative_to(rootfs)) for path in rootfs.rglob("*"))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundler:
    """Maker of bundles with busybox as root file system."""
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", rootfs / "bin" / "busybox")
    for applet in APPLETS.split():
        (rootfs / "bin" / applet).symlink_to("busybox")
    number = 0

    def make(*args: str, netns: str | None = None, **changes: Any) -> Path:
        nonlocal number
        number += 1
        folder = tmp_path / f"bundle{number}"
        folder.mkdir()
        if "rootfs" not in changes:
            # What is the same in all tests is archived, and booted, only once.
            given = changes.get("annotations", {})
            changes["annotations"] = {"vnfm.rootfs-digest": _digest(rootfs)} | given
        namespaces: list[dict[str, str]] = [{"type": "pid"}, {"type": "mount"}, {"type": "network"}]
        if netns:
            namespaces[2]["path"] = f"/run/netns/{netns}"
        capabilities = changes.pop("capabilities", ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_KILL"])
        kinds = ("bounding", "effective", "permitted")
        linux = {
            "namespaces": namespaces,
            "cgroupsPath": f"/{PREFIX}/nested/c{number}",
            "resources": changes.pop("resources", {}),
            "sysctl": changes.pop("sysctl", {}),
        } | changes.pop("linux", {})
        process = {
            "args": list(args) or ["sleep", "1000"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(kinds, capabilities),
        } | changes.pop("process", {})
        config = {
            "ociVersion": "1.0.2",
            "hostname": "guest",
            "root": {"path": str(changes.pop("rootfs", rootfs))},
            "process": process,
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
            ],
            "linux": linux,
        } | changes
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.fixture
def namespaces() -> Iterator[Callable[[str], str]]:
    """Maker of network namespaces."""
    made: list[str] = []

    def make(name: str) -> str:
        full = f"{PREFIX}{name}"
        sh("ip", "netns", "add", full)
        made.append(full)
        sh("ip", "-n", full, "link", "set", "lo", "up")
        return full

    yield make
    for name in made:
        sh("ip", "netns", "del", name)
