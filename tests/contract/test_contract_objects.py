"""Allocate, find, watch, terminate: what a retry, a crash or a second manager may count on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from contract_client import CALL_S, Caller, Refused, done, new_id
from contract_world import Running, World, disk_or_container, port

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb


def _allocate_link(world: World) -> tuple[Callable[[], pb.Resource], Callable[[], pb.Resource], pb.Kind.ValueType]:
    request, other = world.link_request(), pb.AllocateLinkRequest()
    other.CopyFrom(request)
    other.mtu_bytes += 1
    return lambda: world.link(request), lambda: world.link(other), pb.KIND_LINK


def _allocate_compute(world: World) -> tuple[Callable[[], pb.Resource], Callable[[], pb.Resource], pb.Kind.ValueType]:
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    other = pb.AllocateComputeRequest()
    other.CopyFrom(request)
    other.memory_bytes *= 2
    return lambda: world.compute(request), lambda: world.compute(other), pb.KIND_COMPUTE


def _allocate_sap(world: World) -> tuple[Callable[[], pb.Resource], Callable[[], pb.Resource], pb.Kind.ValueType]:
    link = world.link()
    request = world.sap_request("client", port("c0", link.handle.resource_id, "10.98.1.2/24"))
    other = pb.AllocateSapRequest()
    other.CopyFrom(request)
    other.name = "another"
    return lambda: world.sap(request), lambda: world.sap(other), pb.KIND_SAP


def _allocate_volume(world: World) -> tuple[Callable[[], pb.Resource], Callable[[], pb.Resource], pb.Kind.ValueType]:
    request = pb.AllocateVolumeRequest(
        resource_id=new_id(), owner=world.caller.owner(), host_id=world.host_id(), size_bytes=1 << 20
    )
    other = pb.AllocateVolumeRequest()
    other.CopyFrom(request)
    other.size_bytes *= 2
    volumes = world.caller.storage
    return (
        lambda: done(volumes.AllocateVolume(request, timeout=CALL_S)),
        lambda: done(volumes.AllocateVolume(other, timeout=CALL_S)),
        pb.KIND_VOLUME,
    )


ALLOCATIONS = {
    "link": (_allocate_link, pb.CAPABILITY_LINK),
    "compute": (_allocate_compute, pb.CAPABILITY_LINK),
    "sap": (_allocate_sap, pb.CAPABILITY_SAP),
    "volume": (_allocate_volume, pb.CAPABILITY_VOLUME),
}


@pytest.mark.parametrize("what", ALLOCATIONS)
def test_a_repeated_allocation_is_the_first_one(world: World, running: Running, what: str) -> None:
    prepare, capability = ALLOCATIONS[what]
    running.needs(capability)
    allocate, other, kind = prepare(world)
    try:
        first = allocate()
    except Refused as refused:
        if refused.problem.type.endswith(":not-offered"):  # known once its cloud is asked: no Cinder, say
            pytest.skip(refused.problem.detail)
        raise
    assert first.kind == kind
    assert first.state == pb.STATE_RUNNING
    assert first.handle.resource_id
    assert first.owner.manager_id == world.caller.manager_id
    second = allocate()
    assert second.handle == first.handle
    with pytest.raises(Refused) as refused:
        other()
    assert refused.value.code == grpc.StatusCode.ALREADY_EXISTS
    assert refused.value.retry == "NEVER"
    assert refused.value.problem.instance == first.handle.resource_id
    mine = [each for each in world.caller.query() if each.kind == kind]
    assert [each.handle.native_id for each in mine] == [first.handle.native_id]


def test_another_lease_and_another_operation_ask_for_the_same(world: World) -> None:
    request = world.link_request()
    first = world.link(request)
    request.owner.CopyFrom(world.caller.owner(fence=9))
    assert world.link(request).handle == first.handle


def test_a_handle_that_only_has_its_id_asks_for_the_same(world: World) -> None:
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    first = world.compute(request)
    request.ports[0].link.CopyFrom(link.handle)
    assert world.compute(request).handle == first.handle


def test_calls_in_flight_are_joined(world: World) -> None:
    link = world.link()
    cp = port("in", link.handle.resource_id, "10.98.1.1/24")
    request = world.compute_request(cp, name=world.target.slow)
    other = pb.AllocateComputeRequest()
    other.CopyFrom(request)
    other.memory_bytes *= 2
    calls = [world.caller.compute.AllocateCompute(request, timeout=CALL_S) for _ in range(4)]
    _first_progress(calls[0])
    with pytest.raises(Refused) as refused:
        world.compute(other)
    assert refused.value.code == grpc.StatusCode.ALREADY_EXISTS
    calls.pop().cancel()  # one who leaves does not disturb the others
    natives = {done(call).handle.native_id for call in calls}
    assert len(natives) == 1
    assert len([each for each in world.caller.query() if each.kind == pb.KIND_COMPUTE]) == 1


def test_who_gave_up_may_ask_again(world: World) -> None:
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"), name=world.target.slow)
    call = world.caller.compute.AllocateCompute(request, timeout=CALL_S)
    _first_progress(call)
    call.cancel()
    assert world.compute(request).state == pb.STATE_RUNNING


def test_terminate_overtakes_an_allocation_in_flight(world: World) -> None:
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"), name=world.target.slow)
    call = world.caller.compute.AllocateCompute(request, timeout=CALL_S)
    _first_progress(call)
    world.caller.terminate(request.resource_id)
    with pytest.raises(Refused) as refused:
        done(call)
    assert refused.value.code == grpc.StatusCode.CANCELLED
    assert [each for each in world.caller.query() if each.kind == pb.KIND_COMPUTE] == []


def _first_progress(call: Iterator[pb.Progress]) -> None:
    assert next(call).WhichOneof("kind") == "update", "the compute named slow was ready before anything was said"


def test_terminating_what_was_never_there_succeeds(caller: Caller) -> None:
    gone = caller.terminate(new_id())
    assert gone.state == pb.STATE_ABSENT


def test_terminate_needs_no_more_than_the_id_and_may_be_repeated(world: World) -> None:
    link = world.link()
    for _ in range(2):
        assert world.caller.terminate(link.handle.resource_id).state == pb.STATE_ABSENT
    assert world.caller.query() == []
    again = world.link(world.link_request(link.handle.resource_id, mtu_bytes=1300))
    assert again.state == pb.STATE_RUNNING


def test_what_is_still_used_is_not_removed(world: World) -> None:
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    world.compute(request)
    with pytest.raises(Refused) as refused:
        world.caller.terminate(link.handle.resource_id)
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION
    world.caller.terminate(request.resource_id)
    world.caller.terminate(link.handle.resource_id)
    assert world.caller.query() == []


def test_a_query_finds_all_of_ours_and_nothing_else(world: World, running: Running) -> None:
    stranger = World(Caller(running.address), running.target)
    theirs = stranger.link()
    first, second = world.link_request(), world.link_request()
    first.owner.chain_id = "chain-1"
    for request in (first, second):
        world.link(request)
    try:
        ids = {each.handle.resource_id for each in world.caller.query()}
        assert ids == {first.resource_id, second.resource_id}
        assert [each.handle.resource_id for each in world.caller.query(chain_id="chain-1")] == [first.resource_id]
        assert [each.handle.resource_id for each in world.caller.query(second.resource_id)] == [second.resource_id]
        assert world.caller.query(tenant="nobody") == []
        assert world.caller.query(theirs.handle.resource_id) == []
        stamped = world.caller.query(first.resource_id)[0].owner
        assert (stamped.tenant, stamped.chain_id) == (world.caller.tenant, "chain-1")
        world.caller.terminate(theirs.handle.resource_id)  # unknown to this manager: success, and nothing happens
        assert len(stranger.caller.query()) == 1
    finally:
        stranger.caller.sweep()


def test_another_tenant_may_not_touch_it(world: World) -> None:
    link = world.link()
    with pytest.raises(Refused) as refused:
        world.caller.terminate(link.handle.resource_id, tenant="red")
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert len(world.caller.query()) == 1


def test_a_lower_fence_is_refused(world: World) -> None:
    world.caller.fence = 5
    link = world.link()
    request = world.link_request()
    request.owner.fence = 4
    with pytest.raises(Refused) as refused:
        world.link(request)
    assert refused.value.code == grpc.StatusCode.ABORTED
    assert refused.value.retry == "NEVER"
    with pytest.raises(Refused) as refused:
        world.caller.terminate(link.handle.resource_id, fence=4)
    assert refused.value.code == grpc.StatusCode.ABORTED
    assert len(world.caller.query()) == 1


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("resource_id", lambda request: request.ClearField("resource_id")),
        ("resource_id", lambda request: setattr(request, "resource_id", "../../etc/passwd")),
        ("owner.manager_id", lambda request: request.owner.ClearField("manager_id")),
        ("owner.tenant", lambda request: request.owner.ClearField("tenant")),
        ("cidrs", lambda request: request.cidrs.append("10.0.0.0/99")),
    ],
)
def test_a_bad_field_is_named(world: World, field: str, spoil: Callable[[pb.AllocateLinkRequest], None]) -> None:
    request = world.link_request()
    spoil(request)
    with pytest.raises(Refused) as refused:
        world.link(request)
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details_count == 1
    assert refused.value.problem.type == "urn:vnfm:problem:invalid-request"
    assert refused.value.problem.title
    assert field in refused.value.problem.detail
    assert refused.value.retry == "NEVER"


def test_dangling_references_are_refused(world: World) -> None:
    missing = new_id()
    with pytest.raises(Refused) as refused:
        world.compute(world.compute_request(port("in", missing, "10.98.1.1/24")))
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.retry == "SAME_CALL"
    assert missing in refused.value.problem.detail
    request = world.compute_request()
    disk_or_container(request).image_sha256 = "ab" * 32
    with pytest.raises(Refused) as refused:
        world.compute(request)
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "ab" * 32 in refused.value.problem.detail
    assert world.caller.query() == []


def test_an_unknown_host_asks_for_another_placement(world: World) -> None:
    request = world.compute_request()
    request.host_id = "no-such-host"
    with pytest.raises(Refused) as refused:
        world.compute(request)
    assert refused.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.retry == "NEW_PLACEMENT"


def test_a_compute_is_stopped_and_started(world: World) -> None:
    request = world.compute_request()
    world.compute(request)
    for op, state in (
        (pb.OperateComputeRequest.STOP, pb.STATE_STOPPED),
        (pb.OperateComputeRequest.STOP, pb.STATE_STOPPED),
        (pb.OperateComputeRequest.START, pb.STATE_RUNNING),
        (pb.OperateComputeRequest.REBOOT, pb.STATE_RUNNING),
    ):
        operate = pb.OperateComputeRequest(
            handle=Handle(resource_id=request.resource_id), owner=world.caller.owner(), op=op
        )
        assert done(world.caller.compute.OperateCompute(operate, timeout=CALL_S)).state == state
        assert world.caller.query(request.resource_id)[0].state == state


def test_operating_the_unknown_is_not_found(caller: Caller) -> None:
    operate = pb.OperateComputeRequest(
        handle=Handle(resource_id=new_id()), owner=caller.owner(), op=pb.OperateComputeRequest.START
    )
    with pytest.raises(Refused) as refused:
        done(caller.compute.OperateCompute(operate, timeout=CALL_S))
    assert refused.value.code == grpc.StatusCode.NOT_FOUND
    assert refused.value.details_count == 1
