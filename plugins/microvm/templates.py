"""Templates: guests that were booted once and saved, for clones to start from.

A template is a folder: `memory` (the guest's memory, which clones map copy on write), `state` (its devices) and
`facts.json`.  Its name says all that a clone must have in common with it.  It lies in memory, outside the cache and
outside any container's control group.  A shared lock on `memory`, which a clone's qemu inherits and so holds for its
life, says that it is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from plugins.microvm.cache import MAKING, is_locked, lock_of, locked, once
from plugins.microvm.qemu import boot_id

FOLDER_ENV = "VNFM_MICROVM_TEMPLATES"
DEFAULT_FOLDER = Path("/dev/shm/vnfm-microvm")
OFF = "off"

MOST = 16
"""Templates at a time."""

_SHARE_OF_HOST = 8
"""All templates together take at most this part of the host's memory, and one at most half of that."""

_SPARE_BYTES = 256 << 20
"""What has to be free beyond a new template."""

_WAIT_SECONDS = 40.0
_FORGIVEN_AFTER_SECONDS = 600
_ATTEMPTS = 3


class NoTemplate(Exception):
    """This guest has to be booted; the text says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a template is made from; `host` is the part that no other host, boot or qemu shares."""

    key: str
    host: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Template:
    """An open template: descriptors of its memory (locked) and state, and its NICs' interface numbers."""

    key: str
    memory: int
    state: int
    interfaces: tuple[int, ...]

    def close(self) -> None:
        """Give the descriptors back; clones keep theirs."""
        os.close(self.memory)
        os.close(self.state)


def folder() -> Path:
    """Where templates are; NoTemplate where there shall be none, or where others could put theirs."""
    given = os.environ.get(FOLDER_ENV)
    if given == OFF:
        raise NoTemplate(f"{FOLDER_ENV} is {OFF}")
    found = Path(given) if given else DEFAULT_FOLDER
    try:
        found.mkdir(mode=0o700, parents=bool(given), exist_ok=True)
        info = found.lstat()
    except OSError as error:
        raise NoTemplate(f"{found}: {error.strerror}") from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise NoTemplate(f"{found} is not a folder that only we may write to")
    return found


def obtain(place: Path, recipe: Recipe, build: Callable[[Path], dict[str, object]]) -> Template:
    """The template, made by `build` if it is not there: in a folder with a `memory` it writes `state`, and tells facts.

    Whoever comes while another makes it waits: made once it serves all, where booting side by side takes each of them
    as long again.
    """
    for _ in range(_ATTEMPTS):
        found = _open(place / recipe.key)
        if found:
            return found
        _check_failures(place, recipe.key)
        try:
            once(place / recipe.key, lambda target: _make(place, target, recipe, build), _WAIT_SECONDS)
        except TimeoutError:
            raise NoTemplate(f"another command has been making the template for over {_WAIT_SECONDS:.0f} s") from None
        except OSError as error:
            raise NoTemplate(f"{error.filename or place}: {error.strerror}") from error
    raise NoTemplate("the template was removed again and again")


def discard(place: Path, key: str, reason: str) -> None:
    """A template that clones do not start from goes, and is not made again for a while."""
    _note_failure(place, key, reason)
    _remove(place / key)


@dataclass(frozen=True, slots=True)
class Entry:
    """A template as the folder shows it."""

    path: Path
    host: str
    bytes: int
    used_at: float
    in_use: bool


def entries(place: Path) -> list[Entry]:
    """All whole templates, least recently used first."""
    found = []
    for path in place.glob("[!.]*"):
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads((path / "facts.json").read_text())
            with _lock_tried(path / "memory") as in_use:
                size = (path / "memory").stat().st_size
                found.append(Entry(path, str(facts["host"]), size, path.stat().st_mtime, in_use))
    return sorted(found, key=lambda entry: entry.used_at)


def drop_unused(place: Path) -> None:
    """Remove every template that no clone maps."""
    with locked(place, "room"):
        for entry in entries(place):
            _remove_unused(entry.path)
        _sweep(place)


