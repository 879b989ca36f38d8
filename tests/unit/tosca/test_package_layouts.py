"""Packages as they come: what has a clear meaning is read with a warning that says how to put it right."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from csar_writer import META, VDU, digest, manifest, vnfd
from hypothesis import given
from hypothesis import strategies as st

from vnfm.tosca import Limits, PackageReading, read_package
from vnfm.tosca.archive import bad_name
from vnfm.tosca.names import clean_source, meant, mended

VNFD = vnfd().encode()
TEXT = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: Acme\nEntry-Definitions: Definitions/vnfd.yaml\n"
ENTRY = {"Definitions/vnfd.yaml": VNFD}
HEAD = "metadata:\n  vnf_product_name: Fire\n  vnf_provider_id: Acme\n  vnf_package_version: 1.10\n"
SHA = digest(VNFD)


def packed(files: Mapping[str, str | bytes]) -> bytes:
    """A zip with exactly these names."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as out:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            out.writestr(info, content)
    return raw.getvalue()


def read(tmp_path: Path, files: Mapping[str, str | bytes], digests: str = "auto") -> PackageReading:
    (tmp_path / "p.csar").write_bytes(packed(files))
    return read_package(tmp_path / "p.csar", digests=digests)  # type: ignore[arg-type]


def codes(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings} - {"manifest-missing"}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TEXT,
        TEXT.encode("utf-16"),
        TEXT.replace("\n", "  \r\n"),
        "\n\n" + TEXT.replace("\n", "\n\n"),
        TEXT.lower().replace("definitions/", "Definitions/"),
        TEXT.replace(": ", " :\t"),
        TEXT.replace("Definitions/vnfd.yaml", '"Definitions/vnfd.yaml"'),
        TEXT.replace("Definitions/", "./Definitions/"),
        TEXT.replace("Definitions/", "/Definitions/"),
        TEXT.replace("Definitions/", "Definitions\\"),
    ],
    ids=["bom", "utf-16", "blanks-crlf", "blank-lines", "case", "colons", "quotes", "dot", "slash", "backslash"],
)
def test_tosca_meta_is_read_as_people_write_it(tmp_path: Path, text: str | bytes) -> None:
    reading = read(tmp_path, {META: text, **ENTRY})
    assert reading.ok
    assert reading.entry == "Definitions/vnfd.yaml"
    assert codes(reading) == set()


@pytest.mark.parametrize("name", ["tosca-metadata/tosca.meta", "TOSCA-METADATA/TOSCA.META", "TOSCA.meta"])
def test_tosca_meta_in_another_place_is_found(tmp_path: Path, name: str) -> None:
    reading = read(tmp_path, {name: TEXT, **ENTRY, "values.yaml": "a: 1"})
    assert reading.ok
    assert codes(reading) == {"meta-place"}


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ("Definitions/vnfd.yaml", "vnfd.yaml"),
        ("vnfd.yaml", "Definitions/vnfd.yaml"),
        ("Definitions/VNFD.yaml", "Definitions/vnfd.yaml"),
        ("Definitions/vnfd.yml", "Definitions/vnfd.yaml"),
        ("Definitions/other.yaml", "vnfd.yaml"),
        ("", "Definitions/vnfd.yaml"),
    ],
)
def test_an_entry_that_is_named_wrongly_is_found_and_said(tmp_path: Path, written: str, held: str) -> None:
    text = TEXT.replace("Definitions/vnfd.yaml", written)
    reading = read(tmp_path, {META: text, held: VNFD, "Files/values.yaml": "a: 1"})
    assert reading.ok
    assert reading.entry == held
    (finding,) = [f for f in reading.findings if f.code == "entry-guessed"]
    assert (finding.file, finding.line) == (META, 4)
    assert held in finding.message


def test_without_tosca_meta_the_top_of_several_files_is_the_entry(tmp_path: Path) -> None:
    top = vnfd(head="tosca_definitions_version: tosca_simple_yaml_1_3\nimports:\n  - flavour.yaml\n")
    flavour = vnfd(VDU, types="").replace("acme.VNF", "tosca.nodes.nfv.VNF")
    files = {"Definitions/a_top.yaml": top, "Definitions/flavour.yaml": flavour, "Files/chart/values.yaml": "a: 1"}
    reading = read(tmp_path, files)
    assert reading.entry == "Definitions/a_top.yaml"
    assert "entry-guessed" in codes(reading)


