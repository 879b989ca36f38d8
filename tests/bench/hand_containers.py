"""Bare crun containers, each in a namespace made by `ip netns add`: no manager, no daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from bench_host import CGROUPS, Workspace, python, python_environment, run_checked
from bench_manager import VNF_MEMORY_MIB, BenchError, rootfs_tree

CAPABILITIES = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_CHOWN", "CAP_KILL"]


def hidden(argv: list[str]) -> list[str]:
    """crun refuses a hybrid host whose cgroup2 mount owns controllers: there all of it runs in a mount namespace that
    has none. What `ip netns add` makes inside is seen outside all the same."""
    unified = CGROUPS / "unified"
    controllers = unified / "cgroup.controllers"
    if not (unified.is_mount() and controllers.exists() and controllers.read_text().strip()):
        return argv
    hide = 'umount "$1" && shift && exec "$@"'
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", hide, "sh", str(unified), *argv]


class BareContainers:
    """Starts and removes so many at a time, in a process of its own: this file, run as a program."""

    def __init__(self, space: Workspace, parallel: int) -> None:
        folder = space.folder / "bare"
        _unpack(folder / "rootfs")
        argv = hidden([python(), __file__, str(space.folder), str(parallel)])
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=python_environment()
        )

    def start(self, count: int, round_number: int) -> float:
        """Seconds until all of them run their program."""
        return float(self._ask("start", str(count), str(round_number)))

    def remove(self) -> None:
        """All of them away."""
        self._ask("remove")

    def close(self) -> None:
        """The process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _ask(self, *words: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise BenchError("the bare containers could not be started: see above")
        return answer


class _Hand:
    """What the process does."""

    def __init__(self, space: Workspace, parallel: int) -> None:
        self._space = space
        self._pool = ThreadPoolExecutor(parallel)
        self._folder = space.folder / "bare"
        self._rootfs = self._folder / "rootfs"
        self._crun = ["crun", "--cgroup-manager=cgroupfs", "--root", str(self._folder / "crun")]
        self._live: list[str] = []

    def start(self, count: int, round_number: int) -> float:
        self._live = [f"b{round_number}-{i}" for i in range(count)]
        begun = time.perf_counter()
        list(self._pool.map(self._start, self._live))
        return time.perf_counter() - begun

    def remove(self) -> None:
        list(self._pool.map(self._remove, self._live))
        self._live = []

    def _start(self, name: str) -> None:
        namespace = self._space.netns(name)
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        bundle = self._folder / "bundles" / name
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(self._config(name, namespace)))
        with (bundle / "output.log").open("wb") as output:  # a file: the container keeps it
            subprocess.run(
                [*self._crun, "run", "--detach", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
            )
        pid = int((bundle / "pid").read_text())
        while not os.readlink(f"/proc/{pid}/exe").endswith("busybox"):  # crun may be back before the exec
            time.sleep(0.001)

    def _remove(self, name: str) -> None:
        subprocess.run([*self._crun, "delete", "--force", name], check=False, capture_output=True)
        run_checked("ip", "netns", "del", self._space.netns(name))
        shutil.rmtree(self._folder / "bundles" / name, ignore_errors=True)

    def _config(self, name: str, namespace: str) -> dict[str, object]:
        kinds: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
        return {
            "ociVersion": "1.0.2",
            "hostname": name,
            "root": {"path": str(self._rootfs), "readonly": True},
            "process": {
                "terminal": False,
                "user": {"uid": 0, "gid": 0},
                "cwd": "/",
                "noNewPrivileges": True,
                "args": ["/bin/sleep", "100000"],
                "env": ["PATH=/bin"],
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {
                    "destination": "/dev/pts",
                    "type": "devpts",
                    "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666"],
                },
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {
                "namespaces": [*kinds, {"type": "network", "path": f"/run/netns/{namespace}"}],
                "cgroupsPath": f"/{self._space.cgroup}/{name}",
                "resources": {"memory": {"limit": VNF_MEMORY_MIB << 20}, "pids": {"limit": 64}},
            },
        }


def _unpack(rootfs: Path) -> None:
    """The same root file system that the packages' image holds."""
    rootfs.mkdir(parents=True, exist_ok=True)
    archive = rootfs.parent / "rootfs.tar"
    archive.write_bytes(rootfs_tree().tar())
    run_checked("tar", "-xf", str(archive), "-C", str(rootfs))
    with suppress(OSError):
        archive.unlink()


def _serve(folder: Path, parallel: int) -> None:
    hand = _Hand(Workspace(folder), parallel)
    for line in sys.stdin:
        verb, *numbers = line.split()
        if verb == "start":
            seconds = hand.start(*(int(n) for n in numbers))
            print(seconds, flush=True)
        else:
            hand.remove()
            print("removed", flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
