"""Mounts of ours: made with mount(2), found again in /proc/self/mountinfo."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_libc = ctypes.CDLL(None, use_errno=True)


def mount_overlay(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """`lower` stays untouched and shared; what is written goes to `upper`."""
    options = f"lowerdir={_escaped(lower)},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    _mount("overlay", target, "overlay", 0, options)


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(kind), ctypes.c_ulong(flags), os.fsencode(options)
    )
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mounting {kind}: {os.strerror(code)}", str(target))


def mounts_below(folder: Path, mountinfo: str | None = None) -> list[Path]:
    """Mount points at or below `folder`, deepest first."""
    text = mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text()
    top = str(folder)
    points = [line.split()[4].encode().decode("unicode_escape") for line in text.splitlines() if line]
    ours = [point for point in points if point == top or point.startswith(top + "/")]
    return [Path(point) for point in sorted(ours, key=len, reverse=True)]


def unmount_below(folder: Path, timeout_seconds: float = 5) -> None:
    """Unmounts everything at or below `folder`; what is still busy at the end is detached."""
    deadline = time.monotonic() + timeout_seconds
    while points := mounts_below(folder.resolve()):
        late = time.monotonic() > deadline
        for point in points:
            flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if late else 0)
            _libc.umount2(os.fsencode(point), flags)
        if mounts_below(folder.resolve()):
            if late:
                raise OSError(ctypes.get_errno(), "cannot be unmounted", str(points[0]))
            time.sleep(0.02)
