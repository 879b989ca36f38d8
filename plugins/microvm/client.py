"""Talking to a container's relay, from the commands."""

from __future__ import annotations

import array
import json
import os
import socket

from plugins.microvm.door import PACKET, address
from plugins.microvm.errors import NotRunning, RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Linux doubles it; a packet must fit whole.
_SO_SNDBUFFORCE = 32


class RelayConnection:
    """One conversation."""

    def __init__(self, folder: str, timeout: float | None = None) -> None:
        """To the relay of the container that has this folder."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(timeout)
        place = -1
        try:
            place = os.open(folder, os.O_PATH)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, PACKET)
            self._socket.connect(address(place))
        except OSError as error:
            self._socket.close()
            raise NotRunning from error
        finally:
            if place >= 0:
                os.close(place)

    def __enter__(self) -> RelayConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def ask(self, rest: bytes = b"", fds: tuple[int, ...] = (), **request: object) -> dict[str, Any]:
        """Send a request and wait for its answer; a refusal is raised."""
        answer = self.tell(rest, fds, **request).hear()
        if "error" in answer:
            raise RuntimeFailure(answer["error"])
        return answer

    def tell(self, rest: bytes = b"", fds: tuple[int, ...] = (), **request: object) -> RelayConnection:
        """Send a request."""
        packet = json.dumps(request).encode() + b"\0" + rest
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([packet], rights)
        except OSError as error:
            raise NotRunning from error
        return self

    def hear(self) -> dict[str, Any]:
        """The next message; the relay's end counts as the container's."""
        try:
            data = self._socket.recv(65536)
        except TimeoutError as error:
            raise RuntimeFailure("the container's relay does not answer") from error
        except OSError as error:
            raise NotRunning from error
        if not data:
            raise NotRunning
        answer: dict[str, Any] = json.loads(data)
        return answer
