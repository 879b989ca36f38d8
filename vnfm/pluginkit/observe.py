"""Observation on the wire: counters every interval, and the packets of a port as a pcap file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import check
from vnfm.pluginkit.core import Core, asked_for
from vnfm.pluginkit.handlers import Packet, Stamped, StatsPart
from vnfm.pluginkit.pcap import PcapFile
from vnfm.pluginkit.problems import guarded, not_found, unimplemented
from vnfm.pluginkit.servicers import Context

DEFAULT_INTERVAL_MS = 1000
DEFAULT_CAPTURE_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_OBSERVED = (pb.KIND_COMPUTE, pb.KIND_SAP, pb.KIND_PATH)


@dataclass
class ObservationServicer(rpc.ObservationServicer):
    """What runs, seen from outside."""

    core: Core

    async def WatchStats(self, request: pb.WatchStatsRequest, context: Context) -> AsyncIterator[pb.StatsSample]:
        """A sample at once, then one every interval; what is late is skipped, never sent in a burst."""
        async with guarded(context, "WatchStats"):
            self.core.ready()
            stats = self.core.plugin.stats
            if stats is None:
                raise unimplemented("WatchStats", "CAPABILITY_STATS")
            found = check.Findings()
            check.check_owner(found, request.owner, tenant=False)
            check.check_stats(found, request)
            found.raise_found()
            async for sample in self._samples(stats, request):
                yield sample

    async def _samples(self, stats: StatsPart, request: pb.WatchStatsRequest) -> AsyncIterator[pb.StatsSample]:
        loop = asyncio.get_running_loop()
        interval_s = (request.interval_ms or DEFAULT_INTERVAL_MS) / 1000
        due_s, sent = loop.time(), 0
        watcher = self.core.plugin.changes.subscribe()
        try:
            objects = await self._objects(request)
            while True:
                sample = await stats.read_stats(objects)
                if not sample.HasField("at"):
                    sample.at.GetCurrentTime()
                yield sample
                sent += 1
                if sent == request.count:
                    return
                due_s = max(due_s + interval_s, loop.time())
                await asyncio.sleep(due_s - loop.time())
                if watcher.drain():  # only then: looking for all stamps may cost more than the counters
                    objects = await self._objects(request)
        finally:
            watcher.close()

    async def _objects(self, request: pb.WatchStatsRequest) -> list[Stamped]:
        every = await self.core.plugin.resources.find_all(request.owner.manager_id)
        return [
            stamped
            for stamped in every
            if stamped.resource.kind in _OBSERVED and asked_for(stamped.resource, request.owner, request.resource_ids)
        ]

    async def Capture(self, request: pb.CaptureRequest, context: Context) -> AsyncIterator[pb.CaptureChunk]:
        """The file's header once packets are really caught, then packets as they come, up to the first bound."""
        async with guarded(context, "Capture", request.at.resource_id):
            self.core.ready()
            capture = self.core.plugin.capture
            if capture is None:
                raise unimplemented("Capture", "CAPABILITY_CAPTURE")
            found = check.Findings()
            check.check_handle(found, request.at, "at")
            check.check_owner(found, request.owner)
            check.check_capture(found, request)
            found.raise_found()
            await self.core.admit(request.owner)
            there = await self.core.find(request.owner, request.at, "compute or SAP", pb.KIND_COMPUTE, pb.KIND_SAP)
            async with aclosing(capture.capture_packets(request, there)) as batches:
                async for data in _file(request, batches):
                    for chunk in _cut(data):
                        yield chunk


async def _file(request: pb.CaptureRequest, batches: AsyncGenerator[Sequence[Packet], None]) -> AsyncIterator[bytes]:
    """The file's bytes; ends with the batches, when a bound is reached, or when the duration is over."""
    pcap = PcapFile(request.snap_bytes, request.max_packets, request.max_bytes or DEFAULT_CAPTURE_BYTES)
    first = await anext(batches, None)
    if first is None:
        raise not_found("port", f"{request.at.resource_id}/{request.cp_id}")
    yield pcap.header() + pcap.add(first)
    duration_s = request.duration.seconds + request.duration.nanos / 1e9
    end_s = asyncio.get_running_loop().time() + duration_s if duration_s else None
    while not pcap.full:
        try:
            async with asyncio.timeout_at(end_s):
                batch = await anext(batches, None)
        except TimeoutError:
            return
        if batch is None:
            return
        if data := pcap.add(batch):
            yield data


def _cut(data: bytes) -> Iterator[pb.CaptureChunk]:
    for start in range(0, len(data), _CHUNK_BYTES):
        yield pb.CaptureChunk(pcap=data[start : start + _CHUNK_BYTES])
