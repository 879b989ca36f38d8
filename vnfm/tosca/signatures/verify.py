"""Whether a signature holds for some content: the signer's key, the content's digest, the dates, and trust."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from vnfm.tosca.signatures import ber
from vnfm.tosca.signatures.ber import BerError
from vnfm.tosca.signatures.cms import DIGESTS, SignedData, Signer
from vnfm.tosca.signatures.fault import SignatureFault
from vnfm.tosca.signatures.trust import TrustStore, check_version

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

GOOD_DIGESTS = ("sha224", "sha256", "sha384", "sha512")
MIN_RSA_BITS = 2048
_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"
_RSA = "1.2.840.113549.1.1."
_SIGNATURE_DIGESTS = {  # what a signature's algorithm says of the digest
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "1.2.840.10045.4.1": "sha1",
}

ContentDigest = Callable[[str], bytes]
"""The content's digest under a name of hashlib."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Who signed. `trusted` is False where there was no trust store to ask; then `doubts` are what would speak against
    trusting them: dates that do not fit."""

    subjects: tuple[str, ...]
    trusted: bool
    doubts: tuple[SignatureFault, ...] = ()


def verify_signature(
    signed: SignedData,
    content: ContentDigest,
    certificates: Sequence[x509.Certificate],
    trust: TrustStore | None,
    at: datetime,
) -> Verified:
    """Check every signer, with the certificates from elsewhere beside those in the structure. Raises SignatureFault."""
    from cryptography import x509 as x
    from cryptography.exceptions import UnsupportedAlgorithm

    known = [*signed.certificates, *certificates]
    doubts: list[SignatureFault] = []
    try:
        subjects = tuple(_verify_signer(signer, content, known, trust, at, doubts) for signer in signed.signers)
    except (ValueError, UnsupportedAlgorithm, x.DuplicateExtension, x.UnsupportedGeneralNameType) as error:
        # A certificate's fields are parsed when they are first asked for, long after it was loaded.
        raise SignatureFault("signature-malformed", f"a certificate in it is damaged: {error}") from error
    return Verified(subjects, trust is not None, tuple(doubts))


def _verify_signer(
    signer: Signer,
    content: ContentDigest,
    known: Sequence[x509.Certificate],
    trust: TrustStore | None,
    at: datetime,
    doubts: list[SignatureFault],
) -> str:
    """The subject of who signed. Where nobody can be asked whether to trust them, dates that do not fit are doubts."""
    certificate = _certificate_of(signer, known)
    _check_content(signer, content)
    _check_key(signer, certificate, content)
    try:
        _check_dates(certificate, at)
    except SignatureFault as fault:
        if trust is not None:
            raise
        doubts.append(fault)
    _check_usage(certificate)
    if trust is not None:
        trust.check(certificate, known, at)
    return certificate.subject.rfc4514_string()


def check_signer(certificate: x509.Certificate, at: datetime) -> None:
    """Whether what is signed with this certificate's key can be verified elsewhere. Raises SignatureFault."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        _check_bits(key)
    check_version(certificate)
    _check_dates(certificate, at)
    _check_usage(certificate)


def _certificate_of(signer: Signer, known: Sequence[x509.Certificate]) -> x509.Certificate:
    if not known:
        raise SignatureFault(
            "signature-certificate-missing",
            "the signer's certificate is neither in the signature nor in the package",
            "SOL004 5.2: put it into the CMS, beside the signature, or where ETSI-Entry-Certificate says",
        )
    for certificate in known:
        if signer.is_by(certificate):
            return certificate
    names = ", ".join(c.subject.rfc4514_string() for c in known[:3])
    raise SignatureFault(
        "signature-wrong-key",
        f"the signature was made under another certificate than those that came with it ({names})",
        "add the signer's certificate, or sign anew with its key",
    )


def _check_content(signer: Signer, content: ContentDigest) -> None:
    if signer.digest not in GOOD_DIGESTS:
        raise SignatureFault(
            "signature-weak", f"the signature uses the digest {signer.digest}", "sign anew with SHA-256 or better"
        )
    if signer.signed_attributes and not hmac.compare_digest(content(signer.digest), signer.digest_expected):
        raise SignatureFault(
            "signature-content-changed",
            "the content is not what was signed",
            "get the package anew from its provider",
        )


