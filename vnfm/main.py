"""The `vnfm` command: the client's commands, and those that work on this host without a manager.

Each command imports what it needs when it runs, so that a client command starts without the manager's rooms.
"""

from __future__ import annotations

import sys

import typer

from vnfm.cli.command import OutputOption
from vnfm.cli.main import app
from vnfm.cli.output import chosen


@app.command("doctor")
def doctor(output: OutputOption = None) -> None:
    """What this host can realize, what is missing, and the command that mends it."""
    from vnfm.tools.doctor import examine, show

    raise typer.Exit(show(examine(), chosen(output, sys.stdout).value))


def main() -> None:
    """The command's entry point."""
    app()


if __name__ == "__main__":
    main()
