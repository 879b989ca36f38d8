"""Writes SOL001's type files, a folder a version: `python -m vnfm.tosca.sol001_files FOLDER`. Nothing here needs them,
they are for editors and other tools."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from vnfm.tosca.library import Library
from vnfm.tosca.limits import Limits
from vnfm.tosca.notes import Notes
from vnfm.tosca.shelf import Shelf
from vnfm.tosca.sol001 import STEMS, VERSIONS, Definitions, OurFile, default_types_folder
from vnfm.tosca.yamldoc import plain


def main(arguments: Sequence[str]) -> int:
    """Write them all; the same bytes each time. Returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m vnfm.tosca.sol001_files FOLDER\n")
        return 2
    notes = Notes()
    source = Definitions(default_types_folder(), Library(Shelf(), Limits(), notes))
    for version in VERSIONS:
        folder = Path(arguments[0]) / version
        folder.mkdir(parents=True, exist_ok=True)
        for stem in STEMS:
            body = source.file(OurFile(stem, version))
            if body is None:
                sys.stderr.write(f"{notes.findings[-1].message}\n")
                return 1
            text = yaml.safe_dump(plain(body), sort_keys=False, width=120, allow_unicode=True)
            (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
