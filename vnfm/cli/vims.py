"""`vnfm vim`: the infrastructure managers that realize VNFs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format, struct_pb2

from vnfm.cli import render, shapes
from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import WrongUse
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="VIM connections: the plugins that realize VNFs.")
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
def inventory(session: Session, vim: VimArgument) -> None:
    """The VIM's hosts: capacities, realizations offered, what was measured there."""
    answer = session.client.call(session.client.vims.GetInventory, nfvo_pb2.GetRequest(ref=vim))
    data = shapes.body(answer.body)
    session.print(data, lambda: render.inventory(data))


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
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise WrongUse(f"{path} is no YAML of plain values: {error}") from error
    if not isinstance(plain, dict):
        raise WrongUse(f"{path} must hold a mapping of settings")
    return plain


@client_command(app, "remove")
def remove(session: Session, vim: VimArgument) -> None:
    """Disconnect a VIM on which nothing of ours runs."""
    session.client.call(session.client.vims.RemoveVim, nfvo_pb2.GetRequest(ref=vim))
    session.print({"removed": vim}, lambda: f"removed {vim}")
