"""The language between the host relay and the guest agent.

One virtio-serial port named `vnfm.agent` carries frames in both directions.  A frame is a header of 12 bytes
(version, kind, two zero bytes, id, payload length; little-endian) and its payload.

To the guest, id = number of the request, each answered by ANSWER with the same id (errno, then data or text):

======== =============================================================================================
PING     anything; comes back unchanged
ENTROPY  random bytes, credited to the guest's pool
DATE     seconds and nanoseconds since 1970, 8 bytes each
HOSTNAME text
SYSCTL   path below /proc/sys, NUL, value
NETLINK  one rtnetlink request; the answer carries all that the guest's kernel replied
CREATE   fields (see Tag): builds the container and its first process, which waits before execve
EXEC     fields: one more process in the container; answered once it has executed
START    number of the process that CREATE made (4 bytes); answered once it has executed
SIGNAL   process, signal, 1 if every process of the container is meant (4 bytes each)
======== =============================================================================================

To the guest, id = number of the process, not answered: INPUT (bytes; empty closes), GRANT (stream 1 or 2 in one byte,
then how many bytes more are accepted), CLOSE (stream in one byte: nobody reads it any more).  SHUTDOWN ends the guest.

From the guest: READY once after boot (id = protocol version, text: kernel release and uptime), OUTPUT (id = process;
stream in one byte, bytes; no bytes = end), CREDIT (id = process; bytes of input taken), EXITED (id = process; its exit
code, 128 + signal if it was killed).

Neither side sends stream bytes that the other has not granted, so that one full pipe never holds up the port:
input starts with WINDOW granted to the host, output starts with nothing and is granted by the relay.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

VERSION = 1
WINDOW = 65536
MAX_PAYLOAD = 256 * 1024
_HEADER = struct.Struct("<BBHII")


class Kind(enum.IntEnum):
    """Kind of a frame."""

    READY = 1
    ANSWER = 2
    OUTPUT = 3
    EXITED = 4
    CREDIT = 5
    PING = 16
    ENTROPY = 17
    DATE = 18
    HOSTNAME = 19
    SYSCTL = 20
    NETLINK = 21
    CREATE = 22
    START = 23
    EXEC = 24
    INPUT = 25
    SIGNAL = 26
    GRANT = 27
    CLOSE = 28
    SHUTDOWN = 29


class Tag(enum.IntEnum):
    """Field of a CREATE or EXEC request; mounts, nodes, links, files and masks are done in the order given."""

    ARG = 1
    ENV = 2
    CWD = 3
    USER = 4
    GROUP = 5
    CAPS = 6
    RLIMIT = 7
    NO_NEW_PRIVS = 8
    OOM = 9
    PROCESS = 10
    MOUNT = 11
    NODE = 12
    SYMLINK = 13
    MASK = 14
    READONLY = 15
    ROOT_READONLY = 16
    FILE = 17
    PIDS_MAX = 18


class ProtocolError(Exception):
    """The other side does not speak this language."""


class Frame(NamedTuple):
    """One message.  (A tuple, since the relay stays small without dataclasses.)"""

    kind: Kind
    ident: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """The frame as it goes over the wire."""
        if len(self.payload) > MAX_PAYLOAD:
            raise ProtocolError(f"{self.kind.name} of {len(self.payload)} bytes is over the limit of {MAX_PAYLOAD}")
        return _HEADER.pack(VERSION, self.kind, 0, self.ident, len(self.payload)) + self.payload


class Decoder:
    """Collects bytes and gives back whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in; return the frames that they complete."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= _HEADER.size:
            version, kind, _, ident, length = _HEADER.unpack_from(self._buffer)
            if version != VERSION or length > MAX_PAYLOAD:
                raise ProtocolError(f"the guest sent version {version}, length {length}")
            if len(self._buffer) < _HEADER.size + length:
                break
            payload = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
            del self._buffer[: _HEADER.size + length]
            try:
                frames.append(Frame(Kind(kind), ident, payload))
            except ValueError:
                raise ProtocolError(f"the guest sent kind {kind}") from None
        return frames


def field(tag: Tag, data: bytes = b"") -> bytes:
    """One field of a CREATE or EXEC request."""
    return struct.pack("<BI", tag, len(data)) + data


def answer(frame: Frame) -> tuple[int, bytes]:
    """Errno and data of an ANSWER."""
    return struct.unpack_from("<i", frame.payload)[0], frame.payload[4:]


def exit_code(frame: Frame) -> int:
    """Exit code that an EXITED frame tells."""
    return int(struct.unpack("<I", frame.payload)[0])
