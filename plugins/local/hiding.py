"""Commands that do not see one of the host's mounts, started without a program that would hide it first.

A thread that is thrown away gives itself a mount namespace, takes the mount out of it, and starts the command, which
inherits the namespace. Nothing has to be kept or cleaned up: the namespace ends with the command and its children.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_NEWNS = 0x00020000
_PRIVATE, _DETACH = 1 << 18, 2
_libc = ctypes.CDLL(None, use_errno=True)

Child = TypeVar("Child", subprocess.Popen[bytes], subprocess.Popen[str])


def started(start: Callable[[], Child], hidden: Path | None = None) -> Child:
    """The child that `start` starts, with `hidden` (a mount point) out of its sight. Raises what `start` does, and
    OSError."""
    if hidden is None:
        return start()
    children: list[Child] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _hide(hidden)
            children.append(start())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread and raised there
            errors.append(error)

    thread = threading.Thread(target=work, name="hiding", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return children[0]


def _hide(mount: Path) -> None:
    """In this thread only. Propagation stays as it is elsewhere, so that what is mounted outside is seen inside."""
    _checked(_libc.unshare(_NEWNS), "new mount namespace")
    # Where the folder around it is a shared mount, unmounting here would unmount it on the host.
    if _libc.mount(b"none", os.fsencode(mount.parent), None, ctypes.c_ulong(_PRIVATE), None) < 0:
        code = ctypes.get_errno()
        if code != errno.EINVAL:  # it is no mount point
            raise OSError(code, f"mount {mount.parent}: {os.strerror(code)}")
    _checked(_libc.umount2(os.fsencode(mount), _DETACH), f"umount {mount}")


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
