"""Segments by which a link goes on in other VIMs: their device is one more port of the chain's fabric.

A network outside is reached by an interface or bridge of the host (or of a namespace that the operator names). A
segment on it is a VXLAN device, a VLAN device, or for a network without tags the network itself: a veth into the
bridge, else a macvlan that takes all that comes. The device is made where the interface is, and lives in the fabric.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

from plugins.local.net import naming, netns, rtnl, rtsegment
from plugins.local.net.errors import HostRefusedError, InvalidSpecError, NotThereError, SegmentTakenError
from plugins.local.net.links import Checkpoint, find_device, quiet_carrier
from plugins.local.net.netlink import NetlinkError, Request, RouteSocket
from plugins.local.net.plan import LinkPlan, Port
from plugins.local.net.rtnl import Device
from plugins.local.net.specs import Encap, LinkSpec, Outside, Remote, Segment

VXLAN_PORT = 4789  # RFC 7348
VXLAN_OVERHEAD_BYTES = 50  # Ethernet, IPv4, UDP, VXLAN
_VXLAN_IDS = 0xFFFFFE
_DEFAULT_VLAN_IDS = (1, 4094)


@contextmanager
def _where(outside: Outside) -> Iterator[RouteSocket]:
    with netns.route_socket(outside.namespace) if outside.namespace else RouteSocket() as route:
        yield route


def _interface(route: RouteSocket, outside: Outside) -> Device:
    device = find_device(route, outside.interface)
    if device is None:
        place = f" in namespace {outside.namespace}" if outside.namespace else ""
        raise NotThereError(f"network {outside.network}: interface {outside.interface} is not there{place}")
    return device


def choose_id(outside: Outside, wish: Segment, link_id: str, links: Mapping[str, LinkSpec]) -> int:
    """An id that follows from the link's, other than those of other links on that network; SegmentTakenError where
    there is none left."""
    if wish.encap is Encap.FLAT:
        return 0
    others = (one.segment for one in links.values() if one.id != link_id)
    taken = {one.id for one in others if one and one.network == wish.network}
    first, last = (1, _VXLAN_IDS) if wish.encap is Encap.VXLAN else outside.vlan_ids or _DEFAULT_VLAN_IDS
    count = last - first + 1
    begin = int.from_bytes(hashlib.sha256(link_id.encode()).digest()[:6], "big") % count
    for step in range(min(count, len(taken) + 1)):
        candidate = first + (begin + step) % count
        if candidate not in taken:
            return candidate
    raise SegmentTakenError(f"network {outside.network}: all {wish.encap} ids from {first} to {last} are taken")


def check_free(link_id: str, segment: Segment, links: Mapping[str, LinkSpec]) -> None:
    """InvalidSpecError for a segment without an id, SegmentTakenError where another link goes on by it."""
    if segment.id == 0 and segment.encap is not Encap.FLAT:
        raise InvalidSpecError(f"link {link_id}: the segment has no id")
    for other in links.values():
        if other.id == link_id or other.segment is None or other.remotes is None:
            continue
        theirs = other.segment
        if (theirs.encap, theirs.network, theirs.id) == (segment.encap, segment.network, segment.id):
            what = f"{segment.encap} {segment.id}" if segment.id else "which has no tags to tell links apart"
            raise SegmentTakenError(f"network {segment.network}, {what}: link {other.id} has it")


def mtu_bytes(outside: Outside, encap: Encap) -> int:
    """What a port on such a segment can carry; NotThereError without the interface."""
    with _where(outside) as route:
        whole = _interface(route, outside).mtu_bytes
    return whole - VXLAN_OVERHEAD_BYTES if encap is Encap.VXLAN else whole


def address(outside: Outside) -> str:
    """Where VXLAN packets for this host go: as configured, else the interface's first IPv4 address."""
    if outside.address:
        return outside.address
    with _where(outside) as route:
        index = _interface(route, outside).index
        listed = [rtnl.parse_address(answer) for answer in route.dump(rtnl.dump_addresses())]
    found = [str(interface.ip) for at, interface, _ in listed if at == index and interface.version == 4]
    if not found:
        raise NotThereError(f"network {outside.network}: interface {outside.interface} has no IPv4 address")
    return found[0]


def port_of(plan: LinkPlan) -> Port:
    """The port by which a link goes on outside."""
    return next(port for port in plan.ports if port.member.kind.is_edge)


