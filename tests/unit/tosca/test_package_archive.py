"""Hostile archives are refused by name, quickly and without writing anything outside."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from csar_writer import META, VDU, digest, manifest, vnfd, write_csar
from hypothesis import given
from hypothesis import strategies as st

from vnfm.model.problem import ProblemError
from vnfm.tosca import Limits, PackageReading, read_package
from vnfm.tosca.archive import bad_name


def codes(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings}


def errors(reading: PackageReading) -> set[str]:
    return {f.code for f in reading.findings if f.severity == "error"}


def raw_csar(path: Path, members: list[tuple[zipfile.ZipInfo, bytes]]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as out:
        warnings.simplefilter("ignore")
        for info, data in members:
            out.writestr(info, data)
    return path


@pytest.mark.parametrize(
    "name",
    ["../../evil.yaml", "/etc/evil.yaml", "a/../../evil", "a//b", "C:/evil", "a\\..\\evil", "..\\x", "\\x", "C:\\x"],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    package = raw_csar(
        tmp_path / "p.csar", [(zipfile.ZipInfo("vnfd.yaml"), vnfd().encode()), (zipfile.ZipInfo(name), b"x")]
    )
    assert "archive-name" in errors(read_package(package))


@given(st.text(max_size=30))
def test_a_name_that_is_let_through_stays_inside(name: str) -> None:
    if not bad_name(name, Limits()):
        joined = os.path.normpath("/root/package/" + name)
        assert joined.startswith("/root/package/")
        assert joined == "/root/package/" + name.rstrip("/")


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.yaml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    package = raw_csar(tmp_path / "p.csar", [(zipfile.ZipInfo("vnfd.yaml"), vnfd().encode()), (link, b"/etc/passwd")])
    assert "archive-link" in errors(read_package(package))


def test_a_symlink_in_a_folder_is_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "vnfd.yaml").write_text(vnfd())
    (tmp_path / "p" / "secret").symlink_to("/etc/passwd")
    reading = read_package(tmp_path / "p")
    assert "archive-link" in errors(reading)
    assert "secret" not in reading.files


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    package = raw_csar(tmp_path / "p.csar", [(zipfile.ZipInfo("vnfd.yaml"), vnfd().encode()) for _ in range(2)])
    assert "archive-duplicate" in errors(read_package(package))


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "a": "x", "a/b": "y"})
    assert "archive-duplicate" in errors(read_package(package))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "bomb": bytes(64 * 2**20), "vnfd.mf": b""})
    began = time.monotonic()
    reading = read_package(package)
    assert "archive-ratio" in errors(reading)
    assert "bomb" not in reading.files
    assert time.monotonic() - began < 5


def test_many_small_bombs_are_one_large(tmp_path: Path) -> None:
    """None of them is large enough to be looked at by itself; together they are a thousand times the package."""
    package = write_csar(
        tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "x.mf": "", **{f"f{n}": bytes(2**20) for n in range(40)}}
    )
    reading = read_package(package)
    assert errors(reading) == {"archive-ratio"}
    assert reading.files == {}


def test_names_of_many_folders_are_refused(tmp_path: Path) -> None:
    good, bad = "a/" * 39 + "x", "b/" * 40 + "x"
    reading = read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), good: "1", bad: "2"}), digests="warn")
    assert errors(reading) == {"archive-name"}
    assert (good in reading.files, bad in reading.files) == (True, False)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe", tmp_path / "pipe.yaml", Path("/dev/zero")):
        assert errors(read_package(path)) == {"archive-unreadable"}


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming nobody, who may not read, needs root")
def test_what_may_not_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory(prefix="vnfm-closed-") as name:  # pytest's own folder is closed to all others
        root = Path(name)
        root.chmod(0o755)
        csar = write_csar(root / "p.csar", {"vnfd.yaml": vnfd()})
        assert read_package(csar).ok  # the reading process is there before
        closed = [root / "folder/sub", root / "closed"]
        files = [root / "folder/vnfd.yaml", root / "closed/vnfd.yaml", root / "alone.yaml"]
        for folder in closed:
            folder.mkdir(parents=True)
        for file in files:
            file.write_text(vnfd())
        for path in (*closed, *files, csar):
            path.chmod(0)
        try:
            os.setegid(65534)
            os.seteuid(65534)
            unreadable = [
                errors(read_package(root / n)) for n in ("p.csar", "folder", "folder/vnfd.yaml", "alone.yaml")
            ]
            absent = [errors(read_package(root / n)) for n in ("closed/vnfd.yaml", "x" * 5000)]
        finally:
            os.seteuid(0)
            os.setegid(0)
        assert unreadable == [{"archive-unreadable"}] * 4
        assert absent == [{"package-absent"}] * 2


@pytest.mark.parametrize(
    "lines",
    [
        [f"Source: f{n}\nAlgorithm: SHA-256\nHash: 00\n" for n in range(40_000)],
        ["non_mano_artifact_sets:", "  s:", *(f"    Source: f{n}" for n in range(100_000))],
        ["Source: same\nAlgorithm: SHA-256\nHash: 00"] * 40_000,
        [f"k{n}: v" for n in range(100_000)],
        ["no colon"] * 100_000,
    ],
)
def test_a_manifest_of_very_many_lines_costs_little(tmp_path: Path, lines: list[str]) -> None:
    text = "metadata:\n  vnf_product_name: Fire\n\n" + "\n".join(lines)
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "vnfd.mf": text})
    began = time.process_time()
    reading = read_package(package, digests="warn")
    assert time.process_time() - began < 8
    assert reading.ok
    assert len(reading.findings) <= 1000


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Two directory entries that point at one body: the way in which kilobytes become petabytes."""
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "x.mf": b""})
    raw = bytearray(package.read_bytes())
    first = raw.find(b"PK\x01\x02")
    second = raw.find(b"PK\x01\x02", first + 4)
    raw[second + 42 : second + 46] = raw[first + 42 : first + 46]
    package.write_bytes(raw)
    assert "archive-overlap" in errors(read_package(package))


