"""How commands end: 0 done, 1 refused or failed, 2 wrong use, 3 not reachable, 4 waiting timed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_manager import FakeManager, Run, op

from vnfm.cli.client import default_endpoint
from vnfm.pb.common.v1 import common_pb2
from vnfm.pb.nfvo.v1 import nfvo_pb2

NOT_FOUND: dict[str, Any] = {
    "type": "urn:vnfm:problem:not-found",
    "title": "Not found",
    "detail": "no chain is named nix",
    "instance": "nix",
    "retry": common_pb2.Problem.NEVER,
}


def test_a_problem_ends_with_1_and_stands_on_stdout_for_a_program(manager: FakeManager, vnfm: Run) -> None:
    manager.refuse("GetChain", grpc.StatusCode.NOT_FOUND, **NOT_FOUND)
    result = vnfm("chain", "show", "nix", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"problem": NOT_FOUND | {"retry": "NEVER"}}
    assert "no chain is named nix" in result.stderr


def test_a_problem_is_words_on_stderr_for_a_person(manager: FakeManager, vnfm: Run) -> None:
    manager.refuse("GetChain", grpc.StatusCode.NOT_FOUND, **NOT_FOUND)
    result = vnfm("chain", "show", "nix", "-o", "table")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == "error: Not found: no chain is named nix"


def test_an_error_without_a_problem_still_has_the_one_form(manager: FakeManager, vnfm: Run) -> None:
    result = vnfm("chain", "list", "-o", "json")  # no answer written down: UNIMPLEMENTED
    assert result.exit_code == 1
    problem = json.loads(result.stdout)["problem"]
    assert problem["type"] == "urn:vnfm:problem:unimplemented"
    assert "another version" in problem["detail"]


def test_no_socket_ends_with_3_and_names_endpoint_and_cure(vnfm: Run, tmp_path: Path) -> None:
    result = vnfm("chain", "list", "--endpoint", f"unix:{tmp_path}/none.sock")
    assert result.exit_code == 3
    assert f"unix:{tmp_path}/none.sock" in result.stderr
    assert "vnfm serve" in result.stderr


def test_a_socket_that_nobody_listens_on_ends_with_3(vnfm: Run, tmp_path: Path) -> None:
    (tmp_path / "dead.sock").touch()
    result = vnfm("op", "list", "--endpoint", f"unix:{tmp_path}/dead.sock", "-o", "json")
    assert result.exit_code == 3
    assert "connection refused" in result.stderr
    assert result.stdout == ""


def test_a_port_that_nobody_listens_on_ends_with_3(vnfm: Run) -> None:
    assert vnfm("vim", "list", "--endpoint", "127.0.0.1:9").exit_code == 3


@pytest.mark.parametrize(
    "args",
    [
        ("chain", "show"),
        ("chain", "list", "-o", "xml"),
        ("chain", "create", "no-such-file.yaml"),
        ("chain", "destroy", "x"),
        ("package", "onboard", "no-such-file.csar"),
        ("vim", "add", "m", "mock", "no-such-file.yaml"),
        ("op", "watch", "op-1", "--timeout", "soon"),
    ],
)
def test_wrong_use_ends_with_2(vnfm: Run, args: tuple[str, ...]) -> None:
    assert vnfm(*args).exit_code == 2


def test_a_manager_that_is_shutting_down_says_so_as_a_problem_not_as_unreachable(
    manager: FakeManager, vnfm: Run
) -> None:
    manager.refuse("GetChain", grpc.StatusCode.UNAVAILABLE, title="Parked", type="urn:vnfm:problem:parked")
    assert vnfm("chain", "show", "x").exit_code == 1


def test_every_call_carries_the_tenant(manager: FakeManager, vnfm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.answer("ListChains", [])
    assert vnfm("chain", "list").exit_code == 0
    assert vnfm("chain", "list", "--tenant", "blue").exit_code == 0
    monkeypatch.setenv("VNFM_TENANT", "green")
    assert vnfm("chain", "list").exit_code == 0
    assert [metadata["vnfm-tenant"] for _, _, metadata in manager.calls] == ["default", "blue", "green"]


def test_the_default_socket_is_where_serve_listens() -> None:
    assert default_endpoint({}, 0) == "unix:/var/lib/vnfm/vnfm.sock"
    assert default_endpoint({"XDG_STATE_HOME": "/s"}, 1000) == "unix:/s/vnfm/vnfm.sock"
    assert default_endpoint({"HOME": "/home/ann"}, 1000) == "unix:/home/ann/.local/state/vnfm/vnfm.sock"


def test_a_refusal_as_a_status_shows_every_finding_of_the_record(
    manager: FakeManager, vnfm: Run, tmp_path: Path
) -> None:
    csar = tmp_path / "bad.csar"
    csar.write_bytes(b"x")
    findings = [
        nfvo_pb2.Finding(severity="warning", code="w", file="a.yaml", line=1, message="odd"),
        nfvo_pb2.Finding(severity="error", code="e", file="a.yaml", line=3, message="first"),
        nfvo_pb2.Finding(severity="error", code="e", file="a.yaml", line=4, message="second"),
    ]
    manager.answer("CreatePackage", nfvo_pb2.Package(id="p-1", onboarding_state="CREATED"))
    refused = {"type": "urn:vnfm:problem:package-refused", "title": "Package refused", "detail": "first (and 1 more)"}
    manager.refuse("UploadPackage", grpc.StatusCode.INVALID_ARGUMENT, **refused)
    manager.answer("GetPackage", nfvo_pb2.Package(id="p-1", onboarding_state="ERROR", findings=findings))
    manager.answer("DeletePackage", nfvo_pb2.DeleteResponse())
    result = vnfm("package", "onboard", str(csar), "-o", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["problem"]["type"] == "urn:vnfm:problem:package-refused"
    assert [f["message"] for f in data["findings"]] == ["odd", "first", "second"]
    lines = [row.strip() for row in result.stderr.splitlines()]
    assert lines[-3:] == ["error a.yaml:3: first", "error a.yaml:4: second", "warning a.yaml:1: odd"]
    assert [r.ref for r in manager.requests("DeletePackage")] == ["p-1"]


def test_a_refused_package_ends_with_1_shows_every_finding_and_is_taken_away(
    manager: FakeManager, vnfm: Run, tmp_path: Path
) -> None:
    csar = tmp_path / "bad.csar"
    csar.write_bytes(b"x" * 600_000)
    finding = nfvo_pb2.Finding(
        severity="error", code="digest", file="a.yaml", line=3, message="the digest is wrong", hint="hash it again"
    )
    manager.answer("CreatePackage", nfvo_pb2.Package(id="p-1", onboarding_state="CREATED"))
    manager.answer("UploadPackage", nfvo_pb2.Package(id="p-1", onboarding_state="ERROR", findings=[finding]))
    manager.answer("DeletePackage", nfvo_pb2.DeleteResponse())
    result = vnfm("package", "onboard", str(csar), "-o", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["problem"]["type"] == "urn:vnfm:problem:package-refused"
    assert data["findings"][0]["message"] == "the digest is wrong"
    assert "error a.yaml:3: the digest is wrong — hash it again" in result.stderr
    assert [r.ref for r in manager.requests("DeletePackage")] == ["p-1"]
    (chunks,) = manager.requests("UploadPackage")
    assert chunks[0].package_id == "p-1"
    assert chunks[0].digest_policy == "strict"
    assert sum(len(c.data) for c in chunks) == 600_000


def test_an_upload_that_is_refused_takes_its_record_away(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    csar = tmp_path / "big.csar"
    csar.write_bytes(b"x")
    manager.answer("CreatePackage", nfvo_pb2.Package(id="p-2", onboarding_state="CREATED"))
    manager.refuse("UploadPackage", grpc.StatusCode.RESOURCE_EXHAUSTED, title="Disk full", detail="no space left")
    manager.answer("DeletePackage", nfvo_pb2.DeleteResponse())
    result = vnfm("package", "onboard", str(csar))
    assert result.exit_code == 1
    assert [r.ref for r in manager.requests("DeletePackage")] == ["p-2"]


def test_a_package_onboarded_before_under_the_same_request_is_only_shown(
    manager: FakeManager, vnfm: Run, tmp_path: Path
) -> None:
    csar = tmp_path / "good.csar"
    csar.write_bytes(b"x")
    manager.answer("CreatePackage", nfvo_pb2.Package(id="p-3", onboarding_state="ONBOARDED"))
    result = vnfm("package", "onboard", str(csar), "--request-id", "r-1", "-o", "json")
    assert result.exit_code == 0
    assert manager.requests("CreatePackage")[0].request_id == "r-1"
    assert manager.requests("UploadPackage") == []


def test_an_infeasible_plan_ends_with_1(manager: FakeManager, vnfm: Run, tmp_path: Path) -> None:
    from fake_manager import struct

    chain = tmp_path / "c.yaml"
    chain.write_text("chain: vcpe\n")
    refused = {"proof": "no host offers VM", "detail": "gw needs a VM", "minimal_change": "allow KATA for gw"}
    manager.answer(
        "PlanChain", nfvo_pb2.ChainPlan(chain="vcpe", feasible=False, body=struct({"vnfs": [], "refused": refused}))
    )
    result = vnfm("chain", "plan", str(chain), "-o", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["feasible"] is False
    assert data["refused"] == refused
    assert data["problem"]["detail"] == "gw needs a VM"


@pytest.mark.parametrize(("state", "code"), [("ROLLED_BACK", 0), ("FAILED_TEMP", 1), ("COMPLETED", 1)])
def test_rollback_succeeds_when_everything_was_taken_back(
    manager: FakeManager, vnfm: Run, state: str, code: int
) -> None:
    manager.answer("ControlOpOcc", op("ROLLING_BACK"))
    manager.answer("WatchOpOcc", [op("ROLLING_BACK"), op(state)])
    assert vnfm("op", "rollback", "op-1").exit_code == code
    assert manager.requests("ControlOpOcc")[0].action == "rollback"


def test_fail_is_done_at_once_and_is_no_failure_of_the_command(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("ControlOpOcc", op("FAILED"))
    assert vnfm("op", "fail", "op-1").exit_code == 0


def test_cancel_waits_for_rest_and_says_how(manager: FakeManager, vnfm: Run) -> None:
    manager.answer("ControlOpOcc", op("PROCESSING", is_cancel_pending=True))
    manager.answer("WatchOpOcc", [op("FAILED_TEMP")])
    assert vnfm("op", "cancel", "op-1", "--forceful").exit_code == 0
    assert manager.requests("ControlOpOcc")[0].cancel_mode == "FORCEFUL"
