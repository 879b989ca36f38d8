"""Calls that share one stream: together on the way, each by itself otherwise."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from vim_bench import connection, program

from vnfm.model.problem import ProblemError
from vnfm.model.resources import Handle, LinkSpec, Owner
from vnfm.pb.common.v1 import common_pb2 as cpb
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.vim import exchange as exchange_module
from vnfm.vim.client import VimClient
from vnfm.vim.exchange import Exchange, StreamLost

OWNER = Owner("t", "chain")
MANY = 20
ROOT = Path(__file__).resolve().parents[3]


def mute(_: str) -> None:
    return None


def links(count: int) -> list[LinkSpec]:
    return [LinkSpec(str(uuid.uuid4()), 1500, ("10.0.0.0/29",), ()) for _ in range(count)]


def played(
    folder: Path, story: Callable[[VimClient], Coroutine[Any, Any, None]], kind: str = "mock", **config: Any
) -> None:
    async def main() -> None:
        made = connection(folder, kind, state_file=str(folder / "mock.json"), **config)
        made.open()
        assert await made.settled(30)
        try:
            await story(VimClient(made, "manager-1", 7))
        finally:
            await made.close()

    asyncio.run(main())


async def there(client: VimClient) -> set[str]:
    return {r.handle.resource_id for r in await client.query_resources([])}


@pytest.mark.parametrize("many_calls", [True, False])
def test_with_or_without_a_stream_the_answers_are_the_same(tmp_path: Path, many_calls: bool) -> None:
    argv = [sys.executable, "-m", "plugins.mock", "--without", "CALLS"]
    body = f"import os\nos.chdir({str(ROOT)!r})\nos.execv({sys.executable!r}, {argv!r})"
    kind = "mock" if many_calls else f"exec:{program(tmp_path, body)}"

    async def story(client: VimClient) -> None:
        assert client.offers(pb.CAPABILITY_CALLS) is many_calls
        wanted = links(MANY)
        made = await asyncio.gather(*(client.allocate_link(each, OWNER, mute) for each in wanted))
        assert [m.handle.resource_id for m in made] == [w.resource_id for w in wanted]
        other = LinkSpec(wanted[0].resource_id, 1400, ("10.0.0.0/29",), ())
        with pytest.raises(ProblemError) as refused:
            await client.allocate_link(other, OWNER, mute)
        assert refused.value.problem.word == "already-exists"
        await asyncio.gather(*(client.terminate(m.handle, OWNER, mute) for m in made))
        assert await there(client) == set()

    played(tmp_path, story, kind)


def test_all_calls_of_a_stream_that_is_lost_are_made_again(tmp_path: Path) -> None:
    script = [{"match": {"rpc": "AllocateLink"}, "nth": 7, "do": "crash", "when": "after"}]

    async def story(client: VimClient) -> None:
        wanted = links(MANY)
        made = await asyncio.gather(*(client.allocate_link(each, OWNER, mute) for each in wanted))
        assert {m.handle.resource_id for m in made} == {w.resource_id for w in wanted} == await there(client)
        assert client.connection.restarts == 1

    played(tmp_path, story, script=script)


def test_who_is_cancelled_leaves_and_the_others_stay(tmp_path: Path) -> None:
    one, *others = links(MANY)
    script = [{"match": {"rpc": "AllocateLink", "resource_id": one.resource_id}, "do": "hang"}]

    async def story(client: VimClient) -> None:
        hangs = asyncio.create_task(client.allocate_link(one, OWNER, mute))
        await asyncio.gather(*(client.allocate_link(each, OWNER, mute) for each in others))
        hangs.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hangs
        # the plugin has heard of it: a call that is still in flight would be joined, and hang as well
        async with asyncio.timeout(20):
            assert (await client.allocate_link(one, OWNER, mute)).handle.resource_id == one.resource_id

    played(tmp_path, story, script=script)


class Recorder(rpc.CallsServicer):
    """Answers each call; ends the stream at a call that asks for it, by its id."""

    def __init__(self, poison: str = "") -> None:
        self.batches: list[list[pb.Call]] = []
        self.poison = poison

    async def Exchange(
        self, request_iterator: AsyncIterator[pb.CallBatch], context: Any
    ) -> AsyncIterator[pb.AnswerBatch]:
        async for batch in request_iterator:
            self.batches.append(list(batch.calls))
            if any(call.link.resource_id == self.poison for call in batch.calls if self.poison):
                await context.abort(grpc.StatusCode.INTERNAL, "poisoned")
            resources = [pb.Resource(handle=cpb.Handle(resource_id=call.link.resource_id)) for call in batch.calls]
            answers = [pb.Answer(id=c.id, done=r) for c, r in zip(batch.calls, resources, strict=True)]
            yield pb.AnswerBatch(answers=reversed(answers))


async def recorded(folder: Path, recorder: Recorder, story: Callable[[Exchange], Coroutine[Any, Any, None]]) -> None:
    server = grpc.aio.server()
    rpc.add_CallsServicer_to_server(recorder, server)
    address = f"unix:{folder / 'x.sock'}"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            await story(Exchange(channel))
    finally:
        await server.stop(None)


def request(resource_id: str) -> pb.AllocateLinkRequest:
    return pb.AllocateLinkRequest(resource_id=resource_id)


def test_what_is_asked_at_the_same_moment_is_one_message_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    recorder = Recorder()

    async def story(exchange: Exchange) -> None:
        answers = await asyncio.gather(*(exchange.call(request(f"l{n}"), mute, 20) for n in range(MANY)))
        assert [a.done.handle.resource_id for a in answers] == [f"l{n}" for n in range(MANY)]
        assert [len(batch) for batch in recorder.batches] == [MANY]

    asyncio.run(recorded(tmp_path, recorder, story))


def test_where_message_follows_message_calls_of_different_moments_share_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "CROWD_S", 1e6)
    monkeypatch.setattr(exchange_module, "GATHER_S", 1.0)
    recorder = Recorder()

    async def story(exchange: Exchange) -> None:
        for n in range(exchange_module.CROWD):
            await exchange.call(request(f"alone{n}"), mute, 20)
        first = asyncio.create_task(exchange.call(request("first"), mute, 20))
        for _ in range(5):
            await asyncio.sleep(0)
        await asyncio.gather(first, exchange.call(request("second"), mute, 20))
        assert [len(batch) for batch in recorder.batches] == [1] * exchange_module.CROWD + [2]

    asyncio.run(recorded(tmp_path, recorder, story))


def test_each_call_is_given_up_at_its_own_time(tmp_path: Path) -> None:
    class Slow(Recorder):
        async def Exchange(
            self, request_iterator: AsyncIterator[pb.CallBatch], context: Any
        ) -> AsyncIterator[pb.AnswerBatch]:
            async for batch in request_iterator:
                for call in batch.calls:
                    if call.leave:  # the late one: only then the patient one is answered
                        done = pb.Resource(handle=cpb.Handle(resource_id="patient"))
                        yield pb.AnswerBatch(answers=[pb.Answer(id=1, done=done)])

    async def story(exchange: Exchange) -> None:
        patient = asyncio.create_task(exchange.call(request("patient"), mute, 60))
        await asyncio.sleep(0)
        late = [asyncio.create_task(exchange.call(request("late"), mute, s)) for s in (0.2, 0.1)]
        assert [type(e) for e in await asyncio.gather(*late, return_exceptions=True)] == [TimeoutError] * 2
        assert (await patient).done.handle.resource_id == "patient"

    asyncio.run(recorded(tmp_path, Slow(), story))


def test_a_stream_that_ends_with_an_error_ends_every_call_with_it(tmp_path: Path) -> None:
    async def story(exchange: Exchange) -> None:
        calls = (exchange.call(request(each), mute, 20) for each in ("a", "poison", "b"))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [StreamLost] * 3
        assert {end.error.code() for end in ends} == {grpc.StatusCode.INTERNAL}  # type: ignore[union-attr]
        assert exchange.lost

    asyncio.run(recorded(tmp_path, Recorder("poison"), story))


def test_a_handle_that_knows_no_more_than_the_id_is_enough(tmp_path: Path) -> None:
    async def story(client: VimClient) -> None:
        (link,) = links(1)
        await client.allocate_link(link, OWNER, mute)
        await client.terminate(Handle(link.resource_id), OWNER, mute)
        assert await there(client) == set()

    played(tmp_path, story)
