"""The one error channel: a canonical gRPC status with exactly one Problem as its detail.

Handlers raise PluginError; `guarded` turns it, and whatever else escapes, into the answer. The trailer must fit into
gRPC's 8 KiB of metadata, so texts and partial handles are cut to size here.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf import any_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status

from vnfm.pb.common.v1.common_pb2 import Handle, Problem
from vnfm.pb.vim.v1 import vim_pb2 as pb

URN = "urn:vnfm:problem:"
NEVER = Problem.NEVER
SAME_CALL = Problem.SAME_CALL
NEW_PLACEMENT = Problem.NEW_PLACEMENT

_TITLE_CHARS = 120
_DETAIL_CHARS = 1500
_MESSAGE_CHARS = 200
_PROBLEM_BYTES = 4600  # base64 adds a third, grpc-message and the framing the rest: below 8 KiB in all

log = structlog.get_logger("vnfm.pluginkit")


class PluginError(Exception):
    """What a handler raises: the word of the catalogue, the words for people, the status and what to do about it.

    `instance` names what it is about (a resource_id; the kit fills it in where it is left empty), `partial` what
    exists although the call failed.
    """

    def __init__(
        self,
        word: str,
        detail: str,
        code: grpc.StatusCode,
        *,
        retry: Problem.Retry.ValueType = NEVER,
        title: str = "",
        instance: str = "",
        retry_after_ms: int = 0,
        partial: Sequence[Handle] = (),
    ) -> None:
        super().__init__(f"{word}: {detail}")
        self.code = code
        self.problem = Problem(
            type=URN + word,
            title=title or word.replace("-", " ").capitalize(),
            detail=detail,
            instance=instance,
            retry=retry,
            retry_after_ms=retry_after_ms,
            partial=partial,
        )

    @property
    def word(self) -> str:
        """The last part of the problem's type: `not-found`."""
        return self.problem.type.removeprefix(URN)


def invalid(field: str, expected: str, *, instance: str = "") -> PluginError:
    """INVALID_ARGUMENT that names the field, and says what was expected."""
    return PluginError("invalid-request", f"{field}: {expected}", grpc.StatusCode.INVALID_ARGUMENT, instance=instance)


def not_found(what: str, resource_id: str) -> PluginError:
    """NOT_FOUND: the object has to be allocated anew."""
    return PluginError(
        "not-found", f"there is no {what} {resource_id!r}", grpc.StatusCode.NOT_FOUND, instance=resource_id
    )


def not_ready(what: str, *, instance: str = "", retry: Problem.Retry.ValueType = SAME_CALL) -> PluginError:
    """FAILED_PRECONDITION: something else has to be there first; then the same call succeeds."""
    return PluginError("precondition-failed", what, grpc.StatusCode.FAILED_PRECONDITION, retry=retry, instance=instance)


def unimplemented(what: str, capability: str) -> PluginError:
    """UNIMPLEMENTED: it stands behind a capability that this plugin does not offer."""
    return PluginError(
        "not-offered", f"{what} needs {capability}, which this plugin does not offer", grpc.StatusCode.UNIMPLEMENTED
    )


def already_exists(resource_id: str, detail: str) -> PluginError:
    """ALREADY_EXISTS: the id is taken by something else."""
    return PluginError("already-exists", detail, grpc.StatusCode.ALREADY_EXISTS, instance=resource_id)


def no_capacity(detail: str, *, instance: str = "") -> PluginError:
    """RESOURCE_EXHAUSTED: this host is unknown or full, another one may do."""
    return PluginError(
        "insufficient-capacity",
        detail,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        retry=NEW_PLACEMENT,
        instance=instance,
    )


def unavailable(detail: str, *, retry_after_ms: int = 1000) -> PluginError:
    """UNAVAILABLE: what stands behind the plugin does not answer now."""
    return PluginError(
        "vim-unavailable", detail, grpc.StatusCode.UNAVAILABLE, retry=SAME_CALL, retry_after_ms=retry_after_ms
    )


