"""`vnfm vim`: the infrastructure managers that realize VNFs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format, struct_pb2

from vnfm.cli import render, render_inventory, shapes
from vnfm.cli.client import CALL_TIMEOUT_S
from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import WrongUse
from vnfm.cli.output import Format, say
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="VIM connections: the plugins that realize VNFs.")
LISTS = ("hosts", "links", "latencies", "licences")
ROWS = 50
"""Hosts that a table shows; of more it shows what they are together."""
MOST_HOSTS = 100_000
MOST_SEED = (1 << 53) - 1
VimArgument = Annotated[str, typer.Argument(metavar="NAME", help="The VIM connection's name.")]


@client_command(app, "list")
def list_vims(session: Session) -> None:
    """All VIM connections and how their plugins do."""
    found = session.client.collect(session.client.vims.ListVims, nfvo_pb2.ListRequest())
    session.print([shapes.vim(v) for v in found], lambda: render.vims(found))


@client_command(app, "show")
def show(session: Session, vim: VimArgument) -> None:
    """A VIM connection and its plugin."""
    data = shapes.vim(session.client.call(session.client.vims.GetVim, nfvo_pb2.GetRequest(ref=vim)))
    session.print(data, lambda: render.fields(data))


@client_command(app, "inventory")
def inventory(
    session: Session,
    vim: VimArgument,
    summary: bool = typer.Option(False, "--summary", help="Only how much there is of what."),
    every: bool = typer.Option(
        False, "--all", help=f"A table of all hosts, also where there are more than {ROWS}; json and yaml have all."
    ),
) -> None:
    """The VIM's hosts: capacities, realizations offered, what was measured there."""
    enough = None if every or session.form is not Format.table else ROWS
    data = read_inventory(session, vim, summary_only=summary, most_hosts=enough)
    if "hosts" in data:
        session.print(data, lambda: render_inventory.inventory(data))
        return
    session.print(data, lambda: render_inventory.summary(data))
    if not summary:
        say(f"{data['summary']['hosts']} hosts: --all prints a row for each, -o json all that is known")


def read_inventory(
    session: Session, vim: str, *, summary_only: bool = False, most_hosts: int | None = None
) -> dict[str, Any]:
    """The document of docs/surface.md, "vim inventory", put together from its pieces; without the lists where only the
    summary is wanted, or there are more hosts than `most_hosts`."""
    request = nfvo_pb2.ReadInventoryRequest(ref=vim, summary_only=summary_only)
    pieces = session.client.guard(
        lambda: session.client.vims.ReadInventory(request, timeout=CALL_TIMEOUT_S, metadata=session.client.metadata)
    )
    import json

    data: dict[str, Any] = {}
    for piece in session.client.follow(pieces):
        for name, value in json.loads(piece.json).items():
            if isinstance(value, list):
                data.setdefault(name, []).extend(value)
            else:
                data[name] = value
        if summary_only or (most_hosts is not None and data["summary"]["hosts"] > most_hosts):
            pieces.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it so
            return data
        for name in LISTS:
            data.setdefault(name, [])
    return data


@client_command(app, "simulate")
def simulate(
    session: Session,
    name: str = typer.Argument(metavar="NAME", help="A name for it."),
    hosts: int = typer.Option(
        ..., "--hosts", metavar="N", min=1, max=MOST_HOSTS, help="How many, worker VMs included."
    ),
    seed: int = typer.Option(0, "--seed", metavar="S", min=0, max=MOST_SEED, help="Another number, another cloud."),
    open_workers: bool = typer.Option(False, "--open-workers", help="Servers that run VMs open worker VMs on demand."),
) -> None:
    """Connect a data centre that nobody has: a mock VIM of N hosts, to try plans and lifecycles on."""
    settings = struct_pb2.Struct()
    wanted: dict[str, Any] = {"hosts": hosts, "seed": seed}
    if open_workers:
        wanted["open_workers"] = True
    settings.update({"simulate": wanted})
    request = nfvo_pb2.AddVimRequest(name=name, kind="mock", config=settings)
    made = shapes.vim(session.client.call(session.client.vims.AddVim, request))
    data = {**made, "seed": seed, **read_inventory(session, name, summary_only=True)}
    session.print(data, lambda: render_inventory.summary(data))


@client_command(app, "add")
def add(
    session: Session,
    name: str = typer.Argument(metavar="NAME", help="A name for it."),
    kind: str = typer.Argument(metavar="KIND", help="local, mock, openstack, kubernetes, or grpc:HOST:PORT."),
    config: str = typer.Argument(
        "", metavar="[CONFIG]", help="The plugin's settings, a YAML file.", show_default=False
    ),
) -> None:
    """Connect another VIM."""
    settings = struct_pb2.Struct()
    if config:
        json_format.ParseDict(settings_of(config), settings)
    request = nfvo_pb2.AddVimRequest(name=name, kind=kind, config=settings)
    data = shapes.vim(session.client.call(session.client.vims.AddVim, request))
    session.print(data, lambda: render.fields(data))


def settings_of(path: str) -> dict[str, Any]:
    """A YAML file that holds one mapping of plain values."""
    import json

    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        plain = json.loads(json.dumps(content))  # dates and the like have no place in a Struct
    except OSError as error:
        raise WrongUse(f"cannot read {path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:  # without its lines, which may hold secrets
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise WrongUse(f"{path}{where} is no YAML: {getattr(error, 'problem', None) or 'nobody can read it'}") from None
    except (UnicodeDecodeError, TypeError) as error:
        raise WrongUse(f"{path} is no YAML of plain values: {error}") from error
    if not isinstance(plain, dict):
        raise WrongUse(f"{path} must hold a mapping of settings")
    return plain


@client_command(app, "remove")
def remove(session: Session, vim: VimArgument) -> None:
    """Disconnect a VIM on which nothing of ours runs."""
    session.client.call(session.client.vims.RemoveVim, nfvo_pb2.GetRequest(ref=vim))
    session.print({"removed": vim}, lambda: f"removed {vim}")
