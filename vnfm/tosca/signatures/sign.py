"""Makes the signatures of packages that are built here (ETSI GS NFV-SOL 004 clause 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vnfm.model.problem import problem
from vnfm.tosca.signatures.fault import SignatureFault
from vnfm.tosca.signatures.trust import read_certificates
from vnfm.tosca.signatures.verify import check_signer

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True)
class SigningKey:
    """A private key, its certificate, and those that vouch for it."""

    key: Any
    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...] = ()

    @staticmethod
    def load(key: Path, certificate: Path, password: bytes | None = None) -> SigningKey:
        """From PEM files; the signer's certificate comes first in its file.

        Raises ProblemError `bad-key`: unreadable, of a kind that cannot sign here, not the certificate's, or one whose
        signatures would be refused now.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            private = load_pem_private_key(key.read_bytes(), password)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            hint = "expected a private key in PEM; for a locked one set VNFM_KEY_PASSWORD"
            raise problem(
                "bad-key", f"cannot use the key {key}: {_reason(error)}; {hint}", instance=str(key)
            ) from error
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise problem("bad-key", f"{key}: packages are signed with RSA and EC keys", instance=str(key))
        try:
            first, *others = read_certificates(certificate.read_bytes())
        except (OSError, ValueError) as error:
            detail = f"cannot use the certificate {certificate}: {_reason(error)}"
            raise problem("bad-key", detail, instance=str(certificate)) from error
        if first.public_key() != private.public_key():
            detail = f"{key} is not the key of the first certificate in {certificate}"
            raise problem("bad-key", detail, instance=str(key))
        try:
            check_signer(first, datetime.now(UTC))
        except (SignatureFault, ValueError) as error:
            hint = f"; {error.hint}" if isinstance(error, SignatureFault) and error.hint else ""
            detail = f"what is signed with {certificate} would be refused: {error}{hint}"
            raise problem("bad-key", detail, instance=str(certificate)) from error
        return SigningKey(private, first, tuple(others))

    def sign(self, data: bytes) -> bytes:
        """A detached CMS signature in PEM, with the certificates in it, which is the one place that SOL004 asks for."""
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.serialization import pkcs7

        builder = pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(self.certificate, self.key, hashes.SHA256())
        for other in self.others:
            builder = builder.add_certificate(other)
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
        pem = builder.sign(serialization.Encoding.PEM, options)
        return pem.replace(b"BEGIN PKCS7", b"BEGIN CMS").replace(b"END PKCS7", b"END CMS")


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
