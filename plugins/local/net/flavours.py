"""What a probe packet looks like: ICMP echoes, UDP datagrams or TCP handshakes, such as a path's match picks.

Each knows how its packets are told from all others at any device on the way, also where addresses and ports are
translated: by a token in the payload, of TCP by what stands in the sequence number.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from plugins.local.net import capture
from plugins.local.net.capture import Instruction
from plugins.local.net.rtnl import Address

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
_REQUEST, _REPLY = 0, 1
_SEQUENCE_BITS = 20
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_WINDOW = 64240


class Flavour(Protocol):
    """A kind of probe packets."""

    @property
    def protocol(self) -> int:
        """IP's number for it."""
        ...

    @property
    def version(self) -> int:
        """Of IP."""
        ...

    def request(self, sequence: int) -> bytes:
        """The packet behind its IP header."""
        ...

    def program(self) -> list[Instruction]:
        """Accepts requests and replies of this probe, and nothing else."""
        ...

    def read(self, packet: bytes) -> tuple[bool, int] | None:
        """(is it a reply, sequence) of what the program accepted, from the IP header on; None for a stranger."""
        ...


def _header_bytes(packet: bytes, version: int) -> int:
    return (packet[0] & 0x0F) * 4 if version == 4 else 40


@dataclass(frozen=True, slots=True)
class Echo:
    """ICMP: the far kernel answers."""

    version: int
    token: bytes

    @property
    def protocol(self) -> int:
        """ICMP, or that of IPv6."""
        return ICMP if self.version == 4 else ICMP6

    def request(self, sequence: int) -> bytes:
        """An echo request."""
        return capture.echo_request(self.version, self.token, sequence)

    def program(self) -> list[Instruction]:
        """By the token in the payload."""
        return capture.filter_program(self.version, self.token)

    def read(self, packet: bytes) -> tuple[bool, int] | None:
        """By the message's type."""
        at = _header_bytes(packet, self.version)
        (sequence,) = struct.unpack_from("!I", packet, at + 8 + capture.TOKEN_BYTES)
        return packet[at] == capture.ECHO[self.version][1], sequence


@dataclass(frozen=True, slots=True)
class Datagram:
    """UDP: answered by whoever the prober asks to, at the far end, with `reply_to`. Sources take turns."""

    token: bytes
    source: Address
    destination: Address
    source_ports: Sequence[int]
    destination_port: int
    version: int = 4
    protocol: int = UDP

    def request(self, sequence: int) -> bytes:
        """A datagram with token and sequence."""
        port = self.source_ports[sequence % len(self.source_ports)]
        payload = self._payload(sequence, _REQUEST)
        return datagram(self.source, self.destination, port, self.destination_port, payload)

    def _payload(self, sequence: int, kind: int) -> bytes:
        return (self.token + struct.pack("!IB", sequence, kind)).ljust(capture.PAYLOAD_BYTES, b"\0")

    def program(self) -> list[Instruction]:
        """By the token in the payload."""
        return capture.ipv4_program(UDP, capture.token_checks(self.token, 8))

    def read(self, packet: bytes) -> tuple[bool, int] | None:
        """By what the payload says."""
        at = _header_bytes(packet, 4) + 8 + capture.TOKEN_BYTES
        sequence, kind = struct.unpack_from("!IB", packet, at)
        return kind == _REPLY, sequence

    def reply_to(self, payload: bytes) -> bytes | None:
        """The payload of the answer; None to what is no request of this probe."""
        if len(payload) < capture.PAYLOAD_BYTES or not payload.startswith(self.token):
            return None
        sequence, kind = struct.unpack_from("!IB", payload, capture.TOKEN_BYTES)
        return self._payload(sequence, _REPLY) if kind == _REQUEST else None


@dataclass(frozen=True, slots=True)
class Handshake:
    """TCP: a SYN; the far kernel says yes or no, and the near one, which knows of nothing, ends it. Sources take turns.

    The upper bits of the sequence number are the token, the lower ones count.
    """

    token: bytes
    source: Address
    destination: Address
    source_ports: Sequence[int]
    destination_port: int
    version: int = 4
    protocol: int = TCP

    @property
    def _marked(self) -> int:
        return int.from_bytes(self.token[:4], "big") >> _SEQUENCE_BITS << _SEQUENCE_BITS

    def request(self, sequence: int) -> bytes:
        """A SYN without options."""
        port = self.source_ports[sequence % len(self.source_ports)]
        number = self._marked | sequence & ((1 << _SEQUENCE_BITS) - 1)
        head = struct.pack("!HHIIBBHHH", port, self.destination_port, number, 0, 5 << 4, _SYN, _WINDOW, 0, 0)
        checksum = checksum_of(pseudo_header(self.source, self.destination, TCP, len(head)) + head)
        return head[:16] + struct.pack("!H", checksum) + head[18:]

    def program(self) -> list[Instruction]:
        """SYN alone with our sequence number, or an ACK with SYN or RST that confirms it."""
        return capture.ipv4_program(TCP, capture.handshake_checks(self._marked, _SEQUENCE_BITS))

    def read(self, packet: bytes) -> tuple[bool, int] | None:
        """By its flags."""
        at = _header_bytes(packet, 4)
        number, confirmed, _, flags = struct.unpack_from("!IIBB", packet, at + 4)
        is_reply = bool(flags & _ACK)
        mine = (confirmed - 1) & 0xFFFFFFFF if is_reply else number
        mask = (1 << _SEQUENCE_BITS) - 1
        return (is_reply, mine & mask) if mine & ~mask == self._marked else None


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    """What a checksum of UDP or TCP over IPv4 covers besides the packet."""
    return source.packed + destination.packed + struct.pack("!BBH", 0, protocol, length)


def checksum_of(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(source: Address, destination: Address, from_port: int, to_port: int, payload: bytes) -> bytes:
    """A UDP header and payload."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", from_port, to_port, length, 0)
    checksum = checksum_of(pseudo_header(source, destination, UDP, length) + head + payload) or 0xFFFF
    return head[:6] + struct.pack("!H", checksum) + payload


def addresses_in(packet: bytes) -> tuple[Address, Address]:
    """(source, destination) of an IPv4 packet."""
    return ipaddress.ip_address(packet[12:16]), ipaddress.ip_address(packet[16:20])
