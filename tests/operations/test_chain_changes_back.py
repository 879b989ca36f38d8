"""Changes of a running chain: every step x every misfortune, and a rollback ends as it was before."""

from __future__ import annotations

import pytest
from change_acts import CASES, IDS, Act
from change_walks import survive
from operation_world import Mode


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("act", "step"), CASES, ids=IDS)
def test_a_change_survives_and_goes_back(play, act: Act, step: str, mode: Mode) -> None:
    play(lambda world: survive(world, act, step, mode, back=True))
