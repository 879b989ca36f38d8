"""A connection over its plugin's lives and deaths, on the mock plugin and on bad ones."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from vim_bench import connection, program, until

from vnfm.model.problem import ProblemError, Retry
from vnfm.model.resources import Handle, LinkSpec, Owner
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.vim import client as client_module
from vnfm.vim import connection as connection_module
from vnfm.vim.client import VimClient
from vnfm.vim.connection import VimState
from vnfm.vim.inventory import InventoryStore

LINK = LinkSpec("11111111-1111-4111-8111-111111111111", 1500, ("10.0.0.0/29",), ())
OWNER = Owner("t", "chain")


def mute(_: str) -> None:
    return None


def mock(folder: Path, script: list[dict[str, Any]] | None = None, **config: Any) -> Any:
    made = {"state_file": str(folder / "mock.json"), **config}
    return connection(folder, "mock", **({"script": script} if script else {}), **made)


async def opened(made: Any) -> VimClient:
    made.open()
    assert await made.settled(30)
    return VimClient(made, "manager-1", 7)


def test_a_plugin_that_dies_in_mid_call_is_started_again_and_asked_again(tmp_path: Path) -> None:
    async def main() -> None:
        made = mock(tmp_path, [{"match": {"rpc": "AllocateLink"}, "do": "crash", "when": "after"}])
        client = await opened(made)
        try:
            done = await client.allocate_link(LINK, OWNER, mute)
            assert done.handle.resource_id == LINK.resource_id
            assert made.generation == 2
            assert made.restarts == 1
        finally:
            await made.close()

    asyncio.run(main())


def test_a_plugins_refusal_arrives_as_it_was_said(tmp_path: Path) -> None:
    said = {
        "type": "insufficient-capacity",
        "title": "Full",
        "detail": "no room for links",
        "status": "RESOURCE_EXHAUSTED",
        "retry": "NEW_PLACEMENT",
    }

    async def main() -> None:
        made = mock(tmp_path, [{"match": {"rpc": "AllocateLink"}, "do": "fail", "problem": said}])
        client = await opened(made)
        try:
            with pytest.raises(ProblemError) as refused:
                await client.allocate_link(LINK, OWNER, mute)
            found = refused.value.problem
            assert (found.word, found.detail) == ("insufficient-capacity", "no room for links")
            assert found.retry is Retry.NEW_PLACEMENT
            await client.allocate_link(LINK, OWNER, mute)  # it struck once
        finally:
            await made.close()

    asyncio.run(main())


def test_a_call_that_hangs_ends_in_a_problem_that_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "NETWORK_S", 1.0)

    async def main() -> None:
        made = mock(tmp_path, [{"match": {"rpc": "Terminate"}, "do": "hang"}])
        client = await opened(made)
        try:
            with pytest.raises(ProblemError) as refused:
                await client.terminate(Handle(LINK.resource_id), OWNER, mute)
            assert refused.value.problem.word == "vim-timeout"
            assert refused.value.problem.retry is Retry.SAME_CALL
        finally:
            await made.close()

    asyncio.run(main())


def test_a_plugin_that_hangs_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HEALTH_EVERY_S", 0.3)

    async def main() -> None:
        made = mock(tmp_path)
        client = await opened(made)
        try:
            os.kill(made._process.pid, signal.SIGSTOP)
            done = await asyncio.wait_for(client.allocate_link(LINK, OWNER, mute), 30)
            assert done.handle.resource_id == LINK.resource_id
            assert made.generation == 2
        finally:
            await made.close()

    asyncio.run(main())


def test_a_plugin_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def main() -> float:
        made = mock(tmp_path)
        await opened(made)
        os.kill(made._process.pid, signal.SIGSTOP)
        began = time.monotonic()
        await made.close(grace_s=1)
        return time.monotonic() - began

    assert asyncio.run(main()) < 8


def test_a_configuration_that_is_refused_is_final_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        made = connection(tmp_path, "mock", hosts="many")
        made.open()
        try:
            assert not await made.settled(30)
            assert made.state is VimState.FAILED
            assert made.problem
            assert "hosts" in made.problem.detail
            assert made.problem.retry is Retry.NEVER
            began = time.monotonic()
            with pytest.raises(ProblemError, match="hosts"):
                await made.channel(30)
            assert time.monotonic() - began < 5
        finally:
            await made.close()

    asyncio.run(main())


def test_a_plugin_that_never_starts_counts_as_failed_and_heals_when_it_does(tmp_path: Path) -> None:
    path = program(tmp_path, "import sys; sys.exit('not yet')")

    async def main() -> None:
        made = connection(tmp_path, f"exec:{path}")
        made.open()
        try:
            await until(lambda: made.state is VimState.FAILED)
            assert made.problem
            assert "not yet" in made.problem.detail
            root = Path(connection_module.__file__).parents[2]
            program(
                tmp_path,
                f"import runpy, sys; sys.path.insert(0, {str(root)!r}); "
                "runpy.run_module('plugins.mock', run_name='__main__')",
            )
            await until(lambda: made.state is VimState.CONNECTED)
            assert made.problem is None
        finally:
            await made.close()

    asyncio.run(main())


def test_what_keeps_the_connection_survives_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk when the pid is noted, an inventory that makes no sense: the next try may be better."""
    left = 2
    write_pid = connection_module.PluginProcess.start.__func__.__globals__["_write_pid"]  # type: ignore[attr-defined]

    def full(path: Path, pid: int) -> None:
        nonlocal left
        if left:
            left -= 1
            raise OSError(28, "No space left on device")
        write_pid(path, pid)

    monkeypatch.setattr("vnfm.vim.process._write_pid", full)

    async def main() -> None:
        made = mock(tmp_path)
        made.open()
        try:
            assert await made.settled(30)
            assert made.restarts == 2
        finally:
            await made.close()

    asyncio.run(main())


def test_a_remote_plugin_that_is_not_there_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_S", 0.5)

    async def main() -> None:
        made = connection(tmp_path, "grpc:127.0.0.1:9")
        made.open()
        try:
            await until(lambda: made.problem is not None)
            assert made.problem
            assert made.problem.word == "vim-unreachable"
            assert "127.0.0.1:9" in made.problem.detail
            with pytest.raises(ProblemError, match="no plugin answers"):
                await made.channel(0.1)
        finally:
            await made.close()

    asyncio.run(main())


def test_the_inventory_is_whole_or_not_there() -> None:
    def chunk(version: int, *hosts: str, last: bool = False) -> pb.InventoryChunk:
        return pb.InventoryChunk(version=version, hosts=[pb.Host(id=h) for h in hosts], last=last)

    store = InventoryStore("v")
    store.begin()
    store.take(chunk(1, "a", "b"), None)
    assert not store.complete
    store.begin()  # the stream broke; the plugin tells the same version again
    store.take(chunk(1, "a", "b"), None)
    store.take(chunk(1, "c", last=True), None)
    assert [h.id for h in store.hosts] == ["a", "b", "c"]
    store.take(chunk(2, "x"), None)
    assert [h.id for h in store.hosts] == ["a", "b", "c"]  # the old one till the new one is whole
    store.take(chunk(3, "y", last=True), None)
    assert [h.id for h in store.hosts] == ["y"]
    assert store.version == 3
