"""Placement within one VIM: links and paths cannot span VIMs yet, so that a plan which spreads would not be built."""

from __future__ import annotations

from dataclasses import replace

from vnfm.placement.engine import place
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.types import Plan, Refusal, Request


def place_together(request: Request, snapshot: Snapshot, *, told: bool = True) -> Plan | Refusal:
    """The best plan over all VIMs where that stays in one; else the first VIM by name that holds the whole request;
    else a refusal that says so. `told`: with the plan's reasons."""
    outcome = place(request, snapshot, told=told)
    if isinstance(outcome, Refusal) or len({a.vim for a in outcome.assignments}) <= 1:
        return outcome
    refusals: list[tuple[str, Refusal]] = []
    for vim in sorted({h.vim for h in snapshot.hosts}):
        here = tuple(replace(d, vims=frozenset({vim})) for d in request.demands)
        alone = place(replace(request, demands=here), snapshot, told=told)
        if isinstance(alone, Plan):
            return alone
        refusals.append((vim, alone))
    vim, first = refusals[0]
    said = "; ".join(f"{name}: {r.detail}" for name, r in refusals)
    detail = f"it would fit only over several VIMs, and links between VIMs are not offered; {said}"
    return replace(first, detail=detail, minimal_change=f"in VIM {vim}: {first.minimal_change}")
