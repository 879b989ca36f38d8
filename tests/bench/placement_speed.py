"""How fast the engine places: rates, tails, start."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from format_checker import Ledger
from format_clouds import affinity, identical, make, requests
from placement_rows import Bound, Reference, Row, Say, row

from vnfm.placement.book import Book
from vnfm.placement.estate import Estate, build_estate
from vnfm.placement.placer import Placer
from vnfm.placement.serve import SELDOM, loaded
from vnfm.placement.solution_io import answer_dict
from vnfm.placement.statement import Answer, Chain
from vnfm.placement.statement_io import parse_chain, parse_instance

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {"dc1k": 1_000, "dc10k": 10_000}


@cache
def cloud(family: str) -> tuple[dict[str, Any], Estate]:
    """A data centre without requests, raw and built."""
    raw = make(family, 0, chains=0)
    return raw, build_estate(parse_instance(raw))


def parsed(estate: Estate, chains: Sequence[dict[str, Any]]) -> list[Chain]:
    """Requests as the engine takes them."""
    return [parse_chain(c, estate.instance) for c in chains]


@dataclass(frozen=True, slots=True)
class Ran:
    """`wall_s` and `cpu_s` of all; `each_s`, of processor time, of each chain where that was asked for."""

    wall_s: float
    cpu_s: float
    each_s: list[float]
    answers: list[Answer]

    @property
    def refused(self) -> int:
        """How many chains."""
        return sum(not a.accepted for a in self.answers)


def run(estate: Estate, chains: Sequence[Chain], *, each_timed: bool = False) -> Ran:
    """Place them one after the other on the empty cloud, garbage collected as seldom as `vnfm.placement.serve` does.
    Timing each takes some microseconds more."""
    placer = Placer(Book(estate))
    each: list[float] = []
    answers: list[Answer] = []
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)
    wall, cpu = time.perf_counter(), time.thread_time()
    if not each_timed:
        answers.extend(map(placer.place, chains))
    else:
        for chain in chains:
            at = time.thread_time()
            answers.append(placer.place(chain))
            each.append(time.thread_time() - at)
    ran = Ran(time.perf_counter() - wall, time.thread_time() - cpu, each, answers)
    gc.unfreeze()
    gc.set_threshold(*usual)
    return ran


def broken(raw: dict[str, Any], chains: Sequence[dict[str, Any]], answers: Sequence[Answer]) -> int:
    """Constraints that the answers break, by the checker."""
    ledger = Ledger(raw)
    return sum(len(ledger.add(c, answer_dict(a))) for c, a in zip(chains, answers, strict=True) if a.accepted)


def p99(times: Sequence[float]) -> float:
    """In milliseconds."""
    return sorted(times)[min(len(times) - 1, int(0.99 * len(times)))] * 1e3


def identical_requests(rounds: int, large: int, say: Say) -> list[Row]:
    """Equal requests, one process, nothing prepared but the cloud."""
    count = 5_000 * large
    raw = identical(5_000, count)
    instance = parse_instance(raw)
    estate, reference = build_estate(instance), Reference(5_000)
    rates, by_cpu, references = [], [], []
    for number in range(rounds):
        references.append(reference.us())
        ran = run(estate, instance.chains)
        rates.append(count / ran.wall_s)
        by_cpu.append(count / ran.cpu_s)
        if number == 0:
            assert not ran.refused
            assert not broken(raw, raw["chains"], ran.answers)
    say(f"identical: {statistics.median(by_cpu):.0f}/s")
    bound = Bound(19_000, 25_000, "higher", 5_000)
    return [row("identical_5000", "VNF/s", bound, rates, references, processor=by_cpu)]


def chains(family: str, rounds: int, large: int, say: Say) -> list[Row]:
    """Chains of three to eight VNFs with routing."""
    raw, estate = cloud(family)
    reference, hosts = Reference(HOSTS[family]), HOSTS[family]
    rates, by_cpu, references, refused = [], [], [], 0
    for number in range(rounds):
        asked = list(requests(family, number, 200 * large))
        references.append(reference.us())
        ran = run(estate, parsed(estate, asked))
        vnfs = sum(len(c["vnfs"]) for c in asked)
        rates.append(vnfs / ran.wall_s)
        by_cpu.append(vnfs / ran.cpu_s)
        refused += ran.refused
        assert not broken(raw, asked, ran.answers)
    say(f"chains {family}: {statistics.median(by_cpu):.0f} VNF/s")
    bound = Bound(7_500, 10_000, "higher", 1_000) if hosts == 1_000 else Bound(5_500, 8_000, "higher", 10_000)
    note = f"{refused} of {200 * large * rounds} chains refused"
    return [row(f"chains_{family[2:]}", "VNF/s", bound, rates, references, note, by_cpu)]


def long_chains(rounds: int, large: int, say: Say) -> list[Row]:
    """The tail of chains of eight VNFs: of accepted ones, and of all calls with refusals proved and explained."""
    raw, estate = cloud("dc10k")
    reference = Reference(10_000)
    accepted, every, lines, references, refused = [], [], [], [], 0
    with Serve(raw) as server:
        for number in range(rounds):
            asked = list(requests("dc10k", 100 + number, 150 * large, (8, 8)))
            references.append(reference.us())
            ran, each_s = undisturbed(estate, asked)
            accepted.append(p99([t for t, a in zip(each_s, ran.answers, strict=True) if a.accepted]))
            every.append(p99(each_s))
            refused += ran.refused
            lines.append(p99(server.placed(asked)))
    say(f"8-VNF chains: p99 {statistics.median(accepted):.2f} ms, all calls {statistics.median(every):.2f} ms")
    note = f"{refused} of {150 * large * rounds} refused; here: from line to line over the pipe, by the clock"
    return [
        row("chain8_p99", "ms", Bound(2, 2, "lower", 10_000), accepted, references, "accepted ones, in process"),
        row("chain8_p99_all", "ms", Bound(25, 10, "lower", 10_000), lines, references, note, every),
    ]


def undisturbed(estate: Estate, asked: Sequence[dict[str, Any]]) -> tuple[Ran, list[float]]:
    """Place the same chains three times over, and the processor seconds of each where it took the least: the engine
    does the same each time, so what is above the least is the machine's other work."""
    runs = [run(estate, parsed(estate, asked), each_timed=True) for _ in range(3)]
    return runs[0], [min(times) for times in zip(*(r.each_s for r in runs), strict=True)]


