"""Making and removing what a LinkPlan names. Every function brings any half-made state to the whole one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable

from plugins.local.net import naming, netns, rtnl
from plugins.local.net.errors import AlreadyExistsError, HostRefusedError
from plugins.local.net.netlink import NetlinkError, RouteSocket
from plugins.local.net.plan import LinkPlan, Port
from plugins.local.net.rtnl import Device
from plugins.local.net.specs import Wiring

BRIDGE = "br0"
OURS = ("veth", "bridge", "tun", "vxlan", "vlan", "macvlan")
Checkpoint = Callable[[str], None]


def quiet_carrier() -> None:
    """Make a carrier's namespace pass frames on without a word or a rule of its own."""
    for scope in ("all", "default"):
        netns.write_sysctl(f"net/ipv6/conf/{scope}/disable_ipv6", "1")
    for family in ("iptables", "ip6tables", "arptables"):
        netns.write_sysctl(f"net/bridge/bridge-nf-call-{family}", "0")


def build(plan: LinkPlan, checkpoint: Checkpoint) -> None:
    """Make all that is missing of the link."""
    for namespace in plan.namespaces:
        netns.ensure(namespace)
        checkpoint("link.namespace")
    try:
        if plan.wiring is Wiring.PAIR:
            _build_pair(plan, checkpoint)
        else:
            _build_carried(plan, checkpoint)
    except NetlinkError as error:
        raise HostRefusedError(f"link {plan.id}: {error.strerror}") from error


def _is_ours(device: Device | None, port: Port, namespace: str) -> bool:
    """Whether the port is there; AlreadyExistsError where its name is taken by another link."""
    if device is None:
        return False
    # A veth without an alias is our own, left by a crash between creating and stamping it: the namespace is ours.
    if device.alias not in ("", port.alias):
        raise AlreadyExistsError(
            f"{namespace}/{device.name} belongs to another link ({device.alias}): terminate that link first"
        )
    return device.alias == port.alias


def find_device(route: RouteSocket, name: str) -> Device | None:
    """The device of that name; None where there is none."""
    answer = route.get(rtnl.get_device(name))
    return rtnl.parse_device(answer) if answer else None


def _build_pair(plan: LinkPlan, checkpoint: Checkpoint) -> None:
    near, far = plan.ports
    with netns.route_socket(near.namespace) as here, netns.route_socket(far.namespace) as there:
        have_near = _is_ours(find_device(here, near.interface), near, near.namespace)
        have_far = _is_ours(find_device(there, far.interface), far, far.namespace)
        if have_near and have_far:
            return
        # Either end alone is a rest of a broken or half-stamped pair; deleting one end deletes both.
        here.send([rtnl.delete_device(near.interface)])
        there.send([rtnl.delete_device(far.interface)])
        descriptor = netns.open_fd(far.namespace)
        try:
            request = rtnl.new_pair(
                near.interface,
                naming.derive_mac(near.member.resource_id, near.member.cp_id),
                plan.mtu_bytes,
                far.interface,
                naming.derive_mac(far.member.resource_id, far.member.cp_id),
                descriptor,
            )
            here.send([request, rtnl.set_alias(near.interface, near.alias)])
        finally:
            os.close(descriptor)
        checkpoint("link.pair")
        there.send([rtnl.set_alias(far.interface, far.alias)])
        checkpoint("link.stamped")


def _build_carried(plan: LinkPlan, checkpoint: Checkpoint) -> None:
    netns.ensure(plan.carrier, quiet_carrier)
    checkpoint("link.carrier")
    with netns.route_socket(plan.carrier) as carrier:
        master = _ensure_bridge(carrier, plan.mtu_bytes) if plan.wiring is Wiring.BRIDGE else 0
        checkpoint("link.bridge")
        if master:
            _detach_others(carrier, plan)
        for port in plan.ports:
            if port.namespace:
                _build_port(plan, port, carrier, master)
                checkpoint("link.port")


def _ensure_bridge(carrier: RouteSocket, mtu_bytes: int) -> int:
    carrier.send([rtnl.new_bridge(BRIDGE, mtu_bytes)])
    bridge = find_device(carrier, BRIDGE)
    if bridge is None:
        raise HostRefusedError(f"bridge {BRIDGE} is gone right after it was made")
    return bridge.index


