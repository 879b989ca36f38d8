"""`vnfm placement what-if, defragment, replace`: looking ahead; only `replace --apply` changes anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vnfm.cli import render_foresight, shapes
from vnfm.cli.client import CALL_TIMEOUT_S
from vnfm.cli.command import NoWaitOption, RequestIdOption, Session, TimeoutOption, client_command
from vnfm.cli.errors import Refused, WrongUse, own_problem
from vnfm.cli.output import say
from vnfm.cli.waiting import refusal, wait_showing
from vnfm.pb.nfvo.v1 import nfvo_pb2

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True, help="Why VNFs lie where they lie, and what would become of them.")
Json = dict[str, Any]
PATIENCE_S = 5 * CALL_TIMEOUT_S
MOST_MOVES = 20


@app.callback()
def placement() -> None:
    """Why VNFs lie where they lie, and what would become of them."""


@client_command(app, "what-if")
def what_if(
    session: Session,
    drain: list[str] = typer.Option([], "--drain", metavar="HOST", help="Empty this host: what runs there moves away."),
    fail_host: list[str] = typer.Option([], "--fail-host", metavar="HOST", help="Lose this host."),
    fail_zone: list[str] = typer.Option([], "--fail-zone", metavar="ZONE", help="Lose all hosts of this zone."),
    fail_site: list[str] = typer.Option([], "--fail-site", metavar="SITE", help="Lose all hosts of this site."),
    fail_vim: list[str] = typer.Option([], "--fail-vim", metavar="VIM", help="Lose this VIM."),
    add_hosts: list[str] = typer.Option(
        [], "--add-hosts", metavar="N[:HOST]", help="Have N more servers like HOST; else like the most frequent kind."
    ),
    then: Path | None = typer.Option(
        None, "--then", metavar="CHAINFILE", help="Would this chain be admitted afterwards?", show_default=False
    ),
) -> None:
    """What would become of all that runs, over all VIMs, if hosts went or came. Nothing is touched.

    HOST is a host's id, or VIM/ID. Exit code 1 where a chain would be lost, or CHAINFILE not be admitted.
    """
    request = nfvo_pb2.WhatIfRequest(
        drain=drain,
        fail_hosts=fail_host,
        fail_zones=fail_zone,
        fail_sites=fail_site,
        fail_vims=fail_vim,
        add_hosts=[_added(text) for text in add_hosts],
    )
    if then is not None:
        request.then_chain, request.then_filename = _read(then), then.name
    if not request.ByteSize():
        raise WrongUse("nothing is supposed: give --drain, --fail-host, --fail-zone, --fail-site, --fail-vim, "
                       "--add-hosts or --then")  # fmt: skip
    data = _foreseen(session, lambda: session.client.placement.WhatIf(
        request, timeout=PATIENCE_S, metadata=session.client.metadata))  # fmt: skip
    lost = [c for c in data["chains"] if c["outcome"] == "LOST"]
    admitted = data["then"]
    if not lost and (admitted is None or admitted["feasible"]):
        session.print(data, lambda: render_foresight.outlook(data))
        return
    names = ", ".join(render_foresight.name(c) for c in lost[:5]) + (", …" if len(lost) > 5 else "")
    told = [f"{len(lost)} of what runs would be lost: {names}"] if lost else []
    if admitted is not None and not admitted["feasible"]:
        told.append(f"chain {admitted['chain']} would not be admitted: {admitted['refused']['detail']}")
    _refused(session, data, render_foresight.outlook, "; ".join(told))


@client_command(app, "defragment")
def defragment(
    session: Session,
    most: int = typer.Option(MOST_MOVES, "--most", metavar="N", min=1, max=1000, help="At most so many VNFCs."),
) -> None:
    """Moves that empty servers and make chains cheaper, in an order in which each is possible when it is its turn.

    Proposals, and the commands that carry them out; nothing is touched.
    """
    request = nfvo_pb2.DefragmentRequest(most=most)
    data = _foreseen(session, lambda: session.client.placement.Defragment(
        request, timeout=PATIENCE_S, metadata=session.client.metadata))  # fmt: skip
    session.print(data, lambda: render_foresight.tidied(data))


@client_command(app, "replace")
def replace(
    session: Session,
    vnfs: list[str] = typer.Argument(metavar="VNF...", help="VNFs of one chain: CHAIN/ALIAS, or ids of instances."),
    to: list[str] = typer.Option(
        [], "--to", metavar="HOST", help="To this host; of several VNFs each to its own: ALIAS=HOST."
    ),
    avoid: list[str] = typer.Option([], "--avoid", metavar="HOST", help="Anywhere but there."),
    vim: str = typer.Option("", "--vim", metavar="VIM", help="Into this VIM.", show_default=False),
    apply: bool = typer.Option(False, "--apply", help="Do it: CHAIN_UPDATE, make before break, or nothing."),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Where running VNFs would go if they were moved now, why, and what it would cost; with --apply they go there.

    HOST is a host's id, or VIM/ID. Without --to, --avoid and --vim: where they had best be.
    """
    if bool(to) + bool(avoid) + bool(vim) > 1:
        raise WrongUse("--to, --avoid and --vim: at most one of them")
    request = nfvo_pb2.ReplacementRequest(refs=vnfs, to=to, avoid=avoid, vim=vim)
    answer = session.client.call(session.client.placement.PlanReplacement, request, timeout_s=PATIENCE_S)
    data = shapes.body(answer.body)
    if not data["feasible"]:
        _refused(session, data, render_foresight.replacement, data["refused"]["detail"])
    if not apply or data["stays"]:
        session.print(data, lambda: render_foresight.replacement(data))
        if apply:
            say("nothing is moved: it would stay where it is")
        return
    for warning in data["warnings"]:
        say(f"note: {warning}")
    op = session.client.call(session.client.chains.UpdateChain, _order(data, request_id))
    if not no_wait:
        op = wait_showing(session, op, timeout)
        if op.state != "COMPLETED":
            ended = refusal(session, op)
            raise Refused(ended.problem, more={**ended.more, "plan": data}, hints=ended.hints)
    done = {**data, "applied": shapes.operation(op)}
    session.print(done, lambda: render_foresight.replacement(done))


