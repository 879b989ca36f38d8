"""How a command can end other than well, and how a gRPC error becomes one of these ends.

Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 manager not reachable, 4 waiting timed out (the operation
goes on).
"""

from __future__ import annotations

from typing import Any

import grpc

from vnfm.pb.common.v1 import common_pb2

DETAILS_KEY = "grpc-status-details-bin"
URN = "urn:vnfm:problem:"

ProblemDict = dict[str, Any]


class CliError(Exception):
    """Ends the command with `exit_code`; the message goes to stderr."""

    exit_code = 1


class Refused(CliError):
    """The manager said no, or an operation failed. `problem` has the documented keys; `more` is printed beside it."""

    exit_code = 1

    def __init__(
        self, problem: ProblemDict, *, more: dict[str, Any] | None = None, hints: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"{problem['title']}: {problem['detail']}" if problem["detail"] else problem["title"])
        self.problem = problem
        self.more = more or {}
        self.hints = hints


class WrongUse(CliError):
    """The command's own arguments do not fit (a file that is not there, a format that is none)."""

    exit_code = 2


class Unreachable(CliError):
    """No manager answers at the endpoint."""

    exit_code = 3

    def __init__(self, endpoint: str, why: str) -> None:
        super().__init__(
            f"no manager answers at {endpoint} ({why}). Start one with `vnfm serve`, "
            "or name another by --endpoint or VNFM_ENDPOINT."
        )


class WaitTimedOut(CliError):
    """The wait is over, the operation is not."""

    exit_code = 4


def problem_dict(message: common_pb2.Problem) -> ProblemDict:
    """The documented JSON shape of a Problem message."""
    unspecified = message.retry == common_pb2.Problem.RETRY_UNSPECIFIED
    retry = "NEVER" if unspecified else common_pb2.Problem.Retry.Name(message.retry)
    return {
        "type": message.type,
        "title": message.title,
        "detail": message.detail,
        "instance": message.instance,
        "retry": retry,
    }


def own_problem(word: str, title: str, detail: str, instance: str = "", retry: str = "NEVER") -> ProblemDict:
    """A problem found on this side of the wire, in the same shape."""
    return {"type": URN + word, "title": title, "detail": detail, "instance": instance, "retry": retry}


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Code and text of an RpcError; grpc raises them as calls, its type hints do not say so."""
    if isinstance(error, grpc.Call):
        return error.code(), error.details() or ""
    return grpc.StatusCode.UNKNOWN, str(error)


def problem_of(error: grpc.RpcError) -> ProblemDict | None:
    """The one Problem that travels in the status details, where there is one."""
    from google.rpc import status_pb2

    if not isinstance(error, grpc.Call):
        return None
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        for detail in status_pb2.Status.FromString(value).details:
            found = common_pb2.Problem()
            if detail.Unpack(found):
                return problem_dict(found)
    return None


def is_transient(error: grpc.RpcError) -> bool:
    """The manager went away in the middle of a stream and may come back."""
    code, _ = status_of(error)
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return False
    problem = problem_of(error)
    return problem is None or problem["retry"] == "SAME_CALL"


def translate(error: grpc.RpcError, endpoint: str) -> CliError:
    """The end that fits a gRPC error."""
    problem = problem_of(error)
    if problem is not None:
        return Refused(problem)
    code, text = status_of(error)
    if code == grpc.StatusCode.UNAVAILABLE:
        return Unreachable(endpoint, _first_line(text) or "unavailable")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unreachable(endpoint, "it took the call but did not answer in time")
    if code == grpc.StatusCode.UNIMPLEMENTED:
        text = "this manager does not know the call; is it of another version?"
    word = code.name.lower().replace("_", "-")
    return Refused(own_problem(word, word.replace("-", " ").capitalize(), text))


def _first_line(text: str) -> str:
    """gRPC's connection errors repeat themselves an address a line; the cause stands last on the first."""
    line = text.splitlines()[0] if text else ""
    for cause in ("No such file or directory", "Connection refused", "Permission denied", "Socket closed"):
        if cause in line:
            return cause.lower()
    return line
