"""`vnfm package validate`, `show` and `build` for a path: no manager is asked.

The functions return plain values, so that a command which also takes an id can use them; `app` is the typer command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vnfm.model.codec import encode
from vnfm.model.package import Severity
from vnfm.model.problem import Problem, ProblemError
from vnfm.model.vnfd_document import finding_document, full, vnfd_document

if TYPE_CHECKING:
    from rich.console import Console

    from vnfm.tosca import PackageReading

DONE, REFUSED, WRONG_USE = 0, 1, 2

app = typer.Typer(no_args_is_help=True, help="VNF packages, offline.")


class Policy(StrEnum):
    """What a digest that does not hold does: refuse, warn, or refuse where the package is signed."""

    AUTO = "auto"
    STRICT = "strict"
    WARN = "warn"


class SignatureRule(StrEnum):
    """Whether a package has to be signed."""

    REQUIRE = "require"
    IF_PRESENT = "if-present"


class Output(StrEnum):
    """How an answer is printed."""

    JSON = "json"
    TABLE = "table"


def read(
    path: Path,
    *,
    flavour: str | None = None,
    digests: Policy = Policy.AUTO,
    signature: SignatureRule = SignatureRule.IF_PRESENT,
    trust_store: Path | None = None,
) -> PackageReading:
    """The package at `path`, read. Raises ProblemError bad-trust-store."""
    from vnfm.tosca import SignaturePolicy, TrustStore, read_package

    policy = SignaturePolicy(
        required=signature is SignatureRule.REQUIRE,
        trust=TrustStore.load(trust_store) if trust_store is not None else None,
    )
    return read_package(path, digests=digests.value, signature=policy, flavour=flavour)


def signature_faults(path: Path, trust_store: Path) -> list[str]:
    """What is wrong with the signature of the package at `path`; empty where someone trusted signed it."""
    try:
        reading = read(path, signature=SignatureRule.REQUIRE, trust_store=trust_store)
    except ProblemError as error:
        return [error.problem.detail]
    wrong = [f.message for f in reading.findings if f.severity is Severity.ERROR]
    return wrong or ([] if reading.signature.state == "VERIFIED" else ["the package is not signed"])


def reading_json(reading: PackageReading) -> dict[str, Any]:
    """The JSON of `validate` and `show`: ok, problems, vnfd and the package around it.

    vnfd is what could be read, also of a package that is refused; null where that is nothing.
    """
    return {
        "ok": reading.ok,
        "problems": [finding_document(f) for f in reading.findings],
        "vnfd": vnfd_document(reading.known) if reading.known is not None else None,
        "package": {
            "entry": reading.entry,
            "metadata": dict(reading.metadata),
            "parts": {word: list(names) for word, names in reading.parts.items()},
            "artifact_sets": {name: list(names) for name, names in reading.artifact_sets.items()},
            "signature": full(reading.signature),
            "files": [
                {"name": name, "size_bytes": f.size_bytes, "sha256": f.sha256, "kind": f.kind}
                for name, f in reading.files.items()
            ],
        },
    }


PathArgument = Annotated[Path, typer.Argument(help="A CSAR, a signed one in a zip, or a folder with the same files.")]
FlavourOption = Annotated[str | None, typer.Option(help="Only this deployment flavour.")]
DigestsOption = Annotated[
    Policy, typer.Option(help="Whether a wrong digest refuses the package; auto: where it is signed.")
]
SignatureOption = Annotated[
    SignatureRule, typer.Option(help="Whether it has to be signed. A signature that does not hold always refuses.")
]
TrustOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE|DIR", envvar="VNFM_TRUST_STORE", help="Certificates of those whose signatures count."),
]
FormOption = Annotated[Output | None, typer.Option("-o", "--output", help="json, or a table on a terminal.")]


@app.command()
def validate(
    path: PathArgument,
    flavour: FlavourOption = None,
    digests: DigestsOption = Policy.AUTO,
    signature: SignatureOption = SignatureRule.IF_PRESENT,
    trust_store: TrustOption = None,
    output: FormOption = None,
) -> None:
    """Check a package: digests, signatures and its VNFD. Exit 0: it can be used; 1: it is refused."""
    _answer(path, lambda: read(path, flavour=flavour, digests=digests, signature=signature, trust_store=trust_store),
            output, full=False)  # fmt: skip


@app.command()
def show(
    path: PathArgument,
    flavour: FlavourOption = None,
    digests: DigestsOption = Policy.AUTO,
    signature: SignatureOption = SignatureRule.IF_PRESENT,
    trust_store: TrustOption = None,
    output: FormOption = None,
) -> None:
    """Show what a package says."""
    _answer(path, lambda: read(path, flavour=flavour, digests=digests, signature=signature, trust_store=trust_store),
            output, full=True)  # fmt: skip


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="The package's source folder.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The CSAR to write.")],
    key: Annotated[Path | None, typer.Option(help="Sign with this private key (PEM, RSA or EC).")] = None,
    cert: Annotated[Path | None, typer.Option(help="Its certificate (PEM), then those that vouch for it.")] = None,
) -> None:
    """Write a CSAR from a source folder, with fresh digests, and signed where a key is given.

    A locked key's password is taken from VNFM_KEY_PASSWORD.
    """
    from vnfm.tosca import SigningKey, build_package

    if not folder.is_dir() or not out.parent.is_dir():
        typer.echo(f"{folder if not folder.is_dir() else out.parent} is no folder", err=True)
        raise typer.Exit(WRONG_USE)
    if (key is None) != (cert is None):
        typer.echo("--key and --cert belong together", err=True)
        raise typer.Exit(WRONG_USE)
    try:
        password = os.environ.get("VNFM_KEY_PASSWORD", "").encode() or None
        signing = SigningKey.load(key, cert, password) if key is not None and cert is not None else None
        build_package(folder, out, now=release_time(folder), signing=signing)
    except ProblemError as error:
        typer.echo(f"{error.problem.title}: {error.problem.detail}", err=True)
        raise typer.Exit(WRONG_USE if error.problem.word == "bad-key" else REFUSED) from error
    except OSError as error:
        typer.echo(f"cannot write {out}: {error.strerror or error}", err=True)
        raise typer.Exit(REFUSED) from error
    typer.echo(f"wrote {out}{', signed' if signing else ''}", err=True)


@app.command()
def extract(
    path: PathArgument,
    name: Annotated[str, typer.Argument(help="A file of the package, as `show -o json` lists it.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Where to put it.")],
) -> None:
    """Take one file out of a package: an artifact, a certificate, the change log."""
    if not path.exists() or not out.parent.is_dir():
        typer.echo(f"{path if not path.exists() else out.parent} does not exist", err=True)
        raise typer.Exit(WRONG_USE)
    try:
        read(path, digests=Policy.WARN).extract(name, out)
    except ProblemError as error:
        typer.echo(f"{error.problem.title}: {error.problem.detail}", err=True)
        raise typer.Exit(REFUSED) from error
    typer.echo(f"wrote {out}", err=True)


@app.command()
def graph(
    path: Annotated[Path, typer.Argument(help="A CSAR or a folder with the same files.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The SVG to write.")],
    flavour: Annotated[str, typer.Option(help="This deployment flavour; default: the first.")] = "",
) -> None:
    """Draw a VNFD: its VDUs, connection points and virtual links."""
    from vnfm.graph.vnfdpicture import draw_vnfd

    if not path.exists() or not out.parent.is_dir():
        typer.echo(f"{path if not path.exists() else out.parent} does not exist", err=True)
        raise typer.Exit(WRONG_USE)
    reading = read(path, digests=Policy.WARN)
    if reading.vnfd is None:
        first = reading.findings[0].message if reading.findings else "no VNFD in it"
        typer.echo(f"{path} has no usable VNFD: {first}", err=True)
        raise typer.Exit(REFUSED)
    try:
        out.write_text(draw_vnfd(reading.vnfd, flavour))
    except ProblemError as error:
        typer.echo(f"{error.problem.title}: {error.problem.detail}", err=True)
        raise typer.Exit(REFUSED) from error
    typer.echo(f"wrote {out}", err=True)


def release_time(folder: Path) -> datetime:
    """The newest change in the folder, so that building twice gives the same bytes."""
    times = [p.stat().st_mtime for p in folder.rglob("*") if p.is_file()]
    return datetime.fromtimestamp(int(max(times, default=0)), UTC)


def _answer(path: Path, reader: Callable[[], PackageReading], output: Output | None, *, full: bool) -> None:
    from rich.console import Console

    if not path.exists():
        absent = Problem("urn:vnfm:problem:not-found", "Not found", f"{path} does not exist")
        if output is Output.JSON:
            typer.echo(json.dumps({"ok": False, "problems": [], "vnfd": None, "problem": encode(absent)}))
        typer.echo(f"{path} does not exist", err=True)
        raise typer.Exit(WRONG_USE)
    console = Console()
    try:
        reading = reader()
    except ProblemError as error:
        if output is Output.JSON:
            body = {"ok": False, "problems": [], "vnfd": None, "problem": encode(error.problem)}
            typer.echo(json.dumps(body))
        typer.echo(f"{error.problem.title}: {error.problem.detail}", err=True)
        raise typer.Exit(WRONG_USE if error.problem.word == "bad-trust-store" else REFUSED) from error
    if output is Output.JSON or (output is None and not console.is_terminal):
        typer.echo(json.dumps(reading_json(reading), indent=2, ensure_ascii=False))
    else:
        _print(reading, console, full=full)
    raise typer.Exit(DONE if reading.ok else REFUSED)


def _print(reading: PackageReading, console: Console, *, full: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    for finding in reading.findings:
        where = f"{finding.file}:{finding.line}:{finding.column}" if finding.line else finding.file
        colour = "red" if finding.severity is Severity.ERROR else "yellow"
        console.print(
            f"[{colour}]{finding.severity.value}[/] {escape(where)} {escape(finding.message)}", highlight=False
        )
        if finding.hint:
            console.print(f"    {escape(finding.hint)}", highlight=False)
    if reading.vnfd is None:
        console.print("[red]refused[/]")
        return
    vnfd = reading.vnfd
    if reading.signature.option:
        console.print(f"signature: {reading.signature.state.lower()}, {escape('; '.join(reading.signature.subjects))}")
    console.print(f"{escape(vnfd.provider)} {escape(vnfd.product)} {escape(vnfd.version)}  {escape(vnfd.id)}")
    for flavour in vnfd.flavours if full else ():
        table = Table(title=f"flavour {escape(flavour.id)}")
        for column in ("VDU", "CPU", "memory", "image", "isolation", "instances", "CPs"):
            table.add_column(column)
        for vdu in flavour.vdus:
            images = [vdu.disk_image, *(c.image for c in vdu.containers)]
            table.add_row(
                escape(vdu.id),
                f"{vdu.cpu_milli / 1000:g}",
                f"{vdu.memory_bytes / 2**20:.0f} MiB",
                escape(", ".join(f"{i.name} ({i.format.value})" for i in images if i is not None)),
                vdu.needs.isolation.name.lower(),
                f"{vdu.initial_instances} ({vdu.min_instances}-{vdu.max_instances})",
                escape(", ".join(c.id for c in flavour.cps if c.vdu_id == vdu.id)),
            )
        console.print(table)
