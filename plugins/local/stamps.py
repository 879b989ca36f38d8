"""What stands on disk about a compute: its stamp, written before anything else is made, and removed last.

<run_dir>/computes/<key>/stamp.json     who owns it, what it is, how far it has come
<run_dir>/locks/<key>                   held by whoever works on it, and by the runtime processes they start
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plugins.local.process import ProcessRef

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_VERSION = 1
_LOG_BYTES = 1 << 20
_LOG_SEARCH_SECONDS, _LATELY_SECONDS = 2.0, 10.0
_LOG_SECONDS, _LOG_STORM_SECONDS = 0.2, 0.02


@dataclass(frozen=True, slots=True)
class Stamp:
    """`phase`: building, ready or stopped; `processes`: container name (or "vm") -> its process once started.

    `request_b64` is the AllocateCompute request as given, so that a restart needs no word from the manager.
    """

    resource_id: str
    manager_id: str
    owner_b64: str
    spec_digest: str
    runtime: str
    images: tuple[str, ...]
    request_b64: str
    phase: str = "building"
    processes: tuple[tuple[str, int, int], ...] = ()
    start_ms: int = 0
    overhead_memory_bytes: int = 0
    addresses: tuple[str, ...] = ()
    paused: bool = False
    version: int = _VERSION

    def refs(self) -> dict[str, ProcessRef]:
        """Its processes by name."""
        return {name: ProcessRef(pid, ticks) for name, pid, ticks in self.processes}

    def with_process(self, name: str, ref: ProcessRef) -> Stamp:
        """The same with this process noted."""
        others = tuple(entry for entry in self.processes if entry[0] != name)
        return replace(self, processes=(*others, (name, ref.pid, ref.start_ticks)))


def key_of(resource_id: str) -> str:
    """A name for folders, cgroups and namespaces: the id itself where it is plain and short, else its hash."""
    return resource_id if _PLAIN.fullmatch(resource_id) else "h" + hashlib.sha256(resource_id.encode()).hexdigest()[:40]


class StampFolder:
    """All computes below one run_dir."""

    def __init__(self, run_dir: Path) -> None:
        self._computes = run_dir / "computes"
        self._locks = run_dir / "locks"

    def folder(self, resource_id: str) -> Path:
        """Where everything about this compute stands."""
        return self._computes / key_of(resource_id)

    def read(self, resource_id: str) -> Stamp | None:
        """Its stamp; None where there is none, or only a torn folder."""
        return _read(self.folder(resource_id) / "stamp.json")

    def write(self, stamp: Stamp, *, durable: bool = True) -> None:
        """Replaces the stamp atomically; by itself only durable writing outlives a power cut."""
        folder = self.folder(stamp.resource_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f".stamp.{os.getpid()}"
        with draft.open("w") as stream:
            stream.write(json.dumps(asdict(stamp)))
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        draft.replace(folder / "stamp.json")

    def all(self) -> Iterator[Stamp]:
        """Every readable stamp."""
        with suppress(FileNotFoundError):
            for folder in sorted(self._computes.iterdir()):
                stamp = _read(folder / "stamp.json")
                if stamp is not None:
                    yield stamp

    def came_lately(self) -> bool:
        """Whether a compute came or went just now: its logs may be new."""
        try:
            return time.time() - self._computes.stat().st_mtime < _LATELY_SECONDS
        except OSError:
            return False

    def logs(self) -> list[Path]:
        """Outputs and consoles, which grow without end where nobody shortens them."""
        return list(self._computes.glob("*/*/*.log"))

    def forget_empty(self) -> None:
        """Removes the parent folders once nothing stands in them."""
        top = self._computes.parent
        with suppress(OSError):
            for folder in (*top.iterdir(), top):
                with suppress(OSError):
                    folder.rmdir()

    @contextmanager
    def lock(self, resource_id: str, timeout_seconds: float) -> Iterator[int]:
        """Exclusive over processes. Yields a descriptor to hand to runtime children: the lock outlives us with them.

        So, after a kill -9, a `create` that still runs is waited for instead of being raced. Raises TimeoutError.
        """
        path = self._locks / key_of(resource_id)
        deadline = time.monotonic() + timeout_seconds
        fd = self._locked(path, deadline)
        try:
            yield fd
        finally:
            with suppress(OSError):
                path.unlink()
            os.close(fd)

    def _locked(self, path: Path, deadline: float) -> int:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # someone tidied the folder away meanwhile
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(fd, path):
                    return fd
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise TimeoutError(f"{path.name} is being worked on by another process") from None
                time.sleep(0.02)
            os.close(fd)


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _read(path: Path) -> Stamp | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        document["processes"] = tuple((str(n), int(p), int(t)) for n, p, t in document["processes"])
        document["images"] = tuple(document["images"])
        document["addresses"] = tuple(document["addresses"])
        return Stamp(**document)
    except (OSError, ValueError, TypeError, KeyError):
        return None


class LogKeeper:
    """Keeps outputs and consoles short. Looking for them is dear and done now and then, looking at them is cheap."""

    def __init__(self, stamps: StampFolder) -> None:
        self._stamps = stamps
        self._logs: list[Path] = []
        self._looked = 0.0

    def shorten(self) -> float:
        """After how many seconds it is to be called again: soon, where somebody writes a lot."""
        now = time.monotonic()
        if now - self._looked > _LOG_SEARCH_SECONDS or self._stamps.came_lately():
            self._logs, self._looked = self._stamps.logs(), now
        shortened = [shorten(log, _LOG_BYTES) for log in self._logs]
        return _LOG_STORM_SECONDS if any(shortened) else _LOG_SECONDS


def shorten(log: Path, limit_bytes: int) -> bool:
    """Keeps the end of a log that is written to in append mode; whether it was too long.

    What comes in just then may be lost.
    """
    try:
        if log.is_symlink() or log.stat().st_size <= limit_bytes:
            return False
        with log.open("r+b") as stream:
            stream.seek(-limit_bytes // 2, os.SEEK_END)
            kept = stream.read(limit_bytes // 2)
            stream.truncate(0)
        with log.open("ab") as stream:
            stream.write(kept)
    except OSError:
        return False
    return True
