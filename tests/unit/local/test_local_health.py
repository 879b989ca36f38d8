"""Health: what is told of processes, ports and guests, and what is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plugins.local.guests import machine_of, pulse_age_seconds, silence_of_microvm
from plugins.local.health import Health, Listener, port_faults
from plugins.local.net.devices import DeviceView, Seen
from plugins.local.net.observe import Place
from plugins.local.process import ProcessRef
from plugins.local.watch import Ending, Watcher, in_words, was_killed
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pluginkit.handlers import Stamped


class Hosts(DeviceView):
    """Namespaces as the test has them."""

    def __init__(self, found: dict[str, dict[str, bool]]) -> None:
        super().__init__()
        self.found = found

    def nsid(self, namespace: str) -> int | None:
        return None

    def devices(self, namespace: str, *, counters: bool = False) -> dict[str, Seen] | None:
        here = self.found.get(namespace)
        return None if here is None else {name: Seen(1, name, up, "") for name, up in here.items()}


@dataclass
class OneGuest:
    """Says in turn what the guest's silence is."""

    words: list[str]

    async def listen(self) -> str | None:
        await asyncio.sleep(0)
        return self.words.pop(0) if self.words else None


@dataclass
class Stage:
    """A compute with its processes, as Health is told of it."""

    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    where: Sequence[Place] = ()
    state: pb.State.ValueType = pb.STATE_RUNNING
    guest: OneGuest | None = None

    def processes(self, resource_id: str) -> dict[str, ProcessRef]:
        found = {name: ProcessRef.of(child.pid) for name, child in self.children.items()}
        return {name: ref for name, ref in found.items() if ref is not None}

    def places(self, resource_id: str) -> Sequence[Place]:
        return self.where

    def find(self, resource_id: str) -> Stamped | None:
        return stamped(self.state)

    def epitaph(self, resource_id: str, ending: Ending) -> str:
        return f"{ending.name} {in_words(ending.status)}"

    def payload_ended(self, resource_id: str) -> bool:
        return False

    def pulse(self, resource_id: str) -> Callable[[], str] | None:
        return None

    def listener(self, resource_id: str) -> Listener | None:
        return self.guest


def stamped(state: pb.State.ValueType) -> Stamped:
    resource = pb.Resource(kind=pb.KIND_COMPUTE, state=state)
    resource.handle.resource_id = "c1"
    return Stamped(resource, "")


