"""Five hundred echo requests a second, whatever comes back; each remembers when it left and when it was answered."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass

from plugins.local.net import netns

EVERY_S = 0.002
PATIENCE_S = 2.0
_ECHO_REQUEST, _ECHO_REPLY, _TOKEN_BYTES = 8, 0, 8


@dataclass(frozen=True)
class Echo:
    """One request; `answered` is 0 for one that was lost. Times of time.monotonic()."""

    sent: float
    answered: float


class Pinger:
    """Pings from a namespace until it is told to stop."""

    def __init__(self, namespace: str, address: str) -> None:
        self._address = address
        self._token = os.urandom(_TOKEN_BYTES)
        self._sent: list[float] = []
        self._answered: dict[int, float] = {}
        self._end = threading.Event()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = netns.inside(namespace, lambda: socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[Echo]:
        """All that were sent, in order; waits a while for late answers."""
        self._end.set()
        self._thread.join()
        self._socket.close()
        return [Echo(at, self._answered.get(number, 0.0)) for number, at in enumerate(self._sent)]

    def answered_after(self, moment: float) -> float:
        """When the first request that left after `moment` was answered; 0 where none has been yet."""
        times = [self._answered[n] for n in sorted(self._answered.copy()) if self._sent[n] > moment]
        return min(times, default=0.0)

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._end.is_set():
            self._receive_until(next_at)
            self._send()
            # what was slept over is not sent in a burst
            next_at = max(next_at + EVERY_S, time.monotonic() - 5 * EVERY_S)
        self._receive_until(time.monotonic() + 0.2)
        deadline = time.monotonic() + PATIENCE_S
        while len(self._answered) < len(self._sent) and time.monotonic() < deadline:
            self._receive_until(time.monotonic() + 0.05)

    def _send(self) -> None:
        number = len(self._sent)
        body = self._token + struct.pack("!I", number)
        head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, os.getpid() & 0xFFFF, number & 0xFFFF)
        packet = head[:2] + struct.pack("!H", _checksum(head + body)) + head[4:] + body
        self._sent.append(time.monotonic())
        try:
            self._socket.sendto(packet, (self._address, 0))
        except OSError:  # no route for a moment is a loss like any other
            return

    def _receive_until(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                return
            message = self._socket.recv(2048)[20:]
            if message[:1] == bytes([_ECHO_REPLY]) and message[8 : 8 + _TOKEN_BYTES] == self._token:
                number = int.from_bytes(message[8 + _TOKEN_BYTES : 12 + _TOKEN_BYTES], "big")
                self._answered.setdefault(number, time.monotonic())


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
