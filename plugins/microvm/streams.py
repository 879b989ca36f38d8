"""Standard input, output and error of one guest process, carried between descriptors of the host and the port.

The descriptors are shared with whoever started us, so their mode is left alone: we only read and write when poll says
that it will not block, and never write more than a pipe then takes for certain.
"""

from __future__ import annotations

import os
import select
import stat
import struct

from plugins.microvm.guestlink import GuestLink
from plugins.microvm.protocol import WINDOW, Kind

_PIPE_ATOMIC = 4096
_GRANT_STEP = 16384


class Sink:
    """Where one output stream goes."""

    def __init__(self, link: GuestLink, process: int, stream: int, fd: int) -> None:
        self._link, self._process, self._stream = link, process, stream
        self.fd = fd
        self.waiting = bytearray()
        self.ended = False
        self._taken = 0
        self._at_once = WINDOW if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_ATOMIC

    def open(self) -> None:
        """Let the guest send."""
        self._grant(WINDOW)

    def feed(self, data: bytes) -> None:
        """Take what the guest sent; nothing means that the stream ended."""
        if not data:
            self.ended = True
        elif self.fd >= 0:
            self.waiting += data
        else:
            self._grant(len(data))
        self._finish()

    def write(self) -> None:
        """Pass on what fits; called when poll says so."""
        try:
            written = os.write(self.fd, memoryview(self.waiting)[: self._at_once])
        except BlockingIOError:
            return
        except OSError:
            # Nobody reads any more: let the guest's writer notice.
            self.waiting.clear()
            self._link.send(Kind.CLOSE, self._process, struct.pack("<B", self._stream))
            self.ended = True
            self._finish()
            return
        del self.waiting[:written]
        self._taken += written
        if self._taken >= _GRANT_STEP or not self.waiting:
            self._grant(self._taken)
            self._taken = 0
        self._finish()

    def close(self) -> None:
        """Give the descriptor back; what waits has nowhere to go."""
        self.waiting.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _finish(self) -> None:
        if self.ended and not self.waiting:
            self.close()

    def _grant(self, size: int) -> None:
        self._link.send(Kind.GRANT, self._process, struct.pack("<BI", self._stream, size))


class GuestProcess:
    """A process in the guest with its three streams."""

    def __init__(self, link: GuestLink, number: int, fds: tuple[int, int, int]) -> None:
        self._link = link
        self.number = number
        self.started = False
        self.exit_code: int | None = None
        self.stdin = fds[0]
        self.window = WINDOW
        self.sinks = (Sink(link, number, 1, fds[1]), Sink(link, number, 2, fds[2]))

    def begin(self) -> None:
        """The process runs: carry its streams."""
        self.started = True
        for sink in self.sinks:
            sink.open()

    def interests(self) -> list[tuple[int, int]]:
        """Descriptors to poll, and for what."""
        wanted = [(sink.fd, select.POLLOUT) for sink in self.sinks if sink.waiting]
        if self.started and self.stdin >= 0 and self.window > 0 and self.exit_code is None:
            wanted.append((self.stdin, select.POLLIN))
        return wanted

    def ready(self, fd: int) -> None:
        """poll has found `fd` ready."""
        for sink in self.sinks:
            if sink.fd == fd and sink.waiting:
                sink.write()
        if fd == self.stdin:
            self._read()

    def exited(self, code: int) -> None:
        """The guest says that the process is over, and that all its output was sent."""
        self.exit_code = code
        self._close_stdin()
        for sink in self.sinks:
            sink.feed(b"")

    @property
    def finished(self) -> bool:
        """Over, with all its output passed on."""
        return self.exit_code is not None and not any(sink.waiting for sink in self.sinks)

    def abandon(self) -> None:
        """Close all descriptors."""
        self._close_stdin()
        for sink in self.sinks:
            sink.close()

    def _read(self) -> None:
        try:
            data = os.read(self.stdin, min(self.window, 16384))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._link.send(Kind.INPUT, self.number, data)
        self.window -= len(data)
        if not data:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1
