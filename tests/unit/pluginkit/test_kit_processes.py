"""Children: run to their end, cut to size, killed with all their kin."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from vnfm.pluginkit.processes import run_command


def test_it_returns_what_came_out() -> None:
    done = asyncio.run(run_command([sys.executable, "-c", "import sys; print(input()); sys.exit(3)"], stdin=b"hi\n"))
    assert (done.exit_code, done.stdout, done.ok) == (3, b"hi\n", False)


def test_words_are_never_a_shell() -> None:
    done = asyncio.run(run_command(["echo", "$(id)", ";", "false"]))
    assert done.stdout == b"$(id) ; false\n"


def test_the_end_of_a_long_output_is_kept() -> None:
    program = "import sys; sys.stderr.write('x' * 100_000 + '\\nlast line\\n')"
    done = asyncio.run(run_command([sys.executable, "-c", program], output_bytes=1000))
    assert len(done.stderr) == 1000
    assert done.last_lines(1) == "last line"


def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert asyncio.run(run_command(["true"], stdin=b"x" * 10_000_000)).ok


def test_a_missing_program_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(run_command(["/no/such/program"]))


def test_time_runs_out_and_grandchildren_go_too(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        asyncio.run(run_command(["sh", "-c", f"sleep 1000 & echo $! >{told}; sleep 1000"], timeout_s=0.5))
    grandchild = int(told.read_text())
    deadline = time.monotonic() + 5
    while _runs(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(grandchild)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
