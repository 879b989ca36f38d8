"""A pcap file within its bounds."""

from __future__ import annotations

import struct

from vnfm.pluginkit.handlers import Packet
from vnfm.pluginkit.pcap import HEADER_BYTES, WHOLE_BYTES, PcapFile

AT_NS = 1_700_000_000_123_456_789


def test_the_header_is_what_every_tool_expects() -> None:
    assert PcapFile(0, 0, 1000).header() == struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, WHOLE_BYTES, 1)
    assert PcapFile(96, 0, 1000).header()[16:20] == struct.pack("<I", 96)


def test_a_packet_keeps_its_time_its_bytes_and_its_length() -> None:
    file = PcapFile(0, 0, 1000)
    record = file.add([Packet(AT_NS, b"frame")])
    assert record == struct.pack("<IIII", 1_700_000_000, 123_456, 5, 5) + b"frame"
    assert file.add([Packet(AT_NS, b"frame", wire_bytes=1500)])[8:16] == struct.pack("<II", 5, 1500)


def test_snapped_packets_tell_how_long_they_were() -> None:
    record = PcapFile(14, 0, 1000).add([Packet(AT_NS, bytes(100))])
    assert len(record) == 16 + 14
    assert record[8:16] == struct.pack("<II", 14, 100)


def test_it_is_full_at_the_last_packet_allowed_and_takes_no_more() -> None:
    file = PcapFile(0, 2, 1000)
    data = file.add([Packet(AT_NS, b"x")] * 5)
    assert (file.packets, file.full, len(data)) == (2, True, 2 * 17)
    assert file.add([Packet(AT_NS, b"x")]) == b""


def test_its_bytes_count_the_header_and_a_packet_is_there_whole_or_not_at_all() -> None:
    file = PcapFile(0, 0, HEADER_BYTES + 2 * 20 + 19)
    size = len(file.header()) + len(file.add([Packet(AT_NS, b"four")] * 3))
    assert size == file.size_bytes == HEADER_BYTES + 40
    assert file.full


def test_exactly_fitting_is_fitting() -> None:
    file = PcapFile(0, 0, HEADER_BYTES + 20)
    file.header()
    assert len(file.add([Packet(AT_NS, b"four")])) == 20
    assert not file.full
    assert file.add([Packet(AT_NS, b"")]) == b""
    assert file.full
