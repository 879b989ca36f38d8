"""What is there of what the stamps want."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plugins.local.net import naming, netns, paths, pathstamps, ports, rtnl
from plugins.local.net.errors import NotThereError
from plugins.local.net.plan import LinkPlan, plan_link, plans_of
from plugins.local.net.rtnl import Device
from plugins.local.net.specs import LinkSpec, Observed, ResourceKind, State, Wiring
from plugins.local.net.stamps import StampFolder, Stamps

UNREADABLE = "its stamp is unreadable: terminate it and allocate it anew"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection point is on the host: the devices, as (namespace, name), that carry it; the first is the one
    nearest to the VNF. Beside a VM (`mirrored`) what goes out of that device enters the VM.

    `patch` names a device next to the first one through which, while it is there, the port's frames go instead: what
    comes in by it comes in by the port again, what goes out of it was meant to go out of the port.
    """

    cp_id: str
    devices: tuple[tuple[str, str], ...]
    mirrored: bool = False
    patch: str = ""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where to look."""
        return tuple(namespace for namespace, _ in self.devices)


def places(plans: Iterable[LinkPlan]) -> dict[str, list[Place]]:
    """The ports of computes and SAPs on these links, by resource id."""
    found: dict[str, list[Place]] = {}
    for plan in plans:
        for port in (one for one in plan.ports if not one.member.kind.is_edge):
            near = ((port.namespace, port.interface),) if port.namespace else ()
            far = ((plan.carrier, port.far),) if plan.carrier else ()
            patch = naming.patch_name(port.member.cp_id) if plan.wiring is Wiring.PAIR else ""
            place = Place(port.member.cp_id, near + far, not port.namespace, patch)
            found.setdefault(port.member.resource_id, []).append(place)
    return found


class _Host:
    """The devices of each namespace, looked at once."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Device] | None] = {}

    def devices(self, namespace: str) -> dict[str, Device] | None:
        """Devices by name, None where there is no such namespace."""
        if namespace not in self._seen:
            self._seen[namespace] = self._look(namespace)
        return self._seen[namespace]

    @staticmethod
    def _look(namespace: str) -> dict[str, Device] | None:
        if not netns.exists(namespace):
            return None
        try:
            with netns.route_socket(namespace) as route:
                found = [rtnl.parse_device(answer) for answer in route.dump(rtnl.dump_devices())]
        except NotThereError:  # another call removes it just now: looking must not fail for that
            return None
        return {device.name: device for device in found}

    def lacks(self, namespace: str, name: str) -> str:
        """Why no device of that name is up; empty where one is."""
        device = (self.devices(namespace) or {}).get(name)
        if device is None:
            return f"device {namespace}/{name} is missing"
        return "" if device.is_up else f"device {namespace}/{name} is down"

    def missing(self, namespace: str, name: str, alias: str) -> str:
        """Why a device is not as it should be; empty where it is."""
        devices = self.devices(namespace)
        if devices is None:
            return f"namespace {namespace} is missing"
        device = devices.get(name)
        if device is None:
            return f"device {namespace}/{name} is missing"
        return "" if device.alias == alias else f"device {namespace}/{name} belongs to another"


def _observed(kind: ResourceKind, object_id: str, native_id: str, stamp: Mapping[str, Any], reason: str) -> Observed:
    state = State.FAILED if reason else State.RUNNING
    owner = stamp.get("owner")
    return Observed(object_id, kind, state, native_id, dict(owner) if isinstance(owner, dict) else {}, reason)


def _link_reason(spec: LinkSpec, plan: LinkPlan, host: _Host) -> str:
    for port in plan.ports:
        if port.member.kind.is_edge:
            if spec.remotes is not None and (reason := host.lacks(plan.carrier, port.far)):
                return reason
            continue
        if not port.namespace:
            continue  # a tap is there while its VM runs: the VM's state tells
        reason = host.missing(port.namespace, port.interface, port.alias)
        if not reason and plan.carrier:
            reason = host.missing(plan.carrier, port.far, port.alias)
        if reason:
            return reason
    if plan.carrier and host.devices(plan.carrier) is None:
        return f"namespace {plan.carrier} is missing"
    return ""


def observe(stamps: Stamps, links: Mapping[str, LinkSpec], only: Container[str] | None = None) -> list[Observed]:
    """Every stamped object (of these ids): namespaces, links, paths."""
    host = _Host()

    def of(folder: StampFolder) -> list[tuple[str, Mapping[str, Any]]]:
        return [(one, stamp) for one, stamp in folder.all().items() if only is None or one in only]

    return [
        *(_observe_namespace(object_id, stamp, host) for object_id, stamp in of(stamps.namespaces)),
        *(_observe_link(object_id, stamp, links, host) for object_id, stamp in of(stamps.links)),
        *(_observe_path(object_id, stamp, stamps) for object_id, stamp in of(stamps.paths)),
    ]


def _observe_namespace(resource_id: str, stamp: Mapping[str, Any], host: _Host) -> Observed:
    name = naming.namespace_name(resource_id)
    missing = _observed(ResourceKind.NAMESPACE, resource_id, name, stamp, f"namespace {name} is missing")
    if host.devices(name) is None:
        return missing
    found = _observed(ResourceKind.NAMESPACE, resource_id, name, stamp, "")
    try:
        addresses = tuple(str(address) for address in ports.addresses_of(name))
    except NotThereError:
        return missing
    return Observed(found.id, found.kind, found.state, name, found.owner, "", addresses)


def _observe_link(link_id: str, stamp: Mapping[str, Any], links: Mapping[str, LinkSpec], host: _Host) -> Observed:
    spec = links.get(link_id)
    if spec is None:
        return _observed(ResourceKind.LINK, link_id, "", stamp, UNREADABLE)
    reason = next(filter(None, (_link_reason(spec, plan, host) for plan in plans_of(spec))), "")
    return _observed(ResourceKind.LINK, link_id, plan_link(spec).native_id, stamp, reason)


def _observe_path(path_id: str, stamp: Mapping[str, Any], stamps: Stamps) -> Observed:
    state = pathstamps.from_stamp(stamp)
    if state is None:
        return _observed(ResourceKind.PATH, path_id, "", stamp, UNREADABLE)
    fabric = paths.fabric_of(state.spec)
    condition, reason = paths.condition(stamps, path_id, fabric)
    return replace(_observed(ResourceKind.PATH, path_id, fabric, stamp, reason), state=condition)
