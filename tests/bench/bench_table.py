"""The table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from bench_rows import Row
from rich.console import Console
from rich.table import Table

WIDTH = 100


def show(rows: Sequence[Row], seconds: float, loads: str) -> None:
    """All rows, with what has to hold and whether it does."""
    table = Table(title=f"vnfm bench ({seconds:.0f} s; load {loads})", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for title in ("value", "by hand", "ratio", "must", "goal"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        bound = row.bound
        table.add_row(
            row.name,
            _number(row.value, row.unit),
            _number(row.baseline, row.unit),
            _number(row.ratio, "×"),
            bound.words(bound.must, row.unit) if bound else "",
            bound.words(bound.goal, row.unit) if bound else "",
            _verdict(row),
        )
    console = Console()
    if console.width < WIDTH:  # a pipe, or a narrow terminal: figures are not to be cut off
        console = Console(width=WIDTH)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"[bold]{row.name}[/]: ", row.note, sep="", markup=True, highlight=False)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}" if unit != "×" else f"{value:.2f}×"


def _verdict(row: Row) -> str:
    if row.failed:
        return "[red]failed[/]"
    if row.met_goal is None:
        return "[dim]–[/]"
    if row.met_must is False:
        return "[red]missed[/]"
    return "[green]goal[/]" if row.met_goal else "[yellow]goal missed[/]"
