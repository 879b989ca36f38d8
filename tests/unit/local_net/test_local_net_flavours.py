"""Probe packets of each kind: which the kernel's filter lets through, and what is read out of them."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from plugins.local.net.capture import NOTHING, Instruction
from plugins.local.net.flavours import Datagram, Echo, Flavour, Handshake, checksum_of, pseudo_header

TOKEN = bytes(range(100, 116))
NEAR, FAR = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.1.2")
TCP = Handshake(TOKEN, NEAR, FAR, (40000, 40001), 80)
UDP = Datagram(TOKEN, NEAR, FAR, (40000,), 5060)
SYN, RST, ACK = 0x02, 0x04, 0x10


def ip(payload: bytes, protocol: int, options: int = 0, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45 + options // 4, 0, 20 + options + len(payload), 0, fragment, 64, protocol, 0)
    return head + NEAR.packed + FAR.packed + bytes(options) + payload


def accepts(program: list[Instruction], packet: bytes, ethertype: int = 0x0800) -> bool:
    """Classic BPF as the kernel runs it, for the instructions used."""
    value = index = at = 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        if code == 0x06:
            return operand > 0
        if code in (0x15, 0x45):
            holds = value == operand if code == 0x15 else value & operand
            at += yes if holds else no
        elif code == 0x05:
            at += operand
        elif code in (0x54, 0x14):
            value = value & operand if code == 0x54 else (value - operand) & 0xFFFFFFFF
        elif code == 0xB1:
            index = (packet[operand] & 0x0F) * 4
        elif code == 0x01:
            index = operand
        elif operand == 0xFFFFF000:
            value = ethertype
        else:
            start = operand + (index if code in (0x50, 0x40) else 0)
            size = {0x28: 2, 0x30: 1, 0x50: 1, 0x40: 4}[code]
            if start + size > len(packet):
                return False
            value = int.from_bytes(packet[start : start + size], "big")


def segment(flags: int, number: int = 0, confirmed: int = 0) -> bytes:
    return struct.pack("!HHIIBBHHH", 80, 40000, number & 0xFFFFFFFF, confirmed & 0xFFFFFFFF, 5 << 4, flags, 1, 0, 0)


@pytest.mark.parametrize("flavour", [Echo(4, TOKEN), UDP, TCP])
@pytest.mark.parametrize("options", [0, 8])
@pytest.mark.parametrize("sequence", [0, 1, 70_000])
def test_a_request_is_seen_and_known_again(flavour: Flavour, options: int, sequence: int) -> None:
    packet = ip(flavour.request(sequence), flavour.protocol, options)
    assert accepts(flavour.program(), packet)
    assert flavour.read(packet) == (False, sequence)


@pytest.mark.parametrize("flavour", [Echo(4, TOKEN), UDP, TCP])
def test_strangers_and_later_fragments_are_not_seen(flavour: Flavour) -> None:
    program = flavour.program()
    other = bytes(16)
    for stranger in (Echo(4, other), Datagram(other, NEAR, FAR, (1,), 2), Handshake(other, NEAR, FAR, (1,), 2)):
        assert not accepts(program, ip(stranger.request(0), stranger.protocol))
    assert not accepts(program, ip(flavour.request(0), flavour.protocol, fragment=100))
    assert not accepts(program, ip(flavour.request(0), flavour.protocol), ethertype=0x0806)


def test_a_handshakes_answers_are_known_by_what_they_confirm() -> None:
    number = struct.unpack_from("!I", TCP.request(7), 4)[0]
    program = TCP.program()
    for flags in (SYN | ACK, RST | ACK):
        packet = ip(segment(flags, 99, number + 1), 6)
        assert accepts(program, packet)
        assert TCP.read(packet) == (True, 7)
    for other in (segment(ACK, 5, number + 1), segment(RST, number + 1), segment(SYN | ACK, number, 1)):
        assert not accepts(program, ip(other, 6))


def test_answers_to_datagrams_are_made_of_requests_only() -> None:
    payload = UDP.request(9)[8:]
    reply = UDP.reply_to(payload)
    assert reply is not None
    assert UDP.read(ip(bytes(8) + reply, 17)) == (True, 9)
    assert UDP.reply_to(reply) is None
    assert UDP.reply_to(b"hello") is None
    assert UDP.reply_to(bytes(200)) is None


def test_checksums_hold() -> None:
    for made, protocol in ((UDP.request(3), 17), (TCP.request(3), 6)):
        assert checksum_of(pseudo_header(NEAR, FAR, protocol, len(made)) + made) == 0


def test_source_ports_take_turns() -> None:
    assert [struct.unpack_from("!H", TCP.request(sequence))[0] for sequence in range(3)] == [40000, 40001, 40000]


def test_the_senders_own_filter_lets_nothing_in() -> None:
    assert not accepts(NOTHING, ip(UDP.request(0), 17))
