"""What the manager watches: whole inventories, cut into chunks, and every change of a resource."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from vnfm.pb.vim.v1 import vim_pb2 as pb

CHUNK_BYTES = 1 << 17
"""Some 500 hosts: the manager reads a chunk between other work, so that one must not take long."""
_CHUNK_OVERHEAD_BYTES = 64


def _now_us() -> int:
    return time.time_ns() // 1000


def chunks(
    version: int,
    hosts: Sequence[pb.Host],
    latencies: Sequence[pb.Latency] = (),
    fabric: Sequence[pb.Fabric] = (),
    licences: Sequence[pb.Licence] = (),
    reaches: Sequence[pb.Reach] = (),
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[pb.InventoryChunk]:
    """One snapshot in chunks of at most `chunk_bytes`; only the final one has `last`."""
    chunk, size = pb.InventoryChunk(version=version), _CHUNK_OVERHEAD_BYTES
    items: tuple[pb.Host | pb.Latency | pb.Fabric | pb.Licence | pb.Reach, ...]
    items = (*hosts, *latencies, *fabric, *licences, *reaches)
    for item in items:
        item_bytes = item.ByteSize() + 8
        if size + item_bytes > chunk_bytes and size > _CHUNK_OVERHEAD_BYTES:
            yield chunk
            chunk, size = pb.InventoryChunk(version=version), _CHUNK_OVERHEAD_BYTES
        if isinstance(item, pb.Host):
            chunk.hosts.append(item)
        elif isinstance(item, pb.Latency):
            chunk.latencies.append(item)
        elif isinstance(item, pb.Fabric):
            chunk.fabric.append(item)
        elif isinstance(item, pb.Licence):
            chunk.licences.append(item)
        else:
            chunk.reaches.append(item)
        size += item_bytes
    chunk.last = True
    yield chunk


class InventoryPublisher:
    """The newest inventory and its watchers. A slow watcher skips versions, never gets half of one.

    Versions rise, also over a restart of the plugin, since they begin at the clock's microseconds.
    """

    def __init__(self, clock_us: Callable[[], int] = _now_us) -> None:
        self._clock_us = clock_us
        self._version = 0
        self._snapshot: list[pb.InventoryChunk] = []
        self._changed = asyncio.Condition()

    @property
    def version(self) -> int:
        """Of what was published last; 0 before the first."""
        return self._version

    async def publish(
        self,
        hosts: Sequence[pb.Host],
        latencies: Sequence[pb.Latency] = (),
        fabric: Sequence[pb.Fabric] = (),
        licences: Sequence[pb.Licence] = (),
        reaches: Sequence[pb.Reach] = (),
    ) -> int:
        """Replace the whole inventory; returns its version. The messages must not be changed afterwards."""
        async with self._changed:
            self._version = max(self._version + 1, self._clock_us())
            self._snapshot = list(chunks(self._version, hosts, latencies, fabric, licences, reaches))
            self._changed.notify_all()
            return self._version

    async def watch(self) -> AsyncIterator[pb.InventoryChunk]:
        """The current snapshot at once (waiting for the first), then each newer one; never ends by itself."""
        seen = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._version > seen)  # noqa: B023 - awaited before `seen` moves
                seen, snapshot = self._version, self._snapshot
            for chunk in snapshot:
                yield chunk


class ResourcePublisher:
    """Changes of resources to whoever watches. A slow watcher gets the newest state of each, in order of change."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._watchers: set[_Watcher] = set()
        self._since: dict[tuple[str, str], tuple[pb.State.ValueType, Timestamp]] = {}

    def publish(self, resource: pb.Resource) -> None:
        """Tell the watchers; `resource.owner` decides who hears it, STATE_ABSENT says that it is gone.

        The kit itself publishes the results of calls; a plugin publishes what happens by itself (a guest died), with
        `changed_at` where it knows better than now when that was.
        """
        told = self.dated(resource)
        if told.state == pb.STATE_ABSENT:
            self._since.pop(_key(told), None)
        for watcher in self._watchers:
            watcher.put(told)

    def dated(self, resource: pb.Resource) -> pb.Resource:
        """A copy with `changed_at`: as the plugin says, else when it was first seen in this state."""
        copy = pb.Resource()
        copy.CopyFrom(resource)
        state, since = self._since.get(_key(copy), (pb.STATE_UNSPECIFIED, Timestamp()))
        if not copy.HasField("changed_at"):
            if state != copy.state:
                since = Timestamp()
                since.FromNanoseconds(self._clock_ns())
            copy.changed_at.CopyFrom(since)
        self._since[_key(copy)] = (copy.state, copy.changed_at)
        return copy

    def subscribe(self) -> _Watcher:
        """Begin to collect changes now; iterate over the result, and `close` it."""
        watcher = _Watcher(self._watchers.discard)
        self._watchers.add(watcher)
        return watcher


def _key(resource: pb.Resource) -> tuple[str, str]:
    return resource.owner.manager_id, resource.handle.resource_id


class _Watcher:
    def __init__(self, leave: Callable[[_Watcher], None]) -> None:
        self._leave = leave
        self._pending: dict[tuple[str, str], pb.Resource] = {}
        self._wake = asyncio.Event()

    def put(self, resource: pb.Resource) -> None:
        key = _key(resource)
        self._pending.pop(key, None)
        self._pending[key] = resource
        self._wake.set()

    def close(self) -> None:
        self._leave(self)

    def drain(self) -> list[pb.Resource]:
        """What has changed since the last look, without waiting."""
        self._wake.clear()
        changed = list(self._pending.values())
        self._pending.clear()
        return changed

    async def changes(self) -> AsyncIterator[pb.Resource]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                yield self._pending.pop(next(iter(self._pending)))
