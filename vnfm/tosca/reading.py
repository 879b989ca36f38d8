"""From a path to what is known of the package: the archive, its digests, its VNFD and all that was noticed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from vnfm.model.package import Finding, Severity
from vnfm.model.problem import problem
from vnfm.model.vnfd import Vnfd
from vnfm.tosca.archive import Archive, UnsafeArchive
from vnfm.tosca.container import Opened, open_package
from vnfm.tosca.digests import PackageFile, same, survey, verify
from vnfm.tosca.disk import full_disk_is_named
from vnfm.tosca.layout import read_layout
from vnfm.tosca.limits import Limits
from vnfm.tosca.names import is_yaml
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.ocifolder import stream_folder, survey_folders
from vnfm.tosca.signed import SignaturePolicy, SignatureReport, check_covered, check_signatures, is_signed
from vnfm.tosca.sol001 import default_types_folder
from vnfm.tosca.worker import run_child

Digests = Literal["auto", "strict", "warn"]
_TEMPORARY = Path(os.environ.get("TMPDIR") or "/tmp")  # asking tempfile writes there, and fails where there is no room


@dataclass(frozen=True, slots=True)
class _Wanted:
    digests: Digests
    signature: SignaturePolicy
    flavour: str | None
    types: Path


@dataclass(frozen=True, slots=True)
class PackageReading:
    """What a reading found. `ok` where nothing refuses the package: then `vnfd` is there.

    `files` maps each name to size, SHA-256 and kind, an image's folder too (an OCI image layout: those of its archive);
    `metadata` holds the fields of TOSCA.meta (in lower case, without `etsi-`) and of the manifest; `parts` names the
    files of change_log, tests, licenses and certificate; `artifact_sets` what the manifest names as non-MANO artifacts,
    by set. `known` is what could be read of the VNFD also where the package is refused.
    """

    path: Path
    ok: bool
    findings: tuple[Finding, ...]
    vnfd: Vnfd | None
    files: Mapping[str, PackageFile] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    entry: str = ""
    limits: Limits = field(default_factory=Limits)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signature: SignatureReport = field(default_factory=SignatureReport)
    artifact_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known: Vnfd | None = None

    def extract(self, name: str, dest: Path) -> None:
        """Write one file of the package to `dest`, which appears whole or not at all.

        Raises ProblemError: not-found for a name that is not in the package, data-loss where the package has changed
        since it was read, no-space where the disk is full.
        """
        expected = self.files.get(name)
        if expected is None:
            raise problem("not-found", f"the package has no file {name}", instance=name)
        handle, partial = tempfile.mkstemp(prefix=f".{dest.name}.", dir=dest.parent)
        try:
            digest = hashlib.sha256()
            with (
                full_disk_is_named(dest.parent),
                os.fdopen(handle, "wb") as out,
                open_package(self.path, self.limits, Notes()) as opened,
            ):
                for chunk in stream_file(opened.archive, name):
                    digest.update(chunk)
                    out.write(chunk)
            if digest.hexdigest() != expected.sha256:
                raise problem("data-loss", f"{name} has changed since the package was read", instance=name)
            os.replace(partial, dest)
        except (UnsafeArchive, KeyError, zipfile.BadZipFile, EOFError) as error:
            raise problem("data-loss", f"{name} can no longer be read from the package", instance=name) from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)


def read_package(
    path: Path,
    *,
    digests: Digests = "strict",
    signature: SignaturePolicy | None = None,
    flavour: str | None = None,
    types: Path | None = None,
    limits: Limits | None = None,
) -> PackageReading:
    """Read a VNF package: a CSAR, a signed one in a zip, a folder with the same files. Never raises for what is in it.

    Raises ProblemError no-space where the folder for temporary files is full.

    `digests` says whether a digest that does not hold refuses the package (auto: where it is signed; warn
    does not count where a signature is relied upon); `signature`
    whether it has to be signed, and by whom: one that is there and does not hold always refuses. With `flavour` only
    that one is read. Blocks for the time of a child process (about 0.3 s); may be called from several threads at once.
    """
    limits, notes = limits or Limits(), Notes(_name(path))
    if not os.path.exists(path):
        notes.error("package-absent", f"{path} does not exist", hint="give a .csar file or a folder")
        return _result(path, notes, limits)
    try:
        with full_disk_is_named(_TEMPORARY), open_package(path, limits, notes) as opened:
            wanted = _Wanted(digests, signature or SignaturePolicy(), flavour, types or default_types_folder())
            return _read(path, opened, wanted, limits, notes)
    except UnsafeArchive:
        return _result(path, notes, limits)


def _name(path: Path) -> str:
    """What people call the package; empty where the file is one of ours, which has no suffix."""
    return os.path.basename(os.path.abspath(path)) if path.suffix or os.path.isdir(path) else ""


def _read(path: Path, opened: Opened, wanted: _Wanted, limits: Limits, notes: Notes) -> PackageReading:
    archive = opened.archive
    exact = wanted.digests == "strict" or bool(opened.envelope and opened.envelope.signatures)
    layout = read_layout(archive, limits, notes, strict=exact, alone=opened.alone)
    entry, manifest = layout.entry, layout.manifest
    claims = is_signed(layout, opened.envelope, archive)
    strict = wanted.digests == "strict" or (wanted.digests == "auto" and claims)
    listed = [*manifest.digests, *(layout.meta.digests if layout.meta else ())]
    files, computed = survey(archive, listed, notes)
    signed = check_signatures(archive, layout, opened.envelope, wanted.signature, notes)
    firm = strict or signed.binding
    holds = verify(listed, files, computed, notes, strict=firm, signed=claims)
    report = check_covered(layout, files, signed, notes, strict=firm, broken=not holds)
    files |= survey_folders(archive, files, notes, strict=strict)
    vnfd = None
    if entry in files:
        texts = _texts(archive, entry, files, limits, notes)
        if entry not in texts:
            return _result(path, notes, limits, None, files)
        vnfd, later = run_child(
            texts,
            entry=entry,
            files=files,
            types=wanted.types,
            strict=strict,
            flavour=wanted.flavour,
            limits=limits,
            notes=notes,
        )
        for name, algorithm, written, at in later:
            actual = _digest(archive, name, algorithm)
            if not same(actual, written):
                note = notes.error if strict else notes.warn
                note("image-checksum", f"{name}: {algorithm} is {actual}, the VNFD says {written}", at)
    metadata = {**(layout.meta.fields if layout.meta else {}), **manifest.metadata}
    found = _result(path, notes, limits, vnfd, files, metadata, entry)
    return replace(found, parts=layout.parts, signature=report, artifact_sets=manifest.artifact_sets)


def _result(
    path: Path,
    notes: Notes,
    limits: Limits,
    vnfd: Vnfd | None = None,
    files: Mapping[str, PackageFile] | None = None,
    metadata: Mapping[str, str] | None = None,
    entry: str = "",
) -> PackageReading:
    findings = tuple(sorted(notes.findings, key=lambda f: (f.severity is not Severity.ERROR, f)))
    ok = vnfd is not None and not notes.failed
    reading = PackageReading(path, ok, findings, vnfd if ok else None, files or {}, metadata or {}, entry, limits)
    return replace(reading, known=vnfd)


def _texts(
    archive: Archive, entry: str, files: Mapping[str, PackageFile], limits: Limits, notes: Notes
) -> dict[str, bytes]:
    """What the child may look at: YAML files and small texts."""
    texts: dict[str, bytes] = {}
    left = limits.staged_bytes
    for name, held in files.items():
        if name not in archive.sizes:
            continue  # an image's folder
        is_text = name == entry or is_yaml(name)
        if held.size_bytes > (limits.yaml_bytes if is_text else limits.text_bytes):
            if name == entry:
                notes.error("yaml-too-large", f"{name} has more than {limits.yaml_bytes} bytes", Place(name))
            continue
        left -= held.size_bytes
        if left < 0:
            notes.error("archive-size", f"more than {limits.staged_bytes} bytes of small files")
            return texts
        texts[name] = b"".join(archive.stream(name))
    return texts


def stream_file(archive: Archive, name: str) -> Iterator[bytes]:
    """A file's content, or the archive of an image that lies there as a folder. Raises KeyError."""
    return archive.stream(name) if name in archive.sizes else stream_folder(archive, name)


def _digest(archive: Archive, name: str, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    for chunk in stream_file(archive, name):
        digest.update(chunk)
    return digest.hexdigest()
