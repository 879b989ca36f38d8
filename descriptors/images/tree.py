"""A root file system in memory, written out as a tar layer or a cpio archive with equal bytes for equal content."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from descriptors.images.host import Host, run


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or folder. `mode` has the type bits of stat(2)."""

    mode: int
    data: bytes = b""  # a file's content, a link's target


@dataclass(slots=True)
class Tree:
    """Entries by path, without a leading slash. Folders above an entry come by themselves."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._put(path, Entry(stat.S_IFREG | mode, data))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._put(path, Entry(stat.S_IFDIR | mode))

    def copy(self, source: Path) -> None:
        """Add everything below a folder; executables stay executable."""
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            if path.is_dir():
                self.folder(name)
            else:
                self.file(name, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)

    def program(self, host: Host, name: str, path: str) -> None:
        """Add a program of the host with its libraries, each where the loader looks for it."""
        source = host.program(name)
        self.file(path, source.read_bytes(), 0o755)
        for library in host.libraries(source):
            self.file(library.as_posix().removeprefix("/usr"), library.read_bytes(), 0o755)

    def busybox(self, host: Host) -> None:
        """Add busybox and a link for each of its commands."""
        program = host.program("busybox")
        self.file("bin/busybox", program.read_bytes(), 0o755)
        for command in run([str(program), "--list"]).split():
            if command != "busybox":
                self.link(f"bin/{command}", "busybox")

    def _put(self, path: str, entry: Entry) -> None:
        name = path.strip("/")
        for parent in PurePosixPath(name).parents:
            if parent.as_posix() != "." and parent.as_posix() not in self.entries:
                self.entries[parent.as_posix()] = Entry(stat.S_IFDIR | 0o755)
        self.entries[name] = entry

    def _sorted(self) -> Iterator[tuple[str, Entry]]:
        yield from sorted(self.entries.items())

    def tar(self) -> bytes:
        """An uncompressed tar: root-owned, without times."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name, entry in self._sorted():
                info = tarfile.TarInfo(name)
                info.mode = stat.S_IMODE(entry.mode)
                if stat.S_ISLNK(entry.mode):
                    info.type, info.linkname = tarfile.SYMTYPE, entry.data.decode()
                    archive.addfile(info)
                elif stat.S_ISDIR(entry.mode):
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
                else:
                    info.size = len(entry.data)
                    archive.addfile(info, io.BytesIO(entry.data))
        return buffer.getvalue()

    def cpio(self) -> bytes:
        """An initramfs in the "newc" format (kernel Documentation/driver-api/early-userspace/buffer-format.rst)."""
        parts: list[bytes] = []
        for number, (name, entry) in enumerate((*self._sorted(), ("TRAILER!!!", Entry(0))), 1):
            raw = name.encode() + b"\0"
            fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(raw), 0)
            head = b"070701" + b"".join(b"%08X" % value for value in fields) + raw
            parts += [head, bytes(-len(head) % 4), entry.data, bytes(-len(entry.data) % 4)]
        return b"".join(parts)
