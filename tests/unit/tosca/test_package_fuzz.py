"""Archives, manifests and signatures that are not what they seem: kept ones, and those that hypothesis thinks of."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from csar_writer import manifest as true_manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vnfm.tosca import read_package
from vnfm.tosca.manifest import parse_manifest
from vnfm.tosca.notes import Notes

TESTS = Path(__file__).resolve().parents[2]
sys.path.append(str(TESTS / "fuzz"))
from package_targets import TARGETS  # noqa: E402

ARCHIVES = TESTS / "data" / "archives"
EXPECTED = json.loads((ARCHIVES / "expected.json").read_text())
ODD = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", EXPECTED)
def test_a_hostile_archive_is_refused_by_name_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    reading = read_package(ARCHIVES / f"{name}.csar", digests="warn")
    assert time.monotonic() - began < 20
    assert EXPECTED[name] in {f.code for f in reading.findings if f.severity == "error"}
    assert not reading.ok
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_archive_inside_a_zip_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in EXPECTED.items():
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        outer = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(outer, "w") as out:
            out.write(ARCHIVES / f"{name}.csar", "p.csar")
        found = {f.code for f in read_package(outer, digests="warn").findings}
        assert code in found, name
        assert list(folder.iterdir()) == []


def packed(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return raw.getvalue()


GOOD = packed({"vnfd.yaml": b"a: b\n", "vnfd.mf": true_manifest({"vnfd.yaml": b"a: b\n"}), "Files/a": b"a" * 500})


@ODD
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=12), st.integers(0, 12)), min_size=1, max_size=4)
)
def test_a_damaged_archive_is_findings_and_never_a_crash(changes: list[tuple[int, bytes, int]]) -> None:
    data = bytearray(GOOD)
    for at, noise, gone in changes:
        data[at : at + gone] = noise
    TARGETS["archive"](bytes(data))


@ODD
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.binary(max_size=100), max_size=5))
def test_any_names_and_contents_are_read_or_refused(files: dict[str, bytes]) -> None:
    try:
        data = packed(files)
    except (UnicodeEncodeError, ValueError, IndexError):
        return  # zipfile itself cannot write that
    TARGETS["archive"](data)


LINES = st.sampled_from(
    ["metadata:", "vnf_product_name: x", "Source: a", "Source: ../a", "Algorithm: SHA-256", "Hash: 00", "", " ", ":",
     "x", "Signature: a.cms", "Certificate: c",
     "-----BEGIN CMS-----", "-----END CMS-----", "# note", "Name: a", "\ufeff"]
)  # fmt: skip


@ODD
@given(st.lists(LINES, max_size=30), st.sampled_from(["\n", "\r\n", "\r"]), st.binary(max_size=10))
def test_any_lines_are_a_manifest_or_findings(lines: list[str], end: str, noise: bytes) -> None:
    TARGETS["manifest"](end.join(lines).encode() + noise)


NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)


@ODD
@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=6), st.sampled_from(["SHA-224", "SHA-256", "SHA-512"]))
def test_what_is_written_is_read_again(files: dict[str, bytes], algorithm: str) -> None:
    notes = Notes()
    read = parse_manifest(true_manifest(files, algorithm=algorithm), "x.mf", notes)
    assert notes.findings == []
    assert {d.source for d in read.digests} == set(files)
    assert {d.algorithm for d in read.digests} <= {algorithm}
    assert read.metadata["vnf_product_name"] == "Fire"


@ODD
@given(st.binary(max_size=300))
def test_any_bytes_are_a_signature_or_a_fault(data: bytes) -> None:
    TARGETS["signature"](data)
    TARGETS["signature"](b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80" + data)
