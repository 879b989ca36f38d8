"""From a path to what is known of the package: the archive, its digests, its VNFD and all that was noticed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vnfm.model.package import Finding, Severity
from vnfm.model.problem import problem
from vnfm.model.vnfd import Vnfd
from vnfm.tosca.archive import Archive, UnsafeArchive, open_archive
from vnfm.tosca.digests import PackageFile, clean_source, same, survey, verify
from vnfm.tosca.disk import full_disk_is_named
from vnfm.tosca.limits import Limits
from vnfm.tosca.manifest import META, Manifest, Meta, parse_manifest, parse_meta
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.worker import run_child

YAML_SUFFIXES = (".yaml", ".yml")
NESTED_SUFFIXES = (".csar", ".zip")
_NAMED_FILES = ("entry-change-log", "entry-licenses", "entry-certificate")

Digests = Literal["strict", "warn"]


@dataclass(frozen=True, slots=True)
class PackageReading:
    """What a reading found. `ok` where nothing refuses the package: then `vnfd` is there.

    `files` maps each name to size, SHA-256 and kind; `metadata` holds the fields of TOSCA.meta (in lower case, without
    `etsi-`) and of the manifest.
    """

    path: Path
    ok: bool
    findings: tuple[Finding, ...]
    vnfd: Vnfd | None
    files: Mapping[str, PackageFile] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    entry: str = ""
    limits: Limits = field(default_factory=Limits)

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
                open_archive(self.path, self.limits, Notes()) as archive,
            ):
                for chunk in archive.stream(name):
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


def default_types_folder() -> Path:
    """Where our own type definitions lie: descriptors/types in a checkout, inside the package where it is installed."""
    here = Path(__file__).resolve().parent
    checkout = here.parent.parent / "descriptors" / "types"
    return checkout if checkout.is_dir() else here / "definitions"


def read_package(
    path: Path,
    *,
    digests: Digests = "strict",
    flavour: str | None = None,
    types: Path | None = None,
    limits: Limits | None = None,
) -> PackageReading:
    """Read a VNF package: a CSAR, or a folder with the same files. Never raises for what is in it.

    Raises ProblemError no-space where the folder for temporary files is full.

    `digests` says whether a digest that does not hold refuses the package. With `flavour` only that one is read. Blocks
    for the time of a child process (about 0.3 s); may be called from several threads at once.
    """
    limits, notes = limits or Limits(), Notes()
    if not path.exists():
        notes.error("package-absent", f"{path} does not exist", hint="give a .csar file or a folder")
        return _result(path, notes, limits)
    try:
        with full_disk_is_named(Path(tempfile.gettempdir())), open_archive(path, limits, notes) as archive:
            return _read(path, archive, digests == "strict", flavour, types or default_types_folder(), limits, notes)
    except UnsafeArchive:
        return _result(path, notes, limits)


def _read(
    path: Path, archive: Archive, strict: bool, flavour: str | None, types: Path, limits: Limits, notes: Notes
) -> PackageReading:
    meta = parse_meta(_text(archive, META, limits, notes), notes) if META in archive.sizes else None
    entry = _entry(archive, meta, notes)
    manifest_name = _manifest_name(archive, meta, entry, notes)
    text = _text(archive, manifest_name, limits, notes) if manifest_name else ""
    manifest = parse_manifest(text, manifest_name, notes) if manifest_name else Manifest()
    listed = [*manifest.digests, *(meta.digests if meta else ())]
    files, computed = survey(archive, listed, notes)
    verify(listed, files, computed, notes, strict=strict)
    _check_listed(manifest, manifest_name, files, notes)
    vnfd = None
    if entry in files:
        with tempfile.TemporaryDirectory(prefix="vnfm-package-") as folder:
            work = Path(folder)
            _stage(archive, entry, work / "root", files, limits, notes)
            if not (work / "root" / entry).is_file():
                return _result(path, notes, limits, None, files)
            vnfd, later = run_child(
                work,
                entry=entry,
                files=files,
                types=types,
                strict=strict,
                flavour=flavour,
                limits=limits,
                notes=notes,
            )
        for name, algorithm, written, at in later:
            actual = _digest(archive, name, algorithm)
            if not same(actual, written):
                note = notes.error if strict else notes.warn
                note("image-checksum", f"{name}: {algorithm} is {actual}, the VNFD says {written}", at)
    metadata = {**(meta.fields if meta else {}), **manifest.metadata}
    return _result(path, notes, limits, vnfd, files, metadata, entry)


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
    return PackageReading(path, ok, findings, vnfd if ok else None, files or {}, metadata or {}, entry, limits)


def _entry(archive: Archive, meta: Meta | None, notes: Notes) -> str:
    """The name of the entry definitions; empty where there is none, with a finding."""
    at_root = [n for n in archive.sizes if "/" not in n]
    if meta is not None:
        entry = clean_source(meta.get("entry-definitions"))
        if not entry:
            notes.error(
                "entry-missing",
                "TOSCA.meta names no Entry-Definitions",
                Place(META, 1, 1),
                "add Entry-Definitions: FILE",
            )
        elif entry not in archive.sizes:
            notes.error(
                "entry-missing",
                f"Entry-Definitions {entry} is not in the package",
                Place(META, 1, 1),
                "names are relative to the package's root",
            )
        return entry
    found = [n for n in at_root if n.endswith(YAML_SUFFIXES)]
    if len(found) == 1:
        return found[0]
    if not found and any(n.lower().endswith(NESTED_SUFFIXES) for n in at_root):
        notes.error("package-nested", "the package is inside another archive", hint="give the inner .csar")
    else:
        what = f"{len(found)} YAML files at the root" if found else "no YAML file at the root"
        notes.error(
            "entry-missing",
            f"there is neither {META} nor a single YAML file at the root ({what})",
            hint="SOL004 4.1.2: name the entry in TOSCA.meta, or put exactly one YAML at the root",
        )
    return ""


def _manifest_name(archive: Archive, meta: Meta | None, entry: str, notes: Notes) -> str:
    named = clean_source(meta.get("entry-manifest")) if meta else ""
    if named and named not in archive.sizes:
        notes.error("manifest-missing", f"the manifest {named} is not in the package", Place(META, 1, 1))
        return ""
    for key in _NAMED_FILES if meta else ():
        value = clean_source(meta.get(key)) if meta else ""
        if (
            value
            and value not in archive.sizes
            and not any(n.startswith(value.rstrip("/") + "/") for n in archive.sizes)
        ):
            notes.warn("meta-absent-file", f"TOSCA.meta names {value}, which is not in the package", Place(META, 1, 1))
    if named:
        return named
    stem = entry.rpartition(".")[0]
    candidates = [n for n in (f"{stem}.mf",) if n in archive.sizes]
    candidates += [n for n in archive.sizes if n.endswith(".mf") and "/" not in n]
    if not candidates:
        notes.warn(
            "manifest-missing", "there is no manifest: no file's digest was checked", hint="SOL004 4.3 asks for it"
        )
    return candidates[0] if candidates else ""


def _check_listed(manifest: Manifest, name: str, files: Mapping[str, PackageFile], notes: Notes) -> None:
    if manifest.signed:
        notes.warn("signature-unchecked", "the manifest's signature was not checked", Place(name))
    if not manifest.digests:
        return
    listed = {clean_source(d.source) for d in manifest.digests} | {name, META}
    for other in files:
        if other not in listed:
            notes.warn("digest-missing", f"{other} is not listed in the manifest", Place(name), "list it with its hash")


def _text(archive: Archive, name: str, limits: Limits, notes: Notes) -> str:
    if archive.sizes[name] > limits.manifest_bytes:
        notes.error("manifest-too-large", f"{name} has more than {limits.manifest_bytes} bytes", Place(name))
        return ""
    try:
        return b"".join(archive.stream(name)).decode("utf-8", "replace")
    except (zipfile.BadZipFile, EOFError, OSError, ValueError):
        return ""  # said again, by name, when every file is read


def _stage(
    archive: Archive, entry: str, root: Path, files: Mapping[str, PackageFile], limits: Limits, notes: Notes
) -> None:
    """Copy out what the child may look at: YAML files and small texts."""
    root.mkdir()
    left = limits.staged_bytes
    for name, held in files.items():
        is_yaml = name == entry or name.lower().endswith(YAML_SUFFIXES)
        if held.size_bytes > (limits.yaml_bytes if is_yaml else limits.text_bytes):
            if name == entry:
                notes.error("yaml-too-large", f"{name} has more than {limits.yaml_bytes} bytes", Place(name))
            continue
        left -= held.size_bytes
        if left < 0:
            notes.error("archive-size", f"more than {limits.staged_bytes} bytes of small files")
            return
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            for chunk in archive.stream(name):
                out.write(chunk)


def _digest(archive: Archive, name: str, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    for chunk in archive.stream(name):
        digest.update(chunk)
    return digest.hexdigest()
