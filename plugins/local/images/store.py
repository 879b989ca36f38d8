"""The cache: <state_dir>/images/<sha256>/ holds meta.json and either `disk` or `rootfs/`.

An entry is made in a folder of its own beside it and renamed into place once it is whole and on the disk.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from plugins.local.images.archives import ImageConfig
from plugins.local.images.errors import ImageRefused
from plugins.local.images.qcow2 import check_disk
from plugins.local.images.tree import Bounds
from plugins.local.process import ProcessRef, last_lines

DISK_FORMATS = ("qcow2", "raw")
ROOTFS_FORMATS = ("oci-archive", "docker-archive", "rootfs-tar")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_UNPACK_SECONDS = 600
_DRAFT = ".new-"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds against archives that are attacks."""

    bounds: Bounds = field(default_factory=Bounds)
    virtual_bytes: int = 1 << 40


@dataclass(frozen=True, slots=True)
class Image:
    """A cached image. `disk` for qcow2 and raw; `rootfs` with `config` for the others. `size_bytes` as transferred."""

    sha256: str
    format: str
    size_bytes: int
    folder: Path
    virtual_bytes: int = 0
    config: ImageConfig = field(default_factory=ImageConfig)

    @property
    def disk(self) -> Path | None:
        """The disk image."""
        return self.folder / "disk" if self.format in DISK_FORMATS else None

    @property
    def rootfs(self) -> Path | None:
        """The unpacked root file system, shared and never written to."""
        return self.folder / "rootfs" if self.format in ROOTFS_FORMATS else None


class ImageStore:
    """Blocking; meant for worker threads."""

    def __init__(self, state_dir: Path, limits: ImageLimits | None = None) -> None:
        self._folder = state_dir / "images"
        self._limits = limits or ImageLimits()

    def prepare(self) -> None:
        """Makes the folder and clears what processes that are gone left half-made."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for draft in self._drafts():
            pid, _, ticks = draft.name.removeprefix(_DRAFT).rpartition("-")[0].partition("-")
            if not pid.isdigit() or not ticks.isdigit() or not ProcessRef(int(pid), int(ticks)).alive():
                shutil.rmtree(draft, ignore_errors=True)

    def _drafts(self) -> Iterator[Path]:
        return (entry for entry in self._folder.iterdir() if entry.name.startswith(_DRAFT))

    def get(self, sha256: str) -> Image | None:
        """The image, or None where it is not there whole."""
        folder = self._folder / sha256
        try:
            meta = json.loads((folder / "meta.json").read_text())
            return Image(
                sha256,
                str(meta["format"]),
                int(meta["size_bytes"]),
                folder,
                int(meta["virtual_bytes"]),
                ImageConfig.of_fields(meta["config"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, sha256: str, image_format: str, total_bytes: int) -> Draft:
        """A place for a new image. ImageRefused for an unknown format, OSError ENOSPC where it cannot fit."""
        if image_format not in (*DISK_FORMATS, *ROOTFS_FORMATS):
            raise ImageRefused(
                f"format {image_format!r}; expected one of {', '.join((*DISK_FORMATS, *ROOTFS_FORMATS))}"
            )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        space = os.statvfs(self._folder)
        if total_bytes > space.f_bavail * space.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
        me = ProcessRef.of(os.getpid())
        ticks = me.start_ticks if me else 0
        folder = self._folder / f"{_DRAFT}{os.getpid()}-{ticks}-{uuid.uuid4().hex}"
        folder.mkdir(mode=0o700)
        return Draft(folder, self._folder / sha256, sha256, image_format, self._limits)

    def delete(self, sha256: str) -> None:
        """Gone at once for readers, then from the disk; missing is fine."""
        doomed = self._folder / f"{_DRAFT}0-0-{uuid.uuid4().hex}"
        try:
            (self._folder / sha256).rename(doomed)
        except FileNotFoundError:
            return
        shutil.rmtree(doomed)


class Draft:
    """An image on its way in."""

    def __init__(self, folder: Path, target: Path, sha256: str, image_format: str, limits: ImageLimits) -> None:
        self._folder = folder
        self._target = target
        self._sha256 = sha256
        self._format = image_format
        self._limits = limits
        self._blob = folder / "blob"
        self._stream = self._blob.open("wb")

    def write(self, data: bytes) -> None:
        """The next bytes."""
        self._stream.write(data)

    def commit(self) -> None:
        """Looks into the image, unpacks it, and makes it visible. ImageRefused, OSError."""
        self._stream.close()
        size = self._blob.stat().st_size
        virtual, config = 0, ImageConfig()
        if self._format in DISK_FORMATS:
            virtual = check_disk(self._blob, self._format, self._limits.virtual_bytes)
            self._blob.rename(self._folder / "disk")
        else:
            config = self._unpack()
            self._blob.unlink()
        meta = {"format": self._format, "size_bytes": size, "virtual_bytes": virtual, "config": asdict(config)}
        (self._folder / "meta.json").write_text(json.dumps(meta))
        _sync(self._folder)
        try:
            self._folder.rename(self._target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard()  # someone else was faster with the same bytes
            return
        _sync(self._target.parent)

    def discard(self) -> None:
        """Leaves no trace."""
        self._stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _unpack(self) -> ImageConfig:
        rootfs = self._folder / "rootfs"
        rootfs.mkdir(mode=0o755)
        bounds = self._limits.bounds
        machine = platform.machine()
        argv = [sys.executable, "-m", "plugins.local.images.unpacker", str(self._blob), self._format]
        argv += [_ARCHITECTURES.get(machine, machine), str(rootfs), str(bounds.unpacked_bytes), str(bounds.files)]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_UNPACK_SECONDS, env=env, check=False
            )
        except subprocess.TimeoutExpired as error:
            detail = f"unpacking took more than {_UNPACK_SECONDS} s"
            raise ImageRefused(detail, "image-too-large") from error
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            said = last_lines(done.stderr.decode(errors="replace"))
            raise ImageRefused(f"unpacking ended with {done.returncode}: {said}") from error
        if "refused" in answer:
            raise ImageRefused(answer["refused"], answer["word"])
        if "errno" in answer:
            raise OSError(answer["errno"], answer["detail"])
        return ImageConfig.of_fields(answer["config"])


def _sync(folder: Path) -> None:
    """Everything on the folder's file system reaches the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(fd)
