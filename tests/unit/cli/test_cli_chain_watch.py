"""The view of a chain that is left open: what it shows, that it ends cleanly, and that it finds the manager again."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_manager import FakeManager, Run, op, step, struct
from live_samples import chain_sample, trace_document
from rich.console import Console

from vnfm.cli.live_view import view
from vnfm.cli.situation import Situation, concerns
from vnfm.pb.nfvo.v1 import nfvo_pb2

ROOT = Path(__file__).resolve().parents[3]
HEAL = {
    "operation": "op-9",
    "state": "COMPLETED",
    "at": "2026-01-02T03:04:05+00:00",
    "vnfs": ["rt"],
    "cause": "exit 137",
    "died_at": "2026-01-02T03:04:04+00:00",
    "outage_ms": 312,
}


def chain(rt: str = "WELL", **more: Any) -> dict[str, Any]:
    def vnf(alias: str, runtime: str, state: str, reason: str = "") -> dict[str, Any]:
        health = "FAILED" if state == "HEALING" else state
        vnfc = {"id": f"{alias}-1111", "runtime": runtime, "host": "host1", "health": health, "reason": reason}
        return {
            "alias": alias,
            "runtime": runtime,
            "health": {"state": state, "reason": reason, "since": None},
            "replicas": 1,
            "vnfcs": [vnfc],
        }

    return {
        "id": "c-1",
        "name": "vcpe",
        "state": "INSTANTIATED",
        "open_operation": None,
        "vnfs": [vnf("fw", "CONTAINER", "WELL"), vnf("rt", "KATA", rt, "" if rt == "WELL" else "exit 137")],
        "paths": [{"name": "main", "hops": ["client", "fw", "rt", "server"]}],
        "probes": {},
        "last_heal": None,
    } | more


def shown(now: Situation, width: int = 120) -> str:
    screen = Console(width=width, record=True, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    screen.print(view(now, screen))
    return screen.export_text()


def situation(**more: Any) -> Situation:
    return Situation(chain=chain(), stats=chain_sample(2, 12345.0), trace=trace_document(), **more)


def test_a_chain_that_is_well_shows_its_path_its_round_trip_and_its_rates() -> None:
    text = shown(situation())
    assert "all well" in text
    assert "main: client ── ● fw ── ● rt ── server  RTT 1.05 ms" in text
    assert "12.3k" in text
    assert "9.88M" in text


def test_a_death_a_heal_and_a_manager_that_is_away_are_plain_to_see() -> None:
    now = situation()
    now.chain = chain("HEALING", last_heal=HEAL)
    now.operation = op("PROCESSING", 40, step("VNFC rt", "STARTED", 0.2))
    now.away_since = time.monotonic() - 7
    text = shown(now)
    for wanted in (
        "1 not well",
        "◐ rt",
        "rt healing: exit 137",
        "◐ healing",
        "VNFC rt",
        "down for 312 ms",
        "not reachable for 7 s",
    ):
        assert wanted in text, text


def test_an_operation_that_waits_tells_the_ways_out() -> None:
    now = situation()
    now.operation = op("FAILED_TEMP")
    now.operation.error.detail = "healed 5 times"
    assert "healed 5 times" in shown(now)
    assert "vnfm op retry op-1" in shown(now)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    now = situation()
    now.chain = chain("FAILED", last_heal=HEAL)
    assert all(len(line) <= width for line in shown(now, width).splitlines())


def test_a_vim_that_counts_nothing_says_so_and_the_rest_is_shown() -> None:
    now = Situation(chain=chain(), stats_refused="Not offered: VIM m does not offer statistics")
    assert "does not offer statistics" in shown(now)
    assert "● fw" in shown(now)


def test_only_events_of_the_chain_are_its_own() -> None:
    assert concerns({"target": "vcpe"}, "c-1", "vcpe")
    assert concerns({"target": "vcpe/fw"}, "c-1", "vcpe")
    assert concerns({"chain_id": "c-1"}, "c-1", "vcpe")
    assert not concerns({"target": "vcpe2"}, "c-1", "vcpe")
    assert not concerns({"target": "vcpe", "alias": "fw", "vnf_lcm_op_occ_id": "o"}, "c-1", "vcpe")


def answers(manager: FakeManager) -> None:
    body = {k: v for k, v in chain().items() if k not in ("id", "name", "state")}
    manager.answer("GetChain", nfvo_pb2.Chain(id="c-1", name="vcpe", state="INSTANTIATED", body=struct(body)))
    manager.answer("TraceChain", nfvo_pb2.Document(body=struct(trace_document())))

    def samples(_request: Any, context: grpc.ServicerContext) -> Any:
        while context.is_active():
            yield nfvo_pb2.Document(body=struct(chain_sample(2, 50.0)))
            time.sleep(0.1)

    def events(_request: Any, context: grpc.ServicerContext) -> Any:
        yield nfvo_pb2.Event(cursor=1, type="VnfcStateChangeNotification", body=struct({"chain_id": "c-1"}))
        while context.is_active():
            time.sleep(0.1)

    manager.answer("WatchChainStats", samples)
    manager.answer("WatchEvents", events)


def test_json_is_a_snapshot_a_line(manager: FakeManager, vnfm: Run) -> None:
    answers(manager)
    result = vnfm("chain", "watch", "vcpe", "-o", "json", "--count", "3", "--interval", "0.4")
    assert result.exit_code == 0, result.stderr
    last = [json.loads(line) for line in result.stdout.splitlines()][-1]
    assert len(result.stdout.splitlines()) == 3
    assert last["manager"] == "REACHABLE"
    assert last["chain"]["vnfs"][0]["health"]["state"] == "WELL"
    assert last["stats"]["chain"] == "vcpe"
    assert last["trace"]["paths"][0]["complete"]
    assert last["operation"] is None
    assert last["events"][0]["type"] == "VnfcStateChangeNotification"


def test_a_chain_that_is_not_there_is_refused_at_once(manager: FakeManager, vnfm: Run) -> None:
    manager.refuse("GetChain", grpc.StatusCode.NOT_FOUND, type="urn:vnfm:problem:not-found", title="Not found")
    assert vnfm("chain", "watch", "x").exit_code == 1


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, manager: FakeManager) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vnfm.main", "chain", "watch", "vcpe"],
            cwd=ROOT,
            env={**os.environ, "VNFM_ENDPOINT": manager.endpoint, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def until(self, words: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen[-3000:]
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")

    def ended(self) -> int:
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        return self.process.wait(5)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.mark.parametrize("way", ["q", "ctrl-c"])
def test_on_a_terminal_it_goes_on_over_a_restart_and_a_resize_and_leaves_the_screen_as_it_was(
    manager: FakeManager, way: str
) -> None:
    answers(manager)
    terminal = Terminal(manager)
    try:
        terminal.until("all well")
        assert "\x1b[?1049h" in terminal.seen
        manager.stop()
        terminal.until("not reachable")
        manager.start()
        terminal.seen = ""
        os.set_blocking(terminal.master, True)
        import fcntl
        import struct as binary
        import termios

        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, binary.pack("HHHH", 20, 60, 0, 0))
        terminal.until("all well")
        time.sleep(1)
        if way == "q":
            os.write(terminal.master, b"q")
        else:
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
        assert "\x1b[?1049l" in terminal.seen
        assert "Traceback" not in terminal.seen
    finally:
        terminal.close()


def test_a_count_ends_the_whole_screen_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from vnfm.cli import live_view, watching

    monkeypatch.setattr(live_view, "view", lambda now, screen: "")
    began = time.monotonic()
    watching._on_screen(watching.Situation(chain={}), 0.5)
    assert 0.5 <= time.monotonic() - began < 5
