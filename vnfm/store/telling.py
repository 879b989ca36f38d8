"""A journal that says what it wrote, for whoever keeps something in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from vnfm.lcm.operation import Design, LogEntry, Operation
from vnfm.model.lcm import LcmOperationState
from vnfm.model.problem import Problem
from vnfm.store.database import Database
from vnfm.store.journal import SqlJournal

Told = Callable[[Operation], None]


class TellingJournal(SqlJournal):
    """`tell` is called after the transaction, in the event loop."""

    def __init__(self, database: Database, tell: Told) -> None:
        super().__init__(database)
        self._tell = tell

    async def grant(self, operation: Operation, design: Design, at: datetime) -> Operation:
        """As SqlJournal."""
        changed = await super().grant(operation, design, at)
        self._tell(changed)
        return changed

    async def enter(
        self, operation: Operation, state: LcmOperationState, at: datetime, error: Problem | None = None
    ) -> Operation:
        """As SqlJournal."""
        changed = await super().enter(operation, state, at, error)
        self._tell(changed)
        return changed

    async def control(
        self, operation: Operation, state: LcmOperationState, entries: tuple[LogEntry, ...], at: datetime
    ) -> Operation:
        """As SqlJournal."""
        changed = await super().control(operation, state, entries, at)
        self._tell(changed)
        return changed
