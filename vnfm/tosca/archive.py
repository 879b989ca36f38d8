"""A package as a set of named files, whether it comes as a zip or as a folder (ETSI GS NFV-SOL 004 clause 4.1).

Everything that a name or a size could do to us is checked before a byte is unpacked. Nothing is written here.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Protocol

from vnfm.tosca.limits import MIB, Limits
from vnfm.tosca.names import mended
from vnfm.tosca.notes import Notes, Place

CHUNK = 1024 * 1024
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What reading a file out of a damaged archive may raise: zipfile checks little before it unpacks."""
_EOCD = b"PK\x05\x06"
_ZIP64_EOCD = b"PK\x06\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"
_EOCD_BYTES, _LOCATOR_BYTES, _ZIP64_EOCD_BYTES = 22, 20, 56
_VERSION_CONTROL = (".git", ".hg", ".svn")
_UTF8_FLAG = 0x800
_DOS_FOLDER = 0x10


class UnsafeArchive(Exception):
    """The archive cannot be read at all; the findings say why."""


class Archive(Protocol):
    """Named files. `sizes` maps each name to its unpacked size in bytes; `stream` yields its content in chunks."""

    @property
    def sizes(self) -> dict[str, int]: ...

    def stream(self, name: str) -> Iterator[bytes]: ...


@contextmanager
def open_archive(path: Path, limits: Limits, notes: Notes) -> Iterator[Archive]:
    """The package at `path`, checked. Raises UnsafeArchive where nothing of it can be used."""
    try:
        folder = _Folder(path, _walk(path, limits, notes)) if path.is_dir() else None
        if folder is None and not path.is_file():
            raise OSError(None, "it is neither a file nor a folder")  # a pipe would never end
        source = path.open("rb") if folder is None else None
    except OSError as error:
        notes.error("archive-unreadable", f"cannot read the package: {error.strerror or error}")
        raise UnsafeArchive from error
    if source is None:
        assert folder is not None
        yield folder
        return
    with source, open_zip(source, limits, notes) as archive:
        yield archive


@contextmanager
def open_zip(source: IO[bytes], limits: Limits, notes: Notes) -> Iterator[Archive]:
    """The zip in a file that can be sought in, checked. Raises UnsafeArchive where nothing of it can be used."""
    with _load(source, limits, notes) as zipped:
        yield _Zip(zipped, _check_entries(zipped, source.seek(0, os.SEEK_END), limits, notes))


def bad_name(name: str, limits: Limits) -> str:
    """Why a file of that name is refused; empty where it is not."""
    if not name or len(name) > limits.name_chars:
        return f"names have 1 to {limits.name_chars} characters"
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in name):
        return "control characters in the name"
    if "\\" in name:
        return "backslash in the name"
    if name.startswith("/") or name[1:2] == ":":
        return "the name is absolute"
    parts = name.rstrip("/").split("/")
    if any(p in ("", ".", "..") for p in parts):
        return "the name leads elsewhere"
    if len(parts) > limits.name_parts:
        return f"deeper than {limits.name_parts} folders"
    if any(len(p.encode()) > 255 for p in parts):
        return "a part of the name is longer than 255 bytes"
    return ""


def small_file(archive: Archive, name: str, most: int) -> bytes:
    """A file's content; empty where it is larger than that or damaged (which is said when every file is read)."""
    if archive.sizes[name] > most:
        return b""
    try:
        return b"".join(archive.stream(name))
    except DAMAGE:
        return b""


@dataclass(frozen=True)
class Below:
    """The files of one folder of an archive."""

    archive: Archive
    prefix: str

    @cached_property
    def sizes(self) -> dict[str, int]:
        cut = len(self.prefix)
        return {name[cut:]: size for name, size in self.archive.sizes.items() if name.startswith(self.prefix)}

    def stream(self, name: str) -> Iterator[bytes]:
        return self.archive.stream(self.prefix + name)


@dataclass(frozen=True)
class _Zip:
    zipped: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]

    @cached_property
    def sizes(self) -> dict[str, int]:
        return {name: info.file_size for name, info in self.entries.items()}

    def stream(self, name: str) -> Iterator[bytes]:
        with self.zipped.open(self.entries[name]) as source:
            yield from _chunks(source)


