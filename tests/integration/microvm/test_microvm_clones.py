"""Guests that were not booted: what they must not have in common, and when there is no template to clone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.microvm import heartbeat, templates
from tests.integration.microvm.conftest import PREFIX, REPOSITORY, Bundler, Runtime, sh

OFF = {"vnfm.template": "off"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the templates of one test."""
    place = Path(f"/dev/shm/{PREFIX}-{tmp_path.name}")
    monkeypatch.setenv("VNFM_MICROVM_TEMPLATES", str(place))
    yield place
    sh("rm", "-rf", str(place))


def about(runtime: Runtime, name: str) -> dict[str, Any]:
    found: dict[str, Any] = runtime.state(name)["vnfm"]
    return found


def kept(place: Path) -> list[Path]:
    return [entry.path for entry in templates.entries(place)]


def test_two_clones_are_two_guests(runtime: Runtime, bundle: Bundler, namespaces: Callable[[str], str]) -> None:
    peer = namespaces("p")
    seen = []
    for number in (1, 2):
        netns, name = namespaces(f"n{number}"), f"twin{number}"
        sh("ip", "-n", netns, "link", "add", "left", "type", "veth", "peer", "name", f"p{number}", "netns", peer)
        sh("ip", "-n", netns, "addr", "add", f"10.7.{number}.2/24", "dev", "left")
        sh("ip", "-n", netns, "link", "set", "left", "up")
        sh("ip", "-n", peer, "addr", "add", f"10.7.{number}.1/24", "dev", f"p{number}")
        sh("ip", "-n", peer, "link", "set", f"p{number}", "up")
        runtime.up(bundle(netns=netns, hostname=name), name)
        assert about(runtime, name)["cloned"], about(runtime, name)
        mac = json.loads(sh("ip", "-n", netns, "-j", "link", "show", "left").stdout)[0]["address"]
        script = (
            "hostname; ip -o link show left; ip -o -4 addr show left; date +%s; "
            "cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid; head -c 32 /dev/urandom | od -An -tx1"
        )
        lines = runtime.exec(name, script).stdout.splitlines()
        assert lines[0] == name
        assert f"link/ether {mac}" in lines[1]
        assert f"inet 10.7.{number}.2/24" in lines[2]
        assert abs(int(lines[3]) - time.time()) < 5
        seen.append([mac, lines[2].split()[3], *lines[4:]])
        ping = sh("ip", "netns", "exec", peer, "ping", "-c", "3", "-i", "0.2", "-W", "2", f"10.7.{number}.2")
        assert " 0% packet loss" in ping.stdout
    for first, second in zip(*seen, strict=True):
        assert first != second


def test_randomness_is_fresh_before_the_first_process(runtime: Runtime, bundle: Bundler) -> None:
    """The first process itself tells, which runs as soon as it may."""
    said = []
    for name in ("dice1", "dice2"):
        made = bundle("sh", "-c", "head -c 32 /dev/urandom | od -An -tx1; exec sleep 100")
        runtime.up(made, name)
        assert about(runtime, name)["cloned"]
        end = time.monotonic() + 10
        while len((made / "out").read_text().split()) < 32:
            assert time.monotonic() < end
            time.sleep(0.05)
        said.append((made / "out").read_text())
    assert said[0] != said[1]


def test_no_clone_writes_to_its_template(runtime: Runtime, bundle: Bundler, own: Path) -> None:
    runtime.up(bundle(), "first")
    memory = kept(own)[0] / "memory"
    before = hashlib.sha256(memory.read_bytes()).hexdigest()
    runtime.exec("first", "echo secret > /secret; dd if=/dev/zero of=/fill bs=1M count=30; sync")
    runtime.up(bundle(), "second")
    assert about(runtime, "second")["cloned"]
    assert runtime.exec("second", "ls /secret /fill", check=False).stdout == ""
    assert hashlib.sha256(memory.read_bytes()).hexdigest() == before


