"""`python -m plugins.mock`: what the manager starts for `--vim NAME=mock`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from plugins.mock.plugin import OPTIONAL, make_plugin
from vnfm.pluginkit import serve

VERSION = "1"


def main() -> int:
    """Takes `--without WORD,…` (capabilities that are not offered), then what every plugin takes."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--without", default="", metavar="CAPABILITY,…")
    args, rest = parser.parse_known_args()
    without = frozenset(filter(None, args.without.split(",")))
    if unknown := without - OPTIONAL.keys():
        print(f"mock: --without {', '.join(sorted(unknown))}: expected some of {', '.join(OPTIONAL)}", file=sys.stderr)
        return 2
    folder = os.environ.get(serve.FOLDER)
    default_state = Path(folder) / "mock-state.sqlite" if folder else None
    return serve.run("mock", VERSION, lambda: make_plugin(default_state, without), rest)


if __name__ == "__main__":
    sys.exit(main())
