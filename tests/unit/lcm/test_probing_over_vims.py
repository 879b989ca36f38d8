"""Counts of several VIMs put together, and paths cut where one VIM ends and the next begins. Plain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from vnfm.lcm.borders import Placed, cut, piece_name, pieces_of
from vnfm.lcm.probing import probe, together
from vnfm.lcm.steps import PathPiece, ProbeOrder
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError, problem
from vnfm.model.resources import Handle, HopCount, HopSpec, Owner, Passing, ProbeResult

CONTAINER = Runtime.CONTAINER


def hop(name: str, runtime: Runtime | None = CONTAINER) -> HopSpec:
    return HopSpec(name, f"id-{name}", runtime, "in" if name != "client" else "", "out" if name != "server" else "")


def result(*hops: HopCount, complete: bool = True, rtt_us: int = 0, passings: tuple[Passing, ...] = ()) -> ProbeResult:
    return ProbeResult(hops, complete, rtt_us, passings=passings)


def passing(name: str, at_ns: int, *, reply: bool = False, leaving: bool = False) -> Passing:
    return Passing(name, "cp", f"id-{name}", reply, leaving, at_ns)


FIRST = result(HopCount("client", "fw", 5, 5, 40), HopCount("fw", "to b", 5, 5, 960), rtt_us=1000)
MIDDLE = result(HopCount("from a", "vm", 5, 5, 0), HopCount("vm", "to a", 5, 5, 300), rtt_us=300)
LAST = result(HopCount("from b", "gw", 5, 5, 0), HopCount("gw", "server", 5, 5, 90), rtt_us=90)


def test_pairs_over_a_border_have_what_left_and_what_arrived() -> None:
    """And the times of all pairs add up to the whole, whatever clocks the VIMs have."""
    made = together(FIRST, [LAST])
    assert [(h.from_, h.to) for h in made.hops] == [("client", "fw"), ("fw", "gw"), ("gw", "server")]
    assert [h.rtt_us for h in made.hops] == [40, 870, 90]
    assert sum(h.rtt_us for h in made.hops) == made.rtt_us == 1000
    assert made.complete


def test_a_path_through_a_third_vim_and_back() -> None:
    made = together(FIRST, [MIDDLE, LAST])
    assert [(h.from_, h.to, h.rtt_us) for h in made.hops] == [
        ("client", "fw", 40),
        ("fw", "vm", 660),
        ("vm", "gw", 210),
        ("gw", "server", 90),
    ]


def test_a_vim_that_cannot_count_leaves_a_gap() -> None:
    made = together(FIRST, [None, LAST])
    assert [(h.from_, h.to) for h in made.hops] == [("client", "fw"), ("fw", "gw"), ("gw", "server")]
    assert made.complete


def test_what_came_back_but_was_not_counted_everywhere_is_not_complete() -> None:
    lossy = result(HopCount("from a", "gw", 3, 3, 0), HopCount("gw", "server", 3, 3, 0), complete=False)
    made = together(FIRST, [lossy])
    assert not made.complete
    assert [(h.sent, h.received) for h in made.hops] == [(5, 5), (5, 3), (3, 3)]


def test_passings_are_put_on_one_clock() -> None:
    """The two VIMs' clocks are an hour apart; what neither accounts for is spent half on each way."""
    hour = 3_600_000_000_000
    there = (passing("fw", 0, leaving=True), passing("fw", 1000, reply=True))
    far = (passing("gw", hour), passing("gw", hour + 600, reply=True, leaving=True))
    made = together(result(HopCount("fw", "to b", 1, 1, 1), passings=there), [result(passings=far)])
    assert [(p.hop, p.reply, p.at_ns) for p in made.passings] == [
        ("fw", False, 0),
        ("gw", False, 200),
        ("gw", True, 800),
        ("fw", True, 1000),
    ]


class Vims:
    """Of `b` the first so many counts are lost; what was asked is kept."""

    def __init__(self, lost: int, word: str = "vim-unreachable") -> None:
        self.lost = lost
        self.word = word
        self.tokens: list[bytes] = []

    def get(self, name: str) -> Any:
        return self

    async def probe_path(self, *args: Any) -> ProbeResult:
        assert args[-1] == "10.9.0.2"
        assert args[-2] == self.tokens[-1]
        return FIRST

    @asynccontextmanager
    async def count_probe(self, path: Handle, owner: Owner, token: bytes) -> AsyncIterator[Any]:
        self.tokens.append(token)
        if len(self.tokens) <= self.lost:
            raise problem(self.word, "gone")
        yield self

    async def counts(self, first_sequence: int, packets: int, trace: bool) -> ProbeResult:
        return LAST


def probed(vims: Vims) -> ProbeResult:
    tokens = iter(bytes([n]) * 16 for n in range(9))

    async def at_once(seconds: float) -> None:
        pass

    order = ProbeOrder("p", 5, 1.0, (PathPiece("b", "p1"),), "10.9.0.2")
    return asyncio.run(
        probe(vims, "a", order, Owner("t"), Handle, random_bytes=lambda _: next(tokens), sleep=at_once)  # type: ignore[arg-type]
    )


def test_a_count_that_was_lost_is_begun_anew_with_another_token() -> None:
    vims = Vims(lost=2)
    assert probed(vims).complete
    assert len(set(vims.tokens)) == 3


def test_a_vim_that_stays_lost_ends_the_probe() -> None:
    with pytest.raises(ProblemError, match="gone"):
        probed(Vims(lost=99))


def test_a_vim_that_does_not_count_is_passed_over() -> None:
    vims = Vims(lost=99, word="not-offered")
    assert [(h.from_, h.to) for h in probed(vims).hops] == [("client", "fw"), ("fw", "to b")]
    assert len(vims.tokens) == 1


def test_a_path_is_cut_where_the_vim_changes() -> None:
    ends = (hop("client", None), hop("server", None))
    placed = [
        Placed(ends[0], "a", "l1", "l1"),
        Placed(hop("fw"), "a", "l1", "l2a"),
        Placed(hop("vm"), "b", "l2b", "l3b"),
        Placed(ends[1], "a", "l3a", "l3a"),
    ]
    told = [(vim, [(h.name, h.resource_id, h.edge) for h in hops]) for vim, hops in cut(placed)]
    assert told == [
        ("a", [("client", "id-client", False), ("fw", "id-fw", False), ("to b", "l2a", True)]),
        ("b", [("from a", "l2b", True), ("vm", "id-vm", False), ("to a", "l3b", True)]),
        ("a", [("from b", "l3a", True), ("server", "id-server", False)]),
    ]
    assert len(cut(placed[:2])) == 1


def test_pieces_are_named_after_their_path() -> None:
    names = [piece_name("web", n) for n in range(3)]
    assert names == ["web", "web/1", "web/2"]
    assert pieces_of("web", ["rest", *reversed(names)]) == names
