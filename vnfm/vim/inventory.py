"""A VIM's latest whole inventory, put together from chunks."""

from __future__ import annotations

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.placement.types import FabricEdge, Hardware, Host, ZoneLatency
from vnfm.vim.convert import fabric_in, host_in, latency_in

HARDWARE_OF = {
    pb.CAPABILITY_SRIOV: Hardware.SRIOV,
    pb.CAPABILITY_CPU_PINNING: Hardware.CPU_PINNING,
    pb.CAPABILITY_HUGEPAGES: Hardware.HUGEPAGES,
}


class InventoryStore:
    """Holds one immutable snapshot at a time; a chunked one replaces it whole when its last chunk came."""

    def __init__(self, vim: str) -> None:
        self.vim = vim
        self.version = 0
        self.complete = False
        self.hosts: tuple[Host, ...] = ()
        self.latencies: tuple[ZoneLatency, ...] = ()
        self.fabric: tuple[FabricEdge, ...] = ()
        self._hosts: list[Host] = []
        self._latencies: list[ZoneLatency] = []
        self._fabric: list[FabricEdge] = []
        self._version = 0

    def begin(self) -> None:
        """A new stream: what an earlier one left half-told is told again from the start. What was whole stays."""
        self._version = 0
        self._hosts, self._latencies, self._fabric = [], [], []

    def take(self, chunk: pb.InventoryChunk, handshake: pb.HandshakeResponse | None) -> None:
        """Add a chunk; a chunk of another version begins anew."""
        if chunk.version != self._version:
            self._version = chunk.version
            self._hosts, self._latencies, self._fabric = [], [], []
        capabilities = handshake.capabilities if handshake else ()
        hardware = frozenset(HARDWARE_OF[c] for c in capabilities if c in HARDWARE_OF)
        self._hosts += [host_in(self.vim, h, hardware) for h in chunk.hosts]
        self._latencies += [latency_in(self.vim, m) for m in chunk.latencies]
        self._fabric += [fabric_in(self.vim, m) for m in chunk.fabric]
        if chunk.last:
            self.hosts, self.latencies, self.fabric = tuple(self._hosts), tuple(self._latencies), tuple(self._fabric)
            self.version, self._version, self.complete = chunk.version, 0, True
            self._hosts, self._latencies, self._fabric = [], [], []
