"""Observation as the kit serves it: intervals, bounds, and generators that are always closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.core import Core
from vnfm.pluginkit.handlers import Packet, Plugin, Stamped
from vnfm.pluginkit.observe import ObservationServicer
from vnfm.pluginkit.pcap import HEADER_BYTES

OWNER = Owner(manager_id="m", tenant="t", fence=1)
FRAME = Packet(10**9, bytes(60))


def _stamped(resource_id: str, kind: pb.Kind.ValueType = pb.KIND_COMPUTE, **owner: str) -> Stamped:
    stamp = Owner(manager_id="m", tenant="t", **owner)
    resource = pb.Resource(handle=Handle(resource_id=resource_id), kind=kind, state=pb.STATE_RUNNING, owner=stamp)
    return Stamped(resource, "digest")


class Aborted(Exception):
    """What a context's abort ends with."""


class Context:
    """The one method of gRPC's context that matters here."""

    async def abort(self, code: Any, details: str, trailing_metadata: Any) -> None:
        raise Aborted(f"{code.name}: {details}")


@dataclass
class Vim:
    """A plugin's parts, as far as Observation needs them."""

    there: list[Stamped] = field(default_factory=list)
    batches: Sequence[Sequence[Packet]] = ()
    endless: bool = False
    looks: int = 0
    asked: list[list[str]] = field(default_factory=list)
    closed: int = 0

    async def find(self, manager_id: str, resource_id: str) -> Stamped | None:
        return next((each for each in self.there if each.resource.handle.resource_id == resource_id), None)

    async def find_all(self, manager_id: str) -> Sequence[Stamped]:
        self.looks += 1
        return list(self.there)

    async def read_stats(self, objects: Sequence[Stamped]) -> pb.StatsSample:
        self.asked.append([each.resource.handle.resource_id for each in objects])
        return pb.StatsSample()

    async def capture_packets(
        self, request: pb.CaptureRequest, found: Stamped
    ) -> AsyncGenerator[Sequence[Packet], None]:
        try:
            for batch in self.batches:
                yield batch
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    def servicer(self) -> ObservationServicer:
        """Served, and configured."""
        anything: Any = self
        plugin = Plugin(
            runtimes=[],
            configure=anything,
            resources=self,  # type: ignore[arg-type]
            images=anything,
            compute=anything,
            links=anything,
            stats=self,
            capture=self,
        )
        return ObservationServicer(Core(plugin, configured=True))


def _run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(bounded())


def _stats(vim: Vim, **more: Any) -> Any:
    request = pb.WatchStatsRequest(owner=Owner(manager_id="m", **more.pop("owner", {})), **more)
    context: Any = Context()
    return vim.servicer().WatchStats(request, context)


def test_a_sample_comes_at_once_and_as_many_as_asked_for() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a"), _stamped("link", pb.KIND_LINK), _stamped("sap", pb.KIND_SAP)])
        loop = asyncio.get_running_loop()
        begun_s, times = loop.time(), []
        async for sample in _stats(vim, interval_ms=50, count=3):
            assert sample.HasField("at")
            times.append(loop.time() - begun_s)
        assert len(times) == 3
        assert times[1] >= 0.05
        assert times[2] >= 0.1
        assert vim.asked == [["a", "sap"]] * 3, "a link has no counters"
        assert vim.looks == 1, "stamps are looked for again only when something has changed"
        assert len([each async for each in _stats(vim, interval_ms=3_600_000, count=1)]) == 1

    _run(story)


def test_what_comes_while_a_watch_runs_is_in_the_next_sample() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a")])
        servicer = vim.servicer()
        context: Any = Context()
        stream = servicer.WatchStats(pb.WatchStatsRequest(owner=Owner(manager_id="m"), interval_ms=10), context)
        await anext(stream)
        vim.there.append(_stamped("b"))
        servicer.core.plugin.changes.publish(vim.there[-1].resource)
        await anext(stream)
        assert vim.asked == [["a"], ["a", "b"]]

    _run(story)


def test_only_what_was_asked_for_is_read() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a", chain_id="one"), _stamped("b", chain_id="two"), _stamped("c", chain_id="one")])
        _ = [each async for each in _stats(vim, count=1, owner={"chain_id": "one"})]
        _ = [each async for each in _stats(vim, count=1, resource_ids=["b", "gone"])]
        assert vim.asked == [["a", "c"], ["b"]]

    _run(story)


def _capture(vim: Vim, **more: Any) -> Any:
    request = pb.CaptureRequest(at=Handle(resource_id="a"), owner=OWNER, cp_id="in", **more)
    context: Any = Context()
    return vim.servicer().Capture(request, context)


async def _file(stream: Any) -> bytes:
    return b"".join([chunk.pcap async for chunk in stream])


def test_the_header_says_that_the_capture_has_begun() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a")], [[], [FRAME]], endless=True)
        stream = _capture(vim)
        assert len((await anext(stream)).pcap) == HEADER_BYTES
        assert len((await anext(stream)).pcap) == 16 + 60
        assert vim.closed == 0
        await stream.aclose()
        assert vim.closed == 1, "who leaves ends the capture"

    _run(story)


@pytest.mark.parametrize(
    ("bounds", "packets"), [({"max_packets": 3}, 3), ({"max_bytes": HEADER_BYTES + 5 * 76 + 10}, 5)]
)
def test_bounds_end_it_and_close_the_plugins_part(bounds: dict[str, int], packets: int) -> None:
    async def story() -> None:
        vim = Vim([_stamped("a")], [[]] + [[FRAME] * 2] * 10, endless=True)
        assert len(await _file(_capture(vim, **bounds))) == HEADER_BYTES + packets * 76
        assert vim.closed == 1

    _run(story)


def test_its_time_ends_it_though_nothing_comes() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a")], [[FRAME]], endless=True)
        request_time = {"duration": {"nanos": 50_000_000}}
        assert len(await _file(_capture(vim, **request_time))) == HEADER_BYTES + 76
        assert vim.closed == 1

    _run(story)


def test_a_large_batch_goes_out_in_chunks() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a")], [[], [Packet(1, bytes(1000))] * 3000])
        sizes = [len(chunk.pcap) async for chunk in _capture(vim)]
        assert max(sizes) <= 1 << 20
        assert sum(sizes) == HEADER_BYTES + 3000 * 1016

    _run(story)


def test_what_has_no_ports_cannot_be_listened_to() -> None:
    async def story() -> None:
        vim = Vim([_stamped("a", pb.KIND_LINK)])
        with pytest.raises(Aborted, match="NOT_FOUND"):
            await _file(_capture(vim))
        with pytest.raises(Aborted, match=r"INVALID_ARGUMENT.*snap_bytes.*max_bytes"):
            await _file(_capture(vim, snap_bytes=3, max_bytes=3))
        with pytest.raises(Aborted, match=r"INVALID_ARGUMENT.*interval_ms"):
            await anext(_stats(vim, interval_ms=1))

    _run(story)
