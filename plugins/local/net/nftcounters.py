"""The named counters of a fabric's table, read from the kernel itself: cheaper than a process for each look."""

from __future__ import annotations

import socket
import struct

from plugins.local.net import netlink as nl
from plugins.local.net import netns
from plugins.local.net.errors import HostRefusedError, NotThereError
from plugins.local.net.naming import TABLE

_NETLINK_NETFILTER = 12
_GET_OBJECT = 10 << 8 | 19  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETOBJ
_REQUEST, _DUMP, _INTERRUPTED = 0x1, 0x300, 0x10
_ERROR, _DONE = 2, 3
_NETDEV, _COUNTER = 5, 1
_TABLE, _NAME, _TYPE, _DATA = 1, 2, 3, 4  # NFTA_OBJ_*
_BYTES, _PACKETS = 1, 2  # NFTA_COUNTER_*
_HEADER = struct.Struct("=IHHII")
_GENERIC_BYTES = 4  # struct nfgenmsg
_ATTEMPTS = 5
_RECEIVE_BYTES = 1 << 18

Counts = dict[str, tuple[int, int]]


def read(namespace: str) -> Counts:
    """(packets, bytes) by the counter's name; empty where there is no such namespace or table."""
    try:
        with netns.inside(namespace, _open) as opened:
            for _ in range(_ATTEMPTS):
                found = _dump(opened)
                if found is not None:
                    return found
    except NotThereError:
        return {}
    except OSError as error:
        raise HostRefusedError(f"counters in {namespace}: {error.strerror}") from error
    raise HostRefusedError(f"counters in {namespace}: its rules change all the time")


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)


def _dump(opened: socket.socket) -> Counts | None:
    """None where the rules changed meanwhile."""
    body = struct.pack("!BBH", _NETDEV, 0, 0) + nl.text(_TABLE, TABLE)
    body += nl.attribute(_TYPE, struct.pack("!I", _COUNTER))
    opened.send(_HEADER.pack(_HEADER.size + len(body), _GET_OBJECT, _REQUEST | _DUMP, 1, 0) + body)
    found: Counts = {}
    interrupted = False
    while True:
        data = opened.recv(_RECEIVE_BYTES)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
            interrupted |= bool(flags & _INTERRUPTED)
            payload = data[at + _HEADER.size : at + length]
            if kind == _DONE:
                return None if interrupted else found
            if kind == _ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                raise OSError(code, "the kernel refuses to list them")
            found.update(_parse(payload[_GENERIC_BYTES:]))
            at += (length + 3) & ~3


def _parse(attributes: bytes) -> Counts:
    found = nl.attributes(attributes)
    table, name = (found.get(kind, b"").rstrip(b"\0").decode(errors="replace") for kind in (_TABLE, _NAME))
    counted = nl.attributes(found.get(_DATA, b""))
    if table != TABLE or found.get(_TYPE) != struct.pack("!I", _COUNTER) or len(counted) < 2:
        return {}
    (packets,), (size,) = struct.unpack("!Q", counted[_PACKETS]), struct.unpack("!Q", counted[_BYTES])
    return {name: (packets, size)}
