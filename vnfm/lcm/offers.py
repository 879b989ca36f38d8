"""Whether a VIM can do what a chain asks of it: said when it is planned, not when the path is built. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from vnfm.model.problem import problem

STEER = "STEER"
BALANCE = "BALANCE"
Capabilities = Mapping[str, frozenset[str]]
UNTOLD: Capabilities = {}
_MEANING = {
    STEER: "chains that change while they run, nor paths that fork",
    BALANCE: "several instances at a hop",
}


def need(capabilities: Capabilities, vim: str, capability: str, about: str) -> None:
    """Raises ProblemError `unsupported`. A VIM that has not said what it offers is asked later, by the call itself."""
    if vim in capabilities and capability not in capabilities[vim]:
        raise problem(
            "unsupported",
            f"{about}: VIM {vim} does not offer {_MEANING[capability]} (CAPABILITY_{capability})",
            instance=vim,
        )
