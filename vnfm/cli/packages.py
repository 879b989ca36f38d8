"""`vnfm package`: VNF packages (SOL003 clause 10, SOL004)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from vnfm.cli import render, shapes
from vnfm.cli.command import (
    EndpointOption,
    LocalTools,
    OutputOption,
    ReadChoice,
    RequestIdOption,
    Session,
    TenantOption,
    client_command,
    run_session,
)
from vnfm.cli.errors import CliError, Refused, WrongUse, own_problem
from vnfm.cli.output import chosen, say
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="VNF packages (CSAR files): check, build, onboard, retire.")
CHUNK_BYTES = 256 * 1024


@client_command(app, "onboard")
def onboard(
    session: Session,
    ctx: typer.Context,
    file: str = typer.Argument(metavar="FILE|URL", help="A CSAR: a file, or an address that the manager fetches from."),
    digest_policy: str = typer.Option("strict", help="What a wrong or missing digest means: strict | auto | warn."),
    signature: str = typer.Option("if-present", help="Whether it has to be signed: require | if-present."),
    trust_store: str = typer.Option(
        "", metavar="FILE|DIR", help="Check a file's signature here first, against these certificates."
    ),
    fetch_here: bool = typer.Option(False, "--fetch-here", help="Fetch a URL here and send it, not the manager."),
    keep_failed: bool = typer.Option(False, "--keep-failed", help="Keep a refused package, in state ERROR."),
    request_id: RequestIdOption = "",
) -> None:
    """Hand a package to the manager, which checks it whole; prints it once it is ONBOARDED."""
    if trust_store:
        check_here(ctx.obj, file, trust_store)
    client = session.client
    by_manager = is_url(file) and not fetch_here
    with contextlib.nullcontext((None, None)) if by_manager else opened(file) as (stream, total_bytes):
        created = client.call(client.packages.CreatePackage, nfvo_pb2.CreatePackageRequest(request_id=request_id))
        if created.onboarding_state == "ONBOARDED":  # the same request id, done before
            session.print(shapes.package(created), lambda: render.package(created))
            return
        try:
            if stream is None:
                done = fetch(session, created.id, file, digest_policy, signature)
            else:
                chunks = upload(created.id, digest_policy, signature, reading(stream, total_bytes, file))
                done = client.guard(lambda: client.packages.UploadPackage(chunks, metadata=client.metadata))
        except Refused as error:
            told = with_findings(session, created.id, error)
            discard(session, created.id, keep_failed)
            raise told from None
        except (CliError, OSError):
            discard(session, created.id, keep_failed)
            raise
    data = shapes.package(done)
    if done.onboarding_state != "ONBOARDED":
        discard(session, done.id or created.id, keep_failed)
        detail = f"{file} was not onboarded (state {done.onboarding_state})"
        problem = data["error"] or own_problem("package-refused", "Package refused", detail)
        raise Refused(problem, more=data, hints=finding_lines(data))
    session.print(data, lambda: render.package(done))


def with_findings(session: Session, package_id: str, error: Refused) -> Refused:
    """The refusal with all that was found in the package: its record has it, until it is discarded."""
    try:
        found = session.client.call(session.client.packages.GetPackage, nfvo_pb2.GetRequest(ref=package_id), 10)
    except CliError:
        return error
    data = shapes.package(found)
    return Refused(error.problem, more=data, hints=finding_lines(data)) if data["findings"] else error


def finding_lines(data: shapes.Json) -> tuple[str, ...]:
    """A line for each thing that was found, errors first."""
    found = sorted(data["findings"], key=lambda f: f["severity"] != "error")
    return tuple(
        f"  {f['severity']} {render.place(f)}: {f['message']}{' — ' + f['hint'] if f['hint'] else ''}" for f in found
    )


def is_url(source: str) -> bool:
    """Whether it is an address rather than a file."""
    return source.startswith(("http://", "https://"))


def check_here(local: LocalTools | None, file: str, trust_store: str) -> None:
    """Refuse a file that nobody trusted has signed, before anything of it is sent."""
    if is_url(file):
        raise WrongUse("--trust-store checks a file; for an address use --signature require and the manager's own")
    if local is None:
        raise WrongUse("--trust-store needs the whole vnfm command")
    if not os.path.exists(file):
        raise WrongUse(f"cannot read {file}: No such file or directory")
    if wrong := local.check_signature(file, trust_store):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Refused(own_problem("package-refused", "Package refused", f"{file}: {wrong[0]}{more}"))


def fetch(session: Session, package_id: str, url: str, digest_policy: str, signature: str) -> nfvo_pb2.Package:
    """The manager gets the content by itself."""
    request = nfvo_pb2.FetchPackageRequest(
        package_id=package_id, url=url, digest_policy=digest_policy, signature_policy=signature
    )
    client = session.client
    return client.guard(lambda: client.packages.FetchPackage(request, metadata=client.metadata))


@contextmanager
def opened(source: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The bytes of a file or an http(s) address, and how many there are where that is known."""
    if is_url(source):
        import urllib.request

        try:
            with urllib.request.urlopen(source, timeout=30) as answer:
                length = answer.headers.get("Content-Length")
                yield answer, int(length) if length and length.isdigit() else None
        except OSError as error:
            raise WrongUse(f"cannot fetch {source}: {error}") from error
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 closed below; only the opening is guarded
    except OSError as error:
        raise WrongUse(f"cannot read {source}: {error.strerror or error}") from error
    with stream:
        yield stream, os.fstat(stream.fileno()).st_size


