"""Every frame that crosses a device, by a packet socket whose frames the kernel writes into shared memory in blocks.

Both directions, times of the kernel in nanoseconds. A frame that the stack carries as one (GSO, GRO) is one here, too:
it may be up to 64 KiB long and is cut to the snap length like any other.
"""

from __future__ import annotations

import errno
import mmap
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from plugins.local.net.capture import attach_filter

BLOCK_BYTES = 256 << 10
BLOCKS = 64
SNAP_MAX_BYTES = 128 << 10
RETIRE_MS = 50
_SOL_PACKET, _VERSION, _RX_RING, _STATISTICS = 263, 10, 5, 6
_V3 = 2
_ETH_P_ALL = 0x0003
_TO_USER = 1
_VLAN_VALID, _VLAN_TPID_VALID = 0x10, 0x40
_OUTGOING = 4
_REQUEST = struct.Struct("=7I")  # block size, blocks, frame size, frames, retire ms, private bytes, features
_BLOCK = struct.Struct("=4I")  # from offset 8: status, frames, offset of the first, length
_FRAME = struct.Struct("=6I2H3I")  # next, sec, nsec, snaplen, len, status, mac, net, hash, vlan tci, vlan tpid + pad
_ADDRESS_AT = 48
_PKTTYPE_AT = _ADDRESS_AT + 10
_LD_W, _LD_PKTTYPE, _JEQ, _RET = 0x20, 0xFFFFF004, 0x15, 0x06


@dataclass(frozen=True, slots=True)
class Frame:
    """As it crossed the device: wall clock, from the Ethernet header on, how long it was, whether it went out."""

    at_ns: int
    data: bytes
    wire_bytes: int
    outgoing: bool


class Ring:
    """On a device of the calling thread's namespace. Used by one thread; `fileno` is readable when there are frames.

    `outgoing_only` leaves out what comes in by the device.
    """

    def __init__(self, interface: str, snap_bytes: int = 0, *, outgoing_only: bool = False) -> None:
        self._block = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            snap = min(snap_bytes or SNAP_MAX_BYTES, SNAP_MAX_BYTES)
            accept = [(_RET, 0, 0, snap)]
            if outgoing_only:
                accept = [(_LD_W, 0, 0, _LD_PKTTYPE), (_JEQ, 0, 1, _OUTGOING), *accept, (_RET, 0, 0, 0)]
            attach_filter(self._socket, accept)
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _V3)
            # The kernel wants a frame size although blocks of this version hold frames of any.
            size = _REQUEST.pack(BLOCK_BYTES, BLOCKS, 2048, BLOCK_BYTES // 2048 * BLOCKS, RETIRE_MS, 0, 0)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, size)
            self._memory = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * BLOCKS)
            self._socket.bind((interface, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """To be polled."""
        return self._socket.fileno()

    def close(self) -> int:
        """Let go; how many frames did not fit into the memory."""
        dropped = 0
        try:
            _, dropped, _ = struct.unpack("=3I", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
        self._memory.close()
        self._socket.close()
        return int(dropped)

    def frames(self) -> Iterator[Frame]:
        """What has come by now."""
        while True:
            start = self._block * BLOCK_BYTES
            status, count, offset, _ = _BLOCK.unpack_from(self._memory, start + 8)
            if not status & _TO_USER:
                return
            yield from self._frames_of(start + offset, count)
            struct.pack_into("=I", self._memory, start + 8, 0)
            self._block = (self._block + 1) % BLOCKS

    def _frames_of(self, at: int, count: int) -> Iterator[Frame]:
        memory = self._memory
        for _ in range(count):
            following, seconds, nanos, length, wire, status, mac, _, _, tci, tpid = _FRAME.unpack_from(memory, at)
            data = memory[at + mac : at + mac + length]
            if status & _VLAN_VALID:
                data, wire = _with_tag(data, tci, tpid & 0xFFFF if status & _VLAN_TPID_VALID else 0x8100), wire + 4
            yield Frame(seconds * 1_000_000_000 + nanos, data, wire, memory[at + _PKTTYPE_AT] == _OUTGOING)
            at += following


def _with_tag(data: bytes, tci: int, tpid: int) -> bytes:
    """The VLAN tag, which the kernel keeps beside the frame, where it was on the wire."""
    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
