"""How good the answers are: gaps to proved optima, and refusals that are proved."""

from __future__ import annotations

import statistics
from itertools import product

from format_checker import check
from format_clouds import make, requests
from placement_optima import proved
from placement_rows import Bound, Row, Say, row
from placement_speed import Ran, cloud, parsed, run

from vnfm.placement.book import Book
from vnfm.placement.estate import build_estate
from vnfm.placement.optimal.books import Books
from vnfm.placement.optimal.cloud import Cloud
from vnfm.placement.optimal.model import Model
from vnfm.placement.optimal.process import solve
from vnfm.placement.placer import Placer
from vnfm.placement.solution_io import solution_dict
from vnfm.placement.statement import Solution
from vnfm.placement.statement_io import parse_instance

BATCH_S = 10.0


def gap(objective: int, optimum: int) -> float:
    """In percent of the optimum."""
    return 100 * (objective - optimum) / optimum


def one_by_one(rounds: int, large: int, say: Say) -> list[Row]:
    """Chains in the order they come, each placed for good, against the optimum of all at once."""
    rows = []
    for family in ("tiny", "small", "tight"):
        gaps = []
        for raw, optimum in proved(family):
            instance = parse_instance(raw)
            answers = run(build_estate(instance), instance.chains).answers
            verdict = check(raw, solution_dict(Solution(instance.name, tuple(answers))))
            assert not verdict.violations, verdict.violations
            gaps.append(gap(verdict.objective, optimum))
        if gaps:
            bound = Bound(1.5, 1.0, "lower") if family != "tight" else Bound(60.0, 20.0, "lower")
            note = f"against all at once; largest {max(gaps):.1f} %, for a refused chain costs its value; {len(gaps)} instances"
            rows.append(row(f"gap_chain_{family}", "%", bound, gaps, note=note))
            say(f"gap one by one, {family}: median {statistics.median(gaps):.2f} %, {note}")
    return rows


def each(rounds: int, large: int, say: Say) -> list[Row]:
    """Each chain in the state in which it comes, against the proved optimum of just that chain there."""
    gaps = []
    for family, seed in product(("tiny", "small", "tight"), range(3 * large)):
        instance = parse_instance(make(family, seed))
        room, placer = Cloud(instance), Placer(Book(build_estate(instance)))
        books = Books(room)
        for chain in instance.chains:
            before = books.objective() - chain.value
            result = Model(books, [chain], range(len(room.nodes))).solve(10.0, threads=1, seed=1)
            answer = placer.place(chain)
            if answer.accepted:
                books.add(answer)
            if result.proved and result.laid:
                gaps.append(gap(books.objective() - before, round(result.bound) - before))
    exact = sum(g < 1e-9 for g in gaps)
    note = f"{len(gaps)} chains (tiny, small, tight), {exact} at their optimum, largest gap {max(gaps):.1f} %"
    say(f"gap of each chain: {statistics.median(gaps):.2f} %, {note}")
    return [row("gap_each_chain", "%", Bound(1.5, 1.0, "lower"), gaps, note=note)]


def batch(rounds: int, large: int, say: Say) -> list[Row]:
    """All chains at once, ten seconds."""
    gaps, unproved = [], 0
    picked = [(family, *found) for family in ("tiny", "small", "tight") for found in proved(family)[: 2 * large + 1]]
    for family, raw, optimum in picked:
        solution = solve(parse_instance(raw), BATCH_S)
        verdict = check(raw, solution_dict(solution))
        assert not verdict.violations, verdict.violations
        assert solution.objective == verdict.objective
        assert (solution.bound or 0) <= optimum, f"{raw['name']}: bound {solution.bound} above the optimum {optimum}"
        gaps.append(gap(verdict.objective, optimum))
        unproved += solution.bound != solution.objective
        say(f"batch {family} {raw['name']}: {gaps[-1]:.2f} %")
    note = f"{len(gaps)} instances (tiny, small, tight), {len(gaps) - unproved} proved within the {BATCH_S:.0f} s"
    return [
        row("gap_batch_median", "%", Bound(0.5, 0.0, "lower"), gaps, note=note),
        row("gap_batch_max", "%", Bound(10.0, 1.0, "lower"), [max(gaps)], note=note),
    ]


def refusals(rounds: int, large: int, say: Say) -> list[Row]:
    """Of the chains that are refused, in tight clouds and large ones, those where that is proved."""
    told: list[bool] = []
    for seed in range(10 * large):
        instance = parse_instance(make("tight", seed))
        told += _proofs(run(build_estate(instance), instance.chains))
    for family, count in (("dc100", 120), ("dc10k", 300 * large)):
        _, estate = cloud(family)
        told += _proofs(run(estate, parsed(estate, list(requests(family, 7, count)))))
    share = 100 * sum(told) / len(told) if told else 100.0
    say(f"refusals proved: {sum(told)} of {len(told)}")
    return [row("refusals_proved", "%", Bound(50, 95, "higher"), [share], note=f"{sum(told)} of {len(told)}")]


def _proofs(ran: Ran) -> list[bool]:
    return [bool((a.reason or {}).get("proof")) for a in ran.answers if not a.accepted]
