"""What exists in the mock's cloud: stamped objects, images and the script's counts, in memory and in a file.

The file (SQLite) outlives a crash of the plugin's process, as a cloud would; nothing else of the plugin does. Tests
may open it, too: `World(path).generations(...)` tells every switch of a path, also of one that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from plugins.mock.loads import Loads
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
CREATE TABLE IF NOT EXISTS born (
  manager_id TEXT, resource_id TEXT, at_ns INTEGER NOT NULL, PRIMARY KEY (manager_id, resource_id));
CREATE TABLE IF NOT EXISTS fate (
  manager_id TEXT, resource_id TEXT, due_ns INTEGER NOT NULL, reason TEXT NOT NULL, cp_id TEXT NOT NULL,
  done INTEGER NOT NULL, PRIMARY KEY (manager_id, resource_id));
CREATE TABLE IF NOT EXISTS generation (manager_id TEXT, resource_id TEXT, at_ns INTEGER NOT NULL, spec BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS crossed (
  manager_id TEXT, resource_id TEXT, cp_id TEXT, path_id TEXT, in_packets INTEGER NOT NULL,
  out_packets INTEGER NOT NULL, PRIMARY KEY (manager_id, resource_id, cp_id, path_id));
CREATE INDEX IF NOT EXISTS crossed_path ON crossed (manager_id, path_id);
"""


@dataclass(frozen=True, slots=True)
class Fate:
    """What will happen to an object by itself, or has (`done`). `cp_id` names the port that loses its link; empty: all
    of the object dies."""

    due_ns: int
    reason: str
    cp_id: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Crossed:
    """How many packets of one path (empty: of paths that are gone) went into a port, and out of it."""

    path_id: str
    in_packets: int
    out_packets: int


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
        named = self.spec.members if isinstance(self.spec, pb.AllocateLinkRequest) else ()
        return Stamped(copy, self.digest, generation, frozenset(member.resource_id for member in named))


def references(spec: Spec) -> Iterator[str]:
    """Ids of what must stay as long as this does: links of ports, mounted volumes, members of paths."""
    if isinstance(spec, pb.AllocateComputeRequest):
        yield from (port.link.resource_id for port in spec.ports)
        yield from (mount.volume.resource_id for mount in spec.volumes)
    elif isinstance(spec, pb.AllocateSapRequest):
        yield spec.port.link.resource_id
    elif isinstance(spec, pb.AllocatePathRequest):
        for hop in spec.hops:
            yield hop.compute.resource_id
            yield hop.sap.resource_id
            yield from (replica.resource_id for replica in hop.replicas)


