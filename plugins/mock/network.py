"""Links, SAPs, paths and probes of the mock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from plugins.mock import rules
from plugins.mock.compute import call_about, resource
from plugins.mock.script import Call, Do
from plugins.mock.stage import Stage, disturb
from plugins.mock.world import Thing
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Report, Stamped
from vnfm.pluginkit.problems import not_found

_ENDPOINT = "192.0.2.1"  # TEST-NET-1: nothing answers there
_WIRE_RTT_US = 4


class MockNetwork:
    """LinkPart, JoinPart, SapPart, PathPart and ProbePart."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def allocate_link(
        self, request: pb.AllocateLinkRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Its VXLAN id follows from manager and resource_id, unless one was wished for."""
        made = resource(request, pb.KIND_LINK)
        segment = request.segment
        if segment.encap in (pb.Segment.ENCAP_UNSPECIFIED, pb.Segment.VXLAN):
            seed = hashlib.sha256(f"{request.owner.manager_id}/{request.resource_id}".encode()).digest()
            segment = pb.Segment(encap=pb.Segment.VXLAN, id=segment.id or 1 + int.from_bytes(seed[:3]) % 0xFFFFFE)
        made.link_end.CopyFrom(pb.LinkEnd(segment=segment, endpoints=[_ENDPOINT]))
        cps = frozenset(member.cp_id for member in request.members)
        thing = Thing(made, request, spec_digest)
        return await self._stage.act(Call("AllocateLink", request.resource_id, cps=cps), lambda: self._keep(thing))

    async def join_link(self, request: pb.JoinLinkRequest, found: Stamped, report: Report) -> pb.Resource:
        """The ends of others change nothing that could be seen here."""
        call = Call("JoinLink", request.link.resource_id)
        return await self._stage.act(call, lambda: found.resource)

    async def allocate_sap(
        self, request: pb.AllocateSapRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Its host and link must be there."""
        rules.known_host(self._stage.hosts, request.host_id)
        rules.need(self._stage.world, request.owner, request.port.link, pb.KIND_LINK, "port")
        made = resource(request, pb.KIND_SAP, request.host_id)
        made.addresses.extend(ip.partition("/")[0] for ip in request.port.ips)
        thing = Thing(made, request, spec_digest)
        return await self._stage.act(call_about("AllocateSap", thing, request.resource_id), lambda: self._keep(thing))

    async def allocate_path(
        self, request: pb.AllocatePathRequest, spec_digest: str, found: Stamped | None, report: Report
    ) -> pb.Resource:
        """Where another generation was, this one takes its place."""
        rules.check_path(self._stage.world, request)
        cps = frozenset(filter(None, (cp for hop in request.hops for cp in (hop.ingress_cp_id, hop.egress_cp_id))))
        thing = Thing(resource(request, pb.KIND_PATH), request, spec_digest)
        return await self._stage.act(Call("AllocatePath", request.resource_id, cps=cps), lambda: self._keep(thing))

    async def probe_path(self, request: pb.ProbePathRequest, found: Stamped) -> pb.ProbePathResponse:
        """Counts are complete up to the first hop that does not run; the script can lose packets (partial)."""
        resource_id = request.path.resource_id
        thing = self._stage.world.get(request.owner.manager_id, resource_id)
        if thing is None or not isinstance(thing.spec, pb.AllocatePathRequest):
            raise not_found("path", resource_id)
        call = Call("ProbePath", resource_id)
        fired = self._stage.fired(call)
        await disturb(call, [rule for rule in fired if rule.do is not Do.PARTIAL])
        hops = thing.spec.hops
        alive = [self._runs(request.owner.manager_id, hop) for hop in hops]
        if any(rule.do is Do.PARTIAL for rule in fired):
            alive[-1] = False
        if thing.resource.state != pb.STATE_RUNNING:
            alive = [False] * len(hops)
        return _counts(hops, alive, [self._hop_us(request.owner.manager_id, hop) for hop in hops], request.packets)

    def _runs(self, manager_id: str, hop: pb.Hop) -> bool:
        if hop.WhichOneof("at") == "edge":
            return True
        thing = self._stage.world.get(manager_id, hop.compute.resource_id or hop.sap.resource_id)
        return thing is not None and thing.resource.state == pb.STATE_RUNNING

    def _hop_us(self, manager_id: str, hop: pb.Hop) -> int:
        thing = self._stage.world.get(manager_id, hop.compute.resource_id)
        if thing is None or not isinstance(thing.spec, pb.AllocateComputeRequest):
            return 0
        spec = thing.spec
        costs = (cost for host in self._stage.hosts if host.id == spec.host_id for cost in host.costs)
        return next((cost.hop_us for cost in costs if cost.runtime == spec.runtime), 0)

    def _keep(self, thing: Thing) -> pb.Resource:
        self._stage.world.put(thing)
        return thing.resource


def hop_name(hop: pb.Hop) -> str:
    """What a count is reported by."""
    return hop.name or hop.compute.resource_id or hop.sap.resource_id or "edge"


def _counts(hops: Sequence[pb.Hop], alive: Sequence[bool], hop_us: Sequence[int], packets: int) -> pb.ProbePathResponse:
    """A hop adds its latency at each of the two link ends that a packet crosses, on its way there and back."""
    response = pb.ProbePathResponse(complete=all(alive))
    arriving = packets if alive[0] else 0
    for index in range(len(hops) - 1):
        received = arriving if alive[index + 1] else 0
        rtt_us = 2 * (hop_us[index] + hop_us[index + 1]) + _WIRE_RTT_US
        count = pb.ProbePathResponse.HopCount(
            to=hop_name(hops[index + 1]), sent=arriving, received=received, rtt_us=rtt_us if all(alive) else 0
        )
        setattr(count, "from", hop_name(hops[index]))  # a word of Python's own
        response.hops.append(count)
        arriving = received
    response.rtt_us = sum(count.rtt_us for count in response.hops)
    return response