def test_a_size_that_is_a_lie_is_noticed(tmp_path: Path) -> None:
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "Files/data": b"x" * 1000})
    raw = bytearray(package.read_bytes())
    entry = raw.rfind(b"PK\x01\x02", 0, raw.rfind(b"Files/data"))
    raw[entry + 24 : entry + 28] = struct.pack("<I", 10)
    package.write_bytes(raw)
    assert "archive-damaged" in errors(read_package(package))


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(entries=2), "archive-entries"),
        (Limits(total_bytes=500), "archive-size"),
        (Limits(directory_bytes=60), "archive-entries"),
        (Limits(file_bytes=700), "archive-size"),
        (Limits(yaml_bytes=700), "yaml-too-large"),
    ],
)
def test_every_limit_holds(tmp_path: Path, limits: Limits, code: str) -> None:
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "a": "x", "b": "y"})
    assert read_package(package).ok
    assert code in errors(read_package(package, limits=limits))


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x05\x06" + bytes(17), b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.csar").write_bytes(data)
    assert errors(read_package(tmp_path / "p.csar")) == {"archive-no-zip"}


@given(st.binary(max_size=200), st.integers(0, 600))
def test_damage_anywhere_is_a_finding_and_never_a_crash(noise: bytes, at: int) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as out:
        out.writestr("TOSCA-Metadata/TOSCA.meta", "Entry-Definitions: absent.yaml\n")
    data = bytearray(raw.getvalue())
    data[at : at + len(noise)] = noise
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"vnfm-damaged-{os.getpid()}.csar"
    path.write_bytes(data)
    try:
        reading = read_package(path)
        assert not reading.ok
        assert reading.findings
    finally:
        path.unlink()


def test_an_absent_path_is_a_finding(tmp_path: Path) -> None:
    assert errors(read_package(tmp_path / "nothing.csar")) == {"package-absent"}


@pytest.mark.parametrize("algorithm", ["SHA-224", "SHA-256", "SHA-384", "SHA-512"])
def test_true_digests_hold(tmp_path: Path, algorithm: str) -> None:
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "Files/a": "a"}, algorithm=algorithm)
    reading = read_package(package)
    assert reading.ok
    assert reading.findings == ()
    assert reading.metadata["vnf_product_name"] == "Fire"


