"""Good input to begin with: `seeds.py TARGET FOLDER`."""

from __future__ import annotations

import io
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit" / "tosca")]


def archives() -> list[bytes]:
    """Packages, and what tests/data keeps of hostile ones."""
    from csar_writer import META, manifest, vnfd

    text = vnfd().encode()
    found = []
    for files in (
        {"vnfd.yaml": text, "vnfd.mf": manifest({"vnfd.yaml": text})},
        {META: b"Entry-Definitions: Definitions/v.yaml\nETSI-Entry-Manifest: v.mf\n", "Definitions/v.yaml": text},
    ):
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raw = io.BytesIO()
            with zipfile.ZipFile(raw, "w", method) as out:
                for name, data in files.items():
                    out.writestr(name, data)
            found.append(raw.getvalue())
    return found + [p.read_bytes() for p in sorted((ROOT / "tests/data/archives").glob("*.csar"))]


def manifests() -> list[bytes]:
    """Manifests and TOSCA.meta."""
    from csar_writer import manifest

    sets = b"\nnon_mano_artifact_sets:\n  acme:\n    Source: a\n\nSource: b\nSignature: b.cms\nCertificate: c.cert\n"
    return [
        manifest({"a": b"a"}) + sets,
        b"TOSCA-Meta-File-Version: 1.0\nEntry-Definitions: v.yaml\n\nName: a\nHash: 0\n",
    ]


def signatures() -> list[bytes]:
    """A signature that holds."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    from vnfm.tosca import SigningKey

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return [SigningKey(key, builder.sign(key, hashes.SHA256())).sign(b"text")]


def descriptors() -> list[bytes]:
    """VNFDs: the samples, and the one that the reading process warms itself with."""
    from vnfm.tosca.warmup import DESCRIPTOR

    return [DESCRIPTOR, *(p.read_bytes() for p in sorted((ROOT / "descriptors/packages").rglob("*.yaml")))]


SEEDS = {"archive": archives, "manifest": manifests, "signature": signatures, "vnfd": descriptors}


def main() -> None:
    """Write them."""
    target, folder = sys.argv[1], Path(sys.argv[2])
    for number, data in enumerate(SEEDS[target]()):
        (folder / f"seed-{number}").write_bytes(data)


if __name__ == "__main__":
    main()
