"""Links that go on in other VIMs: whose segment they have, and paths that come in and go out by them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
import pytest
from contract_client import CALL_S, Refused, done, new_id, refusals
from contract_world import Running, World, port

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

JOINING = {
    pb.Segment.VXLAN: pb.CAPABILITY_JOIN_VXLAN,
    pb.Segment.VLAN: pb.CAPABILITY_JOIN_VLAN,
    pb.Segment.FLAT: pb.CAPABILITY_JOIN_FLAT,
}


def reach(world: World, running: Running) -> pb.Reach:
    """A network that links can be joined by with segments of their own."""
    if not set(JOINING.values()) & set(running.offer.capabilities):
        pytest.skip(f"{running.target.name} joins no links with those of other VIMs")
    for chunk in world.caller.snapshot():
        for one in chunk.reaches:
            if pb.Segment.VXLAN in one.encaps and not one.chooses:
                return one
    pytest.skip(f"{running.target.name} is configured with no network by which VXLAN could be joined")


def segment_on(network: str, number: int = 0) -> pb.Segment:
    return pb.Segment(encap=pb.Segment.VXLAN, id=number, physical_network=network)


def end_at(network: str, number: int, *endpoints: str) -> pb.LinkEnd:
    return pb.LinkEnd(segment=segment_on(network, number), endpoints=endpoints or ["192.0.2.77"])


def outward(world: World, network: str) -> pb.AllocateLinkRequest:
    request = world.link_request()
    request.segment.CopyFrom(segment_on(network))
    return request


def join(world: World, link: pb.Resource, *ends: pb.LinkEnd) -> pb.Resource:
    handle = Handle(resource_id=link.handle.resource_id)
    request = pb.JoinLinkRequest(link=handle, owner=world.caller.owner(), ends=ends)
    return done(world.caller.network.JoinLink(request, timeout=CALL_S))


def test_the_answer_says_by_what_others_can_join(world: World, running: Running) -> None:
    network = reach(world, running).network
    request = outward(world, network)
    made = world.link(request)
    assert made.link_end.segment.encap == pb.Segment.VXLAN
    assert made.link_end.segment.physical_network == network
    assert made.link_end.segment.id > 0
    assert made.link_end.endpoints
    assert world.link(request).link_end == made.link_end
    other = world.link(outward(world, network))
    assert other.link_end.segment.id != made.link_end.segment.id


def test_the_segment_of_the_others_is_taken_up(world: World, running: Running) -> None:
    network = reach(world, running).network
    request = outward(world, network)
    made = world.link(request)
    theirs = made.link_end.segment.id % 0xFFFFFE + 1
    joined = join(world, made, end_at(network, theirs))
    assert joined.handle.resource_id == made.handle.resource_id
    assert joined.link_end.segment.id == theirs
    assert join(world, made, end_at(network, theirs)).link_end == joined.link_end
    assert world.link(request).link_end.segment.id == theirs
    world.terminate(made.handle.resource_id)


def test_a_link_without_a_segment_is_not_joined(world: World, running: Running) -> None:
    network = reach(world, running).network
    with pytest.raises(Refused) as refused:
        join(world, world.link(), end_at(network, 7))
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.retry == "NEVER"


def test_ends_that_make_no_sense_are_named(world: World, running: Running) -> None:
    network = reach(world, running).network
    made = world.link(outward(world, network))
    for ends, field in (
        ((), "ends"),
        ((end_at(network, 1 << 24),), "ends[0].segment.id"),
        ((end_at(network, 7, "nowhere"),), "ends[0].endpoints"),
        ((end_at(network, 7), end_at(network, 8)), "ends"),
        ((pb.LinkEnd(segment=pb.Segment(physical_network=network)),), "ends[0].segment.encap"),
    ):
        with pytest.raises(Refused) as refused:
            join(world, made, *ends)
        assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
        assert field in refused.value.problem.detail


def half(world: World, network: str) -> tuple[pb.AllocatePathRequest, pb.AllocateLinkRequest]:
    """The second half of a chain: what comes in by an edge goes through one to the server."""
    request = world.chain()
    link = outward(world, network)
    one = world.compute_request(name="two")
    link.members.add(resource_id=one.resource_id, cp_id="in", runtime=one.runtime, host_id=one.host_id)
    right = world.link_request()
    server = world.sap_request("end", port("e0", right.resource_id, "10.98.2.2/24", via="10.98.2.1", to="10.98.1.0/24"))
    right.members.add(resource_id=one.resource_id, cp_id="out", runtime=one.runtime, host_id=one.host_id)
    right.members.add(resource_id=server.resource_id, cp_id="e0", host_id=server.host_id)
    one.ports.append(port("in", link.resource_id, "10.98.1.1/24"))
    one.ports.append(port("out", right.resource_id, "10.98.2.1/24"))
    made = world.link(link)
    world.link(right)
    world.compute(one)
    world.sap(server)
    join(world, made, end_at(network, made.link_end.segment.id))
    del request.hops[:]
    request.resource_id = new_id()
    request.hops.add(edge=pb.LinkEnd(), edge_link=Handle(resource_id=link.resource_id), name="from elsewhere")
    compute = Handle(resource_id=one.resource_id)
    request.hops.add(compute=compute, ingress_cp_id="in", egress_cp_id="out", name="two")
    request.hops.add(sap=Handle(resource_id=server.resource_id), name="end")
    return request, link


def test_a_path_comes_in_by_an_edge_and_counts_what_others_send(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH, pb.CAPABILITY_COUNT)
    request, _ = half(world, reach(world, running).network)
    made = world.path(request)
    begin = pb.CountProbeRequest.Begin(
        path=Handle(resource_id=made.handle.resource_id), owner=world.caller.owner(), token=os.urandom(16)
    )

    def questions() -> Iterator[pb.CountProbeRequest]:
        yield pb.CountProbeRequest(begin=begin)
        yield pb.CountProbeRequest(end=pb.CountProbeRequest.End(first_sequence=0, packets=3))

    ready, last = world.caller.network.CountProbe(questions(), timeout=CALL_S)
    assert ready.HasField("ready")
    assert [(getattr(hop, "from"), hop.to) for hop in last.counts.hops] == [("from elsewhere", "two"), ("two", "end")]
    world.terminate(made.handle.resource_id)


def test_a_path_by_an_edge_that_is_not_there_is_refused(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH)
    request, _ = half(world, reach(world, running).network)
    request.hops[0].edge_link.resource_id = missing = new_id()
    with pytest.raises(Refused) as refused:
        world.path(request)
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert missing in refused.value.problem.detail


def test_a_count_without_a_token_or_a_path_is_refused(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_COUNT)
    owner, nowhere = world.caller.owner(), Handle(resource_id=new_id())
    for begin, code in (
        (pb.CountProbeRequest.Begin(path=nowhere, owner=owner, token=b"short"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.CountProbeRequest.Begin(path=nowhere, owner=owner, token=os.urandom(16)), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(Refused) as refused, refusals():
            list(world.caller.network.CountProbe(iter([pb.CountProbeRequest(begin=begin)]), timeout=CALL_S))
        assert refused.value.code == code


def test_what_is_not_offered_is_not_joined(world: World, running: Running) -> None:
    for encap, capability in JOINING.items():
        if capability in running.offer.capabilities:
            continue
        request = world.link_request()
        request.segment.CopyFrom(pb.Segment(encap=encap, physical_network="contract"))
        with pytest.raises(Refused) as refused:
            world.link(request)
        assert refused.value.code == grpc.StatusCode.UNIMPLEMENTED
        assert pb.Capability.Name(capability) in refused.value.problem.detail
