"""What is concluded from sightings of probe packets, and which packets are seen at all."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from plugins.local.net import HopCount
from plugins.local.net.capture import Instruction, echo_request, filter_program
from plugins.local.net.tally import Pass, Sighting, course, result

NAMES = ("client", "fw", "server")
TOKEN = bytes(range(16))


def _crossing(sequence: int, start: int = 0, stop: int = 99, step_ns: int = 10_000) -> list[Sighting]:
    """A packet's way as far as its `stop`th sighting, one each 10 us."""
    return [
        Sighting(hop, passing, sequence, start + at * step_ns)
        for at, (hop, passing) in enumerate(course(len(NAMES)))
        if at < stop
    ]


def test_the_course_goes_there_and_back_by_every_hop() -> None:
    assert [(NAMES[hop], passing.name) for hop, passing in course(3)] == [
        ("client", "REQUEST_OUT"),
        ("fw", "REQUEST_IN"),
        ("fw", "REQUEST_OUT"),
        ("server", "REQUEST_IN"),
        ("server", "REPLY_OUT"),
        ("fw", "REPLY_IN"),
        ("fw", "REPLY_OUT"),
        ("client", "REPLY_IN"),
    ]


def test_whole_journeys_are_complete_and_their_times_add_up() -> None:
    found = result(NAMES, 2, [*_crossing(0), *_crossing(1, start=500_000)])
    assert found.complete
    assert found.rtt_us == 70
    assert found.hops == (HopCount("client", "fw", 2, 2, 40), HopCount("fw", "server", 2, 2, 30))


@pytest.mark.parametrize(
    ("stop", "counts"),
    [(1, [(1, 0), (0, 0)]), (2, [(1, 1), (0, 0)]), (3, [(1, 1), (1, 0)]), (4, [(1, 1), (1, 1)])],
)
def test_a_packet_that_ends_somewhere_shows_where(stop: int, counts: list[tuple[int, int]]) -> None:
    found = result(NAMES, 1, _crossing(0, stop=stop))
    assert [(hop.sent, hop.received) for hop in found.hops] == counts
    assert not found.complete
    assert found.rtt_us == 0


def test_a_reply_that_is_lost_on_the_way_back_is_not_complete() -> None:
    found = result(NAMES, 1, _crossing(0, stop=7))
    assert [(hop.sent, hop.received) for hop in found.hops] == [(1, 1), (1, 1)]
    assert not found.complete


def test_a_packet_that_came_past_a_hop_or_out_of_order_is_not_complete() -> None:
    around = [sighting for sighting in _crossing(0) if sighting.hop != 1]
    assert not result(NAMES, 1, around).complete
    turned = [Sighting(one.hop, one.passing, 0, -one.time_ns) for one in _crossing(0)]
    assert not result(NAMES, 1, turned).complete


def test_a_packet_lost_of_many_is_missed_and_the_others_are_timed() -> None:
    found = result(NAMES, 2, [*_crossing(0), *_crossing(1, stop=3)])
    assert not found.complete
    assert [(hop.sent, hop.received) for hop in found.hops] == [(2, 2), (2, 1)]
    assert found.rtt_us == 70


def test_a_packet_seen_twice_in_one_place_counts_once() -> None:
    found = result(NAMES, 1, [*_crossing(0), Sighting(1, Pass.REQUEST_IN, 0, 10**9)])
    assert found.complete
    assert found.hops[0].received == 1


def test_nothing_sent_is_not_complete() -> None:
    assert not result(NAMES, 0, []).complete


def test_the_trace_is_that_of_the_packet_in_the_middle() -> None:
    slow, middle, quick = (_crossing(number, step_ns=step) for number, step in enumerate((30_000, 20_000, 10_000)))
    passings = result(NAMES, 3, [*slow, *middle, *quick]).passings
    assert [one.at_ns for one in passings] == [at * 20_000 for at in range(8)]
    assert [(one.hop, one.reply, one.leaving) for one in passings[:2]] == [
        ("client", False, True),
        ("fw", False, False),
    ]


def test_without_a_whole_journey_the_trace_shows_the_furthest() -> None:
    passings = result(NAMES, 2, [*_crossing(0, stop=1), *_crossing(1, stop=4)]).passings
    assert [one.hop for one in passings] == ["client", "fw", "fw", "server"]
    assert result(NAMES, 1, []).passings == ()


def test_a_reply_that_comes_by_another_replica_is_not_complete() -> None:
    crossing = [replace(one, resource_id=f"{NAMES[one.hop]}-1") for one in _crossing(0)]
    assert result(NAMES, 1, crossing).complete
    strayed = [
        replace(one, resource_id="fw-2") if one.passing is Pass.REPLY_IN and one.hop == 1 else one for one in crossing
    ]
    assert not result(NAMES, 1, strayed).complete


def _accepts(program: list[Instruction], packet: bytes, ethertype: int = 0x0800) -> bool:
    """Classic BPF as the kernel runs it, for the instructions used."""
    accumulator = index = at = 0
    while True:
        code, yes, no, value = program[at]
        at += 1
        if code == 0x06:
            return value > 0
        if code in (0x15, 0x45):
            matched = accumulator == value if code == 0x15 else bool(accumulator & value)
            at += yes if matched else no
            continue
        if code == 0x01:
            index = value
            continue
        if value == 0xFFFFF000:
            accumulator = ethertype
            continue
        size = {0x28: 2, 0x30: 1, 0xB1: 1, 0x50: 1, 0x40: 4}[code]
        start = value + (index if code in (0x50, 0x40) else 0)
        chunk = packet[start : start + size]
        if len(chunk) < size:
            return False
        if code == 0xB1:
            index = (chunk[0] & 0x0F) * 4
        else:
            accumulator = int.from_bytes(chunk, "big")


def _ipv4(message: bytes, *, protocol: int = 1, options: int = 0, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBHII", 0x45 + options, 0, 0, 0, fragment, 64, protocol, 0, 0, 0)
    return head + b"\1" * 4 * options + message


def _ipv6(message: bytes) -> bytes:
    return struct.pack("!IHBB", 0x6 << 28, len(message), 58, 64) + bytes(32) + message


def test_the_kernels_filter_takes_our_packets_only() -> None:
    program = filter_program(4, TOKEN)
    ours = echo_request(4, TOKEN, 7)
    reply = b"\0" + ours[1:]
    assert _accepts(program, _ipv4(ours))
    assert _accepts(program, _ipv4(reply, options=3))
    assert not _accepts(program, _ipv4(echo_request(4, bytes(16), 7)))
    assert not _accepts(program, _ipv4(b"\3" + ours[1:]))
    assert not _accepts(program, _ipv4(ours, protocol=17))
    assert not _accepts(program, _ipv4(ours, fragment=100))
    assert not _accepts(program, _ipv4(ours[:12]))
    assert not _accepts(program, _ipv4(ours), ethertype=0x0806)


def test_the_same_for_ipv6() -> None:
    program = filter_program(6, TOKEN)
    ours = echo_request(6, TOKEN, 7)
    assert _accepts(program, _ipv6(ours), 0x86DD)
    assert _accepts(program, _ipv6(b"\x81" + ours[1:]), 0x86DD)
    assert not _accepts(program, _ipv6(b"\x87" + ours[1:]), 0x86DD)
    assert not _accepts(program, _ipv6(ours), 0x0800)


def test_an_echo_request_has_a_right_checksum() -> None:
    message = echo_request(4, b"\xff" * 16, 0xFFFFFFFF)
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
