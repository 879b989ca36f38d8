"""Counters and captures of the mock: both follow from the time that has passed, and from what probes sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from plugins.mock import frames, rules
from plugins.mock.compute import call_about
from plugins.mock.script import Call
from plugins.mock.stage import Stage, disturb
from plugins.mock.world import Thing
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Packet, Stamped
from vnfm.pluginkit.problems import invalid, not_found

PACKET_BYTES = 98  # an echo of 56 bytes in its Ethernet frame
_CPU_SHARE = 20  # a compute uses a twentieth of one CPU
_MEMORY_SHARE = 4  # and a quarter of its memory
_TICK_S = 0.1
_NS = 1_000_000_000


class MockObservation:
    """StatsPart and CapturePart."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def read_stats(self, objects: Sequence[Stamped]) -> pb.StatsSample:
        """`traffic_pps` packets a second cross every port, both ways, of what runs; probes come on top."""
        call = Call("WatchStats")
        await disturb(call, self._stage.fired(call))
        now_ns = self._stage.clock_ns()
        sample = pb.StatsSample()
        sample.at.FromNanoseconds(now_ns)
        for stamped in objects:
            owner, handle = stamped.resource.owner, stamped.resource.handle
            thing = self._stage.world.get(owner.manager_id, handle.resource_id)
            if thing is None or thing.resource.state != pb.STATE_RUNNING:
                continue
            age_ns = max(0, now_ns - self._stage.world.born_ns(thing.key))
            if isinstance(thing.spec, pb.AllocateComputeRequest):
                sample.computes.append(_compute(thing.spec, thing.resource.overhead_memory_bytes, age_ns))
            if isinstance(thing.spec, pb.AllocatePathRequest):
                sample.paths.extend(self._path(owner.manager_id, thing.spec))
            sample.ports.extend(self._port(thing, port.cp_id, age_ns) for port in rules.ports(thing))
        return sample

    def _port(self, thing: Thing, cp_id: str, age_ns: int) -> pb.PortStats:
        passed = self._stage.traffic_pps * age_ns // _NS
        crossed = self._stage.world.crossed(*thing.key, cp_id)
        into = passed + sum(each.in_packets for each in crossed)
        out = passed + sum(each.out_packets for each in crossed)
        return pb.PortStats(
            resource_id=thing.key[1],
            cp_id=cp_id,
            in_packets=into,
            in_bytes=into * PACKET_BYTES,
            out_packets=out,
            out_bytes=out * PACKET_BYTES,
        )

    def _path(self, manager_id: str, path: pb.AllocatePathRequest) -> list[pb.PathStats]:
        """Only what is known to have followed this path's classifier: probes, at each port that it leads into."""
        found: list[pb.PathStats] = []
        for hop in path.hops:
            handles = list(hop.replicas) or [hop.compute if hop.HasField("compute") else hop.sap]
            for resource_id in (handle.resource_id for handle in handles):
                thing = self._stage.world.get(manager_id, resource_id)
                if thing is None:
                    continue
                steered = {hop.ingress_cp_id, hop.egress_cp_id}
                cps = [port.cp_id for port in rules.ports(thing) if hop.HasField("sap") or port.cp_id in steered]
                found.extend(self._steered(manager_id, path.resource_id, resource_id, cp_id) for cp_id in cps)
        return found

    def _steered(self, manager_id: str, path_id: str, resource_id: str, cp_id: str) -> pb.PathStats:
        crossed = self._stage.world.crossed(manager_id, resource_id, cp_id)
        packets = sum(each.in_packets for each in crossed if each.path_id == path_id)
        return pb.PathStats(
            path_id=path_id, resource_id=resource_id, cp_id=cp_id, packets=packets, bytes=packets * PACKET_BYTES
        )

    async def capture_packets(
        self, request: pb.CaptureRequest, found: Stamped
    ) -> AsyncGenerator[Sequence[Packet], None]:
        """Probes that cross the port as they do, and between them datagrams at the pace of the counters."""
        owner, resource_id = request.owner, request.at.resource_id
        world = self._stage.world
        thing = world.get(owner.manager_id, resource_id)
        if thing is None:
            raise not_found("compute or SAP", resource_id)
        port = _port_of(thing, request.cp_id)
        call = call_about("Capture", thing, resource_id)
        await disturb(call, self._stage.fired(call))
        with self._stage.taps.listen((owner.manager_id, resource_id, port.cp_id)) as queue:
            yield []
            told = number = self._stage.traffic_pps * self._stage.clock_ns() // _NS
            while world.get(*thing.key) is not None:
                batch: list[Packet] = []
                try:
                    async with asyncio.timeout(_TICK_S):
                        batch.append(await queue.get())
                except TimeoutError:
                    number = self._stage.traffic_pps * self._stage.clock_ns() // _NS
                while not queue.empty():
                    batch.append(queue.get_nowait())
                batch.extend(self._background(port, each) for each in range(told, number))
                told = number
                yield batch

    def _background(self, port: pb.Port, number: int) -> Packet:
        """The `number`th datagram since the epoch, in and out in turn."""
        ours = next((ip.partition("/")[0] for ip in port.ips), "")
        data = frames.datagram("", ours, 9, 9, reply=bool(number % 2), payload=number.to_bytes(8))
        return Packet(number * _NS // self._stage.traffic_pps, data)


def _compute(spec: pb.AllocateComputeRequest, overhead_bytes: int, age_ns: int) -> pb.ComputeStats:
    return pb.ComputeStats(
        resource_id=spec.resource_id,
        cpu_ns=age_ns // _CPU_SHARE,
        memory_bytes=spec.memory_bytes // _MEMORY_SHARE + overhead_bytes,
        memory_limit_bytes=spec.memory_bytes,
        processes=len(spec.containers),
    )


def _port_of(thing: Thing, cp_id: str) -> pb.Port:
    there = {port.cp_id: port for port in rules.ports(thing)}
    if cp_id in there:
        return there[cp_id]
    if cp_id or not there:
        raise not_found("port", f"{thing.key[1]}/{cp_id}")
    if len(there) > 1:
        raise invalid("cp_id", f"is missing: {thing.key[1]!r} has {', '.join(sorted(there))}")
    return next(iter(there.values()))
