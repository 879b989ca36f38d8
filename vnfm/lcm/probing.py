"""A path is probed through all the VIMs that it lies in: the first sends, all count, and the counts are put together.

The VIMs behind the first one look for the packets before any is sent; how many of them arrived where is asked once the
sender knows which packets count. A VIM that cannot count leaves a gap: what went into it and what came out of it tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from vnfm.lcm.ports import Counting, Vims
from vnfm.lcm.steps import ProbeOrder
from vnfm.model.problem import ProblemError
from vnfm.model.resources import Handle, HopCount, Owner, Passing, ProbeResult

TOKEN_BYTES = 16
ATTEMPTS = 5
PAUSE_S = 0.5  # until a plugin that was lost is known to be
LOST = ("vim-unreachable", "vim-failed")


async def probe(
    vims: Vims,
    vim: str,
    order: ProbeOrder,
    owner: Owner,
    handle: Callable[[str], Handle],
    *,
    trace: bool = False,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ProbeResult:
    """Packets along the path that begins in this VIM; again from the start where a VIM that counts is lost meanwhile.
    Raises ProblemError as the VIMs do."""
    if not order.beyond:
        path = handle(order.path_id)
        return await vims.get(vim).probe_path(path, owner, order.packets, order.patience_s, trace)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _over_all(vims, vim, order, owner, handle, trace, random_bytes(TOKEN_BYTES))
        except ProblemError as error:
            if error.problem.word not in LOST or attempt == ATTEMPTS:
                raise
        await sleep(PAUSE_S)
    raise AssertionError("unreachable: the last attempt ends the probe")


async def _over_all(
    vims: Vims,
    vim: str,
    order: ProbeOrder,
    owner: Owner,
    handle: Callable[[str], Handle],
    trace: bool,
    token: bytes,
) -> ProbeResult:
    first, path = vims.get(vim), handle(order.path_id)
    async with contextlib.AsyncExitStack() as stack:
        counts: list[Counting | None] = []
        for piece in order.beyond:
            counting = vims.get(piece.vim).count_probe(handle(piece.path_id), owner, token)
            try:
                counts.append(await stack.enter_async_context(counting))
            except ProblemError as error:
                if error.problem.word != "not-offered":
                    raise
                counts.append(None)
        sent = await first.probe_path(path, owner, order.packets, order.patience_s, trace, token, order.destination)
        if sent.unsupported:
            return sent
        seen = [await c.counts(sent.first_sequence, order.packets, trace) if c else None for c in counts]
    return together(sent, seen)


def together(sent: ProbeResult, beyond: Sequence[ProbeResult | None]) -> ProbeResult:
    """One result out of those of the pieces, which begin and end at edges; None where a VIM cannot count.

    Whole round trips are timed at each hop by one clock, so that times may be subtracted over VIMs: what lies between
    two hops is what one sees beyond it less what the next one sees.
    """
    passings = sent.passings
    for piece in beyond:
        passings = _aligned(passings, piece.passings if piece else ())
    complete = sent.complete and all(piece.complete for piece in beyond if piece is not None)
    return replace(sent, hops=tuple(_stitched(sent, beyond)), complete=complete, passings=passings)


def _stitched(sent: ProbeResult, beyond: Sequence[ProbeResult | None]) -> list[HopCount]:
    """Pairs of neighbours, also over the borders. A piece that was not counted shows as one step of those beside it."""
    done = list(sent.hops)
    for piece in beyond:
        if piece is None or not piece.hops:
            continue
        left, (entered, *inner) = done.pop(), piece.hops
        rtt_us = max(0, left.rtt_us - piece.rtt_us) if left.rtt_us else 0
        done.append(HopCount(left.from_, entered.to, left.sent, entered.received, rtt_us))
        done += inner
    return done


def _aligned(known: Sequence[Passing], more: Sequence[Passing]) -> tuple[Passing, ...]:
    """The passings of a further piece on the first one's clock: the time that neither accounts for is spent half on the
    way there and half on the way back."""
    there = [p for p in known if not p.reply]
    back = [p for p in known if p.reply]
    if not (there and back and more):
        return tuple(known)
    begun, ended = max(p.at_ns for p in there), min(p.at_ns for p in back)
    spent = max(p.at_ns for p in more) - min(p.at_ns for p in more)
    shift = begun + max(0, (ended - begun - spent) // 2) - min(p.at_ns for p in more)
    moved = tuple(replace(p, at_ns=p.at_ns + shift) for p in more)
    return tuple(sorted((*known, *moved), key=lambda p: p.at_ns))