def test_a_wrong_digest_refuses_where_strict_and_warns_where_not(tmp_path: Path) -> None:
    text = manifest({"vnfd.yaml": vnfd().encode(), "Files/a": b"other"})
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "Files/a": "a", "vnfd.mf": text})
    strict = read_package(package)
    assert not strict.ok
    assert strict.vnfd is None
    finding = strict.findings[0]
    assert (finding.code, finding.file, finding.severity) == ("digest-mismatch", "vnfd.mf", "error")
    assert text.splitlines()[finding.line - 1] == b"Source: Files/a"
    lax = read_package(package, digests="warn")
    assert lax.ok
    assert "digest-mismatch" in codes(lax)


def test_a_listed_file_that_is_absent_and_an_unlisted_one_are_noticed(tmp_path: Path) -> None:
    text = manifest({"vnfd.yaml": vnfd().encode(), "Files/gone": b"a"})
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "extra": "x", "vnfd.mf": text})
    reading = read_package(package)
    assert errors(reading) == {"digest-absent-file"}
    assert "digest-missing" in codes(reading)


def test_an_unknown_algorithm_a_url_and_half_a_digest(tmp_path: Path) -> None:
    text = (
        "metadata:\n  vnf_product_name: Fire\n\nSource: vnfd.yaml\nAlgorithm: MD5\nHash: 00\n\n"
        "Source: https://images.example/x.qcow2\nAlgorithm: SHA-256\nHash: 00\n\nSource: a\nAlgorithm: SHA-256\n"
    )
    reading = read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "a": "", "vnfd.mf": text}))
    assert errors(reading) == {"digest-algorithm", "digest-malformed"}
    assert "digest-external" in codes(reading)


def test_digests_in_tosca_meta_count_too(tmp_path: Path) -> None:
    meta = (
        "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nEntry-Definitions: Definitions/vnfd.yaml\n\n"
        f"Name: Files/a\nContent-Type: text/plain\nAlgorithm: SHA-256\nHash: {digest(b'other')}\n"
    )
    package = write_csar(tmp_path / "p.csar", {META: meta, "Definitions/vnfd.yaml": vnfd(), "Files/a": "a"})
    assert errors(read_package(package)) == {"digest-mismatch"}


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"readme.txt": "nothing here"}, "entry-missing"),
        ({"a.yaml": VDU, "b.yaml": VDU}, "entry-missing"),
        ({META: "CSAR-Version: 1.1\n"}, "entry-missing"),
        ({META: "Entry-Definitions: Definitions/gone.yaml\n"}, "entry-missing"),
        ({META: "Entry-Definitions: v.yaml\nETSI-Entry-Manifest: gone.mf\n", "v.yaml": VDU}, "manifest-missing"),
        ({"inner.csar": "PK"}, "archive-no-zip"),
    ],
)
def test_a_missing_entry_is_named(tmp_path: Path, files: dict[str, str], code: str) -> None:
    assert code in errors(read_package(write_csar(tmp_path / "p.csar", files)))


def test_extract_writes_one_file_whole_or_not_at_all(tmp_path: Path) -> None:
    package = write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "Files/image": b"\x00\x01" * 5000})
    reading = read_package(package)
    reading.extract("Files/image", tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == b"\x00\x01" * 5000
    with pytest.raises(ProblemError, match="no file Files/none"):
        reading.extract("Files/none", tmp_path / "none")
    write_csar(package, {"vnfd.yaml": vnfd(), "Files/image": b"swapped"})
    with pytest.raises(ProblemError, match="changed") as caught:
        reading.extract("Files/image", tmp_path / "other")
    assert caught.value.problem.word == "data-loss"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image", "p.csar"]


def test_a_folder_reads_like_its_csar(tmp_path: Path) -> None:
    files = {"vnfd.yaml": vnfd().encode(), "Files/a": b"a"}
    for name, data in {**files, "vnfd.mf": manifest(files)}.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(data)
    folder = read_package(tmp_path / "p")
    packed = read_package(write_csar(tmp_path / "p.csar", files))
    assert folder.ok
    assert folder.vnfd == packed.vnfd
    assert folder.files == packed.files


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    reading = read_package(write_csar(tmp_path / "p.csar", {"vnfd.yaml": vnfd(), "Files/big": os.urandom(2**20)}))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "vnfm-test", str(small)], check=True)
    try:
        with pytest.raises(ProblemError, match="full") as caught:
            reading.extract("Files/big", small / "big")
        assert caught.value.problem.word == "no-space"
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
