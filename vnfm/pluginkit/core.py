"""What every call passes before a handler: configured, fenced, joined, compared with what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, field

import grpc

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit import check
from vnfm.pluginkit.digest import spec_digest
from vnfm.pluginkit.fence import Fences
from vnfm.pluginkit.handlers import Plugin, Report, Stamped
from vnfm.pluginkit.inflight import Flight, Flights, Key, Verb, Work
from vnfm.pluginkit.problems import (
    PluginError,
    already_exists,
    invalid,
    not_found,
    not_ready,
    unimplemented,
)

Request = (
    pb.AllocateComputeRequest
    | pb.AllocateLinkRequest
    | pb.AllocateSapRequest
    | pb.AllocatePathRequest
    | pb.AllocateVolumeRequest
)
Build = Callable[[str, Stamped | None, Report], Awaitable[pb.Resource]]
Change = Callable[[Stamped, Report], Awaitable[pb.Resource]]

_USABLE = (pb.STATE_RUNNING, pb.STATE_STOPPED)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call whose request is in order, and what is to be done for it."""

    owner: Owner
    resource_id: str
    verb: Verb
    digest: str
    work: Work

    @property
    def key(self) -> Key:
        """What it is about, to which others must not do anything meanwhile."""
        return self.owner.manager_id, self.resource_id


@dataclass
class Core:
    """One plugin's calls. Shared by the servicers, which only take requests apart."""

    plugin: Plugin
    flights: Flights = field(default_factory=Flights)
    fences: Fences = field(default_factory=Fences)
    configured: bool = False

    def ready(self) -> None:
        """FAILED_PRECONDITION until Configure was called."""
        if not self.configured:
            raise not_ready("Configure was not called: call it first, then the same call")

    async def admit(self, owner: Owner) -> None:
        """The caller holds the lease. The first call of a manager seeds its fence from what is stamped."""
        if not self.fences.known(owner.manager_id):
            for stamped in await self.plugin.resources.find_all(owner.manager_id):
                self.fences.seed(owner.manager_id, stamped.resource.owner.fence)
        self.fences.check(owner)

    def offers(self, what: str, capability: pb.Capability.ValueType) -> None:
        """UNIMPLEMENTED unless the capability is offered."""
        if capability not in self.plugin.offered():
            raise unimplemented(what, pb.Capability.Name(capability))

    async def may_join(self, owner: Owner, resource_id: str, ports: Iterable[pb.Port]) -> None:
        """UNIMPLEMENTED where a port names a link whose members were others, unless CAPABILITY_STEER is offered."""
        if pb.CAPABILITY_STEER in self.plugin.offered():
            return
        for port in ports:
            link = await self.plugin.resources.find(owner.manager_id, port.link.resource_id)
            if link is not None and link.members and resource_id not in link.members:
                what = f"port {port.cp_id!r} as a further member of link {port.link.resource_id!r}"
                raise unimplemented(what, "CAPABILITY_STEER")

    async def find(self, owner: Owner, handle: Handle, what: str, *kinds: pb.Kind.ValueType) -> Stamped:
        """The object that a call is about; NOT_FOUND where it is not there (or is of another kind)."""
        found = await self.plugin.resources.find(owner.manager_id, handle.resource_id)
        if found is None or found.resource.kind not in kinds:
            raise not_found(what, handle.resource_id)
        _same_tenant(owner, found)
        return found

    def allocation(self, request: Request, build: Build, verb: Verb = Verb.ALLOCATE) -> Asked:
        """An Allocate call, to be joined with equal ones; `build` is called where nothing usable is there yet."""
        digest = spec_digest(request)

        async def work(report: Report) -> pb.Resource:
            found = await self.plugin.resources.find(request.owner.manager_id, request.resource_id)
            if found is not None:
                _compare(request, digest, found)
                if found.spec_digest == digest and found.resource.state in _USABLE:
                    return found.resource
            made = await build(digest, found, report)
            self.plugin.changes.publish(made)
            return made

        return Asked(request.owner, request.resource_id, verb, digest, work)

    def changing(
        self, owner: Owner, handle: Handle, request_digest: str, what: str, kind: pb.Kind.ValueType, act: Change
    ) -> Asked:
        """A call that changes what is there already; it waits until nothing else is done to the same resource."""

        async def work(report: Report) -> pb.Resource:
            changed = await act(await self.find(owner, handle, what, kind), report)
            self.plugin.changes.publish(changed)
            return changed

        return Asked(owner, handle.resource_id, Verb.OPERATE, request_digest, work)

    def termination(self, request: pb.TerminateRequest) -> Asked:
        """Terminate takes precedence over an allocation in flight, and sees it end before it acts."""
        resource_id = request.handle.resource_id
        gone = pb.Resource(handle=Handle(resource_id=resource_id), state=pb.STATE_ABSENT, owner=request.owner)

        async def work(report: Report) -> pb.Resource:
            found = await self.plugin.resources.find(request.owner.manager_id, resource_id)
            if found is not None:
                _same_tenant(request.owner, found)
                gone.kind = found.resource.kind
                gone.owner.CopyFrom(found.resource.owner)
            await self.plugin.resources.terminate(request, found, report)
            if found is not None:
                self.plugin.changes.publish(gone)
            return gone

        return Asked(request.owner, resource_id, Verb.TERMINATE, spec_digest(request), work)

    async def run(self, asked: Asked) -> AsyncIterator[pb.Progress]:
        """Fenced, and joined with what is in flight: its progress up to `done`."""
        await self.admit(asked.owner)
        async for progress in self.flights.run(asked.key, asked.verb, asked.digest, asked.work):
            yield progress

    def begin(self, asked: Asked) -> Flight | None:
        """The same for who wants to be told rather than wait; None where something has to be waited for before."""
        if not self.fences.known(asked.owner.manager_id):
            return None
        self.fences.check(asked.owner)
        return self.flights.begin(asked.key, asked.verb, asked.digest, asked.work)

    async def enter(self, asked: Asked) -> Flight:
        """The same, waiting for it."""
        await self.admit(asked.owner)
        return await self.flights.enter(asked.key, asked.verb, asked.digest, asked.work)


