"""The commands on a container that exists."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import time
from pathlib import Path

from plugins.microvm import cgroup, statefile
from plugins.microvm.client import RelayConnection
from plugins.microvm.errors import NotFound, NotRunning, RuntimeFailure
from plugins.microvm.process import Process
from plugins.microvm.remove import clean_up
from plugins.microvm.store import load

_ANSWER = 30.0
_KILL_ANSWER = 4.0


def start(root: Path, container: str) -> None:
    """Let the first process go."""
    found = load(root, container)
    if found.status == statefile.RUNNING:
        raise RuntimeFailure("cannot start an already running container")
    if found.status != statefile.CREATED:
        raise RuntimeFailure(f"cannot start a container that is {found.status}")
    with RelayConnection(str(found.folder), _ANSWER) as relay:
        relay.ask(do="start")


def kill(root: Path, container: str, number: int, everyone: bool) -> None:
    """Send a signal to the first process, or to all."""
    found = load(root, container)
    if found.status == statefile.STOPPED:
        if everyone:
            return
        raise NotRunning
    try:
        with RelayConnection(str(found.folder), _KILL_ANSWER) as relay:
            relay.tell(do="kill", signal=number, all=everyone)
            answer = relay.hear()
    except RuntimeFailure:
        # SIGKILL has to work on a guest that hangs, and on one that ends before it can answer.
        if number != signal.SIGKILL:
            raise
        with contextlib.suppress(ProcessLookupError):
            if statefile.start_time(found.pid) and load(root, container).status != statefile.STOPPED:
                os.kill(found.pid, signal.SIGKILL)
        return
    if "error" in answer:
        if answer.get("errno") == errno.ESRCH:
            raise NotRunning
        raise RuntimeFailure(answer["error"])


def delete(root: Path, container: str, force: bool) -> None:
    """Remove the container and everything that was made for it."""
    try:
        found = load(root, container)
    except NotFound:
        if force:
            return
        raise
    if not force and found.status in (statefile.RUNNING, statefile.CREATING):
        # A container that was just killed may need a moment to be gone.
        end = time.monotonic() + 1
        while found.status != statefile.STOPPED and time.monotonic() < end:
            time.sleep(0.02)
            found = load(root, container)
        if found.status != statefile.STOPPED:
            raise RuntimeFailure(f"cannot delete container {container} that is not stopped: {found.status}")
    clean_up(root, container)


def processes(root: Path, container: str) -> list[int]:
    """Pids on the host: the relay and qemu."""
    found = load(root, container)
    if found.status == statefile.STOPPED:
        raise NotRunning
    return (cgroup.members(found.cgroup) if found.cgroup else []) or [found.pid, found.qemu_pid]


def ping(root: Path, container: str) -> float:
    """Milliseconds until the guest agent has answered."""
    with RelayConnection(str(load(root, container).folder), _ANSWER) as relay:
        began = time.monotonic()
        relay.ask(do="ping")
        return (time.monotonic() - began) * 1000


def execute(root: Path, container: str, process: Process, pid_file: Path | None, detach: bool) -> int:
    """Run one more process in the container; its exit code, or 0 at once when detached."""
    found = load(root, container)
    if found.status != statefile.RUNNING:
        raise RuntimeFailure(f"cannot exec in a container that is {found.status}")
    relay = RelayConnection(str(found.folder))
    number = relay.ask(do="next")["number"]
    wakeup = _catch_signals()
    relay.ask(process.encode(number), (0, 1, 2), do="exec")
    if not detach:
        if pid_file:
            pid_file.write_text(str(os.getpid()))
        return _follow(relay, wakeup)
    # Whoever asked tracks this child as if it were the process in the guest.
    pid = os.fork()
    if pid:
        if pid_file:
            pid_file.write_text(str(pid))
        return 0
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os._exit(_follow(relay, wakeup))


def _catch_signals() -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    return ours


def _follow(relay: RelayConnection, wakeup: socket.socket) -> int:
    """Pass signals on until the process has ended."""
    poll = select.poll()
    poll.register(relay.fileno(), select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while True:
        happened = dict(poll.poll())
        if wakeup.fileno() in happened:
            for number in wakeup.recv(64):
                relay.tell(do="signal", signal=number)
        if relay.fileno() in happened:
            try:
                answer = relay.hear()
            except NotRunning:
                return 137
            if "exit" in answer:
                return int(answer["exit"])
