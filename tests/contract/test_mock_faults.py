"""The mock's script in a real process: what fails, what is left, and that a crash happens once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from contract_client import CALL_S, Caller, Process, Refused, done, private_folder, refusals, spawned
from contract_live import Capture, Watch, altered, inserted, samples
from contract_targets import TARGETS
from contract_world import World, port

from vnfm.pb.vim.v1 import vim_pb2 as pb

MOCK = TARGETS[0]
CRASHED = 134


class Mock:
    """A scripted mock whose process may die and is started again on the same folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._manager_id = ""
        self.config: dict[str, Any] = {}
        self.process: Process | None = None

    def start(self, *script: dict[str, Any], **more: object) -> World:
        """Start with this script (none: the same as before)."""
        if script or more:
            self.config = {"script": list(script), **more}
        self.process = self._stack.enter_context(spawned(MOCK, self._folder))
        caller = Caller(self.process.address)
        self._manager_id = caller.manager_id = self._manager_id or caller.manager_id
        caller.handshake(1)
        caller.configure(MOCK, **self.config)
        return World(caller, MOCK)

    def crashed(self) -> bool:
        """Whether the script ended the process."""
        assert self.process is not None
        return self.process.popen.wait(10) == CRASHED


@pytest.fixture
def mock() -> Iterator[Mock]:
    with private_folder() as folder, ExitStack() as stack:
        yield Mock(folder, stack)


def _rule(rpc: str, do: object, **more: object) -> dict[str, Any]:
    match = {"rpc": rpc, **{key: more.pop(key) for key in ("runtime", "cp", "name") if key in more}}
    return {"match": match, "do": do, **more}


def _link_states(world: World) -> list[int]:
    return [each.state for each in world.caller.query() if each.kind == pb.KIND_LINK]


def test_fail_leaves_nothing_and_the_next_call_succeeds(mock: Mock) -> None:
    problem = {"type": "insufficient-capacity", "status": "RESOURCE_EXHAUSTED", "retry": "NEW_PLACEMENT"}
    world = mock.start(_rule("AllocateLink", "fail", problem=problem))
    request = world.link_request()
    with pytest.raises(Refused) as refused:
        world.link(request)
    assert refused.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.retry == "NEW_PLACEMENT"
    assert refused.value.problem.type == "urn:vnfm:problem:insufficient-capacity"
    assert refused.value.problem.instance == request.resource_id
    assert _link_states(world) == []
    assert world.link(request).state == pb.STATE_RUNNING


def test_fail_after_leaves_the_whole_object(mock: Mock) -> None:
    world = mock.start(_rule("AllocateLink", "fail", when="after"))
    request = world.link_request()
    with pytest.raises(Refused):
        world.link(request)
    assert _link_states(world) == [pb.STATE_RUNNING]
    assert world.link(request).state == pb.STATE_RUNNING


def test_partial_leaves_a_half_built_object_that_a_retry_completes(mock: Mock) -> None:
    world = mock.start(_rule("AllocateLink", "partial"))
    request = world.link_request()
    with pytest.raises(Refused) as refused:
        world.link(request)
    assert [handle.resource_id for handle in refused.value.problem.partial] == [request.resource_id]
    assert _link_states(world) == [pb.STATE_FAILED]
    assert world.link(request).state == pb.STATE_RUNNING
    assert _link_states(world) == [pb.STATE_RUNNING]


def test_a_partial_terminate_leaves_the_object_failed(mock: Mock) -> None:
    world = mock.start(_rule("Terminate", "partial"))
    link = world.link()
    with pytest.raises(Refused):
        world.caller.terminate(link.handle.resource_id)
    assert _link_states(world) == [pb.STATE_FAILED]
    world.caller.terminate(link.handle.resource_id)
    assert _link_states(world) == []


