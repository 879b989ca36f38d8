"""Whether a VNFC is well, and what to do about those that are not: bounded in how often and how fast. Pure.

A VNFC is dead where its VIM says that it FAILED, or does not have it although the VIM has told everything that it has.
What is being built is waited for, what was stopped by an operator is no death, and of a VIM that is away nothing is
known. All dead VNFCs of a chain are healed by one HEAL: a probe would stop at any that is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from vnfm.model.lcm import LcmOperationState
from vnfm.model.resources import ResourceState


class Health(StrEnum):
    """How a VNFC does."""

    WELL = "WELL"
    FAILED = "FAILED"
    ABSENT = "ABSENT"
    BUILDING = "BUILDING"
    STOPPED = "STOPPED"
    UNKNOWN = "UNKNOWN"

    @property
    def dead(self) -> bool:
        """Healing is called for."""
        return self in (Health.FAILED, Health.ABSENT)


HEALTH_OF = {
    ResourceState.RUNNING: Health.WELL,
    ResourceState.FAILED: Health.FAILED,
    ResourceState.ABSENT: Health.ABSENT,
    ResourceState.BUILDING: Health.BUILDING,
    ResourceState.STOPPED: Health.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Expected:
    """A VNFC that has to be there: of a VNF that is INSTANTIATED. `position` stays the same over all heals."""

    vnfc_id: str
    vdu_id: str
    vim: str
    tenant: str
    vnf_instance_id: str
    vnf: str  # the instance's name
    chain_id: str
    position: str

    @property
    def group(self) -> str:
        """What is healed together: the chain, or a VNF that stands alone."""
        return self.chain_id or self.vnf_instance_id


@dataclass(frozen=True, slots=True)
class Condition:
    """How a VNFC was seen last, and since when."""

    health: Health
    reason: str = ""
    since: datetime | None = None


UNKNOWN = Condition(Health.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Death:
    """A VNFC that is dead."""

    vnfc: Expected
    condition: Condition

    @property
    def reason(self) -> str:
        """In words, never empty."""
        return self.condition.reason or f"it is {self.condition.health}"


@dataclass(frozen=True, slots=True)
class PastHeal:
    """A HEAL on record. `refused`: it ended before it began, by no decision of anybody's (no room, say). `held`: it was
    put on record to be decided."""

    operation_id: str
    state: LcmOperationState
    state_entered_at: datetime
    vnfcs: tuple[str, ...]
    positions: tuple[str, ...]
    refused: bool = False
    held: bool = False


@dataclass(frozen=True, slots=True)
class HealingPolicy:
    """How often and how fast: at most `limit` heals of one position in `window_s`, each a step of `back_off_s` after
    the one before (the last step holds for all that follow)."""

    limit: int = 5
    window_s: float = 600.0
    back_off_s: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


@dataclass(frozen=True, slots=True)
class HealOrder:
    """A HEAL to be ordered, on `vnf_instance_id` and whoever else has one of `vnfcs`. `give_up`: why it is put on
    record for a decision and not begun."""

    tenant: str
    vnf_instance_id: str
    vnf: str
    vnfcs: tuple[str, ...]
    positions: tuple[str, ...]
    cause: str
    died_at: datetime | None
    give_up: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """An operator has decided, and nothing is done until there is another VNFC."""

    because: str


def decide(
    policy: HealingPolicy, deaths: Sequence[Death], past: Sequence[PastHeal], now: datetime
) -> HealOrder | Wait | Leave:
    """What to do about the dead of one group; `past` are the HEALs of its VNFs, in any order, none of them open."""
    ids = {d.vnfc.vnfc_id for d in deaths}
    if ended := next((h for h in past if ids <= set(h.vnfcs) and _given_up(h)), None):
        return Leave(f"HEAL {ended.operation_id[:8]} of it ended {ended.state}")
    if asked := [h.state_entered_at for h in past if h.held and h.refused and ids & set(h.vnfcs)]:
        # not even a decision could be asked for: it is tried anew once the window is over
        left = (max(asked) + timedelta(seconds=policy.window_s) - now).total_seconds()
        if left > 0:
            return Wait(left)
    tries = {d.vnfc.position: _tries(policy, d.vnfc.position, past, now) for d in deaths}
    spent = [d for d in deaths if len(tries[d.vnfc.position]) >= policy.limit]
    if spent:
        return _order(deaths, _give_up(policy, spent[0], tries[spent[0].vnfc.position]))
    left = max((_due(policy, heals) - now).total_seconds() if heals else 0.0 for heals in tries.values())
    return Wait(left) if left > 0 else _order(deaths, "")


def _given_up(heal: PastHeal) -> bool:
    """By a decision: its VNFCs are as they are meant to be."""
    return heal.state in (LcmOperationState.FAILED, LcmOperationState.ROLLED_BACK) and not heal.refused


def _tries(policy: HealingPolicy, position: str, past: Sequence[PastHeal], now: datetime) -> list[PastHeal]:
    """The heals of a position that count, oldest first: those in the window, but for what was taken back (it may have
    been too small), and for what was refused before somebody of these was healed."""
    begin = now - timedelta(seconds=policy.window_s)
    done = max((h.state_entered_at for h in past if h.state is LcmOperationState.COMPLETED), default=begin)
    counted = [
        h
        for h in past
        if position in h.positions
        and h.state_entered_at >= (max(begin, done) if h.refused else begin)
        and (h.refused or h.state is not LcmOperationState.ROLLED_BACK)
    ]
    return sorted(counted, key=lambda h: h.state_entered_at)


def _due(policy: HealingPolicy, heals: Sequence[PastHeal]) -> datetime:
    step = policy.back_off_s[min(len(heals), len(policy.back_off_s) - 1)]
    return heals[-1].state_entered_at + timedelta(seconds=step)


def _order(deaths: Sequence[Death], give_up: str) -> HealOrder:
    first = min(deaths, key=lambda d: (d.condition.since is None, d.condition.since or datetime.min, d.vnfc.vnfc_id))
    several = len(deaths) > 1
    return HealOrder(
        tenant=first.vnfc.tenant,
        vnf_instance_id=first.vnfc.vnf_instance_id,
        vnf=first.vnfc.vnf,
        vnfcs=tuple(d.vnfc.vnfc_id for d in deaths),
        positions=tuple(dict.fromkeys(d.vnfc.position for d in deaths)),
        cause="; ".join(f"{d.vnfc.vnf} {d.vnfc.vdu_id}: {d.reason}" if several else d.reason for d in deaths),
        died_at=first.condition.since,
        give_up=give_up,
    )


def _give_up(policy: HealingPolicy, death: Death, tries: Sequence[PastHeal]) -> str:
    refused = sum(h.refused for h in tries)
    said = [f"was healed {_times(len(tries) - refused)}"] if len(tries) > refused else []
    said += [f"could not be healed {_times(refused)}"] if refused else []
    return (
        f"{death.vnfc.vnf} ({death.vnfc.vdu_id}) {' and '.join(said)} in {_span(policy.window_s)}, and is dead again: "
        f"{death.reason}. `vnfm op retry` heals it once more; `vnfm op rollback` and `vnfm op fail` leave it as it is"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} minutes"
