"""How VNFs do at this moment, as documents: beside what was ordered stands what is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vnfm.lcm.healing import UNKNOWN, Condition, Health
from vnfm.lcm.operation import Operation
from vnfm.lcm.outcome import outage_ms
from vnfm.model.lcm import InstantiationState, LcmOperationState, LcmOperationType, Vnfc, VnfInstance
from vnfm.model.realization import Realization
from vnfm.store.orders import ChainRecord, OrderStore

ConditionOf = Callable[[str, str], Condition]
"""How a VNFC does, by its VIM and its id."""
LastHeal = Callable[[str], Awaitable[Operation | None]]
"""The newest HEAL of a chain or a VNF."""
HEALING = "HEALING"
WORST_FIRST = (Health.FAILED, Health.ABSENT, Health.UNKNOWN, Health.BUILDING, Health.STOPPED, Health.WELL)


def nothing_seen(_vim: str, _vnfc: str) -> Condition:
    """For whoever has no watch."""
    return UNKNOWN


@dataclass(frozen=True, slots=True)
class Live:
    """What is seen of a chain or of a lone VNF."""

    condition_of: ConditionOf = nothing_seen
    open_operation: Operation | None = None
    last_heal: Operation | None = None

    def condition(self, vnfc: Vnfc) -> Condition:
        """How a VNFC does."""
        return self.condition_of(vnfc.vim, vnfc.id)

    def healing(self, instance: VnfInstance) -> bool:
        """A HEAL of it is under way."""
        found = self.open_operation
        return (
            found is not None
            and found.type is LcmOperationType.HEAL
            and found.state is not LcmOperationState.FAILED_TEMP
            and instance.id in found.subjects
        )


class Liveness:
    """Puts together what the watch and the store know."""

    def __init__(self, orders: OrderStore, condition_of: ConditionOf, last_heal: LastHeal) -> None:
        self._orders = orders
        self._condition_of = condition_of
        self._last_heal = last_heal

    async def of_chain(self, chain: ChainRecord) -> Live:
        """In full."""
        return Live(self._condition_of, await self._open(chain), await self._last_heal(chain.id))

    async def of_vnf(self, instance: VnfInstance) -> Live:
        """Of a VNF by itself: an open operation is not looked for."""
        return Live(self._condition_of, None, await self._last_heal(instance.id))

    def now(self) -> Live:
        """Without the past, and without what is open."""
        return Live(self._condition_of)

    async def listed(self, chain: ChainRecord) -> Live:
        """As a list has it: without the past."""
        return Live(self._condition_of, await self._open(chain))

    async def _open(self, chain: ChainRecord) -> Operation | None:
        return await self._orders.operation(chain.tenant, chain.operation_id) if chain.operation_id else None


def health_document(instance: VnfInstance, live: Live) -> dict[str, Any] | None:
    """The worst of its VNFCs; None of what is not instantiated."""
    if instance.instantiation_state is not InstantiationState.INSTANTIATED:
        return None
    conditions = [live.condition(v) for v in instance.vnfcs] or [UNKNOWN]
    worst = min(conditions, key=lambda c: WORST_FIRST.index(c.health))
    state = HEALING if live.healing(instance) else worst.health.value
    return {"state": state, "reason": worst.reason, "since": worst.since.isoformat() if worst.since else None}


def vnfc_documents(instance: VnfInstance, live: Live) -> list[dict[str, Any]]:
    """The VNFCs of an instance, and how each does."""
    return [
        {
            "id": v.id,
            "vdu_id": v.vdu_id,
            "runtime": v.runtime.value,
            "vim": v.vim,
            "host": v.host,
            "native_id": v.native_id,
            "addresses": list(v.addresses),
            "health": live.condition(v).health.value,
            "reason": live.condition(v).reason,
        }
        for v in instance.vnfcs
    ]


def replicas(realization: Realization, instance: VnfInstance) -> int:
    """How many instances share the flows that reach a VNF."""
    hops = [h for p in realization.paths for h in p.spec.hops if h.name == instance.alias]
    if hops:
        return max(max(1, len(h.replicas)) for h in hops)
    return max(Counter(v.vdu_id for v in instance.vnfcs).values(), default=0)


def heal_document(operation: Operation | None) -> dict[str, Any] | None:
    """A HEAL in short."""
    if operation is None:
        return None
    return {
        "operation": operation.id,
        "state": operation.state.value,
        "at": operation.started_at.isoformat(),
        "vnfs": sorted(lane for lane in operation.subjects.values() if lane),
        **heal_facts(operation),
    }


def heal_facts(operation: Operation) -> Mapping[str, Any]:
    """Why, since when, and how long nothing flowed."""
    return {
        "cause": str(operation.params.get("cause", "")),
        "died_at": operation.params.get("died_at") or None,
        "outage_ms": outage_ms(operation),
    }
