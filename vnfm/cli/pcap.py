"""Pieces of a pcap file put together at its packets' borders, so that it may end anywhere and still be whole."""

from __future__ import annotations

import struct

MAGICS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",  # nanoseconds
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
FILE_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
ETHERNET = 1
MAX_PACKET_BYTES = 1 << 24
EMPTY = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, ETHERNET)


class NotPcap(ValueError):
    """The bytes are no pcap file."""


class Whole:
    """Takes pieces as they come and gives back what is complete of them."""

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0  # of what was given back
        self._order = ""
        self._rest = bytearray()

    def take(self, piece: bytes) -> bytes:
        """What is now complete: the header first, then whole packets. Raises NotPcap."""
        self._rest += piece
        end = 0
        if not self._order:
            if len(self._rest) < FILE_HEADER_BYTES:
                return b""
            magic = bytes(self._rest[:4])
            if magic not in MAGICS:
                raise NotPcap(f"a pcap file does not begin with {magic.hex()}")
            self._order = MAGICS[magic]
            end = FILE_HEADER_BYTES
        while len(self._rest) - end >= RECORD_HEADER_BYTES:
            (length,) = struct.unpack_from(f"{self._order}I", self._rest, end + 8)
            if length > MAX_PACKET_BYTES:
                raise NotPcap(f"a packet of {length} bytes")
            if len(self._rest) - end < RECORD_HEADER_BYTES + length:
                break
            end += RECORD_HEADER_BYTES + length
            self.packets += 1
        done = bytes(self._rest[:end])
        del self._rest[:end]
        self.bytes += len(done)
        return done
