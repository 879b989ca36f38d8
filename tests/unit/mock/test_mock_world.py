"""What the mock's file keeps, and the rules by which its counters rise."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from plugins.mock import frames, rules
from plugins.mock.config import parse
from plugins.mock.observe import PACKET_BYTES, MockObservation
from plugins.mock.stage import Stage
from plugins.mock.world import Crossed, Fate, Thing, World
from vnfm.pb.common.v1.common_pb2 import Handle, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb

OWNER = Owner(manager_id="m", tenant="t")
SECOND = 1_000_000_000


class Clock:
    """Time stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 100 * SECOND

    def __call__(self) -> int:
        return self.now_ns


def _resource(resource_id: str, kind: pb.Kind.ValueType) -> pb.Resource:
    return pb.Resource(handle=Handle(resource_id=resource_id), state=pb.STATE_RUNNING, kind=kind, owner=OWNER)


def _path(generation: int) -> Thing:
    spec = pb.AllocatePathRequest(resource_id="p", owner=OWNER, generation=generation)
    return Thing(_resource("p", pb.KIND_PATH), spec, f"digest-{generation}")


def _compute(resource_id: str, *links: str) -> Thing:
    ports = [pb.Port(cp_id=f"cp{at}", link=Handle(resource_id=link)) for at, link in enumerate(links)]
    spec = pb.AllocateComputeRequest(
        resource_id=resource_id,
        owner=OWNER,
        runtime=pb.RUNTIME_CONTAINER,
        memory_bytes=1000,
        containers=[pb.Container(name="main")],
        ports=ports,
    )
    return Thing(_resource(resource_id, pb.KIND_COMPUTE), spec, resource_id)


def test_every_switch_of_a_path_is_remembered_though_path_and_process_be_gone(tmp_path: Path) -> None:
    world = World(tmp_path / "state")
    for generation in (1, 4):
        world.put(_path(generation))
        world.put(_path(generation))  # a change of state is no switch
    world.remove("m", "p")
    world.close()
    again = World(tmp_path / "state")
    assert again.get("m", "p") is None
    assert [each.generation for each in again.generations("m", "p")] == [1, 4]


def test_fates_and_births_are_found_again_and_go_with_their_object(tmp_path: Path) -> None:
    clock = Clock()
    world = World(tmp_path / "state", clock)
    world.put(_compute("c"))
    world.set_fate(("m", "c"), Fate(7, "why", "in"))
    clock.now_ns += SECOND
    world.put(_compute("c"))
    world.close()
    again = World(tmp_path / "state", clock)
    assert again.fates == {("m", "c"): Fate(7, "why", "in")}
    assert again.born_ns(("m", "c")) == 100 * SECOND
    again.remove("m", "c")
    assert again.fates == {}
    assert again.born_ns(("m", "c")) == 0


def test_what_a_path_carried_stays_counted_at_the_ports_when_it_is_gone() -> None:
    world = World(None)
    world.put(_path(1))
    for _ in range(2):
        world.cross("m", "p", {("c", "in"): (3, 1)})
        world.cross("m", "q", {("c", "in"): (1, 0)})
    assert sorted(world.crossed("m", "c", "in"), key=lambda each: each.path_id) == [
        Crossed("p", 6, 2),
        Crossed("q", 2, 0),
    ]
    world.remove("m", "p")
    assert sorted(world.crossed("m", "c", "in"), key=lambda each: each.path_id) == [
        Crossed("", 6, 2),
        Crossed("q", 2, 0),
    ]
    world.remove("m", "c")
    assert world.crossed("m", "c", "in") == []


def test_late_members_are_those_that_the_link_did_not_name() -> None:
    world = World(None)
    spec = pb.AllocateLinkRequest(resource_id="l", members=[pb.LinkMember(resource_id="a", cp_id="cp0")])
    link = Thing(_resource("l", pb.KIND_LINK), spec, "l")
    for thing in (link, _compute("a", "l"), _compute("b", "l"), _compute("c", "other")):
        world.put(thing)
    assert rules.late_members(world, link) == ["b"]
    assert link.stamped().members == {"a"}
    world.remove("m", "b")
    assert rules.late_members(world, link) == []


