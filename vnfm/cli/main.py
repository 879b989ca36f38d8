"""The client's commands put together. vnfm.main adds those that need no manager."""

from __future__ import annotations

import typer

from vnfm.cli import (
    capturing,
    chain_changes,
    chains,
    events,
    foresight,
    observing,
    ops,
    package_content,
    packages,
    vims,
    vnf_changes,
    vnfs,
    watching,
)

# these register their commands with the groups of chains, packages and vnfs
_ = (capturing, chain_changes, observing, package_content, vnf_changes, watching)

app = typer.Typer(
    name="vnfm",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="A VNF manager: VNF packages in, chains of containers, microVMs and VMs out.",
)
app.add_typer(packages.app, name="package")
app.add_typer(chains.app, name="chain")
app.add_typer(vnfs.app, name="vnf")
app.add_typer(ops.app, name="op")
app.add_typer(vims.app, name="vim")
app.add_typer(foresight.app, name="placement")
app.add_typer(events.app, name="events")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("vnfm")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"vnfm {number}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """A VNF manager: VNF packages in, chains of containers, microVMs and VMs out."""


def main() -> None:
    """The client alone."""
    app()
