"""Parts of the OpenStack lab that need none of its packages: its processes, and which cloud tests take."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from labs.openstack import debian
from labs.openstack import standing as standings
from labs.openstack.console import LabError
from labs.openstack.lab import Lab
from labs.openstack.processes import Processes, Service, kill
from labs.openstack.standing import Cloud, standing

SLEEPER = Service("sleeper", ["sh", "-c", "sleep 1000000 & echo $! >child; wait"])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    for name in ("run", "log"):
        (made.folder / name).mkdir(parents=True)
    yield made
    kill(Processes(made).all())


def child(lab: Lab) -> int:
    """The sleeper's own child, once it is there."""
    while not (path := lab.folder / "child").exists() or not path.read_text().endswith("\n"):
        time.sleep(0.01)
    return int(path.read_text())


def test_a_service_is_known_again_by_another_look_at_the_folder(lab: Lab) -> None:
    Processes(lab).start(SLEEPER)
    assert Processes(lab).known() == ["sleeper"]
    assert Processes(lab).pid("sleeper") is not None
    Processes(lab).stop(["sleeper"])
    assert Processes(lab).pid("sleeper") is None
    assert Processes(lab).known() == []


def test_what_a_killed_service_leaves_behind_goes_before_it_is_started_again(lab: Lab) -> None:
    processes = Processes(lab)
    processes.start(SLEEPER)
    left, pid = child(lab), processes.pid("sleeper")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while processes.pid("sleeper") is not None:
        time.sleep(0.01)
    assert left in processes.orphans("sleeper")
    (lab.folder / "child").unlink()
    processes.start(SLEEPER)
    fresh = child(lab)
    assert processes.all() != []
    assert left not in processes.orphans("sleeper")
    assert fresh in processes.orphans("sleeper")


def test_a_number_that_another_process_has_now_is_not_taken_for_ours(lab: Lab) -> None:
    with subprocess.Popen(["sleep", "1000000"]) as stranger:
        record = {"pid": stranger.pid, "started": "1"}
        (lab.run("sleeper.process")).write_text(json.dumps(record))
        assert Processes(lab).pid("sleeper") is None
        Processes(lab).stop(["sleeper"])
        assert stranger.poll() is None
        stranger.kill()


def test_without_a_lab_the_reason_names_what_to_do(tmp_path: Path) -> None:
    found = standing({"VNFM_LAB_OPENSTACK": str(tmp_path)})
    assert isinstance(found, str)
    assert "make lab-openstack" in found
    assert str(tmp_path) in found


def test_a_named_cloud_is_taken_as_it_is(tmp_path: Path) -> None:
    found = standing({"VNFM_LAB_OPENSTACK": str(tmp_path), "OS_CLOUD": "ours", "OS_CLIENT_CONFIG_FILE": "/etc/c.yaml"})
    assert isinstance(found, Cloud)
    assert (found.member, found.clouds_file, found.admin, found.lab) == ("ours", Path("/etc/c.yaml"), None, None)


def test_a_lab_that_answers_is_taken_even_where_its_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clouds.yaml").touch()
    with socket.create_server(("127.0.0.1", 0)) as keystone:
        monkeypatch.setattr(standings, "PORTS", {"keystone": keystone.getsockname()[1]})
        for more in ({}, {"OS_CLOUD": "lab", "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")}):
            found = standing({"VNFM_LAB_OPENSTACK": str(tmp_path), **more})
            assert isinstance(found, Cloud)
            assert (found.lab, found.admin) == (tmp_path, "lab-admin")
            assert set(found.wires) == {"physnet1", "physnet2"}


def test_what_ignores_its_end_and_hides_whose_it_is_ends_with_its_service(lab: Lab) -> None:
    stubborn = "env -i sh -c 'trap \"\" TERM; echo $$ >child; exec sleep 1000000' & trap 'exit 0' TERM; wait"
    processes = Processes(lab)
    processes.start(Service("stubborn", ["sh", "-c", stubborn]))
    left = child(lab)
    processes.stop(["stubborn"], 1)
    assert not Path(f"/proc/{left}").exists() or "Z" in Path(f"/proc/{left}/stat").read_text().rsplit(")", 1)[1][:3]


def test_an_installation_that_hangs_is_ended_and_says_where(tmp_path: Path) -> None:
    slow = f"echo fetching 3 of 99; sleep 1000000 & echo $! >{tmp_path / 'child'}; wait"
    with (tmp_path / "log").open("w+") as log, pytest.raises(LabError) as told:
        debian.in_time(["sh", "-c", slow], time.monotonic() + 1, log)
    assert "too slow" in str(told.value)
    assert "fetching 3 of 99" in str(told.value)
    pid = int((tmp_path / "child").read_text())
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]:
        time.sleep(0.01)
