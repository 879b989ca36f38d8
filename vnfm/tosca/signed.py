"""What of a package is signed, and whether that holds (ETSI GS NFV-SOL 004 clause 5).

Option 1: a signature in or beside the manifest, or of single files. Option 2: a signature of the whole CSAR.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from vnfm.tosca.archive import DAMAGE, Archive, small_file
from vnfm.tosca.container import Envelope
from vnfm.tosca.digests import PackageFile, is_url
from vnfm.tosca.layout import CERTIFICATE_SUFFIXES, SIGNATURE_SUFFIXES, Layout
from vnfm.tosca.manifest import META
from vnfm.tosca.names import clean_source
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.signatures.cms import MAX_BYTES, SignedData, read_signed_data
from vnfm.tosca.signatures.fault import SignatureFault
from vnfm.tosca.signatures.trust import TrustStore, read_certificates
from vnfm.tosca.signatures.verify import ContentDigest, Verified, verify_signature

if TYPE_CHECKING:
    from cryptography import x509

MAX_SIGNED_FILES = 200
_ANEW = "get the package anew from its provider"


@dataclass(frozen=True)
class SignaturePolicy:
    """What an operator asks of signatures. Without a trust store they are checked against the certificates that came
    along, which shows damage but not who signed; `at` is the time to check for, now where it is None."""

    required: bool = False
    trust: TrustStore | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """`option` is 1 (manifest or single files), 2 (whole CSAR) or 0 (unsigned). VERIFIED: all of the package, by
    someone whom the operator trusts; INTACT: no trust store was there to ask; PARTIAL: what is signed holds, but not
    every file is; FAILED: a signature, or a digest that it covers, does not hold."""

    state: Literal["UNSIGNED", "VERIFIED", "INTACT", "PARTIAL", "FAILED"] = "UNSIGNED"
    option: int = 0
    subjects: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed. `report` is about the signatures alone, not yet about what they leave out; `manifest` says
    whether the manifest has a signature, `single` are the files of which one of their own holds."""

    report: SignatureReport
    policy: SignaturePolicy
    manifest: bool = False
    single: frozenset[str] = frozenset()

    @property
    def binding(self) -> bool:
        """Whether somebody's signature is relied upon: then no other policy lets pass what it does not cover."""
        return self.report.option != 0 and (self.policy.required or self.policy.trust is not None)


class _Checker:
    def __init__(self, policy: SignaturePolicy, notes: Notes) -> None:
        self.policy = policy
        self.notes = notes
        self.at = policy.at or datetime.now(UTC)
        self.verified: list[Verified] = []
        self.faults = 0
        self._digests: dict[tuple[str, str], bytes] = {}

    def read(self, data: bytes, place: Place) -> SignedData | None:
        """The structure; a finding where it is none."""
        try:
            return read_signed_data(data)
        except SignatureFault as fault:
            self.fault(fault, place)
            return None

    def check(
        self, signed: SignedData | None, content: ContentDigest, others: list[x509.Certificate], place: Place
    ) -> bool:
        """Whether one signature holds; a finding where it does not."""
        if signed is None:
            return False
        try:
            verified = verify_signature(signed, content, others, self.policy.trust, self.at)
        except SignatureFault as fault:
            self.fault(fault, place)
            return False
        self.verified.append(verified)
        for doubt in verified.doubts:
            self.notes.warn(doubt.code, f"{place.file}: {doubt.message}", place, doubt.hint)
        return True

    def digest_of(self, archive: Archive, name: str) -> ContentDigest:
        """A file's digests; each is computed once, however often the file is said to be signed."""

        def digest(algorithm: str) -> bytes:
            key = (name, algorithm)
            if key not in self._digests:
                self._digests[key] = _digest(archive, name, algorithm)
            return self._digests[key]

        return digest

    def fault(self, fault: SignatureFault, place: Place) -> None:
        self.faults += 1
        self.notes.error(fault.code, f"{place.file}: {fault.message}", place, fault.hint)

    def report(self, option: int, files: tuple[str, ...]) -> SignatureReport:
        """The outcome, with a finding where the policy asks for more."""
        subjects = tuple(dict.fromkeys(s for v in self.verified for s in v.subjects))
        if not option:
            if self.policy.required:
                self.notes.error(
                    "signature-missing",
                    "the package is not signed and the policy requires it",
                    hint="sign it (`vnfm package build --key --cert`), or use --signature if-present",
                )
            return SignatureReport()
        if self.faults or not self.verified:
            return SignatureReport("FAILED", option, subjects, files)
        if self.policy.trust is None:
            note = self.notes.error if self.policy.required else self.notes.warn
            note(
                "signature-no-trust-store",
                f"the signature of {'; '.join(subjects)} fits, but there is no trust store to say whether to trust it",
                hint="name whom you trust: --trust-store FILE or DIR",
            )
            return SignatureReport("INTACT", option, subjects, files)
        return SignatureReport("VERIFIED", option, subjects, files)


