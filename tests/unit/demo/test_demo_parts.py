"""The demo's parts, without a chain: what it reads, writes, checks and sweeps."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import demo
import demo_cleanup
import demo_host
import demo_live
import demo_pings
import demo_run
import demo_traffic
import pytest
from demo_tell import StoryError, Teller
from rich.console import Console

ROOT = Path(__file__).resolve().parents[3]


def teller() -> Teller:
    return Teller(Console(file=io.StringIO(), width=100))


class LocalExec(demo_run.Cli):
    """Runs what would run at a chain's end on this host instead: the programs and the sockets are the real ones."""

    def __init__(self) -> None:
        super().__init__("unix:/none", teller())

    def run(self, *args: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            args[args.index("--") + 1 :], capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(args[args.index("--") + 1 :], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def free_ports() -> tuple[int, int]:
    import socket

    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def test_the_server_says_who_called_and_the_client_what_it_heard(free_ports: tuple[int, int]) -> None:
    cli = LocalExec()
    server = demo_traffic.Server(cli, "c", "server", free_ports)
    try:
        reply = demo_traffic.request(cli, "c", "client", "127.0.0.1", free_ports[0])
        assert reply.answer == f"port {free_ports[0]} saw 127.0.0.1"
        assert server.expect("served", 5) == ["served", str(free_ports[0]), "127.0.0.1"]
        assert server.silent(0.1)
    finally:
        server.stop()
    reply = demo_traffic.request(cli, "c", "client", "127.0.0.1", free_ports[1])
    assert reply.answer == ""
    assert "refused" in reply.error.lower()


def test_a_server_that_cannot_start_is_told_with_its_reason() -> None:
    with pytest.raises(StoryError, match="listening"):
        demo_traffic.Server(LocalExec(), "c", "server", (99999,))


def test_drops_are_counted_in_rules_and_in_named_counters() -> None:
    ruleset = {
        "nftables": [
            {"metainfo": {}},
            {"counter": {"name": "dropped_from_left", "packets": 4, "bytes": 240}},
            {"counter": {"name": "tcp_accepted", "packets": 90, "bytes": 1}},
            {"rule": {"expr": [{"match": {}}, {"counter": "dropped_from_left"}, {"drop": None}]}},
            {"rule": {"expr": [{"match": {}}, {"counter": "tcp_accepted"}, {"accept": None}]}},
            {"rule": {"expr": [{"counter": {"packets": 3, "bytes": 9}}, {"drop": None}]}},
        ]
    }
    assert demo_traffic.count_drops(ruleset) == 7
    assert demo_traffic.count_drops({}) == 0


def test_the_ends_address_is_the_first_global_one() -> None:
    devices = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "scope": "host"}]},
        {"ifname": "port", "addr_info": [{"local": "10.1.0.2", "scope": "global"}]},
    ]
    assert demo_traffic.first_address(json.dumps(devices)) == "10.1.0.2"
    assert demo_traffic.first_address("[]") is None
    assert demo_traffic.first_address("no json") is None


def test_pings_are_counted_from_the_first_answer_to_the_last() -> None:
    replies = [(3, 10.00), (4, 10.01), (6, 10.03), (5, 10.04), (9, 10.10)]
    count = demo_pings.tally(replies)
    assert (count.sent, count.lost) == (7, (7, 8))
    assert count.longest_gap_ms == pytest.approx(60)
    assert count.per_second == pytest.approx(60)
    assert demo_pings.tally([]).sent == 0


def test_answers_are_told_from_what_else_ping_says() -> None:
    found = demo_pings.REPLY.search("[1795279152.216460] 64 bytes from 10.9.0.2: icmp_seq=619 ttl=61 time=0.9 ms")
    assert found is not None
    assert (found["number"], found["at"]) == ("619", "1795279152.216460")
    for line in (
        "PING 10.9.0.2 (10.9.0.2) 56(84) bytes of data.",
        "[1795279152.216460] From 10.1.0.1 icmp_seq=7 Destination Host Unreachable",
    ):
        assert demo_pings.REPLY.search(line) is None


