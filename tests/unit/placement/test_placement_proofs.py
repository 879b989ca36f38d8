"""What the fast path says of a chain holds by the exact model: a proved refusal is none that could be placed, and what
is placed is near the chain's own optimum."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from format_clouds import make, requests

pytest.importorskip("ortools", reason="the exact model needs OR-Tools (tools/setup_python.sh installs it)")

from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.optimal.books import Books
from vnfm.placement.optimal.cloud import Cloud
from vnfm.placement.optimal.model import Model, Result
from vnfm.placement.placer import Placer
from vnfm.placement.statement import Answer
from vnfm.placement.statement_io import parse_instance


def met(raw: dict[str, Any], seconds: float = 10) -> Iterator[tuple[Answer, Result, int, int]]:
    """For each chain in turn: the fast path's answer, the exact model's, and what each costs."""
    instance = parse_instance(raw)
    cloud, placer = Cloud(instance), Placer(Book(build_estate(instance)))
    books = Books(cloud)
    for chain in instance.chains:
        before = books.objective() - chain.value
        result = Model(books, [chain], range(len(cloud.nodes))).solve(seconds, threads=1, seed=1)
        answer = placer.place(chain)
        if answer.accepted:
            books.add(answer)
        yield answer, result, books.objective() - before, round(result.bound) - before


@pytest.mark.parametrize(("family", "seeds"), [("tight", 8), ("small2", 3)])
def test_a_refusal_that_is_proved_is_true(family: str, seeds: int) -> None:
    proved = 0
    for seed in range(seeds):
        raw = make(family, seed)
        raw["chains"] += list(requests(family, seed, 8))
        for answer, result, _, _ in met(raw):
            if not answer.accepted and answer.reason and answer.reason.get("proof"):
                proved += 1
                assert result.found, (raw["name"], answer.id)
                assert not result.answers, (raw["name"], answer.id, answer.reason)
    assert proved


def test_most_chains_are_placed_at_their_own_optimum() -> None:
    gaps = [
        mine / best
        for family in ("tiny", "small", "tight")
        for seed in range(4)
        for _, result, mine, best in met(make(family, seed))
        if result.proved and result.laid
    ]
    assert min(gaps) >= 1.0
    assert statistics.median(gaps) == 1.0
    assert statistics.mean(gaps) < 1.05
