"""Writes the hostile archives of this folder: `python tests/data/archives/make.py`. Each breaks one rule; expected.json
says which code it is refused with."""

from __future__ import annotations

import json
import stat
import struct
import warnings
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
VNFD = b"tosca_definitions_version: tosca_simple_yaml_1_3\n"


def info(name: str, mode: int = 0o100644, packed: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    made.external_attr = mode << 16
    made.compress_type = packed
    return made


def write(name: str, *more: tuple[zipfile.ZipInfo, bytes]) -> bytearray:
    with warnings.catch_warnings(), zipfile.ZipFile(HERE / name, "w") as out:
        warnings.simplefilter("ignore")
        for entry, data in ((info("vnfd.yaml"), VNFD), *more):
            out.writestr(entry, data)
    return bytearray((HERE / name).read_bytes())


def patched(name: str, at: int, data: bytes, *more: tuple[zipfile.ZipInfo, bytes]) -> None:
    """`at` counts from the last file's record in the directory."""
    raw = write(name, *more)
    start = raw.rfind(b"PK\x01\x02") + at
    raw[start : start + len(data)] = data
    (HERE / name).write_bytes(raw)


def main() -> None:
    extra = (info("Files/x"), b"x" * 100)
    write("name-dotdot.csar", (info("../../evil"), b""))
    write("name-absolute.csar", (info("/etc/evil"), b""))
    write("name-drive.csar", (info("C:/evil"), b""))
    write("link.csar", (info("link", stat.S_IFLNK | 0o777), b"/etc/passwd"))
    write("device.csar", (info("null", stat.S_IFCHR | 0o666), b""))
    write("duplicate.csar", (info("vnfd.yaml"), b"other"))
    write("file-and-folder.csar", (info("a"), b""), (info("a/b"), b""))
    write("bomb.csar", (info("zeros", packed=zipfile.ZIP_DEFLATED), bytes(17 << 20)))
    write("method.csar", (info("x", packed=zipfile.ZIP_BZIP2), b"x"))
    write("bombs.csar", *((info(f"zeros-{n}", packed=zipfile.ZIP_DEFLATED), bytes(1 << 20)) for n in range(40)))
    write("name-backslash.csar", (info("..\\..\\evil"), b""))
    write("name-deep.csar", (info("a/" * 60 + "x"), b""))
    patched("encrypted.csar", 8, b"\x01\x00", extra)
    patched("size-larger.csar", 24, struct.pack("<I", 5000), extra)
    patched("size-smaller.csar", 24, struct.pack("<I", 5), extra)
    patched("offset-beyond.csar", 42, struct.pack("<I", 0x7FFFFFFF), extra)
    patched("offset-shared.csar", 42, struct.pack("<I", 0), extra)
    patched("checksum.csar", 16, b"\0\0\0\0", extra)
    raw = write("zip64-size.csar", extra)
    start, end = raw.rfind(b"PK\x01\x02"), raw.rfind(b"PK\x05\x06")
    field = struct.pack("<HHQ", 1, 8, 1 << 60)
    raw[start + 24 : start + 28] = b"\xff\xff\xff\xff"
    raw[start + 30 : start + 32] = struct.pack("<H", len(field))
    raw[end:end] = field
    at = end + len(field) + 12
    size = struct.unpack_from("<I", raw, at)[0] + len(field)
    raw[at : at + 4] = struct.pack("<I", size)
    (HERE / "zip64-size.csar").write_bytes(raw)
    raw = write("zip64-directory.csar", extra)
    end = raw.rfind(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2, 2, 1 << 50, 0)
    raw[end:end] = record + b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    raw[-10:-6] = b"\xff\xff\xff\xff"
    (HERE / "zip64-directory.csar").write_bytes(raw)
    expected = {
        "name-dotdot": "archive-name", "name-absolute": "archive-name", "name-drive": "archive-name",
        "link": "archive-link", "device": "archive-link", "duplicate": "archive-duplicate",
        "file-and-folder": "archive-duplicate", "bomb": "archive-ratio", "method": "archive-method",
        "encrypted": "archive-encrypted", "size-larger": "archive-damaged", "size-smaller": "archive-damaged",
        "offset-beyond": "archive-overlap", "offset-shared": "archive-overlap", "checksum": "archive-damaged",
        "zip64-size": "archive-size", "zip64-directory": "archive-entries", "bombs": "archive-ratio",
        "name-backslash": "archive-name", "name-deep": "archive-name",
    }  # fmt: skip
    (HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
