"""Sockets below folders whose path may be longer than a socket's address can be."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_path(folder: Path, name: str) -> Iterator[str]:
    """A short way to `folder/name`, valid inside the block."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def connect(folder: Path, name: str, timeout_seconds: float) -> socket.socket:
    """A connected stream socket; OSError where nobody listens."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        found.settimeout(timeout_seconds)
        with short_path(folder, name) as path:
            found.connect(path)
    except BaseException:
        found.close()
        raise
    return found
