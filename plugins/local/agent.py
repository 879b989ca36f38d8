"""The agent in a guest, on virtio-serial port `vnfm.agent.0`: lines of text.

host:   ID BASE64(command)
guest:  READY …                     whenever the host's end has been opened
        ID EXIT_CODE BASE64(output)
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from plugins.local import qemu
from plugins.local.unixsocket import connect, short_path

LINE_BYTES = 64 << 20


class AgentSilent(Exception):
    """The guest's agent does not answer (any more)."""


class ReadyProbe:
    """Waits for READY without blocking for long; the connection is kept between looks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = b""
        self._channel: object | None = None

    def ready(self, seconds: float) -> bool:
        """Whether READY came by now, waiting at most `seconds` for more."""
        import socket

        try:
            if not isinstance(self._channel, socket.socket):
                self._channel = connect(self._folder, qemu.AGENT_SOCKET, seconds)
            self._channel.settimeout(seconds)
            data = self._channel.recv(4096)
        except TimeoutError:
            return False
        except OSError:
            self.close()
            return False
        if not data:
            self.close()
            return False
        self._seen = (self._seen + data)[-8192:]
        return any(line.startswith(b"READY") for line in self._seen.split(b"\n")[:-1])

    def close(self) -> None:
        """Leaves the port to others."""
        import socket

        if isinstance(self._channel, socket.socket):
            self._channel.close()
        self._channel, self._seen = None, b""


class Agent:
    """One guest's agent for many commands at once; connected while any is under way."""

    def __init__(self, folder: Path, connect_seconds: float = 15.0) -> None:
        self._folder = folder
        self._connect_seconds = connect_seconds
        self._numbers: Iterator[int] = itertools.count(1)
        self._session = os.urandom(4).hex()
        self._waiting: dict[str, asyncio.Future[tuple[int, bytes]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def run(self, command: str) -> tuple[int, bytes]:
        """A shell command's exit code and output. AgentSilent where the guest does not answer."""
        number = f"{self._session}-{next(self._numbers)}"
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with self._lock:
                if self._writer is None:
                    await self._open(self._connect_seconds)
                assert self._writer is not None
                self._writer.write(f"{number} {base64.b64encode(command.encode()).decode()}\n".encode())
                await self._writer.drain()
            return await future
        except (OSError, TimeoutError) as error:
            raise AgentSilent(f"the guest's agent does not answer: {error or 'timeout'}") from error
        finally:
            self._waiting.pop(number, None)
            if not self._waiting:
                self._close()

    async def hear(self, seconds: float) -> bool:
        """Whether the guest says anything within the time. Commands may go on meanwhile, on the same connection."""
        number = f"{self._session}-{next(self._numbers)}"
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds), self._lock:
                self._waiting[number] = future
                if self._writer is None:
                    await self._open(seconds)
                    return True
                self._writer.write(f"{number} {base64.b64encode(b':').decode()}\n".encode())
                await self._writer.drain()
            async with asyncio.timeout(seconds):
                await future
            return True
        except (OSError, TimeoutError):
            return False
        finally:
            self._waiting.pop(number, None)
            if not self._waiting:
                self._close()

    async def _open(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            with short_path(self._folder, qemu.AGENT_SOCKET) as path:
                reader, self._writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
            try:
                while not (line := await reader.readline()).startswith(b"READY"):
                    if not line:
                        raise ConnectionResetError("the port was closed")
            except BaseException:
                self._close()
                raise
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._line(line)
        except (OSError, ValueError):
            pass
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the guest is gone"))

    def _line(self, line: bytes) -> None:
        """An answer; a guest may write anything, so what makes no sense is passed over."""
        fields = line.split()
        if len(fields) not in (2, 3) or not fields[1].isdigit():
            return
        future = self._waiting.get(fields[0].decode(errors="replace"))
        if future is not None and not future.done():
            try:
                output = base64.b64decode(fields[2], validate=True) if len(fields) == 3 else b""
            except ValueError:
                output = b""
            future.set_result((int(fields[1]), output))

    def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
        self._reading = self._writer = None
