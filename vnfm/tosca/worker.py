"""The reading process from outside: started by exec, never by fork (gRPC's threads would not survive it), and kept.

A worker has tosca-parser and the type files loaded and forks once for each package, so that a package is read in a
process of its own, in some milliseconds (see vnfm.tosca.child).
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import vnfm
from vnfm.model.codec import CodecError, decode, encode
from vnfm.model.package import Finding
from vnfm.model.vnfd import Vnfd
from vnfm.tosca.digests import PackageFile
from vnfm.tosca.limits import Limits
from vnfm.tosca.notes import Notes, Place

_BOOT = (
    "import json, sys; boot = json.loads(sys.stdin.buffer.readline()); sys.path[:] = boot['sys_path'];"
    "from vnfm.tosca.child import serve; serve(boot)"
)
_STDERR_CHARS = 300
_GRACE_SECONDS = 10.0  # for starting a worker, and for one that has to stop its child
_KEPT = 2  # idle workers

Later = list[tuple[str, str, str, Place]]


class WorkerLost(Exception):
    """The worker gave no answer and was ended."""


class Worker:
    """One warm process. Used by one thread at a time."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",  # each child goes to an empty folder of its own
            env={},
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it may be asked again."""
        return self._process.poll() is None and self.owner == os.getpid()

    def boot(self) -> None:
        """Tell it where its code lies."""
        paths = [str(Path(vnfm.__file__).parent.parent), *(p for p in sys.path if p)]
        self._send({"sys_path": paths})

    def ask(self, request: Mapping[str, Any], wall_seconds: float) -> dict[str, Any]:
        """How the reading ended: `exit` (negative: a signal) and `timeout`. Raises WorkerLost."""
        assert self._process.stdout is not None
        try:
            self._send(request)
            watch = select.poll()  # a manager may have more files open than select can tell of
            watch.register(self._process.stdout, select.POLLIN)
            ready = watch.poll(1000 * (wall_seconds + _GRACE_SECONDS))
            line = self._process.stdout.readline() if ready else b""
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            self.close()
            raise WorkerLost("the reading process ended") from error
        return answer

    def close(self) -> None:
        """End it and whatever it started."""
        if self.owner != os.getpid():
            return
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


class Pool:
    """Idle workers; as many work at once as there are threads that read."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._idle: list[Worker] = []
        self._lock = threading.Lock()

    def take(self) -> Worker:
        """A worker for one request."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.close()
        worker = Worker()
        worker.boot()
        return worker

    def give(self, worker: Worker) -> None:
        """The worker is free again."""
        with self._lock:
            if worker.alive and len(self._idle) < self._kept:
                self._idle.append(worker)
                return
        worker.close()

    def close(self) -> None:
        """End the idle ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()


_POOL = Pool()
atexit.register(_POOL.close)


def run_child(
    work: Path,
    *,
    entry: str,
    files: Mapping[str, PackageFile],
    types: Path,
    strict: bool,
    flavour: str | None,
    limits: Limits,
    notes: Notes,
) -> tuple[Vnfd | None, Later]:
    """Read the staged package `work`/root. What is noticed goes into `notes`; returns the VNFD and digests to check."""
    empty, answer = work / "empty", work / "answer.json"
    empty.mkdir()
    request = {
        "root": str(work / "root"),
        "types": str(types),
        "entry": entry,
        "files": {name: [f.size_bytes, f.sha256, f.kind] for name, f in files.items()},
        "strict": strict,
        "flavour": flavour,
        "limits": encode(limits),
        "answer": str(answer),
        "empty": str(empty),
        "stderr": str(work / "stderr"),
    }
    failure = _run(request, work / "stderr", limits)
    if failure:
        notes.error(
            "reader-stopped", failure, Place(entry), "the descriptor is too large, too deep or not what it seems"
        )
        return None, []
    return _take(answer, notes)


def _run(request: Mapping[str, Any], stderr: Path, limits: Limits) -> str:
    """Why there is no answer; empty where there is one."""
    worker = _POOL.take()
    try:
        done = worker.ask(request, limits.child_wall_seconds)
    except WorkerLost as lost:
        return f"reading failed: {lost}"
    finally:
        _POOL.give(worker)
    if done.get("timeout"):
        return f"reading took longer than {limits.child_wall_seconds:g} s"
    code = done.get("exit")
    if code == 0:
        return ""
    if isinstance(code, int) and code < 0:
        return f"reading was stopped by signal {-code}"
    text = stderr.read_text(errors="replace") if stderr.is_file() else ""
    return "reading failed: " + text.strip()[-_STDERR_CHARS:]


def _take(answer: Path, notes: Notes) -> tuple[Vnfd | None, Later]:
    try:
        data: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        notes.findings += [decode(Finding, f) for f in data["findings"]]
        vnfd = None if data["vnfd"] is None else decode(Vnfd, data["vnfd"])
        later = [(str(p), str(a), str(w), decode(Place, at)) for p, a, w, at in data["later"]]
    except (OSError, ValueError, KeyError, CodecError) as error:
        notes.error("reader-stopped", f"reading gave no answer: {error}")
        return None, []
    return vnfd, later
