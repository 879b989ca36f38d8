"""The host relay: one process a container.  It owns qemu, carries streams and signals, and ends as the container's
first process ends.  `create` hands it a plan over a socket and waits there until the guest is configured.

The plan (JSON): argv of qemu, descriptors (agent, console, control, guest_fds), folder, cgroups, links, rename, sysctl,
hostname, setup, spec, log, log_format.  Everything that takes thought was done by `create`, so that this process,
which stays as long as the container, stays small.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

from plugins.microvm import statefile
from plugins.microvm.clients import Clients
from plugins.microvm.console import ConsoleLog
from plugins.microvm.guestlink import GuestLink
from plugins.microvm.patch import Patch, list_links, match_links
from plugins.microvm.protocol import Frame, Kind, ProtocolError, exit_code
from plugins.microvm.streams import GuestProcess

INIT = 1
_KILL_PATIENCE = 3.0
_DRAIN_PATIENCE = 5.0
_NOT_FORWARDED = {
    signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE,
    signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGPROF, signal.SIGVTALRM, signal.SIGALRM, signal.SIGSYS,
}  # fmt: skip


class Ended(Exception):
    """The guest is over; the text says why."""


class Relay:
    """The loop and what it serves."""

    def __init__(self, plan: dict[str, object], control: socket.socket) -> None:
        self.plan = plan
        self.folder = str(plan["folder"])
        self.control: socket.socket | None = control
        self.link = GuestLink(socket.socket(fileno=_number(plan["agent"])))
        self.console = ConsoleLog(_number(plan["console"]), f"{self.folder}/console.log")
        self.init = GuestProcess(self.link, INIT, self._take_streams())
        self.processes: dict[int, GuestProcess] = {INIT: self.init}
        self.clients: Clients | None = None
        self.ready = False
        self.kill_at: float | None = None
        self.killed = False
        self._wakeup = _catch_signals()
        self.qemu, self._qemu_fd = self._start_qemu()

    # -- boot ---------------------------------------------------------------------------------------------------------

    def _take_streams(self) -> tuple[int, int, int]:
        """Our standard streams are the container's; we keep no second copy, so that their other ends see them close."""
        streams = os.dup(0), os.dup(1), os.dup(2)
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(f"{self.folder}/relay.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(null)
        os.close(log)
        return streams

    def _start_qemu(self) -> tuple[int, int]:
        for folder in _texts(self.plan["cgroups"]):
            with open(f"{folder}/cgroup.procs", "w") as file:
                file.write("0")
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(f"{self.folder}/qemu.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        argv = ["setpriv", "--pdeathsig", "KILL", *_texts(self.plan["argv"])]
        moves = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        # Own group and default signals: what is sent to us is not meant for it.
        pid = os.posix_spawnp("setpriv", argv, os.environ, file_actions=moves, setsigdef=_forwarded(), setpgroup=0)
        for fd in (null, log, *(_number(fd) for fd in _list(self.plan["guest_fds"]))):
            os.close(fd)
        return pid, os.pidfd_open(pid)

    def boot(self) -> None:
        """Wait for the agent, then make the guest what the plan says."""
        began = time.monotonic()
        end = began + float(str(self.plan["boot_seconds"]))
        while not self.ready:
            if time.monotonic() > end:
                raise Ended(f"the guest did not boot within {self.plan['boot_seconds']} s")
            self.step(1.0)
        booted = time.monotonic()
        self.configure(end)
        statefile.update(
            self.folder,
            status=statefile.CREATED,
            qemu_pid=self.qemu,
            boot_ms=round((booted - began) * 1000),
            configure_ms=round((time.monotonic() - booted) * 1000),
        )

    def configure(self, end: float) -> None:
        """Everything that makes this guest differ from another of its kind; a clone is treated alike."""
        now = time.time_ns()
        calls = [
            (Kind.ENTROPY, os.urandom(64), "entropy"),
            (Kind.DATE, struct.pack("<QQ", now // 10**9, now % 10**9), "date"),
        ]
        if self.plan["hostname"]:
            calls.append((Kind.HOSTNAME, str(self.plan["hostname"]).encode(), "hostname"))
        links = [(_number(index), str(mac)) for index, mac in _pairs(self.plan["links"])]
        numbers: dict[int, int] = {}
        if any(mac for _, mac in links):
            numbers = match_links(self.call([(Kind.NETLINK, list_links(), "interfaces")], end)[0], links)
        else:
            numbers = {index: 1 for index, _ in links}
        calls += [(Kind.NETLINK, patch.fill(numbers), "interface name") for patch in _patches(self.plan["rename"])]
        for path, value in _pairs(self.plan["sysctl"]):
            calls.append((Kind.SYSCTL, f"{path}\0{value}".encode(), f"sysctl {path} = {value}"))
        calls += [(Kind.NETLINK, patch.fill(numbers), "network set-up") for patch in _patches(self.plan["setup"])]
        self.call(calls, end)
        self.call([(Kind.CREATE, bytes.fromhex(str(self.plan["spec"])), "container")], end)

    def call(self, requests: list[tuple[Kind, bytes, str]], end: float) -> list[bytes]:
        """Send requests at once and wait for all answers; the first refusal ends it."""
        answers: dict[int, tuple[int, bytes]] = {}
        for number, (kind, payload, _) in enumerate(requests):

            def done(error: int, data: bytes, number: int = number) -> None:
                answers[number] = (error, data)

            self.link.request(kind, payload, done)
        while len(answers) < len(requests):
            if time.monotonic() > end:
                raise Ended("the guest agent did not answer in time")
            self.step(1.0)
        for number, (kind, _, what) in enumerate(requests):
            error, data = answers[number]
            if error:
                text = data.decode(errors="replace") if data and kind is Kind.CREATE else os.strerror(error)
                raise Ended(f"the guest refused: {what}: {text}")
        return [answers[number][1] for number in range(len(requests))]

    # -- life ---------------------------------------------------------------------------------------------------------

    def serve(self) -> int:
        """Carry on until the first process has ended; returns its exit code."""
        while self.init.exit_code is None:
            self.step(60.0)
        end = time.monotonic() + _DRAIN_PATIENCE
        while time.monotonic() < end and not all(p.finished for p in self.processes.values()):
            self.step(0.2)
        return self.init.exit_code

    def step(self, timeout: float) -> None:
        """Wait for something to happen and deal with it."""
        poll = select.poll()
        poll.register(self.link.port, select.POLLIN | (select.POLLOUT if self.link.pending else 0))
        if self.console.fd >= 0:
            poll.register(self.console.fd, select.POLLIN)
        poll.register(self._qemu_fd, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        if self.control:
            poll.register(self.control, select.POLLIN)
        if self.clients:
            self.clients.register(poll)
        for process in self.processes.values():
            for fd, events in process.interests():
                poll.register(fd, events)
        if self.kill_at is not None:
            timeout = min(timeout, max(self.kill_at - time.monotonic(), 0))
        happened = dict(poll.poll(timeout * 1000))
        self._dispatch(happened)
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.killed = True
            os.kill(self.qemu, signal.SIGKILL)
            self.kill_at = None

    def _dispatch(self, happened: dict[int, int]) -> None:
        if self.console.fd in happened:
            self.console.read()
        if self.control and self.control.fileno() in happened:
            raise Ended("the command that creates the container has gone")
        if self._wakeup.fileno() in happened:
            for number in self._wakeup.recv(256):
                self._signalled(number)
        events = happened.get(self.link.port.fileno(), 0)
        if events & select.POLLOUT:
            self.link.flush()
        if events & ~select.POLLOUT:
            for frame in self.link.receive():
                self._frame(frame)
        for process in list(self.processes.values()):
            for fd, _ in process.interests():
                if fd in happened:
                    process.ready(fd)
        if self.clients:
            self.clients.serve(happened)
            self.clients.report()
        if self._qemu_fd in happened or (self.link.closed and self.init.exit_code is None):
            self._guest_gone()

    def _frame(self, frame: Frame) -> None:
        if frame.kind is Kind.READY:
            self.ready = True
            return
        process = self.processes.get(frame.ident)
        if process is None:
            return
        if frame.kind is Kind.OUTPUT:
            process.sinks[frame.payload[0] == 2].feed(frame.payload[1:])
        elif frame.kind is Kind.CREDIT:
            process.window += struct.unpack("<I", frame.payload)[0]
        elif frame.kind is Kind.EXITED:
            process.exited(exit_code(frame))

    def _signalled(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        if self.control:
            raise Ended(f"signal {number} came while the guest was booting")
        self.kill(INIT, number, False, lambda error, data: None)

    def kill(self, process: int, number: int, everyone: bool, done: object) -> None:
        """Send a signal; a guest that does not even die from SIGKILL loses its machine."""
        assert callable(done)
        if number == signal.SIGKILL and process == INIT and self.kill_at is None:
            self.kill_at = time.monotonic() + _KILL_PATIENCE
        self.link.request(Kind.SIGNAL, struct.pack("<III", process, number, everyone), done)

    def _guest_gone(self) -> None:
        if self.init.exit_code is not None:
            raise Ended("the guest is over")
        _, status = os.waitpid(self.qemu, 0 if self._qemu_dead() else os.WNOHANG)
        code = os.waitstatus_to_exitcode(status)
        if self.killed:
            raise Ended("the guest did not obey SIGKILL and was ended")
        if code < 0:
            raise Ended(f"qemu was killed by signal {-code}")
        self.console.read()
        words = (_tail(f"{self.folder}/qemu.log") or self.console.tail()).strip()
        raise Ended(f"qemu ended with code {code}{': ' + words if words else ''}")

    def _qemu_dead(self) -> bool:
        poll = select.poll()
        poll.register(self._qemu_fd, select.POLLIN)
        # The port closes a moment before the process is gone.
        return bool(poll.poll(2000))

    def stop_qemu(self) -> None:
        """End the machine and wait for it."""
        with suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(self._qemu_fd, signal.SIGKILL)
            os.waitpid(self.qemu, 0)


def _catch_signals() -> socket.socket:
    """Signals become bytes in a socket of the loop."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    for number in _forwarded():
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    return ours


def _forwarded() -> list[int]:
    return [number for number in signal.valid_signals() - _NOT_FORWARDED if number not in (32, 33)]


def _number(value: object) -> int:
    return int(str(value))


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _texts(value: object) -> list[str]:
    return [str(item) for item in _list(value)]


def _pairs(value: object) -> list[tuple[object, object]]:
    return [(_list(item)[0], _list(item)[1]) for item in _list(value)]


def _patches(value: object) -> list[Patch]:
    return [
        Patch(bytes.fromhex(str(request)), tuple((_number(a), _number(b)) for a, b in _pairs(places)))
        for request, places in _pairs(value)
    ]


def _tail(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()[-500:]
    except OSError:
        return ""


def main(control_fd: int) -> int:
    """Run one container; the exit code is the container's."""
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = control.recv(1 << 20)
        if not chunk:
            return 1
        received += chunk
    plan = json.loads(received)
    for name in ("agent", "console"):
        os.set_inheritable(plan[name], False)
    folder = plan["folder"]
    code, reason = 255, ""
    try:
        relay = Relay(plan, control)
    except OSError as error:
        control.sendall(json.dumps({"error": f"starting qemu: {error}"}).encode() + b"\n")
        return 1
    try:
        relay.boot()
        relay.clients = Clients(relay, folder)
        control.sendall(b'{"ok": true}\n')
        relay.control = None
        control.close()
        code = relay.serve()
    except (Ended, ProtocolError) as error:
        reason = str(error)
        code = 137 if relay.killed or "signal 9" in reason else 255
        if relay.control:
            relay.stop_qemu()
            with suppress(OSError):
                control.sendall(json.dumps({"error": reason}).encode() + b"\n")
            return 1
    with suppress(OSError):  # whoever sees qemu end can then see that this is why
        statefile.update(folder, exit_code=code, reason=reason)
    relay.stop_qemu()
    if relay.clients:
        relay.clients.end(137)
    try:
        statefile.update(folder, status=statefile.STOPPED, exit_code=code, reason=reason)
    except OSError as error:
        print(f"vnfm-microvm: {error}", file=sys.stderr)  # noqa: T201
    if reason:
        _log(plan, reason)
    return code


def _log(plan: dict[str, object], reason: str) -> None:
    from plugins.microvm.log import write_log

    write_log(str(plan["log"] or ""), str(plan["log_format"]), "error", f"{plan['id']}: {reason}")
