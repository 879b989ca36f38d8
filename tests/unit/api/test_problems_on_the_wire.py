"""From a domain error to a gRPC status, over a real channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2

from vnfm.api.errors import DETAILS_KEY, answered, streamed, tenant_of
from vnfm.model.problem import Problem, ProblemError, Retry, problem
from vnfm.pb.common.v1 import common_pb2 as cpb
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.pb.nfvo.v1 import nfvo_pb2_grpc as rpc


class Servicer(rpc.VimsServicer):
    """Raises what it is told to; echoes the tenant."""

    def __init__(self, raise_: Callable[[], None]) -> None:
        self._raise = raise_

    async def GetVim(self, request: pb.GetRequest, context: Any) -> pb.Vim:
        async def work() -> pb.Vim:
            self._raise()
            return pb.Vim(name=tenant_of(context))

        return await answered(context, work())

    async def ListVims(self, request: pb.ListRequest, context: Any) -> AsyncIterator[pb.Vim]:
        async def items() -> AsyncIterator[pb.Vim]:
            yield pb.Vim(name="first")
            self._raise()

        async for item in streamed(context, items):
            yield item


async def serving(folder: Path, raise_: Callable[[], None], call: Callable[[rpc.VimsStub], Any]) -> Any:
    server = grpc.aio.server()
    rpc.add_VimsServicer_to_server(Servicer(raise_), server)
    address = f"unix:{folder}/s"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            return await call(rpc.VimsStub(channel))
    finally:
        await server.stop(0)


def asked(folder: Path, raise_: Callable[[], None], stream: bool = False) -> tuple[grpc.StatusCode, str, cpb.Problem]:
    async def call(stub: rpc.VimsStub) -> Any:
        if not stream:
            return await stub.GetVim(pb.GetRequest(), timeout=20)
        async for item in stub.ListVims(pb.ListRequest(), timeout=20):
            assert item.name == "first"
        return None

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        asyncio.run(serving(folder, raise_, call))
    error = failed.value
    found = cpb.Problem()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            (detail,) = status_pb2.Status.FromString(value).details
            assert detail.Unpack(found)
    return error.code(), error.details() or "", found


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("not-found", grpc.StatusCode.NOT_FOUND),
        ("vim-unknown", grpc.StatusCode.NOT_FOUND),
        ("already-exists", grpc.StatusCode.ALREADY_EXISTS),
        ("conflict", grpc.StatusCode.FAILED_PRECONDITION),
        ("no-space", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("storage", grpc.StatusCode.UNAVAILABLE),
        ("vim-unreachable", grpc.StatusCode.UNAVAILABLE),
        ("vim-timeout", grpc.StatusCode.DEADLINE_EXCEEDED),
        ("unimplemented", grpc.StatusCode.UNIMPLEMENTED),
        ("unknown-vnfd", grpc.StatusCode.INVALID_ARGUMENT),
        ("no-word-that-anyone-knows", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["one", "stream"])
def test_a_problem_arrives_whole_with_its_status(
    tmp_path: Path, word: str, code: grpc.StatusCode, stream: bool
) -> None:
    error = problem(word, "why – not", instance="it", retry=Retry.NEW_PLACEMENT, title="Title")
    got, message, found = asked(tmp_path, raising(error), stream)
    assert got is code
    assert message == "Title: why – not"
    assert (found.type, found.title, found.detail) == (f"urn:vnfm:problem:{word}", "Title", "why – not")
    assert (found.instance, found.retry) == ("it", cpb.Problem.NEW_PLACEMENT)


@pytest.mark.parametrize("stream", [False, True], ids=["one", "stream"])
def test_a_mistake_of_ours_is_called_so_and_tells_no_trace(tmp_path: Path, stream: bool) -> None:
    code, message, found = asked(tmp_path, raising(KeyError("secret")), stream)
    assert code is grpc.StatusCode.INTERNAL
    assert found.type.endswith(":internal")
    assert "Traceback" not in message + found.detail


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 100_000, "line\n" * 20_000])
def test_a_problem_that_is_too_long_for_a_trailer_is_cut_and_not_lost(tmp_path: Path, text: str) -> None:
    code, message, found = asked(tmp_path, raising(problem("conflict", text)))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert message.startswith("Conflict: " + text[:50])
    assert found.detail.startswith(text[:1000])
    assert found.detail.endswith("…")


@pytest.mark.parametrize(
    ("told", "tenant"), [(None, "default"), ("", "default"), ("acme", "acme"), ("a.b-c_d", "a.b-c_d")]
)
def test_the_tenant_is_told_beside_the_call(tmp_path: Path, told: str | None, tenant: str) -> None:
    metadata = (("vnfm-tenant", told),) if told is not None else ()
    made = asyncio.run(
        serving(tmp_path, lambda: None, lambda s: s.GetVim(pb.GetRequest(), metadata=metadata, timeout=20))
    )
    assert made.name == tenant


@pytest.mark.parametrize("told", ["../../etc", "a b", "-x", "x" * 64, "a/b"])
def test_a_tenant_that_could_be_a_path_is_refused(tmp_path: Path, told: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="tenant") as failed:
        asyncio.run(
            serving(
                tmp_path,
                lambda: None,
                lambda s: s.GetVim(pb.GetRequest(), metadata=(("vnfm-tenant", told),), timeout=20),
            )
        )
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_every_problem_of_the_catalogue_has_one_form() -> None:
    error = problem("two-words", "detail")
    assert isinstance(error, ProblemError)
    assert error.problem == Problem("urn:vnfm:problem:two-words", "Two words", "detail")
    assert error.problem.word == "two-words"
