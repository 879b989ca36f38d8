"""Writes a SOL004 CSAR from a source folder: metadata, a manifest with fresh digests, the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from vnfm.model.problem import problem
from vnfm.tosca.archive import CHUNK, Archive, UnsafeArchive, open_archive
from vnfm.tosca.disk import full_disk_is_named
from vnfm.tosca.entry import likely_entry
from vnfm.tosca.limits import Limits
from vnfm.tosca.manifest import META, Manifest, Meta, as_text, parse_manifest, parse_meta
from vnfm.tosca.names import clean_source, is_junk, is_yaml
from vnfm.tosca.notes import Notes
from vnfm.tosca.signatures.sign import SigningKey

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKED_SUFFIXES = (".qcow2", ".gz", ".tgz", ".xz", ".zst", ".zip", ".png", ".jpg")
_FIELDS = ("vnf_product_name", "vnf_provider_id", "vnf_package_version")
_VNFD_FIELDS = ("product_name", "provider", "descriptor_version")


def build_package(folder: Path, out: Path, *, now: datetime, signing: SigningKey | None = None) -> None:
    """Write the package in `folder` to `out`, which appears whole or not at all.

    TOSCA-Metadata/TOSCA.meta is kept or generated for the one YAML at the root; the manifest's digests are written
    anew, its non-MANO artifact sets kept, its metadata too, or taken from the VNFD. What desktops and version
    control leave in the folder stays out. Where the manifest has no release time, `now` becomes it, so the
    bytes are the same for the same folder and `now`. With `signing` the manifest is signed (SOL004 5.1, option 1),
    which ties the bytes to the time of signing. Raises ProblemError: bad-package naming what stands in the way,
    no-space.
    """
    notes, limits = Notes(), Limits()
    if not folder.is_dir():
        raise problem("bad-package", f"{folder} is no folder", instance=str(folder))
    try:
        with full_disk_is_named(out.parent), open_archive(folder, limits, notes) as archive:
            if notes.failed:
                raise UnsafeArchive
            _build(folder, archive, out, now, notes, signing)
    except UnsafeArchive as error:
        detail = "; ".join(f.message for f in notes.findings)
        raise problem("bad-package", detail, instance=str(folder)) from error


def _build(folder: Path, archive: Archive, out: Path, now: datetime, notes: Notes, signing: SigningKey | None) -> None:
    meta_raw = as_text((folder / META).read_bytes()) if META in archive.sizes else ""
    meta = parse_meta(meta_raw, notes) if META in archive.sizes else None
    entry = _entry(folder, archive, meta)
    if meta is not None:
        name = clean_source(meta.get("entry-manifest")) or f"{entry.rpartition('.')[0]}.mf"
    else:
        name = f"{entry.rpartition('.')[0]}.mf"
    old = parse_manifest((folder / name).read_bytes(), name, notes) if name in archive.sizes else Manifest()
    meta_text = (folder / META).read_bytes() if meta is not None else _meta(entry, name).encode()
    if meta is not None and not meta.get("entry-manifest"):
        meta_text = _with_manifest(meta_raw, name).encode()
    own_output = out.resolve()
    names = [n for n in archive.sizes if n not in (META, name) and (folder / n).resolve() != own_output]
    names = [n for n in names if not is_junk(n)]
    if private := [n for n in names if _is_private_key(archive, n)]:
        detail = f"{private[0]} is a private key, which must not go into a package; keep it elsewhere"
        raise problem("bad-package", detail, instance=str(folder))
    digests = {META: hashlib.sha256(meta_text).hexdigest()} | {n: _sha256(archive, n) for n in names}
    manifest = _manifest(_metadata(folder, entry, old, now), old.artifact_sets, digests).encode()
    if signing is not None:
        manifest += signing.sign(manifest)
    _write(archive, out, names, {META: meta_text, name: manifest}, notes)


def _entry(folder: Path, archive: Archive, meta: Meta | None) -> str:
    if meta is not None:
        entry = clean_source(meta.get("entry-definitions"))
        if entry not in archive.sizes:
            raise problem(
                "bad-package", f"TOSCA.meta names the entry {entry!r}, which is not there", instance=str(folder)
            )
        return entry
    found = [n for n in archive.sizes if "/" not in n and is_yaml(n) and not is_junk(n)]
    if entry := found[0] if len(found) == 1 else likely_entry(archive, Limits()):
        return entry
    detail = f"without {META} there has to be exactly one YAML file at the root, found {len(found)}"
    raise problem("bad-package", detail, instance=str(folder))


def _meta(entry: str, manifest: str) -> str:
    return (
        "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: vnfm\n"
        f"Entry-Definitions: {entry}\nETSI-Entry-Manifest: {manifest}\n"
    )


def _with_manifest(meta: str, manifest: str) -> str:
    """TOSCA.meta with the manifest's name at the end of its first block."""
    first, gap, rest = meta.replace("\r\n", "\n").rstrip("\n").partition("\n\n")
    return f"{first}\nETSI-Entry-Manifest: {manifest}\n" + (gap[1:] + rest + "\n" if gap else "")


