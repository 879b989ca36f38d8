"""Streams of generated requests that come and go: no answer ever breaks a constraint, by a checker that knows only the
format; what is released is free again to the last unit; the same questions get the same bytes."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from format_checker import Ledger
from format_clouds import make, requests

from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.kinds import Kinds
from vnfm.placement.placer import Placer
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement_io import parse_chain, parse_instance

FAMILIES = ("tiny", "small", "tight", "small2", "mid", "dc100")


def placer_of(raw: dict[str, Any]) -> Placer:
    """On the empty cloud."""
    return Placer(Book(build_estate(parse_instance(raw))))


def free(placer: Placer) -> tuple[object, ...]:
    """Everything that a chain may take."""
    book = placer.book
    kernels = book.sharer.tolist(), book.guarded.tolist()
    return book.left, book.cell_left, book.bandwidth, book.licences, book.on_left, book.free.tolist(), kernels


def stream(family: str, seed: int, count: int) -> tuple[int, int]:
    """Chains come, and half of those placed go again; how many were asked and accepted."""
    raw = make(family, seed, chains=0)
    placer, ledger, dice = placer_of(raw), Ledger(raw), random.Random(seed)
    instance = placer.book.estate.instance
    untouched = deepcopy(free(placer))
    accepted = 0
    for chain in requests(family, seed, count):
        answer = placer.place(parse_chain(chain, instance))
        if answer.accepted:
            accepted += 1
            found = ledger.add(chain, json.loads(json.dumps(answer_dict(answer))))
            assert found == [], (raw["name"], chain["id"], found)
        while ledger.placed and dice.random() < 0.5:
            name = dice.choice(sorted(ledger.placed))
            ledger.remove(name)
            placer.release(name)
    for name in sorted(ledger.placed):
        placer.release(name)
    assert free(placer) == untouched
    return count, accepted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_of_requests_breaks_nothing_and_leaves_nothing(family: str) -> None:
    asked, accepted = stream(family, 1, 150)
    assert accepted > asked / 5


def test_costs_kept_up_part_by_part_are_those_worked_out_anew() -> None:
    raw = make("dc1k", 3, chains=0)
    placer, dice = placer_of(raw), random.Random(3)
    book = placer.book
    assert len(book.estate.sectors) > 1
    asked = [parse_chain(c, book.estate.instance) for c in requests("dc1k", 3, 24)]
    kinds = {v.id + c.id: placer.kinds.of(v, book.tenant(c.tenant)) for c in asked for v in c.vnfs}
    held: list[str] = []
    for chain in asked:
        if placer.place(chain).accepted:
            held.append(chain.id)
        if held and dice.random() < 0.3:
            placer.release(held.pop(dice.randrange(len(held))))
        kinds[chain.vnfs[0].id + chain.id].refresh(book, [dice.randrange(len(book.logs))])
    for chain in asked:
        for vnf in chain.vnfs:
            kept, anew = kinds[vnf.id + chain.id], Kinds(book).of(vnf, book.tenant(chain.tenant))
            kept.refresh(book)
            anew.refresh(book)
            fits = anew.score < anew.never
            assert (fits == (kept.score < kept.never)).all()
            assert (kept.score[fits] == anew.score[fits]).all()
            assert (np.minimum(kept.dock_score, kept.never) == np.minimum(anew.dock_score, anew.never)).all()
            assert anew.floor <= anew.score.min(initial=anew.never)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_requests_break_nothing() -> None:
    asked = seed = 0
    while asked < 100_000:
        asked += stream(FAMILIES[seed % len(FAMILIES)], 1_000 + seed, 400)[0]
        seed += 1


@pytest.mark.parametrize("family", ["small", "tight", "dc100"])
def test_the_same_questions_get_the_same_bytes_in_whatever_order_the_cloud_is_told(family: str) -> None:
    raw = make(family, 5)
    shuffled = deepcopy(raw)
    dice = random.Random(5)
    for part in ("nodes", "links", "switches", "licences"):
        dice.shuffle(shuffled[part])

    def answers(instance: dict[str, Any]) -> str:
        placer = placer_of(instance)
        chains = [parse_chain(c, placer.book.estate.instance) for c in raw["chains"]]
        return json.dumps([answer_dict(placer.place(c)) for c in chains])

    assert answers(raw) == answers(raw) == answers(shuffled)
