"""Drives operations: asks the pure machine what to do next, journals the intent, makes the calls, journals the result.

One asyncio task an operation. Whatever happens between two lines, the intent log says what may exist; on start every
open operation is resumed from it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from vnfm.lcm.actions import ACTIONS, Action, Context
from vnfm.lcm.changes import held_back
from vnfm.lcm.machine import IN_FLIGHT, Run, St, next_runs, settle
from vnfm.lcm.operation import Design, Journal, LogEntry, Operation, StepOutput
from vnfm.lcm.ports import Blobs, Clock, Vims
from vnfm.lcm.steps import Step, StepKind
from vnfm.lcm.ways import cancelled_problem, settled_error
from vnfm.model.lcm import CREATIONS, CancelMode, LcmOperationState
from vnfm.model.problem import Problem, ProblemError, Retry, problem
from vnfm.model.resources import Handle, LinkEnd, Owner

log = structlog.get_logger(__name__)

GATHER_S = 0.02  # for what ends together
CROWD = 8  # operations that are driven at once
PAUSE_S = 2.0  # before the journal is read again after it failed
MISTAKE_PAUSE_S = 30.0  # after a mistake of our own, which seldom passes by itself

Granter = Callable[[Operation], Awaitable[Design]]
"""Decides what a STARTING operation is to do; raises ProblemError where it is refused."""


class Holder(Protocol):
    """Counts what was decided among what is held, before it is on record."""

    def hold(self, design: Design) -> None: ...

    def forget_held(self) -> None:
        """What was held may not have got on record: look there again."""
        ...


Handles = Callable[[Operation], Awaitable[Mapping[str, Handle]]]
"""What is on record of the resources of an operation's subjects."""


@dataclass(slots=True)
class _Driven:
    """What is in memory of one operation: nothing that the log does not know, but for words and tasks."""

    known: Operation | None = None  # as it was just written
    handles: dict[str, Handle] | None = None
    words: dict[str, str] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[Run, asyncio.Task[LogEntry]] = field(default_factory=dict)
    cancel: CancelMode | None = None
    again: bool = False  # asked for while its driver was about to end