def build(
    plan: LinkPlan, segment: Segment, remotes: Sequence[Remote], outside: Outside, checkpoint: Checkpoint
) -> None:
    """Make the segment's device in the fabric, unless it is there as wanted; another one in its place goes."""
    port = port_of(plan)
    alias = f"{port.alias} {segment.encap} {segment.id} {_told(segment, remotes)}"[:255]
    netns.ensure(plan.carrier, quiet_carrier)
    checkpoint("edge.carrier")
    try:
        with _where(outside) as below, netns.route_socket(plan.carrier) as carrier:
            lower = _interface(below, outside)
            device = find_device(carrier, port.far)
            if device and device.alias == alias and device.is_up:
                return
            carrier.send([rtnl.delete_device(port.far)])
            descriptor = netns.open_fd(plan.carrier)
            try:
                below.send(_made(port.far, segment, remotes, outside, lower, descriptor, plan.mtu_bytes))
            finally:
                os.close(descriptor)
            checkpoint("edge.made")
            carrier.send(_finished(carrier, port.far, segment, remotes, alias))
            checkpoint("edge.stamped")
    except NetlinkError as error:
        if error.errno in (errno.EEXIST, errno.EBUSY, errno.EINVAL) and segment.encap is not Encap.VXLAN:
            raise SegmentTakenError(f"network {outside.network}: {error.strerror}") from error
        if error.errno == errno.EEXIST:
            raise SegmentTakenError(
                f"network {outside.network}: VXLAN {segment.id} is in use on this host: {error.strerror}"
            ) from error
        raise HostRefusedError(f"link {plan.id} on network {outside.network}: {error.strerror}") from error


def _told(segment: Segment, remotes: Sequence[Remote]) -> str:
    """What else a device is made for, short: another word means another device."""
    return naming.short(segment.group, str(segment.udp_port), *(f"{r.address} {r.udp_port}" for r in remotes))


def _made(
    name: str,
    segment: Segment,
    remotes: Sequence[Remote],
    outside: Outside,
    lower: Device,
    descriptor: int,
    mtu_bytes: int,
) -> list[Request]:
    if segment.encap is Encap.VXLAN:
        port = (segment.udp_port or VXLAN_PORT) if segment.group else outside.udp_port or VXLAN_PORT
        local = outside.address or address(outside)
        return [rtsegment.new_vxlan(name, segment.id, port, local, segment.group, lower.index, descriptor)]
    if segment.encap is Encap.VLAN:
        return [rtsegment.new_vlan(name, lower.index, segment.id, descriptor)]
    if lower.kind == "bridge":
        near = naming.port_name(name, "outside")
        pair = rtnl.new_pair(near, naming.derive_mac(name, "outside"), mtu_bytes, name, "", descriptor)
        return [pair, rtnl.set_master(near, lower.index), rtnl.set_up(near)]
    return [rtsegment.new_macvlan(name, lower.index, descriptor)]


def _finished(
    carrier: RouteSocket, name: str, segment: Segment, remotes: Sequence[Remote], alias: str
) -> list[Request]:
    device = find_device(carrier, name)
    if device is None:
        raise HostRefusedError(f"device {name} is gone right after it was made")
    requests = [rtsegment.set_promiscuous(device.index)]
    if segment.encap is Encap.VXLAN and not segment.group:
        requests += [rtsegment.flood_to(device.index, one.address, one.udp_port or VXLAN_PORT) for one in remotes]
    return [*requests, rtnl.set_up(index=device.index), rtnl.set_alias(name, alias)]


# -- what this kernel can do


def refusal(outside: Outside, encap: Encap) -> str:
    """Why links cannot be joined so on this network; empty where they can."""
    try:
        with _where(outside) as route:
            _interface(route, outside)
        if encap is Encap.VXLAN:
            address(outside)
    except NotThereError as error:
        return error.detail
    except OSError as error:
        return f"network {outside.network}: {error.strerror}"
    return _kernel_lacks(encap)


@cache
def _kernel_lacks(encap: Encap) -> str:
    """Really tried, in a throw-away namespace; empty where it can be done."""
    tries: dict[Encap, Callable[[int, int], Request]] = {
        Encap.VXLAN: lambda _lower, fd: rtsegment.new_vxlan("try", 1, 14999, "", "", 0, fd),
        Encap.VLAN: lambda lower, fd: rtsegment.new_vlan("try", lower, 100, fd),
        Encap.FLAT: lambda lower, fd: rtsegment.new_macvlan("try", lower, fd),
    }
    namespace = f"vnfm-try-{os.getpid()}-{encap.lower()}"
    netns.ensure(namespace)
    try:
        descriptor = netns.open_fd(namespace)
        try:
            with netns.route_socket(namespace) as route:
                route.send([rtnl.new_pair("low", "02:00:00:00:00:01", 1500, "wol", "", descriptor)])
                lower = find_device(route, "low")
                assert lower
                route.send([tries[encap](lower.index, descriptor)])
        finally:
            os.close(descriptor)
    except NetlinkError as error:
        return f"this kernel makes no {encap} devices: {error.strerror}"
    finally:
        netns.remove(namespace)
    return ""
