"""Route netlink in batches: several requests in one send, an acknowledgement for each.

Only what wiring needs. One send for a whole namespace is what makes this faster than a process or an object tree per
command; the kernel works a batch off inside the send, so a killed process leaves all of it done or none.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_BATCH_MESSAGES = 100  # each acknowledgement takes about 1 KiB of the socket's receive buffer
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


class NetlinkError(OSError):
    """The kernel refused a request; `request` says which."""

    def __init__(self, code: int, text: str, request: str) -> None:
        super().__init__(code, f"{request}: {os.strerror(code)}{f' ({text})' if text else ''}")
        self.request = request


@dataclass(frozen=True, slots=True)
class Request:
    """One message: `tolerate` holds the errnos that mean it was done already; `what` is for people."""

    type: int
    body: bytes
    flags: int = 0
    tolerate: frozenset[int] = field(default_factory=frozenset)
    what: str = ""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    """A string attribute."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message's tail by kind; nested flags are stripped."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _pid = _HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _error_text(payload: bytes, flags: int) -> str:
    # With capped acknowledgements the extended attributes follow the 4 byte code and the 16 byte echoed header.
    if not flags & 0x200:
        return ""
    return attributes(payload[20:]).get(1, b"").rstrip(b"\0").decode(errors="replace")


class RouteSocket:
    """A route netlink socket; it stays in the namespace of the thread that opened it. Used by one thread at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _encode(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        length = 16 + len(request.body)
        head = _HEADER.pack(length, request.type, _REQUEST | request.flags | flags, self._sequence, 0)
        return head + request.body + b"\0" * (-length % 4)

    def send(self, requests: Sequence[Request]) -> None:
        """Have all requests worked off; the first error that is not tolerated is raised after the last answer."""
        for start in range(0, len(requests), _BATCH_MESSAGES):
            self._send_batch(requests[start : start + _BATCH_MESSAGES])

    def _send_batch(self, requests: Sequence[Request]) -> None:
        first = self._sequence + 1
        self._socket.send(b"".join(self._encode(request, _ACK) for request in requests))
        failed: NetlinkError | None = None
        pending = len(requests)
        while pending:
            for kind, flags, sequence, payload in _split(self._socket.recv(65536)):
                if kind != _ERROR or sequence < first:
                    continue
                pending -= 1
                code = -struct.unpack_from("=i", payload)[0]
                request = requests[sequence - first]
                if code and code not in request.tolerate and failed is None:
                    failed = NetlinkError(code, _error_text(payload, flags), request.what or str(request.type))
        if failed:
            raise failed

    def get(self, request: Request) -> bytes | None:
        """The answer to a question about one object; None where it does not exist."""
        self._socket.send(self._encode(request, 0))
        for kind, flags, sequence, payload in _split(self._socket.recv(65536)):
            if sequence != self._sequence:
                continue
            if kind != _ERROR:
                return payload
            code = -struct.unpack_from("=i", payload)[0]
            if code not in (2, 19):  # ENOENT, ENODEV
                raise NetlinkError(code, _error_text(payload, flags), request.what)
        return None

    def dump(self, request: Request) -> list[bytes]:
        """All objects of a kind."""
        self._socket.send(self._encode(request, _DUMP))
        found: list[bytes] = []
        while True:
            for kind, flags, sequence, payload in _split(self._socket.recv(262144)):
                if sequence != self._sequence:
                    continue
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise NetlinkError(code, _error_text(payload, flags), request.what)
                found.append(payload)
