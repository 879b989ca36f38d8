"""How fast microVMs start and what they take: `python -m tests.integration.microvm.microvm_bench [N] [--cold]`.

`measure` is for other benchmarks as well.  It makes N guests from one busybox root file system, each in a network
namespace with one interface and an address, and removes them again.  Root is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
_SETTLE_SECONDS = 1.5


@dataclass(frozen=True)
class Guest:
    """One guest; times from the start of the command (create, start) or of qemu (agent ready, configured)."""

    cloned: bool
    why_cold: str
    create_ms: float
    start_ms: float
    agent_ready_ms: int
    configured_ms: int
    cpu_ms: int
    qemu_pss_bytes: int
    relay_pss_bytes: int


def measure(count: int, *, cold: bool = False, memory_bytes: int = 128 << 20, warm_up: bool = True) -> list[Guest]:
    """Start `count` guests one by one; memory is read once all are up. `warm_up`: a first one is not counted."""
    with _world(count + warm_up, cold, memory_bytes) as world:
        timed = [world.start(number) for number in range(count + warm_up)]
        if warm_up:
            world.delete(0)
        time.sleep(_SETTLE_SECONDS)
        return [world.look(number, *timed[number]) for number in range(int(warm_up), count + warm_up)]


@dataclass
class _World:
    folder: Path
    name: str
    environment: dict[str, str]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-S", "-m", "plugins.microvm", "--root", str(self.folder / "root"), *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            self.command(*words), env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr}")
        return done.stdout

    def start(self, number: int) -> tuple[float, float]:
        began = time.perf_counter()
        with open(self.folder / f"b{number}" / "out", "w+") as out:
            words = self.command("create", "--bundle", str(self.folder / f"b{number}"), f"g{number}")
            done = subprocess.run(
                words,
                env=self.environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
            )
            if done.returncode:
                out.seek(0)
                raise RuntimeError(out.read())
        created = time.perf_counter()
        self.run("start", f"g{number}")
        return (created - began) * 1000, (time.perf_counter() - created) * 1000

    def look(self, number: int, create_ms: float, start_ms: float) -> Guest:
        known = json.loads((self.folder / "root" / f"g{number}" / "state.json").read_text())
        return Guest(
            cloned=known["cloned"],
            why_cold=known["why_cold"],
            create_ms=create_ms,
            start_ms=start_ms,
            agent_ready_ms=known["boot_ms"],
            configured_ms=known["boot_ms"] + known["configure_ms"],
            cpu_ms=_cpu_ms(known["qemu_pid"]),
            qemu_pss_bytes=pss_bytes(known["qemu_pid"]),
            relay_pss_bytes=pss_bytes(known["pid"]),
        )

    def delete(self, number: int) -> None:
        self.run("delete", "--force", f"g{number}")


def pss_bytes(pid: int) -> int:
    """Memory of a process, shared pages by its share of them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def _cpu_ms(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


@contextmanager
def _world(count: int, cold: bool, memory_bytes: int) -> Iterator[_World]:
    name = f"mvb{os.getpid()}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    kept = ("VNFM_MICROVM_CACHE", "VNFM_MICROVM_TEMPLATES", "VNFM_MICROVM_KERNEL")
    environment |= {key: os.environ[key] for key in kept if key in os.environ}
    if cold:
        environment["VNFM_MICROVM_TEMPLATES"] = "off"
    namespaces = [f"{name}-{number}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix=name) as folder:
        world = _World(Path(folder), name, environment)
        try:
            _ip(f"netns add {name}")
            for number, namespace in enumerate(namespaces):
                _ip(f"netns add {namespace}")
                _ip(f"-n {name} link add p{number} type veth peer name left netns {namespace}")
                _ip(f"-n {namespace} addr add 10.9.{number}.2/24 dev left")
                _ip(f"-n {namespace} link set left up")
                _ip(f"-n {namespace} route add default via 10.9.{number}.1")
                _bundle(world, number, namespace, memory_bytes)
            yield world
        finally:
            for number in range(count):
                world.delete(number)
            for namespace in (name, *namespaces):
                subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def _bundle(world: _World, number: int, namespace: str, memory_bytes: int) -> None:
    rootfs, folder = world.folder / "rootfs", world.folder / f"b{number}"
    if not rootfs.exists():
        (rootfs / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "/bin/busybox", rootfs / "bin" / "busybox")
        for applet in ("sh", "sleep", "ip"):
            (rootfs / "bin" / applet).symlink_to("busybox")
    folder.mkdir()
    config = {
        "ociVersion": "1.0.2",
        "hostname": f"g{number}",
        "root": {"path": str(rootfs)},
        "annotations": {"vnfm.rootfs-digest": "microvm-bench-busybox"},
        "process": {"args": ["sleep", "100000"], "env": ["PATH=/bin"], "cwd": "/"},
        "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/dev", "type": "tmpfs"},
            {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": f"/run/netns/{namespace}"}],
            "cgroupsPath": f"/{world.name}/g{number}",
            "resources": {"memory": {"limit": memory_bytes}},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="boot instead of cloning")
    given = parser.parse_args()
    guests = measure(given.count, cold=given.cold)
    figures = {
        name: round(statistics.median(getattr(guest, name) for guest in guests))
        for name in ("create_ms", "start_ms", "agent_ready_ms", "configured_ms", "cpu_ms")
    }
    for name in ("qemu_pss_bytes", "relay_pss_bytes"):
        figures[name.replace("bytes", "mib")] = round(statistics.median(getattr(g, name) for g in guests) / (1 << 20))
    cloned = sum(guest.cloned for guest in guests)
    print(json.dumps({"guests": len(guests), "cloned": cloned, "load": os.getloadavg()[0], **figures}))


if __name__ == "__main__":
    main()
