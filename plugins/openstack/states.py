"""What a stack, and the server or network behind it, means in the contract's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugins.openstack.corrections import META_WANTED
from plugins.openstack.joining import link_end
from plugins.openstack.settings import Outside
from plugins.openstack.stacks import Stack
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped

STOPPED = "STOPPED"
_SERVER = {
    "ACTIVE": (pb.STATE_RUNNING, ""),
    "REBOOT": (pb.STATE_RUNNING, ""),
    "HARD_REBOOT": (pb.STATE_RUNNING, ""),
    "PASSWORD": (pb.STATE_RUNNING, ""),
    "MIGRATING": (pb.STATE_RUNNING, ""),
    "RESIZE": (pb.STATE_RUNNING, ""),
    "VERIFY_RESIZE": (pb.STATE_RUNNING, ""),
    "PAUSED": (pb.STATE_STOPPED, "paused"),
    "SUSPENDED": (pb.STATE_STOPPED, "suspended"),
    "BUILD": (pb.STATE_BUILDING, ""),
    "REBUILD": (pb.STATE_BUILDING, ""),
}


def stamped(
    stack: Stack,
    native: Mapping[str, Any] | None,
    networks: Mapping[str, Outside] | None = None,
    endpoints: tuple[str, ...] = (),
) -> Stamped:
    """The object as it is; `native` is its server or network, None where there is none (any more)."""
    stamp = stack.stamp
    state, reason = state_of(stack, native)
    native_id = str(native["id"]) if native else stack.id
    resource = pb.Resource(
        handle=Handle(resource_id=stamp.resource_id, native_id=native_id, state_version=1),
        state=state,
        reason=reason,
        host_id=stamp.host_id,
        kind=stamp.kind,
        owner=stamp.owner,
    )
    if native and stamp.kind == pb.KIND_COMPUTE:
        resource.addresses.extend(addresses(native))
    outside = networks.get(stamp.network) if networks and stamp.network else None
    if native and outside and (end := link_end(native, outside, endpoints)):
        resource.link_end.CopyFrom(end)
    return Stamped(resource, stamp.digest, stamp.generation, frozenset(stamp.members))


def state_of(stack: Stack, native: Mapping[str, Any] | None) -> tuple[pb.State.ValueType, str]:
    """State, and why where it is FAILED."""
    if stack.failed:
        return pb.STATE_FAILED, stack.reason or stack.status
    if not stack.complete:
        return pb.STATE_BUILDING, ""
    if stack.stamp.kind == pb.KIND_COMPUTE:
        return server_state(native)
    if stack.stamp.kind == pb.KIND_LINK and native is None:
        return pb.STATE_FAILED, "its network is gone"
    return pb.STATE_RUNNING, ""


def server_state(server: Mapping[str, Any] | None) -> tuple[pb.State.ValueType, str]:
    """A server that is shut off is only STOPPED where we were asked to stop it; else it died."""
    if server is None or server["status"] in ("DELETED", "SOFT_DELETED"):
        return pb.STATE_FAILED, "its server is gone"
    status = str(server["status"])
    if status == "SHUTOFF":
        if (server.get("metadata") or {}).get(META_WANTED) == STOPPED:
            return pb.STATE_STOPPED, ""
        return pb.STATE_FAILED, "its server was shut off, though nobody asked for it"
    if status == "ERROR":
        fault = str((server.get("fault") or {}).get("message") or "no fault is told")
        return pb.STATE_FAILED, f"its server is in ERROR: {fault}"
    return _SERVER.get(status, (pb.STATE_BUILDING, f"its server is {status}"))


def addresses(server: Mapping[str, Any]) -> list[str]:
    """All fixed addresses."""
    return [
        str(one["addr"])
        for network in (server.get("addresses") or {}).values()
        for one in network
        if one.get("OS-EXT-IPS:type", "fixed") == "fixed"
    ]
