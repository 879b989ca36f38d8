"""Addresses and routes of a port inside a namespace."""

from __future__ import annotations

import ipaddress
import re

from plugins.local.net import naming, netns, rtnl
from plugins.local.net.errors import HostRefusedError, InvalidSpecError, NotThereError
from plugins.local.net.netlink import NetlinkError, Request, RouteSocket
from plugins.local.net.plan import MTU_MAX, MTU_MIN
from plugins.local.net.rtnl import Device, DeviceRoute, Interface
from plugins.local.net.specs import PortSpec, Route

_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


def parse_ips(spec: PortSpec) -> tuple[Interface, ...]:
    """The addresses of a port; InvalidSpecError names the one that is none."""
    if spec.l2_transparent and (spec.ips or spec.routes):
        raise InvalidSpecError(f"port {spec.cp_id}: an l2_transparent port has neither ips nor routes")
    try:
        return tuple(ipaddress.ip_interface(text) for text in spec.ips)
    except ValueError as error:
        raise InvalidSpecError(f"port {spec.cp_id}, ips: expected ADDRESS/PREFIX; {error}") from error


def parse_route(cp_id: str, route: Route) -> DeviceRoute:
    """A route of a port; InvalidSpecError where a part of it is none."""
    try:
        destination = ipaddress.ip_network(route.destination)
        via = ipaddress.ip_address(route.via) if route.via else None
    except ValueError as error:
        raise InvalidSpecError(f"port {cp_id}, routes: expected NETWORK/PREFIX via ADDRESS; {error}") from error
    if via is not None and via.version != destination.version:
        raise InvalidSpecError(f"port {cp_id}, routes: {destination} via {via} mixes IPv4 and IPv6")
    return DeviceRoute(destination, via)


def ordered_routes(spec: PortSpec) -> tuple[DeviceRoute, ...]:
    """The routes with those on the link first, since gateways may lie behind them."""
    routes = (parse_route(spec.cp_id, route) for route in spec.routes)
    return tuple(sorted(routes, key=lambda route: (route.via is not None, -route.destination.prefixlen)))


def needs_onlink(route: DeviceRoute, ips: tuple[Interface, ...]) -> bool:
    """Whether the gateway lies in none of the port's own networks."""
    return route.via is not None and not any(route.via in interface.network for interface in ips)


def check_mac(spec: PortSpec) -> str:
    """The port's MAC in lower case, empty where none is given; InvalidSpecError unless it is a unicast one."""
    mac = spec.mac.lower()
    if mac and not _MAC.fullmatch(mac):
        raise InvalidSpecError(
            f"port {spec.cp_id}, mac: expected six hex octets of a unicast address, got {spec.mac!r}"
        )
    return mac


def check(resource_id: str, spec: PortSpec) -> None:
    """InvalidSpecError naming the first field that has no sense."""
    naming.check_id("resource id", resource_id)
    parse_ips(spec)
    ordered_routes(spec)
    check_mac(spec)
    if spec.mtu_bytes and not MTU_MIN <= spec.mtu_bytes <= MTU_MAX:
        raise InvalidSpecError(f"port {spec.cp_id}, mtu_bytes: expected {MTU_MIN}-{MTU_MAX}, got {spec.mtu_bytes}")


def configure(resource_id: str, spec: PortSpec) -> None:
    """Give the port its addresses and routes; what an earlier call gave and this one does not, goes after it."""
    check(resource_id, spec)
    ips, routes = parse_ips(spec), ordered_routes(spec)
    mac = check_mac(spec) or naming.derive_mac(resource_id, spec.cp_id)
    namespace, name = naming.namespace_name(resource_id), naming.interface_name(spec.cp_id)
    with netns.route_socket(namespace) as route:
        answer = route.get(rtnl.get_device(name))
        if answer is None:
            raise NotThereError(f"port {namespace}/{name} is not there: allocate the link of {spec.cp_id} first")
        device = rtnl.parse_device(answer)
        try:
            route.send(_requests(route, device, spec, mac, ips, routes) + _patch_requests(route, spec, mac))
        except NetlinkError as error:
            raise HostRefusedError(f"port {namespace}/{name}: {error.strerror}") from error


def _patch_requests(route: RouteSocket, spec: PortSpec, mac: str) -> list[Request]:
    """A patch beside the port bears its MAC, and lets through what it does."""
    answer = route.get(rtnl.get_device(naming.patch_name(spec.cp_id)))
    if answer is None:
        return []
    patch = rtnl.parse_device(answer)
    return [rtnl.set_device(patch.index, mac=mac if mac != patch.mac else "", mtu_bytes=spec.mtu_bytes)]


def link_local(mac: str) -> Interface:
    """The link-local address made of a MAC (RFC 4291, appendix A); a router cannot resolve neighbours without one."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return ipaddress.IPv6Interface((b"\xfe\x80" + bytes(6) + identifier, 64))


def _requests(
    route: RouteSocket,
    device: Device,
    spec: PortSpec,
    mac: str,
    ips: tuple[Interface, ...],
    routes: tuple[DeviceRoute, ...],
) -> list[Request]:
    mtu = spec.mtu_bytes if spec.mtu_bytes != device.mtu_bytes else 0
    has_ipv6 = any(interface.version == 6 for interface in ips)
    wanted = (link_local(mac), *ips) if has_ipv6 else ips
    requests = [rtnl.set_device(device.index, mac=mac if mac != device.mac else "", mtu_bytes=mtu)]
    requests.append(rtnl.set_up(index=device.index))
    addresses = [rtnl.add_address(device.index, interface) for interface in wanted]
    requests += addresses
    stale_routes: list[Request] = []
    if device.is_up:  # configured before; a new port has nothing stale and needs no listing
        stale = _stale_addresses(route, device, wanted)
        requests += [rtnl.delete_address(device.index, interface) for interface in stale]
        requests += addresses if stale else []  # the kernel drops secondary addresses with their primary one
        stale_routes = [rtnl.delete_route(device.index, old) for old in _our_routes(route, device.index, routes)]
    requests += [rtnl.replace_route(device.index, new, onlink=needs_onlink(new, ips)) for new in routes]
    return requests + stale_routes


def _stale_addresses(route: RouteSocket, device: Device, wanted: tuple[Interface, ...]) -> list[Interface]:
    listed = (rtnl.parse_address(answer) for answer in route.dump(rtnl.dump_addresses()))
    own_link_local = link_local(device.mac)
    return [
        interface
        for index, interface, is_global in listed
        if index == device.index and interface not in wanted and (is_global or interface == own_link_local)
    ]


def _our_routes(route: RouteSocket, index: int, keep: tuple[DeviceRoute, ...]) -> list[DeviceRoute]:
    listed = (rtnl.parse_route(answer) for answer in route.dump(rtnl.dump_routes()))
    return [found[1] for found in listed if found and found[0] == index and found[1] not in keep]


def addresses_of(namespace: str, interface: str = "") -> tuple[Interface, ...]:
    """The global addresses in a namespace (of one interface), loopback excluded."""
    with netns.route_socket(namespace) as route:
        names = {}
        for answer in route.dump(rtnl.dump_devices()):
            device = rtnl.parse_device(answer)
            names[device.index] = device.name
        listed = [rtnl.parse_address(answer) for answer in route.dump(rtnl.dump_addresses())]
    return tuple(
        address
        for index, address, is_global in listed
        if is_global and not address.is_loopback and (not interface or names.get(index) == interface)
    )
