"""Volumes where the cloud has Cinder, and a clear word where it has not: what a cloud is sent, over real HTTP."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scripted_cloud import OWNER
from small_cloud import SmallCloud, served

from plugins.openstack.cloud import Cloud, SdkTransport
from plugins.openstack.corrections import Facts, corrected
from plugins.openstack.settings import Login, Settings
from plugins.openstack.stacks import Stacks
from plugins.openstack.stamp import Stamp, stack_name, tags
from plugins.openstack.translate import Shape, translated
from plugins.openstack.volumes import Volumes
from plugins.openstack.world import Project, World
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.problems import PluginError

GIB = 1 << 30
CINDER = ("compute", "network", "orchestration", "block-storage")
NAME = stack_name(OWNER.manager_id, "v1")


class Images:
    """One image is there."""

    async def find(self, sha256: str) -> dict[str, str] | None:
        return {"id": "image-1"} if sha256 == "aa" else None


def made(cloud: SmallCloud) -> tuple[Volumes, Project]:
    login = Login(auth_url=cloud.auth_url, username="u", secret="s3cret", project="p", region="R")
    found = Cloud(SdkTransport(login), ThreadPoolExecutor(4), 2.0)
    project = Project(found, Stacks(found, 5), None)  # type: ignore[arg-type]
    return Volumes(World(Settings(login), project, {}, Images(), None)), project  # type: ignore[arg-type]


def asked(**more: Any) -> pb.AllocateVolumeRequest:
    return pb.AllocateVolumeRequest(resource_id="v1", owner=OWNER, size_bytes=GIB + 1, **more)


def allocate(volumes: Volumes, **more: Any) -> pb.Resource:
    return asyncio.run(volumes.allocate_volume(asked(**more), "digest", None, lambda *_: None))


def mount(resource_id: str = "v1", path: str = "/data", *, read_only: bool = False) -> pb.VolumeMount:
    return pb.VolumeMount(volume=Handle(resource_id=resource_id), path=path, read_only=read_only)


def test_a_volume_is_a_stack_with_room_enough_in_cinders_units() -> None:
    with served(SmallCloud(services=CINDER)) as cloud:
        volumes, _ = made(cloud)
        done = allocate(volumes, from_image_sha256="aa")
        assert (done.kind, done.state) == (pb.KIND_VOLUME, pb.STATE_RUNNING)
        (sent,) = cloud.bodies("POST", "/heat/v1/p1/stacks")
        (resource,) = sent["template"]["resources"].values()
        assert resource == {"type": "OS::Cinder::Volume", "properties": {"name": NAME, "size": 2, "image": "image-1"}}
        with pytest.raises(PluginError, match="put it first"):
            allocate(volumes, from_image_sha256="bb")


def test_a_cloud_without_cinder_says_so_and_makes_nothing() -> None:
    with served(SmallCloud()) as cloud:
        with pytest.raises(PluginError, match="Cinder is not in its catalogue") as refused:
            allocate(made(cloud)[0])
        assert refused.value.problem.type.endswith("not-offered")
        assert cloud.bodies("POST", "/heat/v1/p1/stacks") == []


def test_a_compute_attaches_what_it_mounts_in_order() -> None:
    request = pb.AllocateComputeRequest(resource_id="r", owner=OWNER, volumes=[mount(), mount("v2", "/dev/vdb")])
    facts = Facts("image", "flavor", (), volume_ids=("cinder-1", "cinder-2"))
    resources = corrected(translated(Shape(1, 64, 1, 0)), request, facts)["resources"]
    server = {"get_resource": "server"}
    assert [resources[f"attachment{number}"] for number in (0, 1)] == [
        {"type": "OS::Cinder::VolumeAttachment", "properties": {"instance_uuid": server, "volume_id": "cinder-1"}},
        {
            "type": "OS::Cinder::VolumeAttachment",
            "properties": {"instance_uuid": server, "volume_id": "cinder-2", "mountpoint": "/dev/vdb"},
        },
    ]


def test_volumes_are_found_by_id_and_one_that_is_not_there_is_named() -> None:
    with served(SmallCloud(services=CINDER)) as cloud:
        volumes, _ = made(cloud)
        cloud.stack(NAME, tags(Stamp("v1", pb.KIND_VOLUME, "digest", OWNER)), {"volume": "cinder-1"})
        assert asyncio.run(volumes.ids(OWNER.manager_id, [mount()])) == ("cinder-1",)
        with pytest.raises(PluginError, match="'v9' is not there"):
            asyncio.run(volumes.ids(OWNER.manager_id, [mount("v9")]))
        with pytest.raises(PluginError, match=r"volumes\[0\].read_only"):
            asyncio.run(volumes.ids(OWNER.manager_id, [mount(read_only=True)]))


def test_a_volume_in_use_stays() -> None:
    with served(SmallCloud(services=CINDER)) as cloud:
        volumes, project = made(cloud)
        asyncio.run(volumes.expect_unused(project, "cinder-1", "v1"))
        cloud.attachments = [{"server_id": "server-7"}]
        with pytest.raises(PluginError, match="server-7 still use the volume"):
            asyncio.run(volumes.expect_unused(project, "cinder-1", "v1"))
