"""Server groups: (anti-)affinity where Nova chooses the machine, asked for by annotation.

`vnfm.group` names the group (unique within the manager), `vnfm.group_policy` its policy. A group is made by the first
who names it; the last one leaves it empty, and empty ones of ours are swept when a compute is terminated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from plugins.openstack.cloud import Cloud
from plugins.openstack.errors import ApiError, to_problem
from vnfm.pb.common.v1.common_pb2 import Owner
from vnfm.pluginkit.problems import invalid

GROUP, POLICY = "vnfm.group", "vnfm.group_policy"
POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


def group_name(manager_id: str, group: str, policy: str) -> str:
    """The same for the same group of the same manager."""
    return f"vnfm-{hashlib.sha256(f'{manager_id}/{group}'.encode()).hexdigest()[:24]}-{policy}"


def named_group(manager_id: str, annotations: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and policy of the group that annotations ask for. Raises PluginError for a policy that Nova has not."""
    group = annotations.get(GROUP, "")
    if not group:
        return None
    policy = annotations.get(POLICY, "anti-affinity")
    if policy not in POLICIES:
        raise invalid(f"annotations.{POLICY}", f"is {policy!r}, expected one of {', '.join(POLICIES)}")
    return group_name(manager_id, group, policy), policy


async def group_id(cloud: Cloud, owner: Owner, annotations: Mapping[str, str]) -> str:
    """Of the group that the annotations name, made where it is not there; empty where they name none."""
    asked = named_group(owner.manager_id, annotations)
    if asked is None:
        return ""
    name, policy = asked
    for one in await _all(cloud):
        if one["name"] == name:
            return str(one["id"])
    try:
        made = await cloud.call(
            "compute", "POST", "/os-server-groups", {"server_group": {"name": name, "policy": policy}}
        )
    except ApiError as error:
        raise to_problem(error) from error
    return str(made["server_group"]["id"])


async def sweep(cloud: Cloud, group: str, member: str) -> None:
    """After server `member` is gone, or came to nothing: its group goes where it was the last."""
    found = await cloud.get_or_none("compute", f"/os-server-groups/{group}")
    if found is not None and set(found["server_group"]["members"]) <= {member}:
        await cloud.delete("compute", f"/os-server-groups/{group}")


async def _all(cloud: Cloud) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = (await cloud.get("compute", "/os-server-groups"))["server_groups"]
    return found
