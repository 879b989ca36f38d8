"""The devices of other namespaces, seen from this one: one socket for all, no thread has to enter any.

A namespace is spoken to by its number here (nsid), which the kernel gives it once it is asked for. The same number
marks what a listener hears of it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from dataclasses import dataclass

from plugins.local.net import netlink as nl
from plugins.local.net import netns, rtnl
from plugins.local.net.errors import NotThereError
from plugins.local.net.netlink import NetlinkError, Request, RouteSocket

_NEWNSID, _GETNSID = 88, 90
_NSID, _NS_FD = 1, 3  # NETNSA_*
_IFLA_STATS64, _IFLA_EXT_MASK, _IFLA_TARGET_NSID = 23, 29, 46
_SKIP_STATS = 8
_STATS = struct.Struct("=8Q")
_SOL_NETLINK, _LISTEN_ALL_NSID = 270, 8
_GROUP_LINK = 1
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """A device with its counters, as the device itself has them (0 where they were not asked for)."""

    index: int
    name: str
    is_up: bool
    alias: str
    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


def parse(payload: bytes) -> Seen:
    """A device out of an answer."""
    device = rtnl.parse_device(payload)
    counted = nl.attributes(payload[16:]).get(_IFLA_STATS64, b"")
    if len(counted) < _STATS.size:
        return Seen(device.index, device.name, device.is_up, device.alias)
    rx_packets, tx_packets, rx_bytes, tx_bytes, _, _, rx_dropped, tx_dropped = _STATS.unpack_from(counted)
    numbers = (rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped)
    return Seen(device.index, device.name, device.is_up, device.alias, *numbers)


def _list_devices(nsid: int | None, *, counters: bool) -> Request:
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    body += nl.number(_IFLA_EXT_MASK, 0 if counters else _SKIP_STATS)
    if nsid is not None:
        body += nl.attribute(_IFLA_TARGET_NSID, struct.pack("=i", nsid))
    return Request(nl.GETLINK, body, what="list devices")


class DeviceView:
    """Safe to use from several threads. Where the kernel does not number namespaces, they are entered instead."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._route: RouteSocket | None = None
        self.numbered = True

    def close(self) -> None:
        """Let go of the socket."""
        with self._lock:
            if self._route is not None:
                self._route.close()
                self._route = None

    def nsid(self, namespace: str) -> int | None:
        """Its number here, given now where it has none; None where there is no such namespace, or no numbers."""
        with self._lock:
            return self._nsid(namespace) if self.numbered else None

    def devices(self, namespace: str, *, counters: bool = False) -> dict[str, Seen] | None:
        """By name; None where there is no such namespace."""
        with self._lock:
            nsid = self._nsid(namespace) if self.numbered else None
            if nsid is not None:
                try:
                    found = [parse(answer) for answer in self._socket().dump(_list_devices(nsid, counters=counters))]
                except NetlinkError as error:
                    if error.errno not in (errno.EINVAL, errno.ENODEV):  # its number went with it just now
                        raise
                    return None
                return {device.name: device for device in found}
        return None if self.numbered else self._by_entering(namespace, counters=counters)

    @staticmethod
    def _by_entering(namespace: str, *, counters: bool) -> dict[str, Seen] | None:
        try:
            with netns.route_socket(namespace) as route:
                answers = route.dump(_list_devices(None, counters=counters))
        except NotThereError:
            return None
        return {device.name: device for device in map(parse, answers)}

    def _socket(self) -> RouteSocket:
        if self._route is None:
            self._route = RouteSocket()
        return self._route

    def _nsid(self, namespace: str) -> int | None:
        try:
            descriptor = netns.open_fd(namespace)
        except NotThereError:
            return None
        try:
            named = struct.pack("=Bxxx", 0) + nl.attribute(_NS_FD, struct.pack("=I", descriptor))
            given = self._ask(named)
            if given is None:
                new = named + nl.attribute(_NSID, struct.pack("=i", -1))
                # Another thread or process may number it at the same time: either number is fine.
                self._socket().send([Request(_NEWNSID, new, tolerate=frozenset({errno.EEXIST}), what="number")])
                given = self._ask(named)
            return given
        except NetlinkError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
            self.numbered = False
            return None
        finally:
            os.close(descriptor)

    def _ask(self, named: bytes) -> int | None:
        answer = self._socket().get(Request(_GETNSID, named, what="number of a namespace"))
        found = nl.attributes(answer[4:]).get(_NSID) if answer else None
        nsid = -1 if found is None else int(struct.unpack("=i", found)[0])
        return nsid if nsid >= 0 else None


class DeviceEvents:
    """Hears of every device that comes, goes or changes in a namespace that has a number here. Non-blocking."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            self._socket.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._socket.bind((0, _GROUP_LINK))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def heard(self) -> set[int] | None:
        """Numbers of the namespaces where something happened; None where so much did that some was missed."""
        found: set[int] = set()
        while True:
            try:
                _, control, _, _ = self._socket.recvmsg(4096, 64)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            for level, kind, value in control:
                if (level, kind) == (_SOL_NETLINK, _LISTEN_ALL_NSID):
                    found.add(int(struct.unpack("=i", value[:4])[0]))
