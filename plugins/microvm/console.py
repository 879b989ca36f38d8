"""The guest's serial console, kept in a file that does not grow without end."""

from __future__ import annotations

import os

_KEEP = 128 * 1024


class ConsoleLog:
    """Reads the console's socket into a file; of much text the end is kept."""

    def __init__(self, fd: int, path: str) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._path = path
        self._size = 0

    def read(self) -> None:
        """Take what is there."""
        if self.fd < 0:
            return
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os.close(self.fd)
            self.fd = -1
            return
        if self._size > _KEEP:
            data = self.tail(_KEEP // 2).encode(errors="replace") + data
            self._size = 0
        with open(self._path, "ab" if self._size else "wb") as file:
            file.write(data)
        self._size += len(data)

    def tail(self, size: int = 500) -> str:
        """The last of what the guest said."""
        try:
            with open(self._path, errors="replace") as file:
                return file.read()[-size:]
        except OSError:
            return ""