def test_a_clone_pays_for_its_memory_itself_and_stays_within_its_limit(
    runtime: Runtime, bundle: Bundler, own: Path
) -> None:
    runtime.up(bundle(resources={"memory": {"limit": 192 << 20}}), "hog")
    memory = kept(own)[0] / "memory"
    # Nothing is left that a clone's touch would allocate at somebody's cost.
    assert memory.stat().st_blocks * 512 >= memory.stat().st_size == 192 << 20
    runtime.exec("hog", "dd if=/dev/zero of=/fill bs=1M", check=False)
    runtime.exec("hog", "x=a; while :; do x=$x$x; done", check=False)
    assert runtime.exec("hog", "echo alive").stdout == "alive\n"
    group = _memory_group(about(runtime, "hog")["guestPid"])
    peak = group / ("memory.peak" if (group / "memory.peak").exists() else "memory.max_usage_in_bytes")
    limit = group / ("memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes")
    # Its own pages are its own cost, and there is room for all of them.
    assert 60 << 20 < int(peak.read_text()) < int(limit.read_text())


def _memory_group(pid: int) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        if not controllers and not Path("/sys/fs/cgroup/memory").exists():
            return Path("/sys/fs/cgroup") / path.lstrip("/")
    raise AssertionError("no memory controller")


def test_all_who_come_at_once_share_one_template(runtime: Runtime, bundle: Bundler, own: Path) -> None:
    names = [f"p{number}" for number in range(4)]
    runtime.known += names
    creators = []
    for name in names:
        made = bundle()
        with open(made / "out", "wb") as out:
            command = runtime.argv("create", "--bundle", str(made), name)
            creators.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=REPOSITORY))
    assert [creator.wait(120) for creator in creators] == [0] * 4
    assert [about(runtime, name)["cloned"] for name in names] == [True] * 4
    assert len(kept(own)) == 1


@pytest.mark.parametrize("delay", [0.0, 0.4, 1.2])
def test_kill_9_while_a_template_is_made(runtime: Runtime, bundle: Bundler, own: Path, delay: float) -> None:
    made = bundle()
    runtime.known.append("torn")
    command = runtime.argv("create", "--bundle", str(made), "torn")
    creator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    end = time.monotonic() + 20
    while not (begun := list(own.glob(".making-*/it/memory"))) and time.monotonic() < end:
        time.sleep(0.005)
    assert begun
    time.sleep(delay)
    creator.kill()
    creator.wait()
    runtime("delete", "--force", "torn")
    _no_qemu_on(own)
    runtime.up(bundle(), "next")
    assert about(runtime, "next")["cloned"], about(runtime, "next")
    assert not list(own.glob(".making-*"))


def _no_qemu_on(place: Path) -> None:
    """No process has anything of the folder open."""
    end = time.monotonic() + 5
    while True:
        found = []
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if os.readlink(link).startswith(str(place)):
                    found.append(link)
            except OSError:
                continue
        if not found:
            return
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_a_template_that_is_broken_costs_one_boot(runtime: Runtime, bundle: Bundler, own: Path) -> None:
    runtime.up(bundle(), "good")
    state = kept(own)[0] / "state"
    state.write_bytes(state.read_bytes()[:1000])
    made = bundle()
    log = made / "log"
    runtime.known.append("bad")
    with open(made / "out", "wb") as out:
        command = runtime.argv("--log", str(log), "create", "--bundle", str(made), "bad")
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=REPOSITORY, check=True)
    runtime("start", "bad")
    assert runtime.exec("bad", "echo alive").stdout == "alive\n"
    found = about(runtime, "bad")
    assert not found["cloned"]
    assert "a clone did not start" in found["whyCold"]
    assert log.read_text().count("booted, not cloned") == 1
    # The one that runs is not harmed, and the broken one is not tried again.
    assert runtime.exec("good", "echo alive").stdout == "alive\n"
    assert kept(own) == []
    runtime.up(bundle(), "after")
    assert "a short time ago" in about(runtime, "after")["whyCold"]


