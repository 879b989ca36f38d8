"""The progress of an operation on stderr: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vnfm.cli.output import say
from vnfm.pb.nfvo.v1 import nfvo_pb2

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from vnfm.cli.waiting import Watcher

RUNNING = frozenset({"STARTED", "UNDO_STARTED", "RUNNING"})
FAILED = frozenset({"FAILED", "UNDO_FAILED"})
QUIET = frozenset({"PENDING", ""})
SHOWN_STEPS = 8


@contextmanager
def display(op: nfvo_pb2.VnfLcmOpOcc) -> Iterator[Watcher]:
    """The display that fits stderr."""
    if not sys.stderr.isatty():
        lines = PlainLines()
        lines.update(op)
        yield lines
        return
    from rich.live import Live

    from vnfm.cli.output import console

    screen = console(sys.stderr)
    board = Board(screen)
    board.update(op)
    with Live(get_renderable=board.render, console=screen, refresh_per_second=8, transient=True):
        yield board


def elapsed_s(op: nfvo_pb2.VnfLcmOpOcc, now: float) -> float:
    """Seconds since the operation started, by the manager's own stamp."""
    return max(0.0, now - op.started_at.seconds - op.started_at.nanos / 1e9) if op.started_at.seconds else 0.0


def step_word(step: nfvo_pb2.StepView) -> str:
    """A step and its latest word on one line."""
    return f"{step.name}: {step.detail}" if step.detail else step.name


class PlainLines:
    """A line for each change that matters; for logs and pipes."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._head = ""

    def update(self, op: nfvo_pb2.VnfLcmOpOcc) -> None:
        """Print the steps that changed since the last time."""
        at = f"{elapsed_s(op, time.time()):6.1f} s {op.progress_percent:3d} %"
        head = f"{op.operation} {op.target} {op.state}"
        if head != self._head:
            say(f"{at}  {head}")
            if not self._head:
                self._skip_what_is_done(op)
            self._head = head
        for step in op.steps:
            if self._states.get(step.name, "") == step.state or step.state in QUIET:
                continue
            self._states[step.name] = step.state
            if step.state not in RUNNING:
                say(f"{at}  {step.state.lower().replace('_', ' '):12} {step_word(step)} ({step.seconds:.1f} s)")

    def _skip_what_is_done(self, op: nfvo_pb2.VnfLcmOpOcc) -> None:
        """Whoever comes late gets one line for all that was done before."""
        done = [s.name for s in op.steps if s.state == "DONE"]
        if len(done) > 1:
            self._states |= dict.fromkeys(done, "DONE")
            self.note(f"{len(done)} of {len(op.steps)} steps were done before")

    def note(self, text: str) -> None:
        """A line of its own."""
        say(f"          {text}")


class Board:
    """A bar and the steps that are running now."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._op = nfvo_pb2.VnfLcmOpOcc()
        self._note = ""
        self._heard_at = time.monotonic()

    def update(self, op: nfvo_pb2.VnfLcmOpOcc) -> None:
        """Takes the operation as it is now."""
        self._op = op
        self._note = ""
        self._heard_at = time.monotonic()

    def note(self, text: str) -> None:
        """Stays until the operation is heard of again; the return is kept above the display."""
        self._note = text
        self._screen.print(f"[yellow]{text}[/]")

    def render(self) -> RenderableType:
        """What is on the screen at this moment."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        op = self._op
        head = Table.grid(padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column(width=28)
        head.add_column(no_wrap=True)
        done = sum(1 for s in op.steps if s.state == "DONE")
        head.add_row(
            Text(f"{op.operation} {op.target}", style="bold"),
            ProgressBar(total=100, completed=op.progress_percent, width=28),
            Text(f"{op.progress_percent:3d} %  {done}/{len(op.steps)} steps  {elapsed_s(op, time.time()):.1f} s"),
        )
        rows: list[RenderableType] = [head]
        if op.state not in ("PROCESSING", "STARTING"):
            rows.append(Text(f"  {op.state}", style="yellow"))
        running = [s for s in op.steps if s.state in RUNNING]
        since = time.monotonic() - self._heard_at
        for step in running[:SHOWN_STEPS]:
            line = Text(f"{step_word(step)}  {step.seconds + since:.1f} s", overflow="ellipsis", no_wrap=True)
            rows.append(Spinner("dots", text=line, style="cyan"))
        if len(running) > SHOWN_STEPS:
            rows.append(Text(f"  and {len(running) - SHOWN_STEPS} more", style="dim"))
        rows += [Text(f"✗ {step_word(s)}", style="red") for s in op.steps if s.state in FAILED]
        if self._note:
            rows.append(Text(f"  {self._note}", style="yellow"))
        return Group(*rows)
