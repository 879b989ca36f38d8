"""The relay's end of the port to the guest agent: frames out, frames in, answers matched to requests."""

from __future__ import annotations

import socket

from plugins.microvm.protocol import Decoder, Frame, Kind, answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Done = Callable[[int, bytes], None]


class GuestLink:
    """Never blocks: what cannot be sent yet waits in `pending`."""

    def __init__(self, port: socket.socket) -> None:
        port.setblocking(False)
        self.port = port
        self.pending = bytearray()
        self.closed = False
        self._decoder = Decoder()
        self._number = 0
        self._waiting: dict[int, Done] = {}

    def send(self, kind: Kind, ident: int, payload: bytes = b"") -> None:
        """Send a frame that is not answered."""
        self.pending += Frame(kind, ident, payload).encode()
        self.flush()

    def request(self, kind: Kind, payload: bytes, done: Done) -> None:
        """Send a request; `done` gets errno and data of the answer."""
        self._number += 1
        self._waiting[self._number] = done
        self.send(kind, self._number, payload)

    def flush(self) -> None:
        """Send what fits."""
        try:
            while self.pending:
                sent = self.port.send(memoryview(self.pending)[:65536])
                del self.pending[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.pending.clear()
            self.closed = True

    def receive(self) -> list[Frame]:
        """Frames other than answers; answers go to whom they are for."""
        try:
            data = self.port.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return []
        frames = []
        for frame in self._decoder.feed(data):
            if frame.kind is Kind.ANSWER:
                done = self._waiting.pop(frame.ident, None)
                if done:
                    done(*answer(frame))
            else:
                frames.append(frame)
        return frames
