"""The relay's door: commands come in over a socket in the container's folder, one packet a message.

A packet is JSON, and after a NUL what does not fit into JSON.  `exec` brings three descriptors and keeps its
connection: `{"exit": code}` comes when the process is over, `{"do": "signal"}` may be sent meanwhile, and if the
connection breaks before, the process is killed.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import struct

from plugins.microvm import statefile
from plugins.microvm.door import PACKET, address
from plugins.microvm.protocol import Kind
from plugins.microvm.streams import GuestProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugins.microvm.relay import Relay

_INIT = 1


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.process: GuestProcess | None = None

    def reply(self, **fields: object) -> None:
        try:
            self.connection.send(json.dumps(fields).encode())
        except OSError:
            # Whoever asked has gone; the loop sees the end of the connection.
            return


class Clients:
    """All connections."""

    def __init__(self, relay: Relay, folder: str) -> None:
        self._relay = relay
        self._clients: dict[int, _Client] = {}
        self._number = _INIT
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        place = os.open(folder, os.O_PATH)
        self._listener.bind(address(place))
        os.close(place)
        self._listener.listen(16)
        self._listener.setblocking(False)

    def register(self, poll: select.poll) -> None:
        """Add our descriptors to the loop's."""
        poll.register(self._listener, select.POLLIN)
        for fd in self._clients:
            poll.register(fd, select.POLLIN)

    def serve(self, happened: dict[int, int]) -> None:
        """Deal with what the loop found."""
        if self._listener.fileno() in happened:
            try:
                connection = self._listener.accept()[0]
                self._clients[connection.fileno()] = _Client(connection)
            except OSError:
                pass
        for fd, client in list(self._clients.items()):
            if fd in happened:
                self._read(client)

    def report(self) -> None:
        """Tell the clients whose processes have ended."""
        for client in list(self._clients.values()):
            if client.process and client.process.finished:
                client.reply(exit=client.process.exit_code)
                self._drop(client)
        owned = {client.process.number for client in self._clients.values() if client.process}
        for number, process in list(self._relay.processes.items()):
            if number != _INIT and number not in owned and process.finished:
                del self._relay.processes[number]

    def end(self, code: int) -> None:
        """The guest is over: so are all its processes."""
        for client in list(self._clients.values()):
            if client.process:
                known = client.process.exit_code
                client.reply(exit=code if known is None else known)
            self._drop(client)
        self._listener.close()

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.connection.fileno(), None)
        client.connection.close()
        process, client.process = client.process, None
        if process:
            if process.exit_code is None:
                self._relay.kill(process.number, signal.SIGKILL, False, lambda error, data: None)
                # Its end is awaited, but its streams have nobody any more.
                process.abandon()
            else:
                self._relay.processes.pop(process.number, None)
                process.abandon()

    def _read(self, client: _Client) -> None:
        fds = array.array("i")
        try:
            data, ancillary, _, _ = client.connection.recvmsg(PACKET, socket.CMSG_SPACE(3 * 4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) // 4 * 4])
        if not data:
            self._drop(client)
            return
        head, _, rest = data.partition(b"\0")
        try:
            self._command(client, json.loads(head), rest, list(fds))
        except (ValueError, KeyError, TypeError) as error:
            client.reply(error=f"malformed request: {error}")

    def _command(self, client: _Client, request: dict[str, object], rest: bytes, fds: list[int]) -> None:
        relay = self._relay
        match request["do"]:
            case "start":
                relay.link.request(Kind.START, struct.pack("<I", _INIT), lambda e, d: self._started(client, e, d))
            case "kill":
                number, everyone = int(str(request["signal"])), bool(request.get("all"))
                relay.kill(_INIT, number, everyone, lambda e, d: self._answered(client, e, d))
            case "exec" if len(fds) == 3:
                self._exec(client, rest, (fds[0], fds[1], fds[2]))
                fds = []
            case "signal" if client.process:
                relay.kill(client.process.number, int(str(request["signal"])), False, lambda e, d: None)
            case "next":
                self._number += 1
                client.reply(number=self._number)
            case "ping":
                relay.link.request(Kind.PING, b"", lambda e, d: self._answered(client, e, d))
            case other:
                client.reply(error=f"unknown request {other!r}")
        for fd in fds:
            os.close(fd)

    def _started(self, client: _Client, error: int, data: bytes) -> None:
        if not error:
            self._relay.init.begin()
            statefile.update(self._relay.folder, status=statefile.RUNNING)
        self._answered(client, error, data)

    def _exec(self, client: _Client, spec: bytes, fds: tuple[int, int, int]) -> None:
        """The specification comes with the number that the client was given by `next`."""
        relay = self._relay
        number = struct.unpack_from("<I", spec, 5)[0]
        process = GuestProcess(relay.link, number, fds)
        relay.processes[number] = client.process = process

        def done(error: int, data: bytes) -> None:
            if error:
                relay.processes.pop(number, None)
                process.abandon()
                client.process = None
            else:
                process.begin()
            self._answered(client, error, data)

        relay.link.request(Kind.EXEC, spec, done)

    @staticmethod
    def _answered(client: _Client, error: int, data: bytes) -> None:
        if error:
            client.reply(error=data.decode(errors="replace") or os.strerror(error), errno=error)
        else:
            client.reply(ok=True)