def test_counters_rise_with_the_time_that_has_passed_and_with_probes() -> None:
    clock = Clock()
    told: list[pb.Resource] = []

    async def story() -> list[pb.StatsSample]:
        stage = Stage(told.append, clock)
        stage.set(parse({"traffic_pps": 50}, None))
        thing = _compute("c", "l")
        stage.world.put(thing)
        observation = MockObservation(stage)
        found = [await observation.read_stats([thing.stamped()])]
        clock.now_ns += 3 * SECOND
        stage.world.cross("m", "p", {("c", "cp0"): (7, 5)})
        found.append(await observation.read_stats([thing.stamped()]))
        stopped = _compute("c", "l")
        stopped.resource.state = pb.STATE_STOPPED
        stage.world.put(stopped)
        found.append(await observation.read_stats([thing.stamped()]))
        stage.close()
        return found

    first, later, stopped = asyncio.run(story())
    assert first.at.seconds == 100
    assert (first.ports[0].in_packets, first.computes[0].cpu_ns) == (0, 0)
    assert (later.ports[0].in_packets, later.ports[0].out_packets) == (157, 155)
    assert later.ports[0].in_bytes == 157 * PACKET_BYTES
    assert later.computes[0].cpu_ns == 3 * SECOND // 20
    assert (later.computes[0].memory_bytes, later.computes[0].memory_limit_bytes) == (250, 1000)
    assert not stopped.computes
    assert not stopped.ports


def test_a_fate_comes_true_when_its_time_has_come_also_for_a_plugin_that_was_away(tmp_path: Path) -> None:
    clock = Clock()
    told: list[pb.Resource] = []

    async def story() -> None:
        world = World(tmp_path / "state", clock)
        world.put(_compute("c"))
        world.put(_compute("d"))
        world.set_fate(("m", "c"), Fate(clock.now_ns + SECOND, "it was old"))
        world.set_fate(("m", "d"), Fate(clock.now_ns + 3600 * SECOND, "much later"))
        world.close()
        clock.now_ns += 2 * SECOND
        stage = Stage(told.append, clock)
        stage.set(parse({}, tmp_path / "state"))
        await asyncio.sleep(0.05)
        stage.close()

    asyncio.run(story())
    assert [(each.handle.resource_id, each.state, each.reason) for each in told] == [
        ("c", pb.STATE_FAILED, "it was old")
    ]


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_frames_are_such_as_a_network_would_take() -> None:
    asks = frames.echo("10.0.0.1", "10.0.0.2", 7, dscp=46)
    answers = frames.echo("10.0.0.1", "10.0.0.2", 7, reply=True)
    assert len(asks) == PACKET_BYTES
    assert (_sum(asks[14:34]), _sum(asks[34:])) == (0xFFFF, 0xFFFF)
    assert asks[15] >> 2 == 46
    assert (asks[34], answers[34]) == (8, 0)
    assert asks[26:30] == answers[30:34] == bytes([10, 0, 0, 1])
    assert asks[:6] == answers[6:12]
    udp = frames.datagram("10.0.0.1", "10.0.0.2", 1000, 5001, payload=b"odd")
    assert struct.unpack("!HHH", udp[34:40]) == (1000, 5001, 11)
    assert _sum(udp[14:34]) == 0xFFFF


def test_what_changes_in_one_turn_of_the_loop_is_one_transaction_that_others_see_in_the_next(tmp_path: Path) -> None:
    path = tmp_path / "world.db"

    async def story() -> None:
        world = World(path)

        def seen() -> int:
            with closing(sqlite3.connect(path)) as other:
                return int(other.execute("SELECT count(*) FROM object").fetchone()[0])

        for name in ("a", "b", "c"):
            world.put(_compute(name))
        assert seen() == 0
        await asyncio.sleep(0)
        assert seen() == 3
        world.remove("m", "a")
        assert seen() == 3
        world.flush()  # whoever is about to end the process does not wait for the turn's end
        assert seen() == 2
        world.put(_compute("d"))
        world.close()
        assert seen() == 3

    asyncio.run(story())
