"""From a gRPC error to the one Problem."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.rpc import status_pb2

from vnfm.model.problem import URN, Problem, ProblemError, Retry
from vnfm.pb.common.v1 import common_pb2 as cpb

DETAILS_KEY = "grpc-status-details-bin"
RETRY_IN = {
    cpb.Problem.NEVER: Retry.NEVER,
    cpb.Problem.SAME_CALL: Retry.SAME_CALL,
    cpb.Problem.NEW_PLACEMENT: Retry.NEW_PLACEMENT,
}


def problem_of(error: grpc.aio.AioRpcError, vim: str) -> Problem | None:
    """The Problem detail that the plugin sent, or None where the error came from the transport."""
    metadata: Iterable[tuple[str, str | bytes]] = tuple(error.trailing_metadata() or ())  # type: ignore[arg-type]
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                message = cpb.Problem()
                if detail.Unpack(message):
                    return problem_in(message)
    return None


def problem_in(message: cpb.Problem) -> Problem:
    """A problem from the wire."""
    return Problem(
        type=message.type or URN + "internal",
        title=message.title,
        detail=message.detail,
        instance=message.instance,
        retry=RETRY_IN.get(message.retry, Retry.NEVER),
        retry_after_ms=message.retry_after_ms,
    )


def unexplained(error: grpc.aio.AioRpcError, vim: str, call: str) -> ProblemError:
    """For a status without detail."""
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return late(vim, call)
    return ProblemError(
        Problem(
            URN + ("vim-unreachable" if code is grpc.StatusCode.UNAVAILABLE else "vim-failed"),
            "VIM not reachable" if code is grpc.StatusCode.UNAVAILABLE else "VIM failed",
            f"VIM {vim}, {call}: {code.name}: {error.details()}",
            retry=Retry.SAME_CALL,
        )
    )


def late(vim: str, call: str) -> ProblemError:
    """For a call that took longer than it may."""
    return ProblemError(
        Problem(
            URN + "vim-timeout",
            "VIM did not answer in time",
            f"VIM {vim} did not finish {call} in time; what it did is found again by a retry",
            retry=Retry.SAME_CALL,
        )
    )
