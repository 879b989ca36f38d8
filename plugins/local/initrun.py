"""Runs an init container to its end and learns its exit code.

A runtime's `create` leaves the payload as an orphan; to be told its exit code one must be its new parent. That is a
small child process of ours, so that nothing else of the plugin becomes anybody's parent:

python -m plugins.local.initrun PID_FILE OUTPUT CREATE_ARGV_JSON START_ARGV_JSON
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins.local.job import Job
    from plugins.local.runtimes import OciRuntime

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_FAILED = 125


def run_to_end(
    job: Job, runtime: OciRuntime, container: str, bundle: Path, output: Path, timeout_seconds: float
) -> int:
    """The payload's exit code (128 + signal). Raises CommandFailed where it could not be started or takes too long."""
    from plugins.local.process import CommandFailed, tail

    create, start = runtime.create_argv(container, bundle), runtime.start_argv(container)
    argv = [sys.executable, "-m", "plugins.local.initrun", str(bundle / "pid"), str(output)]
    argv += [json.dumps(create), json.dumps(start)]
    runtime.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    env = {**runtime.environment(), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=env, pass_fds=(job.lock_fd,), start_new_session=True)
    try:
        if not job.wait(lambda: child.poll() is not None, timeout_seconds):
            raise CommandFailed(argv, None, f"no end after {timeout_seconds:g} s; {tail(output)}")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode == _FAILED:
        raise CommandFailed(create, _FAILED, tail(output))
    return child.returncode


def main(argv: list[str]) -> int:
    """Adopts what the runtime creates, and waits for it."""
    pid_file, output, create, start = argv
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
    log = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    for command in (create, start):
        if subprocess.run(
            json.loads(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        ).returncode:
            return _FAILED
    payload = int(Path(pid_file).read_text())
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return _FAILED
        if pid == payload:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
