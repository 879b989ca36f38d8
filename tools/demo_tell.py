"""The demo's voice: numbered steps with their times, commands as a reader would type them, plain lines."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


class StoryError(Exception):
    """The demo cannot go on; the text says why in one line."""


class Teller:
    """Tells the story on stdout; `times` keeps (step, seconds)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered step, its time told at the end."""
        number = len(self.times) + 1
        self.console.print()
        self.console.rule(Text(f"{number}. {title}", style="bold"), align="left", style="cyan")
        begun = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - begun
            self.times.append((title, took))
            self.console.print(Text(f"   step {number} took {took:.1f} s", style="dim"))

    def command(self, argv: Sequence[str]) -> None:
        """A command as one types it."""
        self.console.print(Text(f"$ {shlex.join(argv)}", style="green"), soft_wrap=True)

    def line(self, text: str) -> None:
        """What happens."""
        self.console.print(Text(f"   {text}"), soft_wrap=True)

    def good(self, text: str) -> None:
        """Something that was checked and holds."""
        self.console.print(Text.assemble(("   ✓ ", "bold green"), text), soft_wrap=True)

    def bad(self, text: str) -> None:
        """Something that went wrong."""
        self.console.print(Text.assemble(("   ✗ ", "bold red"), text), soft_wrap=True)

    def summary(self) -> None:
        """Every step with its time, and the whole."""
        self.console.print()
        for number, (title, took) in enumerate(self.times, 1):
            self.console.print(Text(f"   {number}. {title:<58} {took:6.1f} s"))
        self.console.print(Text(f"   {'in all':<61} {sum(t for _, t in self.times):6.1f} s", style="bold"))
