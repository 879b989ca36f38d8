"""How a question that takes long says how far it is."""

from __future__ import annotations

from collections.abc import Callable

NOTHING_RUNS = "nothing runs"

Say = Callable[[int, int, str], None]
"""Takes how much of how much is done, and what is being done; of nothing, why there is nothing to do."""


def no_word(_done: int, _total: int, _doing: str) -> None:
    """For who does not want to know."""
