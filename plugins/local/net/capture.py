"""Packet sockets that see only the packets of one probe: the kernel filters by the token in the payload."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

TOKEN_BYTES = 16
PAYLOAD_BYTES = 56
_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_PACKET_OUTGOING = 4
_LD_H, _LD_B, _LDX_MSH, _LD_B_X, _LD_W_X, _JEQ, _JSET, _RET = 0x28, 0x30, 0xB1, 0x50, 0x40, 0x15, 0x45, 0x06
_LDX_IMM, _AND, _SUB, _JA = 0x01, 0x54, 0x14, 0x05
_REFUSE = -1
_PROTOCOL = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: the frame's ethertype
_INSTRUCTION = struct.Struct("=HBBI")
_TIME = struct.Struct("=qq")
ECHO = {4: (8, 0), 6: (128, 129)}

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet from its IP header on, `outgoing` as the device sees it, time of the wall clock."""

    packet: bytes
    outgoing: bool
    time_ns: int


NOTHING: list[Instruction] = [(_RET, 0, 0, 0)]


def payload(token: bytes, sequence: int) -> bytes:
    """What a probe packet carries; it survives translation of addresses and identifiers."""
    return (token + struct.pack("!I", sequence)).ljust(PAYLOAD_BYTES, b"\0")


def echo_request(version: int, token: bytes, sequence: int) -> bytes:
    """An echo request with the payload; the kernel adds the checksum for IPv6."""
    head = struct.pack("!BBHHH", ECHO[version][0], 0, 0, int.from_bytes(token[:2], "big"), sequence & 0xFFFF)
    message = head + payload(token, sequence)
    if version == 6:
        return message
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def filter_program(version: int, token: bytes) -> list[Instruction]:
    """Classic BPF that accepts echo requests and replies whose payload begins with the token, and nothing else."""
    request, reply = ECHO[version]
    checks = [(_LD_B_X, 0, 0, 0), (_JEQ, 1, 0, request), (_JEQ, 0, _REFUSE, reply), *token_checks(token, 8)]
    if version == 4:
        return ipv4_program(1, checks)
    head = [(_LD_H, 0, 0, _PROTOCOL), (_JEQ, 0, _REFUSE, _ETH_P_IPV6), (_LD_B, 0, 0, 6), (_JEQ, 0, _REFUSE, 58)]
    return _assembled([*head, (_LDX_IMM, 0, 0, 40), *checks])


def ipv4_program(protocol: int, checks: Sequence[Instruction]) -> list[Instruction]:
    """Classic BPF that accepts first fragments of this IP protocol that pass the checks.

    Offsets count from the network header; X holds the length of the IP header when the checks begin.
    """
    head = [(_LD_H, 0, 0, _PROTOCOL), (_JEQ, 0, _REFUSE, _ETH_P_IP), (_LD_B, 0, 0, 9), (_JEQ, 0, _REFUSE, protocol)]
    return _assembled([*head, (_LD_H, 0, 0, 6), (_JSET, _REFUSE, 0, 0x1FFF), (_LDX_MSH, 0, 0, 0), *checks])


def token_checks(token: bytes, at: int) -> list[Instruction]:
    """That the token stands so many bytes behind the IP header."""
    checks: list[Instruction] = []
    for offset in range(0, TOKEN_BYTES, 4):
        word = int.from_bytes(token[offset : offset + 4], "big")
        checks += [(_LD_W_X, 0, 0, at + offset), (_JEQ, 0, _REFUSE, word)]
    return checks


def handshake_checks(marked: int, low_bits: int) -> list[Instruction]:
    """That it is a TCP SYN whose sequence number bears the mark above its low bits, or an ACK with SYN or RST that
    confirms one."""
    mask = 0xFFFFFFFF << low_bits & 0xFFFFFFFF
    return [
        (_LD_B_X, 0, 0, 13),
        (_AND, 0, 0, 0x3F),
        (_JEQ, 0, 2, 0x02),  # SYN alone: look at its sequence number
        (_LD_W_X, 0, 0, 4),
        (_JA, 0, 0, 4),
        (_JSET, 0, _REFUSE, 0x10),  # else it must be an ACK
        (_JSET, 0, _REFUSE, 0x06),  # with SYN or RST
        (_LD_W_X, 0, 0, 8),
        (_SUB, 0, 0, 1),
        (_AND, 0, 0, mask),
        (_JEQ, 0, _REFUSE, marked),
    ]


def _assembled(checks: Sequence[Instruction]) -> list[Instruction]:
    """With a last word for either outcome, to which jumps to _REFUSE lead."""
    whole = [*checks, (_RET, 0, 0, 0x40000), (_RET, 0, 0, 0)]
    refuse = len(whole) - 1
    return [
        (code, refuse - at - 1 if yes == _REFUSE else yes, refuse - at - 1 if no == _REFUSE else no, value)
        for at, (code, yes, no, value) in enumerate(whole)
    ]


def attach_filter(target: socket.socket, program: list[Instruction]) -> None:
    """Have the kernel hand over only what the program accepts."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))


def open_capture(interface: str, program: list[Instruction]) -> socket.socket:
    """A packet socket on a device of the calling thread's namespace; both directions, filtered before it is bound."""
    # Protocol 0 receives nothing until the socket is bound, so that nothing slips in before the filter.
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(opened, program)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        opened.bind((interface, _ETH_P_ALL))
    except OSError:
        opened.close()
        raise
    return opened


def read_capture(source: socket.socket) -> Captured | None:
    """The next packet caught, None where there is none now."""
    try:
        data, control, _flags, address = source.recvmsg(2048, 64)
    except (BlockingIOError, InterruptedError):
        return None
    seconds, nanoseconds = _TIME.unpack(control[0][2][: _TIME.size])
    return Captured(data, address[2] == _PACKET_OUTGOING, seconds * 1_000_000_000 + nanoseconds)


def close_all(sockets: list[socket.socket]) -> None:
    """Close packet sockets side by side: each close waits for a grace period of the kernel, which they share."""
    if sockets:
        with ThreadPoolExecutor(max_workers=len(sockets)) as pool:
            list(pool.map(lambda opened: opened.close(), sockets))