def checked(request: Request) -> check.Findings:
    """Findings about what all Allocate requests share."""
    found = check.Findings()
    found.identifier(request.resource_id, "resource_id")
    check.check_owner(found, request.owner)
    return found


def asked_for(resource: pb.Resource, wanted: Owner, resource_ids: Container[str], kinds: Container[int] = ()) -> bool:
    """Whether a query, whose empty fields match anything, asks for this resource."""
    stamp = resource.owner
    return (
        (not kinds or resource.kind in kinds)
        and stamp.manager_id == wanted.manager_id
        and wanted.tenant in ("", stamp.tenant)
        and wanted.vnf_instance_id in ("", stamp.vnf_instance_id)
        and wanted.chain_id in ("", stamp.chain_id)
        and wanted.op_occ_id in ("", stamp.op_occ_id)
        and (not resource_ids or resource.handle.resource_id in resource_ids)
    )


def _compare(request: Request, digest: str, found: Stamped) -> None:
    """Refuse another specification under the same id; a path may be replaced by a newer generation."""
    if found.spec_digest == digest:
        return
    if isinstance(request, pb.AllocatePathRequest) and found.resource.kind == pb.KIND_PATH:
        if request.generation > found.generation:
            return
        if request.generation < found.generation:
            raise PluginError(
                "stale-generation",
                f"generation is {request.generation}, but {found.generation} steers already",
                grpc.StatusCode.ABORTED,
                instance=request.resource_id,
            )
    raise already_exists(
        request.resource_id,
        f"{request.resource_id!r} is there already with another specification: mint a new id, or terminate it first",
    )


def _same_tenant(owner: Owner, found: Stamped) -> None:
    stamped = found.resource.owner.tenant
    if stamped != owner.tenant:
        resource_id = found.resource.handle.resource_id
        raise invalid("owner.tenant", f"is {owner.tenant!r}, but {resource_id!r} is another's", instance=resource_id)