class Runner:
    """Runs operations to where they settle. Not thread-safe: lives in one event loop."""

    def __init__(
        self,
        journal: Journal,
        vims: Vims,
        blobs: Blobs,
        granter: Granter,
        handles: Handles,
        clock: Clock,
        parallel_calls: int = 64,
        actions: Mapping[StepKind, Action] = ACTIONS,
        holder: Holder | None = None,
        nothing_to_do: Callable[[Step], bool] = lambda step: False,
    ) -> None:
        """With a `holder` decisions follow each other while earlier ones are on their way to the disk. `nothing_to_do`:
        whether a step that needs nothing else is done before it has begun."""
        self._journal = journal
        self._vims = vims
        self._blobs = blobs
        self._granter = granter
        self._handles = handles
        self._clock = clock
        self._actions = actions
        self._holder = holder
        self._nothing_to_do = nothing_to_do
        self._slots = asyncio.Semaphore(parallel_calls)
        self._granting = asyncio.Lock()
        self._driven: dict[str, _Driven] = {}
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._listeners: set[asyncio.Event] = set()
        self._closing = False

    async def resume(self) -> int:
        """Take up every open operation; answers with their number."""
        ids = await self._journal.running()
        for operation_id in ids:
            self.drive(operation_id)
        return len(ids)

    def drive(self, operation_id: str, known: Operation | None = None) -> None:
        """Run the operation in the background; `known` is what was written of it just now. One that has a driver gets
        no second one, but is looked at once more when that driver ends: a retry may come between its last line and its
        end."""
        if self._closing:
            return
        if operation_id in self._drivers:
            self._driven[operation_id].again = True
            return
        self._driven[operation_id] = _Driven(known)
        task = asyncio.create_task(self._drive(operation_id), name=f"operation {operation_id}")
        self._drivers[operation_id] = task
        task.add_done_callback(lambda _: self._ended(operation_id))

    def words(self, operation_id: str) -> Mapping[str, str]:
        """The latest word of each running step."""
        driven = self._driven.get(operation_id)
        return driven.words if driven else {}

    async def changed(self, timeout_s: float) -> None:
        """Wait until something about some operation changed, or the time is over."""
        heard = asyncio.Event()
        self._listeners.add(heard)
        try:
            await asyncio.wait_for(heard.wait(), timeout_s)
        except TimeoutError:
            return
        finally:
            self._listeners.discard(heard)

    def cancel(self, operation_id: str, mode: CancelMode) -> None:
        """Tell a running operation that its cancellation is on record."""
        driven = self._driven.get(operation_id)
        if not driven:
            return
        driven.cancel = mode
        if mode is CancelMode.FORCEFUL:
            for task in driven.tasks.values():
                task.cancel()
        driven.wake.set()

    async def close(self) -> None:
        """Park everything: nothing new is started, calls in flight are left to be rejoined at the next start."""
        self._closing = True
        drivers = list(self._drivers.values())
        for task in drivers:
            task.cancel()
        await asyncio.gather(*drivers, return_exceptions=True)

    def _ended(self, operation_id: str) -> None:
        self._drivers.pop(operation_id, None)
        driven = self._driven.pop(operation_id, None)
        if driven and driven.again:
            self.drive(operation_id)

    def _notify(self) -> None:
        for listener in self._listeners:
            listener.set()

    async def _drive(self, operation_id: str) -> None:
        driven = self._driven[operation_id]
        while True:
            pause_s = PAUSE_S
            try:
                await self._run_to_settled(operation_id, driven)
                return
            except ProblemError as error:
                # the journal itself failed (a full disk, say): what stands in it stays true, so read it again later
                log.error("operation waits for the journal", operation=operation_id, problem=error.problem.detail)
            except Exception:
                # an operation without a driver could neither end nor be cancelled
                log.exception("operation stumbled over a mistake of the manager's", operation=operation_id)
                pause_s = MISTAKE_PAUSE_S
            finally:
                for task in driven.tasks.values():
                    task.cancel()
                await asyncio.gather(*driven.tasks.values(), return_exceptions=True)
                driven.tasks.clear()
                self._notify()
            await asyncio.sleep(pause_s)

    async def _run_to_settled(self, operation_id: str, driven: _Driven) -> None:
        known, driven.known, driven.handles = driven.known, None, None
        operation = known or await self._journal.load(operation_id)
        if operation.state is LcmOperationState.STARTING:
            operation = await self._grant(operation, driven)
            self._notify()
        while not operation.state.final and operation.state is not LcmOperationState.FAILED_TEMP:
            operation = await self._advance(operation, driven)

    async def _grant(self, operation: Operation, driven: _Driven) -> Operation:
        # one decision at a time, held before the next: two operations never count on the same capacity
        async with self._granting:
            design, refusal = None, None
            if not (operation.cancel_mode or driven.cancel):
                design, refusal = await self._decide(operation)
            if operation.cancel_mode or driven.cancel:  # also one that came while it was decided: nothing exists yet
                refusal = cancelled_problem(operation)
            if refusal is not None or design is None:
                return await self._journal.enter(operation, LcmOperationState.ROLLED_BACK, self._clock(), refusal)
            design = replace(design, held=held_back(operation))
            if self._holder is None:
                return await self._journal.grant(operation, design, self._clock(), self._first(operation, design))
            self._holder.hold(design)
        try:
            return await self._journal.grant(operation, design, self._clock(), self._first(operation, design))
        except BaseException:
            self._holder.forget_held()
            raise

    def _first(self, operation: Operation, design: Design) -> tuple[LogEntry, ...]:
        """The intent of what a grant begins with, to be on record with it."""
        if design.held:
            return ()
        now = self._clock()
        idle = [s.key for s in design.steps if not s.needs and self._nothing_to_do(s)]
        done = tuple(LogEntry(key, to, now) for key in idle for to in (St.STARTED, St.DONE))
        granted = replace(operation, state=LcmOperationState.PROCESSING, steps=design.steps, log=operation.log + done)
        return (*done, *self._intents(granted.status, next_runs(granted.state, granted.steps, granted.status)))

    async def _decide(self, operation: Operation) -> tuple[Design | None, Problem | None]:
        """A design, or why there is none."""
        try:
            return await self._granter(operation), None
        except ProblemError as error:
            if error.problem.word in ("storage", "no-space"):
                raise  # says nothing about the request: it is decided when the journal can be read again
            return None, error.problem.about(operation.target)
        except Exception as error:
            log.exception("granting failed unexpectedly", operation=operation.id)
            return None, problem("internal", f"{type(error).__name__}: {error}", instance=operation.target).problem

    async def _advance(self, operation: Operation, driven: _Driven) -> Operation:
        cancel = driven.cancel or operation.cancel_mode
        status = operation.status
        state = settle(operation.state, status, cancel is not None)
        if state is not operation.state:
            error = settled_error(operation, state, cancel)
            operation = await self._journal.enter(operation, state, self._clock(), error)
            self._notify()
            return operation
        runs = next_runs(operation.state, operation.steps, status, bool(cancel))
        fresh = tuple(r for r in runs if r not in driven.tasks)
        if cancel is CancelMode.FORCEFUL:  # what a killed manager left in flight is not joined again
            ended = tuple(self._cut_short(operation, r) for r in fresh)
        else:
            operation, ended = await self._begin(operation, driven, fresh), ()
        ended = ended or await self._wait(operation, driven)
        if ended:
            operation = await self._record(operation, ended, driven)
            self._notify()
        return operation

    async def _record(self, operation: Operation, ended: tuple[LogEntry, ...], driven: _Driven) -> Operation:
        """What has ended, and in the same transaction what follows from it: the state where the operation settles, else
        the intent of what comes next."""
        after = replace(operation, log=operation.log + ended)
        cancel = driven.cancel or operation.cancel_mode
        state = settle(after.state, after.status, cancel is not None)
        if state is not after.state:
            error = settled_error(after, state, cancel)
            return await self._journal.enter(operation, state, self._clock(), error, ended)
        return await self._journal.append(operation, (*ended, *self._following(after, driven)))

    def _following(self, after: Operation, driven: _Driven) -> tuple[LogEntry, ...]:
        """The intent of what comes next: so a chain of steps costs one transaction for each. They are taken up like
        those that a killed manager has left in flight."""
        status = after.status
        if driven.cancel or after.cancel_mode:
            return ()
        runs = next_runs(after.state, after.steps, status)
        return self._intents(status, (r for r in runs if r not in driven.tasks))

    def _intents(self, status: Mapping[str, St], runs: Iterable[Run]) -> tuple[LogEntry, ...]:
        begun, now = {False: St.STARTED, True: St.UNDO_STARTED}, self._clock()
        return tuple(LogEntry(r.step, begun[r.undo], now) for r in runs if status[r.step] is not begun[r.undo])

    async def _begin(self, operation: Operation, driven: _Driven, fresh: tuple[Run, ...]) -> Operation:
        """Journal the intent of every new run in one transaction, then start them."""
        if not fresh:
            return operation
        if entries := self._intents(operation.status, fresh):
            operation = await self._journal.append(operation, entries)
            self._notify()
        handles = await self._known_handles(operation, driven)
        steps = {s.key: s for s in operation.steps}
        if driven.cancel is CancelMode.FORCEFUL:  # it came while the intent was written
            return operation
        for r in fresh:
            task = asyncio.create_task(self._call(operation, steps[r.step], r, handles, driven))
            task.add_done_callback(lambda _: driven.wake.set())
            driven.tasks[r] = task
        return operation

    async def _known_handles(self, operation: Operation, driven: _Driven) -> Mapping[str, Handle]:
        """Of everything that the operation may touch. Nobody else changes what it is about while it is open, so what
        stood before is read once; what it has made itself stands in its log."""
        if driven.handles is None:
            driven.handles = {} if operation.type in CREATIONS else dict(await self._handles(operation))
            _take_in(driven.handles, operation.steps, operation.log)
        return driven.handles

    async def _wait(self, operation: Operation, driven: _Driven) -> tuple[LogEntry, ...]:
        """What ended; returns empty-handed when woken. While nothing follows from it, or where many operations share
        disk and processor anyway, what ends a moment later goes to the disk with it: till then it counts as in flight,
        which it was."""
        ended = await self._ended_next(operation, driven)
        crowded = len(self._driven) >= CROWD
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                while ended and driven.tasks and not driven.cancel:
                    if not crowded and self._leads_on(operation, ended, driven):
                        break
                    ended += await self._ended_next(operation, driven)
        return ended

    def _leads_on(self, operation: Operation, ended: tuple[LogEntry, ...], driven: _Driven) -> bool:
        return bool(self._following(replace(operation, log=operation.log + ended), driven))

    async def _ended_next(self, operation: Operation, driven: _Driven) -> tuple[LogEntry, ...]:
        if not driven.tasks and not driven.wake.is_set():
            raise RuntimeError("an operation that is not settled has nothing to run")
        await driven.wake.wait()
        driven.wake.clear()
        ended = {run: driven.tasks.pop(run) for run in list(driven.tasks) if driven.tasks[run].done()}
        # a task that was cancelled before its first line could not say so itself
        entries = tuple(self._cut_short(operation, r) if t.cancelled() else t.result() for r, t in ended.items())
        if driven.handles is not None:
            _take_in(driven.handles, operation.steps, entries)
        return entries

    def _cut_short(self, operation: Operation, run: Run) -> LogEntry:
        """The end of a run that a forceful cancel cut short: what it did is not known."""
        title = next(s.title for s in operation.steps if s.key == run.step)
        found = problem("cancelled", f"{title} was cancelled", instance=run.step, retry=Retry.SAME_CALL).problem
        return LogEntry(run.step, St.UNDO_FAILED if run.undo else St.FAILED, self._clock(), None, found)

    async def _call(
        self, operation: Operation, step: Step, run: Run, handles: Mapping[str, Handle], driven: _Driven
    ) -> LogEntry:
        def say(word: str) -> None:
            driven.words[step.key] = word

        owner = Owner(operation.tenant, operation.chain_id, step.vnf_instance_id, operation.id)
        starts = sum(e.step == run.step and e.to in IN_FLIGHT for e in operation.log)
        context = Context(self._vims, self._blobs, owner, handles, say, starts, link_ends(operation.log))
        action = self._actions[step.kind]
        output: StepOutput | None = None
        found: Problem | None = None
        try:
            async with self._slots:
                output = await (action.undo if run.undo else action.do)(step, context)
            if word := driven.words.get(step.key, ""):
                output = replace(output, word=word)
        except ProblemError as error:
            found = error.problem.about(step.key)
        except asyncio.CancelledError:
            if self._closing or driven.cancel is not CancelMode.FORCEFUL:
                raise
            return self._cut_short(operation, run)
        except Exception as error:
            log.exception("step failed unexpectedly", operation=operation.id, step=step.key)
            found = problem("internal", f"{type(error).__name__}: {error}", instance=step.key).problem
        finally:
            driven.words.pop(step.key, None)
        ends = (St.UNDONE, St.UNDO_FAILED) if run.undo else (St.DONE, St.FAILED)
        return LogEntry(step.key, ends[found is not None], self._clock(), output, found)


def link_ends(log: Iterable[LogEntry]) -> dict[str, LinkEnd]:
    """By what each link can be joined, as its VIM told when it was allocated."""
    resources = (e.output.resource for e in log if e.output and e.output.resource)
    return {r.handle.resource_id: r.link_end for r in resources if r.link_end}


def _take_in(handles: dict[str, Handle], steps: Sequence[Step], entries: Iterable[LogEntry]) -> None:
    """Handles of what was made, by resource id; what was taken back has none any more."""
    makes = {s.key: s.makes for s in steps}
    for entry in entries:
        if entry.output and entry.output.resource:
            handle = entry.output.resource.handle
            handles[handle.resource_id] = handle
        elif entry.to is St.UNDONE:
            handles.pop(makes[entry.step], None)
