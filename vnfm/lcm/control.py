"""What may be done to an operation that runs or waits: retry, rollback, fail, cancel (SOL003 5.4.14 to 5.4.17)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from vnfm.lcm.operation import LogEntry, Operation
from vnfm.lcm.ports import Clock
from vnfm.lcm.runner import Runner
from vnfm.lcm.ways import check_fail_allowed, retry_entries, rollback_entries
from vnfm.model.lcm import CancelMode, LcmOperationState
from vnfm.model.problem import Problem, problem


class ControlJournal(Protocol):
    """The durable side."""

    async def load(self, operation_id: str) -> Operation: ...

    async def control(
        self, operation: Operation, state: LcmOperationState, entries: tuple[LogEntry, ...], at: datetime
    ) -> Operation: ...

    async def enter(
        self, operation: Operation, state: LcmOperationState, at: datetime, error: Problem | None = None
    ) -> Operation: ...

    async def request_cancel(self, operation: Operation, mode: CancelMode) -> None: ...


async def retry(journal: ControlJournal, runner: Runner, operation: Operation, clock: Clock) -> Operation:
    """FAILED_TEMP -> PROCESSING."""
    entries = retry_entries(operation, clock)
    changed = await journal.control(operation, LcmOperationState.PROCESSING, entries, clock())
    runner.drive(operation.id)
    return changed


async def rollback(journal: ControlJournal, runner: Runner, operation: Operation, clock: Clock) -> Operation:
    """FAILED_TEMP -> ROLLING_BACK."""
    entries = rollback_entries(operation, clock)
    changed = await journal.control(operation, LcmOperationState.ROLLING_BACK, entries, clock())
    runner.drive(operation.id)
    return changed


async def fail(journal: ControlJournal, operation: Operation, clock: Clock) -> Operation:
    """FAILED_TEMP -> FAILED. What exists stays on record for a later terminate."""
    check_fail_allowed(operation)
    return await journal.enter(operation, LcmOperationState.FAILED, clock(), operation.error)


async def cancel(journal: ControlJournal, runner: Runner, operation: Operation, mode: CancelMode) -> Operation:
    """From STARTING, PROCESSING or ROLLING_BACK; the wish is on record before the runner hears of it."""
    if operation.state.final or operation.state is LcmOperationState.FAILED_TEMP:
        raise problem(
            "conflict",
            f"cancel is possible while an operation runs; {operation.id} is {operation.state}",
            instance=operation.id,
        )
    await journal.request_cancel(operation, mode)
    runner.cancel(operation.id, mode)
    return await journal.load(operation.id)