class Serve:
    """`python -m vnfm.placement.serve` with a cloud loaded."""

    def __init__(self, raw: dict[str, Any]) -> None:
        env = dict(os.environ, PYTHONPATH=str(ROOT))
        line = [sys.executable, "-m", "vnfm.placement.serve"]
        self._child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        assert self.ask(op="load", instance=raw) == {"ok": True}

    def ask(self, **request: Any) -> dict[str, Any]:
        """One line there, one back."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        return dict(json.loads(self._child.stdout.readline()))

    def placed(self, asked: Sequence[dict[str, Any]]) -> list[float]:
        """Seconds of each call; what was placed is released again."""
        times, held = [], []
        for chain in asked:
            begun = time.perf_counter()
            answer = self.ask(op="place", chain=chain)
            times.append(time.perf_counter() - begun)
            if answer["accepted"]:
                held.append(chain["id"])
        for name in held:
            self.ask(op="release", id=name)
        return times

    def __enter__(self) -> Serve:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()


def affinity_heavy(rounds: int, large: int, say: Say) -> list[Row]:
    """The same chains with three rules each and with none, in turns."""
    raw, estate = cloud("dc1k")
    ratios = []
    for number in range(rounds):
        took = {}
        for ruled in (False, True):
            asked = affinity(number, 150 * large, ruled=ruled)
            ran = run(estate, parsed(estate, asked))
            took[ruled] = ran.cpu_s
            assert not broken(raw, asked, ran.answers)
        ratios.append(took[True] / took[False])
    say(f"affinity-heavy: {statistics.median(ratios):.2f}×")
    return [row("affinity_heavy", "×", Bound(3, 1.5, "lower"), ratios, note="time of ruled chains to plain ones")]


def start(rounds: int, large: int, say: Say) -> list[Row]:
    """Importing the engine in a fresh process, compiled before as an installed one is, and ten thousand hosts from
    parsed JSON to the first request."""
    code = "import time; t = time.perf_counter(), time.process_time(); import vnfm.placement.serve"
    code += "; print(time.perf_counter() - t[0], time.process_time() - t[1])"
    imports, imports_cpu, loads, loads_cpu, references = [], [], [], [], []
    raw, _ = cloud("dc10k")
    reference = Reference(10_000)
    with TemporaryDirectory(prefix="vnfm-pyc-") as compiled:
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": compiled}
        for number in range(rounds + 1):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
            if number:  # the first one compiles
                wall, cpu = map(float, done.stdout.split())
                imports.append(wall * 1e3)
                imports_cpu.append(cpu * 1e3)
    for _ in range(rounds):
        references.append(reference.us())
        gc.collect()
        begun, cpu = time.perf_counter(), time.process_time()
        loaded(raw)
        loads.append(time.perf_counter() - begun)
        loads_cpu.append(time.process_time() - cpu)
    say(f"import {statistics.median(imports):.0f} ms, load {statistics.median(loads):.2f} s")
    return [
        row(
            "import",
            "ms",
            Bound(150, 100, "lower", 10_000),
            imports,
            references,
            "vnfm.placement.serve; the bare package is lazy",
            imports_cpu,
        ),
        row("load_10k", "s", Bound(0.5, 0.3, "lower", 10_000), loads, references, processor=loads_cpu),
    ]
