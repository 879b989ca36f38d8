"""WatchResources: what is, what changes, what dies."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from contract_client import CALL_S, Caller, refusals
from contract_live import Watch
from contract_world import Running, World, port

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb


@pytest.fixture
def watch(world: World) -> Iterator[Watch]:
    """One that began when nothing was there."""
    found = Watch(world.caller)
    yield found
    found.close()


def test_a_watch_tells_what_is_then_that_this_was_all_then_what_changes(world: World, running: Running) -> None:
    before = world.link()
    watch = Watch(world.caller)
    stranger = World(Caller(running.address), running.target)
    stranger.link()
    try:
        after = world.link()
        world.terminate(after.handle.resource_id)
        gone = watch.wait(lambda each: each.state == pb.STATE_ABSENT)
    finally:
        watch.close()
        stranger.caller.sweep()
    assert gone.handle.resource_id == after.handle.resource_id
    first, mark, *later = watch.seen
    assert (first.handle.resource_id, first.state) == (before.handle.resource_id, pb.STATE_RUNNING)
    assert mark == pb.Resource(listed=True), "nothing else is set in the mark"
    assert not first.listed
    assert not any(each.listed for each in later)
    assert {each.handle.resource_id for each in later} == {after.handle.resource_id}


def test_a_watch_that_may_gather_tells_the_same(world: World) -> None:
    each, together = Watch(world.caller), Watch(world.caller, gathered=True)
    try:
        made = [world.link().handle.resource_id for _ in range(3)]
        for resource_id in made:
            world.terminate(resource_id)
        for watch in (each, together):
            watch.wait(lambda told: told.state == pb.STATE_ABSENT and told.handle.resource_id == made[-1])
    finally:
        each.close()
        together.close()
    for resource_id in made:
        assert together.states(resource_id)[-1] == each.states(resource_id)[-1] == pb.STATE_ABSENT
    assert not any(told.later for told in each.seen)


def test_where_nothing_is_the_mark_comes_at_once(watch: Watch) -> None:
    assert watch.seen == [pb.Resource(listed=True)]


def test_every_state_has_its_time(world: World, watch: Watch) -> None:
    begun_s = time.time()
    link = world.link()
    told = watch.wait(lambda each: each.state == pb.STATE_RUNNING)
    assert begun_s - 1 <= told.changed_at.ToNanoseconds() / 1e9 <= time.time() + 1
    later = Watch(world.caller)
    later.close()
    assert later.seen[0].handle.resource_id == link.handle.resource_id
    assert later.seen[0].changed_at == told.changed_at, "it has been in this state since then"


def test_what_dies_is_told_with_its_reason(world: World, running: Running, watch: Watch) -> None:
    if running.target.doom is None:
        pytest.skip(f"{running.target.name}: nothing that could die runs there")
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    kill = running.target.doom(request)
    world.compute(request)
    watch.wait(lambda each: each.handle.resource_id == request.resource_id and each.state == pb.STATE_RUNNING)
    killed_s = time.time()
    kill()
    dead = watch.wait(lambda each: each.state == pb.STATE_FAILED)
    print(f"told {1000 * (time.time() - killed_s):.0f} ms after the kill: {dead.reason}")
    assert dead.handle.resource_id == request.resource_id
    assert dead.kind == pb.KIND_COMPUTE
    assert dead.reason
    assert dead.owner.tenant == world.caller.tenant
    assert killed_s - 1 <= dead.changed_at.ToNanoseconds() / 1e9 <= time.time() + 1
    assert world.caller.query(request.resource_id)[0].state == pb.STATE_FAILED
    # Built anew by the same call, and then gone for good.
    assert world.compute(request).state == pb.STATE_RUNNING
    assert world.caller.query(request.resource_id)[0].state == pb.STATE_RUNNING
    world.terminate(request.resource_id)
    watch.wait(lambda each: each.state == pb.STATE_ABSENT)
    told = watch.states(request.resource_id)
    assert told[-1] == pb.STATE_ABSENT
    assert told.index(pb.STATE_FAILED) < len(told) - 1 - told[::-1].index(pb.STATE_RUNNING)


def test_what_was_stopped_on_purpose_has_not_died(world: World, watch: Watch) -> None:
    request = world.compute_request()
    world.compute(request)
    operate = pb.OperateComputeRequest(
        handle=Handle(resource_id=request.resource_id), owner=world.caller.owner(), op=pb.OperateComputeRequest.STOP
    )
    world.operate(operate)
    watch.wait(lambda each: each.state == pb.STATE_STOPPED)
    world.terminate(request.resource_id)
    watch.wait(lambda each: each.state == pb.STATE_ABSENT)
    assert pb.STATE_FAILED not in watch.states(request.resource_id)


def test_a_watch_and_a_query_may_ask_for_kinds_alone(world: World) -> None:
    link = world.link()
    request = pb.QueryRequest(owner=Owner(manager_id=world.caller.manager_id), kinds=[pb.KIND_COMPUTE])
    watch = Watch(world.caller, request.kinds)
    compute = world.compute(world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24")))
    told = watch.wait(lambda each: each.state == pb.STATE_RUNNING)
    watch.close()
    assert told.handle.resource_id == compute.handle.resource_id
    assert {each.kind for each in watch.seen if not each.listed} == {pb.KIND_COMPUTE}
    with refusals():
        found = list(world.caller.resources.QueryResources(request, timeout=CALL_S))
    assert [each.handle.resource_id for each in found] == [compute.handle.resource_id]
