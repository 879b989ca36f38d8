"""CMS SignedData (RFC 5652 clause 5): who signed what, how, and the certificates that came along."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnfm.tosca.signatures import ber
from vnfm.tosca.signatures.ber import BerError, Node
from vnfm.tosca.signatures.fault import SignatureFault
from vnfm.tosca.signatures.trust import read_certificates

if TYPE_CHECKING:
    from cryptography import x509

SIGNED_DATA = "1.2.840.113549.1.7.2"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_IN_CONTEXT_0, _IN_CONTEXT_1, _KEY_ID = 0xA0, 0xA1, 0x80
MAX_BYTES = 1024 * 1024
MAX_SIGNERS = 8
MAX_CERTIFICATES = 32

DIGESTS = {
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "1.3.14.3.2.26": "sha1",
    "1.2.840.113549.2.5": "md5",
}

_PEM_HEAD = re.compile(rb"-----BEGIN (CMS|PKCS7|PKCS #7 SIGNED DATA)-----")


@dataclass(frozen=True, slots=True)
class Signer:
    """One SignerInfo. `issuer` and `serial`, or `key_id`, say whose certificate; `signed_attributes` is what was signed
    (a SET in DER), empty where the content itself was; `digest` is a name in hashlib, `digest_expected` what the signer
    says the content's digest is."""

    issuer: bytes
    serial: int
    key_id: bytes
    digest: str
    digest_expected: bytes
    signed_attributes: bytes
    algorithm: str
    parameters: bytes
    signature: bytes

    def is_by(self, certificate: x509.Certificate) -> bool:
        """Whether this is the certificate that the signer means."""
        from cryptography import x509 as x

        if not self.key_id:
            return certificate.serial_number == self.serial and certificate.issuer.public_bytes() == self.issuer
        try:
            held = certificate.extensions.get_extension_for_class(x.SubjectKeyIdentifier).value.digest
        except (x.ExtensionNotFound, ValueError):
            held = x.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
        return held == self.key_id


@dataclass(frozen=True, slots=True)
class SignedData:
    """What a signature file holds."""

    signers: tuple[Signer, ...]
    certificates: tuple[x509.Certificate, ...]


def looks_like_cms(data: bytes) -> bool:
    """Whether a file could be a signature: PEM's head, or a ContentInfo of SignedData."""
    if _pem_body(data) is not None:
        return True
    try:
        return data[:1] == b"\x30" and ber.parse(data).children()[0].oid() == SIGNED_DATA
    except (BerError, IndexError):
        return False


def read_signed_data(data: bytes) -> SignedData:
    """PEM or DER. Raises SignatureFault `signature-malformed`."""
    if len(data) > MAX_BYTES:
        raise SignatureFault("signature-malformed", f"the signature has more than {MAX_BYTES} bytes")
    try:
        return _signed_data(ber.parse(_unwrapped(data)))
    except (BerError, IndexError, ValueError) as error:
        what = str(error) or "something is missing in it"
        hint = "SOL004 5.2 asks for CMS SignedData, PEM or DER"
        raise SignatureFault("signature-malformed", f"the signature is no CMS structure: {what}", hint) from error


def _unwrapped(data: bytes) -> bytes:
    body = _pem_body(data)
    if body is None:
        return data
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise BerError("its base64 is damaged") from error


def _pem_body(data: bytes) -> bytes | None:
    """What stands between the first head and the end that belongs to it. Looked for once: data is hostile."""
    head = _PEM_HEAD.search(data)
    end = data.find(b"-----END " + head[1] + b"-----", head.end()) if head else -1
    return data[head.end() : end] if head and end >= 0 else None


def _signed_data(info: Node) -> SignedData:
    kind, holder = info.children()[:2]
    if kind.oid() != SIGNED_DATA:
        raise BerError("it is not SignedData")
    parts = holder.children()[0].children()
    signers = parts[-1]
    if parts[0].tag != ber.INTEGER or len(parts) < 4 or signers.tag != ber.SET:
        raise BerError("its parts are not those of SignedData")
    if not 0 < len(found := signers.children()) <= MAX_SIGNERS:
        raise BerError(f"expected 1 to {MAX_SIGNERS} signers, found {len(found)}")
    certificates = [c for p in parts[3:-1] if p.tag == _IN_CONTEXT_0 for c in p.children() if c.tag == ber.SEQUENCE]
    if len(certificates) > MAX_CERTIFICATES:
        raise BerError(f"more than {MAX_CERTIFICATES} certificates")
    return SignedData(tuple(_signer(n) for n in found), tuple(read_certificates(c.raw)[0] for c in certificates))


def _signer(node: Node) -> Signer:
    _, who, digest, *rest = node.children()
    issuer, serial, key_id = b"", 0, b""
    if who.tag == _KEY_ID:
        key_id = who.body
    elif who.tag == ber.SEQUENCE:
        named, number = who.children()
        issuer, serial = named.raw, number.number()
    if not key_id and not issuer:
        raise BerError("a signer without a name")
    attributes, expected = b"", b""
    if rest[0].tag == _IN_CONTEXT_0:
        attributes, expected = _attributes(rest[0])
        rest = rest[1:]
    algorithm = rest[0].children()
    written = digest.children()[0].oid()
    return Signer(
        issuer,
        serial,
        key_id,
        DIGESTS.get(written, written),
        expected,
        attributes,
        algorithm[0].oid(),
        algorithm[1].raw if len(algorithm) > 1 else b"",
        rest[1].octets(),
    )


def _attributes(node: Node) -> tuple[bytes, bytes]:
    """What was signed (the same bytes with SET's tag, RFC 5652 clause 5.4) and the content's digest in it."""
    if node.raw[1] == 0x80:
        raise BerError("signed attributes have to be DER")
    values: dict[str, Node] = {}
    for attribute in node.children():
        kind, held = attribute.children()
        if kind.oid() in values:
            raise BerError("a signed attribute twice")
        values[kind.oid()] = held.children()[0]
    if _MESSAGE_DIGEST not in values or _CONTENT_TYPE not in values:
        raise BerError("the content's type or digest is missing among the signed attributes")
    return bytes([ber.SET]) + node.raw[1:], values[_MESSAGE_DIGEST].octets()
