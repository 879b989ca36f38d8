"""`vnfm chain trace`, `vnfm chain stats`, `vnfm vnf stats`: what happens on the way, hop by hop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vnfm.cli import chains, render_stats, shapes, vnfs
from vnfm.cli.client import Streaming
from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import Refused, own_problem
from vnfm.cli.following import follow_on
from vnfm.cli.output import Format, console, emit, emit_line, say
from vnfm.pb.nfvo.v1 import nfvo_pb2

if TYPE_CHECKING:
    from rich.console import RenderableType

IntervalOption = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.1, max=3600, help="From one sample to the next.")
]
CountOption = Annotated[int, typer.Option("--count", min=0, help="Stop after this many samples; 0: at Ctrl-C.")]


@client_command(chains.app, "trace")
def trace(
    session: Session,
    chain: chains.ChainArgument,
    path: str = typer.Option("", "--path", metavar="PATH", help="Only this path.", show_default=False),
) -> None:
    """Send a probe packet and tell where and when it was seen, there and back, hop by hop."""
    request = nfvo_pb2.TraceChainRequest(ref=chain, path=path)
    data = shapes.body(session.client.call(session.client.chains.TraceChain, request).body)
    broken = [f"path {p.get('path')}: {p['broken']}" for p in data.get("paths") or [] if p.get("broken")]
    if not broken:
        session.print(data, lambda: render_stats.trace(data))
        return
    if session.form is Format.table:
        emit(data, session.form, lambda: render_stats.trace(data))
    raise Refused(own_problem("path-broken", "Path broken", "; ".join(broken), chain, "SAME_CALL"), more=data)


@client_command(chains.app, "stats")
def chain_stats(
    session: Session, chain: chains.ChainArgument, interval: IntervalOption = 1.0, count: CountOption = 0
) -> None:
    """Packets, bytes and drops of every port, CPU and memory of every VNFC, sample after sample."""
    show_stats(session, session.client.chains.WatchChainStats, chain, interval, count, render_stats.chain_stats)


@client_command(vnfs.app, "stats")
def vnf_stats(session: Session, vnf: vnfs.VnfArgument, interval: IntervalOption = 1.0, count: CountOption = 0) -> None:
    """Packets, bytes and drops of a VNF's ports, CPU and memory of its VNFCs, sample after sample."""
    show_stats(session, session.client.lifecycle.WatchVnfStats, vnf, interval, count, render_stats.vnf_stats)


def show_stats(
    session: Session,
    method: Streaming[nfvo_pb2.WatchStatsRequest, nfvo_pb2.Document],
    ref: str,
    interval_s: float,
    count: int,
    table: Callable[[dict[str, Any]], RenderableType],
) -> None:
    """An object a line, or a table that stays in place on a terminal. A manager that is away is waited for."""
    seen = 0

    def begin() -> Iterable[nfvo_pb2.Document]:
        left = count - seen if count else 0
        request = nfvo_pb2.WatchStatsRequest(ref=ref, interval_ms=round(interval_s * 1000), count=left)
        return method(request, metadata=session.client.metadata)

    with ExitStack() as stack:
        show = partial(_line, session, table)
        if session.form is Format.table and sys.stdout.isatty():
            from rich.live import Live

            live = stack.enter_context(Live(console=console(), auto_refresh=False))
            show = partial(_update, live, table)
        for answer in follow_on(session.client, begin, say, ends=True):
            seen += 1
            show(shapes.body(answer.body))
            if seen == count:
                return


def _line(session: Session, table: Callable[[dict[str, Any]], RenderableType], data: dict[str, Any]) -> None:
    if session.form is Format.table:
        emit(data, session.form, lambda: table(data))
    else:
        emit_line(data, session.form, str)


def _update(live: Any, table: Callable[[dict[str, Any]], RenderableType], data: dict[str, Any]) -> None:
    live.update(table(data), refresh=True)
