"""A signature counts for what it covers, and for nothing else."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from csar_writer import META, manifest, vnfd, write_csar
from signing import NOW, Identity, identity, sign

from vnfm.app import package_reader
from vnfm.model.problem import ProblemError
from vnfm.settings import PackageRules
from vnfm.tosca import PackageReading, SignaturePolicy, SigningKey, TrustStore, read_package

ROOT = identity("Root", authority=True)
VENDOR = identity("Vendor", ROOT)
FILES = {"vnfd.yaml": vnfd().encode(), "Files/a": b"a"}
TRUST = TrustStore((ROOT.certificate,))
REQUIRE = SignaturePolicy(required=True, trust=TRUST, at=NOW)
TRUSTING = SignaturePolicy(trust=TRUST, at=NOW)
NOBODY = SignaturePolicy(at=NOW)


def errors(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings if f.severity == "error"}


def warnings(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings if f.severity == "warning"}


def one_by_one(path: Path, files: dict[str, bytes], signed: tuple[str, ...], **more: bytes) -> Path:
    """A package whose manifest nobody signed, with signatures of some files."""
    text, beside = manifest({n: d for n, d in files.items() if n not in signed}), dict[str, bytes]()
    for name in signed:
        beside[f"{name}.sig.cms"] = sign(files[name], VENDOR)
        text += f"\nSource: {name}\nSignature: {name}.sig.cms\n".encode()
    return write_csar(path, {**files, **beside, **more, "vnfd.mf": text})


@pytest.mark.parametrize("name", ["Files/a", "vnfd.yaml"])
def test_one_signed_file_does_not_vouch_for_the_package(tmp_path: Path, name: str) -> None:
    package = one_by_one(tmp_path / "p.csar", FILES, (name,))
    asked = read_package(package, signature=REQUIRE)
    assert errors(asked) == {"signature-partial"}
    assert asked.signature.state == "PARTIAL"
    other = next(n for n in FILES if n != name)
    finding = next(f for f in asked.findings if f.code == "signature-partial")
    assert other in finding.message
    assert finding.hint
    lax = read_package(package, signature=TRUSTING)
    assert (lax.ok, lax.signature.state, warnings(lax)) == (True, "PARTIAL", {"signature-partial"})


def test_every_file_signed_by_itself_is_a_signed_package(tmp_path: Path) -> None:
    package = one_by_one(tmp_path / "p.csar", FILES, tuple(FILES))
    reading = read_package(package, signature=REQUIRE)
    assert reading.findings == ()
    assert reading.signature.state == "VERIFIED"


def test_metadata_and_what_is_not_listed_has_to_be_signed_too(tmp_path: Path) -> None:
    meta = b"Entry-Definitions: vnfd.yaml\nETSI-Entry-Manifest: vnfd.mf\n"
    for more in ({META: meta}, {"other.yaml": b"a: b\n"}, {"Files/b": b"b"}):
        package = one_by_one(tmp_path / "p.csar", FILES | more, tuple(FILES))
        assert errors(read_package(package, signature=REQUIRE)) == {"signature-partial"}
        package = one_by_one(tmp_path / "p.csar", FILES | more, (*FILES, *more))
        assert read_package(package, signature=REQUIRE).signature.state == "VERIFIED"


def test_a_manifest_of_nobody_s_cannot_call_a_script_a_certificate(tmp_path: Path) -> None:
    script = VENDOR.pem + b"rm -rf /\n"
    text = manifest({}) + b"\nSource: vnfd.yaml\nSignature: v.cms\nCertificate: install.sh\n"
    files = {"vnfd.yaml": FILES["vnfd.yaml"], "install.sh": script, "v.cms": sign(FILES["vnfd.yaml"], VENDOR)}
    reading = read_package(write_csar(tmp_path / "p.csar", {**files, "vnfd.mf": text}), signature=REQUIRE)
    assert errors(reading) == {"signature-partial"}


def test_a_signed_file_that_is_gone_is_missed(tmp_path: Path) -> None:
    text = manifest(FILES) + b"\nSource: Files/b\nSignature: Files/b.cms\n"
    files = {**FILES, "Files/b.cms": sign(b"b", VENDOR), "vnfd.mf": text + sign(text, VENDOR)}
    reading = read_package(write_csar(tmp_path / "p.csar", files), signature=REQUIRE)
    assert "digest-absent-file" in errors(reading)
    assert reading.signature.state == "FAILED"


@pytest.mark.parametrize("beside", ["vnfd.cms", "vnfd.p7s", "vnfd.mf.cms", ""])
@pytest.mark.parametrize("policy", [REQUIRE, TRUSTING])
@pytest.mark.parametrize("digests", ["strict", "auto", "warn"])
def test_what_a_signed_manifest_does_not_list_is_refused(
    tmp_path: Path, beside: str, policy: SignaturePolicy, digests: str
) -> None:
    text = manifest(FILES)
    signature = sign(text, VENDOR)
    files = {**FILES, "vnfd.mf": text, beside: signature} if beside else {**FILES, "vnfd.mf": text + signature}
    whole = read_package(write_csar(tmp_path / "p.csar", files), signature=policy, digests=digests)  # type: ignore[arg-type]
    assert (whole.findings, whole.signature.state) == ((), "VERIFIED")
    meta = b"Entry-Definitions: vnfd.yaml\nETSI-Entry-Manifest: vnfd.mf\n"
    for more in ({"evil.sh": b"rm"}, {META: meta}):
        added = write_csar(tmp_path / "p.csar", files | more)
        reading = read_package(added, signature=policy, digests=digests)  # type: ignore[arg-type]
        assert errors(reading) == {"digest-missing"}
        assert reading.signature.state == "PARTIAL"


@pytest.mark.parametrize("policy", [REQUIRE, TRUSTING])
def test_no_digest_policy_lets_pass_what_a_signature_covers(tmp_path: Path, policy: SignaturePolicy) -> None:
    text = manifest(FILES)
    files = {**FILES, "Files/a": b"b", "vnfd.mf": text + sign(text, VENDOR)}
    reading = read_package(write_csar(tmp_path / "p.csar", files), signature=policy, digests="warn")
    assert errors(reading) == {"digest-mismatch"}
    assert reading.signature.state == "FAILED"
    assert "anew from its provider" in reading.findings[0].hint
    nobody = read_package(tmp_path / "p.csar", signature=NOBODY, digests="warn")
    assert (nobody.ok, nobody.signature.state) == (True, "FAILED")


def test_a_signed_manifest_that_lists_nothing_protects_nothing(tmp_path: Path) -> None:
    text = manifest({})
    for files in ({"vnfd.mf": text + sign(text, VENDOR)}, {"vnfd.mf": text, "vnfd.cms": sign(text, VENDOR)}):
        reading = read_package(write_csar(tmp_path / "p.csar", FILES | files), signature=REQUIRE)
        assert errors(reading) == {"digest-missing"}
        assert reading.signature.state == "PARTIAL"


@pytest.mark.parametrize(("digests", "ok"), [("strict", False), ("auto", True), ("warn", True)])
def test_an_unsigned_manifest_that_lists_nothing_is_told(tmp_path: Path, digests: str, ok: bool) -> None:
    package = write_csar(tmp_path / "p.csar", {**FILES, "vnfd.mf": manifest({})})
    reading = read_package(package, digests=digests)  # type: ignore[arg-type]
    assert reading.ok == ok
    assert [f.code for f in reading.findings] == ["digest-missing"]
    assert reading.findings[0].hint


def version_1(tmp_path: Path) -> Identity:
    """A certificate of X.509 version 1, which ROOT issued."""
    who = identity("Elder", ROOT, rsa_bits=2048)
    for name, data in {"key": who.key_pem, "ca.key": ROOT.key_pem, "ca.pem": ROOT.pem}.items():
        (tmp_path / name).write_bytes(data)
    request = ["openssl", "req", "-new", "-key", "key", "-subj", "/CN=Elder", "-out", "csr"]
    issue = ["openssl", "x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "7"]
    for command in (request, [*issue, "-days", "30", "-out", "cert"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return Identity(who.key, x509.load_pem_x509_certificate((tmp_path / "cert").read_bytes()))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to issue it")
def test_a_certificate_of_version_1_has_a_reason_and_a_hint_of_its_own(tmp_path: Path) -> None:
    elder = version_1(tmp_path)
    if elder.certificate.version is not x509.Version.v1:
        pytest.skip("this openssl issues version 3 only")
    text = manifest(FILES)
    package = write_csar(tmp_path / "p.csar", {**FILES, "vnfd.mf": text + sign(text, elder)})
    now = SignaturePolicy(required=True, trust=TRUST, at=elder.certificate.not_valid_before_utc)
    found = [f for f in read_package(package, signature=now).findings if f.severity == "error"]
    assert [f.code for f in found] == ["signature-certificate-version"]
    assert "version 3" in found[0].hint
    assert "<" not in found[0].message
    with pytest.raises(ProblemError, match="version 3"):
        SigningKey.load(tmp_path / "key", tmp_path / "cert")


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ({"rsa_bits": 1024}, "1024 bits"),
        ({"end": datetime.now(UTC) - timedelta(days=1), "begin": NOW - timedelta(days=999)}, "ran out"),
        ({"begin": datetime.now(UTC) + timedelta(days=1), "end": datetime.now(UTC) + timedelta(days=9)}, "holds from"),
    ],
)
def test_nothing_is_signed_with_what_would_be_refused(tmp_path: Path, who: dict[str, Any], reason: str) -> None:
    signer = identity("Vendor", ROOT, **{"end": datetime.now(UTC) + timedelta(days=9), **who})
    (tmp_path / "key").write_bytes(signer.key_pem)
    (tmp_path / "cert").write_bytes(signer.pem)
    with pytest.raises(ProblemError, match=reason) as caught:
        SigningKey.load(tmp_path / "key", tmp_path / "cert")
    assert caught.value.problem.word == "bad-key"


@pytest.mark.parametrize("asked", ["warn", "warn+require"])
def test_a_manager_with_a_trust_store_takes_no_changed_package_whatever_a_caller_asks(
    tmp_path: Path, asked: str
) -> None:
    signer = identity("Vendor", end=datetime.now(UTC) + timedelta(days=9))
    (tmp_path / "trusted.pem").write_bytes(signer.pem)
    text = manifest(FILES)
    package = write_csar(tmp_path / "p.csar", {**FILES, "Files/a": b"b", "vnfd.mf": text + sign(text, signer)})
    reading = package_reader(PackageRules(trust_store=tmp_path / "trusted.pem"))(package, asked)
    assert errors(reading) == {"digest-mismatch"}  # type: ignore[arg-type]
