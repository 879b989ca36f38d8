"""A disk that boots by BIOS: one FAT volume with SYSLINUX, a kernel and an initramfs, packed as qcow2."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from descriptors.images.host import BuildError, Host, Kernel, run
from descriptors.images.tree import Tree

MIB = 1 << 20
LABEL = "VNF"
TOOLS = ("mkfs.vfat", "mcopy", "syslinux", "qemu-img")


def add_modules(root: Tree, kernel: Kernel, groups: Mapping[str, Sequence[str]]) -> None:
    """Add modules below modules/, and for each group a file that lists them in the order of loading.

    A group's name is its file's. A module that the kernel has built in is left out of the list.
    """
    depends = _depends(kernel)
    for group, names in groups.items():
        order: list[str] = []
        for name in names:
            path = depends.get(name, ("", ()))
            for file in (*reversed(path[1]), path[0]):
                base = file.rsplit("/", 1)[-1]
                if not file or base.replace("-", "_") in order:
                    continue
                order.append(base.replace("-", "_"))
                root.file(f"modules/{order[-1]}", (kernel.modules / file).read_bytes())
        root.file(f"modules/{group}", ("\n".join(order) + "\n").encode())


def _depends(kernel: Kernel) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By module name: its file and the files of what it depends on, nearest first (modules.dep)."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        file, _, needs = line.partition(":")
        if not file.endswith(".ko"):
            raise BuildError(f"{file}: a compressed module; expected plain ones as Debian 12 has them")
        found[file.rsplit("/", 1)[-1].removesuffix(".ko").replace("-", "_")] = (file, tuple(needs.split()))
    return found


def qcow2(host: Host, kernel: bytes, initramfs: bytes, command_line: str, work: Path) -> bytes:
    """The disk; `work` is a folder for what is in between."""
    loader = (
        f"default vnf\nprompt 0\ntimeout 0\nlabel vnf\n  kernel vmlinuz\n  initrd initrd\n  append {command_line}\n"
    )
    files = {"vmlinuz": kernel, "initrd": initramfs, "syslinux.cfg": loader.encode()}
    size = -(-(sum(map(len, files.values())) + 2 * MIB) // MIB) * MIB
    with tempfile.TemporaryDirectory(dir=work) as folder:
        raw, packed = Path(folder, "raw"), Path(folder, "qcow2")
        with raw.open("wb") as out:
            out.truncate(size)
        run([str(host.program("mkfs.vfat")), "--invariant", "-F", "16", "-s", "8", "-n", LABEL, str(raw)])
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
            run([str(host.program("mcopy")), "-i", str(raw), str(Path(folder, name)), f"::{name}"])
        run([str(host.program("syslinux")), "--install", str(raw)])
        with raw.open("r+b") as volume:
            head = bytearray(volume.read(512 * 1024))
            _clear_times(head)
            volume.seek(0)
            volume.write(head)
        convert = ["convert", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(packed)]
        run([str(host.program("qemu-img")), *convert])
        return packed.read_bytes()


def _clear_times(head: bytearray) -> None:
    """Set the times in the root folder of a FAT16 volume to a fixed one: nothing else depends on when it was built."""
    sector = int.from_bytes(head[11:13], "little")
    reserved = int.from_bytes(head[14:16], "little")
    tables, entries = head[16], int.from_bytes(head[17:19], "little")
    start = sector * (reserved + tables * int.from_bytes(head[22:24], "little"))
    for at in range(start, start + 32 * entries, 32):
        if head[at] == 0:
            return
        if head[at + 11] != 0x0F:  # not a part of a long name
            head[at + 13 : at + 20] = bytes(3) + b"\x21\x5c" + b"\x21\x5c"  # 2026-01-01
            head[at + 22 : at + 26] = bytes(2) + b"\x21\x5c"
