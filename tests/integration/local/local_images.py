"""Small images, made on the spot: a busybox root file system and hostile archives."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

APPLETS = "sh cat echo sleep true false ls id ip ping wc mkdir touch dd tail head grep ps kill hostname"


def busybox_rootfs() -> bytes:
    """/bin/busybox with links for its applets, and the few folders that programs expect."""
    program = shutil.which("busybox")
    assert program is not None
    folders = [folder(name) for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "root")]
    links = [link(f"bin/{name}", "busybox") for name in APPLETS.split()]
    passwd = file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n")
    return tar([*folders, (file("bin/busybox", Path(program).read_bytes(), 0o755)), *links, passwd])


Entry = tuple[tarfile.TarInfo, bytes]


def file(name: str, content: bytes, mode: int = 0o644) -> Entry:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content


def folder(name: str) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info, b""


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def special(name: str, kind: bytes) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, 8, 0
    return info, b""


def tar(entries: Iterable[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
