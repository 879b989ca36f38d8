"""What commands ask of the API, the JSON they print, and how streams are passed through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_manager import CHAIN_BODY, PLAN_BODY, FakeManager, Run, inventory_pieces, op, step, struct

from vnfm.pb.nfvo.v1 import nfvo_pb2

ROOT = Path(__file__).resolve().parents[3]


def test_the_plan_has_the_documented_shape_with_whole_numbers(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    chain = tmp_path / "c.yaml"
    chain.write_text("chain: vcpe\n")
    manager.answer("PlanChain", nfvo_pb2.ChainPlan(chain="vcpe", feasible=True, body=struct(PLAN_BODY)))
    result = vnfm("chain", "plan", str(chain), "-o", "json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data == {"chain": "vcpe", "feasible": True} | PLAN_BODY
    assert '"bandwidth_bps": 1000000000' in result.stdout
    assert '"latency_us": 12.5' in result.stdout
    assert manager.requests("PlanChain")[0].filename == str(chain)


def test_as_nsd_prints_the_long_form_and_nothing_else(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    chain = tmp_path / "c.yaml"
    chain.write_text("chain: vcpe\n")
    manager.answer("PlanChain", nfvo_pb2.ChainPlan(chain="vcpe", feasible=True, nsd_yaml="tosca: yes\n"))
    assert vnfm("chain", "plan", str(chain), "--as-nsd").stdout == "tosca: yes\n"


def test_chain_show_has_the_documented_shape(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("GetChain", nfvo_pb2.Chain(id="c-1", name="vcpe", state="INSTANTIATED", body=struct(CHAIN_BODY)))
    data = json.loads(vnfm("chain", "show", "vcpe").stdout)
    assert data == {"id": "c-1", "name": "vcpe", "state": "INSTANTIATED"} | CHAIN_BODY


def test_yaml_holds_the_same_as_json(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("ListChains", [nfvo_pb2.Chain(id="c-1", name="vcpe", state="FAILED", body=struct(CHAIN_BODY))])
    as_yaml = yaml.safe_load(vnfm("chain", "list", "-o", "yaml").stdout)
    assert as_yaml == json.loads(vnfm("chain", "list", "-o", "json").stdout)


def test_an_operation_has_the_documented_shape(manager: FakeManager, vnfm: Run) -> None:
    message = op("PROCESSING", 50, step("probe", "STARTED", 0.25, "3 of 10"), affected=struct({"vnfs": ["vnf-1"]}))
    message.started_at.FromJsonString("2026-01-02T03:04:05Z")
    manager.answer("GetOpOcc", message)
    assert json.loads(vnfm("op", "show", "op-1").stdout) == {
        "id": "op-1",
        "operation": "CHAIN_CREATE",
        "state": "PROCESSING",
        "progress_percent": 50,
        "target": "vcpe",
        "started_at": "2026-01-02T03:04:05Z",
        "state_entered_at": None,
        "is_cancel_pending": False,
        "parent_id": None,
        "error": None,
        "steps": [{"name": "probe", "state": "STARTED", "seconds": 0.25, "detail": "3 of 10"}],
        "affected": {"vnfs": ["vnf-1"]},
    }


def test_a_package_has_the_documented_shape(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("GetPackage", nfvo_pb2.Package(id="p-1", vnfd_id="v", provider="P", onboarding_state="ONBOARDED"))
    data = json.loads(vnfm("package", "show", "p-1").stdout)
    wanted = "id vnfd_id provider product version onboarding_state operational_state usage_state"
    assert set(wanted.split()) <= set(data)


def test_an_inventory_in_pieces_becomes_one_document(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("ReadInventory", inventory_pieces("m", 5))
    data = json.loads(vnfm("vim", "inventory", "m", "-o", "json").stdout)
    assert [host["id"] for host in data["hosts"]] == ["h0", "h1", "h2", "h3", "h4"]
    assert (data["vim"], data["version"], data["summary"]["hosts"]) == ("m", 7, 5)
    assert data["links"] == [{"a": "h0", "b": "tor"}]
    assert (data["latencies"], data["licences"]) == ([], [])


def test_a_table_of_many_hosts_says_what_they_are_together_unless_all_are_asked_for(
    manager: FakeManager, vnfm: Run
) -> None:
    manager.answer("ReadInventory", inventory_pieces("m", 51, piece=30))
    short = vnfm("vim", "inventory", "m", "-o", "table")
    assert "h0" not in short.stdout
    assert "51 hosts: --all" in short.stderr
    assert "1.5 of 4" in short.stdout
    every = vnfm("vim", "inventory", "m", "-o", "table", "--all")
    assert all(f"h{number}" in every.stdout for number in (0, 29, 30, 50))
    assert "--all" not in every.stderr
    assert not any(request.summary_only for request in manager.requests("ReadInventory"))


def test_a_simulated_vim_is_a_mock_that_was_told_how_many_hosts(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("AddVim", nfvo_pb2.Vim(name="dc", kind="mock", state="CONNECTED"))
    manager.answer("ReadInventory", inventory_pieces("dc", 3)[:1])
    data = json.loads(vnfm("vim", "simulate", "dc", "--hosts", "3", "--seed", "9", "-o", "json").stdout)
    assert (data["name"], data["kind"], data["seed"], data["summary"]["hosts"]) == ("dc", "mock", 9, 3)
    (request,) = manager.requests("AddVim")
    assert request.config == struct({"simulate": {"hosts": 3, "seed": 9}})
    vnfm("vim", "simulate", "dc", "--hosts", "3", "--open-workers")
    assert manager.requests("AddVim")[1].config == struct({"simulate": {"hosts": 3, "seed": 0, "open_workers": True}})
    assert vnfm("vim", "simulate", "dc", "--hosts", "0").exit_code == 2
    assert vnfm("vim", "simulate", "dc").exit_code == 2


def test_vim_add_reads_its_settings_from_a_file(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    config = tmp_path / "mock.yaml"
    config.write_text("hosts: 3\nzones: [a, b]\n")
    manager.answer("AddVim", nfvo_pb2.Vim(name="m", kind="mock", state="STARTING"))
    assert vnfm("vim", "add", "m", "mock", str(config)).exit_code == 0
    (request,) = manager.requests("AddVim")
    assert request.config == struct({"hosts": 3, "zones": ["a", "b"]})
    config.write_text("- a list\n")
    assert vnfm("vim", "add", "m", "mock", str(config)).exit_code == 2


@pytest.mark.parametrize(
    ("args", "method", "answer"),
    [
        (("package", "list"), "ListPackages", []),
        (("package", "disable", "p"), "ChangePackage", nfvo_pb2.Package(id="p")),
        (("package", "enable", "p"), "ChangePackage", nfvo_pb2.Package(id="p")),
        (("package", "delete", "p"), "DeletePackage", nfvo_pb2.DeleteResponse()),
        (("chain", "probe", "c"), "ProbeChain", nfvo_pb2.Chain(id="c")),
        (("chain", "terminate", "c", "--no-wait"), "TerminateChain", op("STARTING")),
        (("chain", "delete", "c"), "DeleteChain", nfvo_pb2.DeleteResponse()),
        (("vnf", "create", "d", "--name", "n"), "CreateVnf", nfvo_pb2.VnfInstance(id="v")),
        (("vnf", "instantiate", "v", "--no-wait"), "InstantiateVnf", op("STARTING")),
        (("vnf", "list"), "ListVnfs", [nfvo_pb2.VnfInstance(id="v")]),
        (("vnf", "show", "v"), "GetVnf", nfvo_pb2.VnfInstance(id="v", body=struct({"vnfcs": [{"id": "c"}]}))),
        (("vnf", "terminate", "v", "--no-wait"), "TerminateVnf", op("STARTING")),
        (("vnf", "delete", "v"), "DeleteVnf", nfvo_pb2.DeleteResponse()),
        (("op", "list"), "ListOpOccs", [op("COMPLETED", 100)]),
        (("op", "retry", "o", "--no-wait"), "ControlOpOcc", op("PROCESSING")),
        (("vim", "list"), "ListVims", [nfvo_pb2.Vim(name="local")]),
        (("vim", "show", "local"), "GetVim", nfvo_pb2.Vim(name="local")),
        (("vim", "inventory", "local"), "ReadInventory", inventory_pieces("local", 2)),
        (("vim", "inventory", "local", "--summary"), "ReadInventory", inventory_pieces("local", 2)[:1]),
        (("vim", "remove", "local"), "RemoveVim", nfvo_pb2.DeleteResponse()),
    ],
)
@pytest.mark.parametrize("form", ["json", "yaml", "table"])
def test_each_command_calls_its_method_and_prints_in_every_form(
    manager: FakeManager, vnfm: Run, args: tuple[str, ...], method: str, answer: Any, form: str
) -> None:
    manager.answer(method, answer)
    result = vnfm(*args, "-o", form)
    assert result.exit_code == 0, result.output
    assert [name for name, _, _ in manager.calls] == [method]
    if form == "json":
        json.loads(result.stdout)
    elif form == "yaml":
        yaml.safe_load(result.stdout)


def test_a_probe_that_nothing_answers_is_a_failure(manager: FakeManager, vnfm: Run) -> None:
    hops = [{"from": "client", "to": "fw", "sent": 10, "received": 0, "rtt_us": None}]
    manager.answer("ProbeChain", nfvo_pb2.Chain(id="c-1", name="vcpe", body=struct({"probe": {"hops": hops}})))
    result = vnfm("chain", "probe", "vcpe", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problem"]["type"] == "urn:vnfm:problem:path-broken"
    assert "client → fw" in result.stderr


def test_a_picture_is_written_to_the_file(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    manager.answer("GraphChain", nfvo_pb2.ChainPicture(svg="<svg>→</svg>"))
    assert vnfm("chain", "graph", "vcpe", "-o", str(tmp_path / "v.svg")).exit_code == 0
    assert (tmp_path / "v.svg").read_text(encoding="utf-8") == "<svg>→</svg>"
    assert vnfm("chain", "graph", "vcpe", "-o", str(tmp_path / "no/v.svg")).exit_code == 2


def run_outside(manager: FakeManager, *args: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """The command as a process of its own, for what concerns file descriptors."""
    program = [sys.executable, "-c", "from vnfm.cli.main import main; main()"]
    end = args.index("--") if "--" in args else len(args)
    command = [*program, *args[:end], "--endpoint", manager.endpoint, *args[end:]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False, **settings)


def test_exec_passes_streams_and_the_exit_code_through(manager: FakeManager) -> None:
    seen: list[Any] = []

    def cat(requests: Iterator[nfvo_pb2.ExecSapInput], _context: Any) -> Iterator[nfvo_pb2.ExecVnfOutput]:
        for request in requests:
            seen.append(request)
            if request.stdin:
                yield nfvo_pb2.ExecVnfOutput(stdout=request.stdin)
            if request.eof:
                break
        yield nfvo_pb2.ExecVnfOutput(stderr=b"bye\n")
        yield nfvo_pb2.ExecVnfOutput(exited=True, exit_code=7)

    manager.answer("ExecSap", cat)
    done = run_outside(manager, "chain", "exec", "vcpe", "client", "--", "cat", "-u", input=b"\x00bytes\xff")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\x00bytes\xff", b"bye\n")
    assert (seen[0].ref, seen[0].sap, list(seen[0].command)) == ("vcpe", "client", ["cat", "-u"])


def test_exec_ends_with_its_command_though_stdin_stays_open(manager: FakeManager) -> None:
    manager.answer("ExecVnf", lambda _requests, _context: iter([nfvo_pb2.ExecVnfOutput(exited=True)]))
    child = subprocess.Popen(
        [sys.executable, "-c", "from vnfm.cli.main import main; main()", "vnf", "exec", "fw", "--endpoint",
         manager.endpoint, "--", "true"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.wait(timeout=20) == 0
    assert child.stderr is not None
    assert child.stderr.read() == b""


def test_an_exec_whose_connection_ends_first_is_a_failure(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("ExecVnf", lambda _requests, _context: iter([nfvo_pb2.ExecVnfOutput(stdout=b"half")]))
    done = run_outside(manager, "vnf", "exec", "fw", "--", "true", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert b"before the command did" in done.stderr


def test_events_go_on_from_the_cursor_after_the_stream_broke(manager: FakeManager, vnfm: Run) -> None:
    def events(request: nfvo_pb2.WatchEventsRequest, _context: Any) -> Iterator[nfvo_pb2.Event]:
        yield nfvo_pb2.Event(cursor=request.after + 1, type="VnfLcmOperationOccurrenceNotification")

    manager.answer("WatchEvents", events)
    result = vnfm("events", "watch", "--after", "41", "--count", "3", "-o", "json")
    assert [json.loads(line)["cursor"] for line in result.stdout.splitlines()] == [42, 43, 44]
    assert [r.after for r in manager.requests("WatchEvents")] == [41, 42, 43]


def test_the_command_starts_without_the_managers_rooms() -> None:
    code = """
import sys, vnfm.cli.main
print(*sorted(m for m in sys.modules if m.startswith("vnfm.") and not m.startswith(("vnfm.cli", "vnfm.pb"))))
print(*(m for m in ("yaml", "rich.live", "rich.progress", "sqlalchemy", "networkx") if m in sys.modules))
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.split() == []
