"""The servers of a project are read whole once, and then by what has changed."""

from __future__ import annotations

import asyncio
from typing import Any

from scripted_cloud import cloud_of, said

from plugins.openstack.servers import Servers

NOON_S = 1_750_000_000.0  # 2025-06-15T15:06:40Z


def server(server_id: str, status: str = "ACTIVE") -> dict[str, Any]:
    return {"id": server_id, "status": status}


def test_after_the_first_look_only_what_has_changed_is_asked_for() -> None:
    lists = [[server("a"), server("b")], [server("b", "DELETED"), server("c")], []]
    cloud, scripted = cloud_of({("GET", "/servers/detail"): [said({"servers": found}) for found in lists]})
    servers = Servers(cloud, lambda: NOON_S)

    async def looks() -> list[list[str]]:
        return [[str(one["id"]) for one in await servers.read()] for _ in lists]

    assert asyncio.run(looks()) == [["a", "b"], ["a", "c"], ["a", "c"]]
    asked = [params.get("changes-since") for _, _, params in scripted.calls]
    assert asked == [None, "2025-06-15T15:06:10Z", "2025-06-15T15:06:10Z"], "half a minute is looked at twice"


def test_at_times_all_are_asked_for_and_what_nobody_told_of_is_forgotten() -> None:
    rounds = [*([[server("a")]] + [[]] * 29), [server("b")]]
    cloud, _ = cloud_of({("GET", "/servers/detail"): [said({"servers": found}) for found in rounds]})
    servers = Servers(cloud, lambda: NOON_S)

    async def last_look() -> list[str]:
        for _ in rounds[:-1]:
            assert [one["id"] for one in await servers.read()] == ["a"]
        return [str(one["id"]) for one in await servers.read()]

    assert asyncio.run(last_look()) == ["b"]
