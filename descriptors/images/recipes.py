"""How each image is made, and of what: one recipe a VNF."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from descriptors.images import disk, oci
from descriptors.images.host import Host
from descriptors.images.tree import Tree

HERE = Path(__file__).parent
ROOTS = HERE / "roots"

# What the gateway loads, and when: at once, for a config drive on another bus, for its file system, when all runs.
MODULES: Mapping[str, tuple[str, ...]] = {
    "boot": ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console"),
    "cdrom": ("ata_piix", "ahci", "virtio_scsi", "sd_mod", "sr_mod", "usb_storage"),
    "iso9660": ("isofs",),
    "vfat": ("vfat", "nls_cp437", "nls_ascii"),
    "late": ("virtio_rng", "evdev", "button"),
}
COMMAND_LINE = "console=tty0 console=ttyS0,115200 quiet panic=-1 net.ifnames=0"


@dataclass(frozen=True, slots=True)
class Recipe:
    """`file` is the image's name in the package; `tools` is what the host must have; `key` and `make` may read it."""

    name: str
    file: str
    tools: tuple[str, ...]
    inputs: Callable[[Host], list[Path]]
    make: Callable[[Host, Path], bytes]

    def key(self, host: Host) -> str:
        """A digest of everything that the image is made of: host files, own files, this program."""
        digest = hashlib.sha256(self.name.encode())
        own = sorted([*HERE.glob("*.py"), *(p for p in (ROOTS / self.name).rglob("*") if p.is_file())])
        for path in [*own, *self.inputs(host)]:
            mode = path.stat().st_mode & 0o100
            digest.update(f"\0{path.name} {mode}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def _container_inputs(host: Host) -> list[Path]:
    nft = host.program("nft")
    return [host.program("busybox"), nft, *host.libraries(nft)]


def _container(name: str) -> Recipe:
    def make(host: Host, work: Path) -> bytes:
        root = Tree()
        for folder in ("dev", "proc", "sys", "run", "tmp", "etc"):
            root.folder(folder, 0o1777 if folder == "tmp" else 0o755)
        root.busybox(host)
        root.program(host, "nft", "sbin/nft")
        root.copy(ROOTS / name)
        return oci.archive(root, name, "1.0", ["/sbin/vnf"], {"PATH": "/sbin:/bin"})

    return Recipe(name, f"{name}.oci.tar", ("busybox", "nft"), _container_inputs, make)


def _gateway_inputs(host: Host) -> list[Path]:
    kernel = host.kernel()
    # The modules belong to the kernel: its package installs both, so that modules.dep stands for them.
    return [host.program("busybox"), host.program("syslinux"), kernel.image, kernel.modules / "modules.dep"]


def _gateway(host: Host, work: Path) -> bytes:
    root, kernel = Tree(), host.kernel()
    for folder in ("dev", "proc", "sys", "run", "tmp", "root"):
        root.folder(folder)
    root.busybox(host)
    root.copy(ROOTS / "gw")
    disk.add_modules(root, kernel, MODULES)
    return disk.qcow2(host, kernel.image.read_bytes(), root.cpio(), COMMAND_LINE, work)


RECIPES: Mapping[str, Recipe] = {
    "fw": _container("fw"),
    "rt": _container("rt"),
    "mon": _container("mon"),
    "gw": Recipe("gw", "gw.qcow2", ("busybox", "kernel", *disk.TOOLS), _gateway_inputs, _gateway),
}
