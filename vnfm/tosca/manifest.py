"""TOSCA-Metadata/TOSCA.meta and the manifest (ETSI GS NFV-SOL 004 clauses 4.1 and 4.3): both are `name: value` lines in
blocks that a blank line ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vnfm.tosca.notes import Notes, Place

META = "TOSCA-Metadata/TOSCA.meta"
_SETS = "non_mano_artifact_sets"
_METADATA = ("vnf_", "pnfd_", "nsd_")
_NO_METADATA = ("metadata", "source", "algorithm", "hash", "signature", "certificate")
_NO_FIELDS = ("name", "content-type", "algorithm", "hash")
_CMS = re.compile(rb"-----BEGIN (CMS|PKCS7)-----")


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """One block: `source` is a name in the package or a URL, `algorithm` as written, both it and `digest` empty where
    only a signature is given; one of them alone is a slip. `signature` and `certificate` name files of the package
    (SOL004 5.2, an artifact that is signed by itself)."""

    source: str
    algorithm: str
    digest: str
    place: Place
    signature: str = ""
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. `signature` is the CMS block that follows it, `signed` the bytes before that block;
    `sources` are all names that it lists, with or without a digest, `artifact_sets` those of its non-MANO artifact
    sets (SOL004 4.3.7)."""

    metadata: dict[str, str] = field(default_factory=dict)
    digests: tuple[DigestEntry, ...] = ()
    signature: bytes = b""
    signed: bytes = b""
    sources: tuple[tuple[str, Place], ...] = ()
    artifact_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Meta:
    """TOSCA.meta: its fields in lower case, without the prefix ETSI- that some leave out, and the lines of them. `name`
    is the file's own."""

    fields: dict[str, str] = field(default_factory=dict)
    digests: tuple[DigestEntry, ...] = ()
    name: str = META
    lines: dict[str, int] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """A field by its name in lower case: `entry-definitions`."""
        return self.fields.get(name, "")

    def place(self, name: str = "") -> Place:
        """Where a field stands."""
        return Place(self.name, self.lines.get(name, 1), 1)


def parse_meta(text: str, notes: Notes, name: str = META) -> Meta:
    """TOSCA.meta's fields and the digests that its later blocks may carry. Blank lines between fields do no harm."""
    blocks = _blocks(text, name, notes)
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    for block in blocks:
        for key, (value, line) in block.items():
            if key not in _NO_FIELDS:
                fields.setdefault(key.removeprefix("etsi-"), value)
                lines.setdefault(key.removeprefix("etsi-"), line)
    return Meta(fields, tuple(_digests(blocks, "name", name)), name, lines)


def parse_manifest(raw: bytes, name: str, notes: Notes) -> Manifest:
    """A manifest's metadata, digests and signature."""
    cms = _CMS.search(raw)
    body = raw[: cms.start()] if cms else raw
    metadata: dict[str, str] = {}
    rest = []
    for block in _blocks(as_text(body), name, notes):
        if "metadata" in block or any(k.startswith(_METADATA) for k in block):
            metadata |= {k: v for k, (v, _) in block.items() if k not in _NO_METADATA}
        if "source" in block:
            rest.append(block)
    digests = tuple(_digests(rest, "source", name))
    sources = tuple((b["source"][0], Place(name, b["source"][1], 1)) for b in rest)
    return Manifest(metadata, digests, raw[cms.start() :] if cms else b"", body, sources, _artifact_sets(as_text(body)))


def _artifact_sets(text: str) -> dict[str, tuple[str, ...]]:
    """The names under `non_mano_artifact_sets:`, by the set that they are in."""
    sets: dict[str, list[str]] = {}
    inside, indented, current = False, False, ""
    for raw in text.splitlines():
        key, colon, value = raw.strip().partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon or key.startswith("#"):
            continue
        if key == _SETS:
            inside = True
        elif not inside:
            continue
        elif key == "metadata" or (key == "source" and indented and not raw[:1].isspace()):
            inside = False  # the usual blocks go on
        elif key == "source":
            indented = indented or raw[:1].isspace()
            sets.setdefault(current, []).append(value)
        elif not value:
            current = raw.strip().partition(":")[0].strip()
            sets.setdefault(current, [])
    return {name: tuple(sources) for name, sources in sets.items()}


def as_text(raw: bytes) -> str:
    """What people's editors write: UTF-8, or UTF-16 with its mark; what is neither shows as question marks."""
    coding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return raw.decode(coding, "replace")


_Block = dict[str, tuple[str, int]]


def _blocks(text: str, file: str, notes: Notes) -> list[_Block]:
    """Blocks of lower-case keys to (value, line). A repeated key starts a block too: blank lines get lost."""
    blocks: list[_Block] = []
    block: _Block = {}
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if line and not colon:
            notes.warn("manifest-line", "expected a line `name: value`", Place(file, number, 1))
            continue
        if block and (not line or key in block):
            blocks.append(block)
            block = {}
        if line:
            block[key] = (value.strip(), number)
    return [*blocks, block] if block else blocks


def _digests(blocks: list[_Block], key: str, file: str) -> list[DigestEntry]:
    found = []
    for block in blocks:
        if key not in block:
            continue
        source, line = block[key]
        algorithm, digest = block.get("algorithm", ("", 0))[0], block.get("hash", ("", 0))[0]
        signature, certificate = block.get("signature", ("", 0))[0], block.get("certificate", ("", 0))[0]
        if algorithm or digest or signature:
            found.append(DigestEntry(source, algorithm, digest, Place(file, line, 1), signature, certificate))
    return found
