"""What the manager watches: whole inventories, cut into chunks, and every change of a resource."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence

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
        self._watchers: set[Watcher] = set()
        self._since: dict[tuple[str, str], tuple[pb.State.ValueType, int]] = {}  # state, nanoseconds

    def publish(self, resource: pb.Resource) -> None:
        """Tell the watchers; `resource.owner` decides who hears it, STATE_ABSENT says that it is gone.

        The kit itself publishes the results of calls; a plugin publishes what happens by itself (a guest died), with
        `changed_at` where it knows better than now when that was.
        """
        listening = [watcher for watcher in self._watchers if watcher.wants(resource)]
        if listening:
            told = self.dated(resource)
            for watcher in listening:
                watcher.put(told)
        else:
            self._entered_ns(resource)
        if resource.state == pb.STATE_ABSENT:
            self._since.pop(_key(resource), None)

    def dated(self, resource: pb.Resource) -> pb.Resource:
        """A copy with `changed_at`: as the plugin says, else when it was first seen in this state."""
        copy = pb.Resource()
        copy.CopyFrom(resource)
        since_ns = self._entered_ns(resource)
        if not copy.HasField("changed_at"):
            copy.changed_at.FromNanoseconds(since_ns)
        return copy

    def _entered_ns(self, resource: pb.Resource) -> int:
        """When it entered its state; from now on that is known."""
        key, state = _key(resource), resource.state
        if resource.HasField("changed_at"):
            since_ns = resource.changed_at.ToNanoseconds()
        else:
            known, since_ns = self._since.get(key, (pb.STATE_UNSPECIFIED, 0))
            if known == state:
                return since_ns
            since_ns = self._clock_ns()
        self._since[key] = (state, since_ns)
        return since_ns

    def subscribe(self, kinds: Collection[int] = ()) -> Watcher:
        """Begin to collect changes now, of these kinds, or of all; iterate over the result, and `close` it."""
        watcher = Watcher(self._watchers.discard, frozenset(kinds))
        self._watchers.add(watcher)
        return watcher


def _key(resource: pb.Resource) -> tuple[str, str]:
    return resource.owner.manager_id, resource.handle.resource_id


class Watcher:
    """One who has subscribed; what has changed since is kept for it, the newest state of each."""

    def __init__(self, leave: Callable[[Watcher], None], kinds: frozenset[int]) -> None:
        self._leave = leave
        self._kinds = kinds
        self._pending: dict[tuple[str, str], pb.Resource] = {}
        self._wake = asyncio.Event()

    def wants(self, resource: pb.Resource) -> bool:
        """Whether it is of a kind that is watched."""
        return not self._kinds or resource.kind in self._kinds

    def put(self, resource: pb.Resource) -> None:
        """It has changed."""
        key = _key(resource)
        self._pending.pop(key, None)
        self._pending[key] = resource
        self._wake.set()

    def close(self) -> None:
        """Collect no more."""
        self._leave(self)

    def drain(self) -> list[pb.Resource]:
        """What has changed since the last look, without waiting."""
        self._wake.clear()
        changed = list(self._pending.values())
        self._pending.clear()
        return changed

    async def changes(self) -> AsyncIterator[pb.Resource]:
        """One after the other, waiting for them."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                yield self._pending.pop(next(iter(self._pending)))

    async def gathered(self) -> AsyncIterator[list[pb.Resource]]:
        """The same, all that is there at a moment together."""
        while True:
            await self._wake.wait()
            if changed := self.drain():
                yield changed
