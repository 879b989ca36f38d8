"""The composed command: what works on a path needs no manager, and what asks the manager stays quick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def vnfm(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vnfm.main", *args], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_folder_is_shown_without_a_manager_and_a_broken_one_refused(tmp_path: Path) -> None:
    (tmp_path / "TOSCA-Metadata").mkdir()
    (tmp_path / "TOSCA-Metadata" / "TOSCA.meta").write_text("nonsense")
    for form in ("json", "yaml", "table"):
        done = vnfm("package", "show", str(tmp_path), "-o", form)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert json.loads(vnfm("package", "show", str(tmp_path), "-o", "json").stdout)["ok"] is False


def test_a_name_that_is_no_path_is_asked_of_the_manager() -> None:
    done = vnfm("package", "show", "no-such-path", "--endpoint", "unix:/nowhere.sock")
    assert done.returncode == 3


def test_package_has_its_offline_commands_beside_the_clients() -> None:
    text = vnfm("package", "--help").stdout
    for name in ("validate", "build", "show", "onboard", "list", "disable", "enable", "delete"):
        assert f" {name} " in text


def test_starting_loads_no_room_of_the_manager() -> None:
    code = (
        "import sys, vnfm.main, vnfm.commands\n"
        "heavy = ('vnfm.app', 'vnfm.api', 'vnfm.store', 'vnfm.lcm', 'vnfm.placement', 'vnfm.tosca', 'vnfm.graph',"
        " 'toscaparser', 'sqlalchemy', 'networkx', 'numpy', 'yaml')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
