"""Compute, Storage and Network on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import calls, check
from vnfm.pluginkit.core import Core
from vnfm.pluginkit.problems import guarded, unimplemented
from vnfm.pluginkit.servicers import Context


@dataclass
class ComputeServicer(rpc.ComputeServicer):
    """Containers, microVMs and VMs."""

    core: Core

    async def AllocateCompute(self, request: pb.AllocateComputeRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Build and start."""
        async with guarded(context, "AllocateCompute", request.resource_id):
            async for progress in self.core.run(calls.allocate_compute(self.core, request)):
                yield progress

    async def OperateCompute(self, request: pb.OperateComputeRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Start, stop, reboot, pause, resume."""
        async with guarded(context, "OperateCompute", request.handle.resource_id):
            async for progress in self.core.run(calls.operate_compute(self.core, request)):
                yield progress

    async def AttachPort(self, request: pb.AttachPortRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Attach or detach a port of what runs."""
        async with guarded(context, "AttachPort", request.compute.resource_id):
            async for progress in self.core.run(calls.attach_port(self.core, request)):
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
            async for progress in self.core.run(calls.allocate_volume(self.core, request)):
                yield progress


@dataclass
class NetworkServicer(rpc.NetworkServicer):
    """Links, their ends, and paths over them."""

    core: Core

    async def AllocateLink(self, request: pb.AllocateLinkRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """A virtual link."""
        async with guarded(context, "AllocateLink", request.resource_id):
            async for progress in self.core.run(calls.allocate_link(self.core, request)):
                yield progress

    async def JoinLink(self, request: pb.JoinLinkRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Tie the link to other VIMs' ends."""
        async with guarded(context, "JoinLink", request.link.resource_id):
            async for progress in self.core.run(calls.join_link(self.core, request)):
                yield progress

    async def AllocateSap(self, request: pb.AllocateSapRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Where a chain begins or ends."""
        async with guarded(context, "AllocateSap", request.resource_id):
            async for progress in self.core.run(calls.allocate_sap(self.core, request)):
                yield progress

    async def AllocatePath(self, request: pb.AllocatePathRequest, context: Context) -> AsyncIterator[pb.Progress]:
        """Steer along the hops, or replace the path by a newer generation."""
        async with guarded(context, "AllocatePath", request.resource_id):
            async for progress in self.core.run(calls.allocate_path(self.core, request)):
                yield progress

    async def ProbePath(self, request: pb.ProbePathRequest, context: Context) -> pb.ProbePathResponse:
        """Count real packets at every hop."""
        async with guarded(context, "ProbePath", request.path.resource_id):
            return await calls.probe_path(self.core, request)
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
