"""`vnfm vnf heal, scale, modify`: changes of a VNF that runs (SOL003 5.4.5, 5.4.9, 5.4.2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from vnfm.cli.command import NoWaitOption, RequestIdOption, Session, TimeoutOption, client_command
from vnfm.cli.errors import WrongUse
from vnfm.cli.vnfs import VnfArgument, app
from vnfm.cli.waiting import finish
from vnfm.pb.nfvo.v1 import nfvo_pb2


class Isolation(StrEnum):
    """What a VNF may be asked to be isolated by; `vnfd`: what its VNFD says."""

    none = "none"
    tenant = "tenant"
    nested = "nested"
    kernel = "kernel"
    machine = "machine"
    vnfd = "vnfd"


@client_command(app, "heal")
def heal(
    session: Session,
    vnf: VnfArgument,
    vnfcs: Annotated[
        list[str] | None,
        typer.Option(
            "--vnfc",
            metavar="VNFC",
            help="Which VNFC, by its VDU or a beginning of its id; may be repeated. Else those that are not well, "
            "or all where all are.",
            show_default=False,
        ),
    ] = None,
    cause: str = typer.Option("", "--cause", metavar="TEXT", help="Why, for the record.", show_default=False),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Build what is not well anew, lead traffic there, and remove the old."""
    request = nfvo_pb2.HealVnfRequest(ref=vnf, vnfcs=vnfcs or (), cause=cause, request_id=request_id)
    op = session.client.call(session.client.lifecycle.HealVnf, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout)


@client_command(app, "scale")
def scale(
    session: Session,
    vnf: VnfArgument,
    out: bool = typer.Option(False, "--out", help="More instances."),
    into: bool = typer.Option(False, "--in", help="Fewer instances; those that go are drained first."),
    aspect: str = typer.Option(
        "",
        "--aspect",
        metavar="ASPECT",
        help="Scaling aspect of the VNFD, where there are several.",
        show_default=False,
    ),
    steps: int = typer.Option(1, "--steps", min=1, help="How many of the aspect's steps."),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Change the number of instances by a scaling aspect of the VNFD."""
    if out == into:
        raise WrongUse("one of --out and --in is needed")
    request = nfvo_pb2.ScaleVnfRequest(
        ref=vnf,
        type="SCALE_OUT" if out else "SCALE_IN",
        aspect_id=aspect,
        number_of_steps=steps,
        request_id=request_id,
    )
    op = session.client.call(session.client.lifecycle.ScaleVnf, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout)


@client_command(app, "modify")
def modify(
    session: Session,
    vnf: VnfArgument,
    isolation: Annotated[
        Isolation | None,
        typer.Option(
            "--isolation",
            help="The level asked for from now on; `chain replace-vnf` moves the VNF to what meets it.",
            show_default=False,
        ),
    ] = None,
    name: str = typer.Option(
        "", "--name", metavar="NAME", help="Another name; not of a VNF in a chain.", show_default=False
    ),
    request_id: RequestIdOption = "",
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Change what is on record of a VNF; what runs stays as it is."""
    if not isolation and not name:
        raise WrongUse("nothing to modify: give --isolation or --name")
    request = nfvo_pb2.ModifyVnfRequest(
        ref=vnf, name=name, isolation=isolation.value if isolation else "", request_id=request_id
    )
    op = session.client.call(session.client.lifecycle.ModifyVnf, request)
    finish(session, op, no_wait=no_wait, timeout_s=timeout)
