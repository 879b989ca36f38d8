"""What a host of the mock has room for, of each thing that it has, and who holds what after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.mock import rules
from plugins.mock.config import parse
from plugins.mock.world import Thing, World
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

GIB = 1 << 30
OWNER = Owner(manager_id="m", tenant="t")
HOST: dict[str, Any] = {
    "id": "h",
    "cells": 2,
    "cpu_milli": 8_000,
    "memory_bytes": 16 * GIB,
    "hugepage_bytes": 8 * GIB,
    "vfs": 4,
    "gpus": 2,
    "active": False,
}
HOSTS = {host.id: host for host in parse({"hosts": [HOST, {**HOST, "id": "ours", "only_tenant": "u"}]}, None).hosts}
LINK = Thing(
    pb.Resource(handle=Handle(resource_id="l"), state=pb.STATE_RUNNING, kind=pb.KIND_LINK, owner=OWNER),
    pb.AllocateLinkRequest(resource_id="l", owner=OWNER),
    "l",
)


def _request(resource_id: str, vfs: int = 0, host_id: str = "h", **amounts: Any) -> pb.AllocateComputeRequest:
    ports = [
        pb.Port(cp_id=f"cp{at}", link=Handle(resource_id="l"), vnic=pb.Port.DIRECT if at < vfs else pb.Port.NORMAL)
        for at in range(vfs + 1)
    ]
    wanted = {"cpu_milli": 100, "memory_bytes": GIB, **amounts}
    return pb.AllocateComputeRequest(
        resource_id=resource_id, owner=OWNER, host_id=host_id, runtime=pb.RUNTIME_VM, ports=ports, **wanted
    )


def _put(world: World, request: pb.AllocateComputeRequest) -> None:
    rules.check_compute(world, HOSTS, request)
    handle = Handle(resource_id=request.resource_id)
    made = pb.Resource(handle=handle, state=pb.STATE_RUNNING, kind=pb.KIND_COMPUTE, owner=OWNER)
    world.put(Thing(made, request, request.resource_id))


def _world(path: Path | None = None) -> World:
    world = World(path)
    world.put(LINK)
    return world


@pytest.mark.parametrize(
    ("half", "refused"),
    [
        ({"cpu_milli": 5_000}, "has 3000 cpu_milli free, 5000 are needed"),
        ({"memory_bytes": 8 * GIB}, "memory_bytes free.*overhead included"),
        ({"memory_bytes": 5 * GIB, "hugepage_bytes": 5 * GIB}, f"has {3 * GIB} hugepage_bytes free"),
        ({"vfs": 3}, "has 1 vfs free, 3 are needed"),
        ({"gpus": 2}, "has 0 gpus free"),
        ({"cpu_milli": 2_500, "numa_cell": 1}, "NUMA cell 1 of host 'h' has 1500 cpu_milli free"),
    ],
)
def test_a_host_is_full_when_any_of_what_it_has_is_used_up(half: dict[str, Any], refused: str) -> None:
    world = _world()
    _put(world, _request("a", **half))
    _put(world, _request("a", **half))  # the same one again takes nothing more
    with pytest.raises(PluginError, match=refused):
        _put(world, _request("b", **half))
    world.remove("m", "a")
    _put(world, _request("b", **half))


def test_huge_pages_are_no_ordinary_memory() -> None:
    world = _world()
    _put(world, _request("a", memory_bytes=8 * GIB, hugepage_bytes=8 * GIB))
    _put(world, _request("b", memory_bytes=15 * GIB))


def test_a_cell_that_is_not_there_and_a_host_of_another_tenant_are_refused() -> None:
    world = _world()
    with pytest.raises(PluginError, match="no NUMA cell 2"):
        _put(world, _request("a", numa_cell=2))
    with pytest.raises(PluginError, match="for tenant 'u' only"):
        _put(world, _request("a", host_id="ours"))
    with pytest.raises(PluginError, match="'nowhere' is unknown"):
        _put(world, _request("a", host_id="nowhere"))


def test_what_stands_where_is_found_again_after_a_restart(tmp_path: Path) -> None:
    world = _world(tmp_path / "state")
    _put(world, _request("a", cpu_milli=5_000))
    world.close()
    again = World(tmp_path / "state")
    assert [spec.resource_id for spec in again.computes_on("h")] == ["a"]
    assert rules.users(again, LINK) == ["a"]
    with pytest.raises(PluginError, match="cpu_milli"):
        _put(again, _request("b", cpu_milli=5_000))
    again.remove("m", "a")
    assert list(again.computes_on("h")) == []
    assert rules.users(again, LINK) == []
