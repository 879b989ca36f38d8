"""`vnfm doctor` shows the local plugin's own checks and never falls over with it."""

from __future__ import annotations

import json
import sys

import pytest

from vnfm.tools import doctor


def answering(text: str) -> list[str]:
    return [sys.executable, "-c", f"print({text!r})"]


def test_the_plugins_checks_are_shown_with_the_command_that_mends(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [
        {"name": "crun", "ok": False, "detail": "not installed", "fix": "apt-get install crun"},
        {"name": "root", "ok": True, "detail": "uid 0", "fix": None},
    ]
    report = doctor.examine(answering(json.dumps({"ok": False, "checks": checks})))
    assert doctor.show(report, "json") == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False, "checks": [checks[0], checks[1] | {"fix": ""}]}
    assert doctor.show(report, "table") == 1
    assert "→ apt-get install crun" in capsys.readouterr().out


def test_all_well_ends_with_0() -> None:
    assert doctor.show(doctor.examine(answering('{"ok": true, "checks": []}')), "json") == 0


@pytest.mark.parametrize(
    "command",
    [
        answering("no json"),
        answering('{"ok": true}'),
        [sys.executable, "-c", "import nothing_of_that_name"],
        ["/no/such/program"],
    ],
)
def test_a_plugin_that_does_not_answer_is_a_failed_check_with_a_fix(command: list[str]) -> None:
    report = doctor.examine(command)
    assert report["ok"] is False
    assert report["checks"][0]["fix"]


def test_a_doctor_that_hangs_is_given_up() -> None:
    report = doctor.examine([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)
    assert report["ok"] is False
