"""The story of one chain over two VIMs, from packages to packets to nothing left, on the lab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.openstack, pytest.mark.host, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[3]


def test_the_demo_over_two_vims_holds(lab: Path) -> None:
    """Each of its steps checks what it tells; the first that does not hold ends it with 1."""
    argv = [sys.executable, str(ROOT / "tools/demo_openstack.py")]
    environment = {**os.environ, "COLUMNS": "160"}
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for words in (
        "VXLAN on tunnels, pop1 leads",
        "port 8080 passes",
        "port 2323 does not",
        "no stack, server, network or group of ours is left",
        "none of ours is left",
    ):
        assert words in done.stdout
