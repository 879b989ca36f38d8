"""`vnfm chain`: service chains, NS level (SOL005 clause 6)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vnfm.cli import remote_exec, render_chain, shapes
from vnfm.cli.command import NoWaitOption, RequestIdOption, Session, TimeoutOption, client_command
from vnfm.cli.errors import Refused, WrongUse, own_problem
from vnfm.cli.output import emit, say
from vnfm.cli.waiting import finish
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="Service chains: plan, create, look at, terminate.")

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="The chain: the short form or a SOL001 NSD, as YAML; - reads stdin.")
]
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Another name than the file's own.", show_default=False)
]
ChainArgument = Annotated[str, typer.Argument(metavar="NAME", help="A chain's name, id, or beginning of the id.")]


def request_of(file: str, name: str, request_id: str = "") -> nfvo_pb2.ChainRequest:
    """The file as the API takes it."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise WrongUse(f"cannot read {file}: {error.strerror or error}") from error
    return nfvo_pb2.ChainRequest(descriptor=content, name=name, request_id=request_id, filename=file)


@client_command(app, "plan")
def plan(
    session: Session,
    file: FileArgument,
    name: NameOption = "",
    as_nsd: bool = typer.Option(False, "--as-nsd", help="Print the chain as a SOL001 NSD instead."),
) -> None:
    """Which realization and which host each VNF would get, and why. Nothing is created."""
    answer = session.client.call(session.client.chains.PlanChain, request_of(file, name))
    if as_nsd:
        sys.stdout.write(answer.nsd_yaml)
        return
    data = shapes.plan(answer)
    if not answer.feasible:
        refused = data.get("refused") or {}
        detail = str(refused.get("detail") or "no placement meets what the VNFs need")
        data["problem"] = own_problem("no-placement", "No placement", detail, answer.chain)
    session.print(data, lambda: render_chain.plan(data))
    if not answer.feasible:
        say(f"error: {data['problem']['title']}: {data['problem']['detail']}")
        raise typer.Exit(1)


@client_command(app, "create")
def create(
    session: Session,
    file: FileArgument,
    name: NameOption = "",
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Create and instantiate a chain; done once probe packets crossed every hop."""
    op = session.client.call(session.client.chains.CreateChain, request_of(file, name, request_id))
    finish(session, op, no_wait=no_wait, timeout_s=timeout)


@client_command(app, "list")
def list_chains(session: Session) -> None:
    """All chains of the tenant."""
    found = session.client.collect(session.client.chains.ListChains, nfvo_pb2.ListRequest())
    data = [shapes.chain(c) for c in found]
    session.print(data, lambda: render_chain.chains(found, data))


@client_command(app, "show")
def show(session: Session, chain: ChainArgument) -> None:
    """A chain: its VNFs and what realizes them, its links, the latest probe hop by hop."""
    data = shapes.chain(session.client.call(session.client.chains.GetChain, nfvo_pb2.GetRequest(ref=chain)))
    session.print(data, lambda: render_chain.chain(data))


@client_command(app, "graph", formatted=False)
def graph(
    session: Session,
    chain: ChainArgument,
    out: str = typer.Option("-", "--output", "-o", metavar="FILE.svg", help="Where the picture goes; - is stdout."),
) -> None:
    """A picture of the chain: which VNF is a container, microVM or VM, and on which host."""
    picture = session.client.call(session.client.chains.GraphChain, nfvo_pb2.GetRequest(ref=chain))
    if out == "-":
        sys.stdout.write(picture.svg)
        return
    try:
        Path(out).write_text(picture.svg, encoding="utf-8")
    except OSError as error:
        raise WrongUse(f"cannot write {out}: {error.strerror or error}") from error
    say(f"wrote {out}")


@client_command(app, "probe")
def probe(
    session: Session,
    chain: ChainArgument,
    packets: int = typer.Option(10, "--packets", min=1, max=10000, help="How many probe packets to send."),
) -> None:
    """Send probe packets through the chain now and count them at every hop."""
    request = nfvo_pb2.ProbeChainRequest(ref=chain, packets=packets)
    data = shapes.chain(session.client.call(session.client.chains.ProbeChain, request))
    dead = [h for h in (data.get("probe") or {}).get("hops", []) if h.get("sent") and not h.get("received")]
    if dead:
        where = ", ".join(f"{h.get('from')} → {h.get('to')}" for h in dead)
        detail = f"no probe packet arrived over {where}"
        raise Refused(own_problem("path-broken", "Path broken", detail, data["id"], "SAME_CALL"), more=data)
    session.print(data, lambda: render_chain.chain(data))


@client_command(app, "exec", formatted=False)
def exec_sap(
    session: Session,
    chain: ChainArgument,
    end: str = typer.Argument(metavar="END", help="An end of the chain, such as client or server."),
    command: list[str] = typer.Argument(metavar="-- CMD...", help="The command and its arguments."),
    stdin: bool = typer.Option(False, "--stdin", "-i", help="Pass on what is typed; a pipe is passed on anyway."),
) -> None:
    """Run a command at an end of the chain, to send or receive traffic; its exit code is passed on."""
    remote_exec.run(
        session.client,
        session.client.chains.ExecSap,
        nfvo_pb2.ExecSapInput(ref=chain, sap=end, command=command),
        lambda data, eof: nfvo_pb2.ExecSapInput(stdin=data, eof=eof),
        remote_exec.wants_stdin(stdin),
    )


@client_command(app, "terminate")
def terminate(
    session: Session,
    chain: ChainArgument,
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Take down all that realizes the chain. Its record stays until `vnfm chain delete`."""
    request = nfvo_pb2.TerminateChainRequest(ref=chain, request_id=request_id)
    op = session.client.call(session.client.chains.TerminateChain, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout)


@client_command(app, "delete")
def delete(session: Session, chain: ChainArgument) -> None:
    """Remove the record of a chain that is NOT_INSTANTIATED."""
    session.client.call(session.client.chains.DeleteChain, nfvo_pb2.GetRequest(ref=chain))
    emit({"deleted": chain}, session.form, lambda: f"deleted {chain}")
