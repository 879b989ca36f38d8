"""`vnfm placement explain`: placement problems from files, without a manager."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vnfm.cli.command import OutputOption, report
from vnfm.cli.errors import CliError, Refused, WrongUse, own_problem
from vnfm.cli.output import chosen, emit


def register(app: typer.Typer) -> None:
    """Add what needs no manager to the client's group `placement`."""
    app.command("explain")(explain)


def explain(
    instance: Annotated[Path, typer.Argument(metavar="INSTANCE", help="Cloud and chains (vnf-placement-bench/1).")],
    chain: Annotated[str, typer.Option(metavar="ID", help="Only of this chain, after those before it.")] = "",
    output: OutputOption = None,
) -> None:
    """Place the chains one after the other and tell of each what was chosen, refused and second best."""
    form = chosen(output, sys.stdout)
    try:
        told = explained(instance, chain)
    except CliError as error:
        report(error, form)
        raise typer.Exit(error.exit_code) from None
    emit({"chains": told}, form, lambda: _table(told))
    raise typer.Exit(0 if all(c["accepted"] for c in told) else 1)


def explained(path: Path, chain: str) -> list[dict[str, Any]]:
    """What the engine tells of each chain. Raises CliError for a file that is no instance."""
    from vnfm.model.problem import ProblemError
    from vnfm.placement.book import Book
    from vnfm.placement.estate import build_estate
    from vnfm.placement.placer import Placer
    from vnfm.placement.statement_io import parse_instance

    try:
        stated = parse_instance(json.loads(path.read_bytes()))
    except ProblemError as wrong:
        told_of = wrong.problem
        raise Refused(own_problem("invalid-request", "Invalid request", told_of.detail, told_of.instance)) from None
    except (OSError, ValueError, RecursionError) as wrong:
        raise WrongUse(f"{path} cannot be read: {wrong}") from None
    if chain and chain not in {c.id for c in stated.chains}:
        raise WrongUse(f"{path} has no chain {chain!r}")
    placer = Placer(Book(build_estate(stated)))
    told: list[dict[str, Any]] = []
    for asked in stated.chains:
        if not chain or asked.id == chain:
            told.append(placer.explain(asked))
        if asked.id == chain:
            break
        placer.place(asked)
    return told


def _table(told: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    from vnfm.cli.render_chain import hosts_left

    table = Table("chain", "vnf", "node", "realization", "not taken", "hosts", "second best", box=None)
    for chain in told:
        for vnf in chain["vnfs"]:
            seat, second = vnf.get("chosen") or {}, vnf.get("runner_up") or {}
            not_taken = "; ".join(f"{name}: {why}" for name, why in vnf.get("realizations", {}).items())
            beside = f"{second['node']} ({second['realization']}), +{second['delta']}" if second else ""
            beside += f": {second['because']}" if second else ""
            hosts = hosts_left(vnf.get("filters") or {}).removeprefix("hosts: ")
            table.add_row(chain["id"], vnf["vnf"], seat.get("node"), seat.get("realization"), not_taken, hosts, beside)
        if refused := chain.get("refused"):
            hosts = hosts_left(refused.get("filters") or {}).removeprefix("hosts: ")
            table.add_row(chain["id"], "", "refused", refused["proof"] or "not proved", refused["detail"], hosts,
                          refused["minimal_change"])  # fmt: skip
    return table
