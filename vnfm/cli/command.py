"""What every client command has in common: its options, its connection, and how it ends."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar, get_type_hints

import typer

from vnfm.cli.client import Client, default_endpoint
from vnfm.cli.errors import CliError, Refused
from vnfm.cli.output import Format, chosen, emit, say

Function = TypeVar("Function", bound=Callable[..., None])

EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="ENDPOINT",
        envvar="VNFM_ENDPOINT",
        help="The manager: unix:PATH or HOST:PORT. Default: the socket of a manager on this host.",
        rich_help_panel="Connection",
    ),
]
TenantOption = Annotated[
    str,
    typer.Option(
        "--tenant", metavar="NAME", envvar="VNFM_TENANT", help="Act for this tenant.", rich_help_panel="Connection"
    ),
]
OutputOption = Annotated[
    Format | None,
    typer.Option("--output", "-o", help="Default: table on a terminal, json for a program.", show_default=False),
]
RequestIdOption = Annotated[
    str,
    typer.Option(
        "--request-id",
        metavar="ID",
        help="Your own id for this request: the same id again never does it twice.",
        show_default=False,
    ),
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Print the operation at once and let it go on.")]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="Stop waiting after this long (exit code 4); the operation goes on.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class ReadChoice:
    """How a package's file is read: only one flavour (empty: all), and what digests and signatures have to hold."""

    flavour: str = ""
    digests: str = "auto"
    signature: str = "if-present"
    trust_store: str = ""


class LocalTools(Protocol):
    """What can be done to a file without a manager; the composition hands it in as the context's object."""

    def check_signature(self, path: str, trust_store: str) -> list[str]:
        """What is wrong with a package's signature; empty where someone whom the trust store names signed it."""
        ...

    def show_package(self, path: str, form: str, choice: ReadChoice) -> int:
        """Print what is in the package at `path`; the exit code."""
        ...


@dataclass(frozen=True)
class Session:
    """One run of a command: its connection and the output asked for."""

    client: Client
    form: Format
    flags: str  # the connection's options as typed, for commands that are suggested

    def print(self, data: Any, table: Callable[[], Any]) -> None:
        """The command's result, on stdout."""
        emit(data, self.form, table)

    def suggest(self, command: str) -> str:
        """`vnfm COMMAND` as it must be typed to reach the same manager."""
        return f"vnfm {command}{self.flags}"


def client_command(
    group: typer.Typer, name: str, *, formatted: bool = True, **settings: Any
) -> Callable[[Function], Function]:
    """Register a function of (session, its own options) as a command of `group`.

    Adds --endpoint, --tenant and (where `formatted`) -o, and turns every CliError into its exit code. The function
    itself stays callable as it is.
    """

    def register(function: Function) -> Function:
        hints = get_type_hints(function, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in list(inspect.signature(function).parameters.values())[1:]]

        def run(**values: Any) -> None:
            endpoint, tenant = values.pop("endpoint"), values.pop("tenant")
            form = values.pop("output", None)
            run_session(endpoint, tenant, form, lambda session: function(session, **values))

        common = [
            inspect.Parameter("endpoint", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=EndpointOption),
            inspect.Parameter("tenant", inspect.Parameter.KEYWORD_ONLY, default="default", annotation=TenantOption),
        ]
        if formatted:
            common.append(
                inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OutputOption)
            )
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + common
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        group.command(name, **settings)(run)
        return function

    return register


def run_session(endpoint: str | None, tenant: str, form: Format | None, action: Callable[[Session], None]) -> None:
    flags = "".join(
        f" {option} {shlex.quote(value)}"
        for option, value, usual in (
            ("--endpoint", endpoint, os.environ.get("VNFM_ENDPOINT")),
            ("--tenant", tenant, os.environ.get("VNFM_TENANT", "default")),
        )
        if value and value != usual
    )
    client = Client(endpoint or default_endpoint(dict(os.environ), os.geteuid()), tenant)
    session = Session(client, chosen(form, sys.stdout), flags)
    try:
        action(session)
    except CliError as error:
        report(error, session.form)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        client.close()


def report(error: CliError, form: Format) -> None:
    """The error as a line on stderr, and as the documented object on stdout where a program reads it."""
    say(f"error: {error}")
    if not isinstance(error, Refused):
        return
    if error.problem["instance"] and error.problem["instance"] not in str(error):
        say(f"  about: {error.problem['instance']}")
    for hint in error.hints:
        say(hint)
    if form is not Format.table:
        emit({"problem": error.problem} | error.more, form, lambda: "")