def test_two_vnfds_and_no_word_which_is_the_entry_are_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, {"Definitions/a.yaml": VNFD, "Definitions/b.yaml": VNFD})
    assert not reading.ok
    assert "entry-missing" in codes(reading)


@pytest.mark.parametrize(
    "files",
    [
        {META: TEXT, **ENTRY, "__MACOSX/Definitions/._vnfd.yaml": b"\0\5", ".DS_Store": b"\0", "Files/._x": "x"},
        {"vnfd.yaml": VNFD, "._vnfd.yaml": b"\0\5\x16\7", "__MACOSX/._vnfd.yaml": "x", "Thumbs.db": "x"},
    ],
)
def test_what_desktops_leave_behind_does_no_harm(tmp_path: Path, files: Mapping[str, str | bytes]) -> None:
    reading = read(tmp_path, files)
    assert reading.ok
    assert codes(reading) == set()


@pytest.mark.parametrize("folder", ["pkg/", "a/b/"])
def test_a_folder_around_everything_is_looked_through(tmp_path: Path, folder: str) -> None:
    files: dict[str, str | bytes] = {folder + META: TEXT, folder + "Definitions/vnfd.yaml": VNFD}
    reading = read(tmp_path, files | {"__MACOSX/._pkg": "x", ".DS_Store": "x"})
    assert reading.ok
    assert codes(reading) == {"package-below-folder"}
    assert set(reading.files) == {META, "Definitions/vnfd.yaml"}
    reading.extract("Definitions/vnfd.yaml", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == VNFD


@pytest.mark.parametrize(
    "files",
    [
        {"TOSCA-Metadata\\TOSCA.meta": TEXT, "Definitions\\vnfd.yaml": VNFD, "Files\\": ""},
        {"./": "", "./TOSCA-Metadata/TOSCA.meta": TEXT, "./Definitions/vnfd.yaml": VNFD},
    ],
)
def test_names_as_some_archivers_write_them(tmp_path: Path, files: Mapping[str, str | bytes]) -> None:
    reading = read(tmp_path, files)
    assert reading.ok
    assert codes(reading) == {"archive-name-form"}
    assert set(reading.files) == {META, "Definitions/vnfd.yaml"}
    reading.extract(META, tmp_path / "out")
    assert (tmp_path / "out").read_text() == TEXT


@pytest.mark.parametrize("attributes", [0o040755 << 16, 0x10])
def test_folders_that_only_their_attributes_tell(tmp_path: Path, attributes: int) -> None:
    folder = zipfile.ZipInfo("Definitions")
    folder.external_attr = attributes
    with zipfile.ZipFile(tmp_path / "p.csar", "w") as out:
        out.writestr(folder, b"")
        for name, content in {META: TEXT.encode(), **ENTRY}.items():
            out.writestr(name, content)
    reading = read_package(tmp_path / "p.csar")
    assert reading.ok
    assert set(reading.files) == {META, "Definitions/vnfd.yaml"}


@pytest.mark.parametrize(
    ("placeholder", "held", "name"),
    [
        (b"XX", "ü".encode(), "Files/ü.txt"),  # UTF-8, and no flag that says so
        (b"X", b"\x81", "Files/ü.txt"),  # code page 437
        (b"XXX", "u\u0308".encode(), "Files/ü.txt"),  # decomposed, as macOS writes
    ],
)
def test_names_beyond_ascii_match_the_manifest(tmp_path: Path, placeholder: bytes, held: bytes, name: str) -> None:
    odd = f"Files/{placeholder.decode()}.txt"
    files = {"vnfd.yaml": VNFD, odd: b"x", "vnfd.mf": manifest({"vnfd.yaml": VNFD, name: b"x"})}
    raw = packed(files).replace(odd.encode(), b"Files/" + held + b".txt")
    (tmp_path / "p.csar").write_bytes(raw)
    reading = read_package(tmp_path / "p.csar")
    assert reading.ok, reading.findings
    assert name in reading.files
    assert reading.findings == ()


def test_zip64_and_bytes_before_and_after_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "p.csar"
    with zipfile.ZipFile(path, "w") as out:
        for name, content in {META: TEXT.encode(), **ENTRY}.items():
            with out.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(content)
    assert read_package(path).ok
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes() + b"\n")
    assert read_package(path).ok