@dataclass(frozen=True)
class _Folder:
    root: Path
    sizes: dict[str, int]

    def stream(self, name: str) -> Iterator[bytes]:
        # O_NOFOLLOW: the file may have become a link since it was listed.
        handle = os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as source:
            yield from _chunks(source)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _walk(root: Path, limits: Limits, notes: Notes) -> dict[str, int]:
    sizes: dict[str, int] = {}
    pending = [root]
    while pending:
        folder = pending.pop()
        for item in sorted(os.scandir(folder), key=lambda i: i.name):
            name = str(Path(item.path).relative_to(root))
            if item.name in _VERSION_CONTROL:
                continue  # thousands of files, and never the package's
            if item.is_symlink() or not (item.is_dir() or item.is_file()):
                notes.error("archive-link", f"{name} is a link or a special file", Place(name), "put the file itself")
            elif reason := bad_name(name, limits):
                notes.error("archive-name", f"{name!r} is refused: {reason}", Place(name))
            elif item.is_dir():
                pending.append(Path(item.path))
            else:
                sizes[name] = item.stat(follow_symlinks=False).st_size
            if len(sizes) + len(pending) > limits.entries:
                notes.error("archive-entries", f"more than {limits.entries} files")
                raise UnsafeArchive
    if sum(sizes.values()) > limits.total_bytes:
        notes.error("archive-size", f"more than {limits.total_bytes} bytes")
        raise UnsafeArchive
    return dict(sorted(sizes.items()))


@contextmanager
def _load(source: IO[bytes], limits: Limits, notes: Notes) -> Iterator[zipfile.ZipFile]:
    try:
        size = _directory_bytes(source)
        if size > limits.directory_bytes:
            notes.error("archive-entries", f"the zip's directory has {size} bytes, at most {limits.directory_bytes}")
            raise UnsafeArchive
        zipped = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, OverflowError) as error:
        what = _instead(source) or str(error)
        notes.error("archive-no-zip", f"the package is no zip file: {what}", hint="a CSAR is a zip (SOL004 4.1)")
        raise UnsafeArchive from error
    except OSError as error:
        notes.error("archive-unreadable", f"cannot read the package: {error.strerror or error}")
        raise UnsafeArchive from error
    with zipped:
        yield zipped


def _instead(source: IO[bytes]) -> str:
    """What a file that is no zip is, where it is something that people take for one."""
    source.seek(0)
    head = source.read(512)
    if head[:3] == b"\x1f\x8b\x08":
        return "it is packed with gzip"
    if head[257:262] == b"ustar":
        return "it is a tar"
    return "it is empty" if not head else ""


def _directory_bytes(source: IO[bytes]) -> int:
    """The largest size that any end record gives for the central directory, before anything of it is loaded.

    The record of ZIP64 is looked for where its locator says and right before the locator: readers differ in which one
    they take, and a small number in one must not hide a large one in the other.
    """
    end = source.seek(0, os.SEEK_END)
    start = max(0, end - _EOCD_BYTES - 65535)
    source.seek(start)
    tail = source.read()
    at = len(tail) - _EOCD_BYTES
    if at < 0 or tail[at : at + 4] != _EOCD or tail[-2:] != b"\0\0":
        at = tail.rfind(_EOCD)
    if at < 0:
        raise zipfile.BadZipFile("no end record")
    sizes = [int(struct.unpack_from("<I", tail, at + 12)[0])]
    locator = at - _LOCATOR_BYTES
    if locator >= 0 and tail[locator : locator + 4] == _ZIP64_LOCATOR:
        sizes = [0] if sizes[0] == 0xFFFFFFFF else sizes
        told = int(struct.unpack_from("<Q", tail, locator + 8)[0])
        for place in (told, start + locator - _ZIP64_EOCD_BYTES):
            if 0 <= place <= end - _ZIP64_EOCD_BYTES:
                source.seek(place)
                record = source.read(_ZIP64_EOCD_BYTES)
                if record[:4] == _ZIP64_EOCD:
                    sizes.append(int(struct.unpack_from("<Q", record, 40)[0]))
    return max(sizes)


