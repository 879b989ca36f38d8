"""Applies tar layers to a root folder without ever leaving it.

Every path is resolved by the kernel with openat2(RESOLVE_IN_ROOT): links inside the tree are followed as they will be
inside the container, never on the host. The last component is never followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Protocol, cast

from plugins.local.images.errors import ImageRefused

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_SYS_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02
_AT_SYMLINK_NOFOLLOW = 0x100
_COPY_BYTES = 1 << 20
_XATTR_PREFIX = "SCHILY.xattr."
_XATTRS_KEPT = ("security.capability",)

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root_fd: int, path: str, flags: int) -> int:
    """Opens `path` as a process chrooted to `root_fd` would see it; the caller closes the descriptor."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    fd = _libc.syscall(_SYS_OPENAT2, root_fd, os.fsencode(path or "."), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return int(fd)


class Readable(Protocol):
    """A stream that is read forward only."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may grow to before it counts as an attack."""

    unpacked_bytes: int = 16 << 30
    files: int = 1_000_000
    outer_members: int = 10_000


@dataclass(slots=True)
class Tree:
    """A root folder that layers are applied to, in order; counts what was written over all layers."""

    root_fd: int
    bounds: Bounds
    unpacked_bytes: int = 0
    files: int = 0
    _written: set[str] = field(default_factory=set)

    def apply(self, layer: Readable) -> None:
        """One uncompressed tar stream. Raises ImageRefused for what is hostile, OSError for what the disk says."""
        self._written = set()
        try:
            with tarfile.open(fileobj=cast(IO[bytes], layer), mode="r|") as archive:
                for member in archive:
                    self._member(archive, member)
                    # A streaming archive keeps every header it has seen; a layer may hold a million.
                    archive.members = []  # type: ignore[attr-defined]
        except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
            raise ImageRefused(f"the layer is not a readable tar archive: {error}") from error

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = clean_name(member.name)
        self.files += 1
        if self.files > self.bounds.files:
            raise ImageRefused(f"more than {self.bounds.files} files", "image-too-large")
        parent, last = posixpath.split(name)
        if not last:  # the root itself
            if member.isdir():
                os.fchmod(self.root_fd, member.mode & 0o7777)
            return
        with self._parent(parent) as parent_fd:
            if last == OPAQUE:
                self._clear_lower(parent_fd, parent)
            elif last.startswith(WHITEOUT):
                hidden = last.removeprefix(WHITEOUT)
                if hidden in ("", ".", ".."):
                    raise ImageRefused(f"whiteout of nothing: {member.name!r}")
                remove_at(parent_fd, hidden)
            else:
                self._write(archive, member, parent_fd, name, last)
                self._note(name)

    def _note(self, name: str) -> None:
        """The layer wrote this name, and so keeps the folders above it."""
        while name and name not in self._written:
            self._written.add(name)
            name = posixpath.dirname(name)

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent_fd: int, name: str, last: str) -> None:
        if member.isdir():
            self._make_folder(parent_fd, last)
        elif member.issym():
            self._check_link(name, member.linkname)
            remove_at(parent_fd, last)
            os.symlink(member.linkname, last, dir_fd=parent_fd)
        elif member.islnk():
            self._hard_link(member, parent_fd, last)
            return
        elif member.isreg():
            self._file(archive, member, parent_fd, last)
        else:
            kind = "device node" if member.ischr() or member.isblk() else "special file"
            raise ImageRefused(f"{member.name!r} is a {kind}; images carry files, folders and links only")
        os.chown(last, member.uid, member.gid, dir_fd=parent_fd, follow_symlinks=False)
        if not member.issym():
            self._mode_and_attributes(member, parent_fd, last)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent_fd: int, last: str) -> None:
        self.unpacked_bytes += member.size
        if member.size < 0 or self.unpacked_bytes > self.bounds.unpacked_bytes:
            raise ImageRefused(f"unpacks to more than {self.bounds.unpacked_bytes} bytes", "image-too-large")
        remove_at(parent_fd, last)
        source = archive.extractfile(member)
        if source is None:
            raise ImageRefused(f"{member.name!r} has no content")
        fd = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent_fd)
        with source, os.fdopen(fd, "wb") as target:
            while block := source.read(_COPY_BYTES):
                target.write(block)

    def _hard_link(self, member: tarfile.TarInfo, parent_fd: int, last: str) -> None:
        target = clean_name(member.linkname)
        folder, base = posixpath.split(target)
        try:
            with self._parent(folder, make=False) as folder_fd:
                status = os.stat(base, dir_fd=folder_fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    raise ImageRefused(f"{member.name!r} is a hard link to a folder")
                if posixpath.normpath(member.name) != posixpath.normpath(member.linkname):
                    remove_at(parent_fd, last)
                    os.link(base, last, src_dir_fd=folder_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError as error:
            raise ImageRefused(f"{member.name!r} is a hard link to {member.linkname!r}, which is not there") from error

    @staticmethod
    def _check_link(name: str, target: str) -> None:
        """Absolute targets start at the container's own root; a relative one must not climb above it."""
        if target.startswith("/"):
            target, base = target.lstrip("/"), ""
        else:
            base = posixpath.dirname(name)
        depth = len([part for part in base.split("/") if part])
        for part in target.split("/"):
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            if depth < 0:
                raise ImageRefused(f"the link {name!r} leads outside of the image: {target!r}")

    @staticmethod
    def _make_folder(parent_fd: int, last: str) -> None:
        try:
            os.mkdir(last, 0o755, dir_fd=parent_fd)
        except FileExistsError:
            status = os.stat(last, dir_fd=parent_fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                remove_at(parent_fd, last)
                os.mkdir(last, 0o755, dir_fd=parent_fd)

    @staticmethod
    def _mode_and_attributes(member: tarfile.TarInfo, parent_fd: int, last: str) -> None:
        fd = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            os.fchmod(fd, member.mode & 0o7777)
            for key, value in member.pax_headers.items():
                if key.removeprefix(_XATTR_PREFIX) in _XATTRS_KEPT and key.startswith(_XATTR_PREFIX):
                    os.setxattr(fd, key.removeprefix(_XATTR_PREFIX), value.encode("utf-8", "surrogateescape"))
            if member.isreg():
                os.utime(fd, (max(member.mtime, 0), max(member.mtime, 0)))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL):
                raise
        finally:
            os.close(fd)

    def _clear_lower(self, folder_fd: int, folder: str) -> None:
        for entry in os.listdir(folder_fd):
            path = f"{folder}/{entry}" if folder else entry
            if path not in self._written:
                remove_at(folder_fd, entry)

    @contextmanager
    def _parent(self, path: str, make: bool = True) -> Iterator[int]:
        """A descriptor of the folder, with missing ones made; links on the way are followed inside the root."""
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            fd = open_in_root(self.root_fd, path, flags)
        except FileNotFoundError:
            if not make:
                raise
            self._make_missing(path)
            fd = self._reopen(path, flags)
        except OSError as error:
            raise ImageRefused(f"the folder {path!r} cannot be entered inside the image: {error.strerror}") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _reopen(self, path: str, flags: int) -> int:
        try:
            return open_in_root(self.root_fd, path, flags)
        except OSError as error:
            raise ImageRefused(f"the folder {path!r} cannot be made inside the image: {error.strerror}") from error

    def _make_missing(self, path: str) -> None:
        done = ""
        for part in path.split("/"):
            fd = self._reopen(done, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.mkdir(part, 0o755, dir_fd=fd)
            except FileExistsError:
                pass
            finally:
                os.close(fd)
            done = f"{done}/{part}" if done else part


def clean_name(name: str) -> str:
    """`./etc/passwd` -> `etc/passwd`; refuses names that are absolute, climb, or hide a NUL."""
    if name.startswith("/") or "\0" in name or len(name) > 4096:
        raise ImageRefused(f"hostile name in the archive: {name[:80]!r}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageRefused(f"hostile name in the archive: {name[:80]!r}")
    return "/".join(parts)


def remove_at(folder_fd: int, name: str) -> None:
    """Removes a file, a link or a whole folder below an open folder; missing is fine, links are not followed."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
        try:
            for entry in os.listdir(fd):
                remove_at(fd, entry)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=folder_fd)
