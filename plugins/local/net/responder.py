"""Answers probe datagrams at the far end of a path, for as long as a probe takes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from plugins.local.net import capture, flavours, netns
from plugins.local.net.flavours import Datagram
from plugins.local.net.probeplan import ProbePlan

_SIZE = 2048


@dataclass(frozen=True, slots=True)
class Responder:
    """`listening` on the port, or, where a server of the VNF's owner has the port, beside it: `raw` answers then."""

    flavour: Datagram
    listening: socket.socket | None
    raw: socket.socket | None

    def answer_all(self) -> None:
        """Whatever has come in."""
        while self.listening is not None:
            try:
                payload, sender = self.listening.recvfrom(_SIZE)
            except OSError:
                return
            reply = self.flavour.reply_to(payload)
            if reply is not None:
                with suppress(OSError):
                    self.listening.sendto(reply, sender)

    def answer_packet(self, packet: bytes) -> None:
        """A request as it was seen arriving, from its IP header on."""
        if self.raw is None:
            return
        at = (packet[0] & 0x0F) * 4
        reply = self.flavour.reply_to(packet[at + 8 :])
        if reply is None:
            return
        source, destination = flavours.addresses_in(packet)
        from_port, to_port = int.from_bytes(packet[at + 2 : at + 4], "big"), int.from_bytes(packet[at : at + 2], "big")
        with suppress(OSError):
            self.raw.sendto(flavours.datagram(destination, source, from_port, to_port, reply), (str(source), 0))


def _listen(plan: ProbePlan, port: int) -> socket.socket | None:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        opened.bind((str(plan.destination), port))
    except OSError as error:
        opened.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return opened


def _raw() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_UDP)
    try:
        capture.attach_filter(opened, capture.NOTHING)
    except OSError:
        opened.close()
        raise
    return opened


@contextmanager
def responder_of(namespace: str, plan: ProbePlan) -> Iterator[Responder | None]:
    """None for packets that the far kernel answers by itself."""
    flavour = plan.flavour
    if not isinstance(flavour, Datagram):
        yield None
        return
    listening = netns.inside(namespace, lambda: _listen(plan, flavour.destination_port))
    raw = netns.inside(namespace, _raw) if listening is None else None
    try:
        yield Responder(flavour, listening, raw)
    finally:
        for opened in (listening, raw):
            if opened is not None:
                opened.close()
