"""Redirections between devices of one namespace as netlink requests and back: pure encoding, no I/O."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from plugins.local.net import netlink as nl
from plugins.local.net.netlink import Request, attribute, text

_MESSAGE = struct.Struct("=BxxxiIII")  # family, device, handle, parent, info
_NEWQDISC, _DELQDISC, _NEWFILTER, _DELFILTER, _GETFILTER = 36, 37, 44, 45, 46
_CLSACT, _CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_PREFERENCE = 0x7600  # late, so that rules of a VNF's own come first
_KIND, _OPTIONS = 1, 2
_U32_SELECTOR, _U32_ACTION = 5, 7
_MIRRED_PARAMETERS = 2
_STOLEN = 4
_TO_EGRESS, _TO_INGRESS = 1, 3
_PARAMETERS = struct.Struct("=IIiiiiI")


@dataclass(frozen=True, slots=True)
class Redirection:
    """Our filter on a device: the index of the device that it leads to."""

    target: int


def add_clsact(index: int) -> Request:
    """The queueing discipline that takes filters for both directions; there already is fine."""
    body = _MESSAGE.pack(0, index, _CLSACT, _CLSACT_PARENT, 0) + text(_KIND, "clsact")
    exists = frozenset({errno.EEXIST})
    return Request(_NEWQDISC, body, nl.CREATE | nl.EXCLUSIVE, tolerate=exists, what=f"clsact on {index}")


def redirect(index: int, side: int, target: int) -> Request:
    """All that comes in (INGRESS) by a device comes in by the target; all that goes out (EGRESS) goes out by it."""
    where = _TO_INGRESS if side == INGRESS else _TO_EGRESS
    parameters = attribute(_MIRRED_PARAMETERS, _PARAMETERS.pack(0, 0, _STOLEN, 0, 0, where, target))
    action = attribute(1, text(_KIND, "mirred") + attribute(_OPTIONS, parameters))
    # One key whose mask is 0 matches everything, and ends the search.
    selector = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
    options = attribute(_U32_SELECTOR, selector) + attribute(_U32_ACTION, action)
    info = _PREFERENCE << 16 | socket.htons(3)  # ETH_P_ALL
    body = _MESSAGE.pack(0, index, 0, side, info) + text(_KIND, "u32") + attribute(_OPTIONS, options)
    return Request(_NEWFILTER, body, nl.CREATE | nl.EXCLUSIVE, what=f"redirection of {index}")


def delete_redirection(index: int, side: int) -> Request:
    """Take our filter away; gone already is fine."""
    gone = frozenset({errno.ENOENT, errno.EINVAL, errno.ENODEV})
    body = _MESSAGE.pack(0, index, 0, side, _PREFERENCE << 16)
    return Request(_DELFILTER, body, tolerate=gone, what=f"delete redirection of {index}")


def dump_filters(index: int, side: int) -> Request:
    """Ask for a device's filters."""
    return Request(_GETFILTER, _MESSAGE.pack(0, index, 0, side, 0), what=f"list filters of {index}")


def parse_redirection(payload: bytes) -> Redirection | None:
    """Our filter out of an answer; None where it is another's, or only its frame."""
    info = _MESSAGE.unpack_from(payload)[4]
    options = nl.attributes(nl.attributes(payload[20:]).get(_OPTIONS, b""))
    if info >> 16 != _PREFERENCE or _U32_ACTION not in options:
        return None
    for action in nl.attributes(options[_U32_ACTION]).values():
        parameters = nl.attributes(nl.attributes(action).get(_OPTIONS, b"")).get(_MIRRED_PARAMETERS)
        if parameters:
            return Redirection(int(_PARAMETERS.unpack_from(parameters)[6]))
    return None
