"""Looks into a disk image's header: a qcow2 that names other files is an attack on the host's files."""

from __future__ import annotations

import struct
from pathlib import Path

from plugins.local.images.errors import ImageRefused

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQ")  # magic, version, backing offset, backing length, cluster bits, virtual size
_EXTERNAL_DATA = 1 << 2
_ENCRYPTION_OFFSET = 32
_INCOMPATIBLE_OFFSET = 72


def check_disk(path: Path, image_format: str, max_virtual_bytes: int) -> int:
    """The disk's virtual size. Refuses backing files, external data files, encryption and absurd sizes."""
    with path.open("rb") as stream:
        head = stream.read(104)
    if image_format == "raw":
        size = path.stat().st_size
    elif image_format == "qcow2":
        size = _check_qcow2(head)
    else:
        raise ImageRefused(f"unknown disk format {image_format!r}; expected qcow2 or raw")
    if size == 0 or size > max_virtual_bytes:
        raise ImageRefused(f"a disk of {size} bytes; expected 1 to {max_virtual_bytes}", "image-too-large")
    return size


def _check_qcow2(head: bytes) -> int:
    if len(head) < 72 or not head.startswith(_MAGIC):
        raise ImageRefused("not a qcow2 image: its header does not begin with QFI\\xfb")
    _, version, backing, _, cluster_bits, size = _HEADER.unpack_from(head)
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        raise ImageRefused(f"qcow2 version {version} with cluster bits {cluster_bits} is not supported")
    if backing:
        raise ImageRefused("the qcow2 image names a backing file; only self-contained images are taken")
    if int.from_bytes(head[_ENCRYPTION_OFFSET : _ENCRYPTION_OFFSET + 4], "big"):
        raise ImageRefused("the qcow2 image is encrypted")
    if version == 3:
        if len(head) < 104:
            raise ImageRefused("the qcow2 header is cut short")
        if int.from_bytes(head[_INCOMPATIBLE_OFFSET : _INCOMPATIBLE_OFFSET + 8], "big") & _EXTERNAL_DATA:
            raise ImageRefused("the qcow2 image names an external data file; only self-contained images are taken")
    return int(size)
