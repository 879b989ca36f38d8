"""MicroVMs by the runtime's own command line: how long until the agent answers, and what memory each holds."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from contextlib import suppress
from typing import Any

from bench_host import CGROUPS, ROOT, Workspace, pss_bytes, python, python_environment, run_checked
from bench_manager import BenchError, rootfs_tree
from bench_rows import Bound, Row, Say, measured, skipped

READY, CREATE, PSS = "microvm_ready", "microvm_create", "microvm_pss"
READY_BOUND = Bound(0.6, 0.4, on="value")
PSS_BOUND = Bound(60, 40, on="value")
ROWS = ((READY, "s", READY_BOUND), (CREATE, "s", None), (PSS, "MiB", PSS_BOUND))
ROUNDS, LIVE = 8, 5
TEMPLATE_PATIENCE_S = 60.0
MIB = 1 << 20


def figure(space: Workspace, quick: bool, say: Say) -> list[Row]:
    """Seconds from qemu's start until the agent answers, by the runtime's own clock, and those of the whole `create`
    command around it, which ends once the guest is configured; MiB a microVM, five alive."""
    if missing := [n for n in ("qemu-system-x86_64", "setpriv", "gcc") if not shutil.which(n)]:
        why = f"this host lacks {', '.join(missing)}"
        return [skipped(name, unit, bound, why) for name, unit, bound in ROWS]
    runtime = _Runtime(space)
    try:
        runtime.call("prepare")
        warm = runtime.until_cloned(say)
        times: list[float] = []
        told: list[dict[str, Any]] = []
        for number in range(max(LIVE, 2 if quick else ROUNDS)):
            seconds, state = runtime.create(f"m{number}")
            times.append(seconds)
            told.append(state)
            if number >= LIVE:
                runtime.delete(f"m{number}")
        time.sleep(1)
        sizes = [runtime.pss(f"m{number}") / MIB for number in range(LIVE)]
    finally:
        runtime.delete_all()
    inner = [float(t["vnfm"]["bootMs"]) / 1e3 for t in told]
    say(
        f"{READY}: {statistics.median(inner):.2f} s, {warm}; the whole command {statistics.median(times):.2f} s; "
        f"{PSS}: {statistics.median(sizes):.1f} MiB"
    )
    return [
        measured(READY, "s", READY_BOUND, inner, f"{warm}; least {min(inner):.2f} s"),
        measured(CREATE, "s", None, times, f"the command with its own start-up; least {min(times):.2f} s"),
        measured(PSS, "MiB", PSS_BOUND, sizes, f"{warm}; qemu and relay, {LIVE} alive", decimals=1),
    ]


class _Runtime:
    """`vnfm-microvm` with a state folder of its own; the cache is the host's."""

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self._root = space.folder / "microvm"
        self._folder = space.folder / "guests"
        self._known: list[str] = []
        rootfs = self._folder / "rootfs"
        rootfs.mkdir(parents=True)
        archive = self._folder / "rootfs.tar"
        archive.write_bytes(rootfs_tree().tar())
        run_checked("tar", "-xf", str(archive), "-C", str(rootfs))
        self._rootfs = rootfs

    def call(self, *words: str, check: bool = True) -> str:
        """One command; its stdout."""
        argv = [python(), "-m", "plugins.microvm", "--root", str(self._root), *words]
        done = subprocess.run(
            argv, cwd=ROOT, env=python_environment(), capture_output=True, text=True, timeout=180, check=False
        )
        if check and done.returncode:
            raise BenchError(f"vnfm-microvm {' '.join(words)}: {done.returncode}: {done.stderr[-600:]}")
        return done.stdout

    def until_cloned(self, say: Say) -> str:
        """Boot once, so that what is made once is there; wait a while for a template where there are templates."""
        deadline = time.monotonic() + TEMPLATE_PATIENCE_S
        number = 0
        while True:
            name = f"w{number}"
            seconds, state = self.create(name)
            self.delete(name)
            how = origin(state)
            say(f"{READY}: warming up: {how or 'cold'}, {seconds:.2f} s")
            if how == "cloned" or not has_templates():
                return how or "cold: this runtime has no template clones"
            if time.monotonic() > deadline:
                return f"{how} (no template within {TEMPLATE_PATIENCE_S:.0f} s)"
            number += 1
            time.sleep(1)

    def create(self, name: str) -> tuple[float, dict[str, Any]]:
        """`create`, timed, and the state afterwards."""
        bundle = self._folder / name
        bundle.mkdir()
        namespace = self._space.netns(name)
        run_checked("ip", "netns", "add", namespace)
        self._known.append(name)
        lines = ["link set lo up", "link add eth0 type veth peer name far0", "addr add 10.77.0.2/24 dev eth0"]
        lines += ["link set eth0 up", "link set far0 up"]
        run_checked("ip", "-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")
        (bundle / "config.json").write_text(json.dumps(self._config(name, namespace)))
        argv = [python(), "-m", "plugins.microvm", "--root", str(self._root), "create", "--bundle", str(bundle)]
        with (bundle / "output.log").open("wb") as output:
            begun = time.perf_counter()
            done = subprocess.run(
                [*argv, "--pid-file", str(bundle / "pid"), name],
                cwd=ROOT,
                env=python_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=180,
                check=False,
            )
            took = time.perf_counter() - begun
        if done.returncode:
            raise BenchError(f"create: {(bundle / 'output.log').read_text(errors='replace')[-600:]}")
        self.call("start", name)
        return took, json.loads(self.call("state", name))

    def delete(self, name: str) -> None:
        """All of it."""
        self.call("delete", "--force", name, check=False)
        with suppress(RuntimeError):
            run_checked("ip", "netns", "del", self._space.netns(name))
        shutil.rmtree(self._folder / name, ignore_errors=True)
        self._known.remove(name)

    def delete_all(self) -> None:
        """What is still there."""
        for name in list(self._known):
            self.delete(name)

    def pss(self, name: str) -> int:
        """Bytes of its processes: those in its control group."""
        pids: set[int] = set()
        for procs in CGROUPS.rglob(f"{self._space.cgroup}/{name}/**/cgroup.procs"):
            with suppress(OSError):
                pids |= {int(p) for p in procs.read_text().split()}
        return sum(pss_bytes(pid) for pid in pids)

    def _config(self, name: str, namespace: str) -> dict[str, Any]:
        return {
            "ociVersion": "1.0.2",
            "hostname": name,
            "annotations": {},
            "root": {"path": str(self._rootfs)},
            "process": {
                "args": ["/bin/sleep", "100000"],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": {kind: ["CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted")},
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
            ],
            "linux": {
                "namespaces": [
                    *({"type": kind} for kind in ("pid", "mount")),
                    {"type": "network", "path": f"/run/netns/{namespace}"},
                ],
                "cgroupsPath": f"/{self._space.cgroup}/{name}",
                "resources": {"memory": {"limit": 128 * MIB}},
            },
        }


def has_templates() -> bool:
    """Whether this runtime knows template clones at all."""
    return (ROOT / "plugins/microvm/templates.py").exists()


def origin(state: dict[str, Any]) -> str:
    """ "cloned", or why the guest was booted cold."""
    told = state.get("vnfm", {})
    return "cloned" if told.get("cloned") else f"cold: {told['whyCold']}" if told.get("whyCold") else ""
