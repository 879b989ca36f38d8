"""The image that the emulated host boots: the sample images' way of making a disk, with a root of its own."""

from __future__ import annotations

import os
from pathlib import Path

from descriptors.images import disk
from descriptors.images.host import Host
from descriptors.images.tree import Tree

from .lab import Lab

ROOT = Path(__file__).parent / "guest"
MODULES = {
    "boot": ("virtio_pci", "virtio_blk", "virtio_net"),
    "drive": ("ata_piix", "ahci", "sr_mod", "isofs", "vfat", "nls_cp437", "nls_ascii"),
    "late": ("virtio_rng",),
}
COMMAND_LINE = "console=tty0 console=ttyS0,115200 quiet panic=5 net.ifnames=0"


def guest_image(lab: Lab) -> Path:
    """The qcow2, about 12 MB; made once a lab."""
    path = lab.data("guest", "lab-guest.qcow2")
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    host, root = Host(), Tree()
    kernel = host.kernel()
    for folder in ("dev", "proc", "sys", "run", "tmp", "root", "www", "drive", "etc"):
        root.folder(folder)
    root.busybox(host)
    root.copy(ROOT)
    disk.add_modules(root, kernel, MODULES)
    new = path.with_suffix(".new")
    new.write_bytes(disk.qcow2(host, kernel.image.read_bytes(), root.cpio(), COMMAND_LINE, path.parent))
    os.replace(new, path)
    return path
