"""`make bench`: what the product takes, beside what the host takes by itself, measured in turns in the same run.

Prints a table and writes build/bench.json. Exit code 1 where a bound that has to hold does not, or a figure failed.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import figure_containers  # noqa: E402
import figure_durable  # noqa: E402
import figure_heal  # noqa: E402
import figure_journal  # noqa: E402
import figure_live  # noqa: E402
import figure_manager  # noqa: E402
import figure_microvm  # noqa: E402
import figure_path  # noqa: E402
import figure_wiring  # noqa: E402
from bench_host import Workspace, load, workspace  # noqa: E402
from bench_manager import Manager, NotOfferedError, build_package  # noqa: E402
from bench_rows import Bound, Row, skipped, write_json  # noqa: E402
from bench_table import show  # noqa: E402


@dataclass
class Run:
    """What the figures of one run share: the folder, and a manager with the package, started when first needed."""

    space: Workspace
    quick: bool
    profile: bool
    _stack: ExitStack
    _manager: Manager | None = field(default=None, init=False)

    @staticmethod
    def say(text: str) -> None:
        """Progress, for people."""
        sys.stderr.write(text + "\n")

    def manager(self) -> Manager:
        """A running one, which knows the package of the hop."""
        if self._manager is None:
            manager = Manager(self.space.folder / "shared")
            self._stack.callback(manager.stop)
            manager.start()
            manager.connected()
            manager.ask("package", "onboard", str(build_package(self.space)))
            self._manager = manager
        return self._manager


@dataclass(frozen=True)
class Figure:
    """Something to measure: the rows that it gives (name, unit, bound), and how."""

    rows: tuple[tuple[str, str, Bound | None], ...]
    measure: Callable[[Run], list[Row]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its rows."""
        return tuple(name for name, _, _ in self.rows)


FIGURES = (
    Figure(figure_manager.ROWS, lambda r: figure_manager.figure(r.space, r.quick, r.profile, r.say)),
    Figure(figure_journal.ROWS, lambda r: figure_journal.figure(r.space, r.quick, r.say)),
    Figure(figure_durable.ROWS, lambda r: figure_durable.figure(r.space, r.quick, r.profile, r.say)),
    Figure(figure_wiring.ROWS, lambda r: figure_wiring.figure(r.space, r.quick, r.say)),
    Figure(figure_path.ROWS, lambda r: figure_path.figure(r.space, r.quick, r.say)),
    Figure(
        figure_containers.ROWS,
        lambda r: figure_containers.figure(r.space, r.manager(), r.quick, r.profile, r.say),
    ),
    Figure(figure_live.ROWS, lambda r: figure_live.figure(r.space, r.manager(), r.quick, r.say)),
    Figure(figure_heal.ROWS, lambda r: figure_heal.figure(r.space, r.manager(), r.quick, r.say)),
    Figure(figure_microvm.ROWS, lambda r: figure_microvm.figure(r.space, r.quick, r.say)),
)


def wanted(only: Sequence[str]) -> list[Figure]:
    """Figures with a row whose name begins so; all where nothing is said."""
    return [f for f in FIGURES if not only or any(n.startswith(o) for n in f.names for o in only)]


def measure(run: Run, figures: Sequence[Figure]) -> list[Row]:
    """All rows; a figure that fails gives rows that say why."""
    rows: list[Row] = []
    for figure in figures:
        begun = time.monotonic()
        try:
            rows += figure.measure(run)
        except NotOfferedError as error:
            run.say(f"{', '.join(figure.names)}: skipped: {error}")
            rows += [skipped(name, unit, bound, str(error)) for name, unit, bound in figure.rows]
        except Exception as error:  # noqa: BLE001  the other figures are still worth having
            traceback.print_exc()
            why = f"failed: {type(error).__name__}: {error}"[:400]
            rows += [Row(name, unit, bound, note=why, failed=True) for name, unit, bound in figure.rows]
        run.say(f"({', '.join(figure.names)}: {time.monotonic() - begun:.0f} s, load {load()})")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    names = [name for figure in FIGURES for name in figure.names]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it runs, not for the record")
    parser.add_argument("--profile", action="store_true", help="say where the time of containers_* and manager_* goes")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json", metavar="FILE")
    options = parser.parse_args(arguments)
    figures = wanted(options.only)
    if not figures:
        parser.error(f"--only {' '.join(options.only)}: expected a beginning of one of {', '.join(names)}")
    begun, load_before = time.monotonic(), load()
    try:
        with workspace() as space:
            with ExitStack() as stack:
                rows = measure(Run(space, options.quick, options.profile, stack), figures)
            if left := space.standing():
                sys.stderr.write("left behind, now swept away:\n  " + "\n  ".join(left) + "\n")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; everything of this run is cleared away\n")
        return 130
    write_json(options.json, rows)
    show(rows, time.monotonic() - begun, f"{load_before} before, {load()} after")
    return 1 if any(row.failed or row.met_must is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
