"""What becomes of packages that are used, fetched from, or cut off: a client is killed, and so is the manager."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from manager_harness import CHAIN, ROOT, Manager, by, manager, onboard
from test_manager_packages import VNFD, blobs, create, delete, upload

from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb

SCRIPT = b"#!/bin/sh\n" + bytes(3 << 20)
SENDER = """
import sys, time, grpc
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb, nfvo_pb2_grpc as rpc
def chunks():
    yield pb.UploadPackageChunk(package_id=sys.argv[2], data=bytes(1 << 20))
    while True:
        print("sent", flush=True)
        yield pb.UploadPackageChunk(data=bytes(1 << 20))
        time.sleep(0.05)
rpc.PackagesStub(grpc.insecure_channel(sys.argv[1])).UploadPackage(chunks())
"""
# the reading waits where a file says so, and says that it has begun
SLOW_READER = """
import pathlib, time
import vnfm.app
made = vnfm.app.package_reader
def slow(rules):
    read = made(rules)
    def held(path, policy):
        here = pathlib.Path({here!r})
        (here / "began").touch()
        while (here / "hold").exists():
            time.sleep(0.05)
        return read(path, policy)
    return held
vnfm.app.package_reader = slow
"""


@pytest.fixture
def csar(tmp_path: Path) -> Path:
    path = tmp_path / "p.csar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        out.writestr("vnfd.yaml", VNFD)
        out.writestr("Scripts/run.sh", SCRIPT)
    return path


def fetch(made: Manager, ref: str, path: str, tenant: str = "default") -> tuple[bytes, int]:
    request = pb.FetchArtifactRequest(ref=ref, path=path)
    chunks = list(made.packages.FetchArtifact(request, metadata=by(tenant), timeout=60))
    return b"".join(c.data for c in chunks), chunks[0].total_bytes


def state_of(made: Manager, ref: str) -> pb.Package:
    return made.packages.GetPackage(pb.GetRequest(ref=ref))


def until(what: object, seconds: float = 30.0) -> None:
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def test_files_of_an_onboarded_package_are_listed_and_fetched(tmp_path: Path, csar: Path) -> None:
    with manager(tmp_path) as made:
        package = upload(made, csar)
        ref = pb.GetRequest(ref=package.id)
        listed = {a.path: a.size_bytes for a in made.packages.ListArtifacts(ref)}
        assert listed == {"vnfd.yaml": len(VNFD), "Scripts/run.sh": len(SCRIPT)}
        assert fetch(made, package.id, "Scripts/run.sh") == (SCRIPT, len(SCRIPT))
        assert fetch(made, package.vnfd_id, "vnfd.yaml")[0] == VNFD.encode()
        assert fetch(made, package.id, "")[0] == csar.read_bytes()
        for path in ("Scripts/none", "../../etc/passwd", "/etc/passwd", "Scripts"):
            with pytest.raises(grpc.RpcError) as absent:
                fetch(made, package.id, path)
            assert absent.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as foreign:
            fetch(made, package.id, "vnfd.yaml", "other")
        assert foreign.value.code() is grpc.StatusCode.NOT_FOUND
        vnfd = made.packages.GetVnfd(ref).body
        assert vnfd["product"] == "Fire"
        assert [f["id"] for f in vnfd["flavours"]] == ["simple"]
        with pytest.raises(grpc.RpcError) as empty:
            fetch(made, create(made), "vnfd.yaml")
        assert empty.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_an_image_that_is_a_folder_becomes_one_blob(tmp_path: Path) -> None:
    layer = b"layer" * 5000
    layout = {"oci-layout": b"{}", "index.json": b"{}", f"blobs/sha256/{hashlib.sha256(layer).hexdigest()}": layer}
    image = "\n      artifacts:\n        sw_image: { type: tosca.artifacts.nfv.SwImage, file: Files/i }\n"
    with zipfile.ZipFile(tmp_path / "p.csar", "w") as out:
        out.writestr("vnfd.yaml", VNFD.rstrip() + image)
        for name, data in layout.items():
            out.writestr(f"Files/i/{name}", data)
    with manager(tmp_path) as made:
        package = upload(made, tmp_path / "p.csar")
        assert package.onboarding_state == "ONBOARDED"
        (flavour,) = made.packages.GetVnfd(pb.GetRequest(ref=package.id)).body["flavours"]
        (container,) = flavour["vdus"][0]["containers"]
        held = container["image"]
        assert (held["format"], held["path"]) == ("oci-archive", "Files/i")
        assert sorted(blobs(made)) == sorted([package.checksum_sha256, held["sha256"]])
        blob = made.state / "blobs" / held["sha256"][:2] / held["sha256"]
        with tarfile.open(blob) as archive:
            assert {m.name for m in archive.getmembers()} == set(layout)


def test_a_package_in_use_stays_until_nothing_uses_it(tmp_path: Path) -> None:
    onboard(tmp_path / "s")
    with manager(tmp_path) as made:
        (package,) = made.packages.ListPackages(pb.ListRequest())
        operation = made.chains.CreateChain(pb.ChainRequest(descriptor=CHAIN))
        assert made.settled(operation.id).state == "COMPLETED"
        assert state_of(made, package.id).usage_state == "IN_USE"
        with pytest.raises(grpc.RpcError, match="ENABLED"):
            delete(made, package.id)
        made.packages.ChangePackage(pb.ChangePackageRequest(ref=package.id, operational_state="DISABLED"))
        with pytest.raises(grpc.RpcError, match="IN_USE") as used:
            delete(made, package.id)
        assert used.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert len(blobs(made)) == 1
        operation = made.chains.TerminateChain(pb.TerminateChainRequest(ref="c"))
        assert made.settled(operation.id).state == "COMPLETED"
        assert state_of(made, package.id).usage_state == "NOT_IN_USE"
        delete(made, package.id)
        assert blobs(made) == []
        assert list(made.packages.ListPackages(pb.ListRequest())) == []


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Clients that a test started; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def half_upload(made: Manager, package: str, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A client in the middle of a stream that has no end."""
    endpoint = f"unix:{made.state / 'vnfm.sock'}"
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER, endpoint, package], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    started.append(process)
    assert process.stdout
    for _ in range(3):
        assert process.stdout.readline() == "sent\n"
    until(lambda: len(blobs(made)) == 1)  # what has come so far
    assert state_of(made, package).onboarding_state == "UPLOADING"
    return process