def _metadata(folder: Path, entry: str, old: Manifest, now: datetime) -> dict[str, str]:
    metadata = dict(old.metadata)
    if missing := [f for f in _FIELDS if not metadata.get(f)]:
        from vnfm.tosca.reading import read_package

        reading = read_package(folder, digests="warn")
        if reading.vnfd is None:
            first = reading.findings[0].message if reading.findings else "no VNFD"
            raise problem("bad-package", f"{entry}: {first}", instance=str(folder))
        values = dict(zip(_FIELDS, (reading.vnfd.product, reading.vnfd.provider, reading.vnfd.version), strict=True))
        metadata |= {f: values[f] for f in missing}
    metadata.setdefault("vnf_release_date_time", now.astimezone(UTC).isoformat(timespec="seconds"))
    return metadata


def _manifest(metadata: dict[str, str], sets: Mapping[str, tuple[str, ...]], digests: dict[str, str]) -> str:
    lines = ["metadata:", *(f"  {k}: {v}" for k, v in metadata.items())]
    if sets:
        lines += ["", "non_mano_artifact_sets:"]
        for title, sources in sets.items():
            lines += [f"  {title}:", *(f"    Source: {source}" for source in sources)]
    for name, digest in sorted(digests.items()):
        lines += ["", f"Source: {name}", "Algorithm: SHA-256", f"Hash: {digest}"]
    return "\n".join(lines) + "\n"


def _is_private_key(archive: Archive, name: str) -> bool:
    suspect = name.lower().endswith((".key", ".pem"))
    return suspect and b"PRIVATE KEY-----" in next(iter(archive.stream(name)), b"")


def _sha256(archive: Archive, name: str) -> str:
    digest = hashlib.sha256()
    for chunk in archive.stream(name):
        digest.update(chunk)
    return digest.hexdigest()


def _write(archive: Archive, out: Path, names: list[str], written: dict[str, bytes], notes: Notes) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with os.fdopen(handle, "wb") as raw, zipfile.ZipFile(raw, "w", allowZip64=True) as target:
            # The metadata first (SOL004 and TOSCA 6.1), then names in order.
            for name in [META, *sorted({*names, *written} - {META})]:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.external_attr = 0o100644 << 16
                packed = name.lower().endswith(_PACKED_SUFFIXES)
                info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
                info.file_size = len(written[name]) if name in written else archive.sizes[name]
                with target.open(info, "w") as member:
                    for chunk in _parts(written[name]) if name in written else archive.stream(name):
                        member.write(chunk)
        os.chmod(partial, 0o644)
        os.replace(partial, out)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


def _parts(data: bytes) -> list[bytes]:
    return [data[n : n + CHUNK] for n in range(0, len(data), CHUNK)]
