"""Worker VMs that the mock opens: as many as its servers have room for, each there as long as something is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.mock import rules, workers
from plugins.mock.config import parse
from plugins.mock.world import Thing, World
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.check import Findings, check_compute, needed_capabilities
from vnfm.pluginkit.problems import PluginError

GIB = 1 << 30
OWNER = Owner(manager_id="m", tenant="t")
SIZE: dict[str, Any] = {"id": "small", "cpu_milli": 4_000, "memory_bytes": 4 * GIB, "start_ms": 900, "most": 2}
HOSTS = {
    host.id: host
    for host in parse(
        {"hosts": [{"id": "s", "cpu_milli": 10_000, "worker_sizes": [SIZE]}, {"id": "plain"}]}, None
    ).hosts
}


def _request(resource_id: str, host_id: str = "w1", size: str = "small", **changes: Any) -> pb.AllocateComputeRequest:
    wanted: dict[str, Any] = {"cpu_milli": 1_000, "memory_bytes": GIB, "runtime": pb.RUNTIME_CONTAINER}
    worker = pb.Worker(host_id=changes.pop("server", "s"), size=size) if size else None
    return pb.AllocateComputeRequest(
        resource_id=resource_id, owner=OWNER, host_id=host_id, worker=worker, **{**wanted, **changes}
    )


def _put(world: World, request: pb.AllocateComputeRequest) -> pb.Cost:
    cost = rules.check_compute(world, {**HOSTS, **workers.open_hosts(world, HOSTS)}, request)
    handle = Handle(resource_id=request.resource_id)
    made = pb.Resource(handle=handle, state=pb.STATE_RUNNING, kind=pb.KIND_COMPUTE, owner=OWNER)
    world.put(Thing(made, request, request.resource_id))
    return cost


def test_the_first_container_waits_for_the_worker_and_the_next_one_does_not(tmp_path: Path) -> None:
    world = World(tmp_path / "cloud.sqlite")
    assert [_put(world, _request(name)).start_ms for name in ("a", "b", "a")] == [950, 50, 50]
    assert workers.open_hosts(world, HOSTS)["w1"].parent_id == "s"
    world.remove("m", "a")
    world.close()
    again = World(tmp_path / "cloud.sqlite")
    assert list(workers.open_hosts(again, HOSTS)) == ["w1"]
    again.remove("m", "b")
    assert workers.open_hosts(again, HOSTS) == {}
    again.close()


def test_an_open_worker_takes_of_its_server_and_holds_no_more_than_it_has() -> None:
    world = World(None)
    _put(world, _request("a"))
    with pytest.raises(PluginError, match="host 'w1' has 3000 cpu_milli free, 3500 are needed"):
        _put(world, _request("b", cpu_milli=3_500))
    with pytest.raises(PluginError, match="host 's' has 6000 cpu_milli free, 7000 are needed"):
        _put(world, _request("c", host_id="s", size="", cpu_milli=7_000))
    _put(world, _request("d", host_id="w2"))
    with pytest.raises(PluginError, match="has 2 worker VMs of size 'small' open"):
        _put(world, _request("e", host_id="w3"))
    world.remove("m", "d")
    _put(world, _request("f", host_id="s", size="", cpu_milli=3_000))
    with pytest.raises(PluginError, match="host 's' has 3000 cpu_milli free, 4000 are needed"):
        _put(world, _request("g", host_id="w2"))


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"size": "huge"}, "host 's' opens no worker VM of size 'huge'"),
        ({"server": "plain"}, "host 'plain' opens no worker VM"),
        ({"server": "gone"}, "host 'gone' is unknown"),
        ({"runtime": pb.RUNTIME_KATA}, "host 'w1' does not offer RUNTIME_KATA"),
    ],
)
def test_what_cannot_be_opened_is_refused(changes: dict[str, Any], refused: str) -> None:
    with pytest.raises(PluginError, match=refused):
        _put(World(None), _request("a", **changes))


def test_the_same_worker_by_other_words_is_refused() -> None:
    world = World(None)
    _put(world, _request("a"))
    other = dict(HOSTS, t=HOSTS["s"])
    with pytest.raises(PluginError, match="'w1' is open on 's' as 'small'"):
        rules.check_compute(world, other, _request("b", server="t"))


def test_the_kit_lets_only_those_be_asked_that_open_workers_and_only_for_containers() -> None:
    asked = _request("a", runtime=pb.RUNTIME_VM, host_id="s")
    assert ("worker", pb.CAPABILITY_OPEN_WORKER) in list(needed_capabilities(asked))
    found = Findings()
    check_compute(found, asked)
    with pytest.raises(PluginError) as refused:
        found.raise_found()
    assert "worker.host_id" in str(refused.value)
    assert "expected CONTAINER in a worker VM" in str(refused.value)
