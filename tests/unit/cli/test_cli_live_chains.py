"""Changing chains and VNFs that run, and seeing what happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_manager import FakeManager, Run, op, struct
from live_samples import chain_sample, pcap, trace_document

from vnfm.pb.nfvo.v1 import nfvo_pb2

ROOT = Path(__file__).resolve().parents[3]


def document(data: dict[str, Any]) -> nfvo_pb2.Document:
    return nfvo_pb2.Document(body=struct(data))


@pytest.mark.parametrize(
    ("args", "kind", "wanted"),
    [
        (("insert", "c", "--vnf", "dpi"), "insert", {"vnfd_id": "dpi"}),
        (
            ("insert", "c", "--vnf", "dpi", "--as", "d", "--before", "rt", "--path", "p", "--flavour", "f"),
            "insert",
            {"vnfd_id": "dpi", "alias": "d", "before": "rt", "path": "p", "flavour_id": "f"},
        ),
        (("insert", "c", "--vnf", "dpi", "--after", "fw"), "insert", {"vnfd_id": "dpi", "after": "fw"}),
        (("remove", "c", "fw"), "remove", {"alias": "fw"}),
        (("reorder", "c", "rt", "fw", "--path", "p"), "reorder", {"aliases": ["rt", "fw"], "path": "p"}),
        (("swap", "c", "fw", "--vnf", "dpi"), "swap", {"alias": "fw", "vnfd_id": "dpi"}),
        (("replace-vnf", "c", "fw"), "replace", {"alias": "fw"}),
        (("scale", "c", "fw", "--replicas", "3"), "scale", {"alias": "fw", "replicas": 3}),
    ],
)
def test_a_change_of_a_chain_is_ordered_as_typed(
    manager: FakeManager, vnfm: Run, args: tuple[str, ...], kind: str, wanted: dict[str, Any]
) -> None:
    manager.answer("UpdateChain", op("STARTING"))
    manager.answer("WatchOpOcc", [op("COMPLETED", 100)])
    assert vnfm("chain", *args, "--request-id", "r-1").exit_code == 0
    (request,) = manager.requests("UpdateChain")
    assert (request.ref, request.request_id, request.WhichOneof("change")) == ("c", "r-1", kind)
    order = getattr(request, kind)
    assert {f.name: list(v) if f.is_repeated else v for f, v in order.ListFields()} == wanted


def test_before_and_after_at_once_is_wrong_use(vnfm: Run) -> None:
    assert vnfm("chain", "insert", "c", "--vnf", "d", "--before", "a", "--after", "b").exit_code == 2


@pytest.mark.parametrize(
    ("args", "method", "wanted"),
    [
        (("heal", "v"), "HealVnf", nfvo_pb2.HealVnfRequest(ref="v")),
        (
            ("heal", "v", "--vnfc", "a", "--vnfc", "b", "--cause", "smoke"),
            "HealVnf",
            nfvo_pb2.HealVnfRequest(ref="v", vnfcs=["a", "b"], cause="smoke"),
        ),
        (
            ("scale", "v", "--out", "--aspect", "a", "--steps", "2"),
            "ScaleVnf",
            nfvo_pb2.ScaleVnfRequest(ref="v", type="SCALE_OUT", aspect_id="a", number_of_steps=2),
        ),
        (("scale", "v", "--in"), "ScaleVnf", nfvo_pb2.ScaleVnfRequest(ref="v", type="SCALE_IN", number_of_steps=1)),
        (
            ("modify", "v", "--isolation", "kernel"),
            "ModifyVnf",
            nfvo_pb2.ModifyVnfRequest(ref="v", isolation="kernel"),
        ),
        (("modify", "v", "--name", "n"), "ModifyVnf", nfvo_pb2.ModifyVnfRequest(ref="v", name="n")),
    ],
)
def test_a_change_of_a_vnf_is_ordered_as_typed(
    manager: FakeManager, vnfm: Run, args: tuple[str, ...], method: str, wanted: Any
) -> None:
    manager.answer(method, op("STARTING"))
    result = vnfm("vnf", *args, "--no-wait")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "STARTING"
    assert manager.requests(method) == [wanted]


@pytest.mark.parametrize("args", [("scale", "v"), ("scale", "v", "--in", "--out"), ("modify", "v")])
def test_a_change_of_a_vnf_that_says_nothing_is_wrong_use(vnfm: Run, args: tuple[str, ...]) -> None:
    assert vnfm("vnf", *args).exit_code == 2


def test_stats_are_an_object_a_line_until_enough_were_seen(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("WatchChainStats", [document(chain_sample(1)), document(chain_sample(2, 100.0))])
    result = vnfm("chain", "stats", "vcpe", "--count", "2", "--interval", "0.5", "-o", "json")
    assert result.exit_code == 0
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first == chain_sample(1)
    assert first["vnfs"][0]["vnfcs"][0]["ports"][0]["in_pps"] is None
    assert second["vnfs"][0]["vnfcs"][0]["ports"][0]["in_bps"] == 80000
    assert manager.requests("WatchChainStats") == [nfvo_pb2.WatchStatsRequest(ref="vcpe", interval_ms=500, count=2)]


def test_stats_go_on_when_the_manager_is_back_and_ask_for_what_is_missing(manager: FakeManager, vnfm: Run) -> None:
    def first(_request: Any, context: grpc.ServicerContext) -> Any:
        yield document(chain_sample(1))
        manager.answer("WatchVnfStats", [document(chain_sample(2)), document(chain_sample(3))])
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    manager.answer("WatchVnfStats", first)
    result = vnfm("vnf", "stats", "v", "--count", "3", "-o", "json")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 3
    assert "trying again" in result.stderr
    assert "is back" in result.stderr
    assert [r.count for r in manager.requests("WatchVnfStats")] == [3, 2]


def test_a_table_of_stats_shows_rates_and_what_was_lost(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("WatchChainStats", [document(chain_sample(2, 12345.0, dropped=7))])
    shown = vnfm("chain", "stats", "vcpe", "--count", "1", "-o", "table").stdout
    for wanted in ("fw", "rt", "client", "12.3k", "9.88M", "12.3 %", "18/64 MiB", " 7"):
        assert wanted in shown, shown


def test_a_trace_has_the_documented_shape(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("TraceChain", document(trace_document()))
    result = vnfm("chain", "trace", "vcpe", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == trace_document()


def test_a_trace_is_a_ladder_down_and_up_again(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("TraceChain", document(trace_document()))
    lines = vnfm("chain", "trace", "vcpe", "-o", "table").stdout.splitlines()
    assert "Path main: 1.05 ms there and back" in lines[0]
    (inside,) = [line for line in lines if line.split()[:1] == ["right"] and "31.0 us" in line]
    assert "+12.8 us inside" in inside
    assert "1.02 ms" in inside
    assert "+560.0 us link" in inside


def test_a_trace_that_stops_says_where_and_exits_with_1(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("TraceChain", document(trace_document("lost between rt and server")))
    result = vnfm("chain", "trace", "vcpe", "-o", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["problem"]["type"] == "urn:vnfm:problem:path-broken"
    assert len(data["paths"][0]["hops"]) == 4
    table = vnfm("chain", "trace", "vcpe", "-o", "table")
    assert table.exit_code == 1
    assert "lost between rt and server" in table.stdout


def chunks(data: bytes, *cuts: int) -> list[nfvo_pb2.CaptureChunk]:
    edges = [0, *cuts, len(data)]
    return [nfvo_pb2.CaptureChunk(pcap=data[a:b]) for a, b in pairwise(edges)]


def test_a_capture_is_written_whole_whatever_the_pieces(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.answer("CaptureVnf", chunks(pcap(60, 1500, 40), 3, 30, 400))
    out = tmp_path / "c.pcap"
    result = vnfm(
        "vnf", "capture", "v", "--port", "left", "-o", str(out), "--packets", "3", "--seconds", "9", "--vnfc", "a"
    )
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes() == pcap(60, 1500, 40)
    assert "3 packets" in result.stderr
    assert list(tmp_path.iterdir()) == [out]
    assert manager.requests("CaptureVnf") == [
        nfvo_pb2.CaptureVnfRequest(ref="v", cp="left", vnfc="a", max_packets=3, seconds=9)
    ]


def test_a_capture_of_nothing_is_a_file_without_packets(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.answer("CaptureVnf", [])
    assert vnfm("vnf", "capture", "v", "--port", "left", "-o", str(tmp_path / "c.pcap")).exit_code == 0
    assert (tmp_path / "c.pcap").read_bytes()[:4] == pcap()[:4]
    assert len((tmp_path / "c.pcap").read_bytes()) == 24


def test_a_capture_that_is_refused_leaves_the_old_file_alone(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.refuse("CaptureVnf", grpc.StatusCode.FAILED_PRECONDITION, type="urn:vnfm:problem:not-offered", title="No")
    out = tmp_path / "c.pcap"
    out.write_bytes(b"old")
    assert vnfm("vnf", "capture", "v", "--port", "left", "-o", str(out)).exit_code == 1
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]
    assert vnfm("vnf", "capture", "v", "--port", "left", "-o", str(tmp_path / "no" / "c.pcap")).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_stdout", [False, True])
def test_ctrl_c_ends_a_capture_with_a_whole_file(
    manager: FakeManager, tmp_path: Path, number: signal.Signals, to_stdout: bool
) -> None:
    gone = threading.Event()

    def endless(_request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(gone.set)
        yield nfvo_pb2.CaptureChunk(pcap=pcap(60, 60)[:-10])  # the second packet is cut
        gone.wait(30)

    manager.answer("CaptureVnf", endless)
    out = tmp_path / "c.pcap"
    process = subprocess.Popen(
        [sys.executable, "-m", "vnfm.main", "vnf", "capture", "v", "--port", "left", "-o", "-" if to_stdout else out],
        cwd=ROOT,
        env={**os.environ, "VNFM_ENDPOINT": manager.endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while not manager.requests("CaptureVnf") and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
    assert (stdout if to_stdout else out.read_bytes()) == pcap(60)
    assert gone.wait(5), "the manager was told that nobody reads any more"


def test_a_heal_says_why_and_how_long_nothing_flowed(manager: FakeManager, vnfm: Run) -> None:
    heal = {"cause": "exit 137", "died_at": "2026-01-02T03:04:05+00:00", "outage_ms": 312}
    message = op("COMPLETED", 100, affected=struct({"heal": heal, "affected_paths": []}))
    message.operation = "HEAL"
    manager.answer("GetOpOcc", message)
    data = json.loads(vnfm("op", "show", "op-1", "-o", "json").stdout)
    assert data["affected"] == {"affected_paths": []}
    assert {k: data[k] for k in heal} == heal
    assert "312" in vnfm("op", "show", "op-1", "-o", "table").stdout