@pytest.mark.parametrize(("when", "left"), [("before", 0), ("after", 1)])
def test_a_crash_happens_once_and_objects_outlive_it(mock: Mock, when: str, left: int) -> None:
    world = mock.start(_rule("AllocateLink", "crash", when=when, nth=2))
    first, second = world.link_request(), world.link_request()
    world.link(first)
    with pytest.raises(Refused) as refused:
        world.link(second)
    assert refused.value.code == grpc.StatusCode.UNAVAILABLE
    assert mock.crashed()
    world = mock.start()
    assert len(_link_states(world)) == 1 + left
    assert world.link(second).state == pb.STATE_RUNNING
    assert len(_link_states(world)) == 2


def test_a_crash_after_terminate_has_removed_it(mock: Mock) -> None:
    world = mock.start(_rule("Terminate", "crash", when="after"))
    link = world.link()
    with pytest.raises(Refused):
        world.caller.terminate(link.handle.resource_id)
    assert mock.crashed()
    assert mock.start().caller.query() == []


def test_hang_lasts_until_the_caller_gives_up(mock: Mock) -> None:
    world = mock.start(_rule("AllocateLink", "hang"))
    request = world.link_request()
    with pytest.raises(Refused) as refused:
        done(world.caller.network.AllocateLink(request, timeout=0.5))
    assert refused.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert _link_states(world) == []
    assert world.link(request).state == pb.STATE_RUNNING


@pytest.mark.parametrize("how", [{"do": "delay_ms", "ms": 300}, {"do": {"delay_ms": 300}}])
def test_delay_is_real(mock: Mock, how: dict[str, Any]) -> None:
    world = mock.start({"match": {"rpc": "AllocateLink"}, **how})
    begun = time.monotonic()
    world.link()
    assert time.monotonic() - begun >= 0.3


def test_runtime_name_and_connection_point_choose_the_victim(mock: Mock) -> None:
    world = mock.start(_rule("AllocateCompute", "fail", runtime="CONTAINER", cp="in", name="fw", nth="*"))
    link = world.link()
    cp = port("in", link.handle.resource_id, "10.98.1.1/24")
    world.compute(world.compute_request(cp, name="rt"))
    world.compute(world.compute_request(name="fw"))
    for _ in range(2):
        with pytest.raises(Refused):
            world.compute(world.compute_request(cp, name="fw"))


def test_a_probe_that_loses_packets_says_where(mock: Mock) -> None:
    world = mock.start(_rule("ProbePath", "partial"))
    path = world.path(world.chain())
    lossy = world.probe(path)
    assert not lossy.complete
    assert [(hop.sent, hop.received) for hop in lossy.hops] == [(5, 5), (5, 0)]
    assert world.probe(path).complete


def test_a_stopped_hop_shows_in_the_probe(mock: Mock) -> None:
    world = mock.start(hosts=1)
    request = world.chain()
    path = world.path(request)
    stop = pb.OperateComputeRequest(
        handle=request.hops[1].compute, owner=world.caller.owner(), op=pb.OperateComputeRequest.STOP
    )
    done(world.caller.compute.OperateCompute(stop, timeout=CALL_S))
    answer = world.probe(path)
    assert not answer.complete
    assert [(hop.sent, hop.received) for hop in answer.hops] == [(5, 0), (0, 0)]


def test_hops_that_share_no_link_are_steered_and_a_port_that_is_not_there_is_refused(mock: Mock) -> None:
    world = mock.start(hosts=1)
    request = world.chain()
    hop = request.hops[1]
    hop.ingress_cp_id, hop.egress_cp_id = hop.egress_cp_id, hop.ingress_cp_id
    assert world.path(request).state == pb.STATE_RUNNING
    request.generation += 1
    hop.ingress_cp_id = "nowhere"
    with pytest.raises(Refused) as refused:
        world.path(request)
    assert "nowhere" in refused.value.problem.detail


