"""A service of the lab that was killed is missed, and the lab is made whole by the order that raises it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from labs.openstack.lab import Lab
from labs.openstack.processes import Processes
from openstack_stage import Stage

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]


def _lab(order: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "labs.openstack", order, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_killed_service_is_named_and_started_again(stage: Stage, lab: Path) -> None:
    processes = Processes(Lab(lab))
    others = {name: processes.pid(name) for name in processes.known() if name != "heat"}
    pid = processes.pid("heat")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    said = _lab("status", lab)
    assert said.returncode == 1
    assert "heat does not run" in said.stdout
    repaired = _lab("up", lab)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "heat had died and is started again" in repaired.stdout
    assert processes.pid("heat") not in (None, pid)
    assert {name: processes.pid(name) for name in others} == others
    list(stage.member.orchestration.stacks())
