"""`vnfm chain insert, remove, reorder, swap, replace-vnf, scale`: changes of a chain in use (SOL005 NsUpdate, NsScale).

Each makes before it breaks: what is new stands and is probed before traffic is switched in one step, and what goes is
drained first.
"""

from __future__ import annotations

from typing import Annotated

import typer

from vnfm.cli.chains import ChainArgument, app
from vnfm.cli.command import NoWaitOption, RequestIdOption, Session, TimeoutOption, client_command
from vnfm.cli.errors import WrongUse
from vnfm.cli.waiting import finish
from vnfm.pb.nfvo.v1 import nfvo_pb2

AliasArgument = Annotated[str, typer.Argument(metavar="ALIAS", help="The VNF's alias in the chain.")]
VnfOption = Annotated[
    str,
    typer.Option("--vnf", metavar="VNFD", help="A VNFD's id, a beginning of it, or its package's product name."),
]
FlavourOption = Annotated[
    str, typer.Option("--flavour", metavar="ID", help="Deployment flavour; else the VNFD's first.", show_default=False)
]
PathOption = Annotated[
    str, typer.Option("--path", metavar="PATH", help="Which path, where there are several.", show_default=False)
]


def change(session: Session, request: nfvo_pb2.UpdateChainRequest, no_wait: bool, timeout_s: float | None) -> None:
    """Order the change and see it through."""
    op = session.client.call(session.client.chains.UpdateChain, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout_s)


@client_command(app, "insert")
def insert(
    session: Session,
    chain: ChainArgument,
    vnf: VnfOption,
    alias: str = typer.Option("", "--as", metavar="ALIAS", help="Its alias; else made from the product's name."),
    before: str = typer.Option(
        "", "--before", metavar="NAME", help="The VNF or end that it stands before; else the path's last end."
    ),
    after: str = typer.Option("", "--after", metavar="NAME", help="The VNF or end that it stands behind."),
    path: PathOption = "",
    flavour: FlavourOption = "",
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Put a further VNF into a running chain, without losing a packet."""
    if before and after:
        raise WrongUse("--before and --after: one of them is enough, and more is too much")
    order = nfvo_pb2.InsertVnf(vnfd_id=vnf, alias=alias, before=before, after=after, path=path, flavour_id=flavour)
    change(session, nfvo_pb2.UpdateChainRequest(ref=chain, request_id=request_id, insert=order), no_wait, timeout)


@client_command(app, "remove")
def remove(
    session: Session,
    chain: ChainArgument,
    alias: AliasArgument,
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Take a VNF out of a running chain; what is inside it is drained first."""
    order = nfvo_pb2.RemoveVnf(alias=alias)
    change(session, nfvo_pb2.UpdateChainRequest(ref=chain, request_id=request_id, remove=order), no_wait, timeout)


@client_command(app, "reorder")
def reorder(
    session: Session,
    chain: ChainArgument,
    aliases: list[str] = typer.Argument(metavar="ALIAS...", help="All VNFs of the path, in their new order."),
    path: PathOption = "",
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Lead a path through its VNFs in another order."""
    order = nfvo_pb2.ReorderVnfs(aliases=aliases, path=path)
    change(session, nfvo_pb2.UpdateChainRequest(ref=chain, request_id=request_id, reorder=order), no_wait, timeout)


@client_command(app, "swap")
def swap(
    session: Session,
    chain: ChainArgument,
    alias: AliasArgument,
    vnf: VnfOption,
    flavour: FlavourOption = "",
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Let another VNF take the place, the addresses and the alias of one."""
    order = nfvo_pb2.SwapVnf(alias=alias, vnfd_id=vnf, flavour_id=flavour)
    change(session, nfvo_pb2.UpdateChainRequest(ref=chain, request_id=request_id, swap=order), no_wait, timeout)


@client_command(app, "replace-vnf")
def replace_vnf(
    session: Session,
    chain: ChainArgument,
    alias: AliasArgument,
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Plan a VNF anew by what is asked of it now, and move it to the realization and host that this gives."""
    order = nfvo_pb2.ReplaceVnf(alias=alias)
    change(session, nfvo_pb2.UpdateChainRequest(ref=chain, request_id=request_id, replace=order), no_wait, timeout)


@client_command(app, "scale")
def scale(
    session: Session,
    chain: ChainArgument,
    alias: AliasArgument,
    replicas: int = typer.Option(..., "--replicas", min=1, max=64, help="How many instances share the flows."),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Spread a VNF's flows over several instances; each flow keeps its own, both ways. Fewer: drained first."""
    order = nfvo_pb2.ScaleHop(alias=alias, replicas=replicas)
    change(session, nfvo_pb2.UpdateChainRequest(ref=chain, request_id=request_id, scale=order), no_wait, timeout)
