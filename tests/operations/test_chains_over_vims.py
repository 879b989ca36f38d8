"""A chain over two VIMs: what happens to the steps at the border, and who says which segment ties it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from operation_asserts import WAYS, assert_clean_slate, assert_stands_once, key_of, remove
from operation_plays import Play, played
from operation_world import MISFORTUNES, Fault, Mode, World

from vnfm.lcm.operation import Operation
from vnfm.lcm.steps import Step
from vnfm.model.lcm import LcmOperationState

OVER = """
chain: NAME
ends: {client: {cidr: 10.1.0.0/24}, server: {cidr: 10.9.0.0/24}}
vnfs: {fw: {vnfd: fw, vim: m}, rt: {vnfd: rt, vim: n}}
path: [client, fw, rt, server]
"""
BORDER_STEPS = ["link fw-rt", "link fw-rt@n", "join fw-rt@m", "join fw-rt@n", "path default", "path default/1"]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    yield from played(tmp_path_factory.mktemp("two"), ("m", "n"))


def step_of(operation: Operation, key: str) -> Step:
    return next(s for s in operation.steps if s.key == key)


def test_pieces_lie_where_their_vnfs_are_and_are_tied_by_the_vim_that_chooses(play: Play) -> None:
    async def story(world: World) -> None:
        operation = await world.run(await world.create(text=OVER))
        await assert_stands_once(world, operation)
        vims = {s.key: s.vim for s in operation.steps}
        assert {vims[k] for k in ("link client-fw", "link fw-rt", "end client", "path default", "probe default")} == {
            "m"
        }
        assert {vims[k] for k in ("link rt-server", "link fw-rt@n", "end server", "path default/1")} == {"n"}
        told = {e.step: e.output.resource.link_end for e in operation.log if e.output and e.output.resource}
        (chosen,) = {end.segment.id for k in ("link fw-rt@n", "join fw-rt@n", "join fw-rt@m") if (end := told[k])}
        assert chosen
        piece = step_of(operation, "link fw-rt").link
        assert piece
        assert piece.mtu_bytes == 1450
        ends = [s.sap.port.mtu_bytes for s in operation.steps if s.sap]
        assert ends == [1450, 1450]
        chain = await world.orders.chain("default", operation.target)
        hops = chain.body["probe"]["hops"]
        assert [(h["from_"], h["to"]) for h in hops] == [("client", "fw"), ("fw", "rt"), ("rt", "server")]
        (tied,) = [x for x in chain.body["links"] if x["segment"]]
        assert (tied["id"], tied["segment"]["leads"]) == ("fw-rt", "n")
        await remove(world, operation)

    play(story)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MISFORTUNES)
@pytest.mark.parametrize("step", BORDER_STEPS)
def test_the_border_survives(play: Play, step: str, mode: Mode, way: str) -> None:
    async def story(world: World) -> None:
        operation = await world.create(text=OVER)
        fails = mode in (Mode.FAILS, Mode.FAILS_HALF_DONE)
        then = [] if fails else [Fault("probe default" if mode is Mode.TWICE else step, Mode.FAILS)]
        operation = await world.run(operation, Fault(step, mode), *then)
        assert operation.state is LcmOperationState.FAILED_TEMP
        assert operation.error is not None
        assert operation.error.word == "planted"
        if way == "retry":
            operation = await world.retry(operation)
            await assert_stands_once(world, operation)
            await remove(world, operation)
        else:
            operation = await world.rollback(operation)
            await assert_clean_slate(world, operation)

    play(story)


@pytest.mark.parametrize("step", ["remove link fw-rt@n", "remove path default/1"])
def test_a_removal_goes_on_over_the_border(play: Play, step: str) -> None:
    async def story(world: World) -> None:
        created = await world.run(await world.create(text=OVER))
        gone = await world.terminate(created)
        key = await key_of(world, gone, step)
        gone = await world.run(gone, Fault(key, Mode.CRASH_AFTER))
        assert gone.state is LcmOperationState.COMPLETED
        assert await world.objects(created.target_id) == {}

    play(story)
