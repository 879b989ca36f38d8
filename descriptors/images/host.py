"""What is taken from this host: programs with their libraries, a kernel with its modules, tools to build with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES: Mapping[str, str] = {  # tool or file -> the Debian package that brings it
    "busybox": "busybox-static",
    "nft": "nftables",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "syslinux": "syslinux",
    "qemu-img": "qemu-utils",
    "kernel": "linux-image-cloud-amd64",
}
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BuildError(Exception):
    """An image cannot be built; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel and the folder of its modules."""

    image: Path
    modules: Path


@dataclass(frozen=True, slots=True)
class Host:
    """Where things are looked for; `root` holds boot/ and lib/modules/."""

    root: Path = Path("/")
    search: str = SEARCH
    known: dict[str, Path] = field(default_factory=dict, compare=False)

    def missing(self, tools: Sequence[str]) -> list[str]:
        """The Debian packages that are needed for these tools and not there."""
        gone = [tool for tool in tools if not (self.kernels() if tool == "kernel" else self._find(tool))]
        return sorted({PACKAGES[tool] for tool in gone})

    def program(self, name: str) -> Path:
        """The path of a program; BuildError where it is not there."""
        found = self._find(name)
        if found is None:
            package = PACKAGES.get(name, name)
            raise BuildError(f"{name} is not installed. Install it: apt-get install -y {package}")
        return found

    def _find(self, name: str) -> Path | None:
        if name not in self.known:
            found = shutil.which(name, path=self.search)
            if found is None:
                return None
            self.known[name] = Path(found)
        return self.known[name]

    def kernels(self) -> list[Kernel]:
        """Installed cloud kernels that have their modules, newest first."""
        found = []
        for image in (self.root / "boot").glob("vmlinuz-*-cloud-amd64"):
            modules = self.root / "lib/modules" / image.name.removeprefix("vmlinuz-")
            if (modules / "modules.dep").exists():
                found.append(Kernel(image, modules))
        return sorted(found, key=lambda k: [int(n) for n in re.findall(r"\d+", k.image.name)], reverse=True)

    def kernel(self) -> Kernel:
        """The newest cloud kernel; BuildError where there is none."""
        kernels = self.kernels()
        if not kernels:
            where = self.root / "boot"
            raise BuildError(f"no vmlinuz-*-cloud-amd64 in {where}. apt-get install -y {PACKAGES['kernel']}")
        return kernels[0]

    def libraries(self, program: Path) -> list[Path]:
        """The shared libraries of a dynamic program and its loader, as the loader itself resolves them."""
        loader = _interpreter(program)
        if not loader:
            return []
        text = run([loader, "--list", str(program)])
        paths = [Path(path) for path in re.findall(r"=> (/\S+) \(0x", text)]
        return sorted({*paths, Path(loader)})


def _interpreter(program: Path) -> str:
    """The loader that an ELF program names (PT_INTERP); empty for a static one."""
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        raise BuildError(f"{program} is no 64-bit ELF program")
    table, size, count = (
        int.from_bytes(data[32:40], "little"),
        int.from_bytes(data[54:56], "little"),
        int.from_bytes(data[56:58], "little"),
    )
    for header in (data[table + i * size : table + (i + 1) * size] for i in range(count)):
        if int.from_bytes(header[:4], "little") == 3:  # PT_INTERP
            offset, length = int.from_bytes(header[8:16], "little"), int.from_bytes(header[32:40], "little")
            return data[offset : offset + length].rstrip(b"\0").decode()
    return ""


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """Run a tool; its output, or BuildError with the last lines that it said."""
    environment = {"PATH": SEARCH, "LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    if "TMPDIR" in os.environ:
        environment["TMPDIR"] = os.environ["TMPDIR"]
    done = subprocess.run(list(command), cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise BuildError(f"{Path(command[0]).name} failed with {done.returncode}: {said}")
    return done.stdout
