"""`make bench-placement`: how fast and how well chains are placed, beside what has to hold and what is aimed at.

Prints a table and writes build/bench-placement.json. Exit code 1 where what has to hold does not, or a figure failed.
Rates and times are judged at the speed of a reference measured in the same run (see placement_rows.py).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/unit/placement")]

import placement_quality  # noqa: E402
import placement_speed  # noqa: E402
import placement_wide  # noqa: E402
from placement_rows import Bound, Row, Say  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

WIDTH = 118
Measure = Callable[[int, int, Say], list[Row]]

FIGURES: dict[str, Measure] = {
    "identical": placement_speed.identical_requests,
    "chains_1k": lambda rounds, large, say: placement_speed.chains("dc1k", rounds, large, say),
    "chains_10k": lambda rounds, large, say: placement_speed.chains("dc10k", rounds, large, say),
    "chain8": placement_speed.long_chains,
    "affinity": placement_speed.affinity_heavy,
    "gap_chain": placement_quality.one_by_one,
    "gap_each": placement_quality.each,
    "gap_batch": placement_quality.batch,
    "wide": placement_wide.acceptance,
    "refusals": placement_quality.refusals,
    "start": placement_speed.start,
    "durable": lambda rounds, large, say: [durable(say)],
}


def durable(say: Say) -> Row:
    """Chains end to end, not only placed: a manager with a simulated VIM. Imported when asked for: it loads gRPC."""
    from figure_durable import placement_row

    return placement_row(say)


def say(text: str) -> None:
    """Progress, for people."""
    sys.stderr.write(text + "\n")


def measure(names: Sequence[str], rounds: int, large: int) -> list[Row]:
    """All rows; a figure that fails gives one that says why."""
    rows: list[Row] = []
    for name in names:
        try:
            rows += FIGURES[name](rounds, large, say)
        except Exception as error:  # noqa: BLE001  the other figures are still worth having
            traceback.print_exc()
            rows.append(Row(name, "", None, note=f"{type(error).__name__}: {error}"[:300], failed=True))
    return rows


def show(rows: Sequence[Row], seconds: float, load: str) -> None:
    """The table for the terminal."""
    table = Table(title=f"vnfm placement ({seconds:.0f} s; load {load})", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for title in ("here", "judged", "must", "goal", "reference"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        reference = "" if row.reference_us is None else f"{row.reference_us:g} µs"
        here, judged = (_number(v, row.unit) for v in (row.value, row.judged))
        must, goal = ("" if row.bound is None else _limit(row.bound, x, row.unit) for x in ("must", "goal"))
        table.add_row(row.name, here, judged, must, goal, reference, _verdict(row))
    console = Console()
    if console.width < WIDTH:
        console = Console(width=WIDTH)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"[bold]{row.name}[/]: ", row.note, sep="", highlight=False)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f} {unit}" if abs(value) >= 1_000 else f"{value:g} {unit}"


def _limit(bound: Bound, which: str, unit: str) -> str:
    limit = bound.must if which == "must" else bound.goal
    return f"{'≥' if bound.better == 'higher' else '≤'} {_number(limit, unit)}"


def _verdict(row: Row) -> str:
    if row.failed:
        return "[red]failed[/]"
    if row.met("must") is None:
        return "[dim]–[/]"
    if not row.met("must"):
        return "[red]missed[/]"
    return "[green]goal[/]" if row.met("goal") else "[yellow]goal missed[/]"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="bench-placement", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--rounds", type=int, default=5, help="the medians are of so many (default 5)")
    parser.add_argument("--large", action="store_true", help="four times the requests, more instances")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench-placement.json", metavar="FILE")
    options = parser.parse_args(arguments)
    names = [n for n in FIGURES if not options.only or any(n.startswith(o) for o in options.only)]
    if not names:
        parser.error(f"--only {' '.join(options.only)}: expected a beginning of one of {', '.join(FIGURES)}")
    begun, before = time.monotonic(), os.getloadavg()[0]
    rows = measure(names, max(1, options.rounds), 4 if options.large else 1)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([r.as_json() for r in rows], indent=1, ensure_ascii=False) + "\n")
    show(rows, time.monotonic() - begun, f"{before:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 1 if any(r.failed or r.met("must") is False for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
