"""Compute, Storage and Network on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import check
from vnfm.pluginkit.core import Core, checked
from vnfm.pluginkit.digest import spec_digest
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.inflight import Verb
from vnfm.pluginkit.problems import guarded, unimplemented
from vnfm.pluginkit.servicers import Context


@dataclass
class ComputeServicer(rpc.ComputeServicer):
    """Containers, microVMs and VMs."""

    core: Core

    async def AllocateCompute(self, request: pb.AllocateComputeRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Build and start."""
        async with guarded(context, "AllocateCompute", request.resource_id):
            self.core.ready()
            found = checked(request)
            check.check_compute(found, request)
            found.raise_found(request.resource_id)
            if request.runtime not in self.core.plugin.runtimes:
                raise check.refused_runtime(request.runtime, request.resource_id)
            for what, capability in check.needed_capabilities(request):
                self.core.offers(what, capability)

            async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
                await self.core.may_join(request.owner, request.resource_id, request.ports)
                return await self.core.plugin.compute.allocate_compute(request, digest, there, report)

            async for progress in self.core.allocate(request, build):
                yield progress

    async def OperateCompute(self, request: pb.OperateComputeRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Start, stop, reboot, pause, resume."""
        async with guarded(context, "OperateCompute", request.handle.resource_id):
            self.core.ready()
            found = check.Findings()
            check.check_handle(found, request.handle, "handle")
            check.check_owner(found, request.owner)
            found.expect(request.op != pb.OperateComputeRequest.OP_UNSPECIFIED, "op", "is missing")
            found.raise_found()
            if request.op in (pb.OperateComputeRequest.PAUSE, pb.OperateComputeRequest.RESUME):
                self.core.offers("op PAUSE and RESUME", pb.CAPABILITY_PAUSE)

            async def act(there: Stamped, report: Report) -> pb.Resource:
                return await self.core.plugin.compute.operate_compute(request, there, report)

            async for progress in self.core.change(
                request.owner, request.handle, spec_digest(request), "compute", pb.KIND_COMPUTE, act
            ):
                yield progress

    async def AttachPort(self, request: pb.AttachPortRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Attach or detach a port of what runs."""
        async with guarded(context, "AttachPort", request.compute.resource_id):
            self.core.ready()
            ports = self.core.plugin.ports
            if ports is None:
                raise unimplemented("AttachPort", "CAPABILITY_PORT_HOTPLUG")
            found = check.Findings()
            check.check_handle(found, request.compute, "compute")
            check.check_owner(found, request.owner)
            if request.detach:
                found.identifier(request.port.cp_id, "port.cp_id")
            else:
                check.check_port(found, request.port, "port")
            found.raise_found()

            async def act(there: Stamped, report: Report) -> pb.Resource:
                if not request.detach:
                    await self.core.may_join(request.owner, request.compute.resource_id, [request.port])
                return await ports.attach_port(request, there, report)

            async for progress in self.core.change(
                request.owner, request.compute, spec_digest(request), "compute", pb.KIND_COMPUTE, act
            ):
                yield progress

    async def Exec(
        self, request_iterator: AsyncIterator[pb.ExecInput], context: Context
    ) -> AsyncIterator[pb.ExecOutput]:
        """A command inside; ExecInput has no owner, so the handle's resource_id must be unique over managers."""
        async with guarded(context, "Exec"):
            self.core.ready()
            commands = self.core.plugin.commands
            if commands is None:
                raise unimplemented("Exec", "CAPABILITY_EXEC")
            start = await anext(request_iterator, None) or pb.ExecInput()
            found = check.Findings()
            check.check_handle(found, start.compute, "compute")
            found.expect(bool(start.command), "command", "is missing")
            found.raise_found()
            async for output in commands.exec_command(start, request_iterator):
                yield output


@dataclass
class StorageServicer(rpc.StorageServicer):
    """Volumes."""

    core: Core

    async def AllocateVolume(self, request: pb.AllocateVolumeRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Make a volume."""
        async with guarded(context, "AllocateVolume", request.resource_id):
            self.core.ready()
            volumes = self.core.plugin.volumes
            if volumes is None:
                raise unimplemented("AllocateVolume", "CAPABILITY_VOLUME")
            found = checked(request)
            found.expect(request.size_bytes > 0, "size_bytes", "expected more than 0")
            if request.from_image_sha256:
                found.sha256(request.from_image_sha256, "from_image_sha256")
            found.raise_found(request.resource_id)

            async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
                return await volumes.allocate_volume(request, digest, there, report)

            async for progress in self.core.allocate(request, build):
                yield progress


@dataclass
class NetworkServicer(rpc.NetworkServicer):
    """Links, their ends, and paths over them."""

    core: Core

    async def AllocateLink(self, request: pb.AllocateLinkRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """A virtual link."""
        async with guarded(context, "AllocateLink", request.resource_id):
            self.core.ready()
            found = checked(request)
            check.check_link(found, request)
            found.raise_found(request.resource_id)
            for what, capability in check.needed_for_link(request):
                self.core.offers(what, capability)

            async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
                return await self.core.plugin.links.allocate_link(request, digest, there, report)

            async for progress in self.core.allocate(request, build):
                yield progress

    async def JoinLink(self, request: pb.JoinLinkRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Tie the link to other VIMs' ends."""
        async with guarded(context, "JoinLink", request.link.resource_id):
            self.core.ready()
            join = self.core.plugin.join
            if join is None:
                raise unimplemented("JoinLink", "CAPABILITY_JOIN_VXLAN, CAPABILITY_JOIN_VLAN or CAPABILITY_JOIN_FLAT")
            found = check.Findings()
            check.check_join(found, request)
            found.raise_found()

            async def act(there: Stamped, report: Report) -> pb.Resource:
                return await join.join_link(request, there, report)

            async for progress in self.core.change(
                request.owner, request.link, spec_digest(request), "link", pb.KIND_LINK, act
            ):
                yield progress

    async def AllocateSap(self, request: pb.AllocateSapRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Where a chain begins or ends."""
        async with guarded(context, "AllocateSap", request.resource_id):
            self.core.ready()
            saps = self.core.plugin.saps
            if saps is None:
                raise unimplemented("AllocateSap", "CAPABILITY_SAP")
            found = checked(request)
            check.check_sap(found, request)
            found.raise_found(request.resource_id)

            async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
                await self.core.may_join(request.owner, request.resource_id, [request.port])
                return await saps.allocate_sap(request, digest, there, report)

            async for progress in self.core.allocate(request, build):
                yield progress

    async def AllocatePath(self, request: pb.AllocatePathRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Steer along the hops, or replace the path by a newer generation."""
        async with guarded(context, "AllocatePath", request.resource_id):
            self.core.ready()
            paths = self.core.plugin.paths
            if paths is None:
                raise unimplemented("AllocatePath", "CAPABILITY_PATH")
            found = checked(request)
            check.check_path(found, request)
            found.raise_found(request.resource_id)
            for what, capability in check.needed_for_path(request):
                self.core.offers(what, capability)

            async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
                return await paths.allocate_path(request, digest, there, report)

            async for progress in self.core.allocate(request, build, verb=Verb.REPLACE):
                yield progress

    async def ProbePath(self, request: pb.ProbePathRequest, context: Context) -> pb.ProbePathResponse:
        """Count real packets at every hop."""
        async with guarded(context, "ProbePath", request.path.resource_id):
            self.core.ready()
            probe = self.core.plugin.probe
            if probe is None:
                raise unimplemented("ProbePath", "CAPABILITY_PROBE")
            found = check.Findings()
            check.check_probe(found, request)
            found.raise_found()
            await self.core.admit(request.owner)
            there = await self.core.find(request.owner, request.path, "path", pb.KIND_PATH)
            answer = await probe.probe_path(request, there)
            answer.passings.sort(key=lambda passing: passing.at_ns)
            return answer
        raise AssertionError("unreachable: guarded ends the call")

    async def CountProbe(
        self, request_iterator: AsyncIterator[pb.CountProbeRequest], context: Context
    ) -> AsyncIterator[pb.CountProbeResponse]:
        """Count what another VIM sends, from `begin` to `end`."""
        async with guarded(context, "CountProbe"):
            self.core.ready()
            count = self.core.plugin.count
            if count is None:
                raise unimplemented("CountProbe", "CAPABILITY_COUNT")
            begin = (await anext(request_iterator, None) or pb.CountProbeRequest()).begin
            found = check.Findings()
            check.check_count(found, begin)
            found.raise_found()
            await self.core.admit(begin.owner)
            there = await self.core.find(begin.owner, begin.path, "path", pb.KIND_PATH)
            counting = await count.begin_count(begin, there)
            try:
                yield pb.CountProbeResponse(ready=pb.CountProbeResponse.Ready())
                last = await anext(request_iterator, None)
                if last is not None and last.HasField("end"):
                    answer = await counting.counts(last.end)
                    answer.passings.sort(key=lambda passing: passing.at_ns)
                    yield pb.CountProbeResponse(counts=answer)
            finally:
                await counting.close()
