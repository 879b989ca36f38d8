"""The guest's half of its network: the namespace's links, addresses, routes and neighbours as requests for the guest.

The host kernel's own messages are sent on, with the guest's interface numbers in place of the host's, so that scope,
onlink, metrics, tables and whatever else a route has arrive unchanged.
"""

from __future__ import annotations

import socket
import struct

from plugins.microvm import rtnl
from plugins.microvm.network import Link, Survey
from plugins.microvm.patch import Patch

_IFF_UP = 1
_RT_TABLE_LOCAL, _RT_SCOPE_LINK = 255, 253
_RTN_UNICAST = 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_CACHEINFO, _RTA_VIA = 1, 4, 5, 9, 12, 18
_IFA_CACHEINFO, _IFA_FLAGS = 6, 8
_IFA_F_NODAD, _IFA_F_PERMANENT, _IFA_F_NOPREFIXROUTE = 0x02, 0x80, 0x200
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU = 1, 3, 4
_NUD_PERMANENT = 0x80
_NDA_CACHEINFO, _NDA_PROBES = 3, 4


def adopt_requests(links: tuple[Link, ...]) -> list[Patch]:
    """Give every NIC of a clone its address, name and MTU at once; its template's names are in nobody's way."""
    return [
        _set_link(
            link,
            rtnl.attribute(_IFLA_ADDRESS, bytes.fromhex(link.mac.replace(":", "")))
            + rtnl.attribute(_IFLA_MTU, struct.pack("=I", link.mtu))
            + rtnl.attribute(_IFLA_IFNAME, link.name.encode() + b"\0"),
        )
        for link in links
    ]


def rename_requests(links: tuple[Link, ...]) -> list[Patch]:
    """Give every NIC its name and MTU: all get a passing name first, so that names may be swapped."""
    first = [_set_link(link, rtnl.attribute(_IFLA_IFNAME, f"mvnic{link.index}".encode() + b"\0")) for link in links]
    return first + [
        _set_link(
            link,
            rtnl.attribute(_IFLA_IFNAME, link.name.encode() + b"\0")
            + rtnl.attribute(_IFLA_MTU, struct.pack("=I", link.mtu)),
        )
        for link in links
    ]


def setup_requests(seen: Survey) -> list[Patch]:
    """Addresses, up, routes (those without a gateway first), fixed neighbours."""
    known = {link.index for link in seen.links}
    patches = [patch for body in seen.addresses if (patch := _address(body, known))]
    patches += [_set_link(link, b"", up=True) for link in seen.nics if link.up]
    routes = [route for body in seen.routes if (route := _route(body, known))]
    patches += [patch for _, patch in sorted(routes, key=lambda route: route[0])]
    patches += [patch for body in seen.neighbours if (patch := _neighbour(body, known))]
    return patches


def _set_link(link: Link, data: bytes, *, up: bool = False) -> Patch:
    flag = _IFF_UP if up else 0
    body = struct.pack("=BxHiII", 0, 0, 0, flag, flag) + data
    return Patch(rtnl.message(rtnl.RTM_SETLINK, rtnl.NLM_F_ACK, body), ((16 + 4, link.index),))


def _address(body: bytes, known: set[int]) -> Patch | None:
    family, prefix, _, scope, index = struct.unpack_from("=BBBBI", body)
    found = [(kind, data) for kind, data in rtnl.attributes(body[8:]) if kind not in (_IFA_CACHEINFO, _IFA_FLAGS)]
    raw = dict(found).get(1, b"")
    own = raw[:1] == b"\x7f" if family == socket.AF_INET else raw[:2] == b"\xfe\x80" or raw == b"\0" * 15 + b"\1"
    if index not in known or own:
        return None
    # The routes are copied as they are, so the guest must not add prefix routes of its own.
    flags = _IFA_F_PERMANENT | _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if family == socket.AF_INET6 else 0)
    data = b"".join(rtnl.attribute(kind, value) for kind, value in found)
    data += rtnl.attribute(_IFA_FLAGS, struct.pack("=I", flags))
    head = struct.pack("=BBBBI", family, prefix, flags & 0xFF, scope, 0)
    flags = rtnl.NLM_F_ACK | rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
    return Patch(rtnl.message(rtnl.RTM_NEWADDR, flags, head + data), ((16 + 4, index),))


def _route(body: bytes, known: set[int]) -> tuple[int, Patch] | None:
    """The route, and when it may be set: 0 on the link, 1 through a gateway, 2 unreachable and such."""
    family, _, _, _, table, _, scope, kind, flags = struct.unpack_from("=BBBBBBBBI", body)
    found = [(k, v) for k, v in rtnl.attributes(body[12:]) if k != _RTA_CACHEINFO]
    kinds = {k for k, _ in found}
    if family not in (socket.AF_INET, socket.AF_INET6) or table == _RT_TABLE_LOCAL or flags & 0x200:
        return None
    if family == socket.AF_INET6 and dict(found).get(_RTA_DST, b"")[:1] in (b"\xfe", b"\xff"):
        return None
    data, places = b"", []
    for attribute, value in found:
        start = 16 + 12 + len(data) + 4
        if attribute == _RTA_OIF:
            places.append((start, struct.unpack("=i", value)[0]))
        elif attribute == _RTA_MULTIPATH:
            at = 0
            while at + 8 <= len(value):
                length, _, _, index = struct.unpack_from("=HBBi", value, at)
                places.append((start + at + 4, index))
                at += (length + 3) & ~3
        data += rtnl.attribute(attribute, value)
    if any(index not in known for _, index in places):
        return None
    via = bool(kinds & {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH})
    order = 0 if kind == _RTN_UNICAST and (scope >= _RT_SCOPE_LINK or not via) else 1 if kind == _RTN_UNICAST else 2
    # Only ONLINK (4) is a wish; the other flags are the host kernel's remarks on the state of the link.
    head = body[:8] + struct.pack("=I", flags & 4)
    # IPv4 keeps several routes to one target apart only when they are appended; IPv6 would join them into one.
    how = rtnl.NLM_F_APPEND if family == socket.AF_INET else rtnl.NLM_F_REPLACE
    request = rtnl.message(rtnl.RTM_NEWROUTE, rtnl.NLM_F_ACK | rtnl.NLM_F_CREATE | how, head + data)
    return order, Patch(request, tuple(places))


def _neighbour(body: bytes, known: set[int]) -> Patch | None:
    family, index, state = struct.unpack_from("=BxxxiH", body)
    if index not in known or not state & _NUD_PERMANENT or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    data = b"".join(
        rtnl.attribute(kind, value)
        for kind, value in rtnl.attributes(body[12:])
        if kind not in (_NDA_CACHEINFO, _NDA_PROBES)
    )
    flags = rtnl.NLM_F_ACK | rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
    return Patch(rtnl.message(rtnl.RTM_NEWNEIGH, flags, body[:12] + data), ((16 + 4, index),))
