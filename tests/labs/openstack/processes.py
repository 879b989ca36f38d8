"""Processes of the lab: started once, known again, stopped with all that they started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .console import LabError, wait_for
from .lab import FOLDER_ENV, HOST, PORTS, Lab

SERVICE_ENV = "VNFM_LAB_SERVICE"
NICENESS = 5
GONE = ("", "Z", "X")


@dataclass(frozen=True, slots=True)
class Service:
    """A program that the lab keeps running; `port` is where it listens once it is ready, where it listens at all."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: str | None = None


class Processes:
    """The lab's processes by their services' names.

    A record says pid and start time, so that a number used again is never taken for one of ours. What a service has
    left behind when it was killed is found by the service's name in its environment.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def pid(self, name: str) -> int | None:
        """The running process of a service."""
        try:
            record = json.loads(self._record(name).read_text())
        except (OSError, ValueError):
            return None
        state, started = _state(record["pid"])
        return record["pid"] if started == record["started"] and state not in GONE else None

    def known(self) -> list[str]:
        """The services that were started and not stopped, the first first; some may be dead."""
        records = [(path.stat().st_mtime_ns, path.stem) for path in self._lab.run("").glob("*.process")]
        return [name for _, name in sorted(records)]

    def start(self, service: Service) -> None:
        """Start what does not run; its orphans are killed first, LabError where a stranger has its port."""
        kill(self.orphans(service.name))
        if service.port and listens(service.port):
            raise LabError(f"{service.name} cannot start: something else listens on port {PORTS[service.port]}")
        environment = {**self._lab.environment(), SERVICE_ENV: service.name, **service.environment}
        with self._lab.log(service.name).open("ab") as log:
            process = subprocess.Popen(
                ["nice", "-n", str(NICENESS), *service.argv],
                env=environment,
                cwd=self._lab.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        record = {"pid": process.pid, "started": _state(process.pid)[1]}
        self._record(service.name).write_text(json.dumps(record))

    def must_run(self, name: str) -> None:
        """LabError with the last lines of its log where a service has died."""
        if self.pid(name) is None:
            log = self._lab.log(name)
            raise LabError(f"{name} died; {log} ends with:\n{tail(log)}")

    def stop(self, names: Iterable[str], grace_seconds: float = 15) -> None:
        """Ask all of them to end, then end them; what they started goes with them."""
        names = list(names)
        groups = [pid for name in names if (pid := self.pid(name))]
        for group in groups:
            _signal_group(group, signal.SIGTERM)
        end = time.monotonic() + grace_seconds
        while time.monotonic() < end and _members(groups):
            time.sleep(0.1)
        for group in groups:
            _signal_group(group, signal.SIGKILL)
        kill(_members(groups))
        for name in names:
            self._record(name).unlink(missing_ok=True)

    def orphans(self, name: str) -> list[int]:
        """Processes that a service started, and itself."""
        return [pid for pid, held in self._held() if f"{SERVICE_ENV}={name}" in held]

    def all(self) -> list[int]:
        """Every process of the lab except guests, whose environment libvirt empties."""
        return [pid for pid, held in self._held() if any(word.startswith(f"{SERVICE_ENV}=") for word in held)]

    def _held(self) -> Iterator[tuple[int, list[str]]]:
        """The lab's processes, each with its environment."""
        mark = f"{FOLDER_ENV}={self._lab.folder}"
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                held = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                if mark in held and int(entry.name) != os.getpid():
                    yield int(entry.name), held

    def _record(self, name: str) -> Path:
        return self._lab.run(f"{name}.process")


def listens(port: str) -> bool:
    """Whether anyone accepts connections on one of the lab's ports."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((HOST, PORTS[port])) == 0


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as gone:
        return str(gone)


def memory_bytes(pids: Iterable[int]) -> int:
    """What processes hold in memory; what several share is counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def kill(pids: Iterable[int]) -> None:
    """End processes at once, and see that they let go of their ports: they have as soon as they are zombies."""
    pids = list(pids)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for("killed processes", lambda: all(_state(pid)[0] in GONE for pid in pids), 30, 0.05)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _members(groups: Iterable[int]) -> list[int]:
    """What lives of process groups. Some services write their title over their environment, so that what they started
    is known by its group alone."""
    wanted, found = set(map(str, groups)), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if fields[2] in wanted and fields[0] not in GONE:
                found.append(int(entry.name))
    return found


def _state(pid: int) -> tuple[str, str]:
    """A process's state and start time (proc(5), fields 3 and 22); empty where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