@pytest.mark.parametrize(
    ("outer", "said"),
    [
        ({"p.csar": packed({META: TEXT, **ENTRY})}, set()),
        ({"pkg-1.0": packed({META: TEXT, **ENTRY})}, set()),
        ({"p.csar": packed({META: TEXT, **ENTRY}), "__MACOSX/._p.csar": b"x", ".DS_Store": b"x"}, set()),
        ({"out/p.csar": packed({META: TEXT, **ENTRY})}, {"package-below-folder"}),
        ({"p.zip": packed({META: TEXT, **ENTRY}), "values.yaml": b"a: 1"}, {"envelope-file"}),
        ({**ENTRY, "chart.zip": packed({"Chart.yaml": b"a: 1"})}, {"entry-guessed"}),  # this one is no envelope
    ],
)
def test_a_zip_around_the_package(tmp_path: Path, outer: Mapping[str, bytes], said: set[str]) -> None:
    reading = read(tmp_path, outer)
    assert reading.ok, reading.findings
    assert codes(reading) == said


INNER = "VNFD-Meta-File-Version: 1.0\nEntry-Definitions: Definition/v.yaml\n"


@pytest.mark.parametrize(
    "inner",
    [
        {"TOSCA_VNFD.meta": INNER, "Definition/v.yaml": VNFD, "Definition/other.yaml": VNFD},
        {"Definition/v.yaml": VNFD},
    ],
)
def test_an_entry_that_is_a_zip_is_looked_into(tmp_path: Path, inner: Mapping[str, str | bytes]) -> None:
    app = packed(inner)
    text = f"{HEAD}\nSource: APPD/app.zip\nAlgorithm: SHA-256\nHash: {digest(app)}\n"
    meta = TEXT.replace("Definitions/vnfd.yaml", "APPD/app.zip") + "Entry-Manifest: app.mf\n"
    reading = read(tmp_path, {META: meta, "APPD/app.zip": app, "app.mf": text}, "strict")
    assert reading.ok, reading.findings
    assert reading.entry == "APPD/app.zip/Definition/v.yaml"
    assert [(f.code, f.file, f.line) for f in reading.findings] == [("entry-packed", META, 4)]
    reading.extract(reading.entry, tmp_path / "v.yaml")
    assert (tmp_path / "v.yaml").read_bytes() == VNFD
    reading.extract("APPD/app.zip", tmp_path / "app.zip")
    assert (tmp_path / "app.zip").read_bytes() == app


def test_an_entry_that_is_a_hostile_zip_is_refused(tmp_path: Path) -> None:
    meta = TEXT.replace("Definitions/vnfd.yaml", "APPD/app.zip")
    for name, code in (("../../evil", "archive-name"), ("C:/evil", "archive-name")):
        reading = read(tmp_path, {META: meta, "APPD/app.zip": packed({"v.yaml": VNFD, name: "x"})})
        assert code in {f.code for f in reading.findings if f.severity == "error"}
    assert not read(tmp_path, {META: meta, "APPD/app.zip": b"PK\3\4 and no zip"}).ok


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}\nHash: {SHA.upper()}\nAlgorithm: sha-256\nSource: vnfd.yaml\n",
        f"{HEAD}\nSource: vnfd.yaml\nAlgorithm: SHA256\nHash: {SHA}\n".replace("\n", "\r\n"),
        f"{HEAD}\nSOURCE : ./vnfd.yaml\nalgorithm: Sha_256\nHASH:{SHA}\n",
        f"{HEAD}Source: /vnfd.yaml\n  Algorithm: SHA-256\n  Hash: {SHA}\n",
        f"Source: 'vnfd.yaml'\nAlgorithm: SHA-256\nHash: {SHA}\n\n{HEAD}",
    ],
    ids=["order", "crlf", "case", "no-blank-line", "metadata-last"],
)
def test_a_manifest_in_any_form_is_understood(tmp_path: Path, text: str) -> None:
    reading = read(tmp_path, {"vnfd.yaml": VNFD, "vnfd.mf": text}, "strict")
    assert reading.ok
    assert reading.findings == ()
    assert reading.metadata["vnf_product_name"] == "Fire"


