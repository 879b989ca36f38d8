"""`vnfm package vnfd | artifacts | artifact | content`: what an onboarded package holds (SOL003 10.4.4 to 10.4.6)."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vnfm.cli import render, shapes
from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import Refused, WrongUse, own_problem
from vnfm.cli.output import say
from vnfm.cli.packages import app
from vnfm.pb.nfvo.v1 import nfvo_pb2

if TYPE_CHECKING:
    from rich.console import RenderableType


@client_command(app, "vnfd")
def vnfd(session: Session, package: str = typer.Argument(metavar="ID")) -> None:
    """The VNFD of an onboarded package, whole."""
    found = session.client.call(session.client.packages.GetVnfd, nfvo_pb2.GetRequest(ref=package))
    data = shapes.body(found.body)
    session.print(data, lambda: vnfd_table(data))


@client_command(app, "artifacts")
def artifacts(session: Session, package: str = typer.Argument(metavar="ID")) -> None:
    """Every file of an onboarded package."""
    found = session.client.collect(session.client.packages.ListArtifacts, nfvo_pb2.GetRequest(ref=package))
    data = [{"path": a.path, "size_bytes": a.size_bytes} for a in found]
    session.print(data, lambda: "\n".join(f"{a['size_bytes']:>14,}  {a['path']}" for a in data))


@client_command(app, "artifact", formatted=False)
def artifact(
    session: Session,
    package: str = typer.Argument(metavar="ID"),
    path: str = typer.Argument(help="A file of the package, as `artifacts` lists it."),
    out: str = typer.Option(..., "--output", "-o", metavar="FILE", help="Where to put it; - is stdout."),
) -> None:
    """Fetch one file of an onboarded package: an image, a script, the change log, a certificate."""
    save(session, package, path, out)


@client_command(app, "content", formatted=False)
def content(
    session: Session,
    package: str = typer.Argument(metavar="ID"),
    out: str = typer.Option(..., "--output", "-o", metavar="FILE", help="Where to put it; - is stdout."),
) -> None:
    """Fetch an onboarded package as it came."""
    save(session, package, "", out)


def save(session: Session, package: str, path: str, out: str) -> None:
    """Stream a file of the package (empty: the package) to `out`, which appears whole or not at all."""
    request = nfvo_pb2.FetchArtifactRequest(ref=package, path=path)
    client = session.client
    chunks = client.follow(client.packages.FetchArtifact(request, metadata=client.metadata))
    if out == "-":
        for chunk in chunks:
            sys.stdout.buffer.write(chunk.data)
        sys.stdout.buffer.flush()
        return
    target = Path(out)
    try:
        handle, partial = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise WrongUse(f"cannot write {out}: {error.strerror or error}") from error
    try:
        total = seen = 0
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                total = total or chunk.total_bytes
                seen += file.write(chunk.data)
        if seen != total:
            detail = f"{seen} of {total} bytes of {path or package} came"
            raise Refused(own_problem("data-loss", "Incomplete", detail))
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    except OSError as error:
        detail = f"cannot write {out}: {error.strerror or error}"
        raise Refused(own_problem("cannot-write", "Cannot write", detail)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
    say(f"wrote {out}")


def vnfd_table(vnfd: dict[str, Any]) -> RenderableType:
    """Who it is, and how much of what each flavour has; -o json has all of it."""
    from rich.console import Group

    who = {key: vnfd[key] for key in ("id", "provider", "product", "version", "software_version")}
    columns = ("vdus", "cps", "virtual_links", "storages", "external_cps", "scaling_aspects", "instantiation_levels")
    rows = (
        (f["id"], *(", ".join(str(one["id"]) for one in f[column]) for column in columns)) for f in vnfd["flavours"]
    )
    titles = ["Flavour", "VDUs", "CPs", "Links", "Storages", "External CPs", "Aspects", "Levels"]
    return Group(render.fields(who), render.grid("Flavours", titles, rows))
