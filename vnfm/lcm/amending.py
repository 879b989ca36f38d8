"""A HEAL that the manager ordered is too small once another VNFC of the chain has died: its probe could not pass.

It is cut short and taken back, so that one for all the dead can follow; where a removal has begun it goes on instead.
"""

from __future__ import annotations

from collections.abc import Collection

from vnfm.lcm import control
from vnfm.lcm.control import ControlJournal
from vnfm.lcm.machine import rollback_allowed
from vnfm.lcm.operation import Operation
from vnfm.lcm.ports import Clock
from vnfm.lcm.runner import Runner
from vnfm.lcm.steps import nodes
from vnfm.model.lcm import CancelMode, LcmOperationState


def too_small(heal: Operation, dead: Collection[str]) -> bool:
    """Whether a HEAL of the manager's own leaves out somebody who is dead. One that waits for a decision stays."""
    params = heal.params
    return bool(params.get("positions")) and not params.get("give_up") and not set(dead) <= set(params.get("vnfcs", ()))


class Amending:
    """Does it, a step whenever it is asked: each leads to a state that is told."""

    def __init__(self, journal: ControlJournal, runner: Runner, clock: Clock) -> None:
        self._journal = journal
        self._runner = runner
        self._clock = clock
        self._cut: set[str] = set()  # ids of operations that were cut short here

    async def amend(self, heal: Operation, dead: Collection[str]) -> None:
        """Nothing where the HEAL is large enough. Raises ProblemError `conflict` where it has changed meanwhile."""
        if not too_small(heal, dead):
            return
        back = rollback_allowed(nodes(heal.steps), heal.status)
        if heal.state is LcmOperationState.FAILED_TEMP:
            if back:
                await control.rollback(self._journal, self._runner, heal, self._clock)
            elif heal.id in self._cut:
                await control.retry(self._journal, self._runner, heal, self._clock)
            self._cut.discard(heal.id)
        elif back and heal.state in (LcmOperationState.STARTING, LcmOperationState.PROCESSING) and not heal.cancel_mode:
            self._cut.add(heal.id)
            await control.cancel(self._journal, self._runner, heal, CancelMode.FORCEFUL)