def test_non_mano_artifacts_are_known_by_their_sets(tmp_path: Path) -> None:
    text = (
        f"{HEAD}\nnon_mano_artifact_sets:\n  onap_events:\n    Source: Files/o.json\n    Source: Files/p.json\n"
        f"  prv.other:\n    Source: Files/absent.json\n    Source: https://acme.example/x\n"
        f"\nSource: vnfd.yaml\nAlgorithm: SHA-256\nHash: {SHA}\n"
        f"\nSource: Files/p.json\nAlgorithm: SHA-256\nHash: {digest(b'{}')}\n"
    )
    reading = read(tmp_path, {"vnfd.yaml": VNFD, "Files/o.json": "{}", "Files/p.json": "{}", "vnfd.mf": text})
    assert reading.ok
    assert reading.artifact_sets == {
        "onap_events": ("Files/o.json", "Files/p.json"),
        "prv.other": ("Files/absent.json", "https://acme.example/x"),
    }
    found = {(f.code, f.message.split()[0]) for f in reading.findings}
    assert found == {("artifact-absent", "Files/absent.json"), ("digest-missing", "Files/o.json")}


def test_a_manifest_that_is_named_and_absent_refuses_only_where_strict(tmp_path: Path) -> None:
    files = {META: TEXT + "ETSI-Entry-Manifest: gone.mf\n", **ENTRY}
    reading = read(tmp_path, files)
    assert reading.ok
    assert [(f.code, f.line) for f in reading.findings] == [("manifest-missing", 5)]
    assert not read(tmp_path, files, "strict").ok
    near = read(tmp_path, {**files, "GONE.MF": manifest(ENTRY)}, "strict")
    assert near.ok
    assert codes(near) == {"manifest-guessed"}


def test_half_a_digest_is_a_warning_unless_strict(tmp_path: Path) -> None:
    files = {"vnfd.yaml": VNFD, "vnfd.mf": f"{HEAD}\nSource: vnfd.yaml\nAlgorithm: SHA-256\n"}
    assert codes(read(tmp_path, files)) >= {"digest-malformed"}
    assert read(tmp_path, files).ok
    assert not read(tmp_path, files, "strict").ok


@pytest.mark.parametrize("prefix", ["ETSI-", "etsi-", ""])
def test_all_parts_are_kept_under_the_names_of_every_version(tmp_path: Path, prefix: str) -> None:
    named = "".join(
        f"{prefix}Entry-{part}: {where}\n"
        for part, where in (
            ("Manifest", "m/v.mf"),
            ("Change-Log", "Files/Log.txt"),
            ("Tests", "Files/Tests/"),
            ("Licenses", "Files/licences"),
        )
    )
    files = {
        META: TEXT + named,
        **ENTRY,
        "m/v.mf": HEAD,
        "Files/Log.txt": "1.0",
        "Files/Tests/a": "x",
        "Files/Licences/MIT": "y",
    }
    reading = read(tmp_path, files)
    assert reading.ok
    assert reading.metadata["vnf_product_name"] == "Fire"
    assert reading.parts == {
        "change_log": ("Files/Log.txt",),
        "tests": ("Files/Tests/a",),
        "licenses": ("Files/Licences/MIT",),
    }


def test_version_control_in_a_folder_is_no_part_of_the_package(tmp_path: Path) -> None:
    for name, data in {"vnfd.yaml": VNFD, ".git/objects/aa": b"x", "Files/.svn/entries": b"x", "Files/a": b"x"}.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(data)
    (tmp_path / "p" / ".git" / "link").symlink_to("/etc/passwd")
    reading = read_package(tmp_path / "p", digests="auto")
    assert reading.ok
    assert set(reading.files) == {"vnfd.yaml", "Files/a"}


