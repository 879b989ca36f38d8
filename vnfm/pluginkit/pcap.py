"""A pcap file as it grows, within bounds. Classic format, microseconds, Ethernet: every tool reads it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from vnfm.pluginkit.handlers import Packet

MAGIC = 0xA1B2C3D4
WHOLE_BYTES = 262_144  # what tcpdump takes for "all of it"
_ETHERNET = 1
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
HEADER_BYTES = _FILE.size


@dataclass
class PcapFile:
    """Turns packets into the file's next bytes, and knows when it is full.

    `snap_bytes` of each packet (0: all), `max_packets` (0: no bound), `max_bytes` of the file, header included.
    """

    snap_bytes: int
    max_packets: int
    max_bytes: int
    packets: int = 0
    size_bytes: int = 0
    full: bool = False

    def header(self) -> bytes:
        """The file's beginning; to be taken once."""
        self.size_bytes += HEADER_BYTES
        return _FILE.pack(MAGIC, 2, 4, 0, 0, self.snap_bytes or WHOLE_BYTES, _ETHERNET)

    def add(self, packets: Iterable[Packet]) -> bytes:
        """The records of as many of these packets as the bounds allow; a packet is there whole or not at all."""
        out = bytearray()
        for packet in packets:
            record = self._record(packet)
            if self.size_bytes + len(record) > self.max_bytes:
                self.full = True
            if self.full:
                break
            out += record
            self.size_bytes += len(record)
            self.packets += 1
            self.full = self.packets == self.max_packets
        return bytes(out)

    def _record(self, packet: Packet) -> bytes:
        data = packet.data[: self.snap_bytes or WHOLE_BYTES]
        seconds, rest_ns = divmod(packet.at_ns, 1_000_000_000)
        wire_bytes = packet.wire_bytes or len(packet.data)
        return _RECORD.pack(seconds, rest_ns // 1000, len(data), wire_bytes) + data
