"""Waiting for an operation: follow its stream, survive a manager's restart, judge its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import grpc
import typer

from vnfm.cli import shapes
from vnfm.cli.client import Client
from vnfm.cli.command import Session
from vnfm.cli.errors import Refused, Unreachable, WaitTimedOut, is_transient, own_problem, status_of, translate
from vnfm.cli.output import say
from vnfm.pb.nfvo.v1 import nfvo_pb2

SETTLED = frozenset({"COMPLETED", "FAILED", "FAILED_TEMP", "ROLLED_BACK"})
BACK_OFF_S = (0.2, 0.4, 0.8, 1.5, 2.0)
GIVE_UP_S = 120.0  # how long an unreachable manager is waited for where no timeout was asked


class Watcher(Protocol):
    """Shows an operation while it runs."""

    def update(self, op: nfvo_pb2.VnfLcmOpOcc) -> None:
        """The operation changed."""
        ...

    def note(self, text: str) -> None:
        """Something besides the operation: the connection was lost, is back."""
        ...


def follow(
    client: Client,
    op_id: str,
    watcher: Watcher,
    timeout_s: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> nfvo_pb2.VnfLcmOpOcc:
    """Watch until the operation is settled (final or FAILED_TEMP) and answer with it.

    Raises WaitTimedOut, Unreachable when the manager stays away, Refused when it does not know the operation.
    """
    end = None if timeout_s is None else clock() + timeout_s
    lost_at: float | None = None
    attempt = 0
    while True:
        remaining = None if end is None else end - clock()
        if remaining is not None and remaining <= 0:
            raise _timed_out(op_id, timeout_s)
        try:
            request = nfvo_pb2.GetRequest(ref=op_id)
            for op in client.lifecycle.WatchOpOcc(request, timeout=remaining, metadata=client.metadata):
                if lost_at is not None:
                    watcher.note(f"the manager is back after {clock() - lost_at:.1f} s")
                    lost_at, attempt = None, 0
                watcher.update(op)
                if op.state in SETTLED:
                    return op
            reason = "the manager closed the connection"
        except grpc.RpcError as error:
            if status_of(error)[0] == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _timed_out(op_id, timeout_s) from None
            if not is_transient(error):
                raise translate(error, client.endpoint) from error
            reason = "the manager is not reachable"
        if lost_at is None:
            lost_at = clock()
            watcher.note(f"{reason}; the operation is safe in its store, trying again")
        elif end is None and clock() - lost_at > GIVE_UP_S:
            raise Unreachable(client.endpoint, f"waited {GIVE_UP_S:.0f} s for it to come back")
        pause = BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)]
        sleep(pause if end is None else max(0.0, min(pause, end - clock())))
        attempt += 1


def _timed_out(op_id: str, timeout_s: float | None) -> WaitTimedOut:
    return WaitTimedOut(f"operation {op_id} did not end within {timeout_s:g} s; it goes on")


def finish(
    session: Session,
    op: nfvo_pb2.VnfLcmOpOcc,
    *,
    no_wait: bool = False,
    timeout_s: float | None = None,
    good: frozenset[str] = frozenset({"COMPLETED"}),
) -> None:
    """What a command does that started `op`: wait with progress, print it, judge it. `good` are the ends wanted."""
    if not no_wait:
        op = wait_showing(session, op, timeout_s)
        refuse_unless(session, op, good)
    from vnfm.cli import render

    session.print(shapes.operation(op), lambda: render.operation(op))


def wait_showing(session: Session, op: nfvo_pb2.VnfLcmOpOcc, timeout_s: float | None) -> nfvo_pb2.VnfLcmOpOcc:
    """Wait for `op` behind a progress display. Ctrl-C and a timeout say how to look again."""
    from vnfm.cli.progress import display

    again = f"  watch it: {session.suggest(f'op watch {op.id}')}"
    try:
        with display(op) as shown:
            return follow(session.client, op.id, shown, timeout_s)
    except KeyboardInterrupt:
        say(f"stopped waiting; operation {op.id} goes on\n{again}")
        raise typer.Exit(130) from None
    except WaitTimedOut as error:
        raise WaitTimedOut(f"{error}\n{again}") from None


def refuse_unless(session: Session, op: nfvo_pb2.VnfLcmOpOcc, good: frozenset[str]) -> None:
    """Raises Refused with the operation beside its problem unless it ended in one of `good`."""
    if op.state in good:
        return
    raise refusal(session, op)


def refusal(session: Session, op: nfvo_pb2.VnfLcmOpOcc) -> Refused:
    """The problem of an operation that did not do what was asked, and the ways out."""
    data = shapes.operation(op)
    what = f"{op.operation} of {op.target} ended {op.state}"
    problem = data["error"] or own_problem("operation-failed", "Operation failed", what, op.id)
    return Refused(problem, more=data, hints=(f"  {what}", *ways_out(session, op)))


def ways_out(session: Session, op: nfvo_pb2.VnfLcmOpOcc) -> tuple[str, ...]:
    """The very commands that lead on from FAILED_TEMP (SOL003 5.4.13 ff.)."""
    if op.state != "FAILED_TEMP":
        return ()
    ways = (
        ("retry", "try the failed steps again"),
        ("rollback", "take back what was done"),
        ("fail", "give it up as it stands"),
    )
    width = max(len(session.suggest(f"op {verb} {op.id}")) for verb, _ in ways)
    lines = [f"    {session.suggest(f'op {verb} {op.id}'):{width}}   {meaning}" for verb, meaning in ways]
    return ("  it waits for your decision:", *lines)
