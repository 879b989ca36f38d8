"""`vnfm op`: occurrences of lifecycle operations (SOL003 5.4.12 ff.)."""

from __future__ import annotations

from typing import Annotated

import typer

from vnfm.cli import render, shapes
from vnfm.cli.command import NoWaitOption, Session, TimeoutOption, client_command
from vnfm.cli.errors import WaitTimedOut
from vnfm.cli.output import Format, emit_line, say
from vnfm.cli.waiting import SETTLED, finish, follow, refusal, wait_showing
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="Lifecycle operations: watch, retry, roll back, give up.")
OpArgument = Annotated[str, typer.Argument(metavar="ID", help="An operation's id, or an unambiguous beginning of it.")]
COMPLETED = frozenset({"COMPLETED"})


@client_command(app, "list")
def list_ops(session: Session) -> None:
    """All operations of the tenant, the latest first."""
    found = session.client.collect(session.client.lifecycle.ListOpOccs, nfvo_pb2.ListRequest())
    session.print([shapes.operation(op) for op in found], lambda: render.operations(found))


@client_command(app, "show")
def show(session: Session, op: OpArgument) -> None:
    """An operation with its steps and, where it failed, its problem."""
    found = session.client.call(session.client.lifecycle.GetOpOcc, nfvo_pb2.GetRequest(ref=op))
    session.print(shapes.operation(found), lambda: render.operation(found))


class Lines:
    """Prints every change but the last, whose line waits for the verdict."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def update(self, op: nfvo_pb2.VnfLcmOpOcc) -> None:
        """A line unless settled."""
        if op.state not in SETTLED:
            emit_line(shapes.operation(op), self._session.form, lambda: render.operation_line(op))

    def note(self, text: str) -> None:
        """Beside the lines, on stderr."""
        say(text)


@client_command(app, "watch")
def watch(session: Session, op: OpArgument, timeout: TimeoutOption = None) -> None:
    """Follow an operation to its end; with -o json one object a line."""
    found = session.client.call(session.client.lifecycle.GetOpOcc, nfvo_pb2.GetRequest(ref=op))
    if session.form is Format.table:
        ended = wait_showing(session, found, timeout)
        if ended.state != "COMPLETED":
            raise refusal(session, ended)
        session.print(None, lambda: render.operation(ended))
        return
    try:
        ended = follow(session.client, found.id, Lines(session), timeout)
    except WaitTimedOut as error:
        raise WaitTimedOut(f"{error}\n  watch it: {session.suggest(f'op watch {found.id}')}") from None
    if ended.state == "COMPLETED":
        emit_line(shapes.operation(ended), session.form, str)
        return
    refused = refusal(session, ended)
    emit_line({"problem": refused.problem} | refused.more, session.form, str)
    say("\n".join((f"error: {refused}", *refused.hints)))
    raise typer.Exit(refused.exit_code)


def control(session: Session, op: str, action: str, cancel_mode: str = "") -> nfvo_pb2.VnfLcmOpOcc:
    """Send a decision about an operation."""
    request = nfvo_pb2.ControlOpOccRequest(ref=op, action=action, cancel_mode=cancel_mode)
    return session.client.call(session.client.lifecycle.ControlOpOcc, request)


@client_command(app, "retry")
def retry(session: Session, op: OpArgument, no_wait: NoWaitOption = False, timeout: TimeoutOption = None) -> None:
    """Try the failed steps of an operation in FAILED_TEMP again and go on."""
    finish(session, control(session, op, "retry"), no_wait=no_wait, timeout_s=timeout)


@client_command(app, "rollback")
def rollback(session: Session, op: OpArgument, no_wait: NoWaitOption = False, timeout: TimeoutOption = None) -> None:
    """Take back all that an operation in FAILED_TEMP did."""
    wanted = frozenset({"ROLLED_BACK"})
    finish(session, control(session, op, "rollback"), no_wait=no_wait, timeout_s=timeout, good=wanted)


@client_command(app, "fail")
def fail(session: Session, op: OpArgument) -> None:
    """Give up an operation in FAILED_TEMP; what it made stays as it is."""
    finish(session, control(session, op, "fail"), no_wait=True)


@client_command(app, "cancel")
def cancel(
    session: Session,
    op: OpArgument,
    forceful: bool = typer.Option(
        False, "--forceful", help="Break off running steps too, instead of letting them end."
    ),
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Stop a running operation: it comes to rest in FAILED_TEMP (or ROLLED_BACK if it had not begun)."""
    started = control(session, op, "cancel", "FORCEFUL" if forceful else "GRACEFUL")
    finish(session, started, no_wait=no_wait, timeout_s=timeout, good=frozenset({"FAILED_TEMP", "ROLLED_BACK"}))
