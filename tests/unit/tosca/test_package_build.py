"""Building a package, and the offline commands around it."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from csar_writer import META, VDU, vnfd
from signing import identity
from typer.testing import CliRunner

from vnfm.model.problem import ProblemError
from vnfm.tools.package import app
from vnfm.tosca import build_package, read_package

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def source(folder: Path, **more: str) -> Path:
    files = {"vnfd.yaml": vnfd(), "Files/a": "a", **{k.replace("__", "/"): v for k, v in more.items()}}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_is_built_is_read_without_a_finding(tmp_path: Path) -> None:
    build_package(source(tmp_path / "src"), tmp_path / "p.csar", now=NOW)
    reading = read_package(tmp_path / "p.csar")
    assert reading.ok
    assert reading.findings == ()
    assert reading.metadata["vnf_product_name"] == "Fire"
    assert reading.metadata["vnf_package_version"] == "1.10"
    assert reading.metadata["vnf_release_date_time"] == "2026-01-02T03:04:05+00:00"
    assert reading.metadata["entry-definitions"] == "vnfd.yaml"
    with zipfile.ZipFile(tmp_path / "p.csar") as packed:
        assert packed.namelist() == [META, "Files/a", "vnfd.mf", "vnfd.yaml"]


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = source(tmp_path / "src")
    build_package(folder, tmp_path / "one.csar", now=NOW)
    os.utime(folder / "Files" / "a", (0, 0))
    build_package(folder, tmp_path / "two.csar", now=NOW)
    assert (tmp_path / "one.csar").read_bytes() == (tmp_path / "two.csar").read_bytes()


def test_stale_digests_are_written_anew_and_metadata_stays(tmp_path: Path) -> None:
    meta = "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: Ann\nEntry-Definitions: vnfd.yaml\n"
    old = (
        "metadata:\n  vnf_product_name: Kept\n  vnf_provider_id: Acme\n  vnf_package_version: 1\n"
        "  vnf_release_date_time: 2020-01-01T00:00:00Z\n\nSource: vnfd.yaml\nAlgorithm: SHA-256\nHash: 00\n"
    )
    folder = source(tmp_path / "src", **{META: meta, "vnfd.mf": old})
    build_package(folder, tmp_path / "p.csar", now=NOW)
    reading = read_package(tmp_path / "p.csar")
    assert reading.findings == ()
    assert reading.metadata["vnf_product_name"] == "Kept"
    assert reading.metadata["vnf_release_date_time"] == "2020-01-01T00:00:00Z"
    assert reading.metadata["created-by"] == "Ann"
    assert reading.metadata["entry-manifest"] == "vnfd.mf"


@pytest.mark.parametrize("broken", ["link", "two", "none", "absent"])
def test_a_folder_that_is_no_package_is_refused_and_nothing_is_left(tmp_path: Path, broken: str) -> None:
    folder = source(tmp_path / "src")
    if broken == "link":
        (folder / "passwd").symlink_to("/etc/passwd")
    elif broken == "two":
        (folder / "other.yaml").write_text(vnfd())
    elif broken == "none":
        (folder / "vnfd.yaml").unlink()
    elif broken == "absent":
        folder = tmp_path / "nowhere"
    with pytest.raises(ProblemError) as caught:
        build_package(folder, tmp_path / "p.csar", now=NOW)
    assert caught.value.problem.word == "bad-package"
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout


def test_build_validate_and_show_from_the_command_line(tmp_path: Path) -> None:
    assert run("build", source(tmp_path / "src"), "-o", tmp_path / "p.csar")[0] == 0
    code, out = run("validate", tmp_path / "p.csar", "-o", "json")
    answer = json.loads(out)
    assert (code, answer["ok"], answer["problems"]) == (0, True, [])
    code, out = run("show", tmp_path / "src", "--digests", "warn", "-o", "json")
    shown = json.loads(out)["vnfd"]
    assert code == 0
    assert shown == answer["vnfd"]
    (flavour,) = shown["flavours"]
    assert flavour["id"] == "simple"
    assert [v["id"] for v in flavour["vdus"]] == ["vdu1"]
    assert flavour["vdus"][0]["needs"]["isolation"] == "NONE"
    lists = {"cps", "virtual_links", "storages", "external_cps", "scaling_aspects", "instantiation_levels", "affinity"}
    assert all(flavour[name] == [] for name in lists)


def test_refusals_and_wrong_use_have_their_exit_codes(tmp_path: Path) -> None:
    folder = source(tmp_path / "src")
    (folder / "vnfd.yaml").write_text(vnfd(VDU.replace("512 MiB", "much")))
    code, out = run("validate", folder, "-o", "json")
    answer = json.loads(out)
    assert (code, answer["ok"], answer["vnfd"]["product"]) == (1, False, "Fire")
    error = next(p for p in answer["problems"] if p["severity"] == "error")
    assert set(error) == {"severity", "code", "file", "line", "column", "message", "hint"}
    assert run("validate", tmp_path / "nowhere", "-o", "json")[0] == 2
    assert run("validate", folder, "-o", "xml")[0] == 2
    assert run("validate", folder, "--flavour", "huge", "-o", "json")[0] == 1
    assert run("build", tmp_path / "nowhere", "-o", tmp_path / "p.csar")[0] == 2


def test_a_table_for_people(tmp_path: Path) -> None:
    code, out = run("show", source(tmp_path / "src"), "-o", "table")
    assert code == 0
    assert "vdu1" in out
    assert "512 MiB" in out


def test_what_is_built_with_a_key_is_signed(tmp_path: Path) -> None:
    root = identity("Root", authority=True, begin=NOW, end=FAR)
    vendor = identity("Vendor", root, begin=NOW, end=FAR)
    for name, data in {"key": vendor.key_pem, "cert": vendor.pem, "root.pem": root.pem}.items():
        (tmp_path / name).write_bytes(data)
    package = tmp_path / "p.csar"
    signed = ("--key", tmp_path / "key", "--cert", tmp_path / "cert")
    assert run("build", source(tmp_path / "src"), "-o", package, *signed)[0] == 0
    trusting = ("--signature", "require", "--trust-store", tmp_path / "root.pem", "-o", "json")
    code, out = run("validate", package, *trusting)
    answer = json.loads(out)
    assert (code, answer["problems"]) == (0, [])
    assert answer["package"]["signature"]["state"] == "VERIFIED"
    assert answer["package"]["signature"]["subjects"] == ["CN=Vendor"]
    assert [f["name"] for f in answer["package"]["files"]] == ["Files/a", META, "vnfd.mf", "vnfd.yaml"]
    assert run("extract", package, "Files/a", "-o", tmp_path / "a")[0] == 0
    assert (tmp_path / "a").read_text() == "a"
    assert run("extract", package, "Files/b", "-o", tmp_path / "b")[0] == 1
    assert run("build", tmp_path / "src", "-o", package)[0] == 0
    code, out = run("validate", package, *trusting)
    assert (code, json.loads(out)["problems"][0]["code"]) == (1, "signature-missing")


def test_keys_that_do_not_fit_are_wrong_use_and_write_nothing(tmp_path: Path) -> None:
    vendor, other = identity("Vendor"), identity("Other")
    (tmp_path / "key").write_bytes(vendor.key_pem)
    (tmp_path / "cert").write_bytes(other.pem)
    folder, package = source(tmp_path / "src"), tmp_path / "p.csar"
    for pair in (("key", "cert"), ("cert", "key"), ("absent", "cert"), ("key", "absent")):
        arguments = ("--key", tmp_path / pair[0], "--cert", tmp_path / pair[1])
        assert run("build", folder, "-o", package, *arguments)[0] == 2
    assert run("build", folder, "-o", package, "--key", tmp_path / "key")[0] == 2
    assert run("validate", folder, "--trust-store", tmp_path / "absent", "-o", "json")[0] == 2
    assert not package.exists()


def test_a_private_key_never_goes_into_a_package(tmp_path: Path) -> None:
    folder = source(tmp_path / "src")
    (folder / "vendor.key").write_bytes(identity("Vendor").key_pem)
    with pytest.raises(ProblemError, match="private key"):
        build_package(folder, tmp_path / "p.csar", now=NOW)


def test_sets_of_artifacts_are_kept_and_what_desktops_leave_stays_out(tmp_path: Path) -> None:
    source = tmp_path / "p"
    for name, text in {
        "vnfd.yaml": vnfd(),
        "vnfd.mf": "metadata:\n  vnf_provider_id: Other\n"
        "non_mano_artifact_sets:\n  acme.events:\n    Source: Files/e.json\n",
        "Files/e.json": "{}",
        "Files/.DS_Store": "x",
        "._vnfd.yaml": "x",
        "__MACOSX/x": "x",
        ".git/config": "x",
    }.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    build_package(source, tmp_path / "p.csar", now=datetime(2020, 1, 1, tzinfo=UTC))
    reading = read_package(tmp_path / "p.csar")
    assert reading.findings == ()
    assert set(reading.files) == {META, "vnfd.yaml", "vnfd.mf", "Files/e.json"}
    assert reading.artifact_sets == {"acme.events": ("Files/e.json",)}
    assert reading.metadata["vnf_provider_id"] == "Other"


def test_a_tosca_meta_in_utf_16_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "p" / "TOSCA-Metadata").mkdir(parents=True)
    (tmp_path / "p" / "vnfd.yaml").write_text(vnfd())
    (tmp_path / "p" / META).write_bytes("TOSCA-Meta-File-Version: 1.0\nEntry-Definitions: vnfd.yaml\n".encode("utf-16"))
    build_package(tmp_path / "p", tmp_path / "p.csar", now=datetime(2020, 1, 1, tzinfo=UTC))
    assert read_package(tmp_path / "p.csar").ok
