"""User names of an image, looked up in its own files without leaving its root."""

from __future__ import annotations

import os
from pathlib import Path

from plugins.local.images.errors import ImageRefused
from plugins.local.images.tree import open_in_root

_FILE_BYTES = 1 << 20

Account = tuple[int, int, tuple[int, ...]]


def resolve(rootfs: Path, user: str) -> Account:
    """`""`, `uid`, `uid:gid`, `name` or `name:group` -> uid, gid, further gids."""
    name, _, group = user.partition(":")
    uid, gid, more = _user(rootfs, name)
    if group:
        gid = int(group) if group.isdigit() else _group(rootfs, group)
        more = ()
    if not (0 <= uid < 1 << 31 and 0 <= gid < 1 << 31):
        raise ImageRefused(f"the image's user {user!r} is out of range")
    return uid, gid, more


def _user(rootfs: Path, name: str) -> Account:
    if name == "":
        return 0, 0, ()
    for fields in _entries(rootfs, "etc/passwd"):
        if len(fields) >= 4 and name in (fields[0], fields[2]) and fields[2].isdigit() and fields[3].isdigit():
            more = tuple(
                int(entry[2])
                for entry in _entries(rootfs, "etc/group")
                if len(entry) >= 4 and entry[2].isdigit() and fields[0] in entry[3].split(",")
            )
            return int(fields[2]), int(fields[3]), more
    if name.isdigit():
        return int(name), 0, ()
    raise ImageRefused(f"the image is to run as {name!r}, who is not in its /etc/passwd")


def _group(rootfs: Path, name: str) -> int:
    for fields in _entries(rootfs, "etc/group"):
        if len(fields) >= 3 and fields[0] == name and fields[2].isdigit():
            return int(fields[2])
    raise ImageRefused(f"the image is to run in group {name!r}, which is not in its /etc/group")


def _entries(rootfs: Path, path: str) -> list[list[str]]:
    root_fd = os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.fdopen(open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            text = stream.read(_FILE_BYTES).decode(errors="replace")
    except OSError:
        return []
    finally:
        os.close(root_fd)
    return [line.split(":") for line in text.splitlines()]