def _check_key(signer: Signer, certificate: x509.Certificate, content: ContentDigest) -> None:
    """Raises SignatureFault where the signature was not made with the certificate's key."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        _check_signature(signer, certificate.public_key(), content)
    except InvalidSignature as error:
        name = certificate.subject.rfc4514_string()
        if not signer.signed_attributes:
            detail = f"the signature does not fit the content and the key of {name}: one of them is another"
            raise SignatureFault(
                "signature-content-changed", detail, "get the package anew from its provider"
            ) from error
        detail = f"the signature was not made with the key of {name}"
        raise SignatureFault("signature-wrong-key", detail, "sign anew with the certificate's own key") from error
    except (UnsupportedAlgorithm, BerError, ValueError, IndexError, TypeError) as error:
        detail = f"the signature's algorithm {signer.algorithm} cannot be checked: {error}"
        raise SignatureFault("signature-malformed", detail, "sign with RSA, ECDSA or Ed25519") from error


def _check_signature(signer: Signer, key: Any, content: ContentDigest) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        if not signer.signed_attributes:
            raise ValueError("an Ed25519 signature needs signed attributes here")
        key.verify(signer.signature, signer.signed_attributes)
        return
    digest = _SIGNATURE_DIGESTS.get(signer.algorithm, signer.digest)
    scheme: Any = padding.PKCS1v15()
    if signer.algorithm == _PSS:
        scheme, digest = _pss(signer.parameters)
    if digest not in GOOD_DIGESTS:
        raise SignatureFault("signature-weak", f"the signature uses the digest {digest}", "sign anew with SHA-256")
    algorithm: Any = _hash(digest)
    data = signer.signed_attributes
    if not data:
        data, algorithm = content(digest), utils.Prehashed(algorithm)
    if isinstance(key, rsa.RSAPublicKey):
        _check_bits(key)
        if not signer.algorithm.startswith(_RSA):
            raise ValueError("the key is an RSA key")
        key.verify(signer.signature, data, scheme, algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if signer.algorithm.startswith(_RSA):
            raise ValueError("the key is an EC key")
        key.verify(signer.signature, data, ec.ECDSA(algorithm))
    else:
        raise ValueError(f"keys of the kind {type(key).__name__} are not known here")


def _check_bits(key: rsa.RSAPublicKey) -> None:
    if key.key_size < MIN_RSA_BITS:
        raise SignatureFault("signature-weak", f"the key has {key.key_size} bits", f"use {MIN_RSA_BITS} or more")


def _hash(name: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    known: dict[str, Any] = {
        "sha224": hashes.SHA224,
        "sha256": hashes.SHA256,
        "sha384": hashes.SHA384,
        "sha512": hashes.SHA512,
    }
    return known[name]()


def _pss(parameters: bytes) -> tuple[Any, str]:
    """RSASSA-PSS's parameters (RFC 4055 clause 3.1): digest, mask and salt; absent means SHA-1, which is refused."""
    from cryptography.hazmat.primitives.asymmetric import padding

    fields = {n.tag: n.children()[0] for n in ber.parse(parameters).children()}
    digest = DIGESTS.get(fields[0xA0].children()[0].oid(), "") if 0xA0 in fields else "sha1"
    mask = digest
    if 0xA1 in fields:
        generator, of = fields[0xA1].children()
        if generator.oid() != _MGF1:
            raise ValueError("a mask generator other than MGF1")
        mask = DIGESTS.get(of.children()[0].oid(), "")
    salt = fields[0xA2].number() if 0xA2 in fields else 20
    if digest not in GOOD_DIGESTS or mask not in GOOD_DIGESTS:
        raise SignatureFault("signature-weak", f"the signature uses the digest {digest or 'unknown'}", "use SHA-256")
    return padding.PSS(padding.MGF1(_hash(mask)), salt), digest


def _check_dates(certificate: x509.Certificate, at: datetime) -> None:
    name = certificate.subject.rfc4514_string()
    if at > certificate.not_valid_after_utc:
        day = certificate.not_valid_after_utc.date()
        raise SignatureFault(
            "signature-expired", f"the certificate of {name} ran out on {day}", "get a package that is signed anew"
        )
    if at < certificate.not_valid_before_utc:
        day = certificate.not_valid_before_utc.date()
        raise SignatureFault(
            "signature-not-yet-valid", f"the certificate of {name} holds from {day} on", "check this host's clock"
        )


def _check_usage(certificate: x509.Certificate) -> None:
    from cryptography import x509 as x

    try:
        usage = certificate.extensions.get_extension_for_class(x.KeyUsage).value
    except x.ExtensionNotFound:
        return
    except ValueError as error:
        raise SignatureFault("signature-malformed", f"the certificate's extensions are damaged: {error}") from error
    if not (usage.digital_signature or usage.content_commitment):
        name = certificate.subject.rfc4514_string()
        raise SignatureFault("signature-untrusted", f"the certificate of {name} is not meant for signing")
