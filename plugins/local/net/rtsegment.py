"""Devices that carry a segment, as netlink requests: pure encoding, no I/O. Each is made in another namespace than it
ends up in, the one behind the descriptor."""

from __future__ import annotations

import ipaddress
import struct

from plugins.local.net import netlink as nl
from plugins.local.net.netlink import Request, attribute, number, text

_LINK = struct.Struct("=BxHiII")
_NEIGHBOUR = struct.Struct("=BBHIHBB")
_IFLA_NAME, _IFLA_LINK, _IFLA_INFO, _IFLA_NS_FD = 3, 5, 18, 28
_ID, _GROUP, _LOWER, _LOCAL, _TTL, _LEARNING, _PORT, _GROUP6, _LOCAL6 = 1, 2, 3, 4, 5, 7, 15, 16, 17  # IFLA_VXLAN_*
_MULTICAST_TTL = 8
_MACVLAN_PASSTHRU = 8
_PROMISCUOUS = 0x100
_NEWNEIGH, _APPEND = 28, 0x800
_BRIDGE, _PERMANENT, _SELF = 7, 0x80 | 0x40, 0x02
_DST, _LLADDR, _NEIGHBOUR_PORT = 1, 2, 6


def _new(name: str, kind: str, data: bytes, descriptor: int, lower: int = 0) -> Request:
    body = _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_NAME, name)
    if lower:
        body += number(_IFLA_LINK, lower)
    body += attribute(_IFLA_INFO, text(1, kind) + attribute(2, data)) + number(_IFLA_NS_FD, descriptor)
    return Request(nl.NEWLINK, body, nl.CREATE | nl.EXCLUSIVE, what=f"new {kind} {name}")


def new_vxlan(name: str, vni: int, port: int, local: str, group: str, lower: int, descriptor: int) -> Request:
    """With a `group` what is not known where goes there, by the device `lower`; else to whom `flood_to` names."""
    data = number(_ID, vni) + attribute(_PORT, struct.pack("!H", port)) + attribute(_LEARNING, b"\1")
    for value, kind, kind6 in ((local, _LOCAL, _LOCAL6), (group, _GROUP, _GROUP6)):
        if value:
            told = ipaddress.ip_address(value)
            data += attribute(kind if told.version == 4 else kind6, told.packed)
    if group:
        data += number(_LOWER, lower) + attribute(_TTL, bytes([_MULTICAST_TTL]))
    return _new(name, "vxlan", data, descriptor)


def flood_to(index: int, address: str, port: int) -> Request:
    """One more place to which a VXLAN device sends what is not known where."""
    told = ipaddress.ip_address(address)
    body = _NEIGHBOUR.pack(_BRIDGE, 0, 0, index, _PERMANENT, _SELF, 0)
    body += attribute(_LLADDR, bytes(6)) + attribute(_DST, told.packed)
    body += attribute(_NEIGHBOUR_PORT, struct.pack("!H", port))
    return Request(_NEWNEIGH, body, nl.CREATE | _APPEND, what=f"flood to {address}")


def new_vlan(name: str, lower: int, vlan_id: int, descriptor: int) -> Request:
    """The frames with that tag on `lower`."""
    return _new(name, "vlan", attribute(1, struct.pack("=H", vlan_id)), descriptor, lower)


def new_macvlan(name: str, lower: int, descriptor: int) -> Request:
    """All that comes in by `lower`, for whomever."""
    return _new(name, "macvlan", number(1, _MACVLAN_PASSTHRU), descriptor, lower)


def set_promiscuous(index: int) -> Request:
    """Take frames for whomever."""
    return Request(nl.SETLINK, _LINK.pack(0, 0, index, _PROMISCUOUS, _PROMISCUOUS), what=f"device {index} takes all")