def is_signed(layout: Layout, envelope: Envelope | None, archive: Archive) -> bool:
    """Whether anything claims to be signed, whether it holds or not."""
    return bool(
        (envelope and envelope.signatures)
        or layout.manifest.signature
        or any(d.signature for d in layout.manifest.digests)
        or _detached(layout, archive)
    )


def check_signatures(
    archive: Archive, layout: Layout, envelope: Envelope | None, policy: SignaturePolicy, notes: Notes
) -> Signed:
    """Verify all that is signed; findings for what does not hold."""
    checker = _Checker(policy, notes)
    option, files = 0, list[str]()
    if envelope is not None:
        option = 2 if envelope.signatures else 0
        files += [*envelope.signatures, *envelope.certificates]
        _check_envelope(envelope, checker)
    around = _check_manifest(archive, layout, checker)
    single, beside = _check_files(archive, layout, checker)
    claimed = any(d.signature for d in layout.manifest.digests)
    option = option or (1 if around or claimed else 0)
    report = checker.report(option, tuple(dict.fromkeys([*files, *around, *beside])))
    return Signed(report, policy, bool(around), frozenset(single))


def _check_envelope(envelope: Envelope, checker: _Checker) -> None:
    others = _read_all(envelope.certificates, checker)
    for name, data in envelope.signatures.items():
        signed = checker.read(data, Place(name))
        if signed is not None and signed.certificates and others:
            _many_places(checker, name)
        checker.check(signed, lambda algorithm: envelope.digests[algorithm], others, Place(name))


def _check_manifest(archive: Archive, layout: Layout, checker: _Checker) -> list[str]:
    """Option 1; the names of the files that carry the signature and certificates."""
    name, manifest = layout.manifest_name, layout.manifest
    detached = _detached(layout, archive)
    if not manifest.signature and not detached:
        return []
    others, files = _certificates(archive, layout, checker)
    for where, data in [(name, manifest.signature)] * bool(manifest.signature) + [
        (d, small_file(archive, d, MAX_BYTES)) for d in detached
    ]:
        signed = checker.read(data, Place(where))
        if signed is not None:
            content = _best(_variants(manifest.signed), signed)
            checker.check(signed, content, others, Place(where))
            if signed.certificates and files:
                _many_places(checker, where)
    return [name, *detached, *files]


def _variants(body: bytes) -> list[bytes]:
    """The manifest's text as signing tools take it: as it stands, with or without the blank lines before the block, and
    with the line ends of mail (RFC 5751 clause 3.1.1). All say the same."""
    plain = body.replace(b"\r\n", b"\n")
    trimmed = plain.rstrip(b"\n")
    texts = [body, body.rstrip(b"\r\n")]
    for text in (plain, trimmed + b"\n", trimmed + b"\n\n", trimmed):
        texts += [text, text.replace(b"\n", b"\r\n")]
    return list(dict.fromkeys(texts))


def _best(texts: list[bytes], signed: SignedData) -> ContentDigest:
    """The digest of the variant that the signer means; that of the text as it stands where none fits."""
    chosen = texts[0]
    for signer in signed.signers:
        for text in texts:
            if signer.digest_expected and hashlib.new(signer.digest, text).digest() == signer.digest_expected:
                chosen = text
                break
    return lambda algorithm: hashlib.new(algorithm, chosen).digest()


def _check_files(archive: Archive, layout: Layout, checker: _Checker) -> tuple[set[str], list[str]]:
    """Files of the package that are signed one by one: those whose signatures hold, and the names of the signatures and
    certificates."""
    held, used = set[str](), list[str]()
    entries = [d for d in layout.manifest.digests if d.signature]
    if len(entries) > MAX_SIGNED_FILES:
        fault = SignatureFault("signature-malformed", f"more than {MAX_SIGNED_FILES} files are signed one by one")
        checker.fault(fault, Place(layout.manifest_name))
    for entry in entries[:MAX_SIGNED_FILES]:
        source, signature, certificate = (clean_source(n) for n in (entry.source, entry.signature, entry.certificate))
        if is_url(source):
            continue
        if source not in archive.sizes:
            gone = SignatureFault("digest-absent-file", f"{source} is signed and not in the package", _ANEW)
            checker.fault(gone, entry.place)
            continue
        if signature not in archive.sizes:
            absent = SignatureFault("signature-malformed", f"the signature {signature} is not in the package")
            checker.fault(absent, entry.place)
            continue
        used += [signature, *([certificate] if certificate in archive.sizes else [])]
        own = {certificate: small_file(archive, certificate, MAX_BYTES)} if certificate in archive.sizes else {}
        others = _read_all(own, checker) if own else _certificates(archive, layout, checker)[0]
        signed = checker.read(small_file(archive, signature, MAX_BYTES), Place(signature))
        if checker.check(signed, checker.digest_of(archive, source), others, Place(signature)):
            held.add(source)
    return held, used


def _digest(archive: Archive, name: str, algorithm: str) -> bytes:
    h = hashlib.new(algorithm)
    try:
        for chunk in archive.stream(name):
            h.update(chunk)
    except DAMAGE:
        return b""  # said by name when every file is read
    return h.digest()


