"""Processes by identity (pid and start time), and short-lived commands."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from plugins.local.hiding import started

_SECOND_NS = 1_000_000_000
_DEAD_STATES = ("Z", "X", "x")
# PIDFD_GET_INFO (Linux 6.15) of <linux/pidfd.h>, with the first 64 bytes of struct pidfd_info.
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT = 0xC040FF0B, 0x8


def _offers_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return error.errno not in (errno.ENOSYS, errno.EPERM)
    return True


PIDFD_OFFERED = _offers_pidfd()


def _lines(path: str) -> list[str]:
    with open(path) as file:
        return file.readlines()


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start_ticks: int

    @staticmethod
    def of(pid: int) -> ProcessRef | None:
        """The live process with this pid; a zombie counts as dead."""
        found = _stat(pid)
        return None if found is None or found[0] in _DEAD_STATES else ProcessRef(pid, found[1])

    def started_ns(self) -> int:
        """When it started, in nanoseconds of the wall clock, to the kernel's clock tick; the same whoever asks when."""
        booted_s = next(int(line.split()[1]) for line in _lines("/proc/stat") if line.startswith("btime "))
        return booted_s * _SECOND_NS + self.start_ticks * _SECOND_NS // os.sysconf("SC_CLK_TCK")

    def alive(self) -> bool:
        """Whether it still runs."""
        return ProcessRef.of(self.pid) == self

    def open(self) -> int | None:
        """A pidfd, readable once the process has ended; None where it is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return None
        if self.alive():
            return fd
        os.close(fd)
        return None

    def send(self, number: signal.Signals) -> None:
        """A signal to exactly this process; gone is fine."""
        fd = self.open()
        if fd is None:
            return
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)

    def wait_gone(self, timeout_seconds: float) -> bool:
        """Whether it ended within the time."""
        fd = self.open()
        if fd is None:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(max(0, int(timeout_seconds * 1000))))
        finally:
            os.close(fd)

    def end(self, grace_seconds: float, timeout_seconds: float = 10) -> bool:
        """TERM, then KILL after the grace; whether it is gone."""
        if grace_seconds > 0:
            self.send(signal.SIGTERM)
            if self.wait_gone(grace_seconds):
                return True
        self.send(signal.SIGKILL)
        return self.wait_gone(timeout_seconds)


def exit_status(ref: ProcessRef, pidfd: int | None = None) -> int | None:
    """How an ended process that is no child of ours ended, as waitpid() has it; None where the kernel does not say.

    While nobody has waited for it, /proc tells; afterwards its pidfd does, on kernels since 6.15.
    """
    for _ in range(2):  # it may be waited for just between the two looks
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{ref.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[19]) == ref.start_ticks and fields[0] in _DEAD_STATES:
                return int(fields[49])
        if pidfd is None:
            return None
        info = bytearray(struct.pack("=Q56x", _PIDFD_INFO_EXIT))
        with suppress(OSError):
            fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
            if struct.unpack_from("=Q", info)[0] & _PIDFD_INFO_EXIT:
                return int(struct.unpack_from("=i", info, 60)[0])
    return None


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


class CommandFailed(Exception):
    """A command ended badly; `output` holds the last lines of what it said."""

    def __init__(self, argv: Sequence[str], returncode: int | None, output: str) -> None:
        outcome = "took too long" if returncode is None else f"ended with {returncode}"
        super().__init__(f"{Path(argv[0]).name} {outcome}: {output}")
        self.returncode = returncode
        self.output = output


def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float = 60,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    hidden: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, output captured. Raises CommandFailed on a bad exit or a timeout.

    Its children must not keep stdout open: give daemons files of their own. It does not see the mount `hidden`.
    """

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if env is None else dict(env),
            pass_fds=tuple(pass_fds),
        )

    try:
        child = started(start, hidden)
    except OSError as error:
        raise CommandFailed(argv, 127, f"{argv[0]}: {error.strerror}") from error
    with child:
        try:
            out, err = child.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(argv, None, f"no end after {timeout_seconds:g} s") from error
        finally:
            if child.returncode is None:
                child.kill()
                child.wait()
    done = subprocess.CompletedProcess(list(argv), child.returncode, out, err)
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, last_lines(done.stderr or done.stdout))
    return done


def last_lines(text: str, lines: int = 10, chars: int = 1200) -> str:
    """The end of an output, fit for a problem's detail."""
    return "\n".join(text.strip().splitlines()[-lines:])[-chars:]


def wait_until(deadline: float, seconds: float) -> bool:
    """Sleeps `seconds`, or less where the deadline (time.monotonic) is nearer; False once it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    time.sleep(min(seconds, left))
    return True


def run_with_output(
    argv: Sequence[str],
    output: Path,
    timeout_seconds: float,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    lock_fd: int | None = None,
    hidden: Path | None = None,
) -> None:
    """Runs a command whose children keep its stdout and stderr: both are `output`, opened to append.

    It does not see the mount `hidden`. `lock_fd` is held by a shell around the command until the command ends, also
    when we are killed meanwhile; not by the command's own children. Raises CommandFailed with the end of what it added
    to `output`.
    """
    # An open file description that is the shell's stdin and nobody else's; `exit` keeps the shell from exec'ing.
    whole = list(argv) if lock_fd is None else ["sh", "-c", '"$@" </dev/null; exit $?', "sh", *argv]
    fd = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        before = os.fstat(fd).st_size
        child = started(
            lambda: subprocess.Popen(
                whole,
                stdin=subprocess.DEVNULL if lock_fd is None else lock_fd,
                stdout=fd,
                stderr=fd,
                env=dict(env),
                pass_fds=tuple(pass_fds),
                cwd=cwd,
                start_new_session=True,
            ),
            hidden,
        )
    except OSError as error:
        raise CommandFailed(argv, 127, f"{argv[0]}: {error.strerror}") from error
    finally:
        os.close(fd)
    try:
        returncode = _ended(child, timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(argv, None, f"no end after {timeout_seconds:g} s. {tail(output, before)}") from error
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if returncode != 0:
        raise CommandFailed(argv, returncode, tail(output, before) or f"ended with {returncode} and without a word")


def _ended(child: subprocess.Popen[bytes], timeout_seconds: float) -> int:
    """Its exit code, at once when it ends: Popen.wait with a timeout looks every 50 ms only. Raises TimeoutExpired."""
    fd = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(int(timeout_seconds * 1000)):
            raise subprocess.TimeoutExpired(child.args, timeout_seconds)
    finally:
        os.close(fd)
    return child.wait()


def tail(path: Path, offset: int = 0, limit_bytes: int = 4096) -> str:
    """The last lines of a file from `offset` on."""
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(offset, end - limit_bytes))
            return last_lines(stream.read(limit_bytes).decode(errors="replace"))
    except OSError:
        return ""
