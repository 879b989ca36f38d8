"""Child processes of a plugin. gRPC runs threads, and a forked copy of them deadlocks: spawn and exec only.

Never use os.fork, multiprocessing's fork, `preexec_fn`, `user=` or `group=`: CPython then really forks. Without them
it uses vfork and exec, where no Python or gRPC code runs in the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OUTPUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. Outputs hold at most their last `output_bytes`."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == 0

    def last_lines(self, lines: int = 10) -> str:
        """The end of what it said, for a problem's detail."""
        text = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


async def run_command(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout_s: float = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    output_bytes: int = OUTPUT_BYTES,
) -> Finished:
    """Run a program to its end, without a shell, in a session of its own.

    After `timeout_s`, and when the caller is cancelled, the whole process group is killed before this returns;
    then TimeoutError or CancelledError is raised. FileNotFoundError where there is no such program.
    """
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=None if env is None else dict(env),
        cwd=cwd,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        async with asyncio.timeout(timeout_s):
            _, stdout, stderr, exit_code = await asyncio.gather(
                _feed(child.stdin, stdin),
                _tail(child.stdout, output_bytes),
                _tail(child.stderr, output_bytes),
                child.wait(),
            )
    except BaseException:
        await _kill_group(child)
        raise
    return Finished(tuple(argv), exit_code, stdout, stderr)


async def _feed(pipe: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(data)
        await pipe.drain()
        pipe.close()


async def _tail(pipe: asyncio.StreamReader, limit_bytes: int) -> bytes:
    kept = b""
    while data := await pipe.read(1 << 16):
        kept = (kept + data)[-limit_bytes:]
    return kept


async def _kill_group(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await asyncio.shield(child.wait())
