"""What exists in the mock's cloud: stamped objects, images and the script's counts, in memory and in a file.

The file (SQLite) outlives a crash of the plugin's process, as a cloud would; nothing else of the plugin does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped

Key = tuple[str, str]
Spec = (
    pb.AllocateComputeRequest
    | pb.AllocateLinkRequest
    | pb.AllocateSapRequest
    | pb.AllocatePathRequest
    | pb.AllocateVolumeRequest
)
_SPECS: Mapping[int, type[Spec]] = {
    pb.KIND_COMPUTE: pb.AllocateComputeRequest,
    pb.KIND_LINK: pb.AllocateLinkRequest,
    pb.KIND_SAP: pb.AllocateSapRequest,
    pb.KIND_PATH: pb.AllocatePathRequest,
    pb.KIND_VOLUME: pb.AllocateVolumeRequest,
}
_TABLES = """
CREATE TABLE IF NOT EXISTS object (
  manager_id TEXT, resource_id TEXT, resource BLOB NOT NULL, spec BLOB NOT NULL, digest TEXT NOT NULL,
  PRIMARY KEY (manager_id, resource_id));
CREATE TABLE IF NOT EXISTS image (sha256 TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS count (rule TEXT PRIMARY KEY, calls INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: what it is now, and the request that it was made from."""

    resource: pb.Resource
    spec: Spec
    digest: str

    @property
    def key(self) -> Key:
        """(manager_id, resource_id)"""
        return self.resource.owner.manager_id, self.resource.handle.resource_id

    def stamped(self) -> Stamped:
        """As the kit wants to see it; a copy, so that nobody changes ours."""
        copy = pb.Resource()
        copy.CopyFrom(self.resource)
        generation = self.spec.generation if isinstance(self.spec, pb.AllocatePathRequest) else 0
        return Stamped(copy, self.digest, generation)


class World:
    """All objects by (manager_id, resource_id); every change is in the file before the call goes on."""

    def __init__(self, state_file: Path | None) -> None:
        self._file = sqlite3.connect(str(state_file) if state_file else ":memory:", isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=OFF")  # it has to outlive the process, not the machine
        self._file.executescript(_TABLES)
        self._things = {thing.key: thing for thing in self._load()}
        self._images: dict[str, int] = dict(self._file.execute("SELECT sha256, size_bytes FROM image"))
        self._counts: dict[str, int] = dict(self._file.execute("SELECT rule, calls FROM count"))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def get(self, manager_id: str, resource_id: str) -> Thing | None:
        """One object."""
        return self._things.get((manager_id, resource_id))

    def of(self, manager_id: str) -> list[Thing]:
        """One manager's objects."""
        return [thing for key, thing in self._things.items() if key[0] == manager_id]

    def every(self) -> Iterator[Thing]:
        """All managers' objects."""
        return iter(self._things.values())

    def put(self, thing: Thing) -> None:
        """Make or replace it."""
        row = (*thing.key, thing.resource.SerializeToString(), thing.spec.SerializeToString(), thing.digest)
        self._file.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)", row)
        self._things[thing.key] = thing

    def remove(self, manager_id: str, resource_id: str) -> None:
        """Make it gone; success where it is not there."""
        self._file.execute("DELETE FROM object WHERE manager_id = ? AND resource_id = ?", (manager_id, resource_id))
        self._things.pop((manager_id, resource_id), None)

    def image_bytes(self, sha256: str) -> int | None:
        """An image's size, where it is there."""
        return self._images.get(sha256)

    def put_image(self, sha256: str, size_bytes: int) -> None:
        """The image is there; its bytes are of no use to a mock."""
        self._file.execute("INSERT OR REPLACE INTO image VALUES (?, ?)", (sha256, size_bytes))
        self._images[sha256] = size_bytes

    def remove_image(self, sha256: str) -> None:
        """The image is gone."""
        self._file.execute("DELETE FROM image WHERE sha256 = ?", (sha256,))
        self._images.pop(sha256, None)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each rule of the script has matched."""
        return self._counts

    def count(self, changed: Mapping[str, int]) -> None:
        """Keep new counts, before anything that they lead to."""
        self._file.executemany("INSERT OR REPLACE INTO count VALUES (?, ?)", changed.items())
        self._counts.update(changed)

    def _load(self) -> Iterator[Thing]:
        for raw, spec, digest in self._file.execute("SELECT resource, spec, digest FROM object"):
            resource = pb.Resource.FromString(raw)
            yield Thing(resource, _SPECS[resource.kind].FromString(spec), digest)
