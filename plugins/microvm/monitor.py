"""qemu's monitor (QMP): saving a template, and loading one in a clone."""

from __future__ import annotations

import array
import json
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHARED_STAYS = {"capability": "x-ignore-shared", "state": True}
"""Guest memory that is a shared file stays where it is, and only the devices' state is written."""


class MonitorError(Exception):
    """qemu refused, or ended."""


def _command(name: str, **arguments: object) -> bytes:
    return json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n"


def load_commands(state: int) -> bytes:
    """All that a clone is told, to be sent at once: it runs as soon as it has read its state from descriptor `state`.

    Without announcements: qemu would send frames to the network before the guest has an identity of its own.
    """
    return (
        _command("qmp_capabilities")
        + _command("migrate-set-capabilities", capabilities=[_SHARED_STAYS])
        + _command("migrate-set-parameters", **{"announce-rounds": 0})
        + _command("migrate-incoming", uri=f"fd:{state}")
    )


def refusal(data: bytes) -> str:
    """The first error in what qemu answered; empty if there is none."""
    for line in data.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if "error" in message:
            return str(message["error"].get("desc", message["error"]))
    return ""


class Monitor:
    """A conversation with a qemu, each answer awaited until `end` (of the monotonic clock)."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._socket = connection
        self._end = end
        self._buffer = b""

    def save(self, state: int) -> None:
        """Write the devices' state to the open file `state`; the guest is stopped with that."""
        self._ask("qmp_capabilities")
        self._ask("getfd", (state,), fdname="state")
        wanted = [_SHARED_STAYS, {"capability": "events", "state": True}]
        self._ask("migrate-set-capabilities", capabilities=wanted)
        # Not stopped before: a clone then goes on by itself as soon as it is loaded.
        self._ask("migrate", uri="fd:state")
        while True:
            message = self._hear()
            if message.get("event") == "MIGRATION" and message["data"]["status"] in ("completed", "failed"):
                break
        if message["data"]["status"] == "failed":
            raise MonitorError(f"saving failed: {self._ask('query-migrate').get('error-desc', 'no reason given')}")

    def _ask(self, name: str, fds: tuple[int, ...] = (), **arguments: object) -> dict[str, Any]:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([_command(name, **arguments)], rights)
        except OSError as error:
            raise MonitorError(f"qemu's monitor: {error.strerror}") from error
        while True:
            message = self._hear()
            if "error" in message:
                raise MonitorError(f"{name}: {message['error'].get('desc', message['error'])}")
            if "return" in message:
                answer: dict[str, Any] = message["return"]
                return answer

    def _hear(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(self._end - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(65536)
            except TimeoutError as error:
                raise MonitorError("qemu's monitor does not answer") from error
            except OSError as error:
                raise MonitorError(f"qemu's monitor: {error.strerror}") from error
            if not data:
                raise MonitorError("qemu has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
