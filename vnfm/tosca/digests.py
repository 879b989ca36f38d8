"""Every file's size, SHA-256 and kind, and whether the digests that a package names hold (SOL004 clause 5.2)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from vnfm.tosca.archive import DAMAGE, Archive
from vnfm.tosca.manifest import DigestEntry
from vnfm.tosca.names import clean_source
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.sniff import Sniffer

ALGORITHMS = {"sha224": "sha224", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}
_CHANGED = "the file was changed after the manifest was written: build the package anew"
_CHANGED_SIGNED = "the file is not the one that was signed: get the package anew from its provider"
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file of the package. `kind` is what its bytes say it is: qcow2, oci-archive, docker-archive, tar or empty; a
    folder that is an image has the kind oci-layout."""

    size_bytes: int
    sha256: str
    kind: str = ""


def algorithm_name(written: str) -> str:
    """hashlib's name for what stands in a manifest (`SHA-256`, `sha256`); empty for one that SOL004 does not allow."""
    return ALGORITHMS.get(written.lower().replace("-", "").replace("_", ""), "")


def is_url(text: str) -> bool:
    """Whether it is a URL of whatever scheme."""
    return bool(_URL.match(text)) or text.lower().startswith("file:")


def survey(
    archive: Archive, entries: Iterable[DigestEntry], notes: Notes
) -> tuple[dict[str, PackageFile], dict[tuple[str, str], str]]:
    """Each file read once: the table of files, and the digests asked for by (name, algorithm)."""
    wanted: dict[str, set[str]] = {}
    for entry in entries:
        if algorithm := algorithm_name(entry.algorithm):
            wanted.setdefault(clean_source(entry.source), set()).add(algorithm)
    files: dict[str, PackageFile] = {}
    digests: dict[tuple[str, str], str] = {}
    for name, size in archive.sizes.items():
        hashes = {a: hashlib.new(a) for a in wanted.get(name, set()) | {"sha256"}}
        sniffer, seen = Sniffer(), 0
        try:
            for chunk in archive.stream(name):
                seen += len(chunk)
                sniffer.feed(chunk)
                for h in hashes.values():
                    h.update(chunk)
        except DAMAGE as error:
            if isinstance(error, OSError):
                notes.error("archive-unreadable", f"cannot read {name}: {error.strerror or error}", Place(name))
                continue
            notes.error("archive-damaged", f"{name} cannot be unpacked: {error}", Place(name), "write the archive anew")
            continue
        if seen != size:
            notes.error("archive-damaged", f"{name} has {seen} bytes where the archive says {size}", Place(name))
            continue
        sniffer.close()
        files[name] = PackageFile(seen, hashes["sha256"].hexdigest(), sniffer.kind)
        digests |= {(name, a): h.hexdigest() for a, h in hashes.items()}
    return files, digests


def verify(
    entries: Iterable[DigestEntry],
    files: dict[str, PackageFile],
    digests: dict[tuple[str, str], str],
    notes: Notes,
    *,
    strict: bool,
    signed: bool = False,
) -> bool:
    """Whether all digests hold. Notes each that does not: an error where strict, else a warning; where the package is
    `signed` it cannot be mended here."""
    holds = True

    def note(code: str, message: str, at: Place, hint: str = "") -> None:
        nonlocal holds
        holds = False
        (notes.error if strict else notes.warn)(code, message, at, hint)

    for entry in entries:
        source, at = clean_source(entry.source), entry.place
        if not entry.digest and not entry.algorithm:
            continue
        if is_url(entry.source):
            notes.warn("digest-external", f"{entry.source} is outside the package and was not checked", at)
        elif not entry.digest or not entry.algorithm:
            hint = "write both lines, or leave both out"
            note("digest-malformed", f"{entry.source}: Algorithm and Hash belong together", at, hint)
        elif not (algorithm := algorithm_name(entry.algorithm)):
            note("digest-algorithm", f"{entry.algorithm!r} is none of SHA-224, SHA-256, SHA-384, SHA-512", at)
        elif source not in files:
            note("digest-absent-file", f"{entry.source} is listed and not in the package", at, "add it or unlist it")
        elif not same(digests[source, algorithm], entry.digest):
            note(
                "digest-mismatch",
                f"{entry.source}: {entry.algorithm} is {digests[source, algorithm]}, the package says {entry.digest}",
                at,
                _CHANGED_SIGNED if signed else _CHANGED,
            )
    return holds


def same(actual: str, written: str) -> bool:
    """Whether two hexadecimal digests are equal."""
    return hmac.compare_digest(actual.encode(), written.strip().lower().encode())
