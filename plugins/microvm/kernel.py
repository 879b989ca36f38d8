"""The guest's kernel: which one of the host's packages, and its ELF image out of the compressed one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm.errors import RuntimeFailure

KERNEL_ENV = "VNFM_MICROVM_KERNEL"
_ELF = b"\x7fELF"
_FILTERS = {b"\x02!L\x18": ("lz4", "-dc"), b"\x28\xb5\x2f\xfd": ("zstd", "-dc")}


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel with its modules."""

    image: Path
    version: str
    modules: Path


def find_kernel(boot: Path = Path("/boot"), modules: Path = Path("/lib/modules")) -> Kernel:
    """The newest installed kernel that has its modules; Debian's cloud flavour first, since it boots fastest."""
    wanted = os.environ.get(KERNEL_ENV)
    images = [Path(wanted)] if wanted else list(boot.glob("vmlinuz-*"))
    found = []
    for image in images:
        version = image.name.removeprefix("vmlinuz-")
        if (modules / version / "modules.dep").exists() and image.exists():
            found.append(Kernel(image, version, modules / version))
    if not found:
        raise RuntimeFailure(
            f"no guest kernel: {wanted or boot / 'vmlinuz-*'} with its {modules}/VERSION/modules.dep is not there "
            "(Debian: linux-image-cloud-amd64)"
        )
    return max(found, key=lambda kernel: ("-cloud-" in kernel.version, _numbers(kernel.version)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def extract_elf(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage; booting that one spares the guest its own decompression."""
    if image[:4] == _ELF:
        return image
    if image[0x202:0x206] != b"HdrS":
        raise RuntimeFailure("the kernel image is neither ELF nor bzImage")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    elf = decompress(image[start : start + length])
    if elf[:4] != _ELF:
        raise RuntimeFailure("the kernel image holds no ELF kernel")
    return elf


def decompress(data: bytes) -> bytes:
    """Undo the compression that the first bytes tell; what is not compressed comes back as it is."""
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(data)
    if data[:3] == b"\x5d\0\0":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data)
    if data[:3] == b"BZh":
        return bz2.decompress(data)
    for magic, command in _FILTERS.items():
        if data.startswith(magic):
            try:
                # The size that the kernel's build appends makes the tools complain after the last good byte.
                done = subprocess.run(
                    command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
                )
                return done.stdout
            except FileNotFoundError:
                raise RuntimeFailure(f"{command[0]} is needed to unpack the guest kernel, and missing") from None
    return data
