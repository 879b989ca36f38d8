"""The ways out of FAILED_TEMP and what they write, and why an operation settled where it did."""

from __future__ import annotations

from datetime import datetime

from vnfm.lcm.machine import St, on_retry, on_rollback, rollback_allowed
from vnfm.lcm.operation import LogEntry, Operation
from vnfm.lcm.ports import Clock
from vnfm.model.lcm import CancelMode, LcmOperationState
from vnfm.model.problem import Problem, Retry, problem


def settled_error(operation: Operation, state: LcmOperationState, cancel: CancelMode | None) -> Problem | None:
    """What is said of an operation that enters this state."""
    if state is LcmOperationState.COMPLETED:
        return None
    if state is LcmOperationState.ROLLED_BACK:
        return operation.error
    status = operation.status
    last = {e.step: e for e in operation.log}
    ended = sorted(last.values(), key=lambda e: e.at)
    failed = [e.problem for e in ended if e.problem and status[e.step] in (St.FAILED, St.UNDO_FAILED)]
    # what came first is the cause; what was cancelled because of it is not
    if failed:
        return min(failed, key=lambda p: p.word == "cancelled")
    return cancelled_problem(operation) if cancel else operation.error


def cancelled_problem(operation: Operation) -> Problem:
    """Said of an operation that its caller cancelled."""
    return problem("cancelled", "cancelled on request", instance=operation.target).problem


def not_begun(step: str, title: str, at: datetime) -> LogEntry:
    """The end of a step whose turn did not come, of which an earlier run of the manager may have called it all the
    same: so it has to be taken back like one that failed."""
    found = problem("cancelled", f"{title}: what it needs has failed", instance=step, retry=Retry.SAME_CALL).problem
    return LogEntry(step, St.FAILED, at, None, found)


def retry_entries(operation: Operation, clock: Clock) -> tuple[LogEntry, ...]:
    """What retry writes (SOL003 5.4.14). Raises ProblemError `conflict` outside FAILED_TEMP."""
    _only_from_failed_temp(operation, "retry")
    return tuple(LogEntry(e.step, e.to, clock()) for e in on_retry(operation.status))


def rollback_entries(operation: Operation, clock: Clock) -> tuple[LogEntry, ...]:
    """What rollback writes (SOL003 5.4.15). Raises ProblemError `conflict` outside FAILED_TEMP, or once a removal
    has started."""
    _only_from_failed_temp(operation, "rollback")
    if not rollback_allowed(operation.steps, operation.status):
        raise problem(
            "conflict",
            f"{operation.type} of {operation.target} has begun to remove resources and cannot go back: "
            f"`vnfm op retry {operation.id}` goes on, `vnfm op fail {operation.id}` gives up",
            instance=operation.id,
        )
    return tuple(LogEntry(e.step, e.to, clock()) for e in on_rollback(operation.status))


def check_fail_allowed(operation: Operation) -> None:
    """Raises ProblemError `conflict` outside FAILED_TEMP (SOL003 5.4.16)."""
    _only_from_failed_temp(operation, "fail")


def _only_from_failed_temp(operation: Operation, action: str) -> None:
    if operation.state is not LcmOperationState.FAILED_TEMP:
        raise problem(
            "conflict",
            f"{action} is possible in FAILED_TEMP only; operation {operation.id} is {operation.state}",
            instance=operation.id,
        )
