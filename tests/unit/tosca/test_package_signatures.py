"""Signed packages: what holds is taken, and everything that does not has a name of its own."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from csar_writer import META, manifest, vnfd, write_csar
from hypothesis import example, given, settings
from hypothesis import strategies as st
from signing import NOW, Identity, Option, identity, sign

from vnfm.model.problem import ProblemError
from vnfm.tosca import PackageReading, SignaturePolicy, TrustStore, read_package, signed
from vnfm.tosca.signatures.cms import looks_like_cms, read_signed_data
from vnfm.tosca.signatures.fault import SignatureFault
from vnfm.tosca.signatures.verify import verify_signature

ROOT = identity("Root", authority=True)
MIDDLE = identity("Middle", ROOT, authority=True)
VENDOR = identity("Vendor", ROOT)
FILES = {"vnfd.yaml": vnfd().encode(), "Files/a": b"a"}


def policy(*trusted: Identity, required: bool = False) -> SignaturePolicy:
    trust = TrustStore(tuple(t.certificate for t in trusted)) if trusted else None
    return SignaturePolicy(required=required, trust=trust, at=NOW)


def errors(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings if f.severity == "error"}


def warnings(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings if f.severity == "warning"}


def packed(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return raw.getvalue()


def option1(path: Path, signature: Callable[[bytes], bytes], **more: bytes) -> Path:
    text = manifest(FILES)
    return write_csar(
        path, {**FILES, "vnfd.mf": text + signature(text), **{k.replace("__", "."): v for k, v in more.items()}}
    )


def option2(path: Path, signature: Callable[[bytes], bytes], **more: bytes) -> Path:
    inner = packed({**FILES, "vnfd.mf": manifest(FILES)})
    path.write_bytes(packed({"some.thing": inner, "x.bin": signature(inner), **more}))
    return path


LAYOUTS = pytest.mark.parametrize("option", [option1, option2])
Writer = Callable[..., Path]


@LAYOUTS
@pytest.mark.parametrize("digest", [hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512])
def test_a_signature_by_someone_trusted_holds(tmp_path: Path, option: Writer, digest: type) -> None:
    package = option(tmp_path / "p.csar", lambda data: sign(data, VENDOR, digest=digest()))
    reading = read_package(package, signature=policy(ROOT, required=True))
    assert reading.findings == ()
    assert reading.ok
    assert reading.signature.state == "VERIFIED"
    assert reading.signature.subjects == ("CN=Vendor",)
    assert reading.signature.option == (1 if option is option1 else 2)
    assert "vnfd.yaml" in reading.files


@LAYOUTS
def test_a_chain_over_an_intermediate_that_comes_along(tmp_path: Path, option: Writer) -> None:
    signer = identity("Team", MIDDLE)
    package = option(tmp_path / "p.csar", lambda data: sign(data, signer, others=(MIDDLE,)))
    assert read_package(package, signature=policy(ROOT)).signature.state == "VERIFIED"
    package = option(tmp_path / "q.csar", lambda data: sign(data, signer))
    assert errors(read_package(package, signature=policy(ROOT))) == {"signature-untrusted"}


@LAYOUTS
def test_a_signer_s_own_certificate_may_be_trusted(tmp_path: Path, option: Writer) -> None:
    alone = identity("Alone")
    package = option(tmp_path / "p.csar", lambda data: sign(data, alone))
    assert read_package(package, signature=policy(alone)).signature.state == "VERIFIED"


def test_a_certificate_that_is_no_authority_vouches_for_nobody(tmp_path: Path) -> None:
    package = option1(tmp_path / "p.csar", lambda data: sign(data, identity("Child", VENDOR), others=(VENDOR,)))
    assert errors(read_package(package, signature=policy(ROOT))) == {"signature-untrusted"}


@LAYOUTS
@pytest.mark.parametrize(
    ("signature", "code"),
    [
        (lambda data: sign(data + b"!", VENDOR), "signature-content-changed"),
        (
            lambda data: sign(data + b"!", identity("R", ROOT, rsa_bits=2048), Option.NoAttributes),
            "signature-content-changed",
        ),
        (lambda data: sign(data, Identity(identity("x").key, VENDOR.certificate)), "signature-wrong-key"),
        (lambda data: sign(data, identity("Other")), "signature-untrusted"),
        (lambda data: sign(data, identity("Old", ROOT, end=NOW - timedelta(days=1))), "signature-expired"),
        (lambda data: sign(data, identity("New", ROOT, begin=NOW + timedelta(days=1))), "signature-not-yet-valid"),
        (lambda data: sign(data, VENDOR, Option.NoCerts), "signature-certificate-missing"),
        (lambda data: sign(data, identity("R", ROOT, rsa_bits=1024)), "signature-weak"),
        (lambda _: b"-----BEGIN CMS-----\nAAAA\n-----END CMS-----\n", "signature-malformed"),
        (lambda _: b"-----BEGIN CMS-----\n*\n-----END CMS-----\n", "signature-malformed"),
    ],
)
def test_what_does_not_hold_has_its_code(
    tmp_path: Path, option: Writer, signature: Callable[[bytes], bytes], code: str
) -> None:
    reading = read_package(option(tmp_path / "p.csar", signature), digests="warn", signature=policy(ROOT))
    assert errors(reading) == {code}
    assert not reading.ok
    assert reading.signature.state == "FAILED"


@LAYOUTS
def test_the_certificate_may_lie_beside_the_signature(tmp_path: Path, option: Writer) -> None:
    def bare(data: bytes) -> bytes:
        return sign(data, VENDOR, Option.NoCerts)

    reading = read_package(option(tmp_path / "p.csar", bare, **{"vendor.cert": VENDOR.pem}), signature=policy(ROOT))
    assert reading.findings == ()
    assert reading.signature.state == "VERIFIED"
    other = read_package(option(tmp_path / "q.csar", bare, **{"v.cert": ROOT.pem}), signature=policy(ROOT))
    assert errors(other) == {"signature-wrong-key"}
    both = option(tmp_path / "r.csar", lambda data: sign(data, VENDOR), **{"vendor.crt": VENDOR.pem})
    assert warnings(read_package(both, signature=policy(ROOT))) == {"signature-certificate-places"}


def test_the_certificate_may_lie_where_the_metadata_says(tmp_path: Path) -> None:
    meta = b"Entry-Definitions: vnfd.yaml\nETSI-Entry-Manifest: vnfd.mf\nETSI-Entry-Certificate: c/v.pem\n"
    text = manifest({**FILES, META: meta})
    files = {**FILES, META: meta, "c/v.pem": VENDOR.pem, "vnfd.mf": text + sign(text, VENDOR, Option.NoCerts)}
    reading = read_package(write_csar(tmp_path / "p.csar", files), signature=policy(ROOT))
    assert reading.findings == ()
    assert reading.parts["certificate"] == ("c/v.pem",)


def test_a_signed_manifest_has_to_list_everything_and_truly(tmp_path: Path) -> None:
    text = manifest(FILES)
    signed = text + sign(text, VENDOR)
    added = write_csar(tmp_path / "p.csar", {**FILES, "added": b"x", "vnfd.mf": signed})
    assert errors(read_package(added, digests="auto", signature=policy(ROOT))) == {"digest-missing"}
    changed = write_csar(tmp_path / "q.csar", {**FILES, "Files/a": b"b", "vnfd.mf": signed})
    assert errors(read_package(changed, digests="auto", signature=policy(ROOT))) == {"digest-mismatch"}
    unsigned = write_csar(tmp_path / "r.csar", {**FILES, "Files/a": b"b", "vnfd.mf": text})
    assert read_package(unsigned, digests="auto").ok


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n"])
def test_blank_lines_before_the_block_do_not_matter(tmp_path: Path, ending: bytes) -> None:
    text = manifest(FILES).rstrip(b"\n")
    for body in (text, text + b"\n", text.replace(b"\n", b"\r\n")):
        data = {**FILES, "vnfd.mf": text + (ending or b"\n") + sign(body, VENDOR)}
        assert read_package(write_csar(tmp_path / "p.csar", data), signature=policy(ROOT)).ok


@pytest.mark.parametrize("name", ["vnfd.cms", "vnfd.p7s", "vnfd.sig", "vnfd.mf.cms"])
def test_a_signature_beside_the_manifest(tmp_path: Path, name: str) -> None:
    text = manifest(FILES)
    files = {**FILES, "vnfd.mf": text, name: sign(text, VENDOR, pem=False)}
    assert read_package(write_csar(tmp_path / "p.csar", files), signature=policy(ROOT)).signature.state == "VERIFIED"
    files[name] = sign(text + b" ", VENDOR)
    assert errors(read_package(write_csar(tmp_path / "p.csar", files), signature=policy(ROOT))) == {
        "signature-content-changed"
    }


def test_a_file_may_be_signed_by_itself(tmp_path: Path) -> None:
    text = manifest(FILES) + b"\nSource: Files/b\nSignature: Files/b.cms\nCertificate: Files/v.cert\n"
    files = {**FILES, "Files/b": b"b", "Files/b.cms": sign(b"b", VENDOR, Option.NoCerts), "Files/v.cert": VENDOR.pem}
    reading = read_package(write_csar(tmp_path / "p.csar", {**files, "vnfd.mf": text}), signature=policy(ROOT))
    assert warnings(reading) == {"signature-partial"}
    assert reading.signature.state == "PARTIAL"
    files["Files/b"] = b"c"
    changed = read_package(write_csar(tmp_path / "p.csar", {**files, "vnfd.mf": text}), signature=policy(ROOT))
    assert errors(changed) == {"signature-content-changed"}
    del files["Files/b.cms"]
    absent = read_package(write_csar(tmp_path / "p.csar", {**files, "vnfd.mf": text}), signature=policy(ROOT))
    assert errors(absent) == {"signature-malformed"}


def test_policies_for_what_is_not_signed_and_for_nobody_to_ask(tmp_path: Path) -> None:
    unsigned = write_csar(tmp_path / "p.csar", FILES)
    assert read_package(unsigned, signature=policy(ROOT)).ok
    assert errors(read_package(unsigned, signature=policy(ROOT, required=True))) == {"signature-missing"}
    signed = option2(tmp_path / "q.csar", lambda data: sign(data, VENDOR))
    lax = read_package(signed, signature=policy())
    assert (lax.ok, lax.signature.state) == (True, "INTACT")
    assert warnings(lax) == {"signature-no-trust-store"}
    assert errors(read_package(signed, signature=policy(required=True))) == {"signature-no-trust-store"}


@LAYOUTS
def test_old_signatures_are_refused_where_somebody_judges_and_doubted_where_nobody_does(
    tmp_path: Path, option: Writer
) -> None:
    old = identity("Old", ROOT, end=NOW - timedelta(days=1))
    package = option(tmp_path / "p.csar", lambda data: sign(data, old))
    doubted = read_package(package, signature=policy())
    assert (doubted.ok, doubted.signature.state) == (True, "INTACT")
    assert warnings(doubted) == {"signature-expired", "signature-no-trust-store"}
    assert errors(read_package(package, signature=policy(ROOT))) == {"signature-expired"}
    assert not read_package(package, signature=policy(required=True)).ok


def test_a_certificate_that_says_one_thing_twice_is_a_fault(tmp_path: Path) -> None:
    held = VENDOR.certificate.public_bytes(serialization.Encoding.DER)
    oids = [b"\x06\x03\x55\x1d" + bytes([n]) for n in (14, 15, 19, 35)]
    first, second = [oid for oid in oids if oid in held][:2]
    other = held.replace(first, second)
    package = option2(tmp_path / "p.csar", lambda data: sign(data, VENDOR, pem=False).replace(held, other))
    reading = read_package(package, signature=policy(ROOT))
    assert not reading.ok
    assert reading.signature.state == "FAILED"


def test_the_inner_package_s_files_are_taken_out(tmp_path: Path) -> None:
    reading = read_package(option2(tmp_path / "p.zip", lambda data: sign(data, VENDOR)), signature=policy(ROOT))
    reading.extract("Files/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"a"


def test_a_changed_inner_package_is_noticed(tmp_path: Path) -> None:
    inner = packed({**FILES, "vnfd.mf": manifest(FILES)})
    other = packed({**FILES, "Files/a": b"b"})
    (tmp_path / "p.zip").write_bytes(packed({"p.csar": other, "p.cms": sign(inner, VENDOR)}))
    assert "signature-content-changed" in errors(read_package(tmp_path / "p.zip", signature=policy(ROOT)))


@pytest.mark.parametrize(
    ("outer", "code"),
    [
        ({"a.csar": packed(FILES), "b.csar": packed(FILES)}, "package-nested"),
        ({"a.csar": packed({"b.csar": packed(FILES)})}, "package-nested"),
        ({"a.csar": packed({"../x": b"", **FILES})}, "archive-name"),
        ({"a.csar": packed(FILES), "a.cms": b"nonsense"}, "signature-malformed"),
    ],
)
def test_odd_zips_in_zips_are_refused(tmp_path: Path, outer: dict[str, bytes], code: str) -> None:
    (tmp_path / "p.zip").write_bytes(packed(outer))
    assert code in errors(read_package(tmp_path / "p.zip"))


def test_a_trust_store_is_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(ROOT.pem + VENDOR.pem)
    (tmp_path / "notes.txt").write_text("no certificate")
    for path in (tmp_path, tmp_path / "both.pem"):
        assert TrustStore.load(path).certificates == (ROOT.certificate, VENDOR.certificate)
    for bad in (tmp_path / "absent", tmp_path / "notes.txt"):
        with pytest.raises(ProblemError, match="trust store"):
            TrustStore.load(bad)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProblemError, match="no certificate"):
        TrustStore.load(tmp_path / "empty")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 900), st.integers(0, 40))
@example(b"\x00\x00\x00\x80", 168, 4)
def test_a_damaged_signature_is_a_fault_and_never_a_crash(noise: bytes, at: int, gone: int) -> None:
    data = bytearray(SIGNED)
    data[at : at + gone] = noise
    looks_like_cms(bytes(data))
    # Any other exception than a fault fails the test; what still holds was changed where nothing is signed.
    with contextlib.suppress(SignatureFault):
        signed = read_signed_data(bytes(data))
        held = verify_signature(signed, digest_of(b"data"), [], policy(ROOT).trust, NOW)
        assert held.subjects == ("CN=Vendor",)


def digest_of(data: bytes) -> Callable[[str], bytes]:
    return lambda name: hashlib.new(name, data).digest()


SIGNED = sign(b"data", VENDOR, pem=False)


def test_a_certificate_of_an_impossible_version_is_a_fault(tmp_path: Path) -> None:
    held = VENDOR.certificate.public_bytes(serialization.Encoding.DER)
    at = held.index(b"\xa0\x03\x02\x01\x02") + 4  # [0] INTEGER 2: version 3
    other = held[:at] + b"\x3d" + held[at + 1 :]
    whole = sign(b"text", VENDOR, pem=False)
    assert held in whole
    with pytest.raises(SignatureFault, match="version"):
        read_signed_data(whole.replace(held, other))
    package = option2(tmp_path / "p.csar", lambda data: sign(data, VENDOR), **{"c.cert": other})
    assert "certificate-unreadable" in warnings(read_package(package, signature=policy(ROOT)))


@pytest.mark.parametrize(
    "data",
    [b"-----BEGIN CMS-----" * 50_000, b"-----BEGIN CMS-----\n" * 20_000 + b"-----END PKCS7-----" * 20_000],
)
def test_heads_without_an_end_are_looked_through_once(data: bytes) -> None:
    began = time.monotonic()
    assert not looks_like_cms(data)
    with pytest.raises(SignatureFault):
        read_signed_data(data[:900_000])
    assert time.monotonic() - began < 2


def test_a_file_that_is_said_to_be_signed_many_times_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    plain = signed._digest
    monkeypatch.setattr(signed, "_digest", lambda *a: reads.append(a[1]) or plain(*a))
    signature = sign(FILES["vnfd.yaml"], VENDOR)
    text = manifest(FILES) + b"\nSource: vnfd.yaml\nSignature: v.cms\n" * 50
    reading = read_package(
        write_csar(tmp_path / "p.csar", {**FILES, "v.cms": signature, "vnfd.mf": text}), signature=policy(ROOT)
    )
    assert reading.signature.state == "PARTIAL"
    assert reads == ["vnfd.yaml"]


def test_what_nests_without_end_is_a_fault() -> None:
    for tower in (b"\x30\x80" * 5000, b"\x24\x80" * 5000):
        with pytest.raises(SignatureFault):
            read_signed_data(tower)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to sign with")
@pytest.mark.parametrize(
    "arguments",
    [
        ["-outform", "PEM"],
        ["-outform", "DER", "-stream"],
        ["-outform", "DER", "-nodetach"],
        ["-outform", "DER", "-keyid", "-md", "sha512"],
        ["-outform", "DER", "-noattr"],
        ["-outform", "DER", "-keyopt", "rsa_padding_mode:pss"],
    ],
)
def test_what_openssl_signs_is_read(tmp_path: Path, arguments: list[str]) -> None:
    who = identity("Vendor", ROOT, rsa_bits=2048)
    for name, data in {"key": who.key_pem, "cert": who.pem, "data": b"data"}.items():
        (tmp_path / name).write_bytes(data)
    made = subprocess.run(
        ["openssl", "cms", "-sign", "-binary", "-signer", "cert", "-inkey", "key", "-in", "data", *arguments],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    ).stdout
    assert looks_like_cms(made)
    signed = read_signed_data(made)
    assert verify_signature(signed, digest_of(b"data"), [], policy(ROOT).trust, NOW).subjects == ("CN=Vendor",)
    with pytest.raises(SignatureFault) as caught:
        verify_signature(signed, digest_of(b"other"), [], policy(ROOT).trust, NOW)
    assert caught.value.code == "signature-content-changed"
