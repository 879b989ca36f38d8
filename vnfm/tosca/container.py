"""Finds the package in what was handed over: a CSAR, a folder, one YAML file, a folder around all of it, or a signed
package inside a zip (SOL004 clause 5.1, option 2: the CSAR, its signature and a certificate, whatever they are called).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vnfm.tosca.archive import DAMAGE, Archive, UnsafeArchive, open_archive, open_zip
from vnfm.tosca.limits import Limits
from vnfm.tosca.manifest import META
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.signatures.cms import MAX_BYTES, looks_like_cms
from vnfm.tosca.signatures.trust import PEM_HEAD
from vnfm.tosca.signatures.verify import GOOD_DIGESTS

YAML_SUFFIXES = (".yaml", ".yml")
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What lay around a CSAR. `csar` is its name, `digests` its digests by hashlib's names; `signatures` and
    `certificates` are files' contents by name."""

    csar: str
    digests: dict[str, bytes]
    signatures: dict[str, bytes]
    certificates: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Opened:
    """The package's own files, and what lay around them."""

    archive: Archive
    envelope: Envelope | None = None


@contextmanager
def open_package(path: Path, limits: Limits, notes: Notes) -> Iterator[Opened]:
    """The package at `path`, checked. Raises UnsafeArchive where nothing of it can be used.

    A CSAR inside a zip is unpacked into a file without a name, so that nothing stays whatever happens.
    """
    if path.suffix.lower() in YAML_SUFFIXES and path.is_file():
        yield Opened(_Alone(path))
        return
    with open_archive(path, limits, notes) as outer:
        envelope = _envelope(outer, limits, notes)
        if envelope is None:
            yield Opened(_without_top_folder(outer, notes))
            return
        with tempfile.TemporaryFile(prefix="vnfm-csar-") as inner:
            digests = _unpack(outer, envelope.csar, inner, notes)
            with open_zip(inner, limits, notes) as archive:
                found = Envelope(envelope.csar, digests, envelope.signatures, envelope.certificates)
                if not _holds_entry(archive) and _zips(archive):
                    notes.error(
                        "package-nested",
                        "the package is inside more than one other archive",
                        hint="give the inner .csar",
                    )
                    raise UnsafeArchive
                yield Opened(_without_top_folder(archive, notes), found)


@dataclass(frozen=True)
class _Alone:
    """One YAML file as a package."""

    path: Path

    @property
    def sizes(self) -> dict[str, int]:
        return {self.path.name: self.path.stat().st_size}

    def stream(self, name: str) -> Iterator[bytes]:
        if name != self.path.name:
            raise KeyError(name)
        with self.path.open("rb") as source:
            while chunk := source.read(1024 * 1024):
                yield chunk


@dataclass(frozen=True)
class _Below:
    """The files of one folder of an archive."""

    archive: Archive
    prefix: str

    @property
    def sizes(self) -> dict[str, int]:
        return {name.removeprefix(self.prefix): size for name, size in self.archive.sizes.items()}

    def stream(self, name: str) -> Iterator[bytes]:
        return self.archive.stream(self.prefix + name)


def small_file(archive: Archive, name: str, most: int) -> bytes:
    """A file's content; empty where it is larger than that or damaged (which is said when every file is read)."""
    if archive.sizes[name] > most:
        return b""
    try:
        return b"".join(archive.stream(name))
    except DAMAGE:
        return b""


def _holds_entry(archive: Archive) -> bool:
    return META in archive.sizes or any("/" not in n and n.lower().endswith(YAML_SUFFIXES) for n in archive.sizes)


def _head(archive: Archive, name: str) -> bytes:
    try:
        return next(archive.stream(name), b"")[:4]
    except DAMAGE:
        return b""


def _zips(archive: Archive) -> list[str]:
    at_root = [n for n in archive.sizes if "/" not in n]
    return [n for n in at_root if n.lower().endswith(".csar") or _head(archive, n) == _ZIP]


def _envelope(outer: Archive, limits: Limits, notes: Notes) -> Envelope | None:
    """What surrounds the CSAR; None where this is the CSAR itself. Files are told by their content, never by name."""
    if _holds_entry(outer):
        return None
    zips = _zips(outer)
    if not zips:
        return None
    if len(zips) > 1:
        names = ", ".join(zips[:5])
        notes.error("package-nested", f"there are {len(zips)} packages in it: {names}", hint="give one of them")
        raise UnsafeArchive
    signatures, certificates = {}, {}
    for name in outer.sizes:
        if "/" in name or name == zips[0]:
            continue
        data = small_file(outer, name, MAX_BYTES)
        if looks_like_cms(data):
            signatures[name] = data
        elif PEM_HEAD in data or data[:1] == b"\x30" or name.lower().endswith((".cert", ".crt", ".cer", ".pem")):
            certificates[name] = data
        elif name.lower().endswith((".cms", ".p7s", ".sig", ".p7m")):
            signatures[name] = data  # said to be one: that it is not has to be told
        else:
            notes.warn("envelope-file", f"{name} beside the package is neither its signature nor a certificate")
    return Envelope(zips[0], {}, signatures, certificates)


def _unpack(outer: Archive, name: str, inner: IO[bytes], notes: Notes) -> dict[str, bytes]:
    """Copy the inner CSAR; its digests."""
    hashes = {a: hashlib.new(a) for a in GOOD_DIGESTS}
    try:
        for chunk in outer.stream(name):
            inner.write(chunk)
            for h in hashes.values():
                h.update(chunk)
    except DAMAGE as error:
        if isinstance(error, OSError):
            raise  # a full disk, not the archive
        notes.error("archive-damaged", f"{name} cannot be unpacked: {error}", Place(name), "write the archive anew")
        raise UnsafeArchive from error
    inner.flush()
    return {a: h.digest() for a, h in hashes.items()}


def _without_top_folder(archive: Archive, notes: Notes) -> Archive:
    """Where everything lies in one folder that is a whole package, that folder's files."""
    tops = {name.partition("/")[0] for name in archive.sizes}
    if len(tops) != 1 or any("/" not in n for n in archive.sizes):
        return archive
    below = _Below(archive, f"{next(iter(tops))}/")
    if not _holds_entry(below):
        return archive
    notes.warn(
        "package-below-folder",
        f"everything is inside the folder {below.prefix}",
        hint="SOL004 4.1: pack what is in the folder, not the folder",
    )
    return below
