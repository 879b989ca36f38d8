"""`vnfm chain watch`: a view of a chain to be left open."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from vnfm.cli import chains, shapes
from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import Refused, own_problem
from vnfm.cli.output import Format, console, emit_line
from vnfm.cli.situation import Gatherer, Situation
from vnfm.pb.nfvo.v1 import nfvo_pb2

FRAME_S = 0.25
QUIT_KEYS = ("q", "Q", "\x04")


@client_command(chains.app, "watch")
def watch(
    session: Session,
    chain: chains.ChainArgument,
    interval: float = typer.Option(
        1.0, "--interval", metavar="SECONDS", min=0.1, max=60, help="From one sample of the counters to the next."
    ),
    probe: float = typer.Option(
        10.0, "--probe", metavar="SECONDS", min=0, help="Trace a packet along each path this often; 0: never."
    ),
    count: int = typer.Option(0, "--count", min=0, help="Stop after this many snapshots; 0: at q or Ctrl-C."),
) -> None:
    """Paths, states, round trips, counters, operations and events of a chain as they change; q or Ctrl-C ends it.

    A manager that is restarted is found again. With -o json a snapshot a line.
    """
    first = session.client.call(session.client.chains.GetChain, nfvo_pb2.GetRequest(ref=chain))
    now = Situation(chain=shapes.chain(first))
    gatherer = Gatherer(session.client, now, interval, probe)
    gatherer.start()
    try:
        if session.form is Format.table and sys.stdout.isatty():
            _on_screen(now, interval * count if count else None)
        else:
            _line_by_line(session, now, interval, count)
    except KeyboardInterrupt:
        pass
    finally:
        gatherer.stop()
    if now.gone:
        raise Refused(own_problem("not-found", "Chain gone", now.gone, str(now.chain.get("id", ""))))


def _on_screen(now: Situation, seconds: float | None = None) -> None:
    """`seconds`: how long at most."""
    from rich.live import Live

    from vnfm.cli.live_view import view

    screen = console()
    with (
        keys() as pressed,
        Live(get_renderable=lambda: view(now, screen), console=screen, screen=True, auto_refresh=False) as live,
    ):
        until = None if seconds is None else time.monotonic() + seconds
        while not now.gone and (until is None or time.monotonic() < until):
            live.refresh()
            if pressed(FRAME_S) in QUIT_KEYS:
                return


def _line_by_line(session: Session, now: Situation, interval_s: float, count: int) -> None:
    from vnfm.cli.live_view import view

    seen = 0
    while not now.gone:
        time.sleep(interval_s)
        if session.form is Format.table:
            screen = console()
            screen.print(view(now, screen))
        else:
            emit_line(snapshot(now), session.form, str)
        seen += 1
        if seen == count:
            return


def snapshot(now: Situation) -> dict[str, Any]:
    """Everything as one object."""
    return {
        "manager": "REACHABLE" if now.away_since is None else "AWAY",
        "chain": now.chain,
        "stats": now.stats or None,
        "trace": now.trace or None,
        "operation": shapes.operation(now.operation) if now.operation else None,
        "events": list(now.events),
    }


@contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """A function that waits for a key, at most so long, and answers with it, or with nothing."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def pressed(timeout_s: float) -> str:
        ready, _, _ = select.select([number], [], [], timeout_s)
        return os.read(number, 1).decode(errors="replace") if ready else ""

    try:
        tty.setcbreak(number)
        yield pressed
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _no_key(timeout_s: float) -> str:
    time.sleep(timeout_s)
    return ""
