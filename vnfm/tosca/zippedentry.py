"""Packages whose entry is an archive in the package, as MEC portals write them: the YAML is in there.

Its files count as lying beside it, so that they have names of their own.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from vnfm.tosca.archive import DAMAGE, Archive, open_zip, small_file
from vnfm.tosca.entry import likely_entry
from vnfm.tosca.layout import find_meta
from vnfm.tosca.limits import Limits
from vnfm.tosca.manifest import as_text, parse_meta
from vnfm.tosca.names import clean_source
from vnfm.tosca.notes import Notes, Place

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class _Beside:
    """An archive, and the files of another that lies in it, in the folder `prefix`. Its own files come first."""

    outer: Archive
    inner: Archive
    prefix: str

    @cached_property
    def sizes(self) -> dict[str, int]:
        return {posixpath.join(self.prefix, n): size for n, size in self.inner.sizes.items()} | self.outer.sizes

    def stream(self, name: str) -> Iterator[bytes]:
        if name in self.outer.sizes or not name.startswith(f"{self.prefix}/" if self.prefix else ""):
            return self.outer.stream(name)
        return self.inner.stream(name[len(self.prefix) + 1 :] if self.prefix else name)


@contextmanager
def with_zipped_entry(archive: Archive, limits: Limits, notes: Notes) -> Iterator[tuple[Archive, str]]:
    """The archive, and where its entry is an archive too, that one's files as well and the name of the entry in it.

    Raises UnsafeArchive where nothing of the inner one can be used.
    """
    meta, entry, line = _named(archive, limits)
    if not entry:
        yield archive, ""
        return
    with tempfile.TemporaryFile(prefix="vnfm-entry-") as packed:
        for chunk in archive.stream(entry):
            packed.write(chunk)
        packed.flush()
        with open_zip(packed, limits, notes) as inner:
            name = _entry_of(inner, limits)
            if not name:
                yield archive, ""
                return
            notes.warn(
                "entry-archive",
                f"the entry {entry} is an archive: {name} in it was read",
                Place(meta, line, 1),
                "put its files into the package and name the YAML file",
            )
            whole = _Beside(archive, inner, posixpath.dirname(entry))
            yield whole, posixpath.join(whole.prefix, name)


def _named(archive: Archive, limits: Limits) -> tuple[str, str, int]:
    """TOSCA.meta, the archive that it names as the entry, and the line; empty where there is none."""
    meta = find_meta(archive)
    text = as_text(small_file(archive, meta, limits.manifest_bytes)) if meta else ""
    entry = clean_source(parse_meta(text, Notes(), meta).get("entry-definitions")) if text else ""
    try:
        is_zip = entry in archive.sizes and next(iter(archive.stream(entry)), b"")[:4] == _ZIP
    except DAMAGE:
        is_zip = False
    lines = [n for n, written in enumerate(text.splitlines(), 1) if "entry-definitions" in written.lower()]
    return (meta, entry, lines[0] if lines else 1) if is_zip else ("", "", 0)


def _entry_of(inner: Archive, limits: Limits) -> str:
    """The YAML that a metadata file at the root names, or the only one that can be it."""
    for name in inner.sizes:
        if ("/" in name and not name.lower().startswith("tosca-metadata/")) or not name.lower().endswith(".meta"):
            continue
        text = as_text(small_file(inner, name, limits.manifest_bytes))
        entry = clean_source(parse_meta(text, Notes(), name).get("entry-definitions"))
        if entry in inner.sizes:
            return entry
    return likely_entry(inner, limits)
