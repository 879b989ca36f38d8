"""Statistics and captures, as the kit asks for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from plugins.local.health import Threads
from plugins.local.net import HostNetwork, NotThereError
from plugins.local.net.devices import DeviceView
from plugins.local.net.sniffer import Sniffer
from plugins.local.packets import packets
from plugins.local.stats import Sampler
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Packet, Stamped
from vnfm.pluginkit.problems import invalid, not_found


class Observation:
    """`sampler` is there once the plugin is configured."""

    def __init__(self, thread: Threads, sampler: Callable[[], Sampler]) -> None:
        self._thread = thread
        self._sampler = sampler

    async def read_stats(self, objects: Sequence[Stamped]) -> pb.StatsSample:
        """One sample of these."""
        return await self._thread(self._sampler().sample, objects)

    async def capture_packets(
        self, request: pb.CaptureRequest, found: Stamped
    ) -> AsyncGenerator[Sequence[Packet], None]:
        """What crosses a port; see packets.py."""
        sampler = self._sampler()
        sniffer = await self._thread(open_sniffer, sampler.network, sampler.ports.view, request)
        async with aclosing(packets(sniffer, request.at.resource_id)) as batches:
            async for batch in batches:
                yield batch


def open_sniffer(network: HostNetwork, view: DeviceView, request: pb.CaptureRequest) -> Sniffer:
    """On the port that is asked for; blocking."""
    resource_id, cp_id = request.at.resource_id, request.cp_id
    places = network.places((resource_id,)).get(resource_id, [])
    named = [place for place in places if cp_id in ("", place.cp_id)]
    if not named:
        raise not_found("port", f"{resource_id}/{cp_id}")
    if len(named) > 1:
        raise invalid("cp_id", f"{resource_id} has several ports, name one of {', '.join(p.cp_id for p in named)}")
    try:
        return Sniffer(named[0], view, request.snap_bytes)
    except NotThereError as error:
        raise not_found(f"device now ({error.detail}) of port", f"{resource_id}/{cp_id}") from error
