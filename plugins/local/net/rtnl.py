"""Links, addresses and routes as netlink requests and back: pure encoding, no I/O."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from plugins.local.net import netlink as nl
from plugins.local.net.netlink import Request, attribute, number, text

UP = 0x1
ROUTE_PROTOCOL = 0x56  # stamped on routes of ours, so that a VNF's own routes are never touched
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_INFO, _IFLA_ALIAS = 1, 3, 4, 10, 18, 20
_IFLA_AF_SPEC, _IFLA_NS_FD = 26, 28
_IFLA_OPERSTATE, _OPERATIONAL = 16, 6
_TABLE_MAIN, _SCOPE_LINK, _UNICAST, _ONLINK = 254, 253, 1, 4
_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Device:
    """A network device as the kernel lists it."""

    index: int
    name: str
    flags: int
    mtu_bytes: int
    mac: str
    alias: str
    kind: str
    master: int
    passes: bool = False  # operationally up: before that, what is sent by a device that is up is dropped

    @property
    def is_up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self.flags & UP)


@dataclass(frozen=True, slots=True)
class DeviceRoute:
    """A route of ours out of a device; `via` is None for what is on the link."""

    destination: Network
    via: Address | None


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _family(address: Address | Interface | Network) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _body(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _LINK.pack(0, 0, index, flags, change)


def new_pair(name: str, mac: str, mtu_bytes: int, peer: str, peer_mac: str, peer_ns_fd: int) -> Request:
    """A veth: `name` in the socket's namespace, `peer` in the one behind the descriptor; both down."""
    far = _body() + text(_IFLA_NAME, peer) + number(_IFLA_MTU, mtu_bytes) + number(_IFLA_NS_FD, peer_ns_fd)
    if peer_mac:
        far += attribute(_IFLA_ADDRESS, _mac(peer_mac))
    info = text(1, "veth") + attribute(2, attribute(1, far))
    near = text(_IFLA_NAME, name) + number(_IFLA_MTU, mtu_bytes) + attribute(_IFLA_ADDRESS, _mac(mac))
    return Request(
        nl.NEWLINK, _body() + near + attribute(_IFLA_INFO, info), nl.CREATE | nl.EXCLUSIVE, what=f"new veth {name}"
    )


def new_bridge(name: str, mtu_bytes: int) -> Request:
    """A bridge that is up, forwards at once and floods multicast."""
    data = number(1, 0) + number(5, 0) + attribute(23, b"\0")  # forward delay, spanning tree, multicast snooping
    body = _body(0, UP, UP) + text(_IFLA_NAME, name) + number(_IFLA_MTU, mtu_bytes)
    body += attribute(_IFLA_INFO, text(1, "bridge") + attribute(2, data))
    return Request(nl.NEWLINK, body, nl.CREATE, what=f"new bridge {name}")


def new_vlan(name: str, parent_index: int, vlan_id: int) -> Request:
    """A VLAN device on another."""
    data = attribute(1, struct.pack("=H", vlan_id))
    body = _body() + text(_IFLA_NAME, name) + number(5, parent_index)
    body += attribute(_IFLA_INFO, text(1, "vlan") + attribute(2, data))
    return Request(nl.NEWLINK, body, nl.CREATE | nl.EXCLUSIVE, what=f"new VLAN {name}")


def set_alias(name: str, alias: str) -> Request:
    """Stamp a device."""
    return Request(nl.SETLINK, _body() + text(_IFLA_NAME, name) + text(_IFLA_ALIAS, alias), what=f"alias of {name}")


def set_master(name: str, master_index: int) -> Request:
    """Make a device a port of a bridge."""
    body = _body() + text(_IFLA_NAME, name) + number(_IFLA_MASTER, master_index)
    return Request(nl.SETLINK, body, what=f"master of {name}")


def set_mtu(name: str, mtu_bytes: int) -> Request:
    """Set a device's MTU."""
    return Request(nl.SETLINK, _body() + text(_IFLA_NAME, name) + number(_IFLA_MTU, mtu_bytes), what=f"MTU of {name}")


def set_up(name: str = "", index: int = 0) -> Request:
    """Bring a device up, by name or index."""
    named = text(_IFLA_NAME, name) if name else b""
    return Request(nl.SETLINK, _body(index, UP, UP) + named, what=f"{name or index} up")


def set_device(index: int, *, mac: str = "", mtu_bytes: int = 0) -> Request:
    """Address, MTU and manners: answer ARP only for the device's own addresses, speak with the fitting one.

    No IPv6 address comes by itself: the kernel's would wait for duplicate address detection, and where none is wanted
    a port is to be silent.
    """
    body = _body(index)
    if mac:
        body += attribute(_IFLA_ADDRESS, _mac(mac))
    if mtu_bytes:
        body += number(_IFLA_MTU, mtu_bytes)
    arp = number(18, 2) + number(19, 1)  # arp_announce, arp_ignore
    inet6 = attribute(8, b"\1")  # addr_gen_mode: none
    body += attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET, attribute(1, arp)) + attribute(socket.AF_INET6, inet6))
    return Request(nl.SETLINK, body, what=f"device {index}")


