"""Packet sockets that see only the packets of one probe: the kernel filters by the token in the payload."""

from __future__ import annotations

import ctypes
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

TOKEN_BYTES = 16
PAYLOAD_BYTES = 56
_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_PACKET_OUTGOING = 4
_LD_H, _LD_B, _LDX_MSH, _LD_B_X, _LD_W_X, _JEQ, _JSET, _RET = 0x28, 0x30, 0xB1, 0x50, 0x40, 0x15, 0x45, 0x06
_LDX_IMM = 0x01
_PROTOCOL = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: the frame's ethertype
_INSTRUCTION = struct.Struct("=HBBI")
_TIME = struct.Struct("=qq")
_ECHO = {4: (8, 0), 6: (128, 129)}

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Capture:
    """A packet as caught: `is_reply`, `outgoing` as the device sees it, sequence, time of the wall clock."""

    is_reply: bool
    outgoing: bool
    sequence: int
    time_ns: int


def payload(token: bytes, sequence: int) -> bytes:
    """What a probe packet carries; it survives translation of addresses and identifiers."""
    return (token + struct.pack("!I", sequence)).ljust(PAYLOAD_BYTES, b"\0")


def echo_request(version: int, token: bytes, sequence: int) -> bytes:
    """An echo request with the payload; the kernel adds the checksum for IPv6."""
    head = struct.pack("!BBHHH", _ECHO[version][0], 0, 0, int.from_bytes(token[:2], "big"), sequence & 0xFFFF)
    message = head + payload(token, sequence)
    if version == 6:
        return message
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def filter_program(version: int, token: bytes) -> list[Instruction]:
    """Classic BPF that accepts echo requests and replies whose payload begins with the token, and nothing else.

    Offsets count from the network header; X holds the length of the IP header.
    """
    checks: list[Instruction] = []
    if version == 4:
        checks += [(_LD_H, 0, 0, _PROTOCOL), (_JEQ, 0, -1, _ETH_P_IP), (_LD_B, 0, 0, 9), (_JEQ, 0, -1, 1)]
        checks += [(_LD_H, 0, 0, 6), (_JSET, -1, 0, 0x1FFF), (_LDX_MSH, 0, 0, 0)]
    else:
        checks += [(_LD_H, 0, 0, _PROTOCOL), (_JEQ, 0, -1, _ETH_P_IPV6), (_LD_B, 0, 0, 6), (_JEQ, 0, -1, 58)]
        checks += [(_LDX_IMM, 0, 0, 40)]
    request, reply = _ECHO[version]
    checks += [(_LD_B_X, 0, 0, 0), (_JEQ, 1, 0, request), (_JEQ, 0, -1, reply)]
    for offset in range(0, TOKEN_BYTES, 4):
        word = int.from_bytes(token[offset : offset + 4], "big")
        checks += [(_LD_W_X, 0, 0, 8 + offset), (_JEQ, 0, -1, word)]
    checks += [(_RET, 0, 0, 0x40000), (_RET, 0, 0, 0)]
    refuse = len(checks) - 1
    return [
        (code, refuse - at - 1 if yes < 0 else yes, refuse - at - 1 if no < 0 else no, value)
        for at, (code, yes, no, value) in enumerate(checks)
    ]


def attach_filter(target: socket.socket, program: list[Instruction]) -> None:
    """Have the kernel hand over only what the program accepts."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))


def open_capture(interface: str, version: int, token: bytes) -> socket.socket:
    """A packet socket on a device of the calling thread's namespace; both directions, filtered before it is bound."""
    # Protocol 0 receives nothing until the socket is bound, so that nothing slips in before the filter.
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(opened, filter_program(version, token))
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        opened.bind((interface, _ETH_P_ALL))
    except OSError:
        opened.close()
        raise
    return opened


def read_capture(source: socket.socket, version: int) -> Capture | None:
    """The next packet caught, None where there is none now."""
    try:
        data, control, _flags, address = source.recvmsg(2048, 64)
    except (BlockingIOError, InterruptedError):
        return None
    offset = (data[0] & 0x0F) * 4 if version == 4 else 40
    (sequence,) = struct.unpack_from("!I", data, offset + 8 + TOKEN_BYTES)
    seconds, nanoseconds = _TIME.unpack(control[0][2][: _TIME.size])
    is_reply = data[offset] == _ECHO[version][1]
    return Capture(is_reply, address[2] == _PACKET_OUTGOING, sequence, seconds * 1_000_000_000 + nanoseconds)


def close_all(sockets: list[socket.socket]) -> None:
    """Close packet sockets side by side: each close waits for a grace period of the kernel, which they share."""
    if sockets:
        with ThreadPoolExecutor(max_workers=len(sockets)) as pool:
            list(pool.map(lambda opened: opened.close(), sockets))