def test_one_yaml_file_is_read_as_a_package_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "vnfd.yaml").write_bytes(VNFD)
    reading = read_package(tmp_path / "vnfd.yaml")
    assert reading.ok
    assert [f.code for f in reading.findings] == ["package-yaml-only"]


def test_one_yaml_file_has_what_it_imports_from_beside_it_and_nothing_else(tmp_path: Path) -> None:
    head = "tosca_definitions_version: tosca_simple_yaml_1_3\nimports: [ own_types.yaml, ../outside.yaml ]\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.yaml").write_text("node_types: {}\n")
    (tmp_path / "in" / "top.yaml").write_text(vnfd(VDU.replace("nfv.Vdu.Compute", "acme.Machine"), head=head))
    (tmp_path / "in" / "own_types.yaml").write_text("imports: [ more.yaml ]\nnode_types: {}\n")
    (tmp_path / "in" / "more.yaml").write_text(
        "node_types: { tosca.nodes.acme.Machine: { derived_from: tosca.nodes.nfv.Vdu.Compute } }\n"
    )
    (tmp_path / "in" / "secret.yaml").write_text("password: x\n")
    (tmp_path / "in" / "link.yaml").symlink_to("/etc/passwd")
    reading = read_package(tmp_path / "in" / "top.yaml")
    assert set(reading.files) == {"top.yaml", "own_types.yaml", "more.yaml"}
    assert {f.code for f in reading.findings if f.severity == "error"} == {"import-outside"}
    (tmp_path / "in" / "top.yaml").write_text(
        vnfd(VDU.replace("nfv.Vdu.Compute", "acme.Machine"), head=head.replace(", ../outside.yaml", ""))
    )
    reading = read_package(tmp_path / "in" / "top.yaml")
    assert reading.vnfd is not None, reading.findings
    assert [v.id for v in reading.vnfd.flavours[0].vdus] == ["vdu1"]


def test_a_tar_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "p.csar").write_bytes(b"\x1f\x8b\x08" + bytes(40))
    (finding,) = read_package(tmp_path / "p.csar").findings
    assert (finding.code, "gzip" in finding.message) == ("archive-no-zip", True)


PARTS = st.lists(
    st.sampled_from(["a", "B", ".", "..", "/", "\\", ":", " ", '"', "'", "u\u0308", ".yaml"]), max_size=9
).map("".join)


@given(PARTS)
def test_whatever_a_name_becomes_it_stays_inside(written: str) -> None:
    for name in (mended(written), clean_source(written)):
        if not bad_name(name, Limits()):
            assert os.path.normpath(f"/root/{name}").startswith("/root/")
            assert clean_source(name) == name or name[0] in "\"'" or name != name.strip()


@given(st.lists(PARTS, max_size=6), PARTS)
def test_a_name_means_a_file_that_is_there_or_none(names: list[str], written: str) -> None:
    assert meant(names, written) in {*names, ""}


def test_an_image_beside_a_yaml_file_that_names_it_is_looked_at(tmp_path: Path) -> None:
    home = tmp_path / "in"
    (home / "Files").mkdir(parents=True)
    (tmp_path / "outside.img").write_bytes(b"secret")
    (home / "Files" / "link.img").symlink_to(tmp_path / "outside.img")
    (home / "Files" / "one.img").write_bytes(b"image")
    (home / "Files" / "unnamed.img").write_bytes(b"other")

    def read_with(file: str) -> PackageReading:
        image = f"      artifacts:\n        sw_image: {{ type: tosca.artifacts.nfv.SwImage, file: {file} }}\n"
        (home / "vnfd.yaml").write_text(vnfd(VDU + image))
        return read_package(home / "vnfd.yaml")

    reading = read_with("Files/one.img")
    assert sorted(reading.files) == ["Files/one.img", "vnfd.yaml"]
    assert "artifact-absent" not in [f.code for f in reading.findings]
    for file in ("Files/gone.img", "Files/link.img", "../outside.img"):
        reading = read_with(file)
        assert list(reading.files) == ["vnfd.yaml"]
        assert {"artifact-absent", "artifact-outside"} & {f.code for f in reading.findings}
