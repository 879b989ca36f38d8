"""TOSCA-Metadata/TOSCA.meta and the manifest (ETSI GS NFV-SOL 004 clauses 4.1 and 4.3): both are `name: value` lines in
blocks that a blank line ends."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vnfm.tosca.notes import Notes, Place

META = "TOSCA-Metadata/TOSCA.meta"
_CMS = re.compile(r"-----BEGIN (CMS|PKCS7)-----")


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """One block: `source` is a name in the package or a URL, `algorithm` as written."""

    source: str
    algorithm: str
    digest: str
    place: Place


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. `signed` where a CMS block follows."""

    metadata: dict[str, str] = field(default_factory=dict)
    digests: tuple[DigestEntry, ...] = ()
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Meta:
    """TOSCA.meta: the first block's fields in lower case, without the prefix ETSI- that some leave out."""

    fields: dict[str, str] = field(default_factory=dict)
    digests: tuple[DigestEntry, ...] = ()

    def get(self, name: str) -> str:
        """A field by its name in lower case: `entry-definitions`."""
        return self.fields.get(name, "")


def parse_meta(text: str, notes: Notes) -> Meta:
    """TOSCA.meta's fields and the digests that its later blocks may carry."""
    blocks = list(_blocks(text, META, notes))
    fields: dict[str, str] = {}
    for key, (value, _) in (blocks[0] if blocks else {}).items():
        fields[key.removeprefix("etsi-")] = value
    return Meta(fields, tuple(_digests(blocks[1:], "name", META, notes)))


def parse_manifest(text: str, name: str, notes: Notes) -> Manifest:
    """A manifest's metadata and digests."""
    cms = _CMS.search(text)
    body = text[: cms.start()] if cms else text
    metadata: dict[str, str] = {}
    rest = []
    for block in _blocks(body, name, notes):
        if "metadata" in block or any(k.startswith("vnf_") for k in block):
            metadata |= {k: v for k, (v, _) in block.items() if k != "metadata" and k not in ("source",)}
        if "source" in block:
            rest.append(block)
    return Manifest(metadata, tuple(_digests(rest, "source", name, notes)), signed=cms is not None)


_Block = dict[str, tuple[str, int]]


def _blocks(text: str, file: str, notes: Notes) -> list[_Block]:
    """Blocks of lower-case keys to (value, line). A repeated key starts a block too: blank lines get lost."""
    blocks: list[_Block] = []
    block: _Block = {}
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if line.startswith("#"):
            continue
        if not line:
            blocks, block = _flush(blocks, block), {}
            continue
        key, colon, value = line.partition(":")
        if not colon:
            notes.warn("manifest-line", "expected a line `name: value`", Place(file, number, 1))
            continue
        key = key.strip().lower()
        if key in block:
            blocks, block = _flush(blocks, block), {}
        block[key] = (value.strip(), number)
    return _flush(blocks, block)


def _flush(blocks: list[_Block], block: _Block) -> list[_Block]:
    return [*blocks, block] if block else blocks


def _digests(blocks: list[_Block], key: str, file: str, notes: Notes) -> list[DigestEntry]:
    found = []
    for block in blocks:
        if key not in block:
            continue
        source, line = block[key]
        algorithm, digest = block.get("algorithm", ("", 0))[0], block.get("hash", ("", 0))[0]
        if algorithm and digest:
            found.append(DigestEntry(source, algorithm, digest, Place(file, line, 1)))
        elif algorithm or digest:
            notes.error(
                "digest-malformed",
                f"{source}: Algorithm and Hash belong together",
                Place(file, line, 1),
                "write both lines, or leave both out",
            )
    return found
