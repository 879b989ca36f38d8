"""Packages whose Entry-Definitions names a zip with the VNFD in it, as some application packages of MEC have it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from vnfm.tosca.archive import DAMAGE, Archive, UnsafeArchive, open_zip, small_file
from vnfm.tosca.layout import find_meta
from vnfm.tosca.limits import MIB, Limits
from vnfm.tosca.manifest import as_text, parse_meta
from vnfm.tosca.names import clean_source
from vnfm.tosca.notes import Notes, Place

ZIP_HEAD = b"PK\x03\x04"
_IN_MEMORY_BYTES = 32 * MIB


def unnamed_file() -> AbstractContextManager[IO[bytes]]:
    """A file in memory, or where it grows one on the disk that has no name."""
    return tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, prefix="vnfm-csar-")


@dataclass(frozen=True)
class _Joined:
    """An archive, and the files of a zip in it as if that were a folder."""

    outer: Archive
    inner: Archive
    prefix: str

    @cached_property
    def sizes(self) -> dict[str, int]:
        inside = {f"{self.prefix}{name}": size for name, size in self.inner.sizes.items()}
        return dict(sorted({**self.outer.sizes, **inside}.items()))

    def stream(self, name: str) -> Iterator[bytes]:
        if name.startswith(self.prefix):
            return self.inner.stream(name.removeprefix(self.prefix))
        return self.outer.stream(name)


@contextmanager
def with_packed_entry(archive: Archive, limits: Limits, notes: Notes) -> Iterator[Archive]:
    """The archive, and with it the files of the zip that is its entry, if it is one."""
    name, at = _packed_entry(archive, limits)
    if not name:
        yield archive
        return
    notes.warn(
        "entry-packed",
        f"the entry {name} is a zip: the VNFD in it is read",
        at,
        "SOL004 4.1.2: Entry-Definitions names the VNFD itself",
    )
    with unnamed_file() as file:
        try:
            for chunk in archive.stream(name):
                file.write(chunk)
        except DAMAGE as error:
            notes.error("archive-damaged", f"{name} cannot be unpacked: {error}", Place(name))
            raise UnsafeArchive from error
        file.flush()
        with open_zip(file, limits, notes) as inner:
            yield _Joined(archive, inner, f"{name}/")


def _packed_entry(archive: Archive, limits: Limits) -> tuple[str, Place]:
    """Its name, empty where the entry is none, and where TOSCA.meta says so."""
    nothing = "", Place()
    meta = find_meta(archive)
    if not meta:
        return nothing
    said = parse_meta(as_text(small_file(archive, meta, limits.manifest_bytes)), Notes(), meta)
    name = clean_source(said.get("entry-definitions"))
    if name not in archive.sizes:
        return nothing
    try:
        is_zip = next(archive.stream(name), b"")[:4] == ZIP_HEAD
    except DAMAGE:
        return nothing
    return (name, said.place("entry-definitions")) if is_zip else nothing
