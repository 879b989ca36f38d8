"""Follows what VIMs tell of our VNFCs, knows how each does, and orders HEAL for the dead (policy: lcm/healing.py).

Nothing polls: a death is known when the plugin has said it, and what has to be there is kept in memory, loaded at the
start and read again when an operation on it ends. One task a VIM that is followed, one a chain (or lone VNF) with dead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import structlog

from vnfm.lcm.healing import (
    HEALTH_OF,
    UNKNOWN,
    Condition,
    Death,
    Expected,
    HealingPolicy,
    HealOrder,
    Health,
    Leave,
    PastHeal,
    Wait,
    decide,
)
from vnfm.lcm.operation import Operation
from vnfm.lcm.ports import Clock
from vnfm.lcm.realizing import brought
from vnfm.model.lcm import LcmOperationState, LcmOperationType
from vnfm.model.problem import ProblemError
from vnfm.model.resources import Resource, ResourceKind, ResourceState
from vnfm.vim.client import VimClient
from vnfm.vim.expectations import Expectations

log = structlog.get_logger(__name__)

GATHER_S = 0.005  # deaths that come at once are healed at once
AGAIN_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # before a VIM that was lost is watched again
LOOK_AGAIN_S = 60.0  # should a change ever not be told
STUMBLED_S = 5.0  # before the store is asked again after it failed


class Ledger(Protocol):
    """The durable side."""

    async def expected(self, subject_ids: Sequence[str] | None = None) -> list[Expected]: ...

    async def open_subjects(self) -> list[str]:
        """Chains and VNFs on which an operation is open."""
        ...

    async def open_heal(self, subject_id: str) -> Operation | None:
        """The HEAL that is open on a chain or VNF."""
        ...

    async def past_heals(self, vnf_instance_ids: Sequence[str]) -> list[PastHeal]: ...

    async def order_heal(self, order: HealOrder, at: datetime) -> Operation | None:
        """None where another operation is open."""
        ...

    async def announce(self, vnfc: Expected, condition: Condition, at: datetime) -> None: ...


Amend = Callable[[Operation, Collection[str]], Awaitable[None]]
"""Sees to it that a HEAL which is open is not too small for these dead."""


@dataclass(slots=True)
class _Board:
    """What one VIM has told."""

    client: VimClient
    listed: bool = False  # it has told everything that it has
    seen: dict[str, Condition] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # told so before anybody expected them, till their operation ends


class Watching:
    """Not thread-safe: lives in one event loop. `drive` begins an operation that was ordered; see also Amend."""

    def __init__(
        self,
        ledger: Ledger,
        drive: Callable[[str], None],
        amend: Amend,
        clock: Clock,
        policy: HealingPolicy | None,
    ) -> None:
        """`policy` None: nothing is healed by itself."""
        self._ledger = ledger
        self._drive = drive
        self._amend = amend
        self._clock = clock
        self._policy = policy
        self._expected = Expectations()
        self._boards: dict[str, _Board] = {}
        self._announced: set[str] = set()  # VNFCs whose death was told
        self._stale: dict[str, int] = {}  # groups whose VNFCs are being read again, by who reads last
        self._mark = 0
        self._unread: dict[str, int] = {}  # of those that are stale, which nobody is reading yet
        self._reading = False
        self._open: set[str] = set()  # groups on which an operation is open
        self._wakes: dict[str, asyncio.Event] = {}  # of groups that are tended
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- what others ask ----

    def condition(self, vim: str, vnfc_id: str) -> Condition:
        """How a VNFC does. UNKNOWN while its VIM is away, until it has told everything that it has, and of what it has
        not spoken of."""
        board = self._boards.get(vim)
        return board.seen.get(vnfc_id, UNKNOWN) if board and board.listed else UNKNOWN

    # ---- what others tell ----

    async def load(self) -> None:
        """Read what has to be there. To be called before operations go on."""
        self._open = set(await self._ledger.open_subjects())
        self._expected = Expectations(await self._ledger.expected())

    def follow(self, client: VimClient) -> None:
        """From now on, until its connection is closed."""
        self._start(self._follow(client), f"watch {client.connection.settings.name}")

    def told(self, operation: Operation) -> None:
        """An operation entered a state. Where it ended, its subjects are read again before anything is decided."""
        groups = self._expected.groups_of(operation.subjects)
        groups |= {str(operation.params.get("chain_id", "")) or operation.target_id}
        if not operation.state.final:
            self._open |= groups
            for group in groups & self._wakes.keys():
                self._wakes[group].set()
            return
        self._take_over(operation)
        created = (operation.type, operation.state) == (LcmOperationType.CHAIN_CREATE, LcmOperationState.COMPLETED)
        if created and groups.isdisjoint(self._stale):  # nobody has changed it yet: no need to read what is known
            self._expect(brought(operation), groups)
            return
        self._mark += 1
        self._stale.update(dict.fromkeys(groups, self._mark))
        self._unread.update(dict.fromkeys(groups, self._mark))
        if not self._reading:
            self._reading = True
            self._start(self._read_again(), "read again what has to be there")

    def _take_over(self, operation: Operation) -> None:
        """What the operation's own calls were answered, of VNFCs of which their VIM's watch has not spoken yet: so
        nobody has to ask for them once more. Whatever the watch tells later is newer."""
        vims = {s.key: s.vim for s in operation.steps if s.compute}
        for entry in operation.log:
            made = entry.output.resource if entry.output and entry.step in vims else None
            board = self._boards.get(vims[entry.step]) if made else None
            if made is None or board is None or not board.listed:
                continue
            vnfc_id = made.handle.resource_id
            if vnfc_id not in board.seen and vnfc_id not in board.gone:
                board.seen[vnfc_id] = Condition(HEALTH_OF[made.state], made.reason, entry.at)
        about = {s.allocates or (s.removal.resource_id if s.removal else "") for s in operation.steps}
        for board in self._boards.values():
            board.gone -= about

    async def close(self) -> None:
        """End all tasks; operations that were ordered go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- following a VIM ----

    async def _follow(self, client: VimClient) -> None:
        name, failures = client.connection.settings.name, 0
        while not client.connection.closing:
            board = self._boards[name] = _Board(client)
            try:
                async with contextlib.aclosing(client.watch_resources()) as told:
                    async for resource in told:
                        if resource is None:
                            failures = 0
                            self._listed(name, board)
                        else:
                            self._take(board, resource)
            except ProblemError as error:
                log.info("VIM is not watched", vim=name, why=error.problem.detail)
            except Exception:  # whoever watches must not end over what one plugin says
                log.exception("VIM is not watched", vim=name)
            board.listed = False  # from now on nothing is known
            await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
            failures += 1

    def _take(self, board: _Board, resource: Resource) -> None:
        if resource.kind is not ResourceKind.COMPUTE:
            return
        vnfc_id = resource.handle.resource_id
        known = self._expected.get(vnfc_id)
        if resource.state is ResourceState.ABSENT and known is None:
            board.seen.pop(vnfc_id, None)
            board.gone.add(vnfc_id)
            return
        board.seen[vnfc_id] = Condition(
            HEALTH_OF[resource.state], resource.reason, resource.changed_at or self._clock()
        )
        if known and board.listed:
            self._look_at([known])

    def _listed(self, name: str, board: _Board) -> None:
        board.listed = True
        self._look_at(self._expected.of_vim(name))

    def _look_at(self, vnfcs: Iterable[Expected]) -> None:
        """Begin to tend those that are not well, and wake who waits for these."""
        for vnfc in vnfcs:
            board = self._boards.get(vnfc.vim)
            if board is None or not board.listed:
                continue
            seen = board.seen.get(vnfc.vnfc_id)
            if seen:
                self._announce(vnfc, seen)
            if seen is None or seen.health.dead or vnfc.group in self._wakes:
                self._wake(vnfc.group)

    def _announce(self, vnfc: Expected, condition: Condition) -> None:
        """Deaths, and the return of those that were dead. What vanishes while an operation is open may be meant to."""
        health, known_dead = condition.health, vnfc.vnfc_id in self._announced
        if health.dead is known_dead or not (health.dead or health is Health.WELL):
            return
        if health is Health.ABSENT and vnfc.group in self._open:
            return
        if health.dead:
            self._announced.add(vnfc.vnfc_id)
        else:
            self._announced.discard(vnfc.vnfc_id)
        log.info("VNFC changed", vnf=vnfc.vnf, vnfc=vnfc.vnfc_id, state=condition.health, reason=condition.reason)

        async def write() -> None:
            try:
                await self._ledger.announce(vnfc, condition, self._clock())
            except ProblemError as error:
                log.warning("change of a VNFC not announced", vnfc=vnfc.vnfc_id, why=error.problem.detail)

        self._start(write(), f"announce {vnfc.vnf}")

    # ---- what has to be there ----

    async def _read_again(self) -> None:
        """All groups at once whose operations ended while others were read."""
        try:
            while marks := self._unread:
                self._unread = {}
                await self._reload(marks)
        finally:
            self._reading = False

    async def _reload(self, marks: Mapping[str, int]) -> None:
        while True:
            try:
                fresh = await self._ledger.expected(list(marks))
                break
            except ProblemError as error:
                log.warning("VNFCs not read", why=error.problem.detail)
                await asyncio.sleep(STUMBLED_S)
        # of two that read the same group the later one counts
        groups = {g for g, mark in marks.items() if self._stale.get(g) == mark}
        for group in groups:
            del self._stale[group]
        mine = [e for e in fresh if e.group in groups]
        kept = {e.vnfc_id for e in mine}
        before = [e for group in groups for e in self._expected.of_group(group)]
        for gone in (e for e in before if e.vnfc_id not in kept):
            self._expected.remove(gone.vnfc_id)
            self._announced.discard(gone.vnfc_id)
            if board := self._boards.get(gone.vim):
                board.seen.pop(gone.vnfc_id, None)
        self._expect(mine, groups)

    def _expect(self, vnfcs: Sequence[Expected], groups: Collection[str]) -> None:
        """These have to be there from now on, and no operation is open on their groups."""
        self._open.difference_update(groups)
        for vnfc in vnfcs:
            self._expected.add(vnfc)
        self._look_at(vnfcs)
        for group in self._wakes.keys() & groups:
            self._wakes[group].set()

    # ---- healing ----

    def _wake(self, group: str) -> None:
        if group in self._wakes:
            self._wakes[group].set()
        else:
            self._wakes[group] = asyncio.Event()
            self._start(self._tend(group), f"tend {group}")

    async def _tend(self, group: str) -> None:
        """Until nobody of the group is dead."""
        wake = self._wakes[group]
        try:
            while True:
                await asyncio.sleep(GATHER_S)
                wake.clear()
                try:
                    wait_s = await self._see_to(group)
                except ProblemError as error:
                    log.warning("healing waits", group=group, why=error.problem.detail)
                    wait_s = STUMBLED_S
                except Exception:
                    log.exception("healing stumbled", group=group)
                    wait_s = LOOK_AGAIN_S
                if wait_s is None:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), wait_s)
        finally:
            del self._wakes[group]

    async def _see_to(self, group: str) -> float | None:
        """Do what is due; answers with when to look again, None where nobody is dead."""
        if group in self._stale:
            return LOOK_AGAIN_S  # woken once it is read
        await self._confirm(group)
        dead = self._dead(group)
        if not dead or self._policy is None:
            return None
        if group in self._open:
            if heal := await self._ledger.open_heal(group):
                await self._amend(heal, {d.vnfc.vnfc_id for d in dead})
            return LOOK_AGAIN_S  # woken when it enters another state
        past = await self._ledger.past_heals(sorted({d.vnfc.vnf_instance_id for d in dead}))
        if group in self._stale:
            return LOOK_AGAIN_S
        match decide(self._policy, dead, past, self._clock()):
            case Wait(seconds):
                return seconds
            case Leave(because):
                log.info("left as it is", vnf=dead[0].vnfc.vnf, because=because)
                return LOOK_AGAIN_S
            case HealOrder() as order:
                await self._order(order)
        return LOOK_AGAIN_S

    async def _order(self, order: HealOrder) -> None:
        operation = await self._ledger.order_heal(order, self._clock())
        if operation is None:
            return  # another operation is open: its end wakes us
        after_ms = round((self._clock() - order.died_at).total_seconds() * 1000) if order.died_at else None
        log.warning("HEAL ordered", vnf=order.vnf, cause=order.cause, operation=operation.id, after_ms=after_ms)
        self._drive(operation.id)

    def _dead(self, group: str) -> list[Death]:
        found = ((e, self.condition(e.vim, e.vnfc_id)) for e in self._expected.of_group(group))
        return [Death(e, condition) for e, condition in found if condition.health.dead]

    async def _confirm(self, group: str) -> None:
        """Ask for those of which their VIM has not spoken: what was just made may be told a moment later."""
        for board in list(self._boards.values()):
            name = board.client.connection.settings.name
            mine = [e for e in self._expected.of_group(group) if e.vim == name]
            silent = [e for e in mine if e.vnfc_id not in board.seen] if board.listed else []
            if not silent:
                continue
            for resource in await board.client.query_resources([e.vnfc_id for e in silent]):
                self._take(board, resource)
            for vnfc in silent:
                if vnfc.vnfc_id not in board.seen and self._expected.get(vnfc.vnfc_id):
                    board.seen[vnfc.vnfc_id] = Condition(Health.ABSENT, "its VIM does not have it", self._clock())
                    self._announce(vnfc, board.seen[vnfc.vnfc_id])
