"""Links, SAPs, paths and probes of the mock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from plugins.mock import probing, rules
from plugins.mock.compute import call_about, resource
from plugins.mock.script import Call, Do
from plugins.mock.stage import Stage, disturb
from plugins.mock.world import Spec, Thing
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.digest import spec_digest
from vnfm.pluginkit.handlers import Packet, Report, Stamped
from vnfm.pluginkit.problems import NEVER, NEW_PLACEMENT, not_found, not_ready, unimplemented

_GAP_NS = 10_000  # between two packets of a probe
_ENDPOINT = "192.0.2.1"  # TEST-NET-1: nothing answers there


class MockNetwork:
    """LinkPart, JoinPart, SapPart, PathPart and ProbePart."""

    def __init__(self, stage: Stage, *, steers: bool = True) -> None:
        self._stage = stage
        self._steers = steers

    async def allocate_link(
        self, request: pb.AllocateLinkRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Its VXLAN id follows from manager and resource_id, unless one was wished for."""
        made = resource(request, pb.KIND_LINK)
        segment = pb.Segment()
        segment.CopyFrom(request.segment)
        if segment.encap in (pb.Segment.ENCAP_UNSPECIFIED, pb.Segment.VXLAN):
            seed = hashlib.sha256(f"{request.owner.manager_id}/{request.resource_id}".encode()).digest()
            segment = pb.Segment(encap=pb.Segment.VXLAN, id=segment.id or 1 + int.from_bytes(seed[:3]) % 0xFFFFFE)
        elif segment.encap == pb.Segment.VLAN:
            segment = pb.Segment(encap=segment.encap, id=segment.id or 100)
        segment.physical_network = request.segment.physical_network
        made.link_end.CopyFrom(pb.LinkEnd(segment=segment, endpoints=[_ENDPOINT], mtu_bytes=request.mtu_bytes))
        cps = frozenset(member.cp_id for member in request.members)
        thing = Thing(made, request, spec_digest)
        call = Call("AllocateLink", request.resource_id, cps=cps)
        return await self._stage.act(call, lambda: self._stage.build(thing))

    async def join_link(self, request: pb.JoinLinkRequest, found: Stamped, report: Report) -> pb.Resource:
        """From then on the link's end tells the segment of the others; a VIM that chooses takes up nobody's."""
        call = Call("JoinLink", request.link.resource_id)
        thing = self._stage.world.get(request.owner.manager_id, request.link.resource_id)
        if thing is None or not isinstance(thing.spec, pb.AllocateLinkRequest) or not thing.spec.HasField("segment"):
            raise not_ready(f"link {request.link.resource_id!r} was allocated without a segment", retry=NEVER)
        told, own = request.ends[0].segment, thing.resource.link_end.segment
        if (told.encap, told.physical_network) != (own.encap, own.physical_network):
            raise not_ready("the ends are of another network, or joined by something else", retry=NEW_PLACEMENT)
        if self._stage.chooses(own.physical_network) and told.id != own.id:
            raise not_ready(f"segment {told.id} cannot be taken up: this VIM has chosen {own.id}", retry=NEW_PLACEMENT)
        joined = pb.Resource()
        joined.CopyFrom(thing.resource)
        joined.link_end.segment.id = told.id

        def effect() -> pb.Resource:
            self._stage.world.put(Thing(joined, thing.spec, thing.digest))
            return joined

        return await self._stage.act(call, effect)

    async def allocate_sap(
        self, request: pb.AllocateSapRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Its host and link must be there."""
        rules.known_host(self._stage.hosts, request.host_id)
        rules.need(self._stage.world, request.owner, request.port.link, pb.KIND_LINK, "port")
        made = resource(request, pb.KIND_SAP, request.host_id)
        made.addresses.extend(ip.partition("/")[0] for ip in request.port.ips)
        thing = Thing(made, request, spec_digest)
        call = call_about("AllocateSap", thing, request.resource_id)
        return await self._stage.act(call, lambda: self._stage.build(thing))

    async def allocate_path(
        self, request: pb.AllocatePathRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Where another generation was, this one takes its place."""
        before = self._stage.world.get(request.owner.manager_id, request.resource_id)
        if before is not None and not self._steers and _hops_digest(before.spec) != _hops_digest(request):
            raise unimplemented("other hops under the same path id", "CAPABILITY_STEER")
        rules.check_path(self._stage.world, request)
        thing = Thing(resource(request, pb.KIND_PATH), request, spec_digest)
        call = Call("AllocatePath", request.resource_id, cps=_cps(request))
        return await self._stage.act(call, lambda: self._stage.build(thing))

    async def probe_path(self, request: pb.ProbePathRequest, found: Stamped) -> pb.ProbePathResponse:
        """Packets come as far as hops run and are joined; the script can lose them before the last hop (partial)."""
        resource_id, manager_id = request.path.resource_id, request.owner.manager_id
        thing = self._stage.world.get(manager_id, resource_id)
        if thing is None or not isinstance(thing.spec, pb.AllocatePathRequest):
            raise not_found("path", resource_id)
        call = Call("ProbePath", resource_id, cps=_cps(thing.spec))
        fired = self._stage.fired(call)
        await disturb(call, [rule for rule in fired if rule.do is not Do.PARTIAL])
        way = probing.stations(self._stage.world, self._stage.hosts, thing)
        most = len(way) - 1 if any(rule.do is Do.PARTIAL for rule in fired) else len(way)
        if thing.resource.state != pb.STATE_RUNNING:
            most = 0
        trips = [probing.travel(way, number, most) for number in range(request.packets)]
        self._record(manager_id, thing.spec, trips)
        return probing.answer(way, trips, trace=request.trace, between=self._stage.distances.between_us)

    async def begin_count(self, begin: pb.CountProbeRequest.Begin, found: Stamped) -> MockCount:
        """Packets that another VIM sends come in by the path's edges and as far as hops run."""
        resource_id, manager_id = begin.path.resource_id, begin.owner.manager_id
        thing = self._stage.world.get(manager_id, resource_id)
        if thing is None or not isinstance(thing.spec, pb.AllocatePathRequest):
            raise not_found("path", resource_id)
        call = Call("CountProbe", resource_id, cps=_cps(thing.spec))
        await disturb(call, self._stage.fired(call))
        return MockCount(self._stage, thing)

    def _record(self, manager_id: str, path: pb.AllocatePathRequest, trips: Sequence[probing.Trip]) -> None:
        """Count what crossed the ports, and let captures see it."""
        world, taps = self._stage.world, self._stage.taps
        begun_ns = self._stage.clock_ns()
        world.cross(manager_id, path.resource_id, probing.counted(trips))
        if not taps:
            return
        ends = probing.end_addresses(world, manager_id, path)
        seen = [
            (begun_ns + number * _GAP_NS + passing.at_ns, number, passing)
            for number, trip in enumerate(trips)
            for passing in probing.passings(trip, self._stage.distances.between_us)
        ]
        for at_ns, number, passing in sorted(seen, key=lambda each: each[0]):
            frame = probing.frame(path.match, ends, number, reply=passing.reply)
            taps.pass_by((manager_id, passing.resource_id, passing.cp_id), Packet(at_ns, frame))


class MockCount:
    """See the kit's Counting."""

    def __init__(self, stage: Stage, path: Thing) -> None:
        self._stage = stage
        self._path = path

    async def counts(self, end: pb.CountProbeRequest.End) -> pb.ProbePathResponse:
        """What would have been seen of them."""
        way = probing.stations(self._stage.world, self._stage.hosts, self._path)
        trips = [probing.travel(way, number, len(way)) for number in range(end.packets)]
        return probing.answer(way, trips, trace=end.trace, between=self._stage.distances.between_us)

    async def close(self) -> None:
        """Nothing is held."""


def _hops_digest(path: Spec) -> str:
    return spec_digest(pb.AllocatePathRequest(hops=path.hops if isinstance(path, pb.AllocatePathRequest) else ()))


def _cps(path: pb.AllocatePathRequest) -> frozenset[str]:
    return frozenset(filter(None, (cp for hop in path.hops for cp in (hop.ingress_cp_id, hop.egress_cp_id))))
