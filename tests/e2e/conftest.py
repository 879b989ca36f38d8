"""Fixtures of the end-to-end stories: the packages built once, a manager on a folder of its own, a host left clean."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_manager import ROOT, TENANTS, VNFM, Manager, private_folder
from e2e_packages import Packages


@pytest.fixture(scope="session")
def able_host() -> None:
    """This host can realize containers, microVMs and VMs; says why not where it cannot."""
    done = subprocess.run([*VNFM, "doctor", "-o", "json"], cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    if not report["ok"]:
        lacks = [f"{c['name']}: {c['detail']} ({c['fix']})" for c in report["checks"] if not c["ok"]]
        pytest.skip("this host cannot realize everything: " + "; ".join(lacks))


@pytest.fixture(scope="session")
def packages(able_host: None) -> Packages:
    """fw, rt, gw and mon with their images; kept in the checkout's build folder, so that a second run is quick."""
    images, folders = ROOT / "build/images", ROOT / "build/packages"
    argv = [sys.executable, "-m", "descriptors.images", "build", "all", "--cache", str(images), "--out", str(folders)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Packages(folders, ROOT / "build/e2e")


@pytest.fixture(scope="module")
def managers(able_host: None, packages: Packages) -> Iterator[list[Manager]]:
    """The managers of a module's stories; afterwards each is stopped and the host is looked at."""
    made: list[Manager] = []
    yield made
    trouble: list[str] = []
    for manager in made:
        trouble += manager.let_go()
    assert not trouble, "left behind:\n" + "\n".join(trouble)


@pytest.fixture(scope="module")
def manager(managers: list[Manager], packages: Packages) -> Manager:
    """A running manager with the sample packages onboarded, shared by a module's stories."""
    found = Manager(private_folder())
    managers.append(found)
    found.start()
    found.onboard(*(packages.csar(name) for name in ("fw", "rt", "gw", "mon")))
    return found


@pytest.fixture
def clean_end(manager: Manager) -> Iterator[None]:
    """A story that ends as it began: no chain, no open operation, nothing on the host."""
    yield
    if manager.process is None:
        manager.start()
    manager.take_all_down(TENANTS)
    manager.nothing_stands()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every story here builds on the real host, one at a time, and may have to wait for a loaded machine."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.host)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))
