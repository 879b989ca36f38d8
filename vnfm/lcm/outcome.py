"""What the end of an operation means for the chain and the instances it was about. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vnfm.model.lcm import ChainState, InstantiationState, LcmOperationState, LcmOperationType


@dataclass(frozen=True, slots=True)
class Outcome:
    """None leaves a state as it is. `forget` removes chain and instances: what was rolled back never was."""

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
