"""The demo's story from end to end, and broken off, against a manager of canned answers.

What the chain itself does is proved by `make demo` and by the tests on the real local VIM; here it is the story that
is rehearsed: its order, its checks, its clean-up, its endings.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import demo_host
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

PLAY = """
import os, sys
from pathlib import Path
sys.path[:0] = [{tools!r}, {root!r}]
import demo, demo_live, demo_packages, demo_run
command = [sys.executable, {stand_in!r}]
demo_run.vnfm_command = lambda: command
demo.vnfm_command = demo_packages.vnfm_command = demo_run.vnfm_command
demo_packages.images_command = lambda: [sys.executable, "-c", ""]
demo.BUILD = Path({build!r})
demo.state_folder = lambda: Path({state!r})
demo.CHAIN_FILE = {chain!r}
demo.PATHS_FILE = {paths!r}
demo.ALLOWED_PORT, demo.FORBIDDEN_PORT, demo.WEB_PORT = {ports!r}
os.environ["REHEARSED_WEB_PORT"] = str(demo.WEB_PORT)
demo_live.belongs_to = lambda pid, resource_id: True  # the stand-in's processes have no control group
# On loopback nothing is translated and nothing dropped: the far end is told so.
demo.Demo.exchange = {exchange}
sys.exit(demo.main())
"""
QUIET = "lambda self, chain, server: self.teller.good('traffic')"


def free_ports() -> tuple[int, ...]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in found:
            one.bind(("", 0))
        return tuple(one.getsockname()[1] for one in found)


class Stage:
    """A demo as a process, with folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.build = folder / "build"
        self.chain = folder / "vcpe.yaml"
        self.chain.write_text("chain: vcpe\n")
        self.paths = folder / "vcpe-paths.yaml"
        self.paths.write_text("chain: vcpe-paths\npaths: {}\n")

    def start(self, exchange: str = QUIET) -> subprocess.Popen[str]:
        code = PLAY.format(
            tools=str(ROOT / "tools"),
            root=str(ROOT),
            stand_in=str(HERE / "stand_in.py"),
            build=str(self.build),
            state=str(self.state),
            chain=str(self.chain),
            paths=str(self.paths),
            ports=free_ports(),
            exchange=exchange,
        )
        environment = os.environ | {"COLUMNS": "100"}
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="vd-", dir="/var/tmp") as folder:
        made = Stage(Path(folder))
        yield made
        for pid, _ in demo_host.processes_of(made.state):
            os.kill(pid, signal.SIGKILL)


def wait_for(child: subprocess.Popen[str], word: str, timeout_s: float = 40) -> str:
    """Its output up to a line with the word."""
    assert child.stdout is not None
    text, end = "", time.monotonic() + timeout_s
    while word not in text:
        assert time.monotonic() < end, text
        line = child.stdout.readline()
        assert line, text
        text += line
    return text


def test_the_story_is_told_to_its_end_and_leaves_nothing(stage: Stage) -> None:
    child = stage.start()
    out, _ = child.communicate(timeout=180)
    assert child.returncode == 0, out
    for part in (
        "a second, none lost",
        "in, switched in 1.0 ms",
        "HEAL is COMPLETED",
        "kill -9 of the manager at",
        "went on by itself to COMPLETED",
        "took the path web, no other",
        "took the path voice, no other",
        "none of ours is left",
        "in all",
    ):
        assert part in out, out
    assert (stage.build / "vcpe.svg").exists()
    assert not stage.state.exists()
    assert demo_host.processes_of(stage.state) == []


def test_a_step_that_does_not_hold_ends_with_1_and_is_cleared_away(stage: Stage) -> None:
    failing = "lambda self, chain, server: (_ for _ in ()).throw(demo.StoryError('port 8080 must pass'))"
    child = stage.start(failing)
    out, _ = child.communicate(timeout=180)
    assert child.returncode == 1, out
    assert "port 8080 must pass" in out
    assert "terminating chain vcpe" in out
    assert not stage.state.exists()
    assert demo_host.processes_of(stage.state) == []


def test_ctrl_c_in_the_middle_takes_everything_down(stage: Stage) -> None:
    child = stage.start()
    begun = wait_for(child, "$ vnfm chain create")
    os.killpg(child.pid, signal.SIGINT)
    out, _ = child.communicate(timeout=180)
    assert child.returncode == 130, begun + out
    assert "Traceback" not in out
    assert not stage.state.exists()
    assert demo_host.processes_of(stage.state) == []


def test_after_a_kill_of_the_demo_itself_the_next_one_clears_first_and_works(stage: Stage) -> None:
    child = stage.start()
    wait_for(child, "is COMPLETED")
    child.kill()
    child.wait()
    assert demo_host.processes_of(stage.state), "the manager outlives the demo"
    again = stage.start()
    out, _ = again.communicate(timeout=180)
    assert again.returncode == 0, out
    assert "an earlier demo was broken off" in out
    assert "terminating chain vcpe" in out
    assert not stage.state.exists()


def test_two_demos_of_one_clone_do_not_meet(stage: Stage) -> None:
    first = stage.start()
    wait_for(first, "vnfm serve")
    second = stage.start()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another demo" in out
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=180)