def _check_entries(zipped: zipfile.ZipFile, packed: int, limits: Limits, notes: Notes) -> dict[str, zipfile.ZipInfo]:
    infos = zipped.infolist()
    if len(infos) > limits.entries:
        notes.error("archive-entries", f"{len(infos)} entries, at most {limits.entries}")
        raise UnsafeArchive
    total = sum(i.file_size for i in infos)
    if total > limits.total_bytes:
        notes.error("archive-size", f"{total} bytes unpacked, at most {limits.total_bytes}")
        raise UnsafeArchive
    if total > limits.ratio_from_bytes and total > limits.ratio * max(1, packed):
        larger = f"{total // MIB} MiB unpacked are more than {limits.ratio} times the package's size"
        most = max(infos, key=lambda i: i.file_size)
        notes.error("archive-ratio", larger, Place(_name(most)), "no real file packs so well: leave it out")
        raise UnsafeArchive
    if _overlap(infos, packed):
        notes.error("archive-overlap", "entries of the zip overlap", hint="write the archive anew")
        raise UnsafeArchive
    entries: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    odd: list[str] = []
    for info in infos:
        name = _name(info)
        if not name and info.filename in ("./", ".\\"):
            continue  # the folder that was packed
        if problem := _entry_problem(info, name, limits):
            code, reason = problem
            notes.error(code, f"{info.orig_filename!r} is refused: {reason}", Place(name))
            continue
        if name.rstrip("/") in seen:
            notes.error("archive-duplicate", f"{name!r} is in the archive twice", Place(name))
            continue
        if "\\" in info.filename or info.filename.startswith("./"):
            odd.append(info.filename)
        seen.add(name.rstrip("/"))
        if not (name.endswith("/") or _is_folder(info)):
            entries[name] = info
    if odd:
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        hint = "put `/` between the parts of a name, and nothing before them"
        notes.warn("archive-name-form", f"{odd[0]!r}{more} is read as {mended(odd[0])!r}", hint=hint)
    _drop_folders(entries, notes)
    return dict(sorted(entries.items()))


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Some archivers tell folders by their attributes alone."""
    marked = stat.S_ISDIR(info.external_attr >> 16) or bool(info.external_attr & _DOS_FOLDER)
    return info.is_dir() or (marked and not info.file_size)


def _name(info: zipfile.ZipInfo) -> str:
    """The entry's name. Many archivers write UTF-8 without saying so."""
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG and not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return mended(name)


def _entry_problem(info: zipfile.ZipInfo, name: str, limits: Limits) -> tuple[str, str] | None:
    # orig_filename: ZipInfo.filename is already cut at a NUL.
    for written in (mended(info.orig_filename), name):
        if reason := bad_name(written, limits):
            return "archive-name", reason
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "archive-link", "it is a link or a special file"
    if info.flag_bits & 0x1:
        return "archive-encrypted", "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "archive-method", "packed with a method other than store and deflate"
    if info.file_size > limits.file_bytes:
        return "archive-size", f"{info.file_size} bytes unpacked, at most {limits.file_bytes}"
    if info.file_size > limits.ratio_from_bytes and info.file_size > limits.ratio * max(1, info.compress_size):
        return "archive-ratio", f"it unpacks to more than {limits.ratio} times its size"
    return None


def _overlap(infos: list[zipfile.ZipInfo], packed: int) -> bool:
    """Whether two entries share bytes: how a few kilobytes unpack to petabytes."""
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset < end:
            return True
        end = info.header_offset + 30 + len(info.orig_filename) + info.compress_size
    return end > packed


def _drop_folders(entries: dict[str, zipfile.ZipInfo], notes: Notes) -> None:
    """Take out what is a file and a folder at once: it cannot be written both ways."""
    folders = {name[:at] for name in entries for at, c in enumerate(name) if c == "/" and name[:at] in entries}
    for folder in sorted(folders):
        notes.error("archive-duplicate", f"{folder!r} is a file and a folder", Place(folder))
        del entries[folder]
