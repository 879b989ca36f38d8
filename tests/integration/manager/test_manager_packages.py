"""How packages come to a manager and go again: fetched, signed or not, in one tenant and in two."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from manager_harness import Manager, by, manager

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.tosca import SigningKey, build_package

NOW = datetime.now(UTC)
VNFD = """
tosca_definitions_version: tosca_simple_yaml_1_3
imports: [ etsi_nfv_sol001_vnfd_types.yaml ]
node_types:
  acme.VNF:
    derived_from: tosca.nodes.nfv.VNF
    properties:
      descriptor_id: { type: string, default: 7c1b0a52-0000-4000-8000-000000000001 }
      descriptor_version: { type: string, default: '1' }
      provider: { type: string, default: Acme }
      product_name: { type: string, default: Fire }
      software_version: { type: string, default: '1' }
      vnfm_info: { type: list, entry_schema: { type: string }, default: [ 'etsivnfm:v2.6.1' ] }
      flavour_id: { type: string, default: simple }
      flavour_description: { type: string, default: small }
topology_template:
  node_templates:
    VNF: { type: acme.VNF }
    vdu1:
      type: tosca.nodes.nfv.Vdu.Compute
      properties:
        name: one
        description: the only one
        vdu_profile: { min_number_of_instances: 1, max_number_of_instances: 1 }
      capabilities:
        virtual_compute:
          properties:
            virtual_memory: { virtual_mem_size: 64 MiB }
            virtual_cpu: { num_virtual_cpu: 1 }
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Packages: plain.csar and signed.csar; trust.pem vouches for the latter."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "vnfd.yaml").write_text(VNFD)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "trust.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    build_package(tmp_path / "src", tmp_path / "plain.csar", now=NOW)
    build_package(tmp_path / "src", tmp_path / "signed.csar", now=NOW, signing=SigningKey(key, certificate))
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def create(made: Manager, tenant: str = "default") -> str:
    return made.packages.CreatePackage(pb.CreatePackageRequest(), metadata=by(tenant)).id


def fetch(made: Manager, url: str, tenant: str = "default", **policies: str) -> pb.Package:
    request = pb.FetchPackageRequest(package_id=create(made, tenant), url=url, **policies)
    return made.packages.FetchPackage(request, metadata=by(tenant), timeout=60)


def upload(made: Manager, file: Path, **policies: str) -> pb.Package:
    first = pb.UploadPackageChunk(package_id=create(made), data=file.read_bytes(), **policies)
    return made.packages.UploadPackage(iter([first]), timeout=60)


def delete(made: Manager, ref: str, tenant: str = "default") -> None:
    made.packages.DeletePackage(pb.GetRequest(ref=ref), metadata=by(tenant))


def blobs(made: Manager) -> list[str]:
    return [p.name for p in (made.state / "blobs").rglob("*") if p.is_file()]


def test_packages_are_fetched_kept_once_a_tenant_and_go_when_unused(folder: Path, site: str) -> None:
    with manager(folder, args=("--package-source", site)) as made:
        mine = fetch(made, f"{site}plain.csar")
        assert (mine.onboarding_state, mine.product) == ("ONBOARDED", "Fire")
        with pytest.raises(grpc.RpcError) as twice:
            fetch(made, f"{site}plain.csar")
        assert twice.value.code() is grpc.StatusCode.ALREADY_EXISTS
        theirs = fetch(made, f"{site}plain.csar", "other")
        assert theirs.onboarding_state == "ONBOARDED"
        assert len(blobs(made)) == 1  # by content: once for both
        with pytest.raises(grpc.RpcError) as enabled:
            delete(made, mine.id)
        assert enabled.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        for package, tenant in ((mine, "default"), (theirs, "other")):
            change = pb.ChangePackageRequest(ref=package.id, operational_state="DISABLED")
            made.packages.ChangePackage(change, metadata=by(tenant))
            assert len(blobs(made)) == 1
            delete(made, package.id, tenant)
        assert blobs(made) == []


def test_what_cannot_be_fetched_is_named_and_leaves_nothing(folder: Path, site: str) -> None:
    with manager(folder, args=("--package-source", f"{site}store/")) as made:
        with pytest.raises(grpc.RpcError) as outside:
            fetch(made, f"{site}plain.csar")
        assert outside.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError) as absent:
            fetch(made, f"{site}store/plain.csar")
        assert absent.value.code() is grpc.StatusCode.UNAVAILABLE
        states = [p.onboarding_state for p in made.packages.ListPackages(pb.ListRequest())]
        assert sorted(states) == ["CREATED", "ERROR"]
        assert blobs(made) == []


def test_a_manager_that_asks_for_signatures_takes_only_what_it_trusts(folder: Path) -> None:
    args = ("--signature", "require", "--trust-store", str(folder / "trust.pem"))
    with manager(folder, args=args) as made:
        with pytest.raises(grpc.RpcError) as unsigned:
            upload(made, folder / "plain.csar", signature_policy="if-present")
        assert "signature-missing" in (unsigned.value.details() or "")
        assert blobs(made) == []
        assert upload(made, folder / "signed.csar").onboarding_state == "ONBOARDED"


def test_a_caller_may_ask_for_more_than_the_manager_does(folder: Path) -> None:
    with manager(folder) as made:
        with pytest.raises(grpc.RpcError) as unsigned:
            upload(made, folder / "plain.csar", signature_policy="require")
        assert "signature-missing" in (unsigned.value.details() or "")
        with pytest.raises(grpc.RpcError, match="signature_policy"):
            upload(made, folder / "plain.csar", signature_policy="perhaps")
        assert upload(made, folder / "plain.csar").onboarding_state == "ONBOARDED"
