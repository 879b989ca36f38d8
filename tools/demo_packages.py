"""The sample VNF packages: images built where they are not there yet, folders packed to CSAR files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from demo_run import ROOT, vnfm_command
from demo_tell import StoryError, Teller

NAMES = ("fw", "rt", "gw")


def build_packages(teller: Teller, out: Path) -> list[Path]:
    """One CSAR a VNF, in `out`; images come from Debian's packages and are kept for the next time."""
    images = ["-m", "descriptors.images", "build", *NAMES]
    _run(teller, ["python", *images], [sys.executable, *images])
    built = []
    for name in NAMES:
        csar = out / f"{name}.csar"
        arguments = ["package", "build", f"build/packages/{name}", "-o", str(csar.relative_to(ROOT))]
        _run(teller, ["vnfm", *arguments], [*vnfm_command(), *arguments])
        built.append(csar)
    return built


def _run(teller: Teller, shown: list[str], argv: list[str]) -> None:
    teller.command(shown)
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise StoryError(f"`{' '.join(shown)}` ended with exit code {done.returncode}")
