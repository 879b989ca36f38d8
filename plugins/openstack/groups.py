"""Server groups: (anti-)affinity where Nova chooses the machine, asked for by annotation.

`vnfm.group` names the group (unique within the manager), `vnfm.group_policy` its policy. `vnfm.affinity_group` and
`vnfm.affinity_policy` are the manager's own, for a VNFD's rules of server scope: they count where Nova chooses. Where
the manager names the host its placement has seen to them, and knows which servers are about to go. A group is made by
the first who names it; the last one leaves it empty, and empty ones of ours are swept when a compute is terminated.
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
RULE, RULE_POLICY = "vnfm.affinity_group", "vnfm.affinity_policy"
POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


def group_name(manager_id: str, group: str, policy: str) -> str:
    """The same for the same group of the same manager."""
    return f"vnfm-{hashlib.sha256(f'{manager_id}/{group}'.encode()).hexdigest()[:24]}-{policy}"


def named_group(
    manager_id: str, annotations: Mapping[str, str], *, nova_chooses: bool = False
) -> tuple[str, str] | None:
    """Name and policy of the group that annotations ask for. Raises PluginError for a policy that Nova has not."""
    by_rule = nova_chooses and GROUP not in annotations
    name, word = (RULE, RULE_POLICY) if by_rule else (GROUP, POLICY)
    group = annotations.get(name, "")
    if not group:
        return None
    policy = annotations.get(word, "anti-affinity")
    if policy not in POLICIES:
        raise invalid(f"annotations.{word}", f"is {policy!r}, expected one of {', '.join(POLICIES)}")
    return group_name(manager_id, group, policy), policy


async def group_id(cloud: Cloud, owner: Owner, annotations: Mapping[str, str], *, nova_chooses: bool) -> str:
    """Of the group that the annotations name, made where it is not there; empty where they name none. Nova knows no
    unique names: one caller at a time."""
    asked = named_group(owner.manager_id, annotations, nova_chooses=nova_chooses)
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
