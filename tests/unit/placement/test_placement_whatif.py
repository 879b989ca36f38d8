"""Hosts drained or gone, and chains that would lie better: worked out on a copy, true when done."""

from __future__ import annotations

from typing import Any

import format_checker
import format_clouds
import pytest

from vnfm.model.problem import ProblemError
from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.placer import Placer
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement_io import parse_chain, parse_instance
from vnfm.placement.whatif import cheaper, without


def filled(seed: int) -> tuple[Placer, format_checker.Ledger, dict[str, Any]]:
    cloud = format_clouds.make("dc100", seed, chains=0)
    placer, ledger = Placer(Book(build_estate(parse_instance(cloud)))), format_checker.Ledger(cloud)
    chains = {}
    for chain in format_clouds.requests("dc100", seed, 25):
        answer = placer.place(parse_chain(chain, placer.book.estate.instance))
        if answer.accepted:
            assert ledger.add(chain, answer_dict(answer)) == []
            chains[chain["id"]] = chain
    return placer, ledger, chains


def test_a_drained_zone_is_left_and_the_new_places_hold() -> None:
    placer, ledger, chains = filled(4)
    gone = {n.id for n in placer.book.estate.instance.nodes if n.zone == "s0-z0"}
    before = placer.book.left[0].copy()
    then = without(placer, gone)
    assert then.moves
    assert placer.book.left[0] == before
    for name in (*[m.before.id for m in then.moves], *[a.id for a in then.lost]):
        ledger.remove(name)
    for move in then.moves:
        assert not gone & {p.node for p in move.after.vnfs.values()}
        assert ledger.add(chains[move.after.id], answer_dict(move.after)) == []
    assert all(a.reason for a in then.lost)
    assert len(then.moves) + len(then.lost) < len(chains)


def test_what_is_proposed_to_be_moved_is_cheaper_by_what_is_said() -> None:
    placer, ledger, chains = filled(5)
    for name in list(chains)[: len(chains) // 2]:  # leave holes that others would rather have had
        placer.release(name)
        ledger.remove(name)
    moves = cheaper(placer, 3)
    for move in moves:
        before = ledger.cost()
        ledger.remove(move.before.id)
        assert ledger.add(chains[move.after.id], answer_dict(move.after)) == []
        assert move.saved == before - ledger.cost() > 0
    assert len(moves) <= 3


def test_a_node_that_is_not_there_cannot_be_drained() -> None:
    placer, _, _ = filled(6)
    with pytest.raises(ProblemError, match="no node nowhere"):
        without(placer, ["nowhere"])
