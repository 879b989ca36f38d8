"""`vnfm events`: the notifications an NFVO gets (SOL003 5.4.19), as they happen."""

from __future__ import annotations

import time
from functools import partial

import grpc
import typer

from vnfm.cli import render, shapes
from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import Unreachable, is_transient, translate
from vnfm.cli.output import emit_line, say
from vnfm.cli.waiting import BACK_OFF_S, GIVE_UP_S
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="Notifications about lifecycle operations and packages.")


@client_command(app, "watch")
def watch(
    session: Session,
    after: int = typer.Option(0, "--after", min=0, metavar="CURSOR", help="Only what came after this event."),
    count: int = typer.Option(0, "--count", min=0, help="Stop after this many; 0 goes on until Ctrl-C."),
) -> None:
    """Print events as they happen; nothing is missed over a manager's restart. With -o json one object a line."""
    client = session.client
    cursor, seen, attempt = after, 0, 0
    lost_at: float | None = None
    while True:
        try:
            request = nfvo_pb2.WatchEventsRequest(after=cursor)
            for event in client.lifecycle.WatchEvents(request, metadata=client.metadata):
                lost_at, attempt, cursor, seen = None, 0, event.cursor, seen + 1
                data = shapes.event(event)
                emit_line(data, session.form, partial(line, data))
                if seen == count:
                    return
        except grpc.RpcError as error:
            never_there = not seen and lost_at is None and not after
            if not is_transient(error) or never_there:
                raise translate(error, client.endpoint) from error
        if lost_at is None:
            lost_at = time.monotonic()
            say("the manager is not reachable, trying again")
        elif time.monotonic() - lost_at > GIVE_UP_S:
            raise Unreachable(client.endpoint, f"waited {GIVE_UP_S:.0f} s for it to come back")
        time.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
        attempt += 1


def line(data: shapes.Json) -> str:
    """An event on one line."""
    inside = "  ".join(f"{k}={render.scalar(v)}" for k, v in data["body"].items() if not isinstance(v, list | dict))
    return f"{data['cursor']:6} {render.short_time(data['at'])}  {data['type']}  {inside}"
