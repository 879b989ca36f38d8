"""Every failure is one status with one problem that fits into a trailer and tells no secrets."""

from __future__ import annotations

import errno

import pytest
import structlog

from vnfm.pb.common.v1.common_pb2 import Handle, Problem
from vnfm.pluginkit import log, problems


def _problem(error: problems.PluginError) -> Problem:
    status = problems.to_status(error)
    assert len(status.details) == 1
    problem = Problem()
    assert status.details[0].Unpack(problem)
    return problem


def test_a_problem_travels_whole() -> None:
    error = problems.no_capacity("host h is full", instance="r-1")
    problem = _problem(error)
    assert problem.type == "urn:vnfm:problem:insufficient-capacity"
    assert problem.title == "Insufficient capacity"
    assert (problem.detail, problem.instance) == ("host h is full", "r-1")
    assert problem.retry == Problem.NEW_PLACEMENT
    assert problems.to_status(error).code == 8


def test_a_thousand_lines_and_a_hundred_handles_fit_into_a_trailer() -> None:
    lines = "first line\n" + "noise ünïcode\n" * 10_000 + "the last line says why"
    partial = [Handle(resource_id=f"resource-{number}", state=b"s" * 500) for number in range(100)]
    status = problems.to_status(problems.failed(lines, partial=partial))
    assert len(status.SerializeToString()) * 4 / 3 + len(status.message.encode()) * 3 < 8000
    problem = _problem(problems.failed(lines, partial=partial))
    assert problem.detail.startswith("first line")
    assert problem.detail.endswith("the last line says why")
    assert [handle.resource_id for handle in problem.partial[:2]] == ["resource-0", "resource-1"]


def test_what_nobody_expected_is_told_without_its_text() -> None:
    with structlog.testing.capture_logs() as lines:
        error = problems.as_plugin_error(KeyError("password=hunter2"), "AllocateLink")
    assert error.code.name == "INTERNAL"
    assert "hunter2" not in str(problems.to_status(error))
    assert "KeyError" in error.problem.detail
    assert lines[0]["exc_info"].args == ("password=hunter2",)


def test_a_full_disk_has_a_name() -> None:
    error = problems.as_plugin_error(OSError(errno.ENOSPC, "No space left on device"), "PutImage")
    assert (error.code.name, error.word) == ("RESOURCE_EXHAUSTED", "no-space")
    assert error.problem.retry == Problem.SAME_CALL


@pytest.mark.parametrize("key", ["password", "api_key", "auth_token", "client_secret", "VNFM_PLUGIN_COOKIE"])
def test_secrets_do_not_reach_the_log(key: str) -> None:
    event = log.redact(None, "info", {"event": "configured", "host": "h", "config": {"list": [{key: "hunter2"}]}})
    assert "hunter2" not in str(event)
    assert event["host"] == "h"
