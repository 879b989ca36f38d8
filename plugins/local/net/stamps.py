"""The run folder: a JSON stamp for every object, written before the object is made and removed after it is gone.

A stamp says what is wanted; what is there is asked of the kernel. So the same call completes what a killed
process left.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from plugins.local.net.errors import HostRefusedError

Stamp = Mapping[str, Any]


class StampFolder:
    """Stamps of one kind, a file an id. Readers in other threads and processes see whole files only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[tuple[int, int], Stamp]] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, object_id: str) -> Path:
        return self._folder / f"{object_id}.json"

    def _unfinished(self, object_id: str) -> Path:
        # Named by the id, so that what a killed writer leaves is overwritten or removed by the next call.
        return self._folder / f".{object_id}.new"

    def write(self, object_id: str, stamp: Stamp) -> None:
        """Put the stamp in place in one step; HostRefusedError where it cannot be written.

        Two writers of one id must not meet: callers hold the lock of what the stamp stands for.
        """
        unfinished = self._unfinished(object_id)
        try:
            unfinished.write_text(json.dumps(stamp))
            os.replace(unfinished, self._path(object_id))
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise HostRefusedError(f"run folder {self._folder}: {error.strerror}; nothing was made") from error

    def remove(self, object_id: str) -> None:
        """Take the stamp away; none is fine."""
        self._unfinished(object_id).unlink(missing_ok=True)
        self._path(object_id).unlink(missing_ok=True)

    def read(self, object_id: str) -> Stamp | None:
        """The stamp, None where there is none; an unreadable one is an empty mapping."""
        path = self._path(object_id)
        try:
            status = path.stat()
            key = (status.st_ino, status.st_mtime_ns)
            with self._lock:
                known = self._cache.get(object_id)
            if known and known[0] == key:
                return known[1]
            content = path.read_bytes()
        except FileNotFoundError:
            with self._lock:
                self._cache.pop(object_id, None)
            return None
        try:
            stamp = json.loads(content)
        except ValueError:
            stamp = {}
        stamp = stamp if isinstance(stamp, dict) else {}
        with self._lock:
            self._cache[object_id] = (key, stamp)
        return stamp

    def is_any(self) -> bool:
        """Whether there is a stamp at all."""
        return any(entry.name.endswith(".json") for entry in os.scandir(self._folder))

    def changed_ns(self) -> int:
        """When a stamp came, went or was replaced last (wall clock)."""
        return os.stat(self._folder).st_mtime_ns

    def all(self) -> dict[str, Stamp]:
        """All stamps by id."""
        ids = [entry.name[:-5] for entry in os.scandir(self._folder) if entry.name.endswith(".json")]
        return {object_id: stamp for object_id in sorted(ids) if (stamp := self.read(object_id)) is not None}


class Stamps:
    """The run folder's parts: links, paths, namespaces asked for by computes and SAPs, and what is known of ports."""

    def __init__(self, run_dir: Path) -> None:
        self.links = StampFolder(run_dir / "links")
        self.paths = StampFolder(run_dir / "paths")
        self.namespaces = StampFolder(run_dir / "namespaces")
        self.ports = StampFolder(run_dir / "ports")

    def changed(self) -> tuple[int, ...]:
        """Another value whenever another stamp of a link, path or port is there."""
        return tuple(folder.changed_ns() for folder in (self.links, self.paths, self.ports))

    def is_settled(self, for_ns: int) -> bool:
        """Whether none has changed for so long, by the wall clock."""
        return max(self.changed()) < time.time_ns() - for_ns
