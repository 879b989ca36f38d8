"""What dies by itself is told once, with its reason; what is removed on purpose is not."""

from __future__ import annotations

import asyncio
from typing import Any

from scripted_cloud import OWNER, Answer, cloud_of, said

from plugins.openstack.flavors import Flavors
from plugins.openstack.images import Images
from plugins.openstack.poller import InventoryPoller
from plugins.openstack.settings import parse
from plugins.openstack.stacks import Stacks
from plugins.openstack.stamp import Stamp, stack_name, tags
from plugins.openstack.watch import Watch
from plugins.openstack.world import Project, World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.publish import InventoryPublisher

STAMP = Stamp("r1", pb.KIND_COMPUTE, "d" * 64, OWNER, host_id="az:nova")
NAME = stack_name("m", "r1")
OURS = {"vnfm_resource_id": "r1", "vnfm_manager_id": "m"}


def stack(status: str = "CREATE_COMPLETE") -> Answer:
    return said({"stacks": [{"id": "s1", "stack_name": NAME, "stack_status": status, "tags": tags(STAMP)}]})


def servers(*every: dict[str, Any]) -> Answer:
    return said({"servers": list(every)})


def one(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "n1", "status": status, "metadata": OURS, **more}


def told(rounds: list[Answer], stacks: list[Answer], now: Answer) -> list[pb.Resource]:
    """What is published over as many looks as there are rounds; `now` is what Nova says of the server itself."""
    outputs = {"outputs": [{"output_key": "server", "output_value": "n1"}]}
    looks = len(rounds)
    cloud, _ = cloud_of(
        {
            ("GET", "/servers/detail"): rounds,
            ("GET", "/stacks"): stacks,
            ("GET", f"/stacks/{NAME}/s1"): [said({"stack": outputs})],
            ("GET", "/servers/n1"): [now],
        }
    )

    async def look() -> list[pb.Resource]:
        settings = parse({"cloud": "c"}, {})
        project = Project(cloud, Stacks(cloud, 5), Flavors(cloud, "auto"))
        poller = InventoryPoller([cloud], settings, InventoryPublisher())
        found: list[pb.Resource] = []
        watch = Watch(World(settings, project, {}, Images(cloud), poller), found.append)
        for _ in range(looks):
            await watch.look()
        return found

    return asyncio.run(look())


GONE = said({"itemNotFound": {"message": "gone"}}, 404)


def test_a_server_that_vanishes_is_told_once_though_its_metadata_went_with_it() -> None:
    deleted = servers({"id": "n1", "status": "DELETED", "metadata": {}})
    found = told([servers(one("ACTIVE")), deleted, deleted], [stack()], GONE)
    assert [(each.state, each.reason, each.handle.resource_id) for each in found] == [
        (pb.STATE_FAILED, "its server is gone", "r1")
    ]
    assert found[0].owner == OWNER


def test_a_server_that_was_gone_before_the_first_look_is_told() -> None:
    assert [each.state for each in told([servers()], [stack()], GONE)] == [pb.STATE_FAILED]


def test_what_is_removed_on_purpose_is_not_told() -> None:
    deleted = servers({"id": "n1", "status": "DELETED", "metadata": {}})
    rounds = [servers(one("ACTIVE")), deleted]
    assert told(rounds, [stack(), stack("DELETE_IN_PROGRESS")], GONE) == []


def test_an_error_is_told_in_novas_words_and_again_only_when_it_comes_again() -> None:
    broken = one("ERROR", fault={"message": "disk is full"})
    found = told([servers(one("ACTIVE")), servers(broken), servers(broken)], [stack()], said({"server": broken}))
    assert [each.reason for each in found] == ["its server is in ERROR: disk is full"]


def test_a_list_that_is_older_than_the_truth_is_not_believed() -> None:
    rounds = [servers(one("ACTIVE")), servers(one("ERROR"))]
    assert told(rounds, [stack()], said({"server": one("ACTIVE")})) == []
