"""Packages whose metadata names an archive as the entry: the YAML file in it is read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from csar_writer import HEAD, TYPES, vnfd, write_csar

from vnfm.tosca import PackageReading, read_package

META = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: us\nEntry-Definitions: APPD/inner.zip\n"


def zipped(files: Mapping[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as target:
        for name, text in files.items():
            target.writestr(name, text)
    return data.getvalue()


def read(tmp_path: Path, inner: bytes) -> PackageReading:
    return read_package(
        write_csar(tmp_path / "p.csar", {"TOSCA-Metadata/TOSCA.meta": META, "APPD/inner.zip": inner}), digests="warn"
    )


def test_the_archive_s_own_metadata_names_the_file(tmp_path: Path) -> None:
    files = {
        "TOSCA_VNFD.meta": "VNFD-Meta-File-Version: 1.0\nEntry-Definitions: Definition/main.yaml\n",
        "Definition/main.yaml": vnfd(head=HEAD + "  - own.yaml\n", types=""),
        "Definition/own.yaml": HEAD + TYPES,
    }
    reading = read(tmp_path, zipped(files))
    assert reading.ok, reading.findings
    assert reading.vnfd is not None
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["vdu1"]
    assert reading.entry == "APPD/inner.zip/Definition/main.yaml"
    (told,) = [f for f in reading.findings if f.code == "entry-packed"]
    assert (told.file, told.line) == ("TOSCA-Metadata/TOSCA.meta", 4)
    reading.extract("APPD/inner.zip/Definition/own.yaml", tmp_path / "own.yaml")
    assert (tmp_path / "own.yaml").read_text() == HEAD + TYPES


def test_without_metadata_the_only_template_is_it(tmp_path: Path) -> None:
    assert read(tmp_path, zipped({"main.yaml": vnfd()})).ok


def test_an_archive_that_leads_out_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, zipped({"main.yaml": vnfd(), "../out.yaml": "a: b"}))
    assert not reading.ok
    assert [f.code for f in reading.findings if f.severity == "error"] == ["archive-name"]
