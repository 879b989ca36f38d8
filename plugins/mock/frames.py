"""Frames that look real: Ethernet and IPv4 with an ICMP echo or a UDP datagram, checksums included. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import struct

ICMP, UDP = 1, 17
_ECHO, _ECHO_REPLY = 8, 0
_NOWHERE = "192.0.2.1"  # TEST-NET-1


def mac(*ids: str) -> bytes:
    """A locally administered address that follows from the ids."""
    return b"\x02" + hashlib.sha256("/".join(ids).encode()).digest()[:5]


def echo(from_ip: str, to_ip: str, sequence: int, *, reply: bool = False, dscp: int = 0) -> bytes:
    """An ICMP echo request of 56 bytes, or the reply to it (its addresses are turned round)."""
    body = struct.pack("!BBHHH", _ECHO_REPLY if reply else _ECHO, 0, 0, 0x6D6B, sequence & 0xFFFF) + bytes(56)
    body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    return _frame(*_turned(from_ip, to_ip, reply), ICMP, body, dscp)


def datagram(
    from_ip: str, to_ip: str, from_port: int, to_port: int, *, reply: bool = False, dscp: int = 0, payload: bytes = b""
) -> bytes:
    """A UDP datagram without a checksum, which IPv4 allows, or the answer to it."""
    ports = (to_port, from_port) if reply else (from_port, to_port)
    body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    return _frame(*_turned(from_ip, to_ip, reply), UDP, body, dscp)


def _turned(from_ip: str, to_ip: str, reply: bool) -> tuple[str, str]:
    return (to_ip, from_ip) if reply else (from_ip, to_ip)


def _frame(from_ip: str, to_ip: str, protocol: int, body: bytes, dscp: int) -> bytes:
    source, target = _packed(from_ip), _packed(to_ip)
    head = struct.pack("!BBHHHBBH", 0x45, dscp << 2, 20 + len(body), 0, 0x4000, 64, protocol, 0) + source + target
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return mac(to_ip) + mac(from_ip) + b"\x08\x00" + head + body


def _packed(text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        return ipaddress.IPv4Address(_NOWHERE).packed


def _checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
