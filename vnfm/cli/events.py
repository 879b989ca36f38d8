"""`vnfm events`: the notifications an NFVO gets (SOL003 5.4.19), as they happen."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import typer

from vnfm.cli import render, shapes
from vnfm.cli.command import Session, client_command
from vnfm.cli.following import follow_on
from vnfm.cli.output import emit_line, say
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
    cursor, seen = after, 0

    def begin() -> Iterable[nfvo_pb2.Event]:
        return client.lifecycle.WatchEvents(nfvo_pb2.WatchEventsRequest(after=cursor), metadata=client.metadata)

    for event in follow_on(client, begin, say, patient=after > 0):
        cursor, seen = event.cursor, seen + 1
        data = shapes.event(event)
        emit_line(data, session.form, partial(line, data))
        if seen == count:
            return


def line(data: shapes.Json) -> str:
    """An event on one line."""
    inside = "  ".join(f"{k}={render.scalar(v)}" for k, v in data["body"].items() if not isinstance(v, list | dict))
    return f"{data['cursor']:6} {render.short_time(data['at'])}  {data['type']}  {inside}"
