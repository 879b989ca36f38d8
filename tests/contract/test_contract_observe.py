"""Observation: counters that rise, captures that any tool reads."""

from __future__ import annotations

import time
from itertools import pairwise

import grpc
import pytest
from contract_client import Refused, new_id, refusals
from contract_live import Capture, Pcap, counted_at, eventually, read_pcap, samples
from contract_world import Running, World, port
from google.protobuf.duration_pb2 import Duration

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

CHAINS = (pb.CAPABILITY_SAP, pb.CAPABILITY_PATH, pb.CAPABILITY_PROBE)


def test_a_sample_comes_at_once_and_holds_what_was_asked_for(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_STATS)
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    world.compute(request)
    other = world.compute_request()
    world.compute(other)
    begun_s = time.monotonic()
    (all_of_it,) = samples(world.caller, interval_ms=60_000)
    assert time.monotonic() - begun_s < 5, "the first does not wait for the interval"
    assert abs(all_of_it.at.ToNanoseconds() / 1e9 - time.time()) < 10
    assert {each.resource_id for each in all_of_it.computes} == {request.resource_id, other.resource_id}
    (sample,) = samples(world.caller, request.resource_id, new_id())
    (compute,) = sample.computes
    assert compute.resource_id == request.resource_id
    assert compute.memory_bytes > 0
    assert compute.memory_limit_bytes == 0 or compute.memory_limit_bytes >= request.memory_bytes
    assert [(each.resource_id, each.cp_id) for each in sample.ports] == [(request.resource_id, "in")]
    assert samples(world.caller, new_id())[0].computes == [], "what is not there is left out"


def test_samples_keep_their_interval_and_their_count_and_only_rise(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_STATS)
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    world.compute(request)
    found = samples(world.caller, request.resource_id, count=4, interval_ms=300)
    assert len(found) == 4
    times = [sample.at.ToNanoseconds() / 1e9 for sample in found]
    assert all(0.15 <= later - earlier <= 3 for earlier, later in pairwise(times)), times
    cpu = [sample.computes[0].cpu_ns for sample in found]
    ports = [counted_at(sample, request.resource_id, "in") for sample in found]
    assert cpu == sorted(cpu)
    assert [each.in_packets for each in ports] == sorted(each.in_packets for each in ports)
    assert [each.out_bytes for each in ports] == sorted(each.out_bytes for each in ports)


def test_counters_rise_with_a_probe(world: World, running: Running) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_STATS)
    request = world.chain()
    path = world.path(request)
    client, one = request.hops[0].sap.resource_id, request.hops[1].compute.resource_id
    assert world.probe(path).complete
    (before,) = samples(world.caller)
    assert world.probe(path, packets=20).complete

    def risen(resource_id: str, cp_id: str) -> bool:
        earlier = counted_at(before, resource_id, cp_id)
        later = counted_at(samples(world.caller)[0], resource_id, cp_id)
        packets = min(later.in_packets - earlier.in_packets, later.out_packets - earlier.out_packets)
        octets = min(later.in_bytes - earlier.in_bytes, later.out_bytes - earlier.out_bytes)
        return packets >= 20 and octets >= 20 * 60

    for place in ((client, "c0"), (one, "in"), (one, "out")):
        assert eventually(lambda place=place: risen(*place)), place  # type: ignore[misc]


def test_a_running_watch_sees_what_comes_and_what_goes(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_STATS)
    asked = pb.WatchStatsRequest(owner=Owner(manager_id=world.caller.manager_id), interval_ms=100)
    stream = world.caller.observation.WatchStats(asked, timeout=60)
    assert list(next(stream).computes) == []
    request = world.compute_request()
    world.compute(request)
    while not next(stream).computes:
        pass
    world.terminate(request.resource_id)
    while next(stream).computes:
        pass
    stream.cancel()


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("owner.manager_id", pb.WatchStatsRequest()),
        ("interval_ms", pb.WatchStatsRequest(owner=Owner(manager_id="m"), interval_ms=1)),
        ("resource_ids[0]", pb.WatchStatsRequest(owner=Owner(manager_id="m"), resource_ids=["../x"])),
    ],
)
def test_stats_without_sense_are_refused_by_field(
    world: World, running: Running, field: str, request_: pb.WatchStatsRequest
) -> None:
    running.needs(pb.CAPABILITY_STATS)
    with pytest.raises(Refused) as refused, refusals():
        list(world.caller.observation.WatchStats(request_, timeout=20))
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"{field}:" in refused.value.problem.detail


