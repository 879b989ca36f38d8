"""The host relay: one process a container.  It owns qemu, carries streams and signals, and ends as the container's
first process ends.  `create` hands it a plan over a socket and waits there until the guest is configured.

The plan comes with descriptors: `own` of them are ours (agent, console, a clone's monitor), the others are for qemu,
which finds them from `first_fd` on.  It is JSON: argv of qemu, folder, links, numbers, interfaces, sysctl,
hostname, setup, spec, state, why_cold, log, log_format.  Everything that takes thought was done by `create`, so that
this process, which stays as long as the container, stays small.
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

from plugins.microvm import guestsetup, monitor, statefile
from plugins.microvm.clients import Clients
from plugins.microvm.console import ConsoleLog
from plugins.microvm.guestlink import GuestLink
from plugins.microvm.guestsetup import number, pairs, texts
from plugins.microvm.heartbeat import Pulse
from plugins.microvm.patch import list_links, match_links
from plugins.microvm.protocol import Frame, Kind, ProtocolError, exit_code
from plugins.microvm.streams import GuestProcess

INIT = 1
_CLONE_SECONDS = 20.0
_FDS_AT_MOST = 64
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

    def __init__(self, plan: dict[str, object], control: socket.socket, fds: list[int]) -> None:
        self.plan = plan
        self.folder = str(plan["folder"])
        self.control: socket.socket | None = control
        own, guest_fds = fds[: number(plan["own"])], fds[number(plan["own"]) :]
        self.link = GuestLink(socket.socket(fileno=own[0]))
        self.console = ConsoleLog(own[1], f"{self.folder}/console.log")
        self.monitor = socket.socket(fileno=own[2]) if len(own) > 2 else None
        self.init = GuestProcess(self.link, INIT, self._take_streams())
        self.processes: dict[int, GuestProcess] = {INIT: self.init}
        self.clients: Clients | None = None
        self.pulse: Pulse | None = None
        self.ready = False
        self.kill_at: float | None = None
        self.killed = False
        self._wakeup = _catch_signals()
        self.qemu, self._qemu_fd = self._start_qemu(guest_fds)

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

    def _start_qemu(self, guest_fds: list[int]) -> tuple[int, int]:
        if self.monitor:
            self.monitor.sendall(monitor.load_commands(number(self.plan["state"])))
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(f"{self.folder}/qemu.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        argv = ["setpriv", "--pdeathsig", "KILL", *texts(self.plan["argv"])]
        moves = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        first = number(self.plan["first_fd"])
        moves += [(os.POSIX_SPAWN_DUP2, fd, first + place) for place, fd in enumerate(guest_fds)]
        # Own group and default signals: what is sent to us is not meant for it.
        pid = os.posix_spawnp("setpriv", argv, os.environ, file_actions=moves, setsigdef=_forwarded(), setpgroup=0)
        for fd in (null, log, *guest_fds):
            os.close(fd)
        return pid, os.pidfd_open(pid)

    def boot(self) -> None:
        """Wait for the agent, then make the guest what the plan says."""
        began = time.monotonic()
        end = began + float(str(self.plan["boot_seconds"]))
        if self.monitor:
            # A clone's agent has been up for long; its first answer says that it goes on.
            self.call([guestsetup.entropy()], began + _CLONE_SECONDS)
            self.ready = True
            self.monitor.close()
            self.monitor = None
        while not self.ready:
            if time.monotonic() > end:
                raise Ended(f"the guest did not boot within {self.plan['boot_seconds']} s")
            self.step(1.0)
        booted = time.monotonic()
        self.configure(end)
        self.pulse = Pulse(self.folder, time.monotonic())
        statefile.update(
            self.folder,
            status=statefile.CREATED,
            qemu_pid=self.qemu,
            boot_ms=round((booted - began) * 1000),
            configure_ms=round((time.monotonic() - booted) * 1000),
            cloned=self.plan["numbers"] is not None,
            why_cold=self.plan["why_cold"],
        )

    def configure(self, end: float) -> None:
        """Everything that makes this guest differ from another of its kind."""
        if self.plan["numbers"] is not None:
            numbers = {number(host): number(guest) for host, guest in pairs(self.plan["numbers"])}
        else:
            self.call([guestsetup.entropy()], end)
            links = [(number(index), str(mac)) for index, mac in pairs(self.plan["links"])]
            answer = self.call([(Kind.NETLINK, list_links(), "interfaces")], end) if any(m for _, m in links) else [b""]
            numbers = match_links(answer[0], links)
        self.call(guestsetup.requests(self.plan, numbers, time.time_ns()), end)

    def call(self, requests: list[tuple[Kind, bytes, str]], end: float) -> list[bytes]:
        """Send requests at once and wait for all answers; the first refusal ends it."""
        answers: dict[int, tuple[int, bytes]] = {}
        for place, (kind, payload, _) in enumerate(requests):

            def done(error: int, data: bytes, place: int = place) -> None:
                answers[place] = (error, data)

            self.link.request(kind, payload, done)
        while len(answers) < len(requests):
            if time.monotonic() > end:
                raise Ended("the guest agent did not answer in time")
            self.step(1.0)
        for place, (kind, _, what) in enumerate(requests):
            error, data = answers[place]
            if error:
                text = data.decode(errors="replace") if data and kind is Kind.CREATE else os.strerror(error)
                raise Ended(f"the guest refused: {what}: {text}")
        return [answers[place][1] for place in range(len(requests))]

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
        if self.monitor:
            poll.register(self.monitor, select.POLLIN)
        now = time.monotonic()
        if self.kill_at is not None:
            timeout = min(timeout, max(self.kill_at - now, 0))
        if self.pulse and (wait := self.pulse.wait_seconds(now)) is not None:
            timeout = min(timeout, wait)
        happened = dict(poll.poll(timeout * 1000))
        self._dispatch(happened)
        if self.pulse and self.pulse.due(time.monotonic()):
            self.link.request(Kind.PING, b"", self._answered)
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
            for sign in self._wakeup.recv(256):
                self._signalled(sign)
        if self.monitor and self.monitor.fileno() in happened:
            self._hear(self.monitor)
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

    def _hear(self, port: socket.socket) -> None:
        """What qemu says of the loading."""
        try:
            refused = monitor.refusal(port.recv(65536))
        except OSError:
            return  # it ended with commands unread; that it has, and why, is told by itself
        if refused:
            raise Ended(f"loading the template: {refused}")

    def _answered(self, error: int, data: bytes) -> None:
        if self.pulse:
            self.pulse.note(time.monotonic())

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
    for sign in _forwarded():
        signal.signal(sign, lambda sign, frame: None)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    return ours


def _forwarded() -> list[int]:
    return [number for number in signal.valid_signals() - _NOT_FORWARDED if number not in (32, 33)]


def _tail(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()[-500:]
    except OSError:
        return ""


def main(control_fd: int) -> int:
    """Run one container; the exit code is the container's."""
    os.chdir("/")
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    first, fds, _, _ = socket.recv_fds(control, 1, _FDS_AT_MOST, socket.MSG_CMSG_CLOEXEC)
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = control.recv(1 << 20) if first else b""
        if not chunk:
            return 1
        received += chunk
    plan = json.loads(received)
    folder = plan["folder"]
    code, reason = 255, ""
    try:
        relay = Relay(plan, control, list(fds))
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
                # A clone that never spoke may be replaced by a guest that is booted.
                answer = {"error": reason, "clone": relay.monitor is not None}
                control.sendall(json.dumps(answer).encode() + b"\n")
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
