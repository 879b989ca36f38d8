"""Generate vnfm/pb/ from protos/ into DIR; with --check, say whether what is committed is up to date."""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(out: Path) -> None:
    """Compile every .proto so that it is imported as vnfm.pb.<path>."""
    scripts = Path(sysconfig.get_path("scripts"))
    sources = [f"vnfm/pb/{p.relative_to(ROOT / 'protos')}" for p in sorted((ROOT / "protos").rglob("*.proto"))]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-Ivnfm/pb=protos",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            *sources,
        ],
        cwd=ROOT,
        check=True,
    )
    for folder in {p.parent for p in (out / "vnfm" / "pb").rglob("*.py")}:
        for package in (folder, *(f for f in folder.parents if f.is_relative_to(out / "vnfm" / "pb"))):
            (package / "__init__.py").touch()


def stale() -> list[str]:
    """Generated files that differ from what is committed."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = [p for p in sorted(Path(folder).rglob("*")) if p.is_file()]
        return [
            str(p.relative_to(folder))
            for p in fresh
            if not (ROOT / p.relative_to(folder)).exists()
            or not filecmp.cmp(p, ROOT / p.relative_to(folder), shallow=False)
        ]


def main() -> int:
    """Exit 1 where --check finds something stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", default=str(ROOT))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not args.check:
        generate(Path(args.out))
        return 0
    for name in stale():
        sys.stderr.write(f"{name} is out of date: run `make stubs`\n")
    return 1 if stale() else 0


if __name__ == "__main__":
    sys.exit(main())
