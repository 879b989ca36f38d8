"""From a domain error to a gRPC status: the one place."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf import any_pb2
from google.rpc import status_pb2

from vnfm.model.problem import URN, Problem, ProblemError, Retry
from vnfm.model.problem import problem as problem_error
from vnfm.pb.common.v1 import common_pb2 as cpb

log = structlog.get_logger(__name__)
T = TypeVar("T")

DETAILS_KEY = "grpc-status-details-bin"
DETAIL_BYTES = 3000
MESSAGE_BYTES = 300
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
RETRY_OUT = {
    Retry.NEVER: cpb.Problem.NEVER,
    Retry.SAME_CALL: cpb.Problem.SAME_CALL,
    Retry.NEW_PLACEMENT: cpb.Problem.NEW_PLACEMENT,
}
STATUS_OF = {
    "not-found": grpc.StatusCode.NOT_FOUND,
    "vim-unknown": grpc.StatusCode.NOT_FOUND,
    "already-exists": grpc.StatusCode.ALREADY_EXISTS,
    "conflict": grpc.StatusCode.FAILED_PRECONDITION,
    "not-offered": grpc.StatusCode.FAILED_PRECONDITION,
    "no-space": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "storage": grpc.StatusCode.UNAVAILABLE,
    "data-loss": grpc.StatusCode.DATA_LOSS,
    "vim-unreachable": grpc.StatusCode.UNAVAILABLE,
    "vim-timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "source-refused": grpc.StatusCode.PERMISSION_DENIED,
    "source-unreachable": grpc.StatusCode.UNAVAILABLE,
    "source-timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "unimplemented": grpc.StatusCode.UNIMPLEMENTED,
    "internal": grpc.StatusCode.INTERNAL,
}


def problem_out(problem: Problem) -> cpb.Problem:
    """For the wire."""
    return cpb.Problem(
        type=problem.type,
        title=problem.title,
        detail=problem.detail,
        instance=problem.instance,
        retry=RETRY_OUT[problem.retry],
        retry_after_ms=problem.retry_after_ms,
    )


async def refuse(context: grpc.aio.ServicerContext[Any, Any], problem: Problem) -> None:
    """End the call with the status that belongs to the problem and the problem as its one detail."""
    code = STATUS_OF.get(problem.word, grpc.StatusCode.INVALID_ARGUMENT)
    detail = any_pb2.Any()
    # trailers over 8 KiB do not arrive, and what is not ASCII takes three bytes there
    detail.Pack(problem_out(replace(problem, detail=_clipped(problem.detail, DETAIL_BYTES))))
    message = _clipped(f"{problem.title}: {problem.detail}", MESSAGE_BYTES)
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    await context.abort(code, message, ((DETAILS_KEY, status.SerializeToString()),))


def _clipped(text: str, limit_bytes: int) -> str:
    data = text.encode(errors="replace")
    if len(data) <= limit_bytes:
        return text
    return data[:limit_bytes].decode(errors="ignore") + " …"


async def answered(context: grpc.aio.ServicerContext[Any, Any], work: Awaitable[T]) -> T:
    """Await `work`; a ProblemError becomes the call's status, anything else an `internal` problem without a trace."""
    try:
        return await work
    except ProblemError as error:
        await refuse(context, error.problem)
    except (grpc.aio.AbortError, grpc.aio.BaseError):
        raise
    except Exception as error:
        log.exception("call failed unexpectedly")
        await refuse(context, internal(error))
    raise AssertionError("abort returns never")


async def streamed(
    context: grpc.aio.ServicerContext[Any, Any], items: Callable[[], AsyncIterator[T]]
) -> AsyncIterator[T]:
    """The same for a stream of answers. When the caller goes away, what `items` holds open is closed at once."""
    source = items()
    try:
        async for item in source:
            yield item
    except ProblemError as error:
        await refuse(context, error.problem)
    except (grpc.aio.AbortError, grpc.aio.BaseError):
        raise
    except Exception as error:
        log.exception("stream failed unexpectedly")
        await refuse(context, internal(error))
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


def internal(error: Exception) -> Problem:
    """For what should not happen."""
    return Problem(
        URN + "internal",
        "The manager made a mistake",
        f"{type(error).__name__}: {error}; the manager's log has more",
    )


def tenant_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The tenant of the call. Raises ProblemError `bad-request`: plugins make labels and names of it."""
    for key, value in context.invocation_metadata() or ():
        if key == "vnfm-tenant" and value:
            name = value if isinstance(value, str) else value.decode(errors="replace")
            if not TENANT.fullmatch(name):
                raise problem_error(
                    "bad-request",
                    f"tenant {name[:80]!r}: expected at most 63 letters, digits, '.', - or _, a letter or digit first",
                )
            return name
    return "default"
