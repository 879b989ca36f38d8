"""Templates as folders: who makes them, who waits, who goes; and the heartbeat's file."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from plugins.microvm import heartbeat, monitor, qemu, quick, templater, templates
from plugins.microvm.assets import Assets
from plugins.microvm.heartbeat import Pulse
from plugins.microvm.image import Image
from plugins.microvm.templater import Kit
from plugins.microvm.templates import NoTemplate, Recipe

MIB = 1 << 20
Build = Callable[[Path], dict[str, object]]


def recipe(name: str, size: int = MIB, host: str = "here") -> Recipe:
    return Recipe(name, host, size)


def builder(calls: list[Path] | None = None) -> Build:
    def build(folder: Path) -> dict[str, object]:
        if calls is not None:
            calls.append(folder)
        (folder / "state").write_bytes(b"devices")
        return {"interfaces": [2, 3]}

    return build


def refuses(folder: Path) -> dict[str, object]:
    raise NoTemplate("the guest did not boot")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A host with so much memory."""
    memory = {"MemTotal": 32 * MIB, "MemAvailable": 1 << 40}
    monkeypatch.setattr(templates, "_host_memory", lambda name: memory[name])
    return memory


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "templates"


def names(place: Path) -> list[str]:
    return [entry.path.name for entry in templates.entries(place)]


def test_a_template_is_made_once(place: Path, host: dict[str, int]) -> None:
    calls: list[Path] = []
    first = templates.obtain(place, recipe("a"), builder(calls))
    second = templates.obtain(place, recipe("a"), builder(calls))
    assert len(calls) == 1
    assert second.interfaces == (2, 3)
    assert os.fstat(first.memory).st_ino == os.fstat(second.memory).st_ino
    assert os.fstat(first.memory).st_size == MIB
    assert os.read(second.state, 100) == os.read(first.state, 100) == b"devices"
    first.close()
    second.close()


def test_who_comes_meanwhile_waits(place: Path, host: dict[str, int]) -> None:
    calls: list[Path] = []

    def slow(folder: Path) -> dict[str, object]:
        time.sleep(0.2)
        return builder(calls)(folder)

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(templates.obtain(place, recipe("a"), slow).key)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(calls), found) == (1, ["a"] * 4)


