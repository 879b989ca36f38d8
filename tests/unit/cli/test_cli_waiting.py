"""Waiting for operations: progress, time-outs, managers that go away and come back, decisions that are due."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_manager import FakeManager, Run, op, step

from vnfm.cli.client import Client
from vnfm.cli.errors import Unreachable
from vnfm.cli.waiting import GIVE_UP_S, follow
from vnfm.pb.common.v1 import common_pb2
from vnfm.pb.nfvo.v1 import nfvo_pb2

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def chain_file(tmp_path: Path) -> str:
    path = tmp_path / "vcpe.yaml"
    path.write_text("chain: vcpe\n")
    return str(path)


def test_create_waits_and_prints_the_finished_operation(manager: FakeManager, vnfm: Run, chain_file: str) -> None:
    manager.answer("CreateChain", op("STARTING"))
    manager.answer(
        "WatchOpOcc",
        [
            op("PROCESSING", 50, step("link client-fw", "DONE", 0.25), step("compute fw", "STARTED", detail="booting")),
            op("COMPLETED", 100, step("link client-fw", "DONE", 0.25), step("compute fw", "DONE", 1.5)),
        ],
    )
    result = vnfm("chain", "create", chain_file, "--name", "home", "--request-id", "r-7", "-o", "json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (data["id"], data["state"], data["progress_percent"]) == ("op-1", "COMPLETED", 100)
    assert data["steps"][1] == {"name": "compute fw", "state": "DONE", "seconds": 1.5, "detail": ""}
    (request,) = manager.requests("CreateChain")
    assert (request.name, request.request_id, request.descriptor) == ("home", "r-7", b"chain: vcpe\n")
    lines = result.stderr.splitlines()
    assert any("50 %" in line and "done" in line and "link client-fw (0.2 s)" in line for line in lines), lines
    assert any("CHAIN_CREATE vcpe COMPLETED" in line for line in lines)
    assert sum("link client-fw" in line for line in lines) == 1


def test_who_comes_late_gets_one_line_for_what_was_done(manager: FakeManager, vnfm: Run) -> None:
    early = [step("link a", "DONE"), step("link b", "DONE")]
    manager.answer("GetOpOcc", op("FAILED_TEMP", 50, *early, step("compute", "FAILED")))
    manager.answer("ControlOpOcc", op("PROCESSING", 50, *early, step("compute", "STARTED")))
    manager.answer("WatchOpOcc", [op("COMPLETED", 100, *early, step("compute", "DONE", 2.0))])
    result = vnfm("op", "retry", "op-1", "-o", "json")
    assert result.exit_code == 0
    assert "2 of 3 steps were done before" in result.stderr
    assert "link a" not in result.stderr
    assert "compute (2.0 s)" in result.stderr


def test_no_wait_prints_the_operation_at_once(manager: FakeManager, vnfm: Run, chain_file: str) -> None:
    manager.answer("CreateChain", op("STARTING"))
    result = vnfm("chain", "create", chain_file, "--no-wait", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "STARTING"
    assert manager.requests("WatchOpOcc") == []


def test_a_failed_step_leaves_the_decision_and_names_the_very_commands(
    manager: FakeManager, vnfm: Run, chain_file: str
) -> None:
    problem = common_pb2.Problem(
        type="urn:vnfm:problem:boot-timeout",
        title="Boot timeout",
        detail="gw did not answer",
        retry=common_pb2.Problem.SAME_CALL,
    )
    manager.answer("CreateChain", op("STARTING"))
    manager.answer("WatchOpOcc", [op("FAILED_TEMP", 40, step("compute gw", "FAILED", 60.0), error=problem)])
    result = vnfm("chain", "create", chain_file, "--tenant", "blue", "-o", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["problem"]["type"] == "urn:vnfm:problem:boot-timeout"
    assert data["problem"]["retry"] == "SAME_CALL"
    assert (data["id"], data["state"]) == ("op-1", "FAILED_TEMP")
    for verb in ("retry", "rollback", "fail"):
        assert f"vnfm op {verb} op-1 --tenant blue" in result.stderr


def test_a_timeout_ends_with_4_and_the_operation_goes_on(manager: FakeManager, vnfm: Run, chain_file: str) -> None:
    def slow(_request: Any, context: grpc.ServicerContext) -> Iterator[nfvo_pb2.VnfLcmOpOcc]:
        yield op("PROCESSING", 10)
        while context.is_active():
            time.sleep(0.02)

    manager.answer("CreateChain", op("STARTING"))
    manager.answer("WatchOpOcc", slow)
    result = vnfm("chain", "create", chain_file, "--timeout", "0.3", "-o", "json")
    assert result.exit_code == 4
    assert "it goes on" in result.stderr
    assert "vnfm op watch op-1" in result.stderr


def test_waiting_survives_a_manager_that_is_restarted(manager: FakeManager, vnfm: Run, chain_file: str) -> None:
    watches = 0

    def watch(_request: Any, context: grpc.ServicerContext) -> Iterator[nfvo_pb2.VnfLcmOpOcc]:
        nonlocal watches
        watches += 1
        if watches > 1:
            yield op("COMPLETED", 100)
            return
        yield op("PROCESSING", 30)
        threading.Thread(target=restart).start()
        while context.is_active():
            time.sleep(0.02)

    def restart() -> None:
        manager.stop()
        time.sleep(0.5)
        manager.start()

    manager.answer("CreateChain", op("STARTING"))
    manager.answer("WatchOpOcc", watch)
    result = vnfm("chain", "create", chain_file, "--timeout", "20", "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "COMPLETED"
    assert "trying again" in result.stderr
    assert "the manager is back after" in result.stderr


def test_a_stream_that_ends_early_is_taken_up_again(manager: FakeManager, vnfm: Run) -> None:
    answers = iter([[op("PROCESSING", 30)], [op("PROCESSING", 60)], [op("COMPLETED", 100)]])
    manager.answer("GetOpOcc", op("PROCESSING", 30))
    manager.answer("WatchOpOcc", lambda _request, _context: next(answers))
    result = vnfm("op", "watch", "op-1", "-o", "json")
    assert result.exit_code == 0
    assert [json.loads(line)["progress_percent"] for line in result.stdout.splitlines()] == [30, 60, 100]


def test_a_manager_that_stays_away_is_given_up_without_a_timeout() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    class Silent:
        def update(self, op: nfvo_pb2.VnfLcmOpOcc) -> None: ...

        def note(self, text: str) -> None: ...

    client = Client("127.0.0.1:9", "default")
    with pytest.raises(Unreachable):
        follow(client, "op-1", Silent(), None, clock=lambda: now, sleep=sleep)
    assert GIVE_UP_S < now < GIVE_UP_S + 5
    client.close()


def test_an_unknown_operation_is_refused_not_waited_for(manager: FakeManager, vnfm: Run) -> None:
    manager.refuse("GetOpOcc", grpc.StatusCode.NOT_FOUND, title="Not found", detail="no operation op-9")
    assert vnfm("op", "watch", "op-9").exit_code == 1


def test_watch_ends_with_1_and_the_problem_on_the_last_line(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("GetOpOcc", op("PROCESSING"))
    manager.answer("WatchOpOcc", [op("PROCESSING", 10), op("ROLLED_BACK", 100)])
    result = vnfm("op", "watch", "op-1", "-o", "json")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["state"] for line in lines] == ["PROCESSING", "ROLLED_BACK"]
    assert "problem" in lines[-1]


def test_ctrl_c_stops_the_waiting_not_the_operation(manager: FakeManager, chain_file: str) -> None:
    watching = threading.Event()

    def slow(_request: Any, context: grpc.ServicerContext) -> Iterator[nfvo_pb2.VnfLcmOpOcc]:
        yield op("PROCESSING", 10)
        watching.set()
        while context.is_active():
            time.sleep(0.02)

    manager.answer("CreateChain", op("STARTING"))
    manager.answer("WatchOpOcc", slow)
    child = subprocess.Popen(
        [sys.executable, "-c", "from vnfm.cli.main import main; main()", "chain", "create", chain_file],
        cwd=ROOT,
        env=os.environ | {"VNFM_ENDPOINT": manager.endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.wait(20)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130, err
    assert "operation op-1 goes on" in err
    assert "vnfm op watch op-1" in err
    assert "Traceback" not in err
