"""Running things as a newcomer would: the `vnfm` command, and the manager as a process that may be killed."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from demo_tell import StoryError, Teller

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


def vnfm_command() -> list[str]:
    """The installed command beside this Python, else the same by module."""
    installed = Path(sys.executable).parent / "vnfm"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "vnfm.main"]


class Cli:
    """The `vnfm` command against one manager."""

    def __init__(self, endpoint: str, teller: Teller) -> None:
        self._environment = os.environ | {"VNFM_ENDPOINT": endpoint, "VNFM_TENANT": "default"}
        self._teller = teller

    def show(self, *args: str, may_fail: bool = False) -> int:
        """Run it in front of the reader, tables and bars included; StoryError unless it ends with 0."""
        self._teller.command(["vnfm", *args])
        done = subprocess.run(
            [*vnfm_command(), *_as_table(args)], cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode and not may_fail:
            raise StoryError(f"`vnfm {' '.join(args)}` ended with exit code {done.returncode}")
        return done.returncode

    def ask(self, *args: str, tell: bool = False, progress: bool = False) -> Any:
        """Its answer as JSON; StoryError with the manager's words unless it ends with 0."""
        if tell:
            self._teller.command(["vnfm", *args])
        done = subprocess.run(
            [*vnfm_command(), *args, "-o", "json"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if progress else subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            words = (done.stderr or "").strip()
            raise StoryError(f"`vnfm {' '.join(args)}` ended with exit code {done.returncode}: {words}")
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise StoryError(f"`vnfm {' '.join(args)} -o json` printed no JSON: {done.stdout[:200]!r}") from error

    def run(self, *args: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Its raw streams and exit code, for what runs inside VNFs and ends."""
        try:
            return subprocess.run(
                [*vnfm_command(), *args],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StoryError(f"`vnfm {' '.join(args)}` did not end within {timeout_s:.0f} s") from error

    def start(self, *args: str) -> subprocess.Popen[str]:
        """It runs beside us; its stdout is a pipe."""
        return subprocess.Popen(
            [*vnfm_command(), *args],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Followed:
    """A command that runs beside us: what it says on stderr is told line by line, its answer is JSON."""

    def __init__(self, cli: Cli, teller: Teller, *args: str) -> None:
        teller.command(["vnfm", *args])
        self._teller = teller
        self._what = f"vnfm {' '.join(args)}"
        self._process = cli.start(*args, "-o", "json")

    def until(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Tell its lines up to the first one that fits; StoryError where it ends before."""
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said = line.strip() or said
            self._teller.line(line.rstrip().removeprefix("  "))
            if found := pattern.search(line):
                return found
        raise StoryError(f"`{self._what}` ended too early: {said}")

    def answer(self) -> Any:
        """Tell the rest; what it answered. StoryError unless it ends with 0."""
        assert self._process.stderr is not None
        assert self._process.stdout is not None
        for line in self._process.stderr:
            self._teller.line(line.rstrip().removeprefix("  "))
        stdout = self._process.stdout.read()
        if code := self._process.wait():
            raise StoryError(f"`{self._what}` ended with exit code {code}")
        return json.loads(stdout)

    def give_up(self) -> None:
        """End it where it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _as_table(args: Sequence[str]) -> list[str]:
    """A table also where the demo's output goes to a log; `graph` has -o for its file."""
    plain = {"exec", "graph", "build"} & set(args[:2])
    return list(args) if plain else [*args, "-o", "table"]


class Manager:
    """`vnfm serve` on a state folder; its words go to a log."""

    def __init__(self, state: Path, log: Path, vims: Sequence[str] = ()) -> None:
        self.state = state
        self.options = [word for vim in vims for word in ("--vim", vim)]
        self.endpoint = f"unix:{state / 'vnfm.sock'}"
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    @property
    def running(self) -> bool:
        """Started by us and still there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> float:
        """Start it and wait until it says that it is ready; the seconds that took."""
        begun = time.monotonic()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a") as log:
            # A session of its own: Ctrl-C is for the demo, which then takes things down in order.
            self._process = subprocess.Popen(
                [*vnfm_command(), "serve", "--state", str(self.state), "--listen", self.endpoint, *self.options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        if not _said_ready(self._process.stdout, READY_TIMEOUT_S):
            raise StoryError(f"the manager did not start: {self.last_words()}")
        return time.monotonic() - begun

    def kill(self) -> None:
        """As a crash would: SIGKILL, no chance to tidy."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """As an operator would: SIGTERM; SIGKILL where that is not heard."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._process = None

    def last_words(self, lines: int = 3) -> str:
        """The end of its log."""
        try:
            return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-lines:]) or "(nothing said)"
        except OSError:
            return "(no log)"


def _said_ready(stream: IO[str], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while (remaining := end - time.monotonic()) > 0:
        if not select.select([stream], [], [], remaining)[0]:
            return False
        line = stream.readline()
        if not line:
            return False
        if line.startswith("ready "):
            return True
    return False