def _order(plan: Json, request_id: str) -> nfvo_pb2.UpdateChainRequest:
    """The change that does what was planned, or nothing."""
    alias, *also = plan["aliases"]
    places = [
        nfvo_pb2.VnfcPlace(
            alias=m["alias"],
            vdu_id=m["vdu_id"],
            index=m["index"],
            vim=m["to"]["vim"],
            host=m["to"]["host"],
            runtime=m["to"]["runtime"],
        )
        for m in plan["moves"]
    ]
    change = nfvo_pb2.ReplaceVnf(alias=alias, also=also, places=places)
    return nfvo_pb2.UpdateChainRequest(ref=plan["chain_id"], request_id=request_id, replace=change)


def _added(text: str) -> nfvo_pb2.AddedHosts:
    count, _, like = text.partition(":")
    if not count.isdecimal() or not 1 <= int(count) <= 10_000:
        raise WrongUse(f"--add-hosts {text}: expected N or N:HOST, N from 1 to 10000")
    return nfvo_pb2.AddedHosts(count=int(count), like=like)


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise WrongUse(f"cannot read {path}: {error.strerror or error}") from error


def _refused(session: Session, data: Json, table: Callable[[Json], RenderableType], detail: str) -> None:
    """What was found, on stdout, and why it is no good."""
    data["problem"] = own_problem("no-placement", "No placement", detail, str(data.get("chain") or ""), "NEW_PLACEMENT")
    session.print(data, lambda: table(data))
    say(f"error: No placement: {detail}")
    raise typer.Exit(1)


# ---- progress and pieces ----


def _foreseen(session: Session, begin: Any) -> Json:
    """The document, put together from its pieces; how far it is goes to stderr."""
    pieces = session.client.guard(begin)
    data: Json = {}
    with _progress() as shown:
        for piece in _heard(session.client.follow(pieces), shown):
            for name, value in piece.items():
                data[name] = data[name] + value if isinstance(value, list) and name in data else value
    return data


def _heard(pieces: Iterable[nfvo_pb2.ForesightPiece], shown: Any) -> Iterator[Json]:
    for piece in pieces:
        if piece.WhichOneof("is") == "progress":
            shown(piece.progress)
        else:
            yield json.loads(piece.json)


@contextmanager
def _progress() -> Iterator[Any]:
    """One line that is written over, on a terminal only: a look ahead is over in seconds."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    width = 0

    def show(told: nfvo_pb2.ForesightProgress) -> None:
        nonlocal width
        text = (f"{told.done} of {told.total} {told.doing}" if told.total else told.doing)[:78]
        sys.stderr.write("\r" + text.ljust(width))
        sys.stderr.flush()
        width = max(width, len(text))

    try:
        yield show
    finally:
        if width:
            sys.stderr.write("\r" + " " * width + "\r")
            sys.stderr.flush()
