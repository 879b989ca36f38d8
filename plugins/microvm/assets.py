"""What every guest needs: kernel, agent, base archive.  Prepared once and kept in the cache."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm.cache import digest, once
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.kernel import Kernel, find_kernel
from plugins.microvm.modules import BOOT, ON_DEMAND

FORMAT = "1"
"""Changes with the layout of the base archive, so that old caches are not taken for new ones."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugins.microvm.cpio import Cpio

_SOURCES = Path(__file__).parent / "agent"


@dataclass(frozen=True, slots=True)
class Assets:
    """Files to boot a guest with; `key` names this very combination."""

    key: str
    kernel: Path
    base: Path
    version: str


def prepare_assets(cache: Path) -> Assets:
    """The assets for the host's newest kernel and this version of the agent."""
    kernel = find_kernel()
    sources = sorted(_SOURCES.glob("*.[ch]"))
    if not sources:
        raise RuntimeFailure(f"the agent's sources are missing in {_SOURCES}")
    info = kernel.image.stat()
    modules = (kernel.modules / "modules.dep").stat()
    key = digest(
        FORMAT,
        f"{kernel.image} {info.st_size} {info.st_mtime_ns} {modules.st_size} {modules.st_mtime_ns}",
        " ".join((*BOOT, "|", *ON_DEMAND)),
        *(source.read_bytes() for source in sources),
    )[:32]
    folder = once(cache / "assets" / key, lambda target: _make(target, kernel, sources))
    return Assets(key, folder / "vmlinux", folder / "base.cpio", kernel.version)


def _make(folder: Path, kernel: Kernel, sources: list[Path]) -> None:
    from plugins.microvm.cpio import Cpio
    from plugins.microvm.unpack import extract_elf

    folder.mkdir()
    (folder / "vmlinux").write_bytes(extract_elf(kernel.image.read_bytes()))
    _compile(folder / "agent", [source for source in sources if source.suffix == ".c"])
    with open(folder / "base.cpio", "wb") as out:
        archive = Cpio(out)
        _base(archive, (folder / "agent").read_bytes(), kernel)
        archive.close()


def _compile(target: Path, sources: list[Path]) -> None:
    import subprocess

    command = ["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-o", str(target), *map(str, sources)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeFailure("gcc is needed once, to compile the guest agent, and is not installed") from None
    if done.returncode:
        raise RuntimeFailure(f"compiling the guest agent failed: {done.stderr.strip()[-2000:]}")


def _base(archive: Cpio, agent: bytes, kernel: Kernel) -> None:
    from plugins.microvm.modules import choose_modules
    from plugins.microvm.unpack import decompress

    for name in ("dev", "proc", "sys", "cgroup", "container"):
        archive.folder(name)
    # The kernel opens this for PID 1 before anything is mounted.
    archive.node("dev/console", stat.S_IFCHR | 0o600, 5, 1)
    archive.file("init", agent, 0o755)
    archive.symlink("modprobe", "/init")
    modules = choose_modules(kernel.modules)
    for name, path in modules.files:
        archive.file(f"modules/{name}", decompress(path.read_bytes()))
    archive.file("modules/boot", modules.boot.encode())
    archive.file("modules/table", modules.table.encode())
