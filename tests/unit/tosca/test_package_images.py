"""Software images in every form in which a package brings them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from csar_writer import VDU, digest, manifest, tar_of, vnfd, write_csar

from vnfm.model.vdu import ImageFormat, SwImage
from vnfm.tosca import PackageReading, build_package, read_package
from vnfm.tosca.ocifolder import oci_folders

LAYER, CONFIG = b"layer" * 700, b'{"os":"linux"}'


def layout() -> dict[str, bytes]:
    """An OCI image layout, a file a name."""
    blobs = {f"blobs/sha256/{hashlib.sha256(b).hexdigest()}": b for b in (LAYER, CONFIG)}
    return {"index.json": json.dumps({"schemaVersion": 2}).encode(), "oci-layout": b"{}", **blobs}


def docker_save() -> bytes:
    return tar_of({"abc.json": b"{}", "abc/layer.tar": tar_of({"etc/x": b"y"}), "manifest.json": b"[]"})


def with_image(file: str, checksum: str = "", kind: str = "container_format: docker") -> str:
    written = f"checksum: {{ algorithm: sha-256, hash: {checksum} }}" if checksum else ""
    return (
        VDU.rstrip()
        + f"""
      artifacts:
        sw_image:
          type: tosca.artifacts.nfv.SwImage
          file: {file}
          properties:
            name: main
            version: '1.0'
            size: 1 GiB
            {kind}
            {written}
"""
    )


def image_of(reading: PackageReading) -> SwImage:
    assert reading.vnfd is not None, reading.findings
    (vdu,) = reading.vnfd.flavours[0].vdus
    (image,) = [i for i in (vdu.disk_image, *(c.image for c in vdu.containers)) if i is not None]
    return image


@pytest.mark.parametrize("file", ["Files/image", "Files/image/", "../Files/image"])
def test_an_oci_layout_that_is_a_folder_is_an_image(tmp_path: Path, file: str) -> None:
    name = "Definitions/vnfd.yaml" if file.startswith("..") else "vnfd.yaml"
    files: dict[str, str | bytes] = {
        name: vnfd(with_image(file)),
        "TOSCA-Metadata/TOSCA.meta": f"Entry-Definitions: {name}",
    }
    files |= {f"Files/image/{n}": data for n, data in layout().items()}
    reading = read_package(write_csar(tmp_path / "p.csar", files))
    assert reading.ok, reading.findings
    image = image_of(reading)
    assert (image.format, image.path) == (ImageFormat.OCI_ARCHIVE, "Files/image")
    assert reading.files["Files/image"].kind == "oci-layout"
    reading.extract("Files/image", tmp_path / "image.tar")
    packed = (tmp_path / "image.tar").read_bytes()
    assert (len(packed), digest(packed)) == (image.size_bytes, image.sha256)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
        assert members[0].name == "oci-layout"
        assert {m.name: archive.extractfile(m).read() for m in members} == layout()  # type: ignore[union-attr]


def test_the_archive_of_a_folder_is_the_same_from_a_folder_and_a_csar(tmp_path: Path) -> None:
    source = tmp_path / "p"
    for name, data in {
        "vnfd.yaml": vnfd(with_image("Files/i")).encode(),
        **{f"Files/i/{n}": d for n, d in layout().items()},
    }.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    build_package(source, tmp_path / "p.csar", now=datetime(2020, 1, 1, tzinfo=UTC))
    assert image_of(read_package(source)) == image_of(read_package(tmp_path / "p.csar"))


def test_a_blob_that_is_not_what_its_name_says_is_named(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"vnfd.yaml": vnfd(with_image("Files/i"))}
    files |= {f"Files/i/{n}": (b"other" if data == CONFIG else data) for n, data in layout().items()}
    reading = read_package(write_csar(tmp_path / "p.csar", files))
    assert [f.code for f in reading.findings if f.severity == "error"] == ["image-damaged"]
    assert read_package(tmp_path / "p.csar", digests="warn").ok


def test_only_a_whole_layout_is_one() -> None:
    assert oci_folders(
        ["a/oci-layout", "a/index.json", "b/oci-layout", "c/index.json", "oci-layout", "index.json"]
    ) == ["a"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (docker_save(), ImageFormat.DOCKER_ARCHIVE),
        (gzip.compress(docker_save()), ImageFormat.DOCKER_ARCHIVE),
        (tar_of(layout()), ImageFormat.OCI_ARCHIVE),
        (gzip.compress(tar_of(layout())), ImageFormat.OCI_ARCHIVE),
        (tar_of({"bin/sh": b"x", "etc/passwd": b"y"}), ImageFormat.ROOTFS_TAR),
        (b"QFI\xfb" + bytes(600), ImageFormat.QCOW2),
        (bytes(1024), ImageFormat.RAW),
    ],
)
def test_an_image_is_what_its_bytes_say(tmp_path: Path, data: bytes, expected: ImageFormat) -> None:
    files = {"vnfd.yaml": vnfd(with_image("Files/i", digest(data))), "Files/i": data}
    reading = read_package(write_csar(tmp_path / "p.csar", files))
    assert reading.ok, reading.findings
    image = image_of(reading)
    assert (image.format, image.sha256, image.size_bytes) == (expected, digest(data), len(data))


@pytest.mark.parametrize(
    "file",
    ["https://images.example/x.qcow2", "registry.example:5000/team/app:1.2", "docker.io/library/nginx@sha256:00"],
)
def test_an_image_elsewhere_keeps_its_checksum_and_is_never_fetched(tmp_path: Path, file: str) -> None:
    reading = read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(with_image(f"'{file}'", "AB12"))}))
    assert reading.ok, reading.findings
    image = image_of(reading)
    assert (image.format, image.path, image.checksum) == (ImageFormat.REFERENCE, file, "sha-256:ab12")
    assert "image-unchecked" not in {f.code for f in reading.findings}


def test_a_wrong_checksum_of_an_image_follows_the_policy(tmp_path: Path) -> None:
    text = vnfd(with_image("Files/i", digest(b"other")))
    files = {"vnfd.yaml": text, "Files/i": b"x" * 600}
    package = write_csar(
        tmp_path / "p.csar",
        {**files, "vnfd.mf": manifest({n: d.encode() if isinstance(d, str) else d for n, d in files.items()})},
    )
    assert {f.code for f in read_package(package).findings if f.severity == "error"} == {"image-checksum"}
    assert read_package(package, digests="auto").ok
