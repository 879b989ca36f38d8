"""A VIM's latest whole inventory, put together from chunks."""

from __future__ import annotations

from vnfm.model.resources import Licence, Reach
from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.placement.inventory import FabricEdge, Hardware, Host, ZoneLatency
from vnfm.vim.hosts import HostReader, fabric_in, latency_in, licence_in, reach_in
from vnfm.vim.terms import Terms

HARDWARE_OF = {
    pb.CAPABILITY_SRIOV: Hardware.SRIOV,
    pb.CAPABILITY_CPU_PINNING: Hardware.CPU_PINNING,
    pb.CAPABILITY_HUGEPAGES: Hardware.HUGEPAGES,
    pb.CAPABILITY_GPU: Hardware.GPU,
}


class InventoryStore:
    """Holds one immutable snapshot at a time; a chunked one replaces it whole when its last chunk came. `terms`: what
    the operator says goes before what the plugin tells."""

    def __init__(self, vim: str) -> None:
        self.vim = vim
        self.version = 0
        self.complete = False
        self.hosts: tuple[Host, ...] = ()
        self.latencies: tuple[ZoneLatency, ...] = ()
        self.fabric: tuple[FabricEdge, ...] = ()
        self.licences: tuple[Licence, ...] = ()
        self.terms = Terms()
        self.reaches: tuple[Reach, ...] = ()
        self._draft: _Draft | None = None

    def begin(self) -> None:
        """A new stream: what an earlier one left half-told is told again from the start. What was whole stays."""
        self._draft = None

    def take(self, chunk: pb.InventoryChunk, handshake: pb.HandshakeResponse | None) -> None:
        """Add a chunk; a chunk of another version begins anew."""
        draft = self._draft
        if draft is None or chunk.version != draft.version:
            capabilities = handshake.capabilities if handshake else ()
            hardware = frozenset(HARDWARE_OF[c] for c in capabilities if c in HARDWARE_OF)
            opens = pb.CAPABILITY_OPEN_WORKER in capabilities
            draft = self._draft = _Draft(self.vim, chunk.version, hardware, opens)
        draft.add(chunk)
        if chunk.last:
            self.hosts, self.latencies = self.terms.hosts(draft.hosts), tuple(draft.latencies)
            self.fabric, self.licences = tuple(draft.fabric), self.terms.pools(draft.licences)
            self.reaches = tuple(draft.reaches)
            self.version, self.complete, self._draft = draft.version, True, None


class _Draft:
    """A snapshot that is still being told."""

    def __init__(self, vim: str, version: int, hardware: frozenset[Hardware], opens: bool) -> None:
        self._vim = vim
        self.version = version
        self._reader = HostReader(vim, hardware, opens=opens)
        self.hosts: list[Host] = []
        self.latencies: list[ZoneLatency] = []
        self.fabric: list[FabricEdge] = []
        self.licences: list[Licence] = []
        self.reaches: list[Reach] = []

    def add(self, chunk: pb.InventoryChunk) -> None:
        self.hosts += [self._reader.read(h) for h in chunk.hosts]
        self.latencies += [latency_in(self._vim, m) for m in chunk.latencies]
        self.fabric += [fabric_in(self._vim, m) for m in chunk.fabric]
        self.licences += [licence_in(self._vim, m) for m in chunk.licences]
        self.reaches += [reach_in(self._vim, m) for m in chunk.reaches]
