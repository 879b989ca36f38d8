"""Who is seen to be dead, and when a HEAL is ordered for it: with a VIM that says what a test lets it say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from vnfm.lcm.healing import Condition, Expected, HealingPolicy, HealOrder, Health, PastHeal
from vnfm.lcm.machine import St
from vnfm.lcm.operation import LogEntry, Operation, StepOutput
from vnfm.lcm.steps import Step, StepKind
from vnfm.model.lcm import LcmOperationState, LcmOperationType
from vnfm.model.placement import Runtime
from vnfm.model.problem import problem
from vnfm.model.resources import ComputeSpec, Handle, Resource, ResourceKind, ResourceState
from vnfm.vim.watching import Watching

RUNNING, FAILED, ABSENT = ResourceState.RUNNING, ResourceState.FAILED, ResourceState.ABSENT
DIED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LISTED = None
LOST = "lost"


def compute(vnfc: str, state: ResourceState, reason: str = "", kind: ResourceKind = ResourceKind.COMPUTE) -> Resource:
    return Resource(Handle(vnfc), kind, state, reason=reason, changed_at=DIED_AT)


def vnfc(name: str, chain: str = "chain", vnf: str = "") -> Expected:
    vnf = vnf or name
    return Expected(name, "v", "m", "default", f"{vnf}-id", vnf, chain, f"{vnf}-id/v/0")


class Vim:
    """Says what is put into `says`; `there` is what a query finds."""

    def __init__(self, name: str = "m") -> None:
        self.connection = SimpleNamespace(settings=SimpleNamespace(name=name), closing=False)
        self.says: asyncio.Queue[Any] = asyncio.Queue()
        self.there: list[Resource] = []
        self.queries: list[list[str]] = []

    async def watch_resources(self) -> AsyncGenerator[Resource | None, None]:
        while True:
            word = await self.says.get()
            if word == LOST:
                raise problem("vim-unreachable", "gone")
            yield word

    async def query_resources(self, ids: Sequence[str]) -> tuple[Resource, ...]:
        self.queries.append(list(ids))
        return tuple(r for r in self.there if r.handle.resource_id in ids)

    def tell(self, *words: Any) -> None:
        for word in words:
            self.says.put_nowait(word)


@dataclass
class Ledger:
    """In memory. While `open` another operation is open."""

    members: list[Expected]
    past: list[PastHeal] = field(default_factory=list)
    open: bool = False
    slow: asyncio.Event | None = None
    orders: list[HealOrder] = field(default_factory=list)
    announced: list[tuple[str, Health, str]] = field(default_factory=list)

    async def expected(self, subject_ids: Sequence[str] | None = None) -> list[Expected]:
        if self.slow and subject_ids is not None:
            await self.slow.wait()
        return [e for e in self.members if subject_ids is None or {e.vnf_instance_id, e.chain_id} & set(subject_ids)]

    async def open_subjects(self) -> list[str]:
        return []

    async def open_heal(self, subject_id: str) -> Operation | None:
        return operation(LcmOperationState.PROCESSING, "a-id") if self.open else None

    async def past_heals(self, vnf_instance_ids: Sequence[str]) -> list[PastHeal]:
        return self.past

    async def order_heal(self, order: HealOrder, at: datetime) -> Operation | None:
        if self.open:
            return None
        self.orders.append(order)
        self.open = True
        return operation(LcmOperationState.STARTING, order.vnf_instance_id)

    async def announce(self, vnfc: Expected, condition: Condition, at: datetime) -> None:
        self.announced.append((vnfc.vnfc_id, condition.health, condition.reason))


def operation(state: LcmOperationState, *subjects: str, chain: str = "chain") -> Operation:
    return Operation(
        "op-1", "default", LcmOperationType.HEAL, state, "fw", subjects[0], DIED_AT, DIED_AT,
        subjects=dict.fromkeys(subjects, "lane"), params={"chain_id": chain},
    )  # fmt: skip


@dataclass
class Stage:
    ledger: Ledger
    vim: Vim
    watching: Watching
    driven: list[str]
    amended: list[set[str]]

    async def settle(self) -> None:
        """Long enough for everything that is due at once."""
        await asyncio.sleep(0.06)


def play(
    story: Callable[[Stage], Coroutine[Any, Any, None]],
    *members: Expected,
    policy: HealingPolicy | None = HealingPolicy(back_off_s=(0.0,)),  # noqa: B008
) -> Stage:
    async def main() -> Stage:
        driven: list[str] = []
        ledger, vim = Ledger(list(members)), Vim()
        amended: list[set[str]] = []

        async def amend(_heal: Operation, dead: Collection[str]) -> None:
            amended.append(set(dead))

        watching = Watching(ledger, driven.append, amend, lambda: datetime.now(UTC), policy)
        stage = Stage(ledger, vim, watching, driven, amended)
        await watching.load()
        watching.follow(vim)  # type: ignore[arg-type]
        try:
            await story(stage)
        finally:
            await watching.close()
        return stage

    return asyncio.run(main())


def test_a_death_is_healed_within_milliseconds_and_driven() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), LISTED)
        await stage.settle()
        assert stage.watching.condition("m", "a").health is Health.WELL
        began = asyncio.get_running_loop().time()
        stage.vim.tell(compute("a", FAILED, "exit 137"))
        while not stage.driven:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert asyncio.get_running_loop().time() - began < 0.2
        (order,) = stage.ledger.orders
        assert (order.vnfcs, order.cause, order.died_at) == (("a",), "exit 137", DIED_AT)
        await stage.settle()

    stage = play(story, vnfc("a"))
    assert stage.ledger.announced == [("a", Health.FAILED, "exit 137")]
    assert len(stage.ledger.orders) == 1


def test_nothing_is_judged_before_the_vim_has_told_everything() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", FAILED))
        await stage.settle()
        assert not stage.ledger.orders
        assert stage.watching.condition("m", "a").health is Health.UNKNOWN
        stage.vim.tell(LISTED)
        await stage.settle()
        assert len(stage.ledger.orders) == 1

    play(story, vnfc("a"))


def test_what_is_missing_once_everything_was_told_is_asked_for_and_then_healed() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.there = [compute("b", RUNNING)]  # told a moment later
        stage.vim.tell(LISTED)
        await stage.settle()
        (order,) = stage.ledger.orders
        assert order.vnfcs == ("a",)
        assert stage.vim.queries == [["a", "b"]]
        assert stage.watching.condition("m", "b").health is Health.WELL

    assert play(story, vnfc("a"), vnfc("b")).ledger.announced == [("a", Health.ABSENT, "its VIM does not have it")]


def test_a_vim_that_is_away_heals_nothing_and_one_that_is_back_with_everything_neither() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), LISTED, LOST)
        await stage.settle()
        assert stage.watching.condition("m", "a").health is Health.UNKNOWN
        stage.vim.tell(compute("a", RUNNING), LISTED)
        await asyncio.sleep(0.2)
        assert stage.watching.condition("m", "a").health is Health.WELL
        assert not stage.ledger.orders

    play(story, vnfc("a"))


def test_what_is_built_or_stopped_is_not_dead_and_what_is_not_ours_is_nobodys() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", ResourceState.BUILDING), compute("b", ResourceState.STOPPED), LISTED)
        stage.vim.tell(compute("stranger", FAILED), compute("link", FAILED, kind=ResourceKind.LINK))
        await stage.settle()
        assert not stage.ledger.orders

    play(story, vnfc("a"), vnfc("b"))


def test_the_dead_of_a_chain_that_come_at_once_are_one_heal_and_those_of_another_chain_another() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), compute("b", RUNNING), compute("c", RUNNING), LISTED)
        await stage.settle()
        stage.vim.tell(compute("a", FAILED), compute("b", FAILED))
        await stage.settle()
        assert [set(o.vnfcs) for o in stage.ledger.orders] == [{"a", "b"}]
        stage.ledger.open = False
        stage.vim.tell(compute("c", FAILED))
        await stage.settle()
        assert [set(o.vnfcs) for o in stage.ledger.orders] == [{"a", "b"}, {"c"}]

    play(story, vnfc("a"), vnfc("b"), vnfc("c", chain=""))


def test_one_more_death_while_a_heal_is_under_way_has_that_heal_amended() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), compute("b", RUNNING), LISTED, compute("a", FAILED))
        await stage.settle()
        stage.watching.told(operation(LcmOperationState.PROCESSING, "a-id"))
        await stage.settle()
        stage.vim.tell(compute("b", FAILED))
        await stage.settle()
        assert stage.amended[-1] == {"a", "b"}
        assert len(stage.ledger.orders) == 1
        stage.ledger.open = False
        stage.watching.told(operation(LcmOperationState.ROLLED_BACK, "a-id"))
        await stage.settle()
        assert [set(o.vnfcs) for o in stage.ledger.orders] == [{"a"}, {"a", "b"}]

    play(story, vnfc("a"), vnfc("b"))


def test_while_another_operation_is_open_it_waits_and_looks_again_at_its_end() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), LISTED)
        stage.ledger.open = True
        stage.vim.tell(compute("a", FAILED))
        await stage.settle()
        assert not stage.ledger.orders
        stage.watching.told(operation(LcmOperationState.FAILED_TEMP, "a-id"))  # still open
        await stage.settle()
        assert not stage.ledger.orders
        stage.ledger.open = False
        stage.watching.told(operation(LcmOperationState.COMPLETED, "a-id"))
        await stage.settle()
        assert len(stage.ledger.orders) == 1

    play(story, vnfc("a"))


def test_what_an_operation_took_away_is_not_missed_and_what_it_brought_is_watched() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), LISTED)
        await stage.settle()
        stage.ledger.open = True  # a HEAL puts a2 in the place of a
        stage.vim.tell(compute("a2", RUNNING), compute("a", ABSENT))
        await stage.settle()
        stage.ledger.slow = asyncio.Event()
        stage.ledger.members = [vnfc("a2", vnf="a")]
        stage.ledger.open = False
        stage.watching.told(operation(LcmOperationState.COMPLETED, "a-id"))
        await stage.settle()
        assert not stage.ledger.orders, "nothing is decided by what was before the operation"
        stage.ledger.slow.set()
        await stage.settle()
        assert not stage.ledger.orders
        stage.vim.tell(compute("a2", FAILED, "again"))
        await stage.settle()
        assert [o.vnfcs for o in stage.ledger.orders] == [("a2",)]

    play(story, vnfc("a"))


def test_what_an_open_operation_removes_is_told_to_nobody_but_what_fails_meanwhile_is() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), compute("b", RUNNING), LISTED)
        await stage.settle()
        stage.ledger.open = True
        stage.watching.told(operation(LcmOperationState.PROCESSING, "a-id", "b-id"))
        stage.vim.tell(compute("a", ABSENT), compute("b", FAILED, "oom"))
        await stage.settle()

    assert play(story, vnfc("a"), vnfc("b")).ledger.announced == [("b", Health.FAILED, "oom")]


def test_without_auto_healing_deaths_are_shown_and_told_but_not_healed() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(compute("a", RUNNING), LISTED, compute("a", FAILED, "oom"))
        await stage.settle()
        condition = stage.watching.condition("m", "a")
        assert (condition.health, condition.reason, condition.since) == (Health.FAILED, "oom", DIED_AT)
        stage.vim.tell(compute("a", RUNNING))
        await stage.settle()

    stage = play(story, vnfc("a"), policy=None)
    assert not stage.ledger.orders
    assert stage.ledger.announced == [("a", Health.FAILED, "oom"), ("a", Health.WELL, "")]


def test_one_that_died_again_too_soon_is_healed_after_its_back_off() -> None:
    async def story(stage: Stage) -> None:
        done = datetime.now(UTC)
        stage.ledger.past = [PastHeal("op-0", LcmOperationState.COMPLETED, done, ("a0",), ("a-id/v/0",))]
        stage.vim.tell(compute("a", FAILED), LISTED)
        await stage.settle()
        assert not stage.ledger.orders
        await asyncio.sleep(0.3)
        assert len(stage.ledger.orders) == 1

    play(story, vnfc("a"), policy=HealingPolicy(back_off_s=(0.0, 0.2)))


def test_a_store_that_fails_is_asked_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("vnfm.vim.watching.STUMBLED_S", 0.05)

    async def story(stage: Stage) -> None:
        asked = 0
        sound = stage.ledger.past_heals

        async def past_heals(ids: Sequence[str]) -> list[PastHeal]:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise problem("storage", "the disk is full")
            return await sound(ids)

        stage.ledger.past_heals = past_heals  # type: ignore[method-assign]
        stage.vim.tell(compute("a", FAILED), LISTED)
        await asyncio.sleep(0.2)
        assert len(stage.ledger.orders) == 1

    play(story, vnfc("a"))


def _built(*answers: tuple[str, ResourceState]) -> Operation:
    """An operation that has ended, and what its calls were answered."""
    steps, log = [], []
    for name, state in answers:
        spec = ComputeSpec(name, name, "h", Runtime.CONTAINER, 1, 1)
        steps.append(Step(name, StepKind.COMPUTE, name, "m", compute=spec))
        log += [
            LogEntry(name, St.STARTED, DIED_AT),
            LogEntry(name, St.DONE, DIED_AT, StepOutput(compute(name, state))),
        ]
    ended = operation(LcmOperationState.COMPLETED, "a-id")
    return replace(ended, steps=tuple(steps), log=tuple(log))


def test_what_an_operation_was_answered_need_not_be_asked_for_again() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(LISTED)
        await stage.settle()
        stage.ledger.members += [vnfc("a"), vnfc("b")]
        stage.watching.told(_built(("a", RUNNING), ("b", FAILED)))
        await stage.settle()
        assert stage.vim.queries == []
        assert stage.watching.condition("m", "a").health is Health.WELL
        assert [order.vnfcs for order in stage.ledger.orders] == [("b",)]

    play(story)


def test_what_the_vim_has_told_since_weighs_more_than_what_the_call_was_answered() -> None:
    async def story(stage: Stage) -> None:
        stage.vim.tell(LISTED, compute("a", FAILED, "it died"), compute("b", RUNNING), compute("b", ABSENT))
        await stage.settle()
        stage.ledger.members += [vnfc("a"), vnfc("b")]
        stage.watching.told(_built(("a", RUNNING), ("b", RUNNING)))
        await stage.settle()
        assert stage.watching.condition("m", "a").health is Health.FAILED
        assert stage.vim.queries == [["b"]]  # it vanished before anybody expected it: its VIM is asked
        assert stage.watching.condition("m", "b").health is Health.ABSENT

    play(story)
