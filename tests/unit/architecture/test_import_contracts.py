"""The floors hold, and a bad import of each kind is seen: planted into a copy, refused by the contract's name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINT = Path(sys.executable).with_name("lint-imports")

PLANTED = {  # contract -> (file, its bad import)
    "The rooms are floors": ("vnfm/model/lcm.py", "import vnfm.lcm.machine"),
    "The command line is only a client": ("vnfm/cli/output.py", "import vnfm.lcm.machine"),
    "The core does not know the wire": ("vnfm/lcm/machine.py", "import vnfm.pb.vim.v1.vim_pb2"),
    "The kit knows only the protos": ("vnfm/pluginkit/problems.py", "import vnfm.model.problem"),
    "Plugins know only the protos and the kit": ("plugins/mock/rules.py", "import vnfm.model.problem"),
    "Plugins are strangers to each other": ("plugins/mock/world.py", "import plugins.local.host"),
    "One room reads TOSCA": ("vnfm/graph/build.py", "import toscaparser.tosca_template"),
}


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [LINT, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code to plant into."""
    folder = tmp_path_factory.mktemp("house")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "agent", "migrations")
    for part in ("vnfm", "plugins"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def planted(house: Path) -> str:
    """What is said of a house in which every contract is broken once, and of nothing else."""
    code, told = lint(house)
    assert code == 0, told
    for name, statement in PLANTED.values():
        path = house / name
        path.write_text(f"{path.read_text()}\n\n{statement}\n")
    code, told = lint(house)
    assert code == 1, told
    return told


def test_every_contract_is_tried(planted: str) -> None:
    contracts = re.findall(r'^name = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert sorted(c for c in contracts if c != "vnfm") == sorted(PLANTED)


@pytest.mark.parametrize("contract", PLANTED)
def test_a_bad_import_is_refused_by_the_contracts_name(planted: str, contract: str) -> None:
    name, statement = PLANTED[contract]
    assert f"{contract} BROKEN" in planted
    source = name.removesuffix(".py").replace("/", ".")
    target = statement.removeprefix("import ")
    # an external package is told by its root
    target = target if target.startswith(("vnfm", "plugins")) else target.split(".")[0]
    section = planted.split("Broken contracts", 1)[1].split(contract, 1)[1]
    assert re.search(rf"{re.escape(source)} -> {re.escape(target)}\b", section), planted
