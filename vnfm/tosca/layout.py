"""Which file of a package is what (ETSI GS NFV-SOL 004 clause 4.1): entry, manifest, change log, tests, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vnfm.tosca.archive import Archive, Below, small_file
from vnfm.tosca.digests import is_url
from vnfm.tosca.entry import is_tosca, likely_entry
from vnfm.tosca.limits import Limits
from vnfm.tosca.manifest import META, Manifest, Meta, as_text, parse_manifest, parse_meta
from vnfm.tosca.names import clean_source, is_junk, is_yaml, meant
from vnfm.tosca.notes import Notes, Place

CERTIFICATE_SUFFIXES = (".cert", ".crt", ".cer", ".pem")
SIGNATURE_SUFFIXES = (".cms", ".p7s", ".sig", ".p7m", ".p7b")
_PARTS = {  # our word: TOSCA.meta's field, and what SOL004 4.1.2.3 calls it where there is no TOSCA.meta
    "change_log": ("entry-change-log", ("ChangeLog.txt", "Artifacts/ChangeLog.txt", "Files/ChangeLog.txt")),
    "tests": ("entry-tests", ("Tests", "Artifacts/Tests", "Files/Tests")),
    "licenses": ("entry-licenses", ("Licenses", "Artifacts/Licenses", "Files/Licenses")),
    "certificate": ("entry-certificate", ()),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """`entry` and `manifest_name` are empty where there is none; `parts` maps change_log, tests, licenses and
    certificate to the names of files in the package."""

    meta: Meta | None = None
    entry: str = ""
    manifest_name: str = ""
    manifest: Manifest = field(default_factory=Manifest)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_layout(archive: Archive, limits: Limits, notes: Notes, *, strict: bool = False, alone: str = "") -> Layout:
    """Where things are; what is missing or named wrongly is noted. With `strict` a manifest that is named has to be
    there; `alone` names the entry of what is no package, of which nothing else is expected."""
    if alone:
        return Layout(entry=alone)
    meta = None
    if meta_name := find_meta(archive):
        if meta_name != META:
            hint = f"SOL004 4.1.2: call it {META}"
            notes.warn("meta-place", f"{meta_name} is taken as {META}", Place(meta_name), hint)
        meta = parse_meta(as_text(_small(archive, meta_name, limits, notes)), notes, meta_name)
    entry = _entry(archive, meta, limits, notes)
    name = _manifest_name(archive, meta, entry, notes, strict=strict)
    manifest = parse_manifest(_small(archive, name, limits, notes), name, notes) if name else Manifest()
    _check_sets(archive, manifest, notes)
    return Layout(meta, entry, name, manifest, _parts(archive, meta, notes))


def find_meta(archive: Archive) -> str:
    """The name of TOSCA.meta, which some write in another case or put at the root; empty where there is none."""
    if META in archive.sizes:
        return META
    alike = {n.lower(): n for n in archive.sizes if n.lower() in (META.lower(), "tosca.meta") and not is_junk(n)}
    return alike.get(META.lower(), alike.get("tosca.meta", ""))


def _small(archive: Archive, name: str, limits: Limits, notes: Notes) -> bytes:
    if archive.sizes[name] > limits.manifest_bytes:
        notes.error("manifest-too-large", f"{name} has more than {limits.manifest_bytes} bytes", Place(name))
    return small_file(archive, name, limits.manifest_bytes)


def _entry(archive: Archive, meta: Meta | None, limits: Limits, notes: Notes) -> str:
    """The name of the entry definitions; empty where there is none, with a finding."""
    written = meta.get("entry-definitions") if meta else ""
    if written and clean_source(written) in archive.sizes:
        named = clean_source(written)
        return _inside(archive, f"{named}/", limits) or named
    at_root = [n for n in archive.sizes if "/" not in n and is_yaml(n) and not is_junk(n)]
    if meta is None and len(at_root) == 1 and (len(archive.sizes) == 1 or is_tosca(archive, at_root[0], limits)):
        return at_root[0]
    hint = "SOL004 4.1.2: name the entry in TOSCA.meta, or put exactly one YAML at the root"
    if meta is None:
        count = f"{len(at_root)} YAML files" if at_root else "no YAML file"
        at, what = Place(), f"there is neither {META} nor a single VNFD at the root ({count} there)"
    elif written:
        at, what = meta.place("entry-definitions"), f"Entry-Definitions {written} is not in the package"
        hint = "names are relative to the package's root"
    else:
        at, what = meta.place("entry-definitions"), f"{meta.name} names no Entry-Definitions"
        hint = "add Entry-Definitions: FILE"
    guess = (meant(filter(is_yaml, archive.sizes), written) if written else "") or likely_entry(archive, limits)
    if not guess:
        notes.error("entry-missing", what, at, hint)
        return clean_source(written)
    notes.warn("entry-guessed", f"{what}: {guess} is taken as the entry", at if meta else Place(guess), hint)
    return guess


def _inside(archive: Archive, prefix: str, limits: Limits) -> str:
    """The entry within what is a zip and a folder (vnfm.tosca.entryzip); empty where there is none."""
    inner = Below(archive, prefix)
    metas = [n for n in inner.sizes if n.lower().endswith(".meta") and not is_junk(n)]
    for name in metas:
        said = parse_meta(as_text(small_file(inner, name, limits.manifest_bytes)), Notes(), name)
        if (named := clean_source(said.get("entry-definitions"))) in inner.sizes:
            return prefix + named
    guess = likely_entry(inner, limits) if inner.sizes else ""
    return prefix + guess if guess else ""


def _manifest_name(archive: Archive, meta: Meta | None, entry: str, notes: Notes, *, strict: bool) -> str:
    written = meta.get("entry-manifest") if meta else ""
    if meta and written:
        at, named = meta.place("entry-manifest"), clean_source(written)
        if named in archive.sizes:
            return named
        if guess := meant((n for n in archive.sizes if n.lower().endswith(".mf")), written):
            hint = "names are relative to the package's root, in their own case"
            notes.warn("manifest-guessed", f"the manifest {written} is not in the package: {guess} is taken", at, hint)
            return guess
        note = notes.error if strict else notes.warn
        note("manifest-missing", f"the manifest {written} is not in the package: no file's digest was checked", at)
        return ""
    stem = entry.rpartition(".")[0]
    manifests = [n for n in archive.sizes if n.lower().endswith(".mf") and not is_junk(n)]
    candidates = [n for n in (f"{stem}.mf",) if n in archive.sizes] + [n for n in manifests if "/" not in n]
    candidates += [n for n in manifests if not n.upper().startswith("META-INF/")] if len(manifests) == 1 else []
    if not candidates:
        notes.warn(
            "manifest-missing", "there is no manifest: no file's digest was checked", hint="SOL004 4.3 asks for it"
        )
    return candidates[0] if candidates else ""


def _check_sets(archive: Archive, manifest: Manifest, notes: Notes) -> None:
    """Files of the non-MANO artifact sets that are nowhere; one with a digest is noted with that."""
    places = dict(manifest.sources)
    hashed = {d.source for d in manifest.digests if d.digest}
    held = {n.lower() for n in archive.sizes}
    held |= {n[:at] for n in held for at, c in enumerate(n) if c == "/"} if manifest.artifact_sets else set()
    for name, sources in manifest.artifact_sets.items():
        for source in sources:
            if source in hashed or is_url(source) or clean_source(source).rstrip("/").lower() in held:
                continue
            notes.warn(
                "artifact-absent", f"{source} of the artifact set {name} is not in the package", places.get(source)
            )


def _parts(archive: Archive, meta: Meta | None, notes: Notes) -> dict[str, tuple[str, ...]]:
    parts: dict[str, tuple[str, ...]] = {}
    for word, (key, usual) in _PARTS.items():
        named = clean_source(meta.get(key)) if meta else ""
        files: tuple[str, ...] = ()
        for candidate in (named,) if named else usual:
            files = files or _at(archive, candidate)
        if meta and named and not files:
            at = meta.place(key)
            notes.warn("meta-absent-file", f"{meta.name} names {named}, which is not in the package", at)
        if files:
            parts[word] = files
    return parts


def _at(archive: Archive, name: str) -> tuple[str, ...]:
    """The file of that name in whatever case, or all files of that folder."""
    if name in archive.sizes:
        return (name,)
    lower = name.lower().rstrip("/")
    held = [n for n in archive.sizes if not is_junk(n)]
    same = [n for n in held if n.lower() == lower]
    return tuple(same or [n for n in held if n.lower().startswith(lower + "/")])
