"""Computes, volumes, ports and commands of the mock."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from plugins.mock import rules
from plugins.mock.script import Call
from plugins.mock.stage import Stage, disturb
from plugins.mock.world import Spec, Thing
from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.problems import failed, not_found, not_ready

_OP = pb.OperateComputeRequest
_AFTER_OP = {
    _OP.START: (pb.STATE_RUNNING, ""),
    _OP.STOP: (pb.STATE_STOPPED, ""),
    _OP.REBOOT: (pb.STATE_RUNNING, ""),
    _OP.PAUSE: (pb.STATE_STOPPED, "paused"),
    _OP.RESUME: (pb.STATE_RUNNING, ""),
}


def resource(spec: Spec, kind: pb.Kind.ValueType, host_id: str = "") -> pb.Resource:
    """A running object with its stamp; its native id follows from manager and resource_id."""
    seed = f"{spec.owner.manager_id}/{spec.resource_id}".encode()
    handle = Handle(
        resource_id=spec.resource_id, native_id=f"mock-{hashlib.sha256(seed).hexdigest()[:12]}", state_version=1
    )
    return pb.Resource(handle=handle, state=pb.STATE_RUNNING, host_id=host_id, kind=kind, owner=spec.owner)


def call_about(rpc: str, thing: Thing | None, resource_id: str) -> Call:
    """What a rule can match of a call about something that is there already."""
    if thing is None:
        return Call(rpc, resource_id)
    spec = thing.spec
    runtime = (
        pb.Runtime.Name(spec.runtime).removeprefix("RUNTIME_") if isinstance(spec, pb.AllocateComputeRequest) else ""
    )
    name = spec.name if isinstance(spec, pb.AllocateComputeRequest | pb.AllocateSapRequest) else ""
    return Call(rpc, resource_id, runtime, name, frozenset(port.cp_id for port in rules.ports(thing)))


class MockCompute:
    """ComputePart, PortPart, ExecPart and VolumePart."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def allocate_compute(
        self, request: pb.AllocateComputeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """At once, unless the script says otherwise."""
        report(10, "checking")
        cost = rules.check_compute(self._stage.world, self._stage.hosts, request)
        report(30, f"opening worker VM {request.host_id}" if request.HasField("worker") else "there is room")
        made = resource(request, pb.KIND_COMPUTE, request.host_id)
        made.addresses.extend(ip.partition("/")[0] for port in request.ports for ip in port.ips)
        made.start_ms = cost.start_ms
        made.overhead_memory_bytes = cost.memory_bytes
        thing = Thing(made, request, spec_digest)
        report(50, "starting")

        def started(start_ms: int) -> None:
            made.start_ms = start_ms

        call = call_about("AllocateCompute", thing, request.resource_id)
        return await self._stage.act(call, lambda: self._stage.build(thing), started=started)

    async def operate_compute(self, request: pb.OperateComputeRequest, found: Stamped, report: Report) -> pb.Resource:
        """Only the state changes. What died runs again, what lost a link does not."""
        thing = self._there(request.owner.manager_id, request.handle.resource_id)
        state, reason = _AFTER_OP[request.op]
        world = self._stage.world
        fate = world.fates.get(thing.key)

        def effect() -> pb.Resource:
            if fate is not None and fate.done and state == pb.STATE_RUNNING:
                if fate.cp_id:
                    raise failed(f"{fate.reason}: starting it anew does not mend that, allocate another one")
                world.set_fate(thing.key, None)
            found.resource.state = state
            found.resource.reason = reason
            return self._keep(Thing(found.resource, thing.spec, thing.digest))

        return await self._stage.act(call_about("OperateCompute", thing, request.handle.resource_id), effect)

    async def attach_port(self, request: pb.AttachPortRequest, found: Stamped, report: Report) -> pb.Resource:
        """The compute's ports change; the digest of what it was allocated by stays."""
        resource_id = request.compute.resource_id
        thing = self._there(request.owner.manager_id, resource_id)
        if not isinstance(thing.spec, pb.AllocateComputeRequest):
            raise not_found("compute", resource_id)
        if not request.detach:
            rules.need(self._stage.world, request.owner, request.port.link, pb.KIND_LINK, "port")
        spec = pb.AllocateComputeRequest()
        spec.CopyFrom(thing.spec)
        kept = [port for port in spec.ports if port.cp_id != request.port.cp_id]
        del spec.ports[:]
        spec.ports.extend(kept if request.detach else [*kept, request.port])

        def effect() -> pb.Resource:
            del found.resource.addresses[:]
            found.resource.addresses.extend(ip.partition("/")[0] for port in spec.ports for ip in port.ips)
            return self._keep(Thing(found.resource, spec, thing.digest))

        return await self._stage.act(call_about("AttachPort", thing, resource_id), effect)

    async def exec_command(
        self, start: pb.ExecInput, inputs: AsyncIterator[pb.ExecInput]
    ) -> AsyncIterator[pb.ExecOutput]:
        """`true`, `false`, `echo` and `cat` do what they do elsewhere; all else is not found (127)."""
        resource_id = start.compute.resource_id
        thing = next((each for each in self._stage.world.every() if each.key[1] == resource_id), None)
        if thing is None or thing.resource.kind != pb.KIND_COMPUTE:
            raise not_found("compute", resource_id)
        if thing.resource.state != pb.STATE_RUNNING:
            raise not_ready(f"compute {resource_id!r} does not run", instance=resource_id)
        call = call_about("Exec", thing, resource_id)
        await disturb(call, self._stage.fired(call))
        program, *words = start.command
        exit_code = {"true": 0, "false": 1, "echo": 0, "cat": 0}.get(program, 127)
        if program == "echo":
            yield pb.ExecOutput(stdout=(" ".join(words) + "\n").encode())
        elif program == "cat":
            if start.stdin:
                yield pb.ExecOutput(stdout=start.stdin)
            if not start.eof:
                async for more in inputs:
                    yield pb.ExecOutput(stdout=more.stdin)
                    if more.eof:
                        break
        elif exit_code == 127:
            yield pb.ExecOutput(stderr=f"{program}: not found\n".encode())
        yield pb.ExecOutput(exit_code=exit_code, exited=True)

    async def allocate_volume(
        self, request: pb.AllocateVolumeRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Only a name and a size."""
        world = self._stage.world
        rules.known_host(self._stage.hosts, request.host_id)
        if request.from_image_sha256 and world.image_bytes(request.from_image_sha256) is None:
            raise not_ready(f"image {request.from_image_sha256} is not present: PutImage, then the same call")
        thing = Thing(resource(request, pb.KIND_VOLUME, request.host_id), request, spec_digest)
        call = call_about("AllocateVolume", thing, request.resource_id)
        return await self._stage.act(call, lambda: self._stage.build(thing))

    def _there(self, manager_id: str, resource_id: str) -> Thing:
        thing = self._stage.world.get(manager_id, resource_id)
        if thing is None:
            raise not_found("compute", resource_id)
        return thing

    def _keep(self, thing: Thing) -> pb.Resource:
        self._stage.world.put(thing)
        return thing.resource
