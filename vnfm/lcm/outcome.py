"""What the end of an operation means for the chain and the instances it was about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vnfm.lcm.machine import St
from vnfm.lcm.operation import LogEntry, Operation
from vnfm.lcm.steps import StepKind
from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState, LcmOperationType


@dataclass(frozen=True, slots=True)
class Outcome:
    """None leaves a state as it is; the changes of a running chain change none. `forget` removes chain and instances:
    what was rolled back never was."""

    chain: ChainState | None = None
    instances: InstantiationState | None = None
    forget: bool = False


NOTHING = Outcome()

_OUTCOMES: dict[tuple[LcmOperationType, LcmOperationState], Outcome] = {
    (LcmOperationType.CHAIN_CREATE, LcmOperationState.COMPLETED): Outcome(
        ChainState.INSTANTIATED, InstantiationState.INSTANTIATED
    ),
    (LcmOperationType.CHAIN_CREATE, LcmOperationState.ROLLED_BACK): Outcome(forget=True),
    # given up half-way: what exists stays on record, so that terminate can take it away
    (LcmOperationType.CHAIN_CREATE, LcmOperationState.FAILED): Outcome(
        ChainState.FAILED, InstantiationState.INSTANTIATED
    ),
    (LcmOperationType.CHAIN_TERMINATE, LcmOperationState.COMPLETED): Outcome(
        ChainState.NOT_INSTANTIATED, InstantiationState.NOT_INSTANTIATED
    ),
    (LcmOperationType.CHAIN_TERMINATE, LcmOperationState.FAILED): Outcome(ChainState.FAILED),
    (LcmOperationType.INSTANTIATE, LcmOperationState.COMPLETED): Outcome(instances=InstantiationState.INSTANTIATED),
    (LcmOperationType.INSTANTIATE, LcmOperationState.FAILED): Outcome(instances=InstantiationState.INSTANTIATED),
    (LcmOperationType.TERMINATE, LcmOperationState.COMPLETED): Outcome(instances=InstantiationState.NOT_INSTANTIATED),
}


def outcome(operation: LcmOperationType, state: LcmOperationState) -> Outcome:
    """What follows when `operation` enters `state`."""
    return _OUTCOMES.get((operation, state), NOTHING)


def outage_ms(operation: Operation) -> int | None:
    """Of a HEAL: from the death, as the plugin saw it, to the switch of the last path (where no path leads through the
    VNF: to the last VNFC that was made anew). None while that is not done, or where the death was not seen."""
    died_at = operation.params.get("died_at", "")
    if operation.type is not LcmOperationType.HEAL or not died_at:
        return None
    kinds = {s.kind for s in operation.steps}
    last = StepKind.PATH if StepKind.PATH in kinds else StepKind.COMPUTE
    status = operation.status
    waited = [s.key for s in operation.steps if s.kind is last]
    if not waited or any(status[key] is not St.DONE for key in waited):
        return None
    at = max(_done_at(e) for e in operation.log if e.step in waited and e.to is St.DONE)
    return max(0, round((at - datetime.fromisoformat(died_at)).total_seconds() * 1000))


def _done_at(entry: LogEntry) -> datetime:
    """When the plugin says that it was so: a switch is followed by draining before it is answered."""
    resource = entry.output.resource if entry.output else None
    return resource.changed_at if resource and resource.changed_at else entry.at
