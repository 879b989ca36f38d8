"""`vnfm vnf capture`: the packets at a port, as a pcap file."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Protocol

import grpc
import typer

from vnfm.cli.command import Session, client_command
from vnfm.cli.errors import Refused, WrongUse, own_problem, translate
from vnfm.cli.output import say
from vnfm.cli.pcap import EMPTY, NotPcap, Whole
from vnfm.cli.render import size
from vnfm.cli.vnfs import VnfArgument, app
from vnfm.pb.nfvo.v1 import nfvo_pb2

TOLD_EVERY_S = 0.5


class Answers(Protocol):
    """A stream that can be given up."""

    def __iter__(self) -> Iterator[nfvo_pb2.CaptureChunk]: ...
    def cancel(self) -> bool: ...


@client_command(app, "capture", formatted=False)
def capture(
    session: Session,
    vnf: VnfArgument,
    port: str = typer.Option(..., "--port", metavar="CP", help="The connection point, by its id in the VNFD."),
    out: str = typer.Option(..., "--output", "-o", metavar="FILE.pcap", help="Where the packets go; - is stdout."),
    vnfc: str = typer.Option("", "--vnfc", help="Which VNFC, where several have the port.", show_default=False),
    seconds: int = typer.Option(0, "--seconds", min=0, help="End after this long; 0: at Ctrl-C."),
    packets: int = typer.Option(0, "--packets", min=0, help="End after this many; 0: any number."),
    snap: int = typer.Option(0, "--snap", min=0, metavar="BYTES", help="Keep this much of each packet; 0: all."),
) -> None:
    """Write the packets that cross a port to a pcap file. Ctrl-C ends it, and the file is whole."""
    request = nfvo_pb2.CaptureVnfRequest(
        ref=vnf, vnfc=vnfc, cp=port, snap_bytes=snap, max_packets=packets, seconds=seconds
    )
    client, whole = session.client, Whole()
    with term_is_ctrl_c(), target(out) as file:
        try:
            answers: Answers = client.lifecycle.CaptureVnf(request, metadata=client.metadata)
            copy(answers, whole, file)
        except grpc.RpcError as error:
            raise translate(error, client.endpoint) from error
        except NotPcap as error:
            raise Refused(
                own_problem("capture-broken", "Capture broken", f"what came is no capture: {error}")
            ) from error
        if not whole.bytes:
            file.write(EMPTY)
    say(f"{'captured' if out == '-' else f'wrote {out}:'} {whole.packets} packets, {size(whole.bytes)}")


def copy(answers: Answers, whole: Whole, file: BinaryIO) -> None:
    """Until the stream ends or Ctrl-C ends it."""
    told = time.monotonic()
    try:
        for answer in answers:
            file.write(whole.take(answer.pcap))
            file.flush()
            if sys.stderr.isatty() and time.monotonic() - told > TOLD_EVERY_S:
                told = time.monotonic()
                sys.stderr.write(f"\r{whole.packets} packets, {size(whole.bytes)}; Ctrl-C ends it  ")
                sys.stderr.flush()
    except KeyboardInterrupt:
        answers.cancel()
    except BrokenPipeError:  # whoever read stdout has enough
        answers.cancel()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")


@contextmanager
def target(out: str) -> Iterator[BinaryIO]:
    """stdout, or a file that appears under its name once it is whole, and not at all after a failure."""
    if out == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out)
    try:
        number, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise WrongUse(f"cannot write {out}: {error.strerror or error}") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(made, 0o666 & ~umask)
        os.replace(made, path)
    except OSError as error:
        raise WrongUse(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        Path(made).unlink(missing_ok=True)


@contextmanager
def term_is_ctrl_c() -> Iterator[None]:
    """SIGTERM ends a capture as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
