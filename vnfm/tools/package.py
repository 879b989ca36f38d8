"""`vnfm package validate`, `show`, `graph`, `extract` and `build` for a path: no manager is asked."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from vnfm.model.codec import encode
from vnfm.model.package import Severity
from vnfm.model.problem import Problem, ProblemError
from vnfm.tools.package_view import print_reading, reading_json

if TYPE_CHECKING:
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
    YAML = "yaml"
    TABLE = "table"


class Choice(Protocol):
    """How a package is read, as words (vnfm.cli.command.ReadChoice)."""

    @property
    def flavour(self) -> str: ...
    @property
    def digests(self) -> str: ...
    @property
    def signature(self) -> str: ...
    @property
    def trust_store(self) -> str: ...


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


PathArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="A CSAR, a signed one in a zip, a folder with the same files, or a VNFD's YAML file."
    ),
]
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
FormOption = Annotated[
    Output | None,
    typer.Option("-o", "--output", help="Default: table on a terminal, json for a program.", show_default=False),
]


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
    raise typer.Exit(_answer(path, flavour, digests, signature, trust_store, output, whole=False))


@app.command("show")
def show_path(
    path: PathArgument,
    flavour: FlavourOption = None,
    digests: DigestsOption = Policy.AUTO,
    signature: SignatureOption = SignatureRule.IF_PRESENT,
    trust_store: TrustOption = None,
    output: FormOption = None,
) -> None:
    """Show what a package says."""
    raise typer.Exit(_answer(path, flavour, digests, signature, trust_store, output, whole=True))


def show(path: Path, form: str, choice: Choice) -> int:
    """`package show PATH`; the exit code."""
    try:
        digests, signature = Policy(choice.digests), SignatureRule(choice.signature)
    except ValueError as error:
        typer.echo(f"{error}: --digests is auto, strict or warn, --signature require or if-present", err=True)
        return WRONG_USE
    trust = Path(choice.trust_store) if choice.trust_store else None
    return _answer(path, choice.flavour or None, digests, signature, trust, Output(form), whole=True)


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
    if not os.path.exists(path) or not os.path.isdir(out.parent):
        typer.echo(f"{path if not os.path.exists(path) else out.parent} does not exist", err=True)
        raise typer.Exit(WRONG_USE)
    try:
        read(path, digests=Policy.WARN).extract(name, out)
    except ProblemError as error:
        typer.echo(f"{error.problem.title}: {error.problem.detail}", err=True)
        raise typer.Exit(REFUSED) from error
    typer.echo(f"wrote {out}", err=True)


@app.command()
def graph(
    path: PathArgument,
    out: Annotated[Path, typer.Option("-o", "--output", help="The SVG to write.")],
    flavour: Annotated[str, typer.Option(help="This deployment flavour; default: the first.")] = "",
    digests: DigestsOption = Policy.WARN,
    signature: SignatureOption = SignatureRule.IF_PRESENT,
    trust_store: TrustOption = None,
) -> None:
    """Draw a VNFD: its VDUs, connection points and virtual links."""
    from vnfm.graph.vnfdpicture import draw_vnfd

    if not os.path.exists(path) or not os.path.isdir(out.parent):
        typer.echo(f"{path if not os.path.exists(path) else out.parent} does not exist", err=True)
        raise typer.Exit(WRONG_USE)
    if out.suffix.lower() not in ("", ".svg"):
        typer.echo(f"{out}: the picture is an SVG, name it {out.with_suffix('.svg').name}", err=True)
        raise typer.Exit(WRONG_USE)
    try:
        reading = read(path, digests=digests, signature=signature, trust_store=trust_store)
        if reading.vnfd is None:
            first = reading.findings[0].message if reading.findings else "no VNFD in it"
            typer.echo(f"{path} has no usable VNFD: {first}", err=True)
            raise typer.Exit(REFUSED)
        out.write_text(draw_vnfd(reading.vnfd, flavour))
        names = [f.id for f in reading.vnfd.flavours]
        if not flavour and len(names) > 1:
            others = ", ".join(names[1:])
            typer.echo(f"drawn is the flavour {names[0]}; there are also (--flavour): {others}", err=True)
    except ProblemError as error:
        typer.echo(f"{error.problem.title}: {error.problem.detail}", err=True)
        raise typer.Exit(WRONG_USE if error.problem.word == "bad-trust-store" else REFUSED) from error
    except OSError as error:
        typer.echo(f"cannot write {out}: {error.strerror or error}", err=True)
        raise typer.Exit(REFUSED) from error
    typer.echo(f"wrote {out}", err=True)


def register(group: typer.Typer) -> None:
    """Add what the client's group of the same name has not."""
    for command in (validate, build, extract, graph):
        group.command(command.__name__)(command)


def standalone() -> None:
    """`vnfm package …` without the client."""
    root = typer.Typer(name="vnfm", no_args_is_help=True, pretty_exceptions_show_locals=False)
    root.add_typer(app, name="package")
    root()


def release_time(folder: Path) -> datetime:
    """The newest change in the folder, so that building twice gives the same bytes."""
    times = [p.stat().st_mtime for p in folder.rglob("*") if p.is_file()]
    return datetime.fromtimestamp(int(max(times, default=0)), UTC)


def _answer(
    path: Path,
    flavour: str | None,
    digests: Policy,
    signature: SignatureRule,
    trust_store: Path | None,
    output: Output | None,
    *,
    whole: bool,
) -> int:
    """Read and print; the exit code."""
    form = output or (Output.TABLE if sys.stdout.isatty() else Output.JSON)
    fault: Problem | None = None
    if not os.path.exists(path):
        fault = Problem("urn:vnfm:problem:not-found", "Not found", f"{path} does not exist")
    else:
        try:
            reading = read(path, flavour=flavour, digests=digests, signature=signature, trust_store=trust_store)
        except ProblemError as error:
            fault = error.problem
    if fault is not None:
        _put({"ok": False, "problems": [], "vnfd": None, "problem": encode(fault)}, form)
        typer.echo(f"{fault.title}: {fault.detail}", err=True)
        return WRONG_USE if fault.word in ("not-found", "bad-trust-store") else REFUSED
    if form is Output.TABLE:
        from rich.console import Console

        print_reading(reading, Console(highlight=False), whole=whole)
    else:
        _put(reading_json(reading), form)
    return DONE if reading.ok else REFUSED


def _put(data: object, form: Output) -> None:
    if form is Output.JSON:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif form is Output.YAML:
        import yaml

        typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
