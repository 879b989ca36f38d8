"""`vnfm vnf`: single VNF instances (SOL003 clause 5)."""

from __future__ import annotations

from typing import Annotated

import typer

from vnfm.cli import remote_exec, render, shapes
from vnfm.cli.command import NoWaitOption, RequestIdOption, Session, TimeoutOption, client_command
from vnfm.cli.waiting import finish
from vnfm.pb.nfvo.v1 import nfvo_pb2

app = typer.Typer(no_args_is_help=True, help="VNF instances: create, instantiate, look at, terminate.")
VnfArgument = Annotated[str, typer.Argument(metavar="ID", help="A VNF instance's id, a beginning of it, or its name.")]


@client_command(app, "create")
def create(
    session: Session,
    vnfd: str = typer.Argument(metavar="VNFD", help="The descriptor_id of an onboarded, ENABLED package."),
    name: str = typer.Option("", "--name", metavar="NAME", help="A name for it.", show_default=False),
    request_id: RequestIdOption = "",
) -> None:
    """Make the record of a new VNF instance; nothing runs yet."""
    request = nfvo_pb2.CreateVnfRequest(vnfd_id=vnfd, name=name, request_id=request_id)
    made = session.client.call(session.client.lifecycle.CreateVnf, request)
    session.print(shapes.vnf(made), lambda: render.fields(shapes.vnf(made)))


@client_command(app, "instantiate")
def instantiate(
    session: Session,
    vnf: VnfArgument,
    flavour: str = typer.Option(
        "", "--flavour", help="Deployment flavour; else the VNFD's default.", show_default=False
    ),
    level: str = typer.Option(
        "", "--level", help="Instantiation level; else the flavour's default.", show_default=False
    ),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Realize a VNF instance on a host."""
    request = nfvo_pb2.InstantiateVnfRequest(ref=vnf, flavour_id=flavour, level_id=level, request_id=request_id)
    op = session.client.call(session.client.lifecycle.InstantiateVnf, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout)


@client_command(app, "list")
def list_vnfs(session: Session) -> None:
    """All VNF instances of the tenant."""
    found = session.client.collect(session.client.lifecycle.ListVnfs, nfvo_pb2.ListRequest())
    session.print([shapes.vnf(v) for v in found], lambda: render.vnfs(found))


@client_command(app, "show")
def show(session: Session, vnf: VnfArgument) -> None:
    """A VNF instance with its VNFCs and addresses."""
    data = shapes.vnf(session.client.call(session.client.lifecycle.GetVnf, nfvo_pb2.GetRequest(ref=vnf)))
    session.print(data, lambda: render.fields(data))


@client_command(app, "terminate")
def terminate(
    session: Session,
    vnf: VnfArgument,
    forceful: bool = typer.Option(False, "--forceful", help="Do not wait for a clean shutdown."),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Take down what realizes a VNF instance. Its record stays until `vnfm vnf delete`."""
    kind = "FORCEFUL" if forceful else "GRACEFUL"
    request = nfvo_pb2.TerminateVnfRequest(ref=vnf, request_id=request_id, termination_type=kind)
    op = session.client.call(session.client.lifecycle.TerminateVnf, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout)


@client_command(app, "delete")
def delete(session: Session, vnf: VnfArgument) -> None:
    """Remove the record of a VNF instance that is NOT_INSTANTIATED."""
    session.client.call(session.client.lifecycle.DeleteVnf, nfvo_pb2.GetRequest(ref=vnf))
    session.print({"deleted": vnf}, lambda: f"deleted {vnf}")


@client_command(app, "exec", formatted=False)
def exec_vnf(
    session: Session,
    vnf: VnfArgument,
    command: list[str] = typer.Argument(metavar="-- CMD...", help="The command and its arguments."),
    vnfc: str = typer.Option("", "--vnfc", help="Which VNFC, where there are several.", show_default=False),
    stdin: bool = typer.Option(False, "--stdin", "-i", help="Pass on what is typed; a pipe is passed on anyway."),
) -> None:
    """Run a command inside a VNF; its output and exit code are passed on."""
    remote_exec.run(
        session.client,
        session.client.lifecycle.ExecVnf,
        nfvo_pb2.ExecVnfInput(ref=vnf, vnfc=vnfc, command=command),
        lambda data, eof: nfvo_pb2.ExecVnfInput(stdin=data, eof=eof),
        remote_exec.wants_stdin(stdin),
    )
