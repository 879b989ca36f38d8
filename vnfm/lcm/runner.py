"""Drives operations: asks the pure machine what to do next, journals the intent, makes the calls, journals the result.

One asyncio task an operation. Whatever happens between two lines, the intent log says what may exist; on start every
open operation is resumed from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from vnfm.lcm.actions import ACTIONS, Action, Context
from vnfm.lcm.changes import held_back
from vnfm.lcm.driving import Driven, link_ends
from vnfm.lcm.machine import IN_FLIGHT, Run, St, ahead, next_runs, out_of_reach, settle
from vnfm.lcm.operation import Design, Journal, LogEntry, Operation, StepOutput
from vnfm.lcm.ports import Blobs, Clock, Vims
from vnfm.lcm.steps import Step, StepKind
from vnfm.lcm.ways import cancelled_problem, not_begun, settled_error
from vnfm.model.lcm import CREATIONS, CancelMode, LcmOperationState
from vnfm.model.problem import Problem, ProblemError, Retry, problem
from vnfm.model.resources import Handle, Owner

log = structlog.get_logger(__name__)

GATHER_S = 0.02  # for what ends together
WRITE_WITHIN_S = 0.25  # what has ended, where nothing waits for it to be on record
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
        seconds: Callable[[], float] = time.monotonic,
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
        self._seconds = seconds
        self._slots = asyncio.Semaphore(parallel_calls)
        self._granting = asyncio.Lock()
        self._driven: dict[str, Driven] = {}
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
        self._driven[operation_id] = Driven(known)
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

    async def _run_to_settled(self, operation_id: str, driven: Driven) -> None:
        known, driven.known = driven.known, None
        operation = known or await self._journal.load(operation_id)
        driven.take_up(operation)
        if operation.state is LcmOperationState.STARTING:
            operation = await self._grant(operation, driven)
            self._notify()
        while not operation.state.final and operation.state is not LcmOperationState.FAILED_TEMP:
            operation = await self._advance(operation, driven)

    async def _grant(self, operation: Operation, driven: Driven) -> Operation:
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
                return await self._granted(operation, design, driven)
            self._holder.hold(design)
        try:
            return await self._granted(operation, design, driven)
        except BaseException:
            self._holder.forget_held()
            raise

    async def _granted(self, operation: Operation, design: Design, driven: Driven) -> Operation:
        """With the intent of what it begins with on record, and of what follows unless something fails."""
        now = self._clock()
        driven.take_up(replace(operation, state=LcmOperationState.PROCESSING, steps=design.steps))
        first: tuple[LogEntry, ...] = ()
        if not design.held:
            idle = [s.key for s in design.steps if not s.needs and self._nothing_to_do(s)]
            done = tuple(LogEntry(key, to, now) for key in idle for to in (St.STARTED, St.DONE))
            driven.add(done, self._seconds())
            runs = next_runs(LcmOperationState.PROCESSING, design.steps, driven.status)
            self._intend(operation, design.steps, driven, runs)
            first = driven.unwritten
        granted = await self._journal.grant(operation, design, now, first)
        driven.unwritten = ()
        return granted

    def _intend(
        self, operation: Operation, steps: Sequence[Step], driven: Driven, runs: Iterable[Run]
    ) -> tuple[LogEntry, ...]:
        """Intents that have to be on record before these runs, taken as lines to be written. Where nothing of what is
        built is of use to anybody yet, those of what comes after it go with them: so a creation is two transactions
        where nothing fails."""
        begun, now = {False: St.STARTED, True: St.UNDO_STARTED}, self._clock()
        entries = [LogEntry(r.step, begun[r.undo], now) for r in runs if driven.status[r.step] is not begun[r.undo]]
        driven.add(tuple(entries), self._seconds())
        if entries and operation.type in CREATIONS and operation.state is not LcmOperationState.ROLLING_BACK:
            later = ahead(steps, driven.status)
            driven.ahead.update(later)
            driven.add(tuple(LogEntry(key, St.STARTED, now) for key in later), self._seconds())
        return driven.unwritten if entries else ()

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

    async def _advance(self, operation: Operation, driven: Driven) -> Operation:
        cancel = driven.cancel or operation.cancel_mode
        draining = cancel is not None or driven.broken
        if draining:
            self._give_back(driven)
        state = settle(operation.state, driven.status, cancel is not None)
        if state is not operation.state:
            error = settled_error(driven.seen(operation), state, cancel)
            entered = await self._journal.enter(operation, state, self._clock(), error, driven.unwritten)
            driven.unwritten = ()
            self._notify()
            return entered
        runs = next_runs(operation.state, operation.steps, driven.status, cancel is not None)
        fresh = tuple(r for r in runs if r not in driven.tasks)
        if fresh and cancel is CancelMode.FORCEFUL:  # what a killed manager left in flight is not joined again
            driven.add(tuple(self._cut_short(driven, r) for r in fresh), self._seconds())
            return operation
        if draining and not fresh and not driven.tasks:
            lost, now = out_of_reach(operation.steps, driven.status), self._clock()
            driven.add(tuple(not_begun(key, driven.steps[key].title, now) for key in lost), self._seconds())
            if lost:
                return operation
        if fresh:
            operation = await self._begin(operation, driven, fresh)
        return await self._wait(operation, driven)

    def _give_back(self, driven: Driven) -> None:
        """Nothing was done about these intents, and nothing will be."""
        now = self._clock()
        kept = tuple(LogEntry(key, St.PENDING, now) for key in driven.steps if key in driven.ahead)
        driven.ahead.clear()
        driven.add(kept, self._seconds())

    async def _write(self, operation: Operation, driven: Driven) -> Operation:
        if not driven.unwritten:
            return operation
        written = await self._journal.append(operation, driven.unwritten)
        driven.unwritten = ()
        self._notify()
        return written

    async def _begin(self, operation: Operation, driven: Driven, fresh: tuple[Run, ...]) -> Operation:
        """Start new runs, once the intent of each is on record: of all in one transaction, and with it what has ended
        before."""
        if self._intend(operation, operation.steps, driven, fresh):
            operation = await self._write(operation, driven)
        handles = await self._known_handles(operation, driven)
        if driven.cancel is CancelMode.FORCEFUL:  # it came while the intent was written
            return operation
        for r in fresh:
            driven.ahead.discard(r.step)
            task = asyncio.create_task(self._call(operation, driven.steps[r.step], r, handles, driven))
            task.add_done_callback(lambda _: driven.wake.set())
            driven.tasks[r] = task
        return operation

    async def _known_handles(self, operation: Operation, driven: Driven) -> Mapping[str, Handle]:
        """Of everything that the operation may touch. Nobody else changes what it is about while it is open, so what
        stood before is read once; what it has made itself stands in its log."""
        if driven.handles is None:
            driven.handles = {} if operation.type in CREATIONS else dict(await self._handles(operation))
            driven.take_in(driven.seen(operation).log)
        return driven.handles

    async def _wait(self, operation: Operation, driven: Driven) -> Operation:
        """Until something has ended, or somebody wakes us. What has ended goes to the disk with the intent of what
        follows from it, with the state that it leads to, or by itself after a while: till then it counts as in flight,
        which it was. Where many operations share disk and processor, what ends a moment later goes with it."""
        if not driven.tasks and not driven.wake.is_set():
            raise RuntimeError("an operation that is not settled has nothing to run")
        left_s = driven.since_s + WRITE_WITHIN_S - self._seconds() if driven.unwritten else None
        if not await driven.woken(left_s):
            return await self._write(operation, driven)
        self._take_ended(driven)
        if len(self._driven) >= CROWD:
            end_s = self._seconds() + GATHER_S
            while driven.tasks and not driven.cancel and self._wants_the_disk(operation, driven):
                if not await driven.woken(end_s - self._seconds()):
                    break
                self._take_ended(driven)
        return operation

    def _wants_the_disk(self, operation: Operation, driven: Driven) -> bool:
        """Whether something can begin whose intent is not on record."""
        begun = {False: St.STARTED, True: St.UNDO_STARTED}
        runs = next_runs(operation.state, operation.steps, driven.status)
        return any(driven.status[r.step] is not begun[r.undo] for r in runs)

    def _take_ended(self, driven: Driven) -> None:
        driven.wake.clear()
        ended = {run: driven.tasks.pop(run) for run in list(driven.tasks) if driven.tasks[run].done()}
        # a task that was cancelled before its first line could not say so itself
        entries = tuple(self._cut_short(driven, r) if t.cancelled() else t.result() for r, t in ended.items())
        driven.take_in(entries)
        driven.add(entries, self._seconds())

    def _cut_short(self, driven: Driven, run: Run) -> LogEntry:
        """The end of a run that a forceful cancel cut short: what it did is not known."""
        title = driven.steps[run.step].title
        found = problem("cancelled", f"{title} was cancelled", instance=run.step, retry=Retry.SAME_CALL).problem
        return LogEntry(run.step, St.UNDO_FAILED if run.undo else St.FAILED, self._clock(), None, found)

    async def _call(
        self, operation: Operation, step: Step, run: Run, handles: Mapping[str, Handle], driven: Driven
    ) -> LogEntry:
        def say(word: str) -> None:
            driven.words[step.key] = word

        owner = Owner(operation.tenant, operation.chain_id, step.vnf_instance_id, operation.id)
        starts = sum(e.step == run.step and e.to in IN_FLIGHT for e in operation.log) if step.path else 1
        joins = link_ends(driven.seen(operation).log) if step.kind is StepKind.JOIN else {}
        context = Context(self._vims, self._blobs, owner, handles, say, starts, joins)
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
            return self._cut_short(driven, run)
        except Exception as error:
            log.exception("step failed unexpectedly", operation=operation.id, step=step.key)
            found = problem("internal", f"{type(error).__name__}: {error}", instance=step.key).problem
        finally:
            driven.words.pop(step.key, None)
        ends = (St.UNDONE, St.UNDO_FAILED) if run.undo else (St.DONE, St.FAILED)
        return LogEntry(step.key, ends[found is not None], self._clock(), output, found)
