"""Worker VMs on demand: opened by the first compute that names them, closed after the last, else refused by name."""

from __future__ import annotations

import grpc
import pytest
from contract_client import Refused, new_id
from contract_world import Running, World

from vnfm.pb.vim.v1 import vim_pb2 as pb


def _offering(world: World) -> tuple[pb.Host, pb.WorkerSize]:
    for chunk in world.caller.snapshot():
        for host in chunk.hosts:
            if host.can_open_workers:
                return host, host.worker_sizes[0]
    raise AssertionError("no host opens worker VMs")


def _request(world: World, server: str, size: str, worker: str = "") -> pb.AllocateComputeRequest:
    request = world.compute_request()
    request.host_id = worker or f"{server}:{new_id()}"
    request.runtime = pb.RUNTIME_CONTAINER
    request.worker.host_id, request.worker.size = server, size
    return request


def _refused(world: World, request: pb.AllocateComputeRequest) -> Refused:
    with pytest.raises(Refused) as refused:
        world.compute(request)
    return refused.value


def test_a_worker_is_there_from_its_first_compute_to_its_last(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_OPEN_WORKER)
    server, size = _offering(world)
    first = _request(world, server.id, size.id)
    made = world.compute(first)
    assert (made.host_id, made.state) == (first.host_id, pb.STATE_RUNNING)
    assert world.compute(first).handle == made.handle
    second = _request(world, server.id, size.id, first.host_id)
    assert world.compute(second).host_id == first.host_id
    world.terminate(first.resource_id)
    third = _request(world, server.id, size.id, first.host_id)
    world.compute(third)
    world.terminate(second.resource_id, third.resource_id, third.resource_id)
    assert first.host_id not in {h.id for chunk in world.caller.snapshot() for h in chunk.hosts}


def test_more_workers_than_are_offered_ask_for_another_placement(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_OPEN_WORKER)
    server, size = _offering(world)
    for _ in range(max(1, size.most)):
        world.compute(_request(world, server.id, size.id))
    error = _refused(world, _request(world, server.id, size.id))
    assert (error.code, error.retry) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "NEW_PLACEMENT")


def test_a_size_that_is_not_told_asks_for_another_placement(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_OPEN_WORKER)
    server, _ = _offering(world)
    error = _refused(world, _request(world, server.id, "no-such-size"))
    assert (error.code, error.retry) == (grpc.StatusCode.FAILED_PRECONDITION, "NEW_PLACEMENT")


def test_who_opens_no_workers_says_so(world: World, running: Running) -> None:
    if pb.CAPABILITY_OPEN_WORKER in running.offer.capabilities:
        pytest.skip(f"{running.target.name} opens worker VMs")
    if pb.RUNTIME_CONTAINER not in running.offer.runtimes:
        pytest.skip(f"{running.target.name} runs no containers at all")
    error = _refused(world, _request(world, world.host_id(), "small"))
    assert error.code == grpc.StatusCode.UNIMPLEMENTED
    assert "CAPABILITY_OPEN_WORKER" in error.problem.detail