def _detached(layout: Layout, archive: Archive) -> list[str]:
    """Signature files beside the manifest that are named after it."""
    name = layout.manifest_name
    if not name:
        return []
    stem = posixpath.splitext(name)[0]
    listed = {clean_source(d.signature) for d in layout.manifest.digests}
    names = [base + suffix for base in (stem, name) for suffix in SIGNATURE_SUFFIXES]
    return [n for n in names if n in archive.sizes and n not in listed]


def _certificates(archive: Archive, layout: Layout, checker: _Checker) -> tuple[list[x509.Certificate], list[str]]:
    """Certificates that the package holds, from one place (SOL004 5.2); a warning where there are more places."""
    named = list(layout.parts.get("certificate", ()))
    root = [n for n in archive.sizes if "/" not in n and n.lower().endswith(CERTIFICATE_SUFFIXES) and n not in named]
    if named and root:
        _many_places(checker, named[0])
    names = [*named, *root]
    return _read_all({n: small_file(archive, n, MAX_BYTES) for n in names}, checker), names


def _many_places(checker: _Checker, name: str) -> None:
    checker.notes.warn(
        "signature-certificate-places",
        "certificates are in more than one place",
        Place(name),
        "SOL004 5.2: in the CMS, at the root, or where ETSI-Entry-Certificate says",
    )


def _read_all(files: Mapping[str, bytes], checker: _Checker) -> list[x509.Certificate]:
    found = []
    for name, data in files.items():
        try:
            found += read_certificates(data)
        except ValueError:
            checker.notes.warn(
                "certificate-unreadable", f"{name} holds no certificate (PEM or DER expected)", Place(name)
            )
    return found


def check_covered(
    layout: Layout, files: Mapping[str, PackageFile], signed: Signed, notes: Notes, *, strict: bool, broken: bool
) -> SignatureReport:
    """The report once it is known what the signatures leave out; `broken` says that a digest does not hold."""
    uncovered = _check_listed(layout, files, signed, notes, strict=strict)
    if signed.report.option == 1 and not signed.manifest:
        uncovered = _check_single(layout, files, signed, notes)
    report = signed.report
    if report.state not in ("VERIFIED", "INTACT"):
        return report
    if broken:
        return replace(report, state="FAILED")
    return replace(report, state="PARTIAL") if uncovered else report


def _check_single(layout: Layout, files: Mapping[str, PackageFile], signed: Signed, notes: Notes) -> bool:
    """Where nobody signed the manifest its digests are anyone's: each file needs a signature of its own. The manifest
    says which files are signatures and certificates, so what it says so of has to be called like one."""
    endings = (*SIGNATURE_SUFFIXES, *CERTIFICATE_SUFFIXES)
    exempt = {n for n in signed.report.files if n.lower().endswith(endings)}
    exempt |= {layout.manifest_name, *layout.parts.get("certificate", ())}
    exempt |= {n for n in files if "/" not in n and n.lower().endswith(CERTIFICATE_SUFFIXES)}
    lacking = sorted(n for n in files if n not in exempt and n not in signed.single)
    if lacking:
        names = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        note = notes.error if signed.policy.required else notes.warn
        note(
            "signature-partial",
            f"only a part of the package is signed: neither the manifest nor {names}",
            Place(layout.manifest_name),
            "sign the manifest, or the whole package",
        )
    return bool(lacking)


def _check_listed(
    layout: Layout, files: Mapping[str, PackageFile], signed: Signed, notes: Notes, *, strict: bool
) -> bool:
    """Files that the manifest does not list. Where its signature is what protects the package, they are unprotected."""
    report = signed.report
    protects = report.option == 1 and signed.manifest
    if not layout.manifest.digests and not protects:
        if layout.manifest_name and not (layout.meta and layout.meta.digests):
            (notes.error if strict and not report.option else notes.warn)(
                "digest-missing",
                f"{layout.manifest_name} lists no file with its hash, so nothing shows whether one was changed",
                Place(layout.manifest_name),
                "list every file with its hash (`vnfm package build` does)",
            )
        return False
    exempt = {layout.manifest_name, *report.files, *layout.parts.get("certificate", ())}
    note = notes.error if strict and protects else notes.warn
    if not protects:
        exempt.add(layout.meta.name if layout.meta else META)
    listed = {clean_source(d.source) for d in layout.manifest.digests if d.digest or d.signature} | exempt
    mentioned = {clean_source(source) for source, _ in layout.manifest.sources}
    uncovered = False
    for other in files:
        if other not in listed and not any(other[:at] in listed for at, c in enumerate(other) if c == "/"):
            uncovered = protects
            more = ", so the signature does not protect it" if protects else ""
            how = "is listed without a hash" if other in mentioned else "is not listed"
            note(
                "digest-missing",
                f"{other} {how} in the manifest{more}",
                Place(layout.manifest_name),
                "list it with its hash",
            )
    return uncovered