def failed(detail: str, *, instance: str = "", partial: Sequence[Handle] = ()) -> PluginError:
    """INTERNAL: it was tried and it failed; `detail` has the last lines of what it said."""
    return PluginError(
        "realization-failed",
        detail,
        grpc.StatusCode.INTERNAL,
        retry=SAME_CALL,
        instance=instance,
        partial=partial,
    )


def timed_out(detail: str, *, instance: str = "") -> PluginError:
    """DEADLINE_EXCEEDED: the object resists; the same call may succeed, with force."""
    return PluginError("timed-out", detail, grpc.StatusCode.DEADLINE_EXCEEDED, retry=SAME_CALL, instance=instance)


def cancelled(detail: str, *, instance: str = "") -> PluginError:
    """CANCELLED: the object may exist; the same call, or Terminate, goes on from there."""
    return PluginError("cancelled", detail, grpc.StatusCode.CANCELLED, retry=SAME_CALL, instance=instance)


def as_plugin_error(error: Exception, rpc: str) -> PluginError:
    """Every exception's place in the error channel; what nobody expected is logged with its traceback, never sent."""
    if isinstance(error, PluginError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PluginError(
            "no-space",
            "no space is left on the plugin's storage: make room, then try again",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            retry=SAME_CALL,
        )
    log.error("unexpected error", rpc=rpc, exc_info=error)
    return PluginError(
        "plugin-defect",
        f"{rpc} met an unexpected {type(error).__name__}; the plugin's log has the traceback",
        grpc.StatusCode.INTERNAL,
        retry=SAME_CALL,
    )


def to_status(error: PluginError) -> status_pb2.Status:
    """google.rpc.Status with exactly one Problem, cut to what a trailer may hold."""
    detail = any_pb2.Any()
    detail.Pack(_clipped(error.problem))
    message = _clip(f"{error.problem.title}: {error.problem.detail}", _MESSAGE_CHARS)
    return status_pb2.Status(code=error.code.value[0], message=message, details=[detail])


@asynccontextmanager
async def guarded(context: grpc.aio.ServicerContext[Any, Any], rpc: str, instance: str = "") -> AsyncIterator[None]:
    """Run one RPC's body: its exceptions end the call with their status. Cancellation passes through."""
    try:
        yield
    except Exception as error:
        if isinstance(error, grpc.aio.AbortError):
            raise
        found = refusal(error, rpc, instance)
        status = to_status(found)
        trailer = rpc_status.to_status(status).trailing_metadata
        await context.abort(found.code, status.message, tuple(trailer or ()))


def refusal(error: Exception, rpc: str, instance: str = "") -> PluginError:
    """What ends a call, on record in the log; `instance` is what the call is about."""
    found = as_plugin_error(error, rpc)
    if instance and not found.problem.instance:
        found.problem.instance = instance
    log.info("refused", rpc=rpc, code=found.code.name, type=found.problem.type, instance=found.problem.instance)
    return found


def failure_of(error: PluginError) -> pb.Failure:
    """The answer to one call among many, with the same words as if it had been alone."""
    return pb.Failure(code=error.code.value[0], problem=_clipped(error.problem))


def _clip(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _clip_tail(text: str, chars: int) -> str:
    """Keep the beginning and, more of it, the end: the last lines of an output say why it died."""
    head = chars // 4
    return text if len(text) <= chars else f"{text[:head]} … {text[head + 3 - chars :]}"


def _clipped(problem: Problem) -> Problem:
    small = Problem()
    small.CopyFrom(problem)
    small.title = _clip(problem.title, _TITLE_CHARS)
    small.detail = _clip_tail(problem.detail, _DETAIL_CHARS)
    small.instance = _clip(problem.instance, _TITLE_CHARS)
    if small.ByteSize() > _PROBLEM_BYTES:
        for handle in small.partial:
            handle.ClearField("state")
    while small.ByteSize() > _PROBLEM_BYTES and small.partial:
        del small.partial[-1]
    if small.ByteSize() > _PROBLEM_BYTES:
        small.detail = _clip_tail(problem.detail, _DETAIL_CHARS // 2)
    return small
