"""What the end of an operation means, for every operation and every final state."""

from __future__ import annotations

import itertools

import pytest

from vnfm.lcm.outcome import NOTHING, outcome
from vnfm.model.lcm import ChainState as C
from vnfm.model.lcm import InstantiationState as I
from vnfm.model.lcm import LcmOperationState as S
from vnfm.model.lcm import LcmOperationType as T

OFFERED = (T.CHAIN_CREATE, T.CHAIN_TERMINATE, T.INSTANTIATE, T.TERMINATE)
FINAL = [s for s in S if s.final]


@pytest.mark.parametrize(("kind", "state"), list(itertools.product(OFFERED, [s for s in S if not s.final])))
def test_what_is_not_over_changes_nothing(kind: T, state: S) -> None:
    assert outcome(kind, state) is NOTHING


@pytest.mark.parametrize(
    ("kind", "state", "chain", "instances"),
    [
        (T.CHAIN_CREATE, S.COMPLETED, C.INSTANTIATED, I.INSTANTIATED),
        (T.CHAIN_CREATE, S.FAILED, C.FAILED, I.INSTANTIATED),
        (T.CHAIN_TERMINATE, S.COMPLETED, C.NOT_INSTANTIATED, I.NOT_INSTANTIATED),
        (T.CHAIN_TERMINATE, S.FAILED, C.FAILED, None),
        (T.CHAIN_TERMINATE, S.ROLLED_BACK, None, None),
        (T.INSTANTIATE, S.COMPLETED, None, I.INSTANTIATED),
        (T.INSTANTIATE, S.FAILED, None, I.INSTANTIATED),
        (T.INSTANTIATE, S.ROLLED_BACK, None, None),
        (T.TERMINATE, S.COMPLETED, None, I.NOT_INSTANTIATED),
        (T.TERMINATE, S.FAILED, None, None),
        (T.TERMINATE, S.ROLLED_BACK, None, None),
    ],
)
def test_what_is_over_leaves_what_may_exist_terminable(kind: T, state: S, chain: C | None, instances: I | None) -> None:
    found = outcome(kind, state)
    assert (found.chain, found.instances, found.forget) == (chain, instances, False)


def test_a_chain_that_was_rolled_back_never_was() -> None:
    assert outcome(T.CHAIN_CREATE, S.ROLLED_BACK).forget
    every = [(k, s) for k in OFFERED for s in FINAL if outcome(k, s).forget]
    assert every == [(T.CHAIN_CREATE, S.ROLLED_BACK)]