def _detach_others(carrier: RouteSocket, plan: LinkPlan) -> None:
    """Remove ports beside a bridge whose members are on the link no more."""
    wanted = {BRIDGE, *(port.far for port in plan.ports)}
    listed = (rtnl.parse_device(answer) for answer in carrier.dump(rtnl.dump_devices()))
    carrier.send(
        [rtnl.delete_device(one.name) for one in listed if one.kind in ("veth", "tun") and one.name not in wanted]
    )


def _build_port(plan: LinkPlan, port: Port, carrier: RouteSocket, master: int) -> None:
    far_end = find_device(carrier, port.far)
    with netns.route_socket(port.namespace) as member:
        have_near = _is_ours(find_device(member, port.interface), port, port.namespace)
        if have_near and far_end and far_end.alias == port.alias and far_end.master == master and far_end.is_up:
            return
        member.send([rtnl.delete_device(port.interface)])
        carrier.send([rtnl.delete_device(port.far)])
        descriptor = netns.open_fd(plan.carrier)
        try:
            mac = naming.derive_mac(port.member.resource_id, port.member.cp_id)
            request = rtnl.new_pair(port.interface, mac, plan.mtu_bytes, port.far, "", descriptor)
            member.send([request, rtnl.set_alias(port.interface, port.alias)])
        finally:
            os.close(descriptor)
        stamp = [rtnl.set_master(port.far, master)] if master else []
        carrier.send([*stamp, rtnl.set_up(port.far), rtnl.set_alias(port.far, port.alias)])


def demolish(plan: LinkPlan) -> None:
    """Remove the link's devices, and a bridge's namespace. What is gone already is fine."""
    demolish_ports([(plan, port) for port in plan.ports])
    if plan.wiring is Wiring.BRIDGE:
        remove_namespace(plan.carrier)


def demolish_ports(ports: Iterable[tuple[LinkPlan, Port]]) -> None:
    """Remove ports with all that hangs on them. What is gone already is fine."""
    for plan, port in ports:
        try:
            _delete_device(port.namespace, port.interface, port.alias)
            _delete_device(plan.carrier, port.far, port.alias)
            if plan.wiring is Wiring.PAIR:
                _delete_device(port.namespace, naming.patch_name(port.member.cp_id), patch_alias(port))
        except NetlinkError as error:
            raise HostRefusedError(f"link {plan.id}: {error.strerror}") from error


def patch_alias(port: Port) -> str:
    """The stamp on a patch of the port."""
    return f"{port.alias} patch"[:255]


def make_husk(name: str, ends: Collection[str]) -> None:
    """Leave nothing in a namespace but these ends of pairs, and have it forward nothing any more."""
    if not netns.exists(name):
        return

    def still() -> None:
        netns.write_sysctl("net/ipv4/ip_forward", "0")
        netns.write_sysctl("net/ipv6/conf/all/forwarding", "0")

    netns.inside(name, still)
    with netns.route_socket(name) as route:
        devices = [rtnl.parse_device(answer) for answer in route.dump(rtnl.dump_devices())]
        route.send(
            [
                rtnl.delete_device(device.name)
                for device in devices
                if device.kind in ("veth", "bridge", "tun") and device.name not in ends
            ]
        )


def _delete_device(namespace: str, name: str, alias: str) -> None:
    """Delete a device where it bears the alias, with or without more words, or none (left by a crash before it was
    stamped)."""
    if not namespace or not name or not netns.exists(namespace):
        return
    with netns.route_socket(namespace) as route:
        device = find_device(route, name)
        if device and (device.alias in ("", alias) or device.alias.startswith(f"{alias} ")):
            route.send([rtnl.delete_device(name)])


def remove_namespace(name: str) -> None:
    """Remove a namespace of ours and every stamped device in it at once, even if processes still run inside.

    The devices go first and by name: otherwise a process that lingers would keep their far ends alive.
    """
    if not netns.exists(name):
        netns.remove(name)
        return
    with netns.route_socket(name) as route:
        devices = (rtnl.parse_device(answer) for answer in route.dump(rtnl.dump_devices()))
        route.send([rtnl.delete_device(device.name) for device in devices if device.kind in OURS])
    netns.remove(name)
