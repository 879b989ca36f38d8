"""Running a command inside a VNF or at an end of a chain, its streams passed through."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import grpc
import typer

from vnfm.cli.client import Client, Metadata
from vnfm.cli.errors import Refused, own_problem, translate
from vnfm.pb.nfvo.v1 import nfvo_pb2

Q = TypeVar("Q")
Q_contra = TypeVar("Q_contra", contravariant=True)
CHUNK_BYTES = 32 * 1024


class ExecMethod(Protocol[Q_contra]):
    """ExecVnf or ExecSap."""

    def __call__(self, requests: Iterator[Q_contra], /, *, metadata: Metadata) -> Iterable[nfvo_pb2.ExecVnfOutput]: ...


def run(client: Client, method: ExecMethod[Q], first: Q, chunk: Callable[[bytes, bool], Q], stdin: bool) -> None:
    """Send `first`, then stdin piece by piece where `stdin`; leave with the command's own exit code."""
    exit_code = None
    try:
        for answer in method(_requests(first, chunk, stdin), metadata=client.metadata):
            if answer.stdout:
                sys.stdout.buffer.write(answer.stdout)
                sys.stdout.buffer.flush()
            if answer.stderr:
                sys.stderr.buffer.write(answer.stderr)
                sys.stderr.buffer.flush()
            if answer.exited:
                exit_code = answer.exit_code
                break
    except grpc.RpcError as error:
        raise translate(error, client.endpoint) from error
    if exit_code is None:
        raise Refused(own_problem("exec-lost", "Exec lost", "the connection ended before the command did"))
    raise typer.Exit(exit_code if exit_code >= 0 else 128 - exit_code)


def wants_stdin(asked: bool) -> bool:
    """A pipe or file is passed on; a terminal only when asked, since a job in the background would stop on it."""
    return asked or not sys.stdin.isatty()


def _requests(first: Q, chunk: Callable[[bytes, bool], Q], stdin: bool) -> Iterator[Q]:
    yield first
    while stdin:
        data = os.read(0, CHUNK_BYTES)  # not sys.stdin: its lock would hold up the exit while a read blocks
        if not data:
            break
        yield chunk(data, False)
    yield chunk(b"", True)