def test_a_client_killed_in_the_middle_leaves_no_half_package(
    tmp_path: Path, csar: Path, sender: list[subprocess.Popen[str]]
) -> None:
    with manager(tmp_path) as made:
        package = create(made)
        process = half_upload(made, package, sender)
        process.kill()
        until(lambda: state_of(made, package).onboarding_state == "ERROR")
        assert state_of(made, package).error.type.endswith("upload-broken")
        (listed,) = made.packages.ListPackages(pb.ListRequest())
        assert listed.error.type.endswith("upload-broken")
        until(lambda: blobs(made) == [])
        first = pb.UploadPackageChunk(package_id=package, data=csar.read_bytes())
        assert made.packages.UploadPackage(iter([first]), timeout=60).onboarding_state == "ONBOARDED"


def test_a_manager_killed_in_the_middle_of_an_upload_leaves_no_half_package(
    tmp_path: Path, csar: Path, sender: list[subprocess.Popen[str]]
) -> None:
    with manager(tmp_path) as made:
        package = create(made)
        half_upload(made, package, sender)
        made.process.kill()
        made.process.wait()
        assert len(blobs(made)) == 1
    with manager(tmp_path) as made:
        until(lambda: state_of(made, package).onboarding_state == "ERROR")
        assert blobs(made) == []
        assert upload(made, csar).onboarding_state == "ONBOARDED"


def test_a_manager_killed_while_it_reads_goes_on_at_the_next_start(tmp_path: Path, csar: Path) -> None:
    (tmp_path / "hold").touch()
    with manager(tmp_path, prelude=SLOW_READER.format(here=str(tmp_path))) as made:
        package = create(made)
        answer = made.packages.UploadPackage.future(
            iter([pb.UploadPackageChunk(package_id=package, data=csar.read_bytes())])
        )
        until((tmp_path / "began").exists)
        assert state_of(made, package).onboarding_state == "PROCESSING"
        made.process.kill()
        made.process.wait()
        with pytest.raises(grpc.RpcError):
            answer.result()
    with manager(tmp_path) as made:
        until(lambda: state_of(made, package).onboarding_state == "ONBOARDED")
        assert fetch(made, package, "vnfd.yaml")[0] == VNFD.encode()
        assert len(blobs(made)) == 1
