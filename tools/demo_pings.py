"""Pings that run while something else happens to the chain, and what became of each of them."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from demo_run import Cli
from demo_tell import StoryError, Teller

INTERVAL_S = 0.003  # some 300 a second; ping itself is a little slower than it is asked to be
REPLY = re.compile(r"\[(?P<at>\d+\.\d+)\] .* icmp_seq=(?P<number>\d+) .*time=")


@dataclass(frozen=True)
class Tally:
    """Pings from the first to the last one that was answered: `lost` were not."""

    sent: int
    lost: tuple[int, ...]
    per_second: float
    longest_gap_ms: float  # between two answers


def tally(replies: Iterable[tuple[int, float]]) -> Tally:
    """Of (number, time of the answer in seconds), in any order."""
    by_number = dict(sorted(replies))
    if not by_number:
        return Tally(0, (), 0.0, 0.0)
    first, last = min(by_number), max(by_number)
    times = sorted(by_number.values())
    lost = tuple(n for n in range(first, last) if n not in by_number)
    gap_s = max((b - a for a, b in pairwise(times)), default=0.0)
    took_s = times[-1] - times[0]
    return Tally(last - first + 1, lost, (last - first) / took_s if took_s > 0 else 0.0, gap_s * 1000)


class Pings:
    """`ping` at an end of the chain; a context within which it runs."""

    def __init__(self, cli: Cli, teller: Teller, chain: str, end: str, host: str) -> None:
        command = ["chain", "exec", chain, end, "--", "ping", "-D", "-i", str(INTERVAL_S), host]
        teller.command(["vnfm", *command])
        self._process = cli.start(*command)
        self._replies: list[tuple[int, float]] = []
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Pings:
        self.more(50)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := REPLY.search(line):
                self._replies.append((int(found["number"]), float(found["at"])))
            else:
                self._said.append(line.strip())

    def more(self, count: int, timeout_s: float = 15.0) -> None:
        """Wait until so many more were answered."""
        wanted, end = len(self._replies) + count, time.monotonic() + timeout_s
        while len(self._replies) < wanted:
            if self._process.poll() is not None and not self._reader.is_alive():
                stderr = self._process.stderr.read() if self._process.stderr else ""
                raise StoryError(f"ping ended: {' '.join([*self._said[-2:], stderr.strip()])}")
            if time.monotonic() > end:
                raise StoryError(f"only {len(self._replies)} of {wanted} pings were answered: {self._said[-1:]}")
            time.sleep(0.02)

    def tally(self) -> Tally:
        """What became of them so far."""
        return tally(list(self._replies))
