"""What Neutron's agent leaves in the host's packet filter goes with the lab, and nothing else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[3]
TAP = "tap0a1b2c3d-4e"
Run = Callable[..., str]


@pytest.fixture
def host() -> Iterator[Run]:
    """A network namespace with a packet filter of its own."""
    if os.geteuid() != 0 or shutil.which("ebtables") is None:
        pytest.skip("needs root and ebtables (make lab-openstack installs it)")
    name = f"vnfm-grd{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
        argv = ["ip", "netns", "exec", name, *words]
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    subprocess.run(["ip", "netns", "delete", name], check=True)


def guards(run: Run, order: str) -> str:
    return run(sys.executable, "-c", f"from pathlib import Path; from labs.openstack import guards; {order}").strip()


def agent(run: Run) -> None:
    """As neutron-linuxbridge-agent guards a tap."""
    for kind, match in (("MAC", []), ("ARP", ["-p", "ARP"])):
        chain = f"neutron{kind}-{TAP}"
        run("ebtables", "-t", "nat", "-N", chain, "-P", "DROP")
        run("ebtables", "-t", "nat", "-A", "PREROUTING", "-i", TAP, *match, "-j", chain)
    run("ebtables", "-t", "nat", "-A", f"neutronMAC-{TAP}", "-i", TAP, "-s", "fa:16:3e:00:00:01", "-j", "RETURN")


def test_a_table_that_came_with_the_lab_goes_with_it(host: Run, tmp_path: Path) -> None:
    memory = f"Path({str(tmp_path / 'guards.json')!r})"
    guards(host, f"guards.remember({memory})")
    agent(host)
    guards(host, f"guards.remember({memory})")
    assert f"neutronMAC-{TAP}" in guards(host, "print(guards.left())")
    guards(host, f"guards.remove({memory})")
    assert guards(host, "print(guards.left())") == "[]"
    assert host("nft", "list", "ruleset") == ""


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_others_have_there_stays(host: Run, tmp_path: Path, when: str) -> None:
    memory = f"Path({str(tmp_path / 'guards.json')!r})"
    others = ["ebtables", "-t", "nat", "-A", "PREROUTING", "-i", "eth7", "-j", "DROP"]
    if when == "before":
        host(*others)
    guards(host, f"guards.remember({memory})")
    if when == "meanwhile":
        host(*others)
    agent(host)
    guards(host, f"guards.remove({memory})")
    kept = host("nft", "list", "ruleset")
    assert '"eth7"' in kept
    assert "neutron" not in kept


def test_where_nothing_is_there_is_nothing_to_do(host: Run, tmp_path: Path) -> None:
    guards(host, f"guards.remove(Path({str(tmp_path / 'none')!r}))")
    assert host("nft", "list", "ruleset") == ""
