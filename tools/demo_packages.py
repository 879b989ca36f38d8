"""The sample VNF packages: images built where they are not there yet, folders packed to CSAR files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from demo_run import ROOT, vnfm_command
from demo_tell import StoryError, Teller

NAMES = ("fw", "rt", "gw", "mon")


def images_command() -> list[str]:
    """Builds the images and lays out the packages' folders in build/packages."""
    return [sys.executable, "-m", "descriptors.images", "build", *NAMES]


def build_packages(teller: Teller, out: Path) -> list[Path]:
    """One CSAR a VNF, in `out`; images come from Debian's packages and are kept for the next time."""
    _run(teller, ["python", "-m", "descriptors.images", "build", *NAMES], images_command())
    built = []
    for name in NAMES:
        csar = out / f"{name}.csar"
        arguments = ["package", "build", f"build/packages/{name}", "-o", os.path.relpath(csar, ROOT)]
        _run(teller, ["vnfm", *arguments], [*vnfm_command(), *arguments])
        built.append(csar)
    return built


def _run(teller: Teller, shown: list[str], argv: list[str]) -> None:
    teller.command(shown)
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise StoryError(f"`{' '.join(shown)}` ended with exit code {done.returncode}")
