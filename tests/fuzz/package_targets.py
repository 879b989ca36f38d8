"""What is fuzzed of package reading: bytes in, findings or a named fault out, any other exception is a bug."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

from vnfm.tosca.archive import UnsafeArchive, open_zip
from vnfm.tosca.child import read
from vnfm.tosca.digests import survey, verify
from vnfm.tosca.layout import read_layout
from vnfm.tosca.limits import KIB, MIB, Limits
from vnfm.tosca.manifest import as_text, parse_manifest, parse_meta
from vnfm.tosca.notes import Notes
from vnfm.tosca.shelf import Shelf
from vnfm.tosca.signatures.cms import looks_like_cms, read_signed_data
from vnfm.tosca.signatures.fault import SignatureFault
from vnfm.tosca.signed import SignaturePolicy, check_signatures
from vnfm.tosca.sol001 import default_types_folder

SHELF = Shelf()
YAML_LIMITS = Limits(yaml_bytes=64 * KIB, yaml_total_bytes=MIB, yaml_nodes=5000)
LIMITS = Limits(entries=100, total_bytes=4 * MIB, file_bytes=MIB, directory_bytes=64 * KIB, manifest_bytes=64 * KIB)


def archive(data: bytes) -> None:
    """A zip: opened, its layout and signatures read, every file unpacked and its digests compared."""
    notes = Notes()
    with contextlib.suppress(UnsafeArchive), open_zip(io.BytesIO(data), LIMITS, notes) as found:
        layout = read_layout(found, LIMITS, notes)
        files, digests = survey(found, layout.manifest.digests, notes)
        verify(layout.manifest.digests, files, digests, notes, strict=True)
        check_signatures(found, layout, None, SignaturePolicy(), notes)
        assert sum(f.size_bytes for f in files.values()) <= LIMITS.total_bytes
        assert all(not name.startswith("/") and ".." not in name.split("/") for name in files)
        return
    assert notes.failed, "refused without a word"


def manifest(data: bytes) -> None:
    """A manifest, and the same as TOSCA.meta."""
    notes = Notes()
    read = parse_manifest(data, "x.mf", notes)
    assert data.startswith(read.signed)
    parse_meta(as_text(data), notes)
    assert len(notes.findings) <= 2 * notes.most


def signature(data: bytes) -> None:
    """A CMS structure."""
    looks_like_cms(data)
    with contextlib.suppress(SignatureFault):
        read_signed_data(data)


def vnfd(data: bytes) -> None:
    """A descriptor: YAML, types, model and tosca-parser's verdict, all in this process."""
    request = {"types": str(default_types_folder()), "entry": "v.yaml", "files": {}, "strict": True, "flavour": None}
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        answer = read(request, {"v.yaml": data}, YAML_LIMITS, SHELF)
    refused = any(f["severity"] == "error" for f in answer["findings"])
    assert answer["vnfd"] is not None or refused, "no model and no word why"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "archive": archive,
    "manifest": manifest,
    "signature": signature,
    "vnfd": vnfd,
}