def test_a_trace_is_read_there_and_not_back() -> None:
    hops = [
        {"name": name, "cp": "left", "direction": direction, "at_us": at}
        for at, (name, direction) in enumerate(
            [("client", "forward"), ("fw", "forward"), ("fw", "forward"), ("server", "forward"), ("fw", "return")]
        )
    ]
    trace = {"chain": "c", "paths": [{"path": "web", "hops": []}, {"path": "default", "hops": hops}]}
    assert demo_live.traced(trace, "default") == ["client", "fw", "server"]
    assert demo_live.traced(trace, "web") == []


def test_only_a_process_of_the_vnfc_itself_may_be_killed() -> None:
    assert not demo_live.belongs_to(os.getpid(), "vnfc-1")
    assert not demo_live.belongs_to(0, "vnfc-1")


def test_what_is_missing_is_one_line_with_the_cure() -> None:
    checks = [
        {"name": "root", "ok": False, "detail": "uid 1000", "fix": "sudo make demo"},
        {"name": "crun", "ok": True, "detail": "1.8", "fix": ""},
        {"name": "/dev/net/tun", "ok": False, "detail": "not there", "fix": ""},
    ]
    assert demo.missing({"ok": False, "checks": checks}) == "root: uid 1000 → sudo make demo; /dev/net/tun: not there"
    assert demo.missing({"ok": True, "checks": checks}) is None
    assert demo.missing({"ok": False, "checks": []}) is not None


def test_the_state_folder_has_room_for_a_socket_and_is_one_a_clone() -> None:
    deep = Path("/" + "/".join(["a-long-folder-name"] * 12))
    folder = demo_cleanup.state_folder(deep)
    assert len(str(folder / "vnfm.sock")) < 60
    assert folder == demo_cleanup.state_folder(deep)
    assert folder != demo_cleanup.state_folder(deep / "other")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that names the state folder on its command line."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)])
    yield child
    child.kill()
    child.wait()


def test_a_process_on_the_state_folder_is_left_over_until_it_ends(tmp_path: Path) -> None:
    witness = demo_host.Witness(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)])
    try:
        assert [name.split()[:2] for name in witness.left_over(0).ours] == [["process", str(child.pid)]]
    finally:
        child.kill()
        child.wait()
    assert witness.left_over(0).ours == []