def test_what_a_path_uses_is_not_removed(mock: Mock) -> None:
    world = mock.start(hosts=1)
    request = world.chain()
    world.path(request)
    for handle in (request.hops[0].sap, request.hops[1].compute):
        with pytest.raises(Refused) as refused:
            world.caller.terminate(handle.resource_id)
        assert request.resource_id in refused.value.problem.detail
    world.caller.sweep()
    assert world.caller.query() == []


def test_what_runs_dies_by_itself_once_and_its_heir_lives(mock: Mock) -> None:
    rule = _rule("AllocateCompute", "die", runtime="CONTAINER", after_ms=200, problem={"detail": "the agent is silent"})
    world = mock.start(rule)
    watch = Watch(world.caller)
    request, heir = world.compute_request(), world.compute_request()
    begun = time.monotonic()
    assert world.compute(request).state == pb.STATE_RUNNING
    dead = watch.wait(lambda each: each.state == pb.STATE_FAILED)
    assert 0.2 <= time.monotonic() - begun < 5
    assert (dead.handle.resource_id, dead.reason) == (request.resource_id, "the agent is silent")
    world.compute(heir)
    time.sleep(0.4)
    assert world.caller.query(heir.resource_id)[0].state == pb.STATE_RUNNING
    start = pb.OperateComputeRequest(handle=dead.handle, owner=world.caller.owner(), op=pb.OperateComputeRequest.START)
    assert world.operate(start).state == pb.STATE_RUNNING
    watch.close()


def test_what_was_terminated_in_time_dies_no_second_death(mock: Mock) -> None:
    world = mock.start(_rule("AllocateCompute", "die", after_ms=1000))
    watch = Watch(world.caller)
    request = world.compute_request()
    world.compute(request)
    world.terminate(request.resource_id)
    world.compute(request)
    time.sleep(1.2)
    assert world.caller.query(request.resource_id)[0].state == pb.STATE_RUNNING
    assert pb.STATE_FAILED not in watch.states(request.resource_id)
    watch.close()


def test_a_lost_link_is_named_breaks_the_path_and_a_reboot_does_not_mend_it(mock: Mock) -> None:
    world = mock.start(_rule("AllocateCompute", "link_lost", cp="out", after_ms=2000))
    watch = Watch(world.caller)
    path_request = world.chain()
    path = world.path(path_request)
    assert world.probe(path).complete
    dead = watch.wait(lambda each: each.state == pb.STATE_FAILED)
    assert "'out'" in dead.reason
    assert not world.probe(path).complete
    reboot = pb.OperateComputeRequest(
        handle=dead.handle, owner=world.caller.owner(), op=pb.OperateComputeRequest.REBOOT
    )
    with pytest.raises(Refused) as refused:
        world.operate(reboot)
    assert "link" in refused.value.problem.detail
    watch.close()


def test_a_death_outlives_the_plugin_it_was_ordered_from(mock: Mock) -> None:
    world = mock.start(_rule("AllocateCompute", "die", after_ms=1500), _rule("AllocateCompute", "crash", when="after"))
    request = world.compute_request()
    with pytest.raises(Refused):
        world.compute(request)
    assert mock.crashed()
    world = mock.start()
    watch = Watch(world.caller)
    watch.wait(lambda each: each.state == pb.STATE_FAILED)
    watch.close()
    assert world.compute(request).state == pb.STATE_RUNNING


def test_a_path_may_lead_back_to_what_has_died(mock: Mock) -> None:
    world = mock.start(_rule("AllocateCompute", "die", name="two"))
    watch = Watch(world.caller)
    request = world.chain()
    made = world.path(request)
    client, one, server = request.hops
    two = inserted(world, request)
    watch.wait(lambda each: each.state == pb.STATE_FAILED)
    watch.close()
    world.path(altered(request, 2, client, one, two, server))
    lost = world.probe(made)
    assert [(hop.sent, hop.received) for hop in lost.hops] == [(5, 5), (5, 0), (0, 0)]
    world.path(altered(request, 3))
    assert world.probe(made).complete