def _capture(world: World, resource_id: str, cp_id: str, **bounds: int) -> pb.CaptureRequest:
    return pb.CaptureRequest(
        at=Handle(resource_id=resource_id),
        owner=world.caller.owner(),
        cp_id=cp_id,
        duration=Duration(seconds=30),
        **bounds,
    )


def _echoes(file: Pcap) -> tuple[int, int]:
    kinds = [frame.icmp_type for frame in file.frames]
    return kinds.count(8), kinds.count(0)


@pytest.mark.parametrize("where", ["compute", "sap"])
def test_a_capture_holds_the_packets_of_a_probe_both_ways(world: World, running: Running, where: str) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_CAPTURE)
    request = world.chain()
    path = world.path(request)
    assert world.probe(path).complete
    compute, sap = request.hops[1].compute.resource_id, request.hops[0].sap.resource_id
    asked = _capture(world, compute, "in") if where == "compute" else _capture(world, sap, "")
    begun_s = time.time()
    capture = Capture(world.caller, asked)
    try:
        assert world.probe(path, packets=7).complete
        file = capture.until(lambda found: min(_echoes(found)) >= 7)
    finally:
        capture.close()
    assert file.link_type == 1, "Ethernet"
    assert all(begun_s - 1 <= frame.at_s <= time.time() + 1 for frame in file.frames)
    times = [frame.at_s for frame in file.frames if frame.icmp_type in (0, 8)]
    assert times == sorted(times)
    assert all(frame.wire_bytes == len(frame.data) for frame in file.frames), "whole packets"


def test_a_capture_keeps_its_bounds(world: World, running: Running) -> None:
    running.needs(*CHAINS, pb.CAPABILITY_CAPTURE)
    request = world.chain()
    path = world.path(request)
    assert world.probe(path).complete
    compute = request.hops[1].compute.resource_id
    few = Capture(world.caller, _capture(world, compute, "out", max_packets=3))
    short = Capture(world.caller, _capture(world, compute, "out", max_packets=3, snap_bytes=40))
    small = Capture(world.caller, _capture(world, compute, "out", max_bytes=500))
    assert world.probe(path, packets=10).complete
    assert len(read_pcap(few.whole()).frames) == 3
    snapped = read_pcap(short.whole())
    assert snapped.snap_bytes == 40
    assert all(len(frame.data) <= 40 for frame in snapped.frames)
    assert any(frame.wire_bytes > 40 for frame in snapped.frames)
    data = small.whole()
    assert len(data) <= 500
    assert 1 <= len(read_pcap(data).frames) <= 8


def test_a_capture_ends_with_its_time_though_nothing_comes(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_CAPTURE)
    link = world.link()
    request = world.compute_request(port("in", link.handle.resource_id, "10.98.1.1/24"))
    world.compute(request)
    asked = _capture(world, request.resource_id, "in")
    asked.duration.CopyFrom(Duration(nanos=500_000_000))
    begun_s = time.monotonic()
    read_pcap(Capture(world.caller, asked).whole(10))
    assert 0.4 <= time.monotonic() - begun_s < 5


def test_a_capture_of_what_is_not_there_is_refused(world: World, running: Running) -> None:
    running.needs(pb.CAPABILITY_CAPTURE)
    link = world.link()
    request = world.compute_request(
        port("in", link.handle.resource_id, "10.98.1.1/24"), port("out", link.handle.resource_id, "10.98.2.1/24")
    )
    world.compute(request)
    for resource_id, cp_id, code, says in (
        (new_id(), "in", "NOT_FOUND", "compute or SAP"),
        (link.handle.resource_id, "in", "NOT_FOUND", "compute or SAP"),
        (request.resource_id, "nowhere", "NOT_FOUND", "nowhere"),
        (request.resource_id, "", "INVALID_ARGUMENT", "cp_id"),
    ):
        with pytest.raises(Refused) as refused, refusals():
            list(world.caller.observation.Capture(_capture(world, resource_id, cp_id), timeout=20))
        assert refused.value.code.name == code, says
        assert says in refused.value.problem.detail
    strange = _capture(world, request.resource_id, "in", snap_bytes=1, max_bytes=30)
    strange.duration.CopyFrom(Duration(seconds=-1))
    with pytest.raises(Refused) as refused, refusals():
        list(world.caller.observation.Capture(strange, timeout=20))
    assert refused.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert all(field in refused.value.problem.detail for field in ("snap_bytes", "max_bytes", "duration"))
