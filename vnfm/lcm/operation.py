"""An operation as the runner and the store see it (SOL003 5.5.2.13 VnfLcmOpOcc, with its intent log)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from vnfm.lcm.machine import Event, St, fold, progress_percent
from vnfm.lcm.steps import Step
from vnfm.model.chain import ServiceChain
from vnfm.model.lcm import CancelMode, LcmOperationState, LcmOperationType
from vnfm.model.problem import Problem
from vnfm.model.resources import ProbeResult, Resource
from vnfm.placement.inventory import LinkReservation, Reservation


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a finished step gave: what the VIM reported, or what a probe counted; and the VIM's last word on it."""

    resource: Resource | None = None
    probe: ProbeResult | None = None
    word: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the intent log with its time and what came of it."""

    step: str
    to: St
    at: datetime
    output: StepOutput | None = None
    problem: Problem | None = None

    @property
    def event(self) -> Event:
        """The machine's view."""
        return Event(self.step, self.to)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation occurrence. `subjects` maps the ids of the instances it is about to their lanes."""

    id: str
    tenant: str
    type: LcmOperationType
    state: LcmOperationState
    target: str
    target_id: str
    started_at: datetime
    state_entered_at: datetime
    steps: tuple[Step, ...] = ()
    log: tuple[LogEntry, ...] = ()
    subjects: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    cancel_mode: CancelMode | None = None
    error: Problem | None = None

    @property
    def status(self) -> dict[str, St]:
        """Each step's state."""
        return fold(self.steps, self.log)

    @property
    def chain_id(self) -> str:
        """The chain that it is about, or empty."""
        if self.type.value.startswith("CHAIN_"):
            return self.target_id
        return str(self.params.get("chain_id", ""))

    @property
    def progress_percent(self) -> int:
        """How far it is."""
        return progress_percent(self.state, self.status)


@dataclass(frozen=True, slots=True)
class Desired:
    """What a chain and its VNFs are once the operation has done its work; stored with it until then. Empty fields leave
    what is stored. `links` and `plan` are documents for people, `scale_levels` are by VNF instance and aspect."""

    chain: ServiceChain | None = None
    links: tuple[Mapping[str, Any], ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    scale_levels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Design:
    """What a grant decides: the steps with every id, the capacity that is ours from now on, what people are told at
    once, and what is so once it is done. Empty `body` and `plan` leave what is stored."""

    steps: tuple[Step, ...]
    reservations: tuple[Reservation, ...] = ()
    link_reservations: tuple[LinkReservation, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    desired: Desired | None = None
    held: Problem | None = None  # granted, but not begun: enters FAILED_TEMP with this


class Journal(Protocol):
    """The durable side of operations. Each method is one transaction, on disk when it returns; state changes write
    their notification in the same transaction."""

    async def load(self, operation_id: str) -> Operation: ...

    async def running(self) -> list[str]:
        """Ids of operations in STARTING, PROCESSING or ROLLING_BACK."""
        ...

    async def grant(
        self, operation: Operation, design: Design, at: datetime, entries: tuple[LogEntry, ...] = ()
    ) -> Operation:
        """STARTING -> PROCESSING, with the design stored and the first lines of its log; on to FAILED_TEMP where the
        design is held."""
        ...

    async def append(self, operation: Operation, entries: tuple[LogEntry, ...]) -> Operation:
        """Add to the intent log. A resource is on record from the STARTED of its step to its UNDONE (or to the DONE
        of its removal), so that nothing that may exist is ever forgotten."""
        ...

    async def enter(
        self,
        operation: Operation,
        state: LcmOperationState,
        at: datetime,
        error: Problem | None = None,
        entries: tuple[LogEntry, ...] = (),
    ) -> Operation:
        """Change the operation's state and, where it ends, those of its chain and instances (see outcome.py); `entries`
        are the lines that led there."""
        ...
