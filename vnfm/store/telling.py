"""A journal that says what it wrote, for whoever keeps something in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from vnfm.lcm.operation import Design, LogEntry, Operation
from vnfm.model.lcm import CancelMode, LcmOperationState
from vnfm.model.problem import Problem
from vnfm.store.database import Database
from vnfm.store.journal import SqlJournal


class Followers(Protocol):
    """Who hears of every line."""

    def told(self, operation: Operation) -> None: ...
    def cancelled(self, operation_id: str) -> None: ...


class TellingJournal(SqlJournal):
    """Tells after the transaction, in the event loop: `on_state` of each state that an operation enters, `followers` of
    every line."""

    def __init__(self, database: Database, on_state: Callable[[Operation], None], followers: Followers) -> None:
        super().__init__(database)
        self._on_state = on_state
        self._followers = followers

    async def grant(
        self, operation: Operation, design: Design, at: datetime, entries: tuple[LogEntry, ...] = ()
    ) -> Operation:
        """As SqlJournal."""
        return self._entered(await super().grant(operation, design, at, entries))

    async def append(self, operation: Operation, entries: tuple[LogEntry, ...]) -> Operation:
        """As SqlJournal."""
        changed = await super().append(operation, entries)
        self._followers.told(changed)
        return changed

    async def enter(
        self,
        operation: Operation,
        state: LcmOperationState,
        at: datetime,
        error: Problem | None = None,
        entries: tuple[LogEntry, ...] = (),
    ) -> Operation:
        """As SqlJournal."""
        return self._entered(await super().enter(operation, state, at, error, entries))

    async def control(
        self, operation: Operation, state: LcmOperationState, entries: tuple[LogEntry, ...], at: datetime
    ) -> Operation:
        """As SqlJournal."""
        return self._entered(await super().control(operation, state, entries, at))

    async def request_cancel(self, operation: Operation, mode: CancelMode) -> None:
        """As SqlJournal."""
        await super().request_cancel(operation, mode)
        self._followers.cancelled(operation.id)

    def _entered(self, operation: Operation) -> Operation:
        self._on_state(operation)
        self._followers.told(operation)
        return operation
