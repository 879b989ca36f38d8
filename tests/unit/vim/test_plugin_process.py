"""Starting plugins that do not want to be started."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from vim_bench import program

from vnfm.model.problem import ProblemError, Retry
from vnfm.vim import process
from vnfm.vim.process import PluginProcess, Spawn, available_kinds, command_of

LINE = "1|1|unix|/tmp/nowhere.sock|grpc"


def start(folder: Path, *argv: str) -> str:
    """The address that the plugin told; it is stopped at once."""

    async def main() -> str:
        try:
            made = await PluginProcess.start(Spawn("v", argv, folder / "vim"))
            await made.stop(2)
        finally:
            await asyncio.sleep(0.1)  # pipes close a moment later
        return made.address

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("import sys; sys.exit('I need a licence')", "ended with code 1; its last words: I need a licence"),
        ("print('hello')", "its first line is 'hello', expected 1|1|unix|PATH|grpc"),
        ("print('1|1|pigeon|x|grpc')", "expected 1|1|unix|PATH|grpc"),
        ("print('x' * 100_000)", "its first line is"),
        ("import os, time; os.close(1); time.sleep(60)", "closed its stdout without a word"),
        ("import time; time.sleep(60)", "said nothing on stdout within"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9; it said nothing"),
    ],
    ids=["refuses", "nonsense", "unknown transport", "endless line", "closes stdout", "silent", "killed"],
)
def test_a_plugin_that_does_not_start_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    if "sleep" in body:
        monkeypatch.setattr(process, "START_S", 1.0)
        monkeypatch.setattr(process, "LAST_WORDS_S", 0.5)
    path = program(tmp_path, body)
    with pytest.raises(ProblemError) as refused:
        start(tmp_path, str(path))
    found = refused.value.problem
    assert found.word == "plugin-start"
    assert why in found.detail
    assert str(path) in found.detail
    assert found.retry is Retry.SAME_CALL


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="No such file"):
        start(tmp_path, str(tmp_path / "missing"))
    plain = tmp_path / "plain"
    plain.write_text("no program")
    with pytest.raises(ProblemError, match="did not start"):
        start(tmp_path, str(plain))


def test_unknown_kinds_are_refused_with_those_that_are_known() -> None:
    assert {"local", "mock"} <= set(available_kinds())
    for kind in ("nimbus", "../mock", "mock.rules", "microvm2", ""):
        with pytest.raises(ProblemError, match="mock") as refused:
            command_of(kind)
        assert refused.value.problem.word == "vim-kind"


def test_both_ways_to_listen_are_understood(tmp_path: Path) -> None:
    rest = "import sys; sys.stdin.read()"
    assert start(tmp_path, str(program(tmp_path, f"print('{LINE}', flush=True); {rest}"))) == "unix:/tmp/nowhere.sock"
    tcp = program(tmp_path, f"print('1|1|tcp|127.0.0.1:1|grpc', flush=True); {rest}")
    assert start(tmp_path, str(tcp)) == "127.0.0.1:1"


def test_a_plugin_that_goes_on_printing_does_not_hang(tmp_path: Path) -> None:
    body = f"""
import sys
print('{LINE}', flush=True)
for _ in range(4000):
    print('x' * 1000)
sys.stdout.flush()
sys.exit(7)
"""

    async def main() -> str:
        made = await PluginProcess.start(Spawn("v", (str(program(tmp_path, body)),), tmp_path / "vim"))
        return await asyncio.wait_for(made.wait(), 20)

    assert asyncio.run(main()).startswith("ended with code 7")


def test_the_end_is_seen_though_a_child_of_the_plugin_keeps_its_stdout(tmp_path: Path) -> None:
    body = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])
open({str(tmp_path / "child")!r}, 'w').write(str(child.pid))
print('{LINE}', flush=True)
"""

    async def main() -> None:
        made = await PluginProcess.start(Spawn("v", (str(program(tmp_path, body)),), tmp_path / "vim"))
        assert "ended with code 0" in await asyncio.wait_for(made.wait(), 15)

    try:
        asyncio.run(main())
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)


def test_a_predecessor_that_a_killed_manager_left_is_seen_to_its_end_first(tmp_path: Path) -> None:
    folder = tmp_path / "vim"
    folder.mkdir()
    old = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"])
    (folder / "plugin.pid").write_text(json.dumps({"pid": old.pid, "start_ticks": process._start_ticks(old.pid)}))
    began = time.monotonic()
    body = f"import sys; print('{LINE}', flush=True); sys.stdin.read()"
    start(tmp_path, str(program(tmp_path, body)))
    assert old.poll() is not None or process._zombie(old.pid)
    assert time.monotonic() - began > 0.3
    old.wait()


def test_a_predecessor_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PREDECESSOR_S", 0.3)
    folder = tmp_path / "vim"
    folder.mkdir()
    old = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "plugin.pid").write_text(json.dumps({"pid": old.pid, "start_ticks": process._start_ticks(old.pid)}))
    start(tmp_path, str(program(tmp_path, f"import sys; print('{LINE}', flush=True); sys.stdin.read()")))
    assert old.wait(5) == -9


def test_another_process_that_has_the_pid_now_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "vim"
    folder.mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (folder / "plugin.pid").write_text(json.dumps({"pid": stranger.pid, "start_ticks": 1}))
        start(tmp_path, str(program(tmp_path, f"import sys; print('{LINE}', flush=True); sys.stdin.read()")))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_plugin_that_does_not_heed_the_end_of_its_stdin_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        body = f"import time; print('{LINE}', flush=True); time.sleep(60)"
        made = await PluginProcess.start(Spawn("v", (str(program(tmp_path, body)),), tmp_path / "vim"))
        await asyncio.wait_for(made.stop(0.3), 10)
        assert process._start_ticks(made.pid) == 0

    asyncio.run(main())


def test_a_private_socket_folder_outside_goes_with_the_plugin(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    body = (
        "import os, sys; print('1|1|unix|' + os.environ['VNFM_PLUGIN_DIR'] + '/s|grpc', flush=True); sys.stdin.read()"
    )
    address = start(deep, str(program(tmp_path, body)))
    sockets = Path(address.removeprefix("unix:")).parent
    assert not sockets.is_relative_to(deep)
    assert not sockets.exists()
