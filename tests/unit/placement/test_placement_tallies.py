"""What is kept to explain plans is what would be worked out anew, whatever came and went meanwhile."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from placement_builders import ALL, GIB, Isolation, Runtime, chain, cloud, demand, host, planned, worker

from vnfm.placement import why as told
from vnfm.placement.choice import choices
from vnfm.placement.inventory import Cell
from vnfm.placement.marks import CLOSED, FITS, ROOM, Marked
from vnfm.placement.request import Demand, Request, Rule, RuleKind, Scope
from vnfm.placement.seek import solve
from vnfm.placement.snapshot import Snapshot
from vnfm.placement.tallies import Tally
from vnfm.placement.task import task_of


def hosts_of_all_kinds() -> Snapshot:
    servers = [
        host(f"s{n}", cells=(Cell(2_000, 2 * GIB), Cell(1_000, GIB))[: 1 + n % 2], runtimes=ALL - {Runtime.VM})
        for n in range(6)
    ]
    return cloud(*servers, *(worker(f"w{n}", f"s{n}", cpu=1_000) for n in range(2)))


def asked(kind: int) -> Demand:
    of = [
        demand("plain", cpu_milli=500),
        demand("strict", cpu_milli=500, numa_strict=True),
        demand("alone", cpu_milli=500, isolation=Isolation.TENANT, artefacts=[Runtime.CONTAINER]),
        demand("theirs", cpu_milli=500, tenant="red", isolation=Isolation.TENANT),
    ]
    return of[kind]


def everything(marked: Marked, size: int) -> object:
    return (
        [[m[node] for node in range(size)] for m in (*marked.ways, *marked.by_word.values(), marked.best)],
        [m.counts for m in (*marked.ways, *marked.by_word.values(), marked.best)],
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_kept_tally_is_like_one_made_anew(seed: int) -> None:
    rng, snapshot, held = random.Random(seed), hosts_of_all_kinds(), []
    for turn in range(30):
        kind = rng.randrange(4)
        one = replace(asked(kind), id=f"{turn}")
        with snapshot.kept.lock:
            for watched in map(asked, range(4)):
                task = task_of(Request(watched.tenant, (watched,)), snapshot)
                opening, tenant = task.openings[watched.id], task.desk.book.tenant(watched.tenant)
                anew = Tally(opening, tenant, task.desk.book, task.desk.nodes)
                size = task.desk.book.estate.size
                kept = task.offers.tally(opening, tenant)
                assert everything(kept.marked(), size) == everything(anew.marked(), size)
            sought = solve(task_of(Request(one.tenant, (one,)), snapshot))
        if sought.draft is not None and rng.random() < 0.7:
            plan = planned(Request(one.tenant, (one,)), snapshot)
            snapshot = snapshot.holding(plan.reservations)
            held.append(one.id)
        elif held:
            snapshot = snapshot.releasing([held.pop(rng.randrange(len(held)))])


def test_a_view_leaves_what_it_is_of_as_it_is() -> None:
    snapshot = cloud(host("a"), host("b"))
    with snapshot.kept.lock:
        task = task_of(Request("blue", (demand(),)), snapshot)
        tally = task.offers.tally(task.openings["fw-0"], task.desk.book.tenant("blue"))
    kept, view = tally.marked(), tally.beside(None)
    view.put(0, 0, ROOM)
    assert view.ways[0][0] == ROOM
    assert view.ways[0].counts[ROOM] == 1
    assert view.ways[0].first(ROOM) == 0
    assert view.ways[0].first(FITS) == 1
    assert kept.ways[0][0] == FITS
    assert kept.ways[0].counts[ROOM] == 0
    assert kept.ways[0].first(ROOM) is None
    assert kept.ways[0].first(CLOSED) is None


def test_like_vnfs_share_a_story_that_is_the_one_each_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = cloud(*(host(f"h{n}", rack=f"r{n // 3}") for n in range(12)))
    request = chain(*(demand(f"v{n}") for n in range(5)))
    with snapshot.kept.lock:
        sought = solve(task_of(request, snapshot))
        shared = told.whys(sought, choices(sought))
        stories = {id(w.reasons) for w in shared.values()}
        monkeypatch.setattr(told, "_likeness", lambda sought, demand: None)
        assert told.whys(sought, choices(sought)) == shared
    assert len(stories) < len(shared)


def test_what_a_rule_is_about_has_a_story_of_its_own() -> None:
    snapshot = cloud(*(host(f"h{n}") for n in range(12)))
    vnfs = [demand(f"v{n}") for n in range(3)]
    rule = Rule("r", RuleKind.ANTI_AFFINITY, Scope.NFVI_NODE, (("v0-0",), ("v1-0",)))
    plan = planned(chain(*vnfs, rules=(rule,)), snapshot)
    assert [any("apart from" in text for text in a.reasons) for a in plan.assignments] == [True, True, False]
