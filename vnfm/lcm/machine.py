"""The pure lifecycle machine: fold an intent log into a status, say what to run next, say where the operation settles.

No I/O, clock, ids or randomness.

    STARTING ---granted--> PROCESSING --all done--> COMPLETED
        |                    |    ^
        | refused            |    | retry
        v          failed,   v    |             undo failed, cancelled
    ROLLED_BACK   cancelled FAILED_TEMP <------------------.
        ^                    |    |                        |
        |                fail|    `--rollback--> ROLLING_BACK
        |                    v                        |
        |                  FAILED                     | all undone
        `---------------------------------------------'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vnfm.model.lcm import LcmOperationState as Op


class St(StrEnum):
    """A step's state. STARTED and UNDO_STARTED mean: a call may be in flight, or was when the manager died."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    DONE = "DONE"
    FAILED = "FAILED"
    UNDO_STARTED = "UNDO_STARTED"
    UNDONE = "UNDONE"
    UNDO_FAILED = "UNDO_FAILED"


STEP_TRANSITIONS = frozenset(
    {
        (St.PENDING, St.STARTED),
        (St.STARTED, St.DONE),
        (St.STARTED, St.FAILED),
        # an intent that was put on record ahead of its turn, and that nothing was done about
        (St.STARTED, St.PENDING),
        (St.FAILED, St.STARTED),
        # whatever ever started may have left something behind: it is undone
        (St.DONE, St.UNDO_STARTED),
        (St.FAILED, St.UNDO_STARTED),
        (St.UNDO_STARTED, St.UNDONE),
        (St.UNDO_STARTED, St.UNDO_FAILED),
        (St.UNDO_FAILED, St.UNDO_STARTED),
        # retry after a rollback that failed half-way: forward again
        (St.UNDONE, St.STARTED),
        (St.UNDO_FAILED, St.STARTED),
    }
)
IN_FLIGHT = frozenset({St.STARTED, St.UNDO_STARTED})
CLEAN = frozenset({St.PENDING, St.UNDONE})
BROKEN = frozenset({St.FAILED, St.UNDO_FAILED})


class Stepped(Protocol):
    """What the machine knows of a step: its key, what it needs done first, and whether it removes something."""

    @property
    def key(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def forward_only(self) -> bool: ...


class Told(Protocol):
    """What the machine knows of a line of the intent log."""

    @property
    def step(self) -> str: ...
    @property
    def to(self) -> St: ...


@dataclass(frozen=True, slots=True)
class Node:
    """A step, and nothing besides what the machine knows of it."""

    key: str
    needs: tuple[str, ...] = ()
    forward_only: bool = False  # a removal: once started, rollback is refused


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the intent log."""

    step: str
    to: St


@dataclass(frozen=True, slots=True)
class Run:
    """A step to run, or to undo."""

    step: str
    undo: bool = False


class InvalidTransition(Exception):
    """The log contradicts STEP_TRANSITIONS."""


def fold(steps: Iterable[Stepped], log: Iterable[Told]) -> dict[str, St]:
    """The state of each step after the log. Raises InvalidTransition."""
    status = {s.key: St.PENDING for s in steps}
    for event in log:
        move(status, event)
    return status


def move(status: dict[str, St], event: Told) -> None:
    """One line more. Raises InvalidTransition."""
    if (status[event.step], event.to) not in STEP_TRANSITIONS:
        raise InvalidTransition(f"{event.step}: {status[event.step]} -> {event.to}")
    status[event.step] = event.to


def next_runs(op: Op, steps: Sequence[Stepped], status: Mapping[str, St], cancelled: bool = False) -> tuple[Run, ...]:
    """Steps to run or to rejoin now. After a failure or a cancel only those in flight are seen to their end. A step
    whose intent is on record ahead of its turn waits for what it needs like any other."""
    if op is Op.PROCESSING:
        draining = cancelled or St.FAILED in status.values()
        fresh = (St.STARTED,) if draining else (St.STARTED, St.PENDING, St.UNDONE, St.UNDO_FAILED)
        return tuple([Run(s.key) for s in steps if status[s.key] in fresh and _ready(s, status)])
    if op is Op.ROLLING_BACK:
        draining = cancelled or St.UNDO_FAILED in status.values()
        users: dict[str, list[str]] = {s.key: [] for s in steps}
        for s in steps:
            for need in s.needs:
                users[need].append(s.key)
        return tuple(
            Run(s.key, undo=True)
            for s in steps
            if status[s.key] is St.UNDO_STARTED
            or (
                not draining
                and status[s.key] in (St.DONE, St.FAILED)
                and all(status[user] in CLEAN for user in users[s.key])
            )
        )
    return ()


def _ready(step: Stepped, status: Mapping[str, St]) -> bool:
    return all(status[need] is St.DONE for need in step.needs)


def ahead(steps: Sequence[Stepped], status: Mapping[str, St]) -> tuple[str, ...]:
    """Steps that will run if nothing fails, after those that run now: their intent may go on record with that of these.
    A removal waits for its turn: once one has started there is no way back."""
    reached = {key for key, state in status.items() if state in (St.STARTED, St.DONE)}
    found = []
    for s in steps:  # in an order that respects their needs
        if s.key in reached or s.forward_only or status[s.key] not in CLEAN:
            continue
        if all(need in reached for need in s.needs):
            reached.add(s.key)
            found.append(s.key)
    return tuple(found)


def out_of_reach(steps: Sequence[Stepped], status: Mapping[str, St]) -> tuple[str, ...]:
    """Steps whose intent is on record, but not all that they need is done."""
    return tuple(s.key for s in steps if status[s.key] is St.STARTED and not _ready(s, status))


def settle(op: Op, status: Mapping[str, St], cancelled: bool = False) -> Op:
    """The state the operation is in. It never settles while something is in flight."""
    seen = set(status.values())
    if seen & IN_FLIGHT:
        return op
    if op is Op.PROCESSING:
        if seen <= {St.DONE}:
            return Op.COMPLETED
        if cancelled or St.FAILED in seen:
            return Op.FAILED_TEMP
    if op is Op.ROLLING_BACK:
        if seen <= CLEAN:
            return Op.ROLLED_BACK
        if cancelled or St.UNDO_FAILED in seen:
            return Op.FAILED_TEMP
    return op


def on_retry(status: Mapping[str, St]) -> tuple[Event, ...]:
    """What retry writes first: failed steps are started again, whichever way they failed."""
    return tuple(Event(k, St.STARTED) for k, v in status.items() if v in (St.FAILED, St.UNDO_FAILED))


def on_rollback(status: Mapping[str, St]) -> tuple[Event, ...]:
    """What rollback writes first: undos that failed are tried again."""
    return tuple(Event(k, St.UNDO_STARTED) for k, v in status.items() if v is St.UNDO_FAILED)


def rollback_allowed(steps: Iterable[Stepped], status: Mapping[str, St]) -> bool:
    """No removal has started yet."""
    return all(status[s.key] is St.PENDING for s in steps if s.forward_only)


def progress_percent(op: Op, status: Mapping[str, St]) -> int:
    """Finished steps in percent; while rolling back, those undone."""
    if op is Op.COMPLETED:
        return 100
    if not status:
        return 0
    good = CLEAN if op in (Op.ROLLING_BACK, Op.ROLLED_BACK) else frozenset({St.DONE})
    return 100 * sum(v in good for v in status.values()) // len(status)
