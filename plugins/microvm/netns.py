"""Entering a network namespace, and opening a tap there."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from plugins.microvm.errors import RuntimeFailure

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


@contextlib.contextmanager
def inside(path: Path) -> Iterator[None]:
    """Run in the network namespace at `path`: sockets and taps opened meanwhile stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeFailure(f"network namespace {path}: {error.strerror}") from error
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(target, _CLONE_NEWNET):
            raise RuntimeFailure(f"network namespace {path}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(own, _CLONE_NEWNET):
                os._exit(70)  # going on in a stranger's network would be worse
    finally:
        os.close(target)
        os.close(own)


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Run in a fresh network namespace; it is gone with the last tap that was opened there."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise RuntimeFailure(f"a new network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(own, _CLONE_NEWNET):
                os._exit(70)
    finally:
        os.close(own)


def open_tap(name: str) -> int:
    """A tap in the current network namespace, with offload headers; it lives as long as its descriptor is open."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    except OSError as error:
        os.close(tap)
        raise RuntimeFailure(f"tap {name}: {error.strerror} (is another microVM on this network namespace?)") from error
    return tap
