"""Stamps and locks over processes, processes by identity, the agent's lines."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from plugins.local import process
from plugins.local.agent import Agent, AgentSilent
from plugins.local.process import CommandFailed, ProcessRef, run_with_output
from plugins.local.stamps import Stamp, StampFolder, shorten

STAMP = Stamp("one", "m1", "", "digest", "CONTAINER", ("ab",), "")


def test_a_stamp_comes_back_as_it_was(tmp_path: Path) -> None:
    stamps = StampFolder(tmp_path)
    written = STAMP.with_process("main", ProcessRef(12, 34))
    stamps.write(written)
    assert stamps.read("one") == written
    assert list(stamps.all()) == [written]
    assert written.refs() == {"main": ProcessRef(12, 34)}


def test_a_torn_stamp_is_none(tmp_path: Path) -> None:
    stamps = StampFolder(tmp_path)
    stamps.folder("one").mkdir(parents=True)
    (stamps.folder("one") / "stamp.json").write_text('{"resource_id": "on')
    assert stamps.read("one") is None


def test_the_lock_outlives_its_holder_with_the_command_it_started(tmp_path: Path) -> None:
    stamps = StampFolder(tmp_path)
    started = threading.Event()

    def work() -> None:
        with stamps.lock("one", 1) as lock_fd:
            started.set()
            run_with_output(["sleep", "0.5"], tmp_path / "log", 10, dict(os.environ), lock_fd=lock_fd)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(5)
    with pytest.raises(TimeoutError), stamps.lock("one", 0.1):
        pass
    thread.join()
    with stamps.lock("one", 1):
        pass
    stamps.forget_empty()
    assert not (tmp_path / "locks").exists()


def test_a_background_child_of_the_command_does_not_hold_the_lock(tmp_path: Path) -> None:
    stamps = StampFolder(tmp_path)
    with stamps.lock("one", 1) as lock_fd:
        argv = ["sh", "-c", "sleep 3 & echo $!"]
        run_with_output(argv, tmp_path / "log", 10, dict(os.environ), lock_fd=lock_fd)
    with stamps.lock("one", 0.5):
        pass
    os.kill(int((tmp_path / "log").read_text()), signal.SIGKILL)


def test_a_process_is_known_by_its_start_and_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "100"])
    ref = ProcessRef.of(child.pid)
    assert ref is not None
    assert ref.alive()
    assert not ProcessRef(child.pid, ref.start_ticks + 1).alive()
    ProcessRef(child.pid, ref.start_ticks + 1).send(signal.SIGKILL)
    assert not ref.wait_gone(0.1), "a signal to a former process does not reach the present one"
    assert ref.end(0)
    assert not ref.alive()
    child.wait()


def test_a_command_that_fails_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no such device"):
        process.run(["sh", "-c", "echo no such device >&2; exit 3"])
    began = time.monotonic()
    with pytest.raises(CommandFailed, match=r"no end after 0\.2 s"):
        run_with_output(["sh", "-c", "sleep 30"], tmp_path / "log", 0.2, dict(os.environ))
    assert time.monotonic() - began < 5


def test_a_log_keeps_its_end(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(b"a" * 3000 + b"the end")
    shorten(log, 1000)
    assert log.stat().st_size == 500
    assert log.read_bytes().endswith(b"the end")


def test_commands_run_beside_each_other_and_nonsense_is_passed_over() -> None:
    async def guest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"READY 1.0\n")
        first, second = (await reader.readline()).split(), (await reader.readline()).split()
        said = base64.b64encode(base64.b64decode(first[1]) + b"!")
        writer.write(b"garbage\nx y z w\n" + second[0] + b" 3\n" + first[0] + b" 0 " + said + b"\n")
        await reader.read()
        writer.close()

    async def story(folder: Path) -> None:
        server = await asyncio.start_unix_server(guest, folder / "agent.sock")
        agent = Agent(folder, 5)
        answers = await asyncio.gather(agent.run("one"), agent.run("two"))
        assert answers == [(0, b"one!"), (3, b"")]
        server.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


def test_a_guest_that_goes_silent_is_an_error_not_a_hang(tmp_path: Path) -> None:
    async def guest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"READY 1.0\n")
        await reader.readline()
        writer.close()

    async def story(folder: Path) -> None:
        server = await asyncio.start_unix_server(guest, folder / "agent.sock")
        with pytest.raises(AgentSilent):
            await asyncio.wait_for(Agent(folder, 5).run("one"), 5)
        server.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))
