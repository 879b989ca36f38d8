"""The archive that a guest boots from: the base, then the container's root file system as /container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm.assets import Assets
from plugins.microvm.cache import digest, locked, new_digest, once

DIGEST_ANNOTATION = "vnfm.rootfs-digest"
_KEEP_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Image:
    """A boot archive and how many bytes of files it unpacks to."""

    path: Path
    key: str
    size: int


def prepare_image(cache: Path, assets: Assets, rootfs: Path, given: str | None) -> Image:
    """The boot archive for a root file system; `given` is its digest if the caller knows it."""
    key = digest(assets.key, "given" if given else "tree", given or fingerprint(rootfs))[:32]
    images = cache / "images"
    path = images / f"{key}.cpio"
    if not path.exists():
        once(path, lambda target: _make(target, assets, rootfs))
        _evict(images, keep=path)
    os.utime(path)
    return Image(path, key, path.stat().st_size)


def fingerprint(root: Path) -> str:
    """A digest over names and what the file system says of each: a change of any file changes it."""
    state = new_digest()
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(folders + files):
            path = f"{folder}/{name}"
            s = os.lstat(path)
            times = (s.st_mtime_ns, s.st_ctime_ns)
            facts = (path[len(str(root)) :], s.st_mode, s.st_uid, s.st_gid, s.st_size, *times, s.st_ino, s.st_dev)
            state.update(repr(facts).encode())
    text: str = state.hexdigest()
    return text


def _make(target: Path, assets: Assets, rootfs: Path) -> None:
    import shutil

    from plugins.microvm.cpio import Cpio

    with open(target, "wb") as out:
        with open(assets.base, "rb") as base:
            shutil.copyfileobj(base, out, 1 << 20)
        archive = Cpio(out)
        archive.tree(rootfs, "container")
        archive.close()
    # A root file system may hold secrets.
    target.chmod(0o600)


def _evict(folder: Path, keep: Path) -> None:
    """Drop the archives that were not used for longest once all together are too large; open ones live on."""
    with locked(folder, "evict"):
        found = sorted(((p.stat(), p) for p in folder.glob("*.cpio")), key=lambda item: -item[0].st_mtime)
        total = 0
        for info, path in found:
            total += info.st_size
            if total > _KEEP_BYTES and path != keep:
                path.unlink(missing_ok=True)