def delete_device(name: str) -> Request:
    """Delete a device (and a veth's other end); gone already is fine."""
    return Request(nl.DELLINK, _body() + text(_IFLA_NAME, name), tolerate=_GONE, what=f"delete {name}")


def get_device(name: str) -> Request:
    """Ask for one device by name."""
    return Request(nl.GETLINK, _body() + text(_IFLA_NAME, name), what=f"look up {name}")


def dump_devices() -> Request:
    """Ask for all devices."""
    return Request(nl.GETLINK, _body(), what="list devices")


def parse_device(payload: bytes) -> Device:
    """A device out of an answer."""
    _family, _type, index, flags, _change = _LINK.unpack_from(payload)
    found = nl.attributes(payload[16:])

    def string(kind: int) -> str:
        return found.get(kind, b"").rstrip(b"\0").decode(errors="replace")

    def integer(kind: int) -> int:
        return int.from_bytes(found.get(kind, b""), "little")

    kind = nl.attributes(found.get(_IFLA_INFO, b"")).get(1, b"").rstrip(b"\0").decode()
    mac = found.get(_IFLA_ADDRESS, b"").hex(":")
    return Device(
        index,
        string(_IFLA_NAME),
        flags,
        integer(_IFLA_MTU),
        mac,
        string(_IFLA_ALIAS),
        kind,
        integer(_IFLA_MASTER),
        integer(_IFLA_OPERSTATE) == _OPERATIONAL,
    )


def _address_body(index: int, interface: Interface) -> bytes:
    head = _ADDRESS.pack(_family(interface), interface.network.prefixlen, 0, 0, index)
    body = head + attribute(2, interface.ip.packed) + attribute(1, interface.ip.packed)
    if isinstance(interface, ipaddress.IPv6Interface):
        return body + number(8, 0x02)  # no duplicate address detection: addresses are planned, and waiting costs 2 s
    if interface.network.prefixlen < 31:
        body += attribute(4, interface.network.broadcast_address.packed)
    return body


def add_address(index: int, interface: Interface) -> Request:
    """Give a device an address; there already is fine."""
    return Request(nl.NEWADDR, _address_body(index, interface), nl.CREATE | nl.REPLACE, what=f"address {interface}")


def delete_address(index: int, interface: Interface) -> Request:
    """Take an address away; gone already is fine."""
    return Request(nl.DELADDR, _address_body(index, interface), tolerate=_GONE, what=f"delete address {interface}")


def dump_addresses() -> Request:
    """Ask for all addresses."""
    return Request(nl.GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0), what="list addresses")


def parse_address(payload: bytes) -> tuple[int, Interface, bool]:
    """(device index, address, whether its scope is global) out of an answer."""
    _version, prefix, _flags, scope, index = _ADDRESS.unpack_from(payload)
    found = nl.attributes(payload[8:])
    packed = found.get(2) or found[1]
    return index, ipaddress.ip_interface((packed, prefix)), scope == 0


def _route_body(index: int, route: DeviceRoute, *, onlink: bool) -> bytes:
    scope = _SCOPE_LINK if route.via is None and route.destination.version == 4 else 0
    head = _ROUTE.pack(
        _family(route.destination),
        route.destination.prefixlen,
        0,
        0,
        _TABLE_MAIN,
        ROUTE_PROTOCOL,
        scope,
        _UNICAST,
        _ONLINK if onlink else 0,
    )
    body = head + number(4, index)
    if route.destination.prefixlen:
        body += attribute(1, route.destination.network_address.packed)
    if route.via is not None:
        body += attribute(5, route.via.packed)
    return body


def replace_route(index: int, route: DeviceRoute, *, onlink: bool) -> Request:
    """Put a route in the place of any other to the same destination, in one step."""
    body = _route_body(index, route, onlink=onlink)
    return Request(nl.NEWROUTE, body, nl.CREATE | nl.REPLACE, what=f"route to {route.destination}")


def delete_route(index: int, route: DeviceRoute) -> Request:
    """Take a route of ours away; gone already is fine."""
    body = _route_body(index, route, onlink=False)
    return Request(nl.DELROUTE, body, tolerate=_GONE, what=f"delete route to {route.destination}")


def dump_routes() -> Request:
    """Ask for all routes."""
    return Request(nl.GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), what="list routes")


def parse_route(payload: bytes) -> tuple[int, DeviceRoute] | None:
    """(device index, route) where the answer is a route of ours, else None."""
    version, prefix, _source, _tos, table, protocol, _scope, kind, _flags = _ROUTE.unpack_from(payload)
    if protocol != ROUTE_PROTOCOL or table != _TABLE_MAIN or kind != _UNICAST:
        return None
    found = nl.attributes(payload[12:])
    width = 4 if version == socket.AF_INET else 16
    destination = ipaddress.ip_network((found.get(1, b"\0" * width), prefix))
    via = ipaddress.ip_address(found[5]) if 5 in found else None
    return int.from_bytes(found.get(4, b""), "little"), DeviceRoute(destination, via)
