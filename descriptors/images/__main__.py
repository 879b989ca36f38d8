"""python -m descriptors.images build all|NAME... [--cache DIR] [--out DIR]    python -m descriptors.images needs"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from descriptors.images.build import build
from descriptors.images.host import PACKAGES, BuildError, Host
from descriptors.images.recipes import RECIPES


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 done, 1 failed with a line that says why."""
    parser = argparse.ArgumentParser(prog="python -m descriptors.images", description="The sample packages' images.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="build images and lay out packages with them")
    command.add_argument("names", nargs="+", metavar="NAME", help=f"all, or some of {', '.join(RECIPES)}")
    command.add_argument("--cache", type=Path, default=Path("build/images"), help="where built images are kept")
    command.add_argument("--out", type=Path, default=Path("build/packages"), help="where the packages' folders go")
    commands.add_parser("needs", help="the Debian packages that building needs; exit 1 where one is missing")
    options = parser.parse_args(arguments)
    host = Host()
    if options.command == "needs":
        missing = host.missing(list(PACKAGES))
        for package in sorted(set(PACKAGES.values())):
            _tell(f"{package}\t{'missing' if package in missing else 'ok'}")
        return 1 if missing else 0
    names = list(RECIPES) if "all" in options.names else options.names
    try:
        for one in build(names, options.cache, options.out, host, _note):
            how = "kept" if one.image.cached else f"{one.image.seconds:.1f} s"
            size = f"{one.image.size_bytes / 1e6:.1f} MB"
            _tell(f"{one.name}\t{one.folder}\t{size}\t{how}\tsha256:{one.image.sha256}")
    except (BuildError, OSError) as error:
        _note(f"images: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