def test_waiting_has_an_end(place: Path, host: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_WAIT_SECONDS", 0.05)
    place.mkdir()
    with open(place / ".a.lock", "w") as held:
        assert not templates.is_locked(held.fileno())
        with pytest.raises(NoTemplate, match="another command"):
            templates.obtain(place, recipe("a"), builder())


def test_a_failure_is_remembered_for_a_while(place: Path, host: dict[str, int]) -> None:
    with pytest.raises(NoTemplate, match="did not boot"):
        templates.obtain(place, recipe("a"), refuses)
    calls: list[Path] = []
    with pytest.raises(NoTemplate, match="short time ago: the guest did not boot"):
        templates.obtain(place, recipe("a"), builder(calls))
    assert calls == []
    long_ago = time.time() - 3600
    os.utime(place / ".failed-a", (long_ago, long_ago))
    templates.obtain(place, recipe("a"), builder(calls)).close()
    assert len(calls) == 1
    assert not (place / ".failed-a").exists()


def test_a_template_that_does_not_work_goes_though_it_is_used(place: Path, host: dict[str, int]) -> None:
    used = templates.obtain(place, recipe("a"), builder())
    templates.discard(place, "a", "clones do not start")
    assert names(place) == []
    with pytest.raises(NoTemplate, match="clones do not start"):
        templates.obtain(place, recipe("a"), builder())
    assert os.fstat(used.memory).st_size == MIB
    used.close()


def test_the_least_recently_used_makes_room(place: Path, host: dict[str, int]) -> None:
    for number, name in enumerate("abcd"):
        templates.obtain(place, recipe(name), builder()).close()
        os.utime(place / name, (1000 + number, 1000 + number))
    templates.obtain(place, recipe("a"), builder()).close()
    used = templates.obtain(place, recipe("b"), builder())
    os.utime(place / "b", (1, 1))
    templates.obtain(place, recipe("e"), builder()).close()
    assert sorted(names(place)) == ["a", "b", "d", "e"]
    used.close()


def test_none_goes_that_is_used(place: Path, host: dict[str, int]) -> None:
    used = [templates.obtain(place, recipe(name), builder()) for name in "abcd"]
    with pytest.raises(NoTemplate, match="4 templates of 4 MiB in all are in use"):
        templates.obtain(place, recipe("e"), builder())
    assert not list(place.glob(".making-*"))
    for template in used:
        template.close()


def test_one_may_not_take_all(place: Path, host: dict[str, int]) -> None:
    with pytest.raises(NoTemplate, match="over the 2 MiB"):
        templates.obtain(place, recipe("a", 3 * MIB), builder())


def test_no_memory_no_template(place: Path, host: dict[str, int]) -> None:
    host["MemAvailable"] = 100 * MIB
    with pytest.raises(NoTemplate, match="no room"):
        templates.obtain(place, recipe("a"), builder())


def test_what_is_stale_goes_first(place: Path, host: dict[str, int]) -> None:
    templates.obtain(place, recipe("old", host="before the upgrade"), builder()).close()
    templates.obtain(place, recipe("new"), builder()).close()
    assert names(place) == ["new"]


def test_what_a_killed_maker_left_goes(place: Path, host: dict[str, int]) -> None:
    left = place / ".making-x-abc" / "it"
    left.mkdir(parents=True)
    (left / "memory").write_bytes(bytes(10))
    (place / ".x.lock").touch()
    (place / ".gone-y-1").mkdir()
    templates.obtain(place, recipe("a"), builder()).close()
    assert not left.exists()
    assert not (place / ".gone-y-1").exists()


def test_what_is_being_made_stays(place: Path, host: dict[str, int]) -> None:
    inside, go = threading.Event(), threading.Event()

    def waits(folder: Path) -> dict[str, object]:
        inside.set()
        go.wait(5)
        return builder()(folder)

    thread = threading.Thread(target=lambda: templates.obtain(place, recipe("slow"), waits).close())
    thread.start()
    assert inside.wait(5)
    templates.obtain(place, recipe("quick"), builder()).close()
    go.set()
    thread.join()
    assert sorted(names(place)) == ["quick", "slow"]


def test_others_may_not_put_templates_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(templates.FOLDER_ENV, str(tmp_path / "mine"))
    assert templates.folder() == tmp_path / "mine"
    (tmp_path / "mine").chmod(0o777)
    with pytest.raises(NoTemplate, match="only we may write"):
        templates.folder()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv(templates.FOLDER_ENV, str(tmp_path / "link"))
    with pytest.raises(NoTemplate, match="only we may write"):
        templates.folder()


def test_a_template_serves_its_kind_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = ["qemu 1"]
    monkeypatch.setattr(qemu, "program_stamp", lambda: stamp[0])
    machine = qemu.Machine(128, 1, "")
    assets = Assets("assets", tmp_path / "vmlinux", tmp_path / "base", "6.1")
    kit = Kit(machine, "tcg", assets, Image(tmp_path / "image", "image 1", 0), "console=ttyS0", 1)
    plain = templater.recipe(kit, 2_600_000)
    assert templater.recipe(replace(kit, image=replace(kit.image, path=tmp_path / "moved")), 2_600_000) == plain
    others = [
        templater.recipe(kit, 2_300_000),
        templater.recipe(replace(kit, image=replace(kit.image, key="image 2")), 2_600_000),
        templater.recipe(replace(kit, machine=replace(machine, memory_mib=256)), 2_600_000),
        templater.recipe(replace(kit, machine=replace(machine, vcpus=2)), 2_600_000),
        templater.recipe(replace(kit, accelerator="kvm"), 2_600_000),
        templater.recipe(replace(kit, append="console=ttyS0 x"), 2_600_000),
        templater.recipe(replace(kit, nics=2), 2_600_000),
    ]
    stamp[0] = "qemu 2"
    others.append(templater.recipe(kit, 2_600_000))
    assert len({plain.key, *(other.key for other in others)}) == len(others) + 1
    # Of these only another clock, accelerator or qemu makes the old ones useless for all.
    assert [other.host == plain.host for other in others] == [False, True, True, True, False, True, True, False]


def test_a_clone_is_told_all_at_once() -> None:
    told = [json.loads(line) for line in monitor.load_commands(7).splitlines()]
    assert told[0]["execute"] == "qmp_capabilities"
    assert told[-1] == {"execute": "migrate-incoming", "arguments": {"uri": "fd:7"}}
    assert {"announce-rounds": 0} in [command["arguments"] for command in told]
    assert monitor.refusal(b'{"return": {}}\n{"error": {"class": "x", "desc": "no such thing"}}\n') == "no such thing"
    assert monitor.refusal(b'{"return": {}}\nhalf a li') == ""


def test_the_heartbeats_file_tells_when_the_agent_last_answered(tmp_path: Path) -> None:
    file = heartbeat.path(str(tmp_path), "c1")
    assert heartbeat.age_seconds(file, 50.0) is None
    (tmp_path / "c1").mkdir()
    pulse = Pulse(str(tmp_path / "c1"), 100.0)
    assert heartbeat.age_seconds(file, 100.5) == pytest.approx(0.5)
    assert not pulse.due(100.9)
    assert pulse.wait_seconds(100.25) == pytest.approx(0.75)
    assert pulse.due(101.0)
    # One question at a time, however long the answer takes.
    assert not pulse.due(105.0)
    assert pulse.wait_seconds(105.0) is None
    assert heartbeat.age_seconds(file, 106.0) == pytest.approx(6.0)
    pulse.note(106.5)
    assert heartbeat.age_seconds(file, 106.5) == pytest.approx(0.0)
    assert pulse.due(107.0)


def test_only_a_plain_start_is_quick(tmp_path: Path) -> None:
    for words in ([], ["state", "x"], ["start"], ["start", "--help"], ["start", "../x"], ["--debug", "start", "x"]):
        assert quick.start(words) is None
    # What is wrong is for the full command line to say.
    assert quick.start(["--root", str(tmp_path), "start", "nobody"]) is None
