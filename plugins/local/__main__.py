"""The local VIM's process: `python -m plugins.local`, started by the manager; `… doctor [-o json]` for people."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vnfm.pluginkit import serve

VERSION = "0.1.0"
_DEFAULT_STATE_DIR = "/var/lib/vnfm/local"


def main() -> int:
    """Serves, or looks at the host."""
    if sys.argv[1:2] == ["doctor"]:
        return doctor(sys.argv[2:])
    from plugins.local.service import LocalVim

    return serve.run("local", VERSION, lambda: LocalVim().plugin, sys.argv[1:])


def doctor(argv: list[str]) -> int:
    """0 where everything can be realized here, else 1."""
    from plugins.local import doctor as looking
    from plugins.local.settings import parse

    parser = argparse.ArgumentParser(prog="local doctor", description="what this host can realize")
    parser.add_argument("-o", dest="output", choices=("text", "json"), default="text")
    parser.add_argument("--state-dir", type=Path, default=Path(_DEFAULT_STATE_DIR), help="where images will be kept")
    args = parser.parse_args(argv)
    settings = parse({"state_dir": str(args.state_dir.absolute())})
    return 0 if looking.print_report(settings, args.output == "json", sys.stdout.write) else 1


if __name__ == "__main__":
    sys.exit(main())
