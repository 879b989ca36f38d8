"""The sample packages as CSAR files, changed copies of them, and chains' files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from e2e_manager import ROOT, VNFM

FW, RT, GW, MON = (
    "4b3f7c3e-6f5d-4c39-9a0e-7d2f1c5b8a01",
    "9c1d2e8a-0b7f-4e51-8d43-2a6c7e9f4b02",
    "e7a6d5c4-3b2a-4f19-b8e7-6d5c4b3a2f03",
    "5d0b6a7e-2c41-4f6a-9b3d-8e1f7a2c4d04",
)
VCPE = ROOT / "descriptors/chains/vcpe.yaml"


class Packages:
    """Built packages: folders below `sources`, files in `out`."""

    def __init__(self, sources: Path, out: Path) -> None:
        self._sources = sources
        self._out = out
        out.mkdir(parents=True, exist_ok=True)

    def csar(self, name: str) -> Path:
        """The package as it is."""
        return pack(self._sources / name, self._out / f"{name}.csar")

    def changed(self, name: str, folder: Path, *edits: tuple[str, str]) -> Path:
        """A copy whose descriptor has each `old` replaced by its `new`; every `old` must stand there."""
        copy = folder / f"{name}-changed"
        shutil.copytree(self._sources / name, copy)
        descriptor = copy / "Definitions" / f"{name}.yaml"
        text = descriptor.read_text()
        for old, new in edits:
            assert old in text, f"{old!r} is not in {descriptor}"
            text = text.replace(old, new)
        descriptor.write_text(text)
        return pack(copy, folder / f"{name}-changed.csar")


def pack(folder: Path, csar: Path) -> Path:
    """`vnfm package build`."""
    argv = [*VNFM, "package", "build", str(folder), "-o", str(csar)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return csar


def chain_file(
    folder: Path,
    name: str,
    vnfs: Mapping[str, str],
    path: Sequence[str] = (),
    **more: object,
) -> Path:
    """A chain between client and server; `vnfs` maps aliases to VNFDs, in the path's order. A VNFD may be followed by
    an isolation level: `MON + " kernel"`. With `paths` in `more` there is no `path`."""
    entries = {alias: dict(zip(("vnfd", "level"), vnfd.split(), strict=False)) for alias, vnfd in vnfs.items()}
    document = {
        "chain": name,
        "ends": {"client": {"cidr": "10.1.0.0/24"}, "server": {"cidr": "10.9.0.0/24"}},
        "vnfs": entries,
        **({} if "paths" in more else {"path": list(path) or ["client", *vnfs, "server"]}),
        **more,
    }
    target = folder / f"{name}.yaml"
    target.write_text(yaml.safe_dump(document, sort_keys=False))
    return target
