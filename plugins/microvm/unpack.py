"""The ELF image out of a compressed kernel, and what else the host's packages have compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess

from plugins.microvm.errors import RuntimeFailure

_ELF = b"\x7fELF"
_FILTERS = {b"\x02!L\x18": ("lz4", "-dc"), b"\x28\xb5\x2f\xfd": ("zstd", "-dc")}


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
