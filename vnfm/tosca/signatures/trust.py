"""Whom an operator trusts: certificates of authorities, or of signers themselves, in a file or a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vnfm.model.problem import problem
from vnfm.tosca.signatures.fault import SignatureFault

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509 import verification

SUFFIXES = (".pem", ".crt", ".cer", ".cert", ".der")
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_CHAIN = 8
_OBJECT = re.compile(r" \(encountered processing <.*>\)", re.DOTALL)
PEM_HEAD = b"-----BEGIN CERTIFICATE-----"


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """Every certificate of a PEM or DER file. Raises ValueError where there is none."""
    from cryptography import x509

    try:
        if PEM_HEAD in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except x509.InvalidVersion as error:  # the one fault that is no ValueError
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class TrustStore:
    """Certificates that are trusted: an authority's vouches for what it issued, a signer's for itself."""

    certificates: tuple[x509.Certificate, ...]

    @staticmethod
    def load(path: Path) -> TrustStore:
        """From a file (one certificate or many), or from a folder's files that end in SUFFIXES.

        Raises ProblemError `bad-trust-store`: nothing there, or a file that is no certificate.
        """
        try:
            files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES) if path.is_dir() else [path]
            found: list[x509.Certificate] = []
            for file in files:
                if file.stat().st_size > MAX_FILE_BYTES:
                    raise ValueError(f"{file} has more than {MAX_FILE_BYTES} bytes")
                try:
                    found += read_certificates(file.read_bytes())
                except ValueError as error:
                    raise ValueError(f"{file} holds no certificate (PEM or DER expected)") from error
        except (OSError, ValueError) as error:
            raise problem("bad-trust-store", f"the trust store {path}: {error}", instance=str(path)) from error
        if not found:
            endings = " ".join(SUFFIXES)
            detail = f"the trust store {path} holds no certificate; put some there, in files that end in {endings}"
            raise problem("bad-trust-store", detail, instance=str(path))
        return TrustStore(tuple(found))

    def check(self, certificate: x509.Certificate, others: Sequence[x509.Certificate], at: datetime) -> None:
        """Whether the signer's certificate is vouched for at that time, through `others` where needed.

        Raises SignatureFault `signature-untrusted`, `signature-certificate-version`.
        """
        from cryptography.x509 import verification

        if certificate in self.certificates:
            return
        check_version(certificate)
        name = certificate.subject.rfc4514_string()
        try:
            store = verification.Store(list(self.certificates))
            builder = verification.PolicyBuilder().store(store).time(at).max_chain_depth(MAX_CHAIN)
            verifier = builder.extension_policies(
                ca_policy=_authority_policy(), ee_policy=verification.ExtensionPolicy.permit_all()
            ).build_client_verifier()
            verifier.verify(certificate, [c for c in others if c != certificate])
        except (verification.VerificationError, ValueError) as error:
            issuer = certificate.issuer.rfc4514_string()
            reason = _OBJECT.sub("", str(error))
            raise SignatureFault(
                "signature-untrusted",
                f"nothing in the trust store vouches for {name}, issued by {issuer} ({reason})",
                "put the issuer's certificate into the trust store if you trust it",
            ) from error


def check_version(certificate: x509.Certificate) -> None:
    """Only certificates of version 3 say what they are for. Raises SignatureFault `signature-certificate-version`."""
    from cryptography import x509 as x

    if certificate.version is not x.Version.v3:
        name = certificate.subject.rfc4514_string()
        raise SignatureFault(
            "signature-certificate-version",
            f"the certificate of {name} is of X.509 version 1, which nobody can vouch for",
            "have it issued anew as version 3 (`openssl x509 -req` does with -extfile), and sign with that",
        )


def _authority_policy() -> verification.ExtensionPolicy:
    """Private authorities leave out much of what the Web's have to state; that they are one they do state."""
    from cryptography import x509
    from cryptography.x509 import verification

    def is_authority(_: object, __: x509.Certificate, basic: x509.BasicConstraints) -> None:
        if not basic.ca:
            raise ValueError("an issuer is no certificate authority")

    def may_sign(_: object, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("an issuer's key may not sign certificates")

    any_way = verification.Criticality.AGNOSTIC
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, any_way, is_authority)
        .may_be_present(x509.KeyUsage, any_way, may_sign)
    )
