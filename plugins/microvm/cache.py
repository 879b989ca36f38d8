"""The cache folder: what is made once and used by many, each thing under the digest of what it was made from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    # As the standard library's own `random` does: hashlib loads OpenSSL, which takes longer than all that is digested.
    from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CACHE_ENV = "VNFM_MICROVM_CACHE"
DEFAULT_CACHE = Path("/var/cache/vnfm/microvm")
MAKING = ".making-"
"""Begins the names of what is not whole yet."""

_LOOK_AGAIN = 0.01


def cache_folder(given: str | None = None) -> Path:
    """The cache to use: the one given, else of the environment, else the default."""
    folder = Path(given or os.environ.get(CACHE_ENV) or DEFAULT_CACHE)
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    return folder


def new_digest() -> Any:
    """A running digest: `update`, then `hexdigest`."""
    return sha256()


def digest(*parts: str | bytes) -> str:
    """A name for something made from `parts`."""
    state = new_digest()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(b"%d:" % len(raw) + raw)
    text: str = state.hexdigest()
    return text


@contextlib.contextmanager
def locked(folder: Path, name: str, patience: float | None = None) -> Iterator[None]:
    """Hold the lock `name` of a folder; it is freed by the kernel if this process dies.

    With `patience` (seconds) TimeoutError is raised if others hold it longer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(lock_of(folder, name), "w") as file:
        _take(file.fileno(), patience)
        yield


def lock_of(folder: Path, name: str) -> Path:
    """The file that the lock `name` is on."""
    return folder / f".{name}.lock"


def is_locked(file: int) -> bool:
    """Does somebody else hold a lock on this open file?  If not, we hold it now, until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _take(file: int, patience: float | None) -> None:
    if patience is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    end = time.monotonic() + patience
    while is_locked(file):
        if time.monotonic() > end:
            raise TimeoutError
        # The kernel has no lock with a time limit.
        time.sleep(_LOOK_AGAIN)


def once(target: Path, make: Callable[[Path], None], patience: float | None = None) -> Path:
    """`target`, made by `make` if it is not there: in a folder beside it, moved in place when it is whole."""
    if target.exists():
        return target
    prefix = f"{MAKING}{target.name}-"
    with locked(target.parent, target.name, patience):
        if target.exists():
            return target
        import shutil
        import tempfile

        # We hold the lock, so these are of makers that were killed.
        for stale in target.parent.glob(f"{prefix}*"):
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            make(work / "it")
            (work / "it").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target