class World:
    """All objects by (manager_id, resource_id). Every change is in the file before anybody hears of it: what changes in
    one turn of the event loop is one transaction, ended at the beginning of the next turn, and by `flush`."""

    def __init__(self, state_file: Path | None, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._file = sqlite3.connect(str(state_file) if state_file else ":memory:", isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=OFF")  # it has to outlive the process, not the machine
        self._file.executescript(_TABLES)
        self._things: dict[Key, Thing] = {}
        self._on_host: dict[str, dict[Key, pb.AllocateComputeRequest]] = {}
        self._users: dict[Key, set[str]] = {}
        self.loads = Loads()
        for thing in self._load():
            self._know(thing)
        self._images: dict[str, int] = dict(self._file.execute("SELECT sha256, size_bytes FROM image"))
        self._counts: dict[str, int] = dict(self._file.execute("SELECT rule, calls FROM count"))
        self._fates: dict[Key, Fate] = {
            (manager_id, resource_id): Fate(due_ns, reason, cp_id, bool(done))
            for manager_id, resource_id, due_ns, reason, cp_id, done in self._file.execute("SELECT * FROM fate")
        }

    def close(self) -> None:
        """Let go of the file."""
        self.flush()
        self._file.close()

    def flush(self) -> None:
        """What was changed is in the file from now on."""
        if self._file.in_transaction:
            self._file.execute("COMMIT")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        joins = self._file.in_transaction
        if not joins:
            self._file.execute("BEGIN")
        try:
            yield
        except BaseException:
            if not joins:
                self._file.execute("ROLLBACK")
            raise
        if not joins:
            try:
                asyncio.get_running_loop().call_soon(self._end_turn)
            except RuntimeError:  # outside of an event loop there are no turns
                self.flush()

    def _end_turn(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed already, with everything in it
            self.flush()

    def get(self, manager_id: str, resource_id: str) -> Thing | None:
        """One object."""
        return self._things.get((manager_id, resource_id))

    def of(self, manager_id: str) -> list[Thing]:
        """One manager's objects."""
        return [thing for key, thing in self._things.items() if key[0] == manager_id]

    def every(self) -> Iterator[Thing]:
        """All managers' objects."""
        return iter(self._things.values())

    def computes_on(self, host_id: str) -> Iterable[pb.AllocateComputeRequest]:
        """What all managers' computes on a host were made from."""
        return self._on_host.get(host_id, {}).values()

    def workers(self) -> Iterator[tuple[str, pb.Worker]]:
        """The worker VMs on demand that something is in, by host id."""
        for host_id, computes in self._on_host.items():
            spec = next(iter(computes.values()), None)
            if spec is not None and spec.HasField("worker"):
                yield host_id, spec.worker

    def users(self, key: Key) -> frozenset[str]:
        """Ids of the same manager's objects that refer to it."""
        return frozenset(self._users.get(key, ()))

    def put(self, thing: Thing) -> None:
        """Make or replace it; when it was made first is kept, and so is each generation of a path."""
        before = self._things.get(thing.key)
        now_ns, spec = self._clock_ns(), thing.spec.SerializeToString()
        row = (*thing.key, thing.resource.SerializeToString(), spec, thing.digest)
        with self._changing():
            if before is None:
                self._file.execute("INSERT OR IGNORE INTO born VALUES (?, ?, ?)", (*thing.key, now_ns))
            if isinstance(thing.spec, pb.AllocatePathRequest) and (before is None or before.digest != thing.digest):
                self._file.execute("INSERT INTO generation VALUES (?, ?, ?, ?)", (*thing.key, now_ns, spec))
            self._file.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)", row)
        self._know(thing)

    def remove(self, manager_id: str, resource_id: str) -> None:
        """Make it gone; success where it is not there. What a path has carried stays counted at the ports."""
        key = (manager_id, resource_id)
        with self._changing():
            for table in ("object", "born", "fate", "crossed"):
                self._file.execute(f"DELETE FROM {table} WHERE manager_id = ? AND resource_id = ?", key)
            carried = self._file.execute(
                "SELECT resource_id, cp_id, in_packets, out_packets FROM crossed WHERE manager_id = ? AND path_id = ?",
                key,
            ).fetchall()
            self._file.execute("DELETE FROM crossed WHERE manager_id = ? AND path_id = ?", key)
            self._cross(manager_id, "", {(user_id, cp_id): (into, out) for user_id, cp_id, into, out in carried})
        self._forget(key)
        self._fates.pop(key, None)

    def _know(self, thing: Thing) -> None:
        self._forget(thing.key)
        self._things[thing.key] = thing
        if isinstance(thing.spec, pb.AllocateComputeRequest):
            self._on_host.setdefault(thing.spec.host_id, {})[thing.key] = thing.spec
            self.loads.add(thing.spec)
        for referred in references(thing.spec):
            self._users.setdefault((thing.key[0], referred), set()).add(thing.key[1])

    def _forget(self, key: Key) -> None:
        known = self._things.pop(key, None)
        if known is None:
            return
        if isinstance(known.spec, pb.AllocateComputeRequest):
            del self._on_host[known.spec.host_id][key]
            self.loads.add(known.spec, -1)
        for referred in references(known.spec):
            if (users := self._users.get((key[0], referred))) is not None:
                users.discard(key[1])
                if not users:
                    del self._users[(key[0], referred)]

    def born_ns(self, key: Key) -> int:
        """When it was made; 0 where it is not there."""
        row = self._file.execute("SELECT at_ns FROM born WHERE manager_id = ? AND resource_id = ?", key).fetchone()
        return int(row[0]) if row else 0

    @property
    def fates(self) -> Mapping[Key, Fate]:
        """What is going to happen, and what has happened to things that are there."""
        return self._fates

    def set_fate(self, key: Key, fate: Fate | None) -> None:
        """An object's fate; None: it has none any more."""
        if fate is None and key not in self._fates:
            return
        self._file.execute("DELETE FROM fate WHERE manager_id = ? AND resource_id = ?", key)
        self._fates.pop(key, None)
        if fate is not None:
            row = (*key, fate.due_ns, fate.reason, fate.cp_id, fate.done)
            self._file.execute("INSERT INTO fate VALUES (?, ?, ?, ?, ?, ?)", row)
            self._fates[key] = fate

    def generations(self, manager_id: str, resource_id: str) -> list[pb.AllocatePathRequest]:
        """What a path was asked to be, from the first switch to the last, though it be gone."""
        rows = self._file.execute(
            "SELECT spec FROM generation WHERE manager_id = ? AND resource_id = ? ORDER BY rowid",
            (manager_id, resource_id),
        )
        return [pb.AllocatePathRequest.FromString(spec) for (spec,) in rows]

    def cross(self, manager_id: str, path_id: str, counted: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        """Count packets of a path into and out of ports, by (resource_id, cp_id)."""
        with self._changing():
            self._cross(manager_id, path_id, counted)

    def _cross(self, manager_id: str, path_id: str, counted: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        self._file.executemany(
            "INSERT INTO crossed VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "in_packets = in_packets + excluded.in_packets, out_packets = out_packets + excluded.out_packets",
            [(manager_id, *place, path_id, into, out) for place, (into, out) in counted.items()],
        )

    def crossed(self, manager_id: str, resource_id: str, cp_id: str) -> list[Crossed]:
        """What was counted at a port, path by path."""
        rows = self._file.execute(
            "SELECT path_id, in_packets, out_packets FROM crossed "
            "WHERE manager_id = ? AND resource_id = ? AND cp_id = ?",
            (manager_id, resource_id, cp_id),
        )
        return [Crossed(*row) for row in rows]

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
        if not changed:
            return
        self._file.executemany("INSERT OR REPLACE INTO count VALUES (?, ?)", changed.items())
        self._counts.update(changed)

    def _load(self) -> Iterator[Thing]:
        for raw, spec, digest in self._file.execute("SELECT resource, spec, digest FROM object"):
            resource = pb.Resource.FromString(raw)
            yield Thing(resource, _SPECS[resource.kind].FromString(spec), digest)
