"""Inventories in chunks, and changes that are never lost."""

from __future__ import annotations

import asyncio

from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.publish import CHUNK_BYTES, InventoryPublisher, ResourcePublisher, chunks


def _hosts(count: int) -> list[pb.Host]:
    return [pb.Host(id=f"host-{number}", identities=["x" * 400]) for number in range(count)]


def test_ten_thousand_hosts_come_in_chunks_that_fit() -> None:
    found = list(chunks(7, _hosts(10_000), [pb.Latency(zone_a="a", zone_b="b")], [pb.Fabric(a="a", b="b")]))
    assert len(found) > 1
    assert all(chunk.ByteSize() <= CHUNK_BYTES for chunk in found)
    assert [chunk.last for chunk in found] == [False] * (len(found) - 1) + [True]
    assert {chunk.version for chunk in found} == {7}
    assert [host.id for chunk in found for host in chunk.hosts] == [f"host-{number}" for number in range(10_000)]
    assert (len(found[-1].latencies), len(found[-1].fabric)) == (1, 1)


def test_a_host_larger_than_a_chunk_gets_one_of_its_own() -> None:
    found = list(chunks(1, _hosts(3), chunk_bytes=100))
    assert [len(chunk.hosts) for chunk in found] == [1, 1, 1]


def test_an_empty_inventory_is_one_last_chunk() -> None:
    (only,) = chunks(1, [])
    assert only.last


def test_a_slow_watcher_skips_versions_and_versions_rise_though_the_clock_stands_still() -> None:
    async def story() -> None:
        publisher = InventoryPublisher(clock_us=lambda: 100)
        watch = publisher.watch()
        assert await publisher.publish(_hosts(1)) == 100
        first = await anext(watch)
        assert (first.version, len(first.hosts)) == (100, 1)
        assert await publisher.publish(_hosts(2)) == 101
        assert await publisher.publish(_hosts(3)) == 102
        newest = await anext(watch)
        assert (newest.version, len(newest.hosts)) == (102, 3)

    asyncio.run(story())


def test_a_watcher_waits_for_the_first_inventory() -> None:
    async def story() -> None:
        publisher = InventoryPublisher()
        first = asyncio.ensure_future(anext(publisher.watch()))
        await asyncio.sleep(0.01)
        assert not first.done()
        await publisher.publish(_hosts(1))
        assert (await first).last

    asyncio.run(story())


def _resource(resource_id: str, state: pb.State.ValueType) -> pb.Resource:
    return pb.Resource(handle=Handle(resource_id=resource_id), owner=Owner(manager_id="m"), state=state)


def test_a_slow_watcher_gets_the_newest_state_of_each() -> None:
    async def story() -> None:
        publisher = ResourcePublisher()
        watcher = publisher.subscribe()
        publisher.publish(_resource("a", pb.STATE_RUNNING))
        publisher.publish(_resource("b", pb.STATE_RUNNING))
        publisher.publish(_resource("a", pb.STATE_FAILED))
        changes = watcher.changes()
        seen = [await anext(changes) for _ in range(2)]
        assert [(each.handle.resource_id, each.state) for each in seen] == [
            ("b", pb.STATE_RUNNING),
            ("a", pb.STATE_FAILED),
        ]
        watcher.close()
        publisher.publish(_resource("c", pb.STATE_RUNNING))
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.01)
        assert not waiting.done(), "who has left hears nothing"
        waiting.cancel()

    asyncio.run(story())


def test_a_state_is_dated_by_when_it_began_not_by_when_it_is_told_again() -> None:
    clock = iter(range(1_000_000_000, 9_000_000_000, 1_000_000_000))
    publisher = ResourcePublisher(clock_ns=lambda: next(clock))
    given = _resource("a", pb.STATE_RUNNING)
    assert publisher.dated(given).changed_at.seconds == 1
    assert not given.HasField("changed_at"), "what a plugin gave stays as it is"
    assert publisher.dated(given).changed_at.seconds == 1
    assert publisher.dated(_resource("a", pb.STATE_FAILED)).changed_at.seconds == 2
    assert publisher.dated(_resource("b", pb.STATE_FAILED)).changed_at.seconds == 3
    assert publisher.dated(given).changed_at.seconds == 4


def test_a_plugin_that_knows_the_time_is_believed_and_remembered() -> None:
    publisher = ResourcePublisher(clock_ns=lambda: 5_000_000_000)
    told = _resource("a", pb.STATE_FAILED)
    told.changed_at.seconds = 3
    publisher.publish(told)
    assert publisher.dated(_resource("a", pb.STATE_FAILED)).changed_at.seconds == 3
    publisher.publish(_resource("a", pb.STATE_ABSENT))
    assert publisher.dated(_resource("a", pb.STATE_FAILED)).changed_at.seconds == 5, "a new one of that name"


def test_what_waits_is_drained_without_waiting() -> None:
    publisher = ResourcePublisher()
    watcher = publisher.subscribe()
    assert watcher.drain() == []
    publisher.publish(_resource("a", pb.STATE_RUNNING))
    publisher.publish(_resource("a", pb.STATE_FAILED))
    assert [each.state for each in watcher.drain()] == [pb.STATE_FAILED]
    assert watcher.drain() == []


def test_what_changes_at_one_moment_is_told_together_and_only_of_the_kinds_that_are_watched() -> None:
    async def story() -> None:
        publisher = ResourcePublisher()
        watcher = publisher.subscribe([pb.KIND_COMPUTE])
        for name, kind in (("a", pb.KIND_COMPUTE), ("link", pb.KIND_LINK), ("b", pb.KIND_COMPUTE)):
            resource = _resource(name, pb.STATE_RUNNING)
            resource.kind = kind
            publisher.publish(resource)
        several = await anext(watcher.gathered())
        assert [each.handle.resource_id for each in several] == ["a", "b"]
        assert all(each.HasField("changed_at") for each in several)
        watcher.close()

    asyncio.run(story())


def test_when_a_resource_entered_its_state_is_known_though_nobody_watched() -> None:
    now_ns = 5_000_000_000
    publisher = ResourcePublisher(lambda: now_ns)
    publisher.publish(_resource("a", pb.STATE_RUNNING))
    now_ns = 9_000_000_000
    assert publisher.dated(_resource("a", pb.STATE_RUNNING)).changed_at.seconds == 5
    assert publisher.dated(_resource("a", pb.STATE_FAILED)).changed_at.seconds == 9
