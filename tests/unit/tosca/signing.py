"""Keys, certificates and signatures for the tests of this folder, made anew each time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Option = pkcs7.PKCS7Options


@dataclass(frozen=True)
class Identity:
    """A key and its certificate."""

    key: Any
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())  # type: ignore[no-any-return]


def identity(
    name: str,
    issuer: Identity | None = None,
    *,
    authority: bool = False,
    begin: datetime = NOW - timedelta(days=10),
    end: datetime = NOW + timedelta(days=300),
    rsa_bits: int = 0,
) -> Identity:
    """Issued by `issuer`, or by itself."""
    key: Any = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Identity(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


def sign(
    data: bytes,
    who: Identity,
    *more: pkcs7.PKCS7Options,
    pem: bool = True,
    digest: Any = None,
    others: tuple[Identity, ...] = (),
) -> bytes:
    """A detached CMS signature; `more` may leave out certificates or attributes."""
    builder = (
        pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(who.certificate, who.key, digest or hashes.SHA256())
    )
    for other in others:
        builder = builder.add_certificate(other.certificate)
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    return builder.sign(encoding, [Option.DetachedSignature, Option.Binary, *more])
