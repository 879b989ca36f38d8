"""Taps of VMs: a device that exists while its descriptor is open, so that nothing of a dead VM stays behind."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable

from plugins.local.net import netns, rtnl
from plugins.local.net.errors import HostRefusedError
from plugins.local.net.netlink import NetlinkError, RouteSocket

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TAP, _NO_PI, _VNET_HDR = 0x0002, 0x1000, 0x4000
_BUSY_SECONDS = 5.0


def _open(name: str) -> int:
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_PI | _VNET_HDR))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _open_patiently(name: str, sleep: Callable[[float], None]) -> int:
    # The former owner of the name may still be on its way out: a killed VM closes its descriptor late.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return _open(name)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        sleep(0.02)


def open_tap(namespace: str, name: str, alias: str, mtu_bytes: int, master: str = "") -> int:
    """A descriptor of a new tap in the namespace that is stamped, has its MTU and is up.

    Frames carry a virtio-net header (IFF_VNET_HDR). `master` names a bridge there that it becomes a port of.
    """

    def create() -> int:
        descriptor = _open_patiently(name, time.sleep)
        try:
            with RouteSocket() as route:
                answer = route.get(rtnl.get_device(master)) if master else None
                bridge = [rtnl.set_master(name, rtnl.parse_device(answer).index)] if answer else []
                route.send(
                    [
                        rtnl.set_alias(name, alias),
                        rtnl.set_mtu(name, mtu_bytes),
                        *bridge,
                        rtnl.set_up(name),
                    ]
                )
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    try:
        return netns.inside(namespace, create)
    except NetlinkError as error:
        raise HostRefusedError(f"tap {namespace}/{name}: {error.strerror}") from error
    except OSError as error:
        hint = "another process holds it" if error.errno == errno.EBUSY else f"is {DEVICE} there and allowed?"
        raise HostRefusedError(f"tap {namespace}/{name}: {error.strerror}; {hint}") from error
