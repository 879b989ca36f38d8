"""What Heat cannot delete: the stack's own resources, one by one, users before what they use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from plugins.openstack.cloud import Cloud, Service
from plugins.openstack.errors import ApiError

_ORDER: Mapping[str, tuple[Service, str]] = {
    "OS::Neutron::PortChain": ("network", "/sfc/port_chains"),
    "OS::Neutron::FlowClassifier": ("network", "/sfc/flow_classifiers"),
    "OS::Neutron::PortPairGroup": ("network", "/sfc/port_pair_groups"),
    "OS::Neutron::PortPair": ("network", "/sfc/port_pairs"),
    "OS::Nova::Server": ("compute", "/servers"),
    "OS::Cinder::Volume": ("volume", "/volumes"),
    "OS::Neutron::Trunk": ("network", "/trunks"),
    "OS::Neutron::Port": ("network", "/ports"),
    "OS::Neutron::SecurityGroup": ("network", "/security-groups"),
    "OS::Neutron::Subnet": ("network", "/subnets"),
    "OS::Neutron::Net": ("network", "/networks"),
}
_SERVER_S, _LOOK_S = 60.0, 0.5
log = structlog.get_logger("plugins.openstack")


async def clear_away(cloud: Cloud, stack_path: str, *, force: bool) -> list[str]:
    """Delete what the stack has made; returns why, in words each, the rest resists. With `force` also what somebody
    has locked."""
    found = await cloud.get_or_none("orchestration", f"{stack_path}/resources")
    every = found["resources"] if found else []
    resists = []
    for kind, (service, path) in _ORDER.items():
        for one in every:
            if one["resource_type"] == kind and one.get("physical_resource_id"):
                resists.append(await _remove(cloud, service, f"{path}/{one['physical_resource_id']}", force=force))
    return list(filter(None, resists))


async def _remove(cloud: Cloud, service: Service, path: str, *, force: bool) -> str:
    """Why it resists; empty where it is gone."""
    try:
        if service == "compute" and force:
            await _act(cloud, path, {"unlock": None})
        await cloud.delete(service, path)
    except ApiError as error:
        log.warning("not cleared away", request=error.request, status=error.status, said=error.message[:200])
        return str(error)
    gone = service != "compute" or await _gone(cloud, path)
    return "" if gone else f"{path} is still there {_SERVER_S:.0f} s after its deletion was asked for"


async def _act(cloud: Cloud, path: str, action: Mapping[str, Any]) -> None:
    try:
        await cloud.call("compute", "POST", f"{path}/action", action)
    except ApiError as error:
        if error.status not in (404, 409):
            raise


async def _gone(cloud: Cloud, path: str) -> bool:
    until_s = time.monotonic() + _SERVER_S
    while time.monotonic() < until_s:
        if await cloud.get_or_none("compute", path) is None:
            return True
        await asyncio.sleep(_LOOK_S)
    return False
