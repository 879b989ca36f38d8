"""The reading process from outside: started by exec, never by fork (gRPC's threads would not survive it), and kept.

A worker has tosca-parser and the type files loaded and forks once for each package, ahead of it, so that a package is
read in a process of its own, in some milliseconds (see vnfm.tosca.child). What is read goes there and back in memory.
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
from vnfm.tosca.parcel import packed

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vnfm.tosca.child import serve; serve()"
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
        paths = [str(Path(vnfm.__file__).parent.parent), *(p for p in sys.path if p)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it may be asked again."""
        return self._process.poll() is None and self.owner == os.getpid()

    def ask(
        self, request: Mapping[str, Any], texts: Mapping[str, bytes], wall_seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """How the reading ended (`exit`, negative for a signal, `timeout` and `stderr`), and its answer, empty where
        there is none. Raises WorkerLost."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        data = packed(texts)
        try:
            line = json.dumps({**request, "texts_bytes": len(data)}).encode() + b"\n"
            self._process.stdin.write(line)
            self._process.stdin.write(data)
            self._process.stdin.flush()
            watch = select.poll()  # a manager may have more files open than select can tell of
            watch.register(self._process.stdout, select.POLLIN)
            ready = watch.poll(1000 * (wall_seconds + _GRACE_SECONDS))
            done: dict[str, Any] = json.loads(self._process.stdout.readline() if ready else b"")
            answer = self._process.stdout.read(done["answer_bytes"])
        except (OSError, ValueError) as error:
            self.close()
            raise WorkerLost("the reading process ended") from error
        except BaseException:  # interrupted: what it answers later would be taken for the answer to the next
            self.close()
            raise
        return done, answer

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
        return Worker()

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


def prepare() -> None:
    """Start a worker for the first package that is read."""
    _POOL.give(_POOL.take())


def run_child(
    texts: Mapping[str, bytes],
    *,
    entry: str,
    files: Mapping[str, PackageFile],
    types: Path,
    strict: bool,
    flavour: str | None,
    limits: Limits,
    notes: Notes,
) -> tuple[Vnfd | None, Later]:
    """Read a package from its `texts`. What is noticed goes into `notes`; returns the VNFD and digests to check."""
    request = {
        "types": str(types),
        "entry": entry,
        "files": {name: [f.size_bytes, f.sha256, f.kind] for name, f in files.items()},
        "strict": strict,
        "flavour": flavour,
        "limits": encode(limits),
    }
    failure, answer = _run(request, texts, limits)
    if failure:
        hint = "the descriptor is too large, too deep or not what it seems"
        notes.error("reader-stopped", failure, Place(entry), hint)
        return None, []
    return _take(answer, notes)


def _run(request: Mapping[str, Any], texts: Mapping[str, bytes], limits: Limits) -> tuple[str, bytes]:
    """Why there is no answer, empty where there is one; and the answer."""
    worker = _POOL.take()
    try:
        done, answer = worker.ask(request, texts, limits.child_wall_seconds)
    except WorkerLost as lost:
        return f"reading failed: {lost}", b""
    finally:
        _POOL.give(worker)
    if done["timeout"]:
        return f"reading took longer than {limits.child_wall_seconds:g} s", b""
    code = done["exit"]
    if code == 0:
        return "", answer
    if code < 0:
        return f"reading was stopped by signal {-code}", b""
    return "reading failed: " + done["stderr"].strip()[-_STDERR_CHARS:], b""


def _take(answer: bytes, notes: Notes) -> tuple[Vnfd | None, Later]:
    try:
        data: dict[str, Any] = json.loads(answer)
        notes.findings += [decode(Finding, f) for f in data["findings"]]
        vnfd = None if data["vnfd"] is None else decode(Vnfd, data["vnfd"])
        later = [(str(p), str(a), str(w), decode(Place, at)) for p, a, w, at in data["later"]]
    except (ValueError, KeyError, CodecError) as error:
        notes.error("reader-stopped", f"reading gave no answer: {error}")
        return None, []
    return vnfd, later
