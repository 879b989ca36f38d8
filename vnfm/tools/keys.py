"""`vnfm key`: what seals the secrets in a manager's database; works on files, without a manager."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from vnfm.store.sealing import Seal

app = typer.Typer(no_args_is_help=True, help="Keys that seal the secrets in a manager's database.")
KeyOption = Annotated[Path | None, typer.Option(metavar="FILE")]


@app.command("new")
def new(file: Annotated[Path, typer.Argument(metavar="FILE", help="Outside of the state folder.")]) -> None:
    """Write a fresh key, for `vnfm serve --key-file`. Keep a copy: what it seals nobody opens without it."""
    from vnfm.model.problem import ProblemError
    from vnfm.store.sealing import new_key_file

    try:
        name = new_key_file(file)
    except ProblemError as error:
        raise _told(error) from None
    typer.echo(f"key {name} is in {file}")


@app.command("rotate")
def rotate(
    state: Annotated[Path | None, typer.Option(help="The manager's state folder.")] = None,
    database: Annotated[str, typer.Option(help="As for `vnfm serve`.")] = "",
    key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The key until now.")] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Until now a passphrase seals.")] = False,
    new_key: Annotated[Path | None, typer.Option("--new-key-file", metavar="FILE", help="The next one.")] = None,
    new_words: Annotated[bool, typer.Option("--new-passphrase", help="From now on a passphrase.")] = False,
) -> None:
    """Seal everything with another key, all or nothing. The manager is stopped meanwhile."""
    import os

    from vnfm.app import locked_state
    from vnfm.model.problem import ProblemError
    from vnfm.settings import default_state_dir, sealed_by

    folder = (state or default_state_dir(os.environ, os.getuid())).absolute()
    old_words = passphrase_of(sys.stdin) if passphrase else None
    next_words = passphrase_of(sys.stdin, "New passphrase: ", twice=True) if new_words else None
    try:
        old, fresh = sealed_by(key_file, old_words, folder), sealed_by(new_key, next_words, folder)
        if fresh is None:
            raise typer.BadParameter("expected --new-key-file or --new-passphrase")
        with locked_state(folder):
            names = resealed(database, folder, old, fresh)
    except ProblemError as error:
        raise _told(error) from None
    typer.echo(f"sealed anew: {', '.join(names) or 'nothing, there are no secrets'}")


def resealed(database_url: str, state_dir: Path, old: Seal | None, fresh: Seal) -> list[str]:
    """The VIMs whose secrets have the new key now. Raises ProblemError; then nothing has changed."""
    import asyncio

    from vnfm.store.database import Database, sqlite_url
    from vnfm.store.vims import VimStore

    database = Database(database_url or sqlite_url(state_dir))
    try:
        database.migrate()
        return asyncio.run(VimStore(database, old).reseal(fresh))
    finally:
        database.close()


def passphrase_of(stream: TextIO, prompt: str = "Passphrase: ", *, twice: bool = False) -> str:
    """Asked for at a terminal without being shown, else the stream's next line: never an argument, never a variable."""
    if not stream.isatty():
        return stream.readline().rstrip("\n")
    words = getpass.getpass(prompt)
    if twice and getpass.getpass("Once more: ") != words:
        raise typer.BadParameter("the two are not the same")
    return words


def _told(error: Exception) -> typer.Exit:
    from vnfm.model.problem import ProblemError

    assert isinstance(error, ProblemError)
    sys.stderr.write(f"vnfm: {error.problem.title}: {error.problem.detail}\n")
    return typer.Exit(2 if error.problem.word == "bad-key-file" else 1)
