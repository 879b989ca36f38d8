"""Content-addressed files on disk: written beside, then renamed, so that a name that exists is whole."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO

from vnfm.model.problem import Retry, problem

CHUNK_BYTES = 1 << 20


class BlobStore:
    """Blobs below one folder, named by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Take away what a killed manager left half-written."""
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the blob lies or would lie."""
        return self._folder / sha256[:2] / sha256

    async def take(self, chunks: AsyncIterator[bytes]) -> str:
        """Store a stream; answers with its SHA-256. Raises ProblemError `no-space`."""
        with self.incoming() as part, full_disk_is_named():
            digest = hashlib.sha256()
            with part.open("wb") as file:
                async for chunk in chunks:
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
                # a disk may take seconds over this: calls and signals go on meanwhile
                await asyncio.to_thread(_flush, file)
            return await asyncio.to_thread(self._keep, part, digest.hexdigest())

    def take_file(self, write: Callable[[Path], object]) -> str:
        """Store what `write` puts into the path that it is given. Blocking. Raises ProblemError `no-space`."""
        with self.incoming() as part, full_disk_is_named():
            write(part)
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                _flush(file)
            return self._keep(part, digest)

    def delete(self, sha256: str) -> None:
        """Success also where there is none."""
        if sha256:
            self.path(sha256).unlink(missing_ok=True)

    def all(self) -> set[str]:
        """Every blob's name."""
        return {p.name for p in self._folder.glob("??/*")}

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """A path for something half-done; gone afterwards unless it was kept."""
        part = self._incoming / secrets.token_hex(8)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, part: Path, digest: str) -> str:
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True)
        part.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def full_disk_is_named() -> Iterator[None]:
    """Turns ENOSPC and EDQUOT into the Problem that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise problem(
            "no-space",
            "the disk that holds the manager's state folder is full; make room there, then try again",
            retry=Retry.SAME_CALL,
            title="No space left",
        ) from error
