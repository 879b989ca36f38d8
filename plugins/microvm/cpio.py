"""Writer of cpio archives in the form that the kernel unpacks at boot (newc)."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20


@dataclass(slots=True)
class Cpio:
    """An archive being written to `out`; folders on the way to an entry are made where they are missing."""

    out: BinaryIO
    size: int = 0
    unpacked: int = 0
    _inode: int = 0
    _folders: set[str] = field(default_factory=set)

    def folder(self, name: str, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        """A folder; a second call for the same name does nothing."""
        name = name.strip("/")
        if not name or name in self._folders:
            return
        self.folder(os.path.dirname(name))
        self._folders.add(name)
        self._header(name, stat.S_IFDIR | mode, uid=uid, gid=gid, mtime=mtime)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file with the given bytes."""
        self.folder(os.path.dirname(name))
        self._header(name, stat.S_IFREG | mode, length=len(data))
        self._write(data)
        self._pad()

    def symlink(self, name: str, target: str) -> None:
        """A symbolic link."""
        self.folder(os.path.dirname(name))
        self._header(name, stat.S_IFLNK | 0o777, length=len(os.fsencode(target)))
        self._write(os.fsencode(target))
        self._pad()

    def node(self, name: str, mode: int, major: int, minor: int) -> None:
        """A device node; `mode` says which kind."""
        self.folder(os.path.dirname(name))
        self._header(name, mode, rdev=(major, minor))

    def tree(self, root: Path, prefix: str) -> None:
        """Everything below `root`, owners, modes, times and hard links kept, as `prefix/…`."""
        links: dict[tuple[int, int], int] = {}
        top = root.stat()
        self.folder(prefix, stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid, int(top.st_mtime))
        for folder, folders, files in os.walk(root):
            folders.sort()
            base = prefix + folder[len(str(root)) :]
            for name in sorted(folders + files):
                self._entry(f"{folder}/{name}", f"{base}/{name}", links)

    def close(self) -> None:
        """The end mark; another archive may follow in the same stream."""
        self._inode = -1
        self._header("TRAILER!!!", 0)
        self._write(b"\0" * (-self.size % 512))

    def _entry(self, path: str, name: str, links: dict[tuple[int, int], int]) -> None:
        info = os.lstat(path)
        mode, mtime = info.st_mode, int(info.st_mtime)
        if stat.S_ISDIR(mode):
            self.folder(name, stat.S_IMODE(mode), info.st_uid, info.st_gid, mtime)
        elif stat.S_ISLNK(mode):
            target = os.fsencode(os.readlink(path))
            self._header(name, mode, uid=info.st_uid, gid=info.st_gid, mtime=mtime, length=len(target))
            self._write(target)
            self._pad()
        elif stat.S_ISREG(mode):
            self._regular(path, name, info, links)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode):
            rdev = (os.major(info.st_rdev), os.minor(info.st_rdev))
            self._header(name, mode, uid=info.st_uid, gid=info.st_gid, mtime=mtime, rdev=rdev)

    def _regular(self, path: str, name: str, info: os.stat_result, links: dict[tuple[int, int], int]) -> None:
        inode = links.get((info.st_dev, info.st_ino))
        first = inode is None
        if inode is None and info.st_nlink > 1:
            inode = links[info.st_dev, info.st_ino] = self._inode + 1
        # The first name of a linked file carries its bytes; the kernel links the later ones to it by inode number.
        length = info.st_size if first else 0
        self._header(
            name,
            info.st_mode,
            uid=info.st_uid,
            gid=info.st_gid,
            mtime=int(info.st_mtime),
            length=length,
            links=min(info.st_nlink, 2),
            inode=inode,
        )
        if first:
            self._copy(path, length)
            self.unpacked += length
            self._pad()

    def _copy(self, path: str, length: int) -> None:
        with open(path, "rb") as source:
            while length:
                chunk = source.read(min(_CHUNK, length))
                if not chunk:
                    raise OSError(f"{path} became shorter while it was read")
                self._write(chunk)
                length -= len(chunk)

    def _header(
        self,
        name: str,
        mode: int,
        *,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        length: int = 0,
        links: int = 1,
        rdev: tuple[int, int] = (0, 0),
        inode: int | None = None,
    ) -> None:
        self._inode += 1
        raw = os.fsencode(name.strip("/")) + b"\0"
        numbers = (
            self._inode if inode is None else inode,
            mode,
            uid,
            gid,
            links,
            max(mtime, 0) & 0xFFFFFFFF,
            length,
            0,
            0,
            *rdev,
            len(raw),
            0,
        )
        self._write(b"070701" + b"".join(b"%08x" % number for number in numbers) + raw)
        self._pad()

    def _pad(self) -> None:
        self._write(b"\0" * (-self.size % 4))

    def _write(self, data: bytes) -> None:
        self.out.write(data)
        self.size += len(data)
