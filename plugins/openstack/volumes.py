"""Volumes in Cinder, a stack each, where the cloud's catalogue has it."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from plugins.openstack import states
from plugins.openstack.corrections import VERSION
from plugins.openstack.stamp import Stamp, stack_name
from plugins.openstack.translate import Hot
from plugins.openstack.world import Project, World
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.problems import NEW_PLACEMENT, PluginError, invalid, not_ready

GIB = 1 << 30
VOLUME = "volume"


class Volumes:
    """VolumePart."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def allocate_volume(
        self, request: pb.AllocateVolumeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Done when Cinder says available. What an earlier try left goes first."""
        world, project = self._world, self._world.project(request.owner.tenant)
        await _expect_cinder(project, request.resource_id)
        image_id = await self._image(request.from_image_sha256)
        manager_id = request.owner.manager_id
        if found is not None and (there := await world.stack(manager_id, request.resource_id)):
            await there[0].stacks.delete(there[1], report, force=True)
        stamp = Stamp(request.resource_id, pb.KIND_VOLUME, spec_digest, request.owner)
        hot = volume(stack_name(manager_id, request.resource_id), request.size_bytes, image_id)
        return states.stamped(await project.stacks.create(stamp, hot, report), None).resource

    async def _image(self, sha256: str) -> str:
        if not sha256:
            return ""
        image = await self._world.images.find(sha256)
        if image is None:
            raise not_ready(f"image {sha256} is not present: put it first")
        return str(image["id"])

    async def ids(self, manager_id: str, mounts: Sequence[pb.VolumeMount]) -> tuple[str, ...]:
        """Cinder's, of the volumes that a compute mounts. FAILED_PRECONDITION names one that is not there."""
        found = []
        for number, mount in enumerate(mounts):
            if mount.read_only:
                raise invalid(f"volumes[{number}].read_only", "Heat attaches volumes for reading and writing only")
            there = await self._world.stack(manager_id, mount.volume.resource_id)
            if there is None or there[1].stamp.kind != pb.KIND_VOLUME or not there[1].complete:
                raise not_ready(f"volume {mount.volume.resource_id!r} is not there: allocate it first")
            found.append(str((await there[0].stacks.outputs(there[1]))[VOLUME]))
        return tuple(found)

    async def expect_unused(self, project: Project, volume_id: str, instance: str) -> None:
        """FAILED_PRECONDITION while it is attached to a server."""
        found = await project.cloud.get_or_none("volume", f"/volumes/{volume_id}")
        users = [str(one.get("server_id")) for one in found["volume"].get("attachments") or ()] if found else []
        if users:
            raise not_ready(f"{', '.join(users[:3])} still use the volume: terminate them first", instance=instance)


async def _expect_cinder(project: Project, instance: str) -> None:
    if await project.cloud.get_or_none("volume", "/types", params={"limit": 1}) is None:
        raise PluginError(
            "not-offered",
            "the cloud has no block storage: Cinder is not in its catalogue. Place it elsewhere, or let the VDU do "
            "with its own disk",
            grpc.StatusCode.FAILED_PRECONDITION,
            retry=NEW_PLACEMENT,
            instance=instance,
        )


def volume(name: str, size_bytes: int, image_id: str) -> Hot:
    """A volume; sizes are rounded up to what Cinder counts in."""
    properties: dict[str, object] = {"name": name, "size": max(1, -(-size_bytes // GIB))}
    if image_id:
        properties["image"] = image_id
    return {
        "heat_template_version": VERSION,
        "resources": {VOLUME: {"type": "OS::Cinder::Volume", "properties": properties}},
        "outputs": {VOLUME: {"value": {"get_resource": VOLUME}}},
    }
