"""All commands: the client's, and those that work on this host without a manager.

Each command imports what it needs when it runs, so that a client command starts without the manager's rooms.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vnfm.cli import foresight, packages
from vnfm.cli.command import OutputOption, ReadChoice
from vnfm.cli.main import app as app
from vnfm.cli.output import chosen
from vnfm.tools import keys as key_files
from vnfm.tools import package as package_files
from vnfm.tools import placement as placement_files

SELDOM = 20_000  # objects more than were freed, before the collector looks for rings among them

package_files.register(packages.app)
placement_files.register(foresight.app)
app.add_typer(key_files.app, name="key")


class Local:
    """What the client hands over because it needs no manager."""

    def check_signature(self, path: str, trust_store: str) -> list[str]:
        """What is wrong with a package's signature; empty where someone trusted signed it."""
        return package_files.signature_faults(Path(path), Path(trust_store))

    def show_package(self, path: str, form: str, choice: ReadChoice) -> int:
        """`package show PATH`."""
        return package_files.show(Path(path), form, choice)


@app.command("doctor")
def doctor(output: OutputOption = None) -> None:
    """What this host can realize, what is missing, and the command that mends it."""
    from vnfm.tools.doctor import examine, show

    raise typer.Exit(show(examine(), chosen(output, sys.stdout).value))


@app.command("serve")
def serve(
    state: Annotated[Path | None, typer.Option(help="Where the manager keeps everything.")] = None,
    listen: Annotated[str, typer.Option(help="unix:PATH, or HOST:PORT on loopback.")] = "",
    database: Annotated[str, typer.Option(help="SQLAlchemy URL; default: SQLite in the state folder.")] = "",
    vim: Annotated[list[str] | None, typer.Option(help="NAME=KIND[:CONFIG.yaml]; default local=local.")] = None,
    auto_heal: Annotated[
        bool, typer.Option("--auto-heal/--no-auto-heal", help="Heal VNFCs that die; else their death is only shown.")
    ] = True,
    heal_limit: Annotated[
        int, typer.Option(min=1, max=50, metavar="N", help="How often a VNFC is healed within the window.")
    ] = 5,
    heal_window: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="The window; beyond the limit HEAL waits in FAILED_TEMP.")
    ] = 600.0,
    trust_store: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Certificates of those whose signatures of packages count."),
    ] = None,
    signature: Annotated[
        str, typer.Option(metavar="require|if-present", help="Whether a package has to be signed.")
    ] = "if-present",
    package_source: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Packages may be fetched from below this address; default: from nowhere."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key that seals secrets in the database; `vnfm key new FILE` makes one."),
    ] = None,
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help="Seal with a passphrase: asked for on a terminal, else stdin's first line."),
    ] = False,
) -> None:
    """Run the manager until SIGTERM; prints `ready ENDPOINT` once it answers."""
    import gc

    # what is imported stays for ever: it is neither looked through while it comes nor ever after
    gc.disable()
    from vnfm.app import run
    from vnfm.lcm.healing import HealingPolicy

    gc.freeze()
    gc.enable()
    gc.set_threshold(SELDOM)  # nearly all that a step makes is freed by counting: looking often finds nothing
    healing = HealingPolicy(limit=heal_limit, window_s=heal_window) if auto_heal else None
    words = key_files.passphrase_of(sys.stdin) if passphrase else None
    told = run(
        state, listen, database, vim or (), healing, trust_store, signature, package_source or (), key_file, words
    )
    raise typer.Exit(told)
