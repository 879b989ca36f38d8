"""Which file of a package is what (ETSI GS NFV-SOL 004 clause 4.1): entry, manifest, change log, tests, licences."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vnfm.tosca.archive import Archive
from vnfm.tosca.container import YAML_SUFFIXES, small_file
from vnfm.tosca.digests import clean_source
from vnfm.tosca.limits import Limits
from vnfm.tosca.manifest import META, Manifest, Meta, as_text, parse_manifest, parse_meta
from vnfm.tosca.notes import Notes, Place

CERTIFICATE_SUFFIXES = (".cert", ".crt", ".cer", ".pem")
SIGNATURE_SUFFIXES = (".cms", ".p7s", ".sig", ".p7m", ".p7b")
_PARTS = {  # our word: TOSCA.meta's field, and what SOL004 4.1.2.3 calls it where there is no TOSCA.meta
    "change_log": ("entry-change-log", ("ChangeLog.txt", "changelog.txt", "CHANGELOG.txt", "Files/ChangeLog.txt")),
    "tests": ("entry-tests", ("Tests", "Files/Tests", "tests")),
    "licenses": ("entry-licenses", ("Licenses", "Files/Licenses", "licenses")),
    "certificate": ("entry-certificate", ()),
}
_TEMPLATE = re.compile(rb"^topology_template\s*:", re.M)


@dataclass(frozen=True, slots=True)
class Layout:
    """`entry` and `manifest_name` are empty where there is none; `parts` maps change_log, tests, licenses and
    certificate to the names of files in the package."""

    meta: Meta | None = None
    entry: str = ""
    manifest_name: str = ""
    manifest: Manifest = field(default_factory=Manifest)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_layout(archive: Archive, limits: Limits, notes: Notes) -> Layout:
    """Where things are; what is missing or named wrongly is noted."""
    meta = None
    if META in archive.sizes:
        meta = parse_meta(as_text(_small(archive, META, limits, notes)), notes)
    entry = _entry(archive, meta, limits, notes)
    name = _manifest_name(archive, meta, entry, notes)
    manifest = parse_manifest(_small(archive, name, limits, notes), name, notes) if name else Manifest()
    return Layout(meta, entry, name, manifest, _parts(archive, meta, notes))


def _small(archive: Archive, name: str, limits: Limits, notes: Notes) -> bytes:
    if archive.sizes[name] > limits.manifest_bytes:
        notes.error("manifest-too-large", f"{name} has more than {limits.manifest_bytes} bytes", Place(name))
    return small_file(archive, name, limits.manifest_bytes)


def _entry(archive: Archive, meta: Meta | None, limits: Limits, notes: Notes) -> str:
    """The name of the entry definitions; empty where there is none, with a finding."""
    if meta is not None and meta.get("entry-definitions"):
        entry = clean_source(meta.get("entry-definitions"))
        if entry not in archive.sizes:
            notes.error(
                "entry-missing",
                f"Entry-Definitions {entry} is not in the package",
                Place(META, 1, 1),
                "names are relative to the package's root",
            )
        return entry
    if meta is not None:
        notes.error(
            "entry-missing",
            "TOSCA.meta names no Entry-Definitions",
            Place(META, 1, 1),
            "add Entry-Definitions: FILE",
        )
        return ""
    found = [n for n in archive.sizes if "/" not in n and n.lower().endswith(YAML_SUFFIXES)]
    if len(found) == 1:
        return found[0]
    if guess := _likely_entry(archive, found, limits):
        notes.warn(
            "entry-guessed",
            f"{len(found)} YAML files at the root and no {META}: {guess} is taken as the entry",
            Place(guess),
            "SOL004 4.1.2: name the entry in TOSCA.meta, or put exactly one YAML at the root",
        )
        return guess
    what = f"{len(found)} YAML files at the root" if found else "no YAML file at the root"
    notes.error(
        "entry-missing",
        f"there is neither {META} nor a single YAML file at the root ({what})",
        hint="SOL004 4.1.2: name the entry in TOSCA.meta, or put exactly one YAML at the root",
    )
    return ""


def _likely_entry(archive: Archive, found: list[str], limits: Limits) -> str:
    """The only YAML of several that has a manifest of its name, or else the only one with a topology template."""
    named = [n for n in found if f"{posixpath.splitext(n)[0]}.mf" in archive.sizes]
    if len(named) == 1:
        return named[0]
    whole = [n for n in found[:20] if _TEMPLATE.search(small_file(archive, n, limits.yaml_bytes))]
    return whole[0] if len(whole) == 1 else ""


def _manifest_name(archive: Archive, meta: Meta | None, entry: str, notes: Notes) -> str:
    named = clean_source(meta.get("entry-manifest")) if meta else ""
    if named and named not in archive.sizes:
        notes.error("manifest-missing", f"the manifest {named} is not in the package", Place(META, 1, 1))
        return ""
    if named:
        return named
    stem = entry.rpartition(".")[0]
    candidates = [n for n in (f"{stem}.mf",) if n in archive.sizes]
    candidates += [n for n in archive.sizes if n.lower().endswith(".mf") and "/" not in n]
    if not candidates:
        notes.warn(
            "manifest-missing", "there is no manifest: no file's digest was checked", hint="SOL004 4.3 asks for it"
        )
    return candidates[0] if candidates else ""


def _parts(archive: Archive, meta: Meta | None, notes: Notes) -> dict[str, tuple[str, ...]]:
    parts: dict[str, tuple[str, ...]] = {}
    for word, (key, usual) in _PARTS.items():
        named = clean_source(meta.get(key)) if meta else ""
        files: tuple[str, ...] = ()
        for candidate in (named,) if named else usual:
            files = files or _at(archive, candidate)
        if named and not files:
            notes.warn("meta-absent-file", f"TOSCA.meta names {named}, which is not in the package", Place(META, 1, 1))
        if files:
            parts[word] = files
    return parts


def _at(archive: Archive, name: str) -> tuple[str, ...]:
    """The file of that name, or all files of that folder."""
    if name in archive.sizes:
        return (name,)
    folder = name.rstrip("/") + "/"
    return tuple(n for n in archive.sizes if n.startswith(folder))