def _open(path: Path) -> Template | None:
    with contextlib.ExitStack() as stack:
        try:
            # All by this folder, so that nothing of a successor of the same name gets in between.
            inside = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, inside)
            memory = os.open("memory", os.O_RDWR | os.O_CLOEXEC, dir_fd=inside)
            stack.callback(os.close, memory)
            # Waits for a moment at most: that of somebody who looks whether it is in use.
            fcntl.flock(memory, fcntl.LOCK_SH)
            state = os.open("state", os.O_RDONLY | os.O_CLOEXEC, dir_fd=inside)
            stack.callback(os.close, state)
            with open(os.open("facts.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=inside)) as file:
                facts = json.load(file)
            os.utime(path)
        except FileNotFoundError:
            return None
        template = Template(path.name, memory, state, tuple(facts["interfaces"]))
        stack.pop_all()
        os.close(inside)
        return template


def _make(place: Path, target: Path, recipe: Recipe, build: Callable[[Path], dict[str, object]]) -> None:
    _check_failures(place, recipe.key)
    with locked(place, "room"):
        _make_room(place, recipe)
        target.mkdir(mode=0o700)
        # Taken whole at once: a clone that touched a hole would fill it at its own control group's cost, on top of its
        # own copy of the page.
        memory = os.open(target / "memory", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(memory, 0, recipe.memory_bytes)
        finally:
            os.close(memory)
    try:
        facts = build(target)
    except NoTemplate as error:
        _note_failure(place, recipe.key, str(error))
        raise
    (target / "facts.json").write_text(json.dumps({"host": recipe.host, "boot": boot_id(), **facts}))


def _check_failures(place: Path, key: str) -> None:
    note = place / f".failed-{key}"
    if not _forgiven(note):
        raise NoTemplate(f"it failed a short time ago: {note.read_text()}")


def _forgiven(note: Path) -> bool:
    """Is there no such failure, or is it long ago?  Then the note goes."""
    try:
        if time.time() - note.stat().st_mtime < _FORGIVEN_AFTER_SECONDS:
            return False
    except FileNotFoundError:
        return True
    note.unlink(missing_ok=True)
    return True


def _note_failure(place: Path, key: str, reason: str) -> None:
    with contextlib.suppress(OSError):
        (place / f".failed-{key}").write_text(reason)


def _make_room(place: Path, recipe: Recipe) -> None:
    """Room for one more within the bounds, by removing what is stale, then what was not used for longest."""
    size, budget = recipe.memory_bytes, _host_memory("MemTotal") // _SHARE_OF_HOST
    if size > budget // 2:
        raise NoTemplate(f"a template of {size >> 20} MiB is over the {budget >> 21} MiB that one may take here")
    _sweep(place)
    known = entries(place)
    for entry in [entry for entry in known if entry.host != recipe.host]:
        if _remove_unused(entry.path):
            known.remove(entry)
    being_made = sum(path.stat().st_size for path in place.glob(f"{MAKING}*/it/memory"))
    taken = being_made + sum(entry.bytes for entry in known)
    for entry in list(known):
        if taken + size <= budget and len(known) < MOST:
            break
        if _remove_unused(entry.path):
            known.remove(entry)
            taken -= entry.bytes
    if taken + size > budget or len(known) >= MOST:
        raise NoTemplate(f"{len(known)} templates of {taken >> 20} MiB in all are in use (limit {budget >> 20} MiB)")
    disk = os.statvfs(place)
    free = min(disk.f_bavail * disk.f_frsize, _host_memory("MemAvailable"))
    if free < size + _SPARE_BYTES:
        wanted = (size + _SPARE_BYTES) >> 20
        raise NoTemplate(f"no room in {place}: {free >> 20} MiB are free, {wanted} are wanted")


def _host_memory(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


def _sweep(place: Path) -> None:
    """Remove what makers and removers that were killed have left."""
    import shutil

    for path in place.glob(f"{MAKING}*"):
        lock = lock_of(place, path.name.removeprefix(MAKING).rpartition("-")[0])
        with contextlib.suppress(FileNotFoundError), _lock_tried(lock) as held:
            if not held:
                shutil.rmtree(path, ignore_errors=True)
    for path in place.glob(".gone-*"):
        shutil.rmtree(path, ignore_errors=True)
    for note in place.glob(".failed-*"):
        _forgiven(note)


def _remove_unused(path: Path) -> bool:
    try:
        with _lock_tried(path / "memory") as in_use:
            if in_use:
                return False
            _remove(path)
    except FileNotFoundError:
        pass
    return True


def _remove(path: Path) -> None:
    """Out of sight first, so that nobody ever opens half of it."""
    import shutil

    gone = path.with_name(f".gone-{path.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def _lock_tried(path: Path) -> Iterator[bool]:
    """Whether somebody holds a lock on the file; if not, we do meanwhile."""
    with open(path, "rb") as file:
        yield is_locked(file.fileno())
