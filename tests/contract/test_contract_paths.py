"""Capabilities: paths and probes where they are offered, and UNIMPLEMENTED for what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import grpc
import pytest
from contract_client import CALL_S, Caller, Refused, done, new_id, refusals
from contract_world import Running, World, port

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc


def test_a_path_is_steered_probed_and_replaced(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH, pb.CAPABILITY_PROBE)
    request = world.chain()
    made = world.path(request)
    assert made.kind == pb.KIND_PATH
    assert world.path(request).handle == made.handle
    answer = world.probe(made, packets=5)
    assert answer.complete, answer
    assert [(getattr(hop, "from"), hop.to) for hop in answer.hops] == [("client", "one"), ("one", "server")]
    assert all(hop.sent >= 5 and hop.received >= 5 for hop in answer.hops)
    assert answer.rtt_us > 0

    same_generation = pb.AllocatePathRequest()
    same_generation.CopyFrom(request)
    same_generation.symmetric = not request.symmetric
    with pytest.raises(Refused) as refused:
        world.path(same_generation)
    assert refused.value.code == grpc.StatusCode.ALREADY_EXISTS

    newer = pb.AllocatePathRequest()
    newer.CopyFrom(request)
    newer.generation = 3
    assert world.path(newer).handle.resource_id == request.resource_id
    assert world.probe(made).complete
    older = pb.AllocatePathRequest()
    older.CopyFrom(request)
    older.generation = 2
    with pytest.raises(Refused) as refused:
        world.path(older)
    assert refused.value.code == grpc.StatusCode.ABORTED
    assert len([each for each in world.caller.query() if each.kind == pb.KIND_PATH]) == 1


def test_a_path_over_a_hop_that_is_not_there_is_refused(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_SAP, pb.CAPABILITY_PATH)
    request = world.chain()
    missing = new_id()
    request.hops[1].compute.CopyFrom(Handle(resource_id=missing))
    with pytest.raises(Refused) as refused:
        world.path(request)
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.retry == "SAME_CALL"
    assert missing in refused.value.problem.detail


def test_probing_no_path_is_not_found(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_PROBE)
    with pytest.raises(Refused) as refused, refusals():
        world.probe(pb.Resource(handle=Handle(resource_id=new_id())))
    assert refused.value.code == grpc.StatusCode.NOT_FOUND


def test_a_command_runs_inside(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_EXEC)
    request = world.compute_request()
    world.compute(request)
    for command, exit_code in ((["echo", "hello"], 0), (["false"], 1)):
        start = pb.ExecInput(compute=Handle(resource_id=request.resource_id), command=command, eof=True)
        outputs = list(world.caller.compute.Exec(iter([start]), timeout=CALL_S))
        assert [output.exited for output in outputs] == [False] * (len(outputs) - 1) + [True]
        assert outputs[-1].exit_code == exit_code
        if exit_code == 0:
            assert b"".join(output.stdout for output in outputs) == b"hello\n"


def test_a_port_comes_and_goes(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_PORT_HOTPLUG)
    request = world.compute_request()
    world.compute(request)
    link = world.link()
    handle = Handle(resource_id=request.resource_id)
    extra = port("extra", link.handle.resource_id, "10.97.1.1/24")
    attach = pb.AttachPortRequest(compute=handle, owner=world.caller.owner(), port=extra)
    for _ in range(2):
        assert "10.97.1.1" in done(world.caller.compute.AttachPort(attach, timeout=CALL_S)).addresses
    detach = pb.AttachPortRequest(compute=handle, owner=world.caller.owner(), port=extra, detach=True)
    for _ in range(2):
        assert "10.97.1.1" not in done(world.caller.compute.AttachPort(detach, timeout=CALL_S)).addresses


def _calls(caller: Caller, world: World) -> dict[pb.Capability.ValueType, Callable[[], Iterable[object]]]:
    owner, handle = caller.owner(), Handle(resource_id=new_id())
    pinned = pb.AllocateComputeRequest(cpu_pinned=True)
    pinned.MergeFrom(world.compute_request())
    huge = pb.AllocateComputeRequest(hugepage_bytes=1 << 21)
    huge.MergeFrom(world.compute_request())
    accelerated = pb.AllocateComputeRequest(gpus=1)
    accelerated.MergeFrom(world.compute_request())
    direct = world.compute_request(port("in", new_id()))
    direct.ports[0].vnic = pb.Port.DIRECT
    steered = world.link_request()
    steered.steered = True
    replicas = [handle, Handle(resource_id=new_id())]
    middle = pb.Hop(compute=handle, ingress_cp_id="in", egress_cp_id="out", replicas=replicas)
    hops = [pb.Hop(sap=handle), middle, pb.Hop(sap=handle)]
    balanced = pb.AllocatePathRequest(resource_id=new_id(), owner=owner, hops=hops, generation=1)
    operate, probe = pb.OperateComputeRequest, pb.ProbePathRequest(path=handle, owner=owner, packets=1)
    compute, network = caller.compute, caller.network
    return {
        pb.CAPABILITY_SAP: lambda: network.AllocateSap(pb.AllocateSapRequest(owner=owner), timeout=CALL_S),
        pb.CAPABILITY_PATH: lambda: network.AllocatePath(pb.AllocatePathRequest(owner=owner), timeout=CALL_S),
        pb.CAPABILITY_PROBE: lambda: [network.ProbePath(probe, timeout=CALL_S)],
        pb.CAPABILITY_STEER: lambda: network.AllocateLink(steered, timeout=CALL_S),
        pb.CAPABILITY_BALANCE: lambda: network.AllocatePath(balanced, timeout=CALL_S),
        pb.CAPABILITY_STATS: lambda: caller.observation.WatchStats(
            pb.WatchStatsRequest(owner=owner, count=1), timeout=CALL_S
        ),
        pb.CAPABILITY_CAPTURE: lambda: caller.observation.Capture(
            pb.CaptureRequest(at=handle, owner=owner, cp_id="in"), timeout=CALL_S
        ),
        pb.CAPABILITY_PORT_HOTPLUG: lambda: compute.AttachPort(
            pb.AttachPortRequest(compute=handle, owner=owner), timeout=CALL_S
        ),
        pb.CAPABILITY_EXEC: lambda: compute.Exec(iter([pb.ExecInput(compute=handle, command=["x"])]), timeout=CALL_S),
        pb.CAPABILITY_VOLUME: lambda: caller.storage.AllocateVolume(
            pb.AllocateVolumeRequest(owner=owner), timeout=CALL_S
        ),
        pb.CAPABILITY_PAUSE: lambda: compute.OperateCompute(
            operate(handle=handle, owner=owner, op=operate.PAUSE), timeout=CALL_S
        ),
        pb.CAPABILITY_CPU_PINNING: lambda: compute.AllocateCompute(pinned, timeout=CALL_S),
        pb.CAPABILITY_HUGEPAGES: lambda: compute.AllocateCompute(huge, timeout=CALL_S),
        pb.CAPABILITY_SRIOV: lambda: compute.AllocateCompute(direct, timeout=CALL_S),
        pb.CAPABILITY_GPU: lambda: compute.AllocateCompute(accelerated, timeout=CALL_S),
        pb.CAPABILITY_CALLS: lambda: rpc.CallsStub(caller.channel).Exchange(iter(()), timeout=CALL_S),
    }


def test_what_is_not_offered_is_unimplemented_never_ignored(world: World, running: Running) -> None:
    missing = {
        capability: call
        for capability, call in _calls(world.caller, world).items()
        if capability not in running.offer.capabilities
    }
    if pb.CAPABILITY_PATH in missing:
        missing.pop(pb.CAPABILITY_BALANCE, None)  # what there are no paths for is refused for want of paths
    if not missing:
        pytest.skip(f"{running.target.name} offers everything")
    for capability, call in missing.items():
        with pytest.raises(Refused) as refused, refusals():
            list(call())
        assert refused.value.code == grpc.StatusCode.UNIMPLEMENTED, pb.Capability.Name(capability)
        assert refused.value.details_count == 1
        assert pb.Capability.Name(capability) in refused.value.problem.detail