async def inline(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return work(*args, **kwargs)


async def told_of(stage: Stage, hosts: Hosts, act: Callable[[Health], Any], seconds: float = 1.0) -> list[pb.Resource]:
    """What is published once the compute is followed and something was done."""
    told: list[pb.Resource] = []
    heard = asyncio.Event()

    def publish(resource: pb.Resource) -> None:
        told.append(resource)
        heard.set()

    health = Health(stage, hosts, publish, inline)
    health.start()
    try:
        await health.follow(stamped(pb.STATE_RUNNING))
        done = act(health)
        if asyncio.iscoroutine(done):
            await done
        with suppress(TimeoutError):
            await asyncio.wait_for(heard.wait(), seconds)
        judged = health.judged(stamped(stage.state)).resource
        assert not told or judged.state == told[-1].state, "asked, it says what it told"
    finally:
        await health.close()
    return told


@pytest.fixture
def child() -> Any:
    started = subprocess.Popen(["sleep", "1000"])
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize("pidfds", [True, False])
def test_a_processs_end_is_told_with_its_status(child: subprocess.Popen[bytes], pidfds: bool) -> None:
    async def story() -> tuple[str, Ending]:
        told: asyncio.Queue[tuple[str, Ending]] = asyncio.Queue()
        watcher = Watcher(lambda key, ending: told.put_nowait((key, ending)), pidfds=pidfds)
        ref = ProcessRef.of(child.pid)
        assert ref is not None
        watcher.follow("c1", {"main": ref})
        await asyncio.sleep(0.3)
        assert told.empty()
        child.send_signal(signal.SIGKILL)
        first = await asyncio.wait_for(told.get(), 3)
        await asyncio.sleep(0.3)
        assert told.empty(), "once"
        watcher.close()
        return first

    key, ending = asyncio.run(story())
    assert (key, ending.name) == ("c1", "main")
    assert in_words(ending.status) == "was killed by signal 9 (SIGKILL)"


def test_words_for_endings() -> None:
    assert in_words(None) == "has ended"
    assert in_words(3 << 8) == "ended with 3"
    assert in_words(15) == "was killed by signal 15 (SIGTERM)"
    assert [was_killed(status) for status in (None, 9, 15, 0)] == [True, True, False, False]


def test_a_death_is_told_once_and_remembered(child: subprocess.Popen[bytes]) -> None:
    stage = Stage({"main": child})

    def act(_health: Health) -> None:
        stage.state = pb.STATE_FAILED
        child.kill()

    told = asyncio.run(told_of(stage, Hosts({}), act))
    assert [(one.state, one.reason) for one in told] == [(pb.STATE_FAILED, "main was killed by signal 9 (SIGKILL)")]
    assert abs(told[0].changed_at.ToSeconds() - time.time()) < 5


def test_what_is_forgotten_is_not_told(child: subprocess.Popen[bytes]) -> None:
    def act(health: Health) -> None:
        health.forget("c1")
        child.kill()

    assert asyncio.run(told_of(Stage({"main": child}), Hosts({}), act, 0.3)) == []


def test_a_silent_guest_is_told_and_its_return_too(child: subprocess.Popen[bytes]) -> None:
    told: list[pb.Resource] = []

    async def story() -> None:
        guest = OneGuest(["", "silent", "silent", ""])
        health = Health(Stage({"vm": child}, guest=guest), Hosts({}), told.append, inline)
        await health.follow(stamped(pb.STATE_RUNNING))
        await asyncio.sleep(0.2)
        await health.close()

    asyncio.run(story())
    assert [(one.state, one.reason) for one in told] == [(pb.STATE_FAILED, "silent"), (pb.STATE_RUNNING, "")]


def test_a_paused_guest_is_not_called_hung(child: subprocess.Popen[bytes]) -> None:
    stage = Stage({"vm": child}, state=pb.STATE_STOPPED, guest=OneGuest(["silent"] * 5))
    assert asyncio.run(told_of(stage, Hosts({}), lambda _health: None, 0.2)) == []


def test_ports_are_gone_down_or_well() -> None:
    left = Place("left", (("ns1", "left"), ("fabric", "p1")))
    view = Hosts({"ns1": {"left": True}, "fabric": {"p1": True}})
    assert port_faults(view, {"c1": [left], "c2": []}) == {"c1": "", "c2": ""}
    view.found["fabric"]["p1"] = False
    assert port_faults(view, {"c1": [left]}) == {"c1": "port left is down"}
    del view.found["fabric"]["p1"]
    assert port_faults(view, {"c1": [left]}) == {"c1": "port left is gone"}
    del view.found["ns1"]
    assert port_faults(view, {"c1": [left]}) == {"c1": "port left is gone"}


def test_a_heartbeat_is_read_from_its_files_time(tmp_path: Path) -> None:
    assert silence_of_microvm(tmp_path, 30) == "", "no heartbeat: nothing is known"
    heartbeat = tmp_path / "heartbeat"
    heartbeat.touch()
    for age, silent in ((1.0, False), (31.0, True)):
        at_ns = int((time.monotonic() - age) * 1e9)
        os.utime(heartbeat, ns=(at_ns, at_ns))
        assert pulse_age_seconds(tmp_path, time.monotonic()) == pytest.approx(age, abs=0.5)
        assert bool(silence_of_microvm(tmp_path, 30)) is silent


def test_a_runtime_that_keeps_no_state_file_tells_nothing(tmp_path: Path) -> None:
    assert machine_of(tmp_path) is None
    (tmp_path / "state.json").write_text("[]")
    assert machine_of(tmp_path) is None
    (tmp_path / "state.json").write_text('{"qemu_pid": 7, "exit_code": 3, "reason": ""}')
    machine = machine_of(tmp_path)
    assert machine is not None
    assert (machine.pid, machine.payload_ended) == (7, True)