def reading(stream: BinaryIO, total_bytes: int | None, name: str) -> Iterator[bytes]:
    """The stream in pieces, with a bar on a terminal."""
    pieces = iter(lambda: stream.read(CHUNK_BYTES), b"")
    if not sys.stderr.isatty():
        yield from pieces
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from vnfm.cli.output import console

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as progress:
        task = progress.add_task(f"sending {Path(name).name}", total=total_bytes)
        for piece in pieces:
            yield piece
            progress.advance(task, len(piece))
        progress.update(task, description="the manager checks it")


def upload(
    package_id: str, digest_policy: str, signature: str, pieces: Iterator[bytes]
) -> Iterator[nfvo_pb2.UploadPackageChunk]:
    """The first chunk says which package, the others carry data."""
    yield nfvo_pb2.UploadPackageChunk(package_id=package_id, digest_policy=digest_policy, signature_policy=signature)
    for piece in pieces:
        yield nfvo_pb2.UploadPackageChunk(data=piece)


def discard(session: Session, package_id: str, keep: bool) -> None:
    """A refused package leaves nothing behind, unless it is wanted for a closer look."""
    if keep:
        say(f"kept: {session.suggest(f'package show {package_id}')}")
        return
    with contextlib.suppress(CliError):
        session.client.call(session.client.packages.DeletePackage, nfvo_pb2.GetRequest(ref=package_id), 10)


@client_command(app, "list")
def list_packages(session: Session) -> None:
    """All packages of the tenant."""
    found = session.client.collect(session.client.packages.ListPackages, nfvo_pb2.ListRequest())
    session.print([shapes.package(p) for p in found], lambda: render.packages(found))


def show_id(session: Session, ref: str) -> None:
    """A package that the manager knows."""
    found = session.client.call(session.client.packages.GetPackage, nfvo_pb2.GetRequest(ref=ref))
    session.print(shapes.package(found), lambda: render.package(found))


@app.command("show")
def show(
    ctx: typer.Context,
    package: str = typer.Argument(metavar="PATH|ID", help="A file or folder (no manager needed), or an onboarded one."),
    endpoint: EndpointOption = None,
    tenant: TenantOption = "default",
    output: OutputOption = None,
    flavour: str = typer.Option("", metavar="ID", help="PATH: only this deployment flavour."),
    digests: str = typer.Option("auto", metavar="auto|strict|warn", help="PATH: whether a wrong digest refuses it."),
    signature: str = typer.Option("if-present", metavar="require|if-present", help="PATH: must it be signed?"),
    trust_store: str = typer.Option(
        "", metavar="FILE|DIR", envvar="VNFM_TRUST_STORE", help="PATH: certificates of those whose signatures count."
    ),
) -> None:
    """What is in a package: a file or folder here, or one that the manager knows."""
    local: LocalTools | None = ctx.obj
    if local is not None and os.path.exists(package):
        choice = ReadChoice(flavour, digests, signature, trust_store)
        raise typer.Exit(local.show_package(package, chosen(output, sys.stdout).value, choice))
    run_session(endpoint, tenant, output, lambda session: show_id(session, package))


def change(session: Session, ref: str, state: str) -> None:
    """Sets the operational state and prints the package."""
    request = nfvo_pb2.ChangePackageRequest(ref=ref, operational_state=state)
    changed = session.client.call(session.client.packages.ChangePackage, request)
    session.print(shapes.package(changed), lambda: render.package(changed))


@client_command(app, "disable")
def disable(session: Session, package: str = typer.Argument(metavar="ID")) -> None:
    """No new VNF is made from it; those that run go on."""
    change(session, package, "DISABLED")


@client_command(app, "enable")
def enable(session: Session, package: str = typer.Argument(metavar="ID")) -> None:
    """VNFs may be made from it again."""
    change(session, package, "ENABLED")


@client_command(app, "delete")
def delete(session: Session, package: str = typer.Argument(metavar="ID")) -> None:
    """Remove a package that is DISABLED and NOT_IN_USE: no VNF instance of it exists."""
    session.client.call(session.client.packages.DeletePackage, nfvo_pb2.GetRequest(ref=package))
    session.print({"deleted": package}, lambda: f"deleted {package}")
