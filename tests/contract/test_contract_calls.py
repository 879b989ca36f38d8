"""Many calls over one stream: each is answered, refused, joined and left as if it had been alone."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from contract_client import Caller, Refused, new_id
from contract_exchange import Exchange
from contract_world import Running, World, port

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb


@pytest.fixture
def exchange(caller: Caller, running: Running) -> Iterator[Exchange]:
    running.needs(pb.CAPABILITY_CALLS)
    made = Exchange(caller)
    yield made
    made.go()


def _slow(world: World) -> pb.AllocateComputeRequest:
    link = world.link()
    return world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"), name=world.target.slow)


def _terminate(world: World, resource_id: str) -> pb.TerminateRequest:
    return pb.TerminateRequest(handle=Handle(resource_id=resource_id), owner=world.caller.owner(), force=True)


def test_calls_of_one_message_end_each_in_its_own_way(world: World, exchange: Exchange) -> None:
    good, nameless, late = world.link_request(), world.link_request(), world.link_request()
    nameless.resource_id = ""
    late.owner.fence = 0
    unknown = new_id()
    world.link()  # this manager's fence is known
    exchange.say(
        pb.Call(id=7, link=good),
        pb.Call(id=8, link=nameless),
        pb.Call(id=9, link=late),
        pb.Call(id=10, terminate=_terminate(world, unknown)),
        pb.Call(id=11),
    )
    ends = exchange.ends(7, 8, 9, 10, 11)
    assert ends[7].done.handle.resource_id == good.resource_id
    assert ends[7].done.state == pb.STATE_RUNNING
    assert ends[8].failed.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "resource_id" in ends[8].failed.problem.detail
    assert ends[9].failed.code == grpc.StatusCode.ABORTED.value[0]
    assert ends[9].failed.problem.type == "urn:vnfm:problem:lease-lost"
    assert ends[9].failed.problem.instance == late.resource_id
    assert ends[10].done.state == pb.STATE_ABSENT
    assert ends[11].failed.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert [each.handle.resource_id for each in world.caller.query(good.resource_id)] == [good.resource_id]
    assert world.caller.query(late.resource_id) == []


def test_what_is_asked_twice_is_made_once_and_another_spec_is_refused(world: World, exchange: Exchange) -> None:
    request, other = world.link_request(), pb.AllocateLinkRequest()
    other.CopyFrom(request)
    other.mtu_bytes += 1
    exchange.say(pb.Call(id=1, link=request), pb.Call(id=2, link=request))
    first = exchange.ends(1, 2)
    assert first[1].done.handle == first[2].done.handle == world.link(request).handle
    exchange.say(pb.Call(id=3, link=other))
    refused = exchange.ends(3)[3].failed
    assert refused.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert refused.problem.instance == request.resource_id


def test_progress_comes_before_the_end(world: World, exchange: Exchange) -> None:
    slow, link = _slow(world), world.link_request()
    exchange.say(pb.Call(id=1, compute=slow), pb.Call(id=2, link=link))
    assert exchange.ends(2)[2].HasField("done")
    assert exchange.ends(1)[1].done.handle.resource_id == slow.resource_id
    told = [answer.WhichOneof("told") for answer in exchange.heard if answer.id == 1]
    assert told[-1] == "done"
    assert set(told[:-1]) == {"update"}


def test_a_call_that_is_left_does_not_disturb_the_others(world: World, exchange: Exchange) -> None:
    slow, link = _slow(world), world.link_request()
    exchange.say(pb.Call(id=1, compute=slow))
    while not exchange.heard:  # it has begun
        exchange.next()
    exchange.say(pb.Call(id=1, leave=True), pb.Call(id=2, link=link), pb.Call(id=99, leave=True))
    ends = exchange.ends(1, 2)
    assert ends[1].failed.code == grpc.StatusCode.CANCELLED.value[0]
    assert ends[2].done.handle.resource_id == link.resource_id
    exchange.say(pb.Call(id=1, compute=slow))  # the id is free again, and the call goes on from whatever is there
    exchange.heard.clear()
    assert exchange.ends(1)[1].done.state == pb.STATE_RUNNING


def test_who_goes_away_leaves_all_calls_and_may_come_again(world: World, exchange: Exchange, caller: Caller) -> None:
    slow = _slow(world)
    exchange.say(pb.Call(id=1, compute=slow))
    while not exchange.heard:
        exchange.next()
    exchange.go()
    assert world.compute(slow).state == pb.STATE_RUNNING
    assert len(caller.query(slow.resource_id)) == 1


def test_the_stream_ends_with_the_last_answer_once_all_is_said(world: World, exchange: Exchange) -> None:
    slow = _slow(world)
    exchange.say(pb.Call(id=1, compute=slow))
    exchange.said_all()
    assert exchange.rest()[-1].done.handle.resource_id == slow.resource_id


def test_one_id_for_two_calls_in_flight_ends_the_stream(world: World, exchange: Exchange) -> None:
    slow = _slow(world)
    exchange.say(pb.Call(id=1, compute=slow))
    while not exchange.heard:
        exchange.next()
    exchange.say(pb.Call(id=1, link=world.link_request()))
    exchange.say(pb.Call(id=2, leave=True))
    with pytest.raises(Refused) as refused:
        exchange.rest()
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "id" in refused.value.problem.detail


def test_a_whole_chain_is_built_probed_and_taken_away(world: World, exchange: Exchange, running: Running) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH, pb.CAPABILITY_PROBE)
    path = world.chain()
    exchange.say(pb.Call(id=1, path=path))
    assert exchange.ends(1)[1].done.kind == pb.KIND_PATH
    probe = pb.ProbePathRequest(path=Handle(resource_id=path.resource_id), packets=3, owner=world.caller.owner())
    probe.patience.FromSeconds(30)
    exchange.say(pb.Call(id=2, probe=probe))
    assert exchange.ends(2)[2].probed.complete
    exchange.say(pb.Call(id=3, terminate=_terminate(world, path.resource_id)))
    assert exchange.ends(3)[3].done.state == pb.STATE_ABSENT
    exchange.say(pb.Call(id=4, probe=probe))
    assert exchange.ends(4)[4].failed.code == grpc.StatusCode.NOT_FOUND.value[0]
