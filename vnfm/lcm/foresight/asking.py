"""The questions, asked of what is so now: reads, then works out of the event loop, saying how far it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from vnfm.lcm.foresight.moving import Sight
from vnfm.lcm.foresight.replacing import Wish, replacement
from vnfm.lcm.foresight.running import Population, Running
from vnfm.lcm.foresight.saying import NOTHING_RUNS, Say
from vnfm.lcm.foresight.supposing import outlook
from vnfm.lcm.foresight.telling import outlook_document, replacement_document, tidied_document
from vnfm.lcm.foresight.tidying import Improvement, bettered, tidied
from vnfm.lcm.grants.world import World
from vnfm.lcm.planning import plan_chain
from vnfm.model.chain import ServiceChain
from vnfm.model.problem import problem
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.whatif import Supposition, detached, supposed

T = TypeVar("T")
Document = dict[str, Any]
MOST_BETTER = 20
SAID_ABOUT = 100  # words of progress in all, at most


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a question is."""

    done: int
    total: int
    doing: str


@dataclass(frozen=True, slots=True)
class Then:
    """A chain that somebody would create afterwards."""

    chain: ServiceChain
    tenant: str


class Foresight:
    """Answers with documents. Changes nothing, and keeps no grant waiting."""

    def __init__(self, world: World, population: Population, new_id: Callable[[], str]) -> None:
        self._world = world
        self._population = population
        self._new_id = new_id

    async def what_if(self, asked: Supposition, then: Then | None = None) -> AsyncGenerator[Progress | Document, None]:
        """Progress, then the document. Raises ProblemError like `supposed`, and for a chain that is wrong in itself."""
        everyone, now, sight = await self._now()
        packages = None
        if then is not None:
            packages = await self._world.facts.packages(then.tenant, [v.vnfd_id for v in then.chain.vnfs])

        def work(say: Say) -> Document:
            supposing = supposed(now, asked)
            seen = outlook(everyone, detached(now), supposing, sight, say)
            better: tuple[Improvement, ...] = ()
            if supposing.like:
                onto = frozenset(supposing.like)
                better = bettered(seen.running, seen.snapshot, sight, MOST_BETTER, onto, say).moves
            admitted = None
            if then is not None and packages is not None:
                admitted = plan_chain(
                    then.chain,
                    packages,
                    seen.snapshot,
                    operation_id=self._new_id(),
                    tenant=then.tenant,
                    instance_ids={},
                    absent=sight.absent,
                    capabilities=sight.capabilities,
                    reaches=sight.reaches,
                ).document
            return outlook_document(asked, now, supposing, seen, better, dict(admitted) if admitted else None)

        async with aclosing(_worked(work)) as words:
            async for word in words:
                yield word

    async def defragment(self, most: int) -> AsyncGenerator[Progress | Document, None]:
        """Progress, then the document."""
        if not 1 <= most <= 1000:
            raise problem("bad-value", f"most: is {most}; expected 1 to 1000")
        everyone, now, sight = await self._now()

        def work(say: Say) -> Document:
            if not everyone:
                say(0, 0, NOTHING_RUNS)
            return tidied_document(now, tidied(everyone, detached(now), sight, most, say))

        async with aclosing(_worked(work)) as words:
            async for word in words:
                yield word

    async def replacement(self, instance_ids: Sequence[str], wish: Wish) -> Document:
        """Of VNFs of one chain. Raises ProblemError like `replacement`, `bad-request` for VNFs of several chains."""
        wanted = dict.fromkeys(instance_ids)
        everyone, now, sight = await self._now(wanted)
        of = [r for r in everyone if any(i.id in wanted for i in r.instances)]
        if len(of) != 1:
            if not of:
                raise problem("conflict", "refs: nothing runs of these VNFs that could be moved")
            raise problem("bad-request", f"refs: VNFs of one chain are moved together, these are of {len(of)} of them")
        (one,) = of
        by_id = {i.id: i.alias or i.name for i in one.instances}
        if missing := [i for i in wanted if i not in by_id]:
            raise problem("conflict", "refs: nothing runs of this VNF that could be moved", instance=missing[0])
        aliases = [by_id[i] for i in wanted]
        return await asyncio.to_thread(lambda: replacement_document(replacement(one, aliases, wish, now, sight)))

    async def _now(self, instance_ids: Collection[str] = ()) -> tuple[Sequence[Running], Snapshot, Sight]:
        everyone = await self._population.running(instance_ids)
        snapshot, inventory = await self._world.snapshot()
        return everyone, snapshot, Sight(inventory.absent, inventory.capabilities, inventory.reaches)


class _GivenUp(Exception):
    """Nobody waits for the answer any more."""


async def _worked(work: Callable[[Say], T]) -> AsyncGenerator[Progress | T, None]:
    """Run it in a thread; what it says comes first, then the answer. Who goes away ends it at its next word."""
    loop = asyncio.get_running_loop()
    words: asyncio.Queue[Progress | None] = asyncio.Queue()
    over = threading.Event()

    def say(done: int, total: int, doing: str) -> None:
        if over.is_set():
            raise _GivenUp
        if done % max(1, total // SAID_ABOUT) == 0 or done == total:
            loop.call_soon_threadsafe(words.put_nowait, Progress(done, total, doing))

    task = asyncio.create_task(asyncio.to_thread(work, say))
    task.add_done_callback(lambda _: words.put_nowait(None))
    try:
        while (word := await words.get()) is not None:
            yield word
        yield await task
    finally:
        over.set()
        task.add_done_callback(_heard)


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody asks for it any more
