"""VMs: a stack each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from plugins.openstack import states
from plugins.openstack.corrections import META_ID, META_MANAGER, META_WANTED, Facts, corrected
from plugins.openstack.errors import ApiError, to_problem
from plugins.openstack.flavors import disk_gib, wanted
from plugins.openstack.groups import group_id
from plugins.openstack.links import Links
from plugins.openstack.stacks import Stack
from plugins.openstack.stamp import Stamp
from plugins.openstack.translate import Shape, translated
from plugins.openstack.volumes import Volumes
from plugins.openstack.world import Project, World
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.problems import PluginError, failed, not_found, not_ready, timed_out

_OP = pb.OperateComputeRequest
_LOOK_S, _OPERATE_S = 0.3, 120.0
_ACTIONS: Mapping[int, tuple[Mapping[str, Any], str]] = {
    _OP.START: ({"os-start": None}, "ACTIVE"),
    _OP.STOP: ({"os-stop": None}, "SHUTOFF"),
    _OP.REBOOT: ({"reboot": {"type": "SOFT"}}, "ACTIVE"),
    _OP.PAUSE: ({"pause": None}, "PAUSED"),
    _OP.RESUME: ({"unpause": None}, "ACTIVE"),
}


class Computes:
    """ComputePart."""

    def __init__(self, world: World, links: Links, volumes: Volumes) -> None:
        self._world = world
        self._links = links
        self._volumes = volumes
        self._grouping = asyncio.Lock()
        self.groups: Counter[str] = Counter()
        """Server groups that servers are just being made in."""

    async def allocate_compute(
        self, request: pb.AllocateComputeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """By heat-translator, our corrections and Heat; done when Nova says ACTIVE."""
        begun_s = time.monotonic()
        world, project = self._world, self._world.project(request.owner.tenant)
        world.host(request.host_id, request.resource_id)
        stamp = Stamp(request.resource_id, pb.KIND_COMPUTE, spec_digest, request.owner, request.host_id)
        if found is not None and (stack := await self._joined(request, spec_digest, report)):
            return await self._made(project, stack, request, begun_s)
        facts, need = await self._facts(request, project)
        shape = Shape(need.vcpus, need.memory_mib, need.disk_gib, len(request.ports))
        hot = corrected(await project.cloud.run(translated, shape), request, facts)
        report(10, "asking Heat")
        self.groups[facts.group_id] += 1
        try:
            stack = await project.stacks.create(stamp, hot, report)
        except PluginError as error:
            if "lavor" in error.problem.detail:
                project.flavors.forget(need)
            if "mage" in error.problem.detail:
                world.images.forget(request.boot.image_sha256)
            for port in request.ports:
                self._links.forget(request.owner.manager_id, port.link.resource_id)
            raise
        finally:
            self.groups -= Counter([facts.group_id])
        return await self._made(project, stack, request, begun_s)

    async def _made(
        self, project: Project, stack: Stack, request: pb.AllocateComputeRequest, begun_s: float
    ) -> pb.Resource:
        server_id = str((await project.stacks.outputs(stack)).get("server") or stack.id)
        return pb.Resource(
            handle=Handle(resource_id=request.resource_id, native_id=server_id, state_version=1),
            state=pb.STATE_RUNNING,
            kind=pb.KIND_COMPUTE,
            owner=stack.stamp.owner,
            host_id=request.host_id,
            addresses=[ip.partition("/")[0] for port in request.ports for ip in port.ips],
            start_ms=int(1000 * (time.monotonic() - begun_s)),
        )

    async def _facts(self, request: pb.AllocateComputeRequest, project: Project) -> tuple[Facts, Any]:
        """Everything that the template names by id; asked for side by side."""
        image = await self._world.images.bootable(request.boot.image_sha256, request.boot.format)
        need = wanted(request, disk_gib(request.boot.size_bytes, image))
        flavor, wires, group, volumes = await asyncio.gather(
            project.flavors.get(need, request.resource_id),
            self._links.wires(project, request.owner.manager_id, request.ports),
            self._group(project, request),
            self._volumes.ids(request.owner.manager_id, request.volumes),
        )
        metadata = {META_ID: request.resource_id, META_MANAGER: request.owner.manager_id}
        zone = self._world.zone(request.host_id)
        return Facts(str(image["id"]), flavor, wires, zone, group, volumes, metadata), need

    async def _group(self, project: Project, request: pb.AllocateComputeRequest) -> str:
        chooses = not self._world.poller.admin
        async with self._grouping:
            return await group_id(project.cloud, request.owner, request.annotations, nova_chooses=chooses)

    async def _joined(self, request: pb.AllocateComputeRequest, spec_digest: str, report: Report) -> Stack | None:
        """What an earlier try began and Heat goes on with is waited for; what it left, or what died, goes away."""
        there = await self._world.stack(request.owner.manager_id, request.resource_id)
        if there is None:
            return None
        project, stack = there
        if stack.status == "CREATE_IN_PROGRESS" and stack.stamp.digest == spec_digest:
            report(5, "Heat is at it already")
            return await project.stacks.created(stack, report)
        report(5, "clearing away what failed before")
        await project.stacks.delete(stack, report, force=True)
        return None

    async def operate_compute(self, request: pb.OperateComputeRequest, found: Stamped, report: Report) -> pb.Resource:
        """Start, stop, reboot, pause, resume. That a stop was asked for is noted on the server, before it stops."""
        world = self._world
        there = await world.stack(request.owner.manager_id, request.handle.resource_id)
        server_id = (await there[0].stacks.outputs(there[1])).get("server") if there else None
        if there is None or not server_id:
            raise not_found("compute", request.handle.resource_id)
        project, stack = there
        path = f"/servers/{server_id}"
        action, target = _ACTIONS[request.op]
        if request.op == _OP.STOP:
            await self._note(project, path, states.STOPPED)
        server = await self._server(project, path)
        if server["status"] != target or request.op == _OP.REBOOT:
            await self._act(project, path, action, str(server["status"]))
            server = await self._reached(project, path, target, request)
        if request.op in (_OP.START, _OP.REBOOT, _OP.RESUME):
            await self._note(project, path, "RUNNING")
        now = await self._server(project, path)
        return states.stamped(stack, now).resource

    async def _act(self, project: Project, path: str, action: Mapping[str, Any], status: str) -> None:
        if "reboot" in action and status != "ACTIVE":
            action = {"reboot": {"type": "HARD"}}
        if "os-start" in action and status == "PAUSED":
            action = {"unpause": None}
        try:
            await project.cloud.call("compute", "POST", f"{path}/action", action)
        except ApiError as error:
            if error.status == 409:
                raise not_ready(f"the server is {status}: {error.message}") from error
            raise to_problem(error) from error

    async def _reached(
        self, project: Project, path: str, target: str, request: pb.OperateComputeRequest
    ) -> Mapping[str, Any]:
        until_s = time.monotonic() + _OPERATE_S + request.grace.seconds
        while True:
            server = await self._server(project, path)
            if server["status"] == target and not server.get("OS-EXT-STS:task_state"):
                return server
            if server["status"] == "ERROR":
                raise failed(states.server_state(server)[1], instance=request.handle.resource_id)
            if time.monotonic() > until_s:
                raise timed_out(f"the server stays {server['status']}", instance=request.handle.resource_id)
            await asyncio.sleep(_LOOK_S)

    async def _server(self, project: Project, path: str) -> Mapping[str, Any]:
        found = await project.cloud.get_or_none("compute", path)
        if found is None:
            raise not_found("server", path.rpartition("/")[2])
        server: Mapping[str, Any] = found["server"]
        return server

    async def _note(self, project: Project, path: str, wanted_state: str) -> None:
        try:
            body = {"metadata": {META_WANTED: wanted_state}}
            await project.cloud.call("compute", "POST", f"{path}/metadata", body)
        except ApiError as error:
            raise to_problem(error) from error