def test_what_was_there_before_does_not_count(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.json").write_text("{}")
    witness = demo_host.Witness(tmp_path)
    (tmp_path / "run" / "new.json").write_text("{}")
    assert witness.left_over(0).ours == [f"file {tmp_path}/run/new.json"]


def test_what_vanishes_in_time_is_not_left_over(tmp_path: Path) -> None:
    witness = demo_host.Witness(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)", str(tmp_path)])
    assert witness.left_over(10).ours == []
    child.wait()


def test_things_without_our_ids_are_anothers() -> None:
    assert demo_host._ours("link", ["eth7 vnfm 12ab vnfc-1 left"], {"vnfc-1"}) == {"eth7 vnfm 12ab vnfc-1 left"}
    assert demo_host._ours("link", ["eth7 vnfm 12ab vnfc-1 left"], {"vnfc-2"}) == set()
    assert demo_host._ours("loose file", ["/tmp/vnfm-x"], {"vnfm-x"}) == set()
    assert demo_host._ours("network namespace", ["vnfm-0123456789ab"], set()) == set()


def test_the_demo_itself_is_no_left_over() -> None:
    assert os.getpid() not in [pid for pid, _ in demo_host.processes_of(Path(sys.executable).parent)]


def test_ids_are_gathered_from_all_stamps(tmp_path: Path) -> None:
    folder = tmp_path / "plugins" / "local" / "run" / "links"
    folder.mkdir(parents=True)
    (folder / "link-1.json").write_text(json.dumps({"ends": [{"resource_id": "vnfc-7"}], "mtu": 1500}))
    (folder / "torn.json").write_text("{")
    assert {"link-1", "vnfc-7", "torn"} <= demo_host.stamped_ids(tmp_path)


class Stage(demo_run.Cli):
    """Operations as the manager would list them, and what was asked about them."""

    def __init__(self, *ops: dict[str, Any], after_stop: str = "FAILED_TEMP") -> None:
        super().__init__("unix:/none", teller())
        self.ops = {op["id"]: op for op in ops}
        self.after_stop = after_stop
        self.asked: list[tuple[str, ...]] = []
        self.refuses: set[str] = set()

    def ask(self, *args: str, tell: bool = False, progress: bool = False) -> Any:
        return list(self.ops.values()) if args == ("op", "list") else self.ops[args[2]]

    def run(self, *args: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        self.asked.append(args[:3])
        if args[1] in ("cancel", "watch"):
            self.ops[args[2]]["state"] = self.after_stop
        refused = args[1] in self.refuses
        return subprocess.CompletedProcess(args, int(refused), "", "")


@pytest.mark.parametrize(
    ("op", "asked"),
    [
        ({"operation": "CHAIN_CREATE", "state": "PROCESSING"}, ["cancel", "rollback"]),
        ({"operation": "CHAIN_CREATE", "state": "FAILED_TEMP"}, ["rollback"]),
        ({"operation": "CHAIN_TERMINATE", "state": "PROCESSING"}, ["watch", "retry"]),
        ({"operation": "CHAIN_TERMINATE", "state": "FAILED_TEMP"}, ["retry"]),
        ({"operation": "CHAIN_CREATE", "state": "COMPLETED"}, []),
        ({"operation": "INSTANTIATE", "state": "PROCESSING", "parent_id": "op-0"}, []),
    ],
)
def test_open_operations_are_brought_to_an_end_before_anything_is_terminated(
    op: dict[str, Any], asked: list[str]
) -> None:
    stage = Stage({"id": "op-1"} | op)
    demo_cleanup.settle_operations(stage)
    assert [args[1] for args in stage.asked] == asked


def test_a_change_that_has_begun_to_take_away_is_seen_through() -> None:
    stage = Stage({"id": "op-1", "operation": "CHAIN_UPDATE", "state": "FAILED_TEMP"})
    stage.refuses = {"rollback"}
    demo_cleanup.settle_operations(stage)
    assert [args[1] for args in stage.asked] == ["rollback", "retry"]
    stage.asked, stage.refuses = [], {"rollback", "retry"}
    demo_cleanup.settle_operations(stage)
    assert [args[1] for args in stage.asked] == ["rollback", "retry", "fail"]


def test_the_manager_is_ready_when_it_says_so_and_gone_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = tmp_path / "serve.py"
    serve.write_text("import sys, time\nprint('ready', sys.argv[-1], flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(demo_run, "vnfm_command", lambda: [sys.executable, str(serve)])
    manager = demo_run.Manager(tmp_path / "state", tmp_path / "log")
    manager.start()
    assert manager.running
    begun = time.monotonic()
    manager.kill()
    assert not manager.running
    manager.start()
    manager.stop()
    assert not manager.running
    assert time.monotonic() - begun < 10


def test_a_manager_that_fails_to_start_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; sys.exit('the state folder is in use by pid 7')"
    monkeypatch.setattr(demo_run, "vnfm_command", lambda: [sys.executable, "-c", code])
    with pytest.raises(StoryError, match="in use by pid 7"):
        demo_run.Manager(tmp_path / "state", tmp_path / "log").start()


def test_a_second_demo_of_the_same_clone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "BUILD", tmp_path)
    with demo.only_one(), pytest.raises(StoryError, match="another demo"), demo.only_one():
        pass


def test_a_host_that_lacks_something_stops_the_demo_before_anything_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lack = {"ok": False, "checks": [{"name": "root", "ok": False, "detail": "uid 1000", "fix": "sudo make demo"}]}
    monkeypatch.setattr(demo, "BUILD", tmp_path / "build")
    monkeypatch.setattr(demo, "state_folder", lambda: tmp_path / "state")
    monkeypatch.setattr(demo, "examine", lambda: lack)
    out = io.StringIO()
    assert demo.run(Teller(Console(file=out, width=200))) == 1
    assert "root: uid 1000 → sudo make demo" in out.getvalue()
    assert not (tmp_path / "state").exists()