def test_templates_of_another_qemu_or_boot_go_unless_they_are_used(
    runtime: Runtime, bundle: Bundler, own: Path
) -> None:
    runtime.up(bundle(), "user")
    runtime.up(bundle(resources={"memory": {"limit": 160 << 20}}), "leaver")
    runtime("delete", "--force", "leaver")
    used, left = sorted(kept(own), key=lambda path: (path / "memory").stat().st_size)
    for path in (used, left):
        facts = json.loads((path / "facts.json").read_text())
        (path / "facts.json").write_text(json.dumps(facts | {"host": "as it was before the upgrade"}))
    runtime.up(bundle(resources={"memory": {"limit": 144 << 20}}), "new")
    assert about(runtime, "new")["cloned"]
    assert used.exists()
    assert not left.exists()


def test_no_room_for_a_template(
    runtime: Runtime, bundle: Bundler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir(mode=0o700)
    sh("mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(small))
    try:
        monkeypatch.setenv("VNFM_MICROVM_TEMPLATES", str(small))
        runtime.up(bundle(), "tight")
        found = about(runtime, "tight")
        assert not found["cloned"]
        assert "no room" in found["whyCold"]
        runtime("delete", "--force", "tight")
    finally:
        sh("umount", str(small))


@pytest.mark.parametrize("way", ["annotation", "switch", "open folder"])
def test_cold_on_purpose(
    runtime: Runtime, bundle: Bundler, own: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "switch":
        monkeypatch.setenv("VNFM_MICROVM_TEMPLATES", "off")
    if way == "open folder":
        own.mkdir()
        own.chmod(0o777)
    runtime.up(bundle(annotations=OFF) if way == "annotation" else bundle(), "cold")
    found = about(runtime, "cold")
    assert not found["cloned"]
    words = {"annotation": "asks for", "switch": "is off", "open folder": "only we may write"}
    assert words[way] in found["whyCold"]
    assert runtime.exec("cold", "echo alive").stdout == "alive\n"


def test_templates_are_listed_and_dropped(runtime: Runtime, bundle: Bundler, own: Path) -> None:
    runtime.up(bundle(), "one")
    (listed,) = json.loads(runtime("templates").stdout)
    assert (listed["bytes"], listed["inUse"]) == (128 << 20, True)
    assert len(json.loads(runtime("templates", "--drop").stdout)) == 1
    runtime("delete", "--force", "one")
    assert json.loads(runtime("templates", "--drop").stdout) == []
    assert not [path for path in own.iterdir() if path.is_dir()]


def test_a_guest_that_hangs_is_told_from_one_that_lives(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(), "beat")
    file = about(runtime, "beat")["heartbeat"]
    assert file == heartbeat.path(str(runtime.root), "beat")

    def age() -> float:
        found = heartbeat.age_seconds(file, time.monotonic())
        assert found is not None
        return found

    worst, end = 0.0, time.monotonic() + 4
    while time.monotonic() < end:
        worst = max(worst, age())
        time.sleep(0.05)
    assert worst < heartbeat.HUNG_AFTER_SECONDS / 2
    guest = about(runtime, "beat")["guestPid"]
    os.kill(guest, signal.SIGSTOP)
    time.sleep(worst + 2.5)
    assert age() > worst + 1
    os.kill(guest, signal.SIGCONT)
    end = time.monotonic() + 10
    while age() > heartbeat.PERIOD_SECONDS:
        assert time.monotonic() < end
        time.sleep(0.05)
    runtime("delete", "--force", "beat")
    assert heartbeat.age_seconds(file, time.monotonic()) is None


def test_a_guest_that_is_busy_does_not_look_dead(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(resources={"pids": {"limit": 60}}), "busy")
    file = about(runtime, "busy")["heartbeat"]
    script = "for i in 1 2 3 4; do (while :; do :; done) & done; while :; do sleep 1 & done"
    load = subprocess.Popen(
        runtime.argv("exec", "busy", "sh", "-c", script), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        worst, end = 0.0, time.monotonic() + 6
        while time.monotonic() < end:
            worst = max(worst, heartbeat.age_seconds(file, time.monotonic()) or 0)
            time.sleep(0.05)
        assert worst < heartbeat.HUNG_AFTER_SECONDS / 2
    finally:
        load.kill()
        load.wait()


def test_ipc_settings_reach_the_container(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(sysctl={"kernel.shmmni": "123", "fs.mqueue.msg_max": "11"}), "ipc")
    assert runtime.exec("ipc", "cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max").stdout.split() == [
        "123",
        "11",
    ]
