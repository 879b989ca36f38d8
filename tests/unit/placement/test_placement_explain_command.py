"""`vnfm placement explain`: why chains of a file lie where they lie, or why they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import format_clouds
import pytest

ROOT = Path(__file__).resolve().parents[3]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "vnfm.main", "placement", "explain", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cloud = format_clouds.make("tiny", 3, chains=0)
    cloud["chains"] = list(format_clouds.requests("tiny", 3, 3))
    cloud["chains"][2]["vnfs"][0]["cpu"] = 10**6
    path = tmp_path_factory.mktemp("explain") / "instance.json"
    path.write_text(json.dumps(cloud))
    return path


def test_each_chain_is_told_of_and_what_is_refused_says_what_was_proved(instance: Path) -> None:
    done = _run(str(instance), "-o", "json")
    told = json.loads(done.stdout)["chains"]
    assert (done.returncode, [c["accepted"] for c in told]) == (1, [True, True, False])
    assert {"chosen", "realizations", "filters", "score", "runner_up"} <= set(told[0]["vnfs"][0])
    assert told[2]["refused"]["proof"] == "host"
    assert told[2]["refused"]["minimal_change"]


def test_one_chain_is_told_of_as_it_would_lie_after_those_before_it(instance: Path) -> None:
    every = json.loads(_run(str(instance), "-o", "json").stdout)["chains"]
    done = _run(str(instance), "--chain", every[1]["id"], "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["chains"]) == (0, [every[1]])
    assert every[1]["vnfs"][0]["chosen"]["node"] in _run(str(instance), "-o", "table").stdout


def test_what_cannot_be_read_ends_with_a_sentence(instance: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"format": "other"}')
    for arguments, code, says in (
        ((str(instance), "--chain", "nope"), 2, "nope"),
        ((str(tmp_path / "broken.json"),), 2, "cannot be read"),
        ((str(tmp_path / "none.json"),), 2, "cannot be read"),
        ((str(tmp_path / "other.json"),), 1, "format"),
    ):
        done = _run(*arguments)
        assert done.returncode == code, done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
