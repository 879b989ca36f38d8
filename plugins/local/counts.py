"""What probes have counted, in the contract's words."""

from __future__ import annotations

from plugins.local import net
from plugins.local.health import Threads
from plugins.local.net.counter import Counter
from vnfm.pb.vim.v1 import vim_pb2 as pb


class Count:
    """A count that goes on, in worker threads."""

    def __init__(self, thread: Threads, counter: Counter) -> None:
        self._thread = thread
        self._counter = counter

    async def counts(self, end: pb.CountProbeRequest.End) -> pb.ProbePathResponse:
        """See the kit."""
        seen = await self._thread(self._counter.counts, end.first_sequence, end.packets)
        return counted(seen, trace=end.trace)

    async def close(self) -> None:
        """See the kit."""
        await self._thread(self._counter.close)


def counted(result: net.ProbeResult, *, trace: bool) -> pb.ProbePathResponse:
    """What a probe saw."""
    count = pb.ProbePathResponse.HopCount
    hops = []
    for seen in result.hops:
        hop = count(to=seen.to, sent=seen.sent, received=seen.received, rtt_us=seen.rtt_us)
        setattr(hop, "from", seen.from_)
        hops.append(hop)
    return pb.ProbePathResponse(
        hops=hops,
        unsupported=result.unsupported,
        complete=result.complete,
        rtt_us=result.rtt_us,
        passings=map(_passing, result.passings) if trace else (),
        first_sequence=result.first_sequence,
    )


def _passing(seen: net.Passing) -> pb.ProbePathResponse.Passing:
    return pb.ProbePathResponse.Passing(
        hop=seen.hop,
        cp_id=seen.cp_id,
        resource_id=seen.resource_id,
        reply=seen.reply,
        leaving=seen.leaving,
        at_ns=seen.at_ns,
    )
