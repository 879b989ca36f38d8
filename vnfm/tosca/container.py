"""Finds the package in what was handed over: a CSAR, a folder, one YAML file, a folder around all of it, or a signed
package inside a zip (SOL004 clause 5.1, option 2: the CSAR, its signature and a certificate, whatever they are called).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from vnfm.tosca.archive import CHUNK, DAMAGE, Archive, Below, UnsafeArchive, open_archive, open_zip, small_file
from vnfm.tosca.entry import MOST_FILES, is_tosca, likely_entry
from vnfm.tosca.entryzip import unnamed_file, with_packed_entry
from vnfm.tosca.layout import find_meta
from vnfm.tosca.limits import Limits
from vnfm.tosca.names import is_junk, is_yaml
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.signatures.cms import MAX_BYTES, looks_like_cms
from vnfm.tosca.signatures.trust import PEM_HEAD
from vnfm.tosca.signatures.verify import GOOD_DIGESTS

MOST_FOLDERS = 4  # around a package
_FILE = re.compile(rb"""\bfile\s*:\s*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"'{}\[\],#][^\s{}\[\],]*))""")
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
    """The package's own files, and what lay around them. `alone` is the file's name where it is one YAML file."""

    archive: Archive
    envelope: Envelope | None = None
    alone: str = ""


@contextmanager
def open_package(path: Path, limits: Limits, notes: Notes) -> Iterator[Opened]:
    """The package at `path`, checked. Raises UnsafeArchive where nothing of it can be used.

    A zip inside is unpacked into memory, or where it is large into a file without a name: nothing stays whatever
    happens.
    """
    if is_yaml(path.name) and path.is_file():
        notes.warn(
            "package-yaml-only",
            "this is one YAML file, no package: of the files beside it only those that it names are looked at",
            hint="a package is a CSAR, or a folder with the same files",
        )
        yield Opened(_Beside(path.parent, _named(path, limits)), alone=path.name)
        return
    with open_archive(path, limits, notes) as whole:
        outer = _without_top_folder(whole, limits, notes)
        envelope = _envelope(outer, limits, notes)
        if envelope is None:
            with with_packed_entry(outer, limits, notes) as archive:
                yield Opened(archive)
            return
        with unnamed_file() as inner:
            digests = _unpack(outer, envelope.csar, inner, notes)
            with open_zip(inner, limits, notes) as packed:
                archive = _without_top_folder(packed, limits, notes)
                found = Envelope(envelope.csar, digests, envelope.signatures, envelope.certificates)
                if not _holds_entry(archive, limits) and _zips(archive):
                    notes.error(
                        "package-nested",
                        "the package is inside more than one other archive",
                        hint="give the inner .csar",
                    )
                    raise UnsafeArchive
                with with_packed_entry(archive, limits, notes) as joined:
                    yield Opened(joined, found)


@dataclass(frozen=True)
class _Beside:
    """Files of one folder."""

    folder: Path
    sizes: dict[str, int]

    def stream(self, name: str) -> Iterator[bytes]:
        if name not in self.sizes:
            raise KeyError(name)
        with (self.folder / name).open("rb") as source:
            while chunk := source.read(CHUNK):
                yield chunk


def _named(path: Path, limits: Limits) -> dict[str, int]:
    """A YAML file, those beside it whose names stand in it, or in one of these, and the artifacts that these name, with
    their sizes. What cannot be read is told when every file is."""
    sizes = {path.name: path.stat().st_size}
    beside: dict[str, int] = {}
    artifacts: dict[str, int] = {}
    with suppress(OSError):
        for item in islice(os.scandir(path.parent), limits.entries):
            if is_yaml(item.name) and item.is_file(follow_symlinks=False) and item.name not in sizes:
                beside[item.name] = item.stat().st_size
    pending = [path.name]
    while pending and len(sizes) <= limits.imports:
        name, text = pending.pop(), b""
        if sizes[name] <= limits.yaml_bytes:
            with suppress(OSError):
                text = (path.parent / name).read_bytes()
        reached = [n for n in beside if os.fsencode(n) in text]
        sizes |= {n: beside.pop(n) for n in reached}
        pending += reached
        artifacts |= _artifacts(path.parent, text, limits.entries)
    return artifacts | sizes


def _artifacts(folder: Path, text: bytes, most: int) -> dict[str, int]:
    """The files below `folder` that a template names as `file`, with their sizes; nothing outside, and no links."""
    found: dict[str, int] = {}
    root = folder.resolve()
    for match in islice(_FILE.finditer(text), most):
        written = next(g for g in match.groups() if g).decode(errors="replace")
        name = posixpath.normpath(written.lstrip("/"))
        with suppress(OSError, ValueError):
            inside = not is_yaml(name) and (root / name).resolve() == root / name
            if inside and (root / name).is_file():
                found[name] = (root / name).stat().st_size
    return found


def _holds_entry(archive: Archive, limits: Limits) -> bool:
    """Whether this is a package by itself: a TOSCA.meta, or a TOSCA file at the root."""
    at_root = [n for n in archive.sizes if "/" not in n and is_yaml(n) and not is_junk(n)]
    return bool(find_meta(archive)) or any(is_tosca(archive, n, limits) for n in at_root[:MOST_FILES])


def _head(archive: Archive, name: str) -> bytes:
    try:
        return next(archive.stream(name), b"")[:4]
    except DAMAGE:
        return b""


def _zips(archive: Archive) -> list[str]:
    at_root = [n for n in archive.sizes if "/" not in n and not is_junk(n)]
    return [n for n in at_root if n.lower().endswith(".csar") or _head(archive, n) == _ZIP]


def _envelope(outer: Archive, limits: Limits, notes: Notes) -> Envelope | None:
    """What surrounds the CSAR; None where this is the CSAR itself. Files are told by their content, never by name."""
    zips = _zips(outer)
    if not zips or _holds_entry(outer, limits) or likely_entry(outer, limits):
        return None
    if len(zips) > 1:
        names = ", ".join(zips[:5])
        notes.error("package-nested", f"there are {len(zips)} packages in it: {names}", hint="give one of them")
        raise UnsafeArchive
    signatures, certificates = {}, {}
    for name in outer.sizes:
        if "/" in name or name == zips[0] or is_junk(name):
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


def _without_top_folder(archive: Archive, limits: Limits, notes: Notes) -> Archive:
    """Where everything lies in one folder that is a whole package, or in a folder of that folder, its files."""
    inner, prefix = archive, ""
    for _ in range(MOST_FOLDERS):
        tops = {name.partition("/")[0] for name in inner.sizes if not is_junk(name)}
        if len(tops) != 1 or any("/" not in n and not is_junk(n) for n in inner.sizes):
            return archive
        prefix += f"{next(iter(tops))}/"
        inner = Below(archive, prefix)
        if _holds_entry(inner, limits) or _zips(inner):
            notes.warn(
                "package-below-folder",
                f"everything is inside the folder {prefix}",
                hint="SOL004 4.1: pack what is in the folder, not the folder",
            )
            return inner
    return archive