def test_starting_takes_the_time_that_it_reports(mock: Mock) -> None:
    world = mock.start(_rule("AllocateCompute", {"start_ms": 250}, runtime="CONTAINER"))
    request = world.compute_request()
    begun = time.monotonic()
    made = world.compute(request)
    assert time.monotonic() - begun >= 0.25
    assert 250 <= made.start_ms < 5000


@pytest.mark.parametrize("do", ["fail", "crash"])
def test_observation_fails_as_the_script_says(mock: Mock, do: str) -> None:
    world = mock.start(_rule("WatchStats", do, nth=2), _rule("Capture", do, cp="in"))
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    world.compute(request)
    assert len(samples(world.caller)) == 1
    with pytest.raises(Refused) as refused, refusals():
        samples(world.caller)
    assert refused.value.code == (grpc.StatusCode.INTERNAL if do == "fail" else grpc.StatusCode.UNAVAILABLE)
    if do == "crash":
        assert mock.crashed()
        world = mock.start()
    asked = pb.CaptureRequest(at=pb.CaptureRequest().at, owner=world.caller.owner(), max_packets=1)
    asked.at.resource_id = request.resource_id
    assert Capture(world.caller, asked).ended_by == refused.value.code
    if do == "crash":
        assert mock.crashed()
        world = mock.start()
    asked.owner.CopyFrom(world.caller.owner())
    assert len(Capture(world.caller, asked).whole()) > 24


@pytest.mark.parametrize("host", [{"cpu_milli": 150}, {"memory_bytes": 140 << 20}])
def test_a_full_host_asks_for_another_placement(mock: Mock, host: dict[str, int]) -> None:
    world = mock.start(hosts=2, host=host)
    request = world.compute_request()
    world.compute(request)
    second = world.compute_request()
    with pytest.raises(Refused) as refused:
        world.compute(second)
    assert refused.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.retry == "NEW_PLACEMENT"
    second.host_id = "host-2"
    assert world.compute(second).host_id == "host-2"


@pytest.mark.parametrize(
    "rule",
    [
        {"match": {"rpc": "AllocateNothing"}, "do": "fail"},
        {"match": {"rpc": "AllocateLink"}, "do": "explode"},
        {"match": {"rpc": "AllocateLink", "colour": "red"}, "do": "fail"},
        {"match": {"rpc": "AllocateLink"}, "do": {"die": 5}},
        {"match": {"rpc": "Terminate"}, "do": "die", "after_ms": 5},
        {"match": {"rpc": "AllocateLink"}, "do": "fail", "nth": 0},
        {"match": {"rpc": "AllocateLink"}, "do": "fail", "problem": {"status": "OK"}},
        {"do": "fail"},
    ],
)
def test_a_script_with_a_slip_is_refused_by_place(mock: Mock, rule: dict[str, Any]) -> None:
    world = mock.start(hosts=1)
    with pytest.raises(Refused) as refused:
        world.caller.configure(MOCK, script=[rule])
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "config/script/0" in refused.value.problem.detail


@pytest.mark.parametrize(
    ("rpc", "call"),
    [
        ("Configure", lambda world: world.caller.configure(MOCK, script=[_rule("Configure", "fail", nth=2)])),
        ("PutImage", lambda world: world.image()),
        ("StatImage", lambda world: world.caller.has("a" * 64)),
        ("DeleteImage", lambda world: world.caller.images.DeleteImage(pb.DeleteImageRequest(sha256="a" * 64))),
    ],
)
def test_images_and_configuration_fail_too(mock: Mock, rpc: str, call: Callable[[World], object]) -> None:
    world = mock.start(_rule(rpc, "fail", nth=2 if rpc == "Configure" else 1))
    with pytest.raises(Refused), refusals():
        call(world)
    with refusals():
        call(world)
