"""Where a container's relay listens for commands."""

from __future__ import annotations

SOCKET = "relay.sock"
PACKET = 1 << 20
"""Bytes of the largest message."""


def address(folder_fd: int) -> str:
    """The socket's name by an open folder, since a whole path may be longer than a socket's name can be."""
    return f"/proc/self/fd/{folder_fd}/{SOCKET}"
