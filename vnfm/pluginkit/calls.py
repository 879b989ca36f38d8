"""Each call on one resource, from its request to the work that is done for it: checked here, whichever way it came."""

from __future__ import annotations

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit import check
from vnfm.pluginkit.core import Asked, Core, checked
from vnfm.pluginkit.digest import spec_digest
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.inflight import Verb
from vnfm.pluginkit.problems import unimplemented

# Each of these raises PluginError for what is wrong with the request itself; nothing has been done then.


def allocate_compute(core: Core, request: pb.AllocateComputeRequest) -> Asked:
    """Build and start."""
    core.ready()
    found = checked(request)
    check.check_compute(found, request)
    found.raise_found(request.resource_id)
    if request.runtime not in core.plugin.runtimes:
        raise check.refused_runtime(request.runtime, request.resource_id)
    for what, capability in check.needed_capabilities(request):
        core.offers(what, capability)

    async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
        await core.may_join(request.owner, request.resource_id, request.ports)
        return await core.plugin.compute.allocate_compute(request, digest, there, report)

    return core.allocation(request, build)


def operate_compute(core: Core, request: pb.OperateComputeRequest) -> Asked:
    """Start, stop, reboot, pause, resume."""
    core.ready()
    found = check.Findings()
    check.check_handle(found, request.handle, "handle")
    check.check_owner(found, request.owner)
    found.expect(request.op != pb.OperateComputeRequest.OP_UNSPECIFIED, "op", "is missing")
    found.raise_found()
    if request.op in (pb.OperateComputeRequest.PAUSE, pb.OperateComputeRequest.RESUME):
        core.offers("op PAUSE and RESUME", pb.CAPABILITY_PAUSE)

    async def act(there: Stamped, report: Report) -> pb.Resource:
        return await core.plugin.compute.operate_compute(request, there, report)

    return core.changing(request.owner, request.handle, spec_digest(request), "compute", pb.KIND_COMPUTE, act)


def attach_port(core: Core, request: pb.AttachPortRequest) -> Asked:
    """Attach or detach a port of what runs."""
    core.ready()
    ports = core.plugin.ports
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
            await core.may_join(request.owner, request.compute.resource_id, [request.port])
        return await ports.attach_port(request, there, report)

    return core.changing(request.owner, request.compute, spec_digest(request), "compute", pb.KIND_COMPUTE, act)


def allocate_volume(core: Core, request: pb.AllocateVolumeRequest) -> Asked:
    """Make a volume."""
    core.ready()
    volumes = core.plugin.volumes
    if volumes is None:
        raise unimplemented("AllocateVolume", "CAPABILITY_VOLUME")
    found = checked(request)
    found.expect(request.size_bytes > 0, "size_bytes", "expected more than 0")
    if request.from_image_sha256:
        found.sha256(request.from_image_sha256, "from_image_sha256")
    found.raise_found(request.resource_id)

    async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
        return await volumes.allocate_volume(request, digest, there, report)

    return core.allocation(request, build)


def allocate_link(core: Core, request: pb.AllocateLinkRequest) -> Asked:
    """A virtual link."""
    core.ready()
    found = checked(request)
    check.check_link(found, request)
    found.raise_found(request.resource_id)
    for what, capability in check.needed_for_link(request):
        core.offers(what, capability)

    async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
        return await core.plugin.links.allocate_link(request, digest, there, report)

    return core.allocation(request, build)


def join_link(core: Core, request: pb.JoinLinkRequest) -> Asked:
    """Tie the link to other VIMs' ends."""
    core.ready()
    join = core.plugin.join
    if join is None:
        raise unimplemented("JoinLink", "CAPABILITY_JOIN_VXLAN, CAPABILITY_JOIN_VLAN or CAPABILITY_JOIN_FLAT")
    found = check.Findings()
    check.check_join(found, request)
    found.raise_found()

    async def act(there: Stamped, report: Report) -> pb.Resource:
        return await join.join_link(request, there, report)

    return core.changing(request.owner, request.link, spec_digest(request), "link", pb.KIND_LINK, act)


def allocate_sap(core: Core, request: pb.AllocateSapRequest) -> Asked:
    """Where a chain begins or ends."""
    core.ready()
    saps = core.plugin.saps
    if saps is None:
        raise unimplemented("AllocateSap", "CAPABILITY_SAP")
    found = checked(request)
    check.check_sap(found, request)
    found.raise_found(request.resource_id)

    async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
        await core.may_join(request.owner, request.resource_id, [request.port])
        return await saps.allocate_sap(request, digest, there, report)

    return core.allocation(request, build)


def allocate_path(core: Core, request: pb.AllocatePathRequest) -> Asked:
    """Steer along the hops, or replace the path by a newer generation."""
    core.ready()
    paths = core.plugin.paths
    if paths is None:
        raise unimplemented("AllocatePath", "CAPABILITY_PATH")
    found = checked(request)
    check.check_path(found, request)
    found.raise_found(request.resource_id)
    for what, capability in check.needed_for_path(request):
        core.offers(what, capability)

    async def build(digest: str, there: Stamped | None, report: Report) -> pb.Resource:
        return await paths.allocate_path(request, digest, there, report)

    return core.allocation(request, build, Verb.REPLACE)


def terminate(core: Core, request: pb.TerminateRequest) -> Asked:
    """Remove by handle; a resource_id is enough."""
    core.ready()
    found = check.Findings()
    check.check_handle(found, request.handle, "handle")
    check.check_owner(found, request.owner)
    found.raise_found()
    return core.termination(request)


async def probe_path(core: Core, request: pb.ProbePathRequest) -> pb.ProbePathResponse:
    """Count real packets at every hop."""
    core.ready()
    probe = core.plugin.probe
    if probe is None:
        raise unimplemented("ProbePath", "CAPABILITY_PROBE")
    found = check.Findings()
    check.check_probe(found, request)
    found.raise_found()
    await core.admit(request.owner)
    there = await core.find(request.owner, request.path, "path", pb.KIND_PATH)
    answer = await probe.probe_path(request, there)
    answer.passings.sort(key=lambda passing: passing.at_ns)
    return answer
